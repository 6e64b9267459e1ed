\ir common.psql
SELECT plan(60);

-- A verdict in one line: decision, winner, applying rules, monitored rules.
CREATE FUNCTION short(document text, job jsonb DEFAULT '{"topic": "a"}', at timestamptz DEFAULT '2026-06-15T12:00:00Z')
	RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', decision, coalesce(matched_rule, 'default'), matched_rules::text, monitored_rules::text)
	FROM decide(document, job, at)
$$;

--
-- strictest
--
SELECT is(short(document), expected, what)
FROM (VALUES
	('with no rule the default decides', $${version: v1, rules: []}$$, 'DENY default {} {}'),
	('an empty list of rules is none', $$
version: v1
rules: []
$$, 'DENY default {} {}'),
	('where no rule applies the default decides', $$
version: v1
defaults: {decision: require_approval}
rules:
  - {id: r, decision: allow, match: {topics: [b]}}
$$, 'REQUIRE_APPROVAL default {} {}'),
	('the strictest rule wins, wherever it stands', $$
version: v1
rules:
  - {id: r1, decision: allow}
  - {id: r2, decision: deny}
  - {id: r3, decision: require_approval}
$$, 'DENY r2 {r1,r2,r3} {}'),
	('the order is allow, allow_with_constraints', $$
version: v1
rules:
  - {id: r1, decision: allow}
  - {id: r2, decision: allow_with_constraints, constraints: {x: 1}}
$$, 'ALLOW_WITH_CONSTRAINTS r2 {r1,r2} {}'),
	('then throttle', $$
version: v1
rules:
  - {id: r1, decision: throttle}
  - {id: r2, decision: allow_with_constraints, constraints: {x: 1}}
$$, 'THROTTLE r1 {r1,r2} {}'),
	('then require_approval', $$
version: v1
rules:
  - {id: r1, decision: throttle}
  - {id: r2, decision: require_approval}
$$, 'REQUIRE_APPROVAL r2 {r1,r2} {}'),
	('the first in document order among equals', $$
version: v1
rules:
  - {id: r1, decision: allow}
  - {id: r2, decision: deny}
  - {id: r3, decision: deny}
$$, 'DENY r2 {r1,r2,r3} {}'),
	('a rule that does not match is not among the applying ones', $$
version: v1
rules:
  - {id: r1, decision: allow}
  - {id: r2, decision: deny, match: {topics: [b]}}
$$, 'ALLOW r1 {r1} {}'),
	('a disabled rule never applies', $$
version: v1
rules:
  - {id: r1, decision: allow}
  - {id: r2, decision: deny, enabled: false}
$$, 'ALLOW r1 {r1} {}'),
	('a decision may be written in upper case', $$
version: v1
rules:
  - {id: r1, decision: REQUIRE_APPROVAL}
$$, 'REQUIRE_APPROVAL r1 {r1} {}'),
	('allow with constraints is ALLOW_WITH_CONSTRAINTS, and stands so', $$
version: v1
rules:
  - {id: r1, decision: allow}
  - {id: r2, decision: allow, constraints: {x: 1}}
$$, 'ALLOW_WITH_CONSTRAINTS r2 {r1,r2} {}'),
	('allow with empty constraints stays ALLOW', $$
version: v1
rules:
  - {id: r1, decision: allow, constraints: {}}
$$, 'ALLOW r1 {r1} {}'),
	-- first_match
	('first_match: the first in document order wins', $$
version: v1
combine: first_match
rules:
  - {id: r1, decision: allow, match: {topics: [b]}}
  - {id: r2, decision: allow}
  - {id: r3, decision: deny}
$$, 'ALLOW r2 {r2} {}'),
	('first_match: none applies', $$
version: v1
combine: first_match
defaults: {decision: allow}
rules:
  - {id: r1, decision: deny, match: {topics: [b]}}
$$, 'ALLOW default {} {}'),
	-- monitor
	('a rule in monitor mode decides nothing and is recorded', $$
version: v1
rules:
  - {id: r1, decision: allow}
  - {id: r2, decision: deny, mode: monitor}
  - {id: r3, decision: require_approval, mode: monitor, match: {topics: [b]}}
$$, 'ALLOW r1 {r1} {r2}'),
	('monitor alone leaves it to the default', $$
version: v1
rules:
  - {id: r1, decision: allow, mode: monitor}
$$, 'DENY default {} {r1}'),
	('first_match: monitored rules are recorded whoever won', $$
version: v1
combine: first_match
rules:
  - {id: r1, decision: deny, mode: monitor}
  - {id: r2, decision: allow}
  - {id: r3, decision: deny, mode: monitor}
$$, 'ALLOW r2 {r2} {r1,r3}'),
	('enforce is the mode where none is given', $$
version: v1
rules:
  - {id: r1, decision: allow, mode: enforce}
$$, 'ALLOW r1 {r1} {}'),
	-- exceptions
	('an exception lifts its own rule, and only that', $$
version: v1
rules:
  - {id: r1, decision: deny, exceptions: [{id: e, match: {topics: [a]}, expires_at: 2030-01-01T00:00:00Z, reason: why}]}
  - {id: r2, decision: require_approval}
$$, 'REQUIRE_APPROVAL r2 {r2} {}'),
	('an exception that does not match lifts nothing', $$
version: v1
rules:
  - {id: r1, decision: deny, exceptions: [{id: e, match: {topics: [b]}, expires_at: 2030-01-01T00:00:00Z, reason: why, ticket: T-1}]}
$$, 'DENY r1 {r1} {}'),
	('one of several exceptions is enough', $$
version: v1
rules:
  - id: r1
    decision: deny
    exceptions:
      - {id: e1, match: {topics: [b]}, expires_at: 2030-01-01T00:00:00Z, reason: why}
      - {id: e2, match: {topics: [a]}, expires_at: 2030-01-01T00:00:00Z, reason: why}
  - {id: r2, decision: allow}
$$, 'ALLOW r2 {r2} {}'),
	('an expired exception has no effect', $$
version: v1
rules:
  - {id: r1, decision: deny, exceptions: [{id: e, match: {topics: [a]}, expires_at: 2026-06-15T11:00:00Z, reason: why}]}
$$, 'DENY r1 {r1} {}'),
	('an exception weakens a monitored rule, too', $$
version: v1
rules:
  - {id: r1, decision: deny, mode: monitor, exceptions: [{id: e, match: {topics: [a]}, expires_at: 2030-01-01T00:00:00Z, reason: why}]}
  - {id: r2, decision: allow}
$$, 'ALLOW r2 {r2} {}')
) AS t(what, document, expected);

--
-- Times, at their exact boundaries
--
SELECT is(short($$
version: v1
rules:
  - {id: r, decision: allow, not_before: 2026-11-01T00:00:00Z, expires_at: 2027-01-01T00:00:00Z}
$$, at => at::timestamptz), expected, what)
FROM (VALUES
	('a rule does not apply before not_before', '2026-10-31 23:59:59.999999Z', 'DENY default {} {}'),
	('a rule applies from not_before on', '2026-11-01 00:00:00Z', 'ALLOW r {r} {}'),
	('a rule applies until expires_at', '2026-12-31 23:59:59.999999Z', 'ALLOW r {r} {}'),
	('a rule does not apply at expires_at', '2027-01-01 00:00:00Z', 'DENY default {} {}'),
	('a rule does not apply after expires_at', '2027-01-01 00:00:00.000001Z', 'DENY default {} {}'),
	('a rule with a start does not apply at -infinity', '-infinity', 'DENY default {} {}'),
	('a rule with an end does not apply at infinity', 'infinity', 'DENY default {} {}')
) AS t(what, at, expected);
SELECT is(short($$
version: v1
rules:
  - {id: r, decision: deny, exceptions: [{id: e, match: {}, expires_at: 2027-01-01T00:00:00Z, reason: why}]}
  - {id: s, decision: allow}
$$, at => at::timestamptz), expected, what)
FROM (VALUES
	('an exception is live until expires_at', '2026-12-31 23:59:59.999999Z', 'ALLOW s {s} {}'),
	('an exception is over at expires_at', '2027-01-01 00:00:00Z', 'DENY r {r,s} {}')
) AS t(what, at, expected);
SELECT is(short(format($$
version: v1
rules:
  - {id: r, decision: allow, not_before: "%s"}
$$, written), at => '2026-11-01 00:00:00Z'), expected, format('%s is %s', written, what))
FROM (VALUES
	('2026-11-01T02:00:00+02:00', 'the same time in another zone', 'ALLOW r {r} {}'),
	('2026-11-01T01:59:59.999999+02:00', 'a microsecond earlier', 'ALLOW r {r} {}'),
	('2026-11-01T00:00:00.000001Z', 'a microsecond later', 'DENY default {} {}'),
	('2026-10-31T19:00:00-05:00', 'the same time in the west', 'ALLOW r {r} {}'),
	('2026-11-01t00:00:00z', 'the same time in small letters', 'ALLOW r {r} {}')
) AS t(written, what, expected);
SET LOCAL timezone = 'America/New_York';
SET LOCAL datestyle = 'German';
SELECT is(short($$
version: v1
rules:
  - {id: r, decision: allow, not_before: 2026-11-01T00:00:00Z, expires_at: 2026-11-01T00:00:01Z}
$$, at => '2026-11-01T00:00:00Z'), 'ALLOW r {r} {}', 'a document''s times depend on no setting of the session');
SET LOCAL timezone = 'UTC';
RESET datestyle;

--
-- Reasons
--
SELECT is((decide($$
version: v1
rules:
  - {id: r, decision: deny, reason: "Because"}
$$, '{"topic": "a"}')).reason, 'Because', 'the reason is the winner''s');
SELECT is((decide($$
version: v1
rules:
  - {id: r, decision: deny}
$$, '{"topic": "a"}')).reason, 'matched rule r', 'a winner without a reason has one all the same');
SELECT is((decide('{version: v1, rules: []}', '{"topic": "a"}')).reason, 'no rule matched', 'the default''s reason where none is given');
SELECT is((decide($$
version: v1
defaults: {reason: "ask platform"}
rules: []
$$, '{"topic": "a"}')).reason, 'ask platform', 'the default''s reason');
SELECT is((decide($$
version: v1
rules:
  - {id: r, decision: deny, reason: no}
$$, '{"topic": "a"}')).reason, 'no', 'where a string is expected every scalar is that string');

--
-- Throttle and velocity
--
SELECT is((v.decision::text, v.retry_after_sec)::text, (t.decision, t.wait)::text, what)
FROM (VALUES
	('a throttle rule waits for 5 seconds by default', 'THROTTLE', 5, $$
version: v1
rules:
  - {id: r, decision: throttle}
$$),
	('or for its retry_after_sec', 'THROTTLE', 30, $$
version: v1
rules:
  - {id: r, decision: throttle, retry_after_sec: 30}
$$),
	('the greatest wait of those that apply', 'THROTTLE', 86400, $$
version: v1
rules:
  - {id: r1, decision: throttle, retry_after_sec: 1}
  - {id: r2, decision: throttle, retry_after_sec: 86400}
  - {id: r3, decision: throttle, retry_after_sec: 86400, match: {topics: [b]}}
$$),
	('no wait where something stricter wins', 'DENY', NULL, $$
version: v1
rules:
  - {id: r1, decision: throttle, retry_after_sec: 1}
  - {id: r2, decision: deny}
$$),
	('no wait where nothing throttles', 'ALLOW', NULL, $$
version: v1
rules:
  - {id: r1, decision: allow}
$$),
	('the velocity of a document that is not stored is unknown: a throttle applies, for a window', 'THROTTLE', 60, $$
version: v1
defaults: {decision: allow}
rules:
  - {id: r, decision: throttle, velocity: {max_requests: 100, window_seconds: 60, key: tenant}}
$$),
	('and a deny applies', 'DENY', NULL, $$
version: v1
defaults: {decision: allow}
rules:
  - {id: r, decision: deny, velocity: {max_requests: 100, window_seconds: 60, key: "tenant:actor_id"}}
$$),
	('but an allow does not', 'DENY', NULL, $$
version: v1
rules:
  - {id: r, decision: allow, velocity: {max_requests: 100, window_seconds: 60, key: topic}}
$$),
	('a velocity whose match does not hold never applies', 'ALLOW', NULL, $$
version: v1
defaults: {decision: allow}
rules:
  - {id: r, decision: throttle, match: {topics: [b]}, velocity: {max_requests: 100, window_seconds: 60, key: topic}}
$$),
	('the default joins where only an unknown velocity made a rule apply', 'DENY', NULL, $$
version: v1
rules:
  - {id: r, decision: throttle, velocity: {max_requests: 100, window_seconds: 60, key: topic}}
$$)
) AS t(what, decision, wait, document), decide(document, '{"topic": "a"}') v;

-- A stored document's velocity is counted (velocity.sql has the rest).
SELECT lives_ok($$SELECT policy_stage('velocity', 'version: v1
defaults: {decision: allow}
rules: [{id: decisions.r, decision: throttle, velocity: {max_requests: 1000, window_seconds: 7, key: tenant}}]', '')$$,
	'a document with a velocity can be staged');
SELECT lives_ok($$SELECT policy_publish('velocity', '')$$, 'and published');
SELECT is(v.decision::text, 'ALLOW', 'and under the active policy its rate is known, and not exceeded')
	FROM policy_evaluate('{"topic": "a"}'::jsonb) v;

-- Shapes
SELECT is(jsonb_typeof(to_jsonb(v) -> 'matched_rules') || jsonb_typeof(to_jsonb(v) -> 'monitored_rules')
		|| jsonb_typeof(v.constraints), 'arrayarrayobject', 'lists and constraints are empty, not NULL')
	FROM decide('{version: v1, rules: []}', '{"topic": "a"}') v;
SELECT is((decide('{version: v1, rules: []}', '{"topic": "a"}')).snapshot, NULL, 'a document that is not stored has no snapshot');
SELECT is((SELECT array_agg(DISTINCT v::text) FROM generate_series(1, 100),
		policy_evaluate('{"version": "v1", "rules": [{"id": "r", "decision": "deny"}]}'::policy_document, '{"topic": "a"}', 'epoch') v),
	'{"(DENY,\"matched rule r\",{},r,{r},{},,)"}', 'the same document, job and time have the same verdict');

SELECT * FROM finish();
ROLLBACK;
