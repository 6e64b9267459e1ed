\ir common.psql
SELECT no_plan();

SELECT policy_stage('r', replace('version: v1
rules:
  - {id: plain, match: {topics: [job.*]}, decision: allow, constraints: {max_x: 1}}
  - {id: prod, match: {topics: ["job.*.write"], risk_tags: [prod, write], labels: {env: [prod, live]}}, decision: require_approval}
  - {id: any, match: {risk_tags: {any: [a, "b*"], none: [read-only]}}, decision: throttle}
  - {id: big, match: {when: "$.payload.amount > 1000"}, decision: deny}
  - {id: small, match: {when: "$.payload.amount < 10"}, decision: allow}
  - {id: off, enabled: false, match: {topics: [job.*]}, decision: deny}
  - {id: later, not_before: 3000-01-01T00:00:00Z, match: {topics: [job.*]}, decision: deny}
  - {id: over, expires_at: 2020-01-01T00:00:00+02:00, match: {topics: [job.*]}, decision: deny}
  - {id: ex, match: {topics: [job.*]}, decision: deny, exceptions: [{id: gone, match: {}, expires_at: 2020-01-01T00:00:00Z, reason: x}, {id: e1, match: {tenants: [acme]}, expires_at: 3000-01-01T00:00:00Z, reason: "they pay \"well\"", ticket: T-1}]}
  - {id: mon, mode: monitor, match: {tenants: [acme]}, decision: deny}
  - {id: rate, match: {topics: [job.*]}, decision: throttle, velocity: {max_requests: 5, window_seconds: 60, key: tenant}}
  - {id: sec, match: {secrets_present: true, topics: [job.*]}, decision: deny}
  - {id: here, match: {labels: {team: {}}, capabilities: [c], actor_roles: {all: [dba]}, mcp: {tools: ["*"]}}, decision: deny}
', chr(10), chr(10))::policy_document, NULL) \g /dev/null
CREATE FUNCTION said(job jsonb, wanted text, snapshot text DEFAULT 'r') RETURNS text LANGUAGE sql AS $$
	SELECT format('%s %s: %s', CASE WHEN applies THEN 'yes' ELSE 'no' END, coalesce(failed_on, '-'), detail) FROM policy_explain(job, snapshot) e WHERE e.rule IS NOT DISTINCT FROM wanted
$$;
CREATE FUNCTION ordered(job jsonb, snapshot text DEFAULT 'r') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(coalesce(rule, 'default') || CASE WHEN applies THEN '+' ELSE '' END, ' ' ORDER BY n) FROM policy_explain(job, snapshot) WITH ORDINALITY e(rule, decision, applies, failed_on, detail, n)
$$;

--
-- What keeps a rule from applying
--
SELECT is(said(job::jsonb, rule), expected, what) FROM (VALUES
	('{"topic": "job.x.write", "risk_tags": ["Write"], "labels": {"env": "live"}}', 'prod', 'no risk_tags: would have matched but for risk_tags: missing prod; the job has write (given as Write)', 'the pattern that is missing, and what is there'),
	('{"topic": "job.x.write", "risk_tags": ["prod", "write"], "labels": {"Env": "STAGE"}}', 'prod', 'no labels.env: would have matched but for labels.env: stage (given as STAGE) matches none of prod, live', 'a label, normalised and as given'),
	('{"topic": "job.x.write", "risk_tags": ["prod", "write"]}', 'prod', 'no labels.env: would have matched but for labels.env: no value; asked is prod, live', 'an absent label'),
	('{"topic": "job.x.read"}', 'prod', 'no topics: topics: job.x.read does not match job.*.write; nor do these hold: risk_tags, labels.env', 'the first in full, the others by name'),
	('{"topic": "job.x", "risk_tags": ["c", "d"]}', 'any', 'no risk_tags: would have matched but for risk_tags: c, d matches none of a, b*', 'none of any'),
	('{"topic": "job.x", "risk_tags": ["bb", "Read-Only"]}', 'any', 'no risk_tags: would have matched but for risk_tags: read-only (given as Read-Only) matches read-only, which none may', 'one of none'),
	('{"topic": "job.x", "payload": {"amount": 5}}', 'big', 'no when: would have matched but for when: "$.payload.amount > 1000" is false: $.payload.amount is 5', 'a predicate that is false, and what it reads'),
	('{"topic": "job.x", "payload": {}}', 'small', 'no when: would have matched but for when: "$.payload.amount < 10" is unknown, which permits nothing: $.payload.amount is absent', 'one that is unknown, and why'),
	('{"topic": "job.x", "payload": {"amount": null}}', 'small', 'no when: would have matched but for when: "$.payload.amount < 10" is unknown, which permits nothing: $.payload.amount is null', 'for a null'),
	('{"topic": "job.x", "payload": []}', 'small', 'no when: would have matched but for when: "$.payload.amount < 10" is unknown, which permits nothing: $.payload.amount is absent', 'for an array where an object is due'),
	('{"topic": "job.x"}', 'off', 'no enabled: would have matched but for enabled: the rule is disabled', 'a disabled rule'),
	('{"topic": "y"}', 'off', 'no enabled: enabled: the rule is disabled; nor do these hold: topics', 'a disabled rule that has more against it'),
	('{"topic": "job.x"}', 'later', 'no not_before: would have matched but for not_before: it begins at 3000-01-01T00:00:00+00:00', 'a rule to come'),
	('{"topic": "job.x"}', 'over', 'no expires_at: would have matched but for expires_at: it ended at 2019-12-31T22:00:00+00:00', 'a rule that has ended'),
	('{"topic": "job.x", "tenant": "ACME"}', 'ex', 'no exceptions: would have matched but for exceptions: exception "e1" holds until 3000-01-01T00:00:00+00:00: "they pay \"well\"", T-1', 'an exception is named'),
	('{"topic": "job.x"}', 'rate', 'no velocity: would have matched but for velocity: more than 5 in 60 s is false: one more is admitted', 'a rate that is not exceeded'),
	('{"topic": "job.x"}', 'sec', 'no secrets_present: would have matched but for secrets_present: the job has none', 'no secrets'),
	('{"topic": "job.x"}', 'here', 'no capabilities: capabilities: no value; asked is c; nor do these hold: mcp.tools, actor_roles, labels.team', 'absent fields'),
	('{"topic": "job.x", "capability": "c", "mcp": {"tool": "t"}, "actor": {"roles": ["dba"]}}', 'here', 'no labels.team: would have matched but for labels.team: no value', 'a label that must be there')
) t(job, rule, expected, what);

--
-- Why one applies
--
SELECT is(said(job::jsonb, rule), expected, what) FROM (VALUES
	('{"topic": "JOB.x", "tenant": "acme", "payload": {"amount": 500}}', 'plain', 'yes -: wins; topics: job.x (given as JOB.x) matches job.*', 'the winner, by what it matches'),
	('{"topic": "JOB.x", "tenant": "acme", "payload": {"amount": 500}}', 'mon', 'yes -: applies, in monitor mode: it decides nothing; tenants: acme matches acme', 'monitor mode'),
	('{"topic": "job.x", "tenant": "acme"}', 'big', 'yes -: wins; when: "$.payload.amount > 1000" is unknown, which counts as true: $.payload is absent', 'what is unknown counts, and is told'),
	('{"topic": "job.x", "tenant": "acme", "payload": {"amount": "5000"}}', 'big', 'yes -: wins; when: "$.payload.amount > 1000" is unknown, which counts as true: $.payload.amount is the string 5000', 'a string where a number is due'),
	('{"topic": "x", "payload": {"amount": 500}}', NULL, 'yes -: wins: the default, since no rule certainly applies', 'the default where no rule applies'),
	('{"topic": "x"}', NULL, 'yes -: counts: the default, since every rule that applies does so only because something is unknown', 'and where all is unknown')
) t(job, rule, expected, what);
SELECT is((SELECT detail FROM policy.explain('version: v1
rules: [{id: a, match: {topics: [x]}, decision: deny, velocity: {max_requests: 5, window_seconds: 60, key: tenant}}, {id: b, match: {topics: [x]}, decision: allow, exceptions: [{id: e, match: {when: "$.n > 1"}, expires_at: 3000-01-01T00:00:00Z, reason: r}]}]', '{"topic": "x"}', now()) WHERE rule = id), expected, what)
FROM (VALUES
	('a', 'wins; topics: x matches x; velocity: more than 5 in 60 s is unknown, which counts as true', 'a velocity that nobody knows'),
	('b', 'would have matched but for exceptions: whether exception "e" holds is unknown, and without the rule the verdict is no looser', 'a permitting rule with an unknown exception')) t(id, expected, what);

--
-- Hostile strings stay within their quotes, on one line, and short
--
SELECT is(said(job, 'plain'), expected, what) FROM (VALUES
	(jsonb_build_object('topic', E'x" matches job.*\n; wins'), 'no topics: would have matched but for topics: "x\" matches job.*; wins" (given as "x\" matches job.*\x0A; wins") does not match job.*', 'quotes and newlines'),
	(jsonb_build_object('topic', E'a\u202eb'), 'no topics: would have matched but for topics: ab (given as "a\u202Eb") does not match job.*', 'characters that turn the text around'),
	(jsonb_build_object('topic', repeat('a', 100)), 'no topics: would have matched but for topics: "' || repeat('a', 60) || '..." does not match job.*', 'long ones')) t(job, expected, what);
SELECT ok(max(length(detail)) < 1500, 'no detail is long, whatever the job') FROM policy_explain(jsonb_build_object('topic', repeat('t', 1000), 'risk_tags', (SELECT jsonb_agg(repeat('r', 1000) || i) FROM generate_series(1, 200) i), 'payload', jsonb_build_object('amount', repeat('9', 10000))), 'r');
SELECT ok(max(length(detail)) < 1500, 'nor of a huge number') FROM policy_explain(('{"topic": "x", "payload": {"amount": ' || repeat('9', 10000) || '}}')::jsonb, 'r');

--
-- The order
--
SELECT is(ordered('{"topic": "job.x", "tenant": "acme", "payload": {"amount": 5}}'), 'plain+ small+ mon+ off later over ex rate sec any big prod here', 'those that apply, then those in monitor mode, then the nearest misses: fewest failures, most held, document order');
SELECT is(ordered('{"topic": "job.x", "payload": {"amount": 5000}}'), 'big+ ex+ plain+ off later over rate sec any small mon prod here', 'the strictest first');
SELECT is((SELECT string_agg(coalesce(rule, 'default'), ' ' ORDER BY n) FROM policy_explain('{"topic": "x"}', 'r') WITH ORDINALITY e(rule, decision, applies, failed_on, detail, n) WHERE applies), 'big default', 'the default last among equals');
SELECT policy_stage('f', 'version: v1
combine: first_match
defaults: {decision: allow}
rules:
  - {id: far, match: {topics: [z], tenants: [z]}, decision: deny}
  - {id: one, match: {topics: ["job.*"]}, decision: allow}
  - {id: two, match: {topics: ["job.x"]}, decision: deny}
  - {id: watch, mode: monitor, decision: deny}', NULL) \g /dev/null
SELECT is(ordered('{"topic": "job.x"}', 'f'), 'one+ watch+ two far', 'under first_match the winner, and what it keeps from winning as the nearest miss');
SELECT is(said('{"topic": "job.x"}', 'two', 'f'), 'no first_match: would have matched but for first_match: one comes first', 'which says so');
SELECT is((SELECT count(*) FROM policy_explain('{"topic": "job.x"}', 'r')), 13::bigint, 'there is a row for each rule');

--
-- Where no rule is asked
--
SELECT is((SELECT array_agg(e) FROM (SELECT (rule, decision, applies, failed_on, detail)::text AS e FROM policy_explain(job, 'r')) r), ARRAY[expected], 'an invalid job: ' || expected) FROM (VALUES
	('{}'::jsonb, '(,DENY,t,job,"invalid job: topic is absent")'), (NULL, '(,DENY,t,job,"invalid job: it is NULL")'),
	('{"topic": "x", "risk_tags": "prod"}', '(,DENY,t,job,"invalid job: risk_tags is not an array")')) t(job, expected);
SELECT is((SELECT array_agg((rule, decision, applies, failed_on, detail)::text) FROM policy_explain('{"topic": "job.x"}')), '{"(,DENY,t,policy,\"no active policy\")"}', 'without an active policy that is all there is to say');
SELECT policy_publish('f', NULL) \g /dev/null
SELECT is(ordered('{"topic": "job.x"}', NULL), ordered('{"topic": "job.x"}', 'f'), 'NULL is the active snapshot');
SELECT policy_stage('t', 'version: v1
defaults: {decision: allow}
rules: [{id: often, decision: throttle, velocity: {max_requests: 1, window_seconds: 86400, key: "topic:tenant"}}]', NULL) \g /dev/null
SELECT policy_publish('t', NULL) \g /dev/null
SELECT policy_submit('{"topic": "velocity.explained"}') \g /dev/null
SELECT matches(said('{"topic": "velocity.explained"}', 'often', NULL), '^yes -: wins; it has no condition; velocity: more than 1 in 86400 s is true: it will next admit one in \d+ s$', 'a velocity is asked of its counter');
SELECT matches(said('{"topic": "velocity.other"}', 'often', NULL), '^no velocity: ', 'each by its key');
SELECT is(sqlstate_of($$SELECT policy_explain('{"topic": "x"}', 'none')$$), 'PE002', 'an unknown snapshot is an error');
SELECT is(sqlstate_of(format('SELECT policy.explain(%s)', a)), '22004', 'no document, or no time, is an error: ' || a) FROM unnest('{"NULL, ''{}'', now()","''version: v1'', ''{}'', NULL"}'::text[]) a;

SELECT * FROM finish();
ROLLBACK;
