\ir common.psql
SELECT plan(335);

--
-- True, false and unknown, in a rule that restricts and in one that permits.
-- Both documents decide one topic; where the rule does not apply, the default
-- does: ALLOW for the restricting one, DENY for the permitting one.
--
CREATE FUNCTION applies(rule_decision text, predicate text, payload jsonb, OUT result text)
	LANGUAGE sql AS $$
	SELECT v.decision || ' by ' || coalesce(v.matched_rule, 'default')
	FROM decide(jsonb_build_object(
		'version', 'v1',
		'defaults', jsonb_build_object('decision', CASE rule_decision WHEN 'allow' THEN 'deny' ELSE 'allow' END),
		'rules', jsonb_build_array(jsonb_build_object(
			'id', 'r', 'decision', rule_decision,
			'match', jsonb_build_object('topics', jsonb_build_array('a'), 'when', predicate))))::text,
		jsonb_build_object('topic', 'a') || coalesce(jsonb_build_object('payload', payload), '{}')) v
$$;

CREATE TEMP TABLE truths (what text, predicate text, payload jsonb, truth text);
INSERT INTO truths VALUES
	('greater', '$.payload.amount > 1000', '{"amount": 5000}', 'true'),
	('not greater', '$.payload.amount > 1000', '{"amount": 10}', 'false'),
	('an absent field', '$.payload.amount > 1000', '{}', 'unknown'),
	('a string for a number', '$.payload.amount > 1000', '{"amount": "5000"}', 'unknown'),
	('a boolean for a number', '$.payload.amount > 1000', '{"amount": true}', 'unknown'),
	('an array for a number, in strict mode', '$.payload.amount > 1000', '{"amount": [5000]}', 'unknown'),
	('an object for a number', '$.payload.amount > 1000', '{"amount": {}}', 'unknown'),
	('a division by zero', '1 / $.payload.n > 1', '{"n": 0}', 'unknown'),
	('a method that fails', '$.payload.n.double() > 1', '{"n": "x"}', 'unknown'),
	('strict mode is the one without a word', 'strict $.payload.amount > 1000', '{}', 'unknown'),
	('lax: an absent field', 'lax $.payload.amount > 1000', '{}', 'false'),
	('lax: an array is looked into', 'lax $.payload.amount > 1000', '{"amount": [5000]}', 'true'),
	('lax: a string for a number', 'lax $.payload.amount > 1000', '{"amount": "5000"}', 'unknown'),
	('a string', '$.payload.env == "prod"', '{"env": "prod"}', 'true'),
	('a string as it was given', '$.payload.env == "prod"', '{"env": "PROD"}', 'false'),
	('starts with', '$.payload.path starts with "/etc"', '{"path": "/etc/passwd"}', 'true'),
	('starts with', '$.payload.path starts with "/etc"', '{"path": 5}', 'unknown'),
	('and: unknown and false', '$.payload.a > 1 && $.payload.b > 1', '{"b": 0}', 'false'),
	('and: unknown and true', '$.payload.a > 1 && $.payload.b > 1', '{"b": 2}', 'unknown'),
	('or: unknown or true', '$.payload.a > 1 || $.payload.b > 1', '{"b": 2}', 'true'),
	('or: unknown or false', '$.payload.a > 1 || $.payload.b > 1', '{"b": 0}', 'unknown'),
	('not: of unknown', '!($.payload.a > 1)', '{}', 'unknown'),
	('is unknown', '($.payload.a > 1) is unknown', '{}', 'true'),
	('exists', 'exists($.payload.a)', '{"a": 1}', 'true'),
	('exists, in strict mode, of what is absent', 'exists($.payload.a)', '{}', 'unknown'),
	('exists, in lax mode, of what is absent', 'lax exists($.payload.a)', '{}', 'false'),
	('several items against one', '$.payload.items[*] > 5', '{"items": [1, 9]}', 'true'),
	('several items against one', '$.payload.items[*] > 5', '{"items": [1, 2]}', 'false'),
	('several items, one of a wrong type', '$.payload.items[*] > 5', '{"items": [9, "x"]}', 'unknown'),
	('a filter of its own item', 'exists($.payload.items[*] ? (@.n > 5))', '{"items": [{"n": 9}]}', 'true'),
	('arithmetic', '$.payload.price * $.payload.count > 100', '{"price": 60, "count": 2}', 'true'),
	('no payload', '$.payload.amount > 1000', NULL, 'unknown'),
	-- a null: PostgreSQL calls its comparison false, and so it would slip past
	('a null', '$.payload.amount > 1000', '{"amount": null}', 'unknown'),
	('a null, denied', '!($.payload.amount > 1000)', '{"amount": null}', 'unknown'),
	('a null, unequal', '$.payload.amount != 5', '{"amount": null}', 'unknown'),
	('a null among several', '$.payload.items[*] > 5', '{"items": [1, null]}', 'unknown'),
	('a null above', '$.payload.order.amount > 1000', '{"order": null}', 'unknown'),
	('a null elsewhere', '$.payload.amount > 1000', '{"amount": 10, "other": null}', 'false'),
	('a null elsewhere', '$.payload.amount > 1000', '{"amount": 5000, "other": [null]}', 'true'),
	('a null that is asked for', '$.payload.a == null', '{"a": null}', 'true'),
	('a null that is asked for', '$.payload.a == null', '{"a": 1}', 'false'),
	('a null asked for beside one that is not', '$.payload.amount > 1000 || $.payload.ref == null', '{"amount": null, "ref": "x"}', 'unknown'),
	('a null asked for beside one that is not', '$.payload.amount > 1000 || $.payload.ref == null', '{"amount": 1, "ref": null}', 'true'),
	('a null that is not wanted', '$.payload.ref != null', '{"ref": null}', 'false'),
	('a null of a list that is asked for', 'exists($.payload.items[*] ? (@.a == null))', '{"items": [{"a": null}]}', 'true'),
	('a null of a list that is asked for elsewhere', 'exists($.payload.items[0] ? (@.a == null)) || $.payload.items[1].a > 1', '{"items": [{"a": 1}, {"a": null}]}', 'unknown'),
	('a type that is asked for', '$.payload.a.type() == "null"', '{"a": null}', 'true'),
	('another type that is asked for', '$.payload.a.type() == "number"', '{"a": null}', 'false'),
	('a key named null', '$.payload.null > 5', '{"null": null}', 'unknown'),
	('a string with the word null', '$.payload.a > 5 || $.payload.b == "null"', '{"a": null, "b": "x"}', 'unknown'),
	-- a filter: PostgreSQL drops what it cannot judge, and so that would slip past
	('a filter, a string for a number', 'exists($.payload.items[*] ? (@.n > 5))', '{"items": [{"n": "9"}]}', 'unknown'),
	('a filter, an absent field', 'exists($.payload.items[*] ? (@.n > 5))', '{"items": [{}]}', 'unknown'),
	('a filter, a null', 'exists($.payload.items[*] ? (@.n > 5))', '{"items": [{"n": null}]}', 'unknown'),
	('a filter that one item passes', 'exists($.payload.items[*] ? (@.n > 5))', '{"items": [{"n": "9"}, {"n": 9}]}', 'true'),
	('a filter that no other item passes', 'exists($.payload.items[*] ? (@.n > 5))', '{"items": [{"n": "9"}, {"n": 1}]}', 'unknown'),
	('a filter, denied', '!exists($.payload.items[*] ? (@.n > 5))', '{"items": [{"n": "9"}]}', 'unknown'),
	('a filter beside one that is denied', 'exists($.payload.items[*] ? (@.n > 5)) && !exists($.payload.items[*] ? (@.ok == true))', '{"items": [{"n": "9", "ok": "no"}]}', 'unknown'),
	('a filter on the way', '$.payload.items[*] ? (@.n > 5).n > 0', '{"items": [{"n": "9"}]}', 'unknown'),
	('a filter inside a filter', 'exists($.payload.items[*] ? (exists(@.parts[*] ? (@.n > 5))))', '{"items": [{"parts": [{"n": "9"}]}]}', 'unknown'),
	('a filter denied inside a filter', 'exists($.payload.items[*] ? (!exists(@.parts[*] ? (@.n > 5))))', '{"items": [{"parts": [{"n": "9"}]}]}', 'unknown'),
	('a filter behind a comment', 'exists($.payload.items[*] ? /* ( */ (@.n > 5))', '{"items": [{"n": "9"}]}', 'unknown'),
	('a filter, in lax mode', 'lax exists($.payload.items[*] ? (@.n > 5))', '{"items": [{"n": "9"}]}', 'false'),
	('what is a filter in a string alone', '$.payload.a == "? (!("', '{"a": "? (!("}', 'true');

SELECT is(applies(decision, predicate, payload),
	CASE decision WHEN 'allow' THEN CASE truth WHEN 'true' THEN 'ALLOW by r' ELSE 'DENY by default' END
		ELSE CASE truth WHEN 'false' THEN 'ALLOW by default' ELSE upper(decision) || ' by r' END END,
	format('%s: %s is %s in a rule that says %s', what, predicate, truth, decision))
FROM truths, unnest(ARRAY['deny', 'require_approval', 'throttle', 'allow']) decision;

SELECT is((decide($$
version: v1
rules:
  - {id: r, decision: allow_with_constraints, constraints: {max_runtime_sec: 5}, match: {when: '$.payload.a > 1'}}
$$, '{"topic": "a"}')).decision, 'DENY', 'unknown is false for allow_with_constraints, too');

SELECT is((decide($$
version: v1
defaults: {decision: allow}
rules:
  - {id: r, decision: deny, match: {topics: [b], when: '$.payload.a > 1'}}
$$, '{"topic": "a"}')).decision, 'ALLOW', 'where when is unknown, the rule''s other keys must still hold');

SELECT is((decide($$
version: v1
defaults: {decision: allow}
rules:
  - {id: r, decision: deny, match: {when: '$.payload.amount > 1000'}}
$$, '{"topic": "a", "payload": {"amount": null}}')).decision, 'DENY', 'a null slips past nothing');

--
-- Where every applying rule is uncertain, the default is one more.
--
\set uncertain '{"topic": "a"}'
\set certain '{"topic": "a", "payload": {"n": 2}}'

CREATE TABLE joins (document text);
INSERT INTO joins VALUES ($$
version: v1
defaults: {decision: deny, reason: by default}
rules:
  - {id: slow, decision: throttle, reason: slow down, match: {when: '$.payload.n > 1'}, retry_after_sec: 9}
$$);
SELECT is(v.decision || ' ' || v.reason || ' ' || coalesce(v.matched_rule, '-') || ' ' || v.matched_rules::text,
	'DENY by default - {slow}', 'the default wins where it is stricter than a rule that is uncertain')
	FROM joins, decide(document, :'uncertain') v;
SELECT is(v.retry_after_sec, NULL, 'and then there is no wait') FROM joins, decide(document, :'uncertain') v;
SELECT is(v.decision || ' ' || v.reason || ' ' || v.matched_rule || ' ' || v.retry_after_sec,
	'THROTTLE slow down slow 9', 'a rule that is certain keeps the default out')
	FROM joins, decide(document, :'certain') v;

SELECT is(v.decision || ' ' || v.matched_rule || ' ' || v.matched_rules::text, 'THROTTLE slow {open,slow}',
	'one rule that is certain keeps the default out')
FROM decide($$
version: v1
defaults: {decision: deny}
rules:
  - {id: open, decision: allow}
  - {id: slow, decision: throttle, match: {when: '$.payload.n > 1'}}
$$, :'uncertain') v;

UPDATE joins SET document = $$
version: v1
defaults: {decision: allow, constraints: {max_runtime_sec: 10, network_allowlist: [a, b]}}
rules:
  - {id: ask, decision: require_approval, match: {when: '$.payload.n > 1'},
     constraints: {max_runtime_sec: 100, network_allowlist: [b, c]}}
$$;
SELECT is(v.decision || ' ' || v.matched_rule || ' ' || v.constraints::text,
	'REQUIRE_APPROVAL ask {"max_runtime_sec": 10, "network_allowlist": ["b"]}',
	'the default''s constraints tighten those of a rule that is uncertain')
	FROM joins, decide(document, :'uncertain') v;
SELECT is(v.constraints, '{"max_runtime_sec": 100, "network_allowlist": ["b", "c"]}',
	'a rule that is certain may widen the default''s constraints')
	FROM joins, decide(document, :'certain') v;

-- first_match: the stricter of what is uncertain and of what follows
UPDATE joins SET document = $$
version: v1
combine: first_match
defaults: {decision: allow}
rules:
  - {id: ask, decision: require_approval, match: {when: '$.payload.n > 1'}}
  - {id: no, decision: deny, match: {topics: [a]}}
$$;
SELECT is(v.decision || ' ' || v.matched_rule, 'DENY no', 'first_match: what follows an uncertain rule wins where it is stricter')
	FROM joins, decide(document, :'uncertain') v;
SELECT is(v.decision || ' ' || v.matched_rule, 'REQUIRE_APPROVAL ask', 'first_match: a certain rule ends the walk')
	FROM joins, decide(document, :'certain') v;
SELECT is(v.decision || ' ' || v.matched_rule, 'REQUIRE_APPROVAL ask', 'first_match: an uncertain rule wins where what follows is looser')
FROM decide($$
version: v1
combine: first_match
rules:
  - {id: ask, decision: require_approval, match: {when: '$.payload.n > 1'}}
  - {id: open, decision: allow}
$$, :'uncertain') v;
SELECT is(v.decision || ' ' || coalesce(v.matched_rule, 'default'), 'DENY default', 'first_match: what follows may be the default')
FROM decide($$
version: v1
combine: first_match
rules:
  - {id: ask, decision: require_approval, match: {when: '$.payload.n > 1'}}
$$, :'uncertain') v;

--
-- An unknown exception counts as whatever leaves the stricter verdict.
--
SELECT is(v.decision || ' ' || coalesce(v.matched_rule, 'default'), expected, what)
FROM (VALUES
	('an exception that holds lifts a deny', 'deny', 'allow', '{}', '{"topic": "a", "payload": {"n": 2}}', 'ALLOW default'),
	('one that does not hold leaves it', 'deny', 'allow', '{}', '{"topic": "a", "payload": {"n": 0}}', 'DENY r'),
	('an unknown one leaves it', 'deny', 'allow', '{}', '{"topic": "a"}', 'DENY r'),
	('an unknown one leaves a require_approval', 'require_approval', 'allow', '{}', '{"topic": "a"}', 'REQUIRE_APPROVAL r'),
	('an exception that holds lifts an allow', 'allow', 'deny', '{}', '{"topic": "a", "payload": {"n": 2}}', 'DENY default'),
	('one that does not hold leaves an allow', 'allow', 'deny', '{}', '{"topic": "a", "payload": {"n": 0}}', 'ALLOW r'),
	('an unknown one lifts an allow where the default is stricter', 'allow', 'deny', '{}', '{"topic": "a"}', 'DENY default'),
	('an unknown one leaves an allow that bounds what the default does not', 'allow', 'allow', '{"max_runtime_sec": 5}', '{"topic": "a"}', 'ALLOW_WITH_CONSTRAINTS r')
) AS t(what, rule_decision, default_decision, constraints, job, expected),
decide(jsonb_build_object(
	'version', 'v1', 'defaults', jsonb_build_object('decision', default_decision, 'constraints', '{}'::jsonb),
	'rules', jsonb_build_array(jsonb_build_object(
		'id', 'r', 'decision', rule_decision, 'constraints', constraints::jsonb,
		'exceptions', jsonb_build_array(jsonb_build_object(
			'id', 'e', 'reason', 'why', 'expires_at', '2030-01-01T00:00:00Z',
			'match', jsonb_build_object('when', '$.payload.n > 1'))))))::text, job::jsonb) v;

SELECT is((v).constraints, '{"max_runtime_sec": 5}'::jsonb, 'an unknown exception does not lift a bound')
FROM decide($$
version: v1
defaults: {constraints: {}}
rules:
  - {id: open, decision: allow}
  - id: r
    decision: allow_with_constraints
    constraints: {max_runtime_sec: 5}
    exceptions:
      - {id: e, reason: why, expires_at: 2030-01-01T00:00:00Z, match: {when: '$.payload.n > 1'}}
$$, '{"topic": "a"}') v;

--
-- Predicates that are accepted, and those that are refused.
--
SELECT accepted('accepted: ' || predicate, jsonb_build_object('version', 'v1', 'rules', jsonb_build_array(
	jsonb_build_object('id', 'r', 'decision', 'deny', 'match', jsonb_build_object('when', predicate))))::text)
FROM (VALUES
	('$.a > 1'), ('strict $.a > 1'), ('lax $.a > 1'), ('lax $.a[*] == 5'), ('$.a[*] == 5'), ('$.** == 5'),
	('$.a == $.b'), ('$.a[0] == $.b[0]'), ('$.a[*] == $.b'), ('exists($.a)'), ('exists($.a[*] ? (@.n > 5))'),
	('$.a starts with "x"'), ('!($.a == 1) && ($.b == 2 || ($.c > 1) is unknown)'), ('($.a > 1) is unknown'),
	('$.a.type() == "string"'), ('$.a.size() > 3'), ('$.a.abs() > 3'), ('$."a b".c > 1'), ('$.a + $.b > 10'),
	('$.at.datetime() < "2026-01-01".datetime()')
) AS t(predicate);

CREATE FUNCTION refused_when(what text, predicate text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT refused(what || ': ' || predicate, '5:13', '', format(E'version: v1\nrules:\n  - id: r\n    match:\n      when: %s\n    decision: deny\n',
		to_jsonb(predicate)))
$$;
CREATE TEMP TABLE predicates (what text, predicate text);
INSERT INTO predicates VALUES
	('not a predicate', '$.payload.amount'),
	('not a predicate', '$'),
	('not a predicate', '1'),
	('not a predicate', '$.a + 1'),
	('not a predicate', '$.a[*] ? (@ > 1)'),
	('not a predicate', '"x"'),
	('no jsonpath', '$.payload.amount >'),
	('no jsonpath', 'amount > 1000 and'),
	('no jsonpath', ''),
	('no jsonpath', '$.a > 1; drop table x'),
	('a variable', '$limit > 1'),
	('a variable', '$.a > $limit'),
	('a variable', '$.a starts with $prefix'),
	('a variable inside a filter', 'exists($.a[*] ? (@ > $limit))'),
	('a variable as a subscript', '$.a[$i] > 1'),
	('like_regex', '$.topic like_regex "^a"'),
	('like_regex', '$.a > 1 && $.topic like_regex "(a+)+$" flag "i"'),
	('like_regex inside a filter', 'exists($.a[*] ? (@ like_regex "a"))'),
	('several items against several', '$.a[*] == $.b[*]'),
	('several items against several', '$.a.* == $.b[*]'),
	('several items against several', '$.** == $.**'),
	('several items against several', '$.a[0 to 9] == $.b[*]'),
	('several items against several', '$.a[0, 1] == $.b[*]'),
	('several items against several', '$.a[*].b.c == $.d[*].e'),
	('several items against several, in lax mode', 'lax $.a == $.b'),
	('several items against several, behind a not', '!($.a[*] == $.b[*])'),
	('several items against several, with arithmetic', '-$.a[*] == +$.b[*]'),
	('several items against several, with a method', '$.a[*].size() == $.b[*].size()'),
	('several items against several, with keyvalue', '$.a.keyvalue().value == $.b.keyvalue().value'),
	('several items against several, with a filter', '$.a[*] ? (@ > 1) == $.b[*] ? (@ > 1)'),
	('several items against several, inside a filter', 'exists($.a[*] ? (@.b[*] == @.c[*]))'),
	('several items against several, two filters down', 'exists($.a[*] ? (exists(@.b[*] ? (@.c[*] == @.d[*]))))'),
	('several items against several, in exists', 'exists($ ? (@.a[*] == @.b[*]))'),
	('several items against several, in a starts with', '$.a[*] == $.b[*] && $.c starts with "x"'),
	('a filter that reads the root', 'exists($.a[*] ? (@ == $.b))'),
	('a filter that reads the root', 'exists($.a[*] ? (exists($.b[*] ? (@ == 1))))'),
	('a filter that reads the root in a subscript', 'exists($.a[*] ? (@.x[$.i] == 1))'),
	('the runaway', '$.payload.** ? (@ == $.payload.**) == 1');
SELECT refused_when(what, predicate) FROM predicates;
SELECT is((SELECT string_agg(predicate, ' | ') FROM predicates
		WHERE what <> 'no jsonpath' AND sqlstate_of(format('SELECT %L::jsonpath', predicate)) <> 'none'),
	NULL, 'each of them is a jsonpath: it is refused for what it does');

-- What is accepted can be asked: 1,400 deep PostgreSQL reads a filter, but not with more around each.
SELECT is((SELECT message FROM policy_validate(format(E'version: v1\nrules:\n  - {id: r, decision: deny, match: {when: "exists($.a%s%s)"}}\n',
		repeat(' ? (exists(@.b', 1400), repeat('))', 1400))) WHERE severity = 'error') ~ 'nested too deep', true,
	'filters that are nested too deep to be asked twice are refused');

-- What is accepted ends, however large the job.
SELECT is((decide($$
version: v1
defaults: {decision: allow}
rules:
  - {id: r, decision: deny, match: {when: '$.payload[*] == 5'}}
$$, jsonb_build_object('topic', 'a', 'payload', (SELECT jsonb_agg(10) FROM generate_series(1, 60000))))).decision,
	'ALLOW', 'the widest path that is accepted ends on a job of a megabyte');

SELECT * FROM finish();
ROLLBACK;
