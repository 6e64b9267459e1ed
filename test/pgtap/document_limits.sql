\ir common.psql
SELECT plan(55);

--
-- Numbers that no machine integer holds
--
CREATE FUNCTION velocity(max_requests text) RETURNS text LANGUAGE sql AS $$
	SELECT format(E'version: v1\nrules:\n- {id: r, decision: deny, velocity: {max_requests: %s, window_seconds: 60, key: tenant}}\n',
				  max_requests)
$$;
SELECT refused('max_requests of ' || number, '3:52', number, velocity(number))
FROM (VALUES ('0'), ('-1'), ('-9223372036854775809'), ('-99999999999999999999'), ('1e3'), ('5.0')) AS t(number);
SELECT accepted('max_requests of ' || number, velocity(number))
FROM (VALUES ('1'), ('1000000000000000000'), ('9223372036854775807'), ('99999999999999999999')) AS t(number);

CREATE FUNCTION constrained(name text, value text) RETURNS text LANGUAGE sql AS $$
	SELECT format(E'version: v1\nrules:\n- {id: r, decision: allow, constraints: {%s: %s}}\n', name, value)
$$;
SELECT refused('a max_x of ' || number, '3:49', 'max_x', constrained('max_x', number))
FROM (VALUES ('-1'), ('-0.1'), ('-1e5'), ('-0.0001e2')) AS t(number);
SELECT accepted('a max_x of ' || number || ', which is 0', constrained('max_x', number))
FROM (VALUES ('0'), ('-0'), ('-0.0'), ('-0e5')) AS t(number);
SELECT refused('a number that PostgreSQL cannot hold: ' || number, '3:45', number, constrained('x', number))
FROM (VALUES ('1e131072'), ('1e-16384')) AS t(number);
SELECT accepted('the longest numbers: ' || number, constrained('x', number))
FROM (VALUES ('1e131071'), ('1e-16383')) AS t(number);

--
-- Numbers in a jsonpath: as JSON writes them, or versions of PostgreSQL differ
--
CREATE FUNCTION predicate(text) RETURNS text LANGUAGE sql AS $$
	SELECT format(E'version: v1\nrules:\n- {id: r, decision: deny, match: {when: %s}}\n', to_json($1))
$$;
SELECT refused('in a when: ' || path, '3:41', left(path, 8), predicate(path))
FROM (VALUES ('$.n > .5'), ('$.n > 1.'), ('$.n > 0x1F'), ('$.n > 1_000'), ('$.n[1to 2] == 1')) AS t(path);
SELECT accepted('in a when: ' || path, predicate(path))
FROM (VALUES ('$.n > 0.5'), ('$.n > 1e5'), ('$.n > -1.5E-3'), ('$.a_1_0x1 == 1'), ('$."1_000" == "0x1F"'),
	('$.n == 1 /* 0x1 " */'), ('$.n[1 to 2] == 1'), ('$.\u0061\u0031_0 == 1')) AS t(path);

--
-- What a condition reads is material, however it gets there
--
CREATE FUNCTION waits(immaterial text, VARIADIC predicates text[]) RETURNS text LANGUAGE sql AS $$
	SELECT format(E'version: v1\nrules:\n- {id: r, decision: require_approval, approval: {immaterial: [%s]}}\n%s', to_json(immaterial),
				  string_agg(format(E'- {id: r%s, decision: deny, match: {when: %s}}\n', i, to_json(p)), ''))
	FROM unnest(predicates) WITH ORDINALITY u(p, i)
$$;
SELECT refused(format('%s is read by %s', immaterial, predicate), '3:63', left(immaterial, 20), waits(immaterial, '$.topic == "a"', predicate))
FROM (VALUES
	('$.payload.a[*].b', 'lax $.payload.a.b == 1'),
	('$.payload.a.b', 'lax $.payload[0].a[*].b[2] == 1'),
	('$.payload.a[1].b', '$.payload.a[last].b == 1'),
	('$.payload.a.b', '$.payload.** == 1'),
	('$.payload.x', 'exists($)'),
	('$.payload.a[*].b', 'exists($.payload.a[2] ? (@.b == 1).c)'),
	('$.payload' || repeat('.k', 40), '$.payload' || repeat('.k', 50) || ' == 1'),
	('$.payload' || repeat('.k', 50), '$.payload' || repeat('.k', 40) || ' == 1')
) AS t(immaterial, predicate);
SELECT accepted(format('%s is not read by %s', immaterial, predicate), waits(immaterial, predicate))
FROM (VALUES
	('$.payload.a[1].b', '$.payload.a[2].b == 1'),
	('$.payload.a[1].b', '$.payload.a.b == 1'),
	('$.payload.ab', '$.payload.a.b == 1'),
	('$.payload.a.c', 'exists($.payload.a ? (@.b == 1).d)')
) AS t(immaterial, predicate);

--
-- What multiplies
--
SELECT refused('in a when: ' || path, '3:41', left(path, 8), predicate(path))
FROM (VALUES ('lax $[0,0][0,0] == 1'), ('$.n[0 to 1].m[0 to 1] == 1'), ('exists($.n[0,1] ? (@.m[0,1] == 1))')) AS t(path);
SELECT accepted('in a when: ' || path, predicate(path))
FROM (VALUES ('$.n[0,1].m[2] == 1'), ('$.n[0,1] == 1 || $.m[0,1] == 1')) AS t(path);
SELECT alike(findings(format(E'version: v1\nrules:\n- {id: r, decision: deny, match: {topics: [&a %s%s]}}\n',
		repeat('x', 1000000), repeat(', *a ', 70))),
	'3:%too_large%expands to more than 67108864 bytes%', 'a long text under many aliases is a long document');

--
-- Lint: values of different kinds
--
SELECT alike(findings($$version: v1
rules:
- {id: a, owner: o, match: {topics: [a]}, decision: allow, constraints: {x: {y: 1}}}
- {id: b, owner: o, match: {topics: [b]}, decision: allow, constraints: {x: 5}}
$$), '4:74 warning constraint_conflict: %"x"%', 'a mapping and a number are set differently');
SELECT is(findings($$version: v1
rules:
- {id: a, owner: o, match: {topics: [a]}, decision: allow, constraints: {x: {y: 1}}}
- {id: b, owner: o, match: {topics: [b]}, decision: allow, constraints: {x: {z: 2}}}
$$), 'clean', 'mappings are merged key by key');

SELECT * FROM finish();
ROLLBACK;
