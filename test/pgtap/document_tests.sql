\ir common.psql
SELECT plan(58);

-- What policy_test_document prints of a document, as one text.
CREATE FUNCTION tap(document text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(t.line, E'\n' ORDER BY t.n) FROM policy_test_document(document::policy_document) WITH ORDINALITY t(line, n)
$$;
-- The same of one test of a small policy, without the plan and what no test touches.
CREATE FUNCTION one(test text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(line, E'\n' ORDER BY n) FROM regexp_split_to_table(tap(E'version: v1\nrules:
  - {id: ask, match: {topics: ["ask.*"]}, decision: require_approval, reason: "ask first", constraints: {max_runtime_sec: 10.0, deny_hosts: [b, a]}}
  - {id: also, match: {topics: [ask.me]}, decision: allow}
  - {id: watch, match: {topics: ["*"]}, decision: deny, mode: monitor}
tests:\n  - ' || test), E'\n') WITH ORDINALITY l(line, n) WHERE line !~ '^(1\.\.|# touched|#   untouched)'
$$;

--
-- Only what expect names is compared
--
SELECT is(one(format('{name: n, job: {topic: %s}, expect: {%s}}', topic, expect)), outcome, what) FROM (VALUES
	('ask.x', 'decision: require_approval', 'ok 1 - n', 'a decision in lower case'),
	('ask.x', 'decision: REQUIRE_APPROVAL', 'ok 1 - n', 'a decision in upper case'),
	('ask.x', 'decision: allow', E'not ok 1 - n\n#   Failed test at line 7\n#   decision: expected allow, got REQUIRE_APPROVAL', 'a decision that differs'),
	('no', 'decision: allow_with_constraints', E'not ok 1 - n\n#   Failed test at line 7\n#   decision: expected allow_with_constraints, got DENY', 'the default''s, too'),
	('ask.x', 'matched_rule: ask', 'ok 1 - n', 'the rule'),
	('ask.x', 'matched_rule: also', E'not ok 1 - n\n#   Failed test at line 7\n#   matched_rule: expected "also", got "ask"', 'another rule'),
	('no', 'matched_rule: ask', E'not ok 1 - n\n#   Failed test at line 7\n#   matched_rule: expected "ask", got none', 'no rule'),
	('no', 'matched_rule: null', E'not ok 1 - n\n#   Failed test at line 7\n#   matched_rule: expected "null", got none (write matched_rules: [] to expect none)', 'null is a name, and the way to say none is told'),
	('no', 'matched_rules: []', 'ok 1 - n', 'none'),
	('ask.me', 'matched_rules: [ask, also]', 'ok 1 - n', 'the rules'),
	('ask.me', 'matched_rules: [also, ask]', E'not ok 1 - n\n#   Failed test at line 7\n#   matched_rules: expected ["also", "ask"], got ["ask", "also"]', 'the rules in another order'),
	('ask.me', 'matched_rules: [ask]', E'not ok 1 - n\n#   Failed test at line 7\n#   matched_rules: expected ["ask"], got ["ask", "also"]', 'one of the rules'),
	('ask.x', 'reason: "ask first"', 'ok 1 - n', 'the reason'),
	('ask.x', 'reason: "Ask first"', E'not ok 1 - n\n#   Failed test at line 7\n#   reason: expected "Ask first", got "ask first"', 'a reason is compared byte by byte'),
	('ask.x', 'constraints: {max_retries: 1, deny_hosts: [b, a], max_runtime_sec: 10}', 'ok 1 - n', 'constraints in any order of keys, and 10 is 10.0'),
	('ask.x', 'constraints: {max_retries: 1, deny_hosts: [a, b], max_runtime_sec: 10}', E'not ok 1 - n\n#   Failed test at line 7\n#   constraints: expected {"deny_hosts": ["a", "b"], "max_retries": 1, "max_runtime_sec": 10}, got {"deny_hosts": ["b", "a"], "max_retries": 1, "max_runtime_sec": 10.0}', 'but not of items'),
	('ask.x', 'constraints: {deny_hosts: [b, a]}', E'not ok 1 - n\n#   Failed test at line 7\n#   constraints: expected {"deny_hosts": ["b", "a"]}, got {"deny_hosts": ["b", "a"], "max_retries": 1, "max_runtime_sec": 10.0}', 'all of them'),
	('no', 'constraints: {}', 'ok 1 - n', 'a denied job has none'),
	('ask.x', 'decision: deny, matched_rule: ask, reason: x', E'not ok 1 - n\n#   Failed test at line 7\n#   decision: expected deny, got REQUIRE_APPROVAL\n#   reason: expected "x", got "ask first"', 'every key that differs is listed, and none that does not'),
	('ask.x', '', E'ok 1 - n\n#   expects nothing, and cannot fail', 'a test that expects nothing says so')
) t(topic, expect, outcome, what);
SELECT is(one('{name: n, job: {topic: 5}, expect: {decision: deny, reason: "invalid job: topic is not a string"}}'), 'ok 1 - n', 'a test may be of an invalid job');
SELECT is(one(format('{name: n, job: %s, expect: {reason: "invalid job: it is not an object"}}', job)), 'ok 1 - n', 'whatever it is: ' || job) FROM unnest('{null,x,5,[],[a],true}'::text[]) job;
SELECT is(one('{name: n, job: {tenant_id: t, job: {topic: ask.x}}, expect: {matched_rule: ask}}'), 'ok 1 - n', 'or a request');

--
-- A name cannot say more than it is
--
SELECT is(one(format('{name: %s, job: {topic: no}, expect: {decision: allow}}', to_jsonb(name))) COLLATE "C",
	'not ok 1 - ' || shown || E'\n#   Failed test at line 7\n#   decision: expected allow, got DENY', 'the name ' || shown) FROM (VALUES
	('x # TODO later', 'x \# TODO later'),
	('x # SKIP', 'x \# SKIP'),
	('x \# SKIP', 'x \\\# SKIP'),
	(E'x\nok 2 - y', 'x\\x0Aok 2 - y'),
	(E'x\r1..0', 'x\\x0D1..0'),
	(E'\u202ex\u2028', '\\u202Ex\\u2028'),
	(E'\u001b[2J', '\\x1B[2J'),
	('', ''),
	(repeat('x', 300), repeat('x', 200) || '...')) n(name, shown);

--
-- The plan, and when
--
SELECT is(tap('version: v1'), E'1..0 # SKIP the document has no tests\n# touched by tests: 0 of 0 rules, 0 of 0 conditions, 0 of 0 exceptions', 'a document without tests is skipped, aloud');
SELECT is((SELECT array_agg(line) FROM policy_test_document(NULL) line), '{1..1,not ok 1 - the document is NULL}', 'no document is a failure');
SELECT is((SELECT array_agg(line) FROM unnest(string_to_array(tap('version: v1
rules:
  - {id: a, not_before: 2026-01-01T00:00:00Z, expires_at: 2026-02-01T00:00:00Z, decision: allow}
tests:
  - {name: before, at: 2025-12-31T23:59:59Z, job: {topic: x}, expect: {decision: deny}}
  - {name: first, at: 2026-01-01T00:00:00Z, job: {topic: x}, expect: {decision: allow}}
  - {name: after, at: 2026-02-01T00:00:00Z, job: {topic: x}, expect: {decision: deny}}'), E'\n')) line WHERE line ~ 'ok'), '{ok 1 - before,ok 2 - first,ok 3 - after}', 'a test is run at its time');
SELECT is((SELECT array_agg(line) FROM unnest(string_to_array(tap('version: v1
rules:
  - {id: v, match: {topics: [x]}, decision: deny, velocity: {max_requests: 5, window_seconds: 60, key: tenant}}
  - {id: w, decision: allow, velocity: {max_requests: 5, window_seconds: 60, key: tenant}}
tests:
  - {name: restricts, job: {topic: x}, expect: {decision: deny, matched_rules: [v]}}
  - {name: permits, job: {topic: y}, expect: {decision: deny, matched_rules: []}}'), E'\n')) line WHERE line ~ 'ok'), '{ok 1 - restricts,ok 2 - permits}', 'a velocity is unknown in a test');

--
-- What no test touches
--
CREATE FUNCTION untouched(rules text, tests text, head text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(replace(replace(line, '#   untouched ', ''), '# touched by tests: ', ''), '; ' ORDER BY n)
	FROM regexp_split_to_table(tap(format(E'version: v1\n%s\nrules:\n%s\ntests:\n%s', head, rules, tests)), E'\n') WITH ORDINALITY l(line, n)
	WHERE line ~ '^# touched|^#   untouched'
$$;
SELECT is(untouched(rules, (SELECT string_agg(format('  - {name: n, at: 2026-01-01T00:00:00Z, job: %s, expect: {}}', job), E'\n') FROM unnest(jobs) job)), outcome, what) FROM (VALUES
	('  - {id: a, match: {topics: [x], risk_tags: [p], labels: {env: e}, secrets_present: true, when: "$.n > 1"}, decision: deny}',
		'{"{topic: x, risk_tags: [p], labels: {env: e}, secrets_present: true, n: 2}"}'::text[],
		'1 of 1 rules, 0 of 5 conditions, 0 of 0 exceptions; condition: secrets_present of a; condition: topics of a; condition: risk_tags of a; condition: labels.env of a; condition: when of a',
		'a rule that applies is touched, and its conditions are not'),
	('  - {id: a, match: {topics: [x], risk_tags: [p], labels: {env: e}, secrets_present: true, when: "$.n > 1"}, decision: deny}',
		'{"{topic: x, risk_tags: [p], labels: {env: e}, secrets_present: true, n: 2}","{topic: y, risk_tags: [p], labels: {env: e}, secrets_present: true, n: 2}","{topic: x, labels: {env: e}, secrets_present: true, n: 2}","{topic: x, risk_tags: [p], labels: {env: f}, secrets_present: true, n: 2}","{topic: x, risk_tags: [p], labels: {env: e}, n: 2}","{topic: x, risk_tags: [p], labels: {env: e}, secrets_present: true, n: 1}"}',
		'1 of 1 rules, 5 of 5 conditions, 0 of 0 exceptions', 'a condition is touched where it alone keeps the rule from applying'),
	('  - {id: a, match: {topics: [x], tenants: [t]}, decision: deny}', '{"{topic: x, tenant: t}","{topic: y, tenant: u}"}',
		'1 of 1 rules, 0 of 2 conditions, 0 of 0 exceptions; condition: tenants of a; condition: topics of a', 'two that fail together say nothing of each'),
	('  - {id: a, match: {topics: [x]}, decision: deny}', '{"{topic: y}"}', '0 of 1 rules, 1 of 1 conditions, 0 of 0 exceptions; rule: a', 'a rule that applies in no test is named, and its conditions are not'),
	(E'  - {id: a, match: {topics: [x]}, decision: deny, mode: monitor}\n  - {id: b, decision: deny, enabled: false}', '{"{topic: x}"}',
		'1 of 1 rules, 0 of 1 conditions, 0 of 0 exceptions; condition: topics of a', 'one that only watches is touched where it is listed, one that is disabled is left out'),
	('  - {id: a, match: {topics: [x]}, decision: deny, exceptions: [{id: e, match: {tenants: [t]}, expires_at: 2026-06-01T00:00:00Z, reason: r}, {id: f, match: {tenants: [u]}, expires_at: 2025-06-01T00:00:00Z, reason: r}]}',
		'{"{topic: x}","{topic: x, tenant: t}","{topic: x, tenant: u}","{topic: y, tenant: t}"}', '1 of 1 rules, 0 of 1 conditions, 1 of 2 exceptions; condition: topics of a; exception: f of a', 'an exception is touched while it is live, where nothing else fails'),
	('  - {id: a, match: {when: "$.n > 1"}, decision: allow}', '{"{topic: x, n: 2}","{topic: x}"}', '1 of 1 rules, 1 of 1 conditions, 0 of 0 exceptions', 'what is unknown fails a rule that permits'),
	('  - {id: a, match: {when: "$.n > 1"}, decision: deny}', '{"{topic: x, n: 2}","{topic: x}"}', '1 of 1 rules, 0 of 1 conditions, 0 of 0 exceptions; condition: when of a', 'and does not fail one that restricts')
) c(rules, jobs, outcome, what);
SELECT is(untouched(E'  - {id: a, match: {topics: [x]}, decision: deny}\n  - {id: b, match: {topics: ["*"]}, decision: allow}', '  - {name: n, job: {topic: x}, expect: {}}', 'combine: first_match'),
	'1 of 2 rules, 0 of 2 conditions, 0 of 0 exceptions; condition: topics of a; rule: b', 'under first_match the winner alone is touched');

--
-- Stored snapshots
--
SELECT policy_stage('good', E'version: v1\ntests:\n  - {name: denied, job: {topic: x}, expect: {decision: deny}}', NULL) \g /dev/null
SELECT policy_stage('bad', E'version: v1\ntests:\n  - {name: allowed, job: {topic: x}, expect: {decision: allow}}\n  - {name: denied, job: {topic: x}, expect: {decision: deny}}', NULL) \g /dev/null
SELECT policy_stage('none', E'version: v1', NULL) \g /dev/null
SELECT is((SELECT array_agg(line) FROM policy_test('good') line), (SELECT array_agg(line) FROM policy.snapshots s, policy_test_document(s.document) line WHERE s.snapshot = 'good'), 'policy_test runs the tests of a stored snapshot');
SELECT is(policy.tests_failed('good') || ',' || policy.tests_failed('bad') || ',' || policy.tests_failed('none'), '0,1,0', 'the tests that fail are counted');
SELECT is(sqlstate_of(format('SELECT %s', f)), 'PE002', f || ' raises PE002') FROM unnest('{policy_test(''other''),policy_test(NULL),policy.tests_failed(''other''),policy.tests_failed(NULL)}'::text[]) f;

\set agents `cat examples/agents.yaml`
SELECT is((SELECT count(*) FROM policy_validate(:'agents')), 0::bigint, 'the example of a realistic policy is clean');
SELECT is((SELECT count(*) FROM policy_test_document(:'agents') line WHERE line LIKE 'ok %'), 10::bigint, 'and passes its own tests');

SELECT * FROM finish();
ROLLBACK;
