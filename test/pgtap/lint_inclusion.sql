\ir common.psql
SELECT plan(5);

-- Every pattern of up to three tokens over a small alphabet, and every value of up
-- to six characters over it and one character more.
CREATE TEMP TABLE patterns AS
	SELECT row_number() OVER (ORDER BY p COLLATE "C")::integer AS n, p
	FROM (SELECT DISTINCT a || b || c AS p
		FROM unnest(ARRAY['a', 'b', '?', '*', '[!a]', '[ab]']) a,
			unnest(ARRAY['', 'a', 'b', '?', '*', '[!a]']) b,
			unnest(ARRAY['', 'a', 'b', '?', '*', '[ab]']) c) t;
CREATE TEMP TABLE vals AS
	WITH RECURSIVE v(v) AS (
		SELECT c FROM unnest('{a,b,x}'::text[]) c
		UNION ALL SELECT v.v || c FROM v, unnest('{a,b,x}'::text[]) c WHERE length(v.v) < 6)
	SELECT v FROM v;

-- What the evaluator says: each pattern is a rule.
CREATE FUNCTION rules_of(topics text[]) RETURNS policy_document LANGUAGE sql AS $$
	SELECT (E'version: v1\ncombine: first_match\nrules:\n'
		|| string_agg(format(E'  - {id: p%s, owner: x, match: {topics: [%s]}, decision: deny}\n', n, to_json(t)), '' ORDER BY n))::policy_document
	FROM unnest(topics) WITH ORDINALITY u(t, n)
$$;
CREATE TEMP TABLE matches AS
	SELECT p.n, m.v
	FROM (SELECT replace(rules_of((SELECT array_agg(p ORDER BY n) FROM patterns))::text, 'first_match', 'strictest')::policy_document AS d) d,
		vals m, policy_evaluate(d.d, jsonb_build_object('topic', m.v), now()) e,
		unnest(e.matched_rules) r(r) JOIN patterns p ON r.r = 'p' || p.n;
CREATE TEMP TABLE sets AS
	SELECT p.n, coalesce(array_agg(m.v COLLATE "C" ORDER BY m.v COLLATE "C") FILTER (WHERE m.v IS NOT NULL), '{}') AS vs
	FROM patterns p LEFT JOIN matches m USING (n) GROUP BY p.n;
CREATE TEMP TABLE included AS
	SELECT a.n AS outer_n, b.n AS inner_n, a.vs @> b.vs AS brute FROM sets a, sets b WHERE a.n <> b.n;

-- What lint says of one before the other.
CREATE TEMP TABLE claimed AS
	SELECT i.*, a.p AS outer_p, b.p AS inner_p,
		EXISTS (SELECT FROM policy_validate(rules_of(ARRAY[a.p, b.p])::text) v
			WHERE v.code IN ('never_wins', 'same_rule')) AS lint
	FROM included i JOIN patterns a ON a.n = outer_n JOIN patterns b ON b.n = inner_n
	WHERE (outer_n * 31 + inner_n) % 3 = 0;
SELECT cmp_ok((SELECT count(*) FROM claimed WHERE lint), '>', 1000::bigint, 'there are pairs of patterns, one inside of the other');
SELECT is((SELECT count(*) FROM claimed WHERE lint <> brute), 0::bigint, 'lint finds one pattern inside of another exactly where every value says so')
	UNION ALL SELECT diag(format('%s in %s: lint says %s, values %s', inner_p, outer_p, lint, brute)) FROM (SELECT * FROM claimed WHERE lint <> brute LIMIT 10) t;

-- Against a union, and with what is left out: b, c before d in one rule, less e.
CREATE TEMP TABLE unions AS
	SELECT t.*, EXISTS (SELECT FROM policy_validate(format(
			E'version: v1\ncombine: first_match\nrules:\n  - {id: a, owner: x, match: {topics: [%s, %s]}, decision: deny}\n  - {id: b, owner: x, match: {topics: {any: [%s], none: [%s]}}, decision: deny}\n',
			to_json(p1), to_json(p2), to_json(p3), to_json(p4))) v WHERE v.code IN ('never_wins', 'same_rule', 'cannot_hold')) AS lint
	FROM (SELECT a.p AS p1, b.p AS p2, c.p AS p3, d.p AS p4,
			NOT EXISTS (SELECT FROM unnest(sc.vs) v WHERE v <> ALL (sa.vs) AND v <> ALL (sb.vs) AND v <> ALL (sd.vs)) AS brute
		FROM (SELECT (i * 7919::bigint) % 190 + 1 AS a, (i * 104729::bigint) % 187 + 1 AS b, (i * 1299709::bigint) % 191 + 1 AS c, (i * 15485863::bigint) % 179 + 1 AS d
				FROM generate_series(1, 2500) i) i
			JOIN patterns a ON a.n = i.a JOIN patterns b ON b.n = i.b JOIN patterns c ON c.n = i.c JOIN patterns d ON d.n = i.d
			JOIN sets sa ON sa.n = a.n JOIN sets sb ON sb.n = b.n JOIN sets sc ON sc.n = c.n JOIN sets sd ON sd.n = d.n) t;
SELECT cmp_ok((SELECT count(*) FROM unions WHERE brute), '>', 100::bigint, 'there are patterns inside of two others together, less a third');
SELECT is((SELECT count(*) FROM unions WHERE lint <> brute), 0::bigint, 'lint finds them, and no other')
	UNION ALL SELECT diag(format('%s less %s in %s, %s: lint says %s, values %s', p3, p4, p1, p2, lint, brute)) FROM (SELECT * FROM unions WHERE lint <> brute LIMIT 10) t;
SELECT cmp_ok((SELECT count(*) FROM patterns), '=', 192::bigint, 'every pattern that is chosen is there');

SELECT * FROM finish();
ROLLBACK;
