\ir common.psql
SELECT no_plan();

-- Its rows, of documents' rules alone unless a document is given in full.
CREATE FUNCTION whole(source text) RETURNS policy_document LANGUAGE sql AS $$
	SELECT (CASE WHEN source ~ 'version' THEN source ELSE 'version: v1
rules: [' || source || ']' END)::policy_document
$$;
CREATE FUNCTION said(a text, b text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(coalesce(rule, '-') || ' ' || change || ': ' || detail, E'\n' ORDER BY n), '')
	FROM policy.diff(whole(a), whole(b)) WITH ORDINALITY d(rule, change, detail, n)
$$;
-- What is claimed of the first row, without its examples.
CREATE FUNCTION claim(a text, b text) RETURNS text LANGUAGE sql AS $$
	SELECT substring(detail FROM '(only loosens|only tightens|may loosen and tighten|decides as before)')
	FROM policy.diff(whole(a), whole(b)) LIMIT 1
$$;

--
-- Nothing, where the meaning is the same
--
SELECT is(said(a, b), '', 'no row: ' || what) FROM (VALUES
	('{id: a, decision: deny}', '{"decision": "DENY", "id": "a"}', 'another layout'),
	('{id: a, match: {risk_tags: [a, b], topics: [x, y]}, decision: deny}', '{id: a, match: {topics: [Y, x, x], risk_tags: {all: [b, A, a]}}, decision: deny}', 'order, duplicates, case'),
	('{id: a, match: {topics: ["a*"]}, decision: deny}', '{id: a, match: {topics: ["a*", "ab*", abc]}, decision: deny}', 'patterns that another covers'),
	('{id: a, match: {topics: ["a*"], tenants: [], labels: {}}, decision: deny}', '{id: a, match: {topics: ["a*"]}, decision: deny}', 'empty lists'),
	('{id: a, match: {when: "$.n > 1"}, decision: deny}', '{id: a, match: {when: "strict  $.n>1"}, decision: deny}', 'spaces in a when'),
	('{id: a, decision: require_approval}', '{id: a, decision: require_approval, enabled: true, mode: enforce, reason: matched rule a, approval: {min_approvals: 1, expires_in_sec: 86400, allow_self: false, approvers: [], immaterial: []}, owner: ""}', 'defaults of a rule spelled out'),
	('{id: a, decision: throttle}', '{id: a, decision: throttle, retry_after_sec: 5}', 'the wait spelled out'),
	('version: v1', '{"version": "v1", "combine": "strictest", "defaults": {"decision": "deny", "reason": "no rule matched", "constraints": {"max_retries": 1.0, "max_runtime_sec": 6e1}}, "rules": [], "tests": []}', 'defaults of a document spelled out'),
	('{id: a, decision: deny, constraints: {max_x: 1}}', '{id: a, decision: deny, constraints: {max_x: 2}}', 'bounds of a denial'),
	('{id: a, not_before: 2030-01-01T00:00:00Z, decision: deny}', '{id: a, not_before: 2030-01-01T02:00:00+02:00, decision: deny}', 'one time in two zones'),
	('{id: a, decision: require_approval, approval: {approvers: [b, a], immaterial: ["$.payload.x"]}}', '{id: a, decision: require_approval, approval: {approvers: [a, b, a], immaterial: [''$.payload."x"'']}}', 'approvers and paths'),
	('{id: a, decision: allow, velocity: {max_requests: 1, window_seconds: 2, key: "tenant:labels.ENV"}}', '{id: a, decision: allow, velocity: {key: "tenant:labels.env", window_seconds: 2, max_requests: 1}}', 'a velocity')
) t(a, b, what);

--
-- Each part, in words
--
SELECT is(said(a, b), expected, 'told: ' || split_part(expected, ';', 1)) FROM (VALUES
	('', '{id: a, match: {topics: ["job.*"], risk_tags: [prod]}, decision: deny, reason: no}', 'a added: decision: DENY; topics: job.*; risk_tags: prod; reason: no; only tightens'),
	('{id: a, match: {topics: [x]}, decision: allow}', '', 'a removed: decision: no longer ALLOW; only tightens; tighter: {"topic": "x"}: ALLOW -> DENY'),
	('{id: a, match: {topics: [x]}, decision: deny}, {id: all, decision: allow}', '{id: all, decision: allow}', 'a removed: decision: no longer DENY; only loosens; looser: {"topic": "x"}: DENY -> ALLOW'),
	('{id: a, match: {topics: [x], risk_tags: {none: [p]}}, decision: allow}', '{id: a, match: {topics: [x, "y*"], risk_tags: {none: [p]}}, decision: allow}', 'a changed: topics: also y*; only loosens; looser: {"topic": "y"}: DENY -> ALLOW'),
	('{id: a, match: {topics: [x], risk_tags: [p]}, decision: deny}, {id: all, decision: allow}', '{id: a, match: {topics: [x], risk_tags: [p, q]}, decision: deny}, {id: all, decision: allow}', 'a changed: risk_tags: also q; only loosens; looser: {"topic": "x", "risk_tags": ["p"]}: DENY -> ALLOW'),
	('{id: a, match: {topics: [x]}, decision: deny}', '{id: a, match: {topics: [x]}, decision: allow}', 'a changed: decision: DENY -> ALLOW; only loosens; looser: {"topic": "x"}: DENY -> ALLOW'),
	('{id: a, match: {labels: {env: prod}}, decision: allow}', '{id: a, match: {labels: {ENV: {}}}, decision: allow}', 'a changed: labels.env: any value; labels.env: no longer prod; only loosens; looser: {"topic": "x", "labels": {"env": "x"}}: DENY -> ALLOW'),
	('{id: a, match: {topics: [x], secrets_present: false}, decision: allow}', '{id: a, match: {topics: [x]}, decision: allow}', 'a changed: secrets_present: no longer false; only loosens; looser: {"topic": "x", "secrets_present": true}: DENY -> ALLOW'),
	('{id: a, match: {topics: [x], when: "$.n > 1"}, decision: deny}, {id: all, decision: allow}', '{id: a, match: {topics: [x], when: "$.n > 2"}, decision: deny}, {id: all, decision: allow}', 'a changed: when: "strict ($."n" > 1)" -> "strict ($."n" > 2)"; may loosen and tighten'),
	('{id: a, mode: monitor, decision: deny}, {id: all, decision: allow}', '{id: a, decision: deny}, {id: all, decision: allow}', 'a changed: mode: monitor -> enforce; only tightens; tighter: {"topic": "x"}: ALLOW -> DENY'),
	('{id: a, enabled: false, decision: deny}, {id: all, decision: allow}', '{id: a, decision: deny}, {id: all, decision: allow}', 'a changed: enabled: false -> true; only tightens; tighter: {"topic": "x"}: ALLOW -> DENY'),
	('{id: a, decision: allow, reason: b}', '{id: a, decision: allow, owner: me, description: d}', 'a changed: reason: no longer b; owner: me; description: d; decides as before'),
	('{id: a, decision: allow, constraints: {max_x: 2, region: eu}}', '{id: a, decision: allow, constraints: {max_x: 1.50, max_y: 3, region: eu}}', 'a changed: constraints.max_x: 2 -> 1.50; constraints.max_y: 3; only tightens; tighter: {"topic": "x"}: ALLOW_WITH_CONSTRAINTS {"max_x": 2, "region": "eu", "max_retries": 1, "max_runtime_sec": 60} -> {"max_x": 1.50, "max_y": 3, "region": "eu", "max_retries": 1, "max_runtime_sec": 60}'),
	('{id: a, decision: allow, constraints: {region: eu, max_x: 1}}', '{id: a, decision: allow, constraints: {max_x: 1}}', 'a changed: constraints.region: no longer "eu"; may loosen and tighten'),
	('{id: a, decision: require_approval, approval: {approvers: [b]}}', '{id: a, decision: require_approval, approval: {approvers: [b, c], min_approvals: 1}}', 'a changed: approvers: also c; only loosens; looser: {"topic": "x"}: REQUIRE_APPROVAL as before, on other terms'),
	('{id: a, decision: require_approval}', '{id: a, decision: require_approval, approval: {min_approvals: 2, expires_in_sec: 60}}', 'a changed: min_approvals: 1 -> 2; expires_in_sec: 86400 -> 60; only tightens; tighter: {"topic": "x"}: REQUIRE_APPROVAL as before, on other terms'),
	('{id: a, decision: throttle}', '{id: a, decision: throttle, retry_after_sec: 9}', 'a changed: retry_after_sec: 5 -> 9; only tightens; tighter: {"topic": "x"}: THROTTLE as before, on other terms'),
	('{id: a, decision: deny}', '{id: a, decision: deny, velocity: {max_requests: 5, window_seconds: 60, key: "tenant:labels.e"}}', 'a changed: velocity: more than 5 in 60 s by tenant:labels.e; only loosens'),
	('{id: a, decision: deny}, {id: all, decision: allow}', '{id: a, decision: deny, exceptions: [{id: e, match: {tenants: [acme]}, expires_at: 3000-01-01T00:00:00Z, reason: r}]}, {id: all, decision: allow}', 'a changed: exception e, until 3000-01-01T00:00:00+00:00; exception e: tenants: acme; only loosens; looser: {"tenant_id": "acme", "topic": "x"}: DENY -> ALLOW'),
	('{id: a, decision: deny, exceptions: [{id: e, match: {tenants: [acme]}, expires_at: 2000-01-01T00:00:00Z, reason: r}]}', '{id: a, decision: deny}', 'a changed: exception e is gone; decides as before'),
	('{id: a, decision: deny, remediations: [{id: r, title: t}]}', '{id: a, decision: deny, remediations: [{id: r, title: u}, {id: s}]}', 'a changed: remediation r is another; remediation s; decides as before'),
	('{id: a, decision: allow}', '{id: b, decision: allow}', 'b renamed: it was a; decides as before'),
	('{id: a, decision: allow}, {id: b, decision: deny}', '{id: b, decision: deny}, {id: a, decision: allow}', 'b moved: it comes first of those that were there; decides as before'),
	('version: v1', 'version: v1
combine: first_match', '- combine: combine: strictest -> first_match; may loosen and tighten'),
	('version: v1', 'version: v1
defaults: {decision: allow, reason: ok}', '- defaults: decision: DENY -> ALLOW; reason: "no rule matched" -> ok; only loosens; looser: {"topic": "x"}: DENY -> ALLOW'),
	('version: v1
evidence: {mask: ["$.payload.a", "$.payload.b"]}', 'version: v1
evidence: {mask: [''$.payload."a"'']}', '- evidence: evidence.mask: no longer $.payload.b; only loosens'),
	('version: v1
tests: [{name: t, job: {topic: x}, expect: {decision: deny}}, {name: u, job: {topic: x}, expect: {decision: deny}}, {name: s, job: {topic: x}, expect: {decision: deny}}]', 'version: v1
tests: [{name: u, job: {topic: y}, expect: {decision: deny}}, {name: s, expect: {decision: DENY}, job: {topic: x}}, {name: v w, job: {topic: x}, expect: {decision: deny}}]', '- tests: tests: also "v w"; tests: no longer t; tests: changed u')
) t(a, b, expected);

--
-- What is certain, and what is not
--
SELECT is(claim(a, b), expected, what) FROM (VALUES
	('', '{id: a, decision: require_approval}', 'may loosen and tighten', 'an approval where the default denies'),
	('{id: all, decision: allow}', '{id: all, decision: allow}, {id: z, match: {topics: [x]}, decision: require_approval}', 'only tightens', 'an approval inside of an allow'),
	('{id: all, match: {topics: [x, y]}, decision: allow}', '{id: all, match: {topics: [x, y]}, decision: allow}, {id: z, match: {topics: ["?"]}, decision: require_approval}', 'may loosen and tighten', 'and where it reaches beyond it'),
	('{id: all, match: {when: "$.n > 1"}, decision: allow}', '{id: all, match: {when: "$.n > 1"}, decision: allow}, {id: z, match: {topics: [x]}, decision: require_approval}', 'may loosen and tighten', 'or that allow is not certain'),
	('{id: all, decision: allow}', '{id: all, decision: allow}, {id: z, decision: throttle, constraints: {max_runtime_sec: 600}}', 'may loosen and tighten', 'bounds wider than the default''s'),
	('{id: all, decision: allow}', '{id: all, decision: allow}, {id: z, decision: throttle, constraints: {max_runtime_sec: 6}}', 'only tightens', 'and narrower ones'),
	('{id: all, decision: allow, constraints: {region: eu}}', '{id: all, decision: allow, constraints: {region: eu}}, {id: z, decision: throttle, constraints: {region: us}}', 'may loosen and tighten', 'values that have no order'),
	('{id: all, decision: allow, constraints: {region: eu}}', '{id: all, decision: allow, constraints: {region: us}}', 'may loosen and tighten', 'of one rule, too'),
	('{id: a, decision: deny, match: {topics: [x]}}', '{id: a, decision: deny, match: {topics: [y]}}', 'may loosen and tighten', 'a match that is another'),
	('{id: a, decision: deny, match: {when: "$.n > 1"}}', '{id: a, decision: deny}', 'only tightens', 'a `when` that goes'),
	('{id: a, decision: allow, match: {when: "$.n > 1"}}', '{id: a, decision: allow}', 'only loosens', 'and that of an allow'),
	('{id: a, decision: deny, velocity: {max_requests: 5, window_seconds: 60, key: tenant}}', '{id: a, decision: deny, velocity: {max_requests: 4, window_seconds: 60, key: tenant}}', 'only tightens', 'a lower rate'),
	('{id: a, decision: deny, velocity: {max_requests: 5, window_seconds: 60, key: tenant}}', '{id: a, decision: deny, velocity: {max_requests: 4, window_seconds: 30, key: tenant}}', 'may loosen and tighten', 'in another window'),
	('{id: a, decision: allow}', '{id: a, decision: allow, velocity: {max_requests: 5, window_seconds: 60, key: tenant}}', 'only tightens', 'an allow that comes to be beyond a rate'),
	('{id: a, decision: deny, expires_at: 2999-01-01T00:00:00Z}', '{id: a, decision: deny, expires_at: 2998-01-01T00:00:00Z}', 'only loosens', 'a denial that ends earlier'),
	('{id: a, decision: deny, not_before: 2000-01-01T00:00:00Z}', '{id: a, decision: deny, not_before: 2001-01-01T00:00:00Z}', 'decides as before', 'a past beginning'),
	('{id: a, decision: deny, expires_at: 2000-01-01T00:00:00Z}', '', 'decides as before', 'what has ended'),
	('{id: a, decision: allow, exceptions: [{id: e, match: {topics: [x]}, expires_at: 3000-01-01T00:00:00Z, reason: r}]}', '{id: a, decision: allow, exceptions: [{id: e, match: {topics: ["x*"]}, expires_at: 3000-01-01T00:00:00Z, reason: r}]}', 'only tightens', 'a wider exception of an allow'),
	('{id: a, decision: require_approval, approval: {approvers: [b]}}', '{id: a, decision: require_approval, approval: {approvers: [c]}}', 'may loosen and tighten', 'other approvers'),
	('version: v1
combine: first_match
rules: [{id: a, match: {topics: [x]}, decision: allow}, {id: b, decision: deny}]', 'version: v1
combine: first_match
rules: [{id: b, decision: deny}, {id: a, match: {topics: [x]}, decision: allow}]', 'may loosen and tighten', 'an order under first_match'),
	('version: v1
combine: first_match
rules: [{id: b, decision: throttle, constraints: {max_runtime_sec: 600}}]', 'version: v1
combine: first_match
rules: [{id: a, match: {topics: [x]}, decision: allow}, {id: b, decision: throttle, constraints: {max_runtime_sec: 600}}]', 'may loosen and tighten', 'an allow that takes over from wider bounds under first_match'),
	('version: v1
combine: first_match
rules: [{id: b, decision: throttle}]', 'version: v1
combine: first_match
rules: [{id: b, decision: throttle}, {id: a, decision: deny}]', 'only tightens', 'a denial under first_match'),
	('{id: a, decision: allow, constraints: {region: eu}}, {id: b, decision: allow, constraints: {region: us}}', '{id: b, decision: allow, constraints: {region: us}}, {id: a, decision: allow, constraints: {region: eu}}', 'may loosen and tighten', 'an order that says which value holds')
) t(a, b, expected, what);
SELECT is(said('{id: all, decision: allow}, {id: big, match: {when: "$.payload.a.b > 1000"}, decision: deny}', '{id: all, decision: allow}'),
	'big removed: decision: no longer DENY; only loosens; looser: {"topic": "x"}: DENY -> ALLOW', 'what is unknown is an example');
SELECT is(said('{id: big, match: {when: "$.payload.a.b > 1000 || $.payload.n > 5"}, decision: deny}, {id: all, match: {topics: [x]}, decision: allow}', '{id: big, match: {when: "$.payload.a.b > 1000 || $.payload.n > 5"}, decision: deny}'),
	'all removed: decision: no longer ALLOW; only tightens; tighter: {"topic": "x", "payload": {"a": {"b": 0}, "n": 0}}: ALLOW -> DENY', 'where what is unknown hides a change, an example has it');
SELECT matches(said('{id: all, match: {topics: [x]}, decision: allow}', '{id: all, match: {topics: [x]}, decision: allow}, {id: z, decision: require_approval}'),
	'; looser: \{"topic": "[^"]+"\}: DENY -> REQUIRE_APPROVAL; tighter: \{"topic": "x"\}: ALLOW -> REQUIRE_APPROVAL$', 'where both can be, both are shown');
SELECT matches(said('{id: a, match: {topics: [x]}, decision: deny}, {id: b, decision: allow}, {id: c, decision: deny}', '{id: b, decision: allow}'),
	'a removed: decision: no longer DENY; only loosens\nc removed: decision: no longer DENY; only loosens; looser: \{"topic": "[^"]+"\}: DENY -> ALLOW$', 'a change is judged alone');
SELECT matches(said('{id: b, decision: allow}', '{id: b, decision: allow}, {id: a, match: {topics: [x]}, decision: require_approval}, {id: c, decision: deny}'),
	'a added: [^\n]*tighter: \{"topic": "x"\}: ALLOW -> REQUIRE_APPROVAL \(with all changes DENY\)', 'and it is said what the others make of its example');
SELECT matches(said('{id: all, decision: allow}', '{id: all, decision: allow}, {id: later, not_before: 3000-01-01T00:00:00Z, decision: deny}'),
	'only tightens; tighter: \{"topic": "x"\} at 3000-01-01T00:00:00\+00:00: ALLOW -> DENY$', 'an example of a later time names it');

-- What an example says, policy_evaluate does.
SELECT is((SELECT array_agg((policy_evaluate(d, m[1]::jsonb, now())).decision ORDER BY side) FROM (VALUES
		(1, whole('{id: a, match: {topics: ["job.*"]}, decision: allow}')),
		(2, whole('{id: a, match: {topics: ["job.*"], tenants: {none: ["acme*"]}}, decision: allow}'))) t(side, d),
	regexp_match(said('{id: a, match: {topics: ["job.*"]}, decision: allow}', '{id: a, match: {topics: ["job.*"], tenants: {none: ["acme*"]}}, decision: allow}'), 'only tightens; tighter: (.*): ALLOW -> DENY') m),
	'{ALLOW,DENY}'::policy_decision[], 'an example is as it is said');

-- Words of the documents stay within their quotes, on one line.
SELECT is(said('', '{id: a, decision: deny, reason: "x\n; only loosens \"y\" \u202e"}'), 'a added: decision: DENY; reason: "x\x0A; only loosens "y" \u202E"; only tightens', 'a reason is shown on one line');

--
-- Stored snapshots
--
SELECT policy_stage('v1', whole('{id: all, decision: allow}'), NULL) \g /dev/null
SELECT policy_stage('v2', whole('{id: all, decision: allow}, {id: no, match: {topics: [x]}, decision: deny}'), NULL) \g /dev/null
SELECT policy_stage('v3', '{"rules": [{"decision": "allow", "id": "all"}], "version": "v1"}', NULL) \g /dev/null
SELECT is(array_agg((d)::text), ARRAY['(no,added,"decision: DENY; topics: x; only tightens; tighter: {""topic"": ""x""}: ALLOW -> DENY")'], 'snapshots are compared by name') FROM policy_diff('v1', 'v2') d;
SELECT is((SELECT count(*) FROM policy_diff('v1', b)), 0::bigint, 'no row between v1 and ' || b) FROM unnest('{v1,v3}'::text[]) b;
SELECT is(sqlstate_of(format('SELECT policy_diff(%s)', a)), 'PE002', 'unknown: ' || a) FROM unnest('{"''none'', ''v1''","''v1'', ''none''","NULL, ''v1''","''v1'', NULL"}'::text[]) a;

-- The work is bounded: a thousand rules that all change take no time that matters.
SELECT policy_stage('many' || v, ('version: v1
rules: [' || (SELECT string_agg(format('{id: r%s, match: {topics: ["job.%s.*"], risk_tags: [t%s]}, decision: %s}', i, i * v, i % 7, (ARRAY['deny', 'allow', 'require_approval'])[i % 3 + 1]), ', ') FROM generate_series(1, 1000) i) || ']')::policy_document, NULL) FROM generate_series(1, 2) v \g /dev/null
SET LOCAL statement_timeout = '60s';
SELECT is((SELECT count(*) FROM policy_diff('many1', 'many2')), 1000::bigint, 'a thousand changes of a thousand rules are told');

SELECT * FROM finish();
ROLLBACK;
