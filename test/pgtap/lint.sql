\ir common.psql
SELECT plan(7);

-- A warning: the document is accepted, and policy_validate says what to look at.
CREATE FUNCTION warned(description text, about text, source text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT is(document_sqlstate(source), 'none', description || ': accepted');
	RETURN NEXT ok(EXISTS (SELECT FROM policy_validate(source) w WHERE w.severity = 'warning' AND w.line > 0 AND w.col > 0
			AND strpos(lower(w.message || coalesce(w.hint, '')), about) > 0)
		AND NOT EXISTS (SELECT FROM policy_validate(source) w WHERE w.severity <> 'warning'),
		format('%s: warned of', description));
END
$$;
SELECT warned('two rules that set a key differently whose tighter value nobody knows', 'region', $$
version: v1
rules:
  - {id: a, decision: allow, constraints: {region: eu}}
  - {id: b, decision: allow, constraints: {region: us}}
$$);
SELECT warned('an expired exception is prunable', 'e1', $$
version: v1
rules:
  - {id: a, decision: deny, exceptions: [{id: e1, match: {topics: [x]}, expires_at: 2020-01-01T00:00:00Z, reason: x}]}
$$);
SELECT is(findings(source), 'clean', what)
FROM (VALUES
	('two rules that set a key alike are clean', $$
version: v1
rules:
  - {id: a, decision: allow, constraints: {region: eu}}
  - {id: b, decision: allow, constraints: {region: eu}}
$$),
	('two rules that set a bound differently are clean', $$
version: v1
rules:
  - {id: a, decision: allow, constraints: {max_x: 1, allow: [a], denied: [b]}}
  - {id: b, decision: allow, constraints: {max_x: 2, allow: [b], denied: [c]}}
$$),
	('a live exception is clean', $$
version: v1
rules:
  - {id: a, decision: deny, exceptions: [{id: e1, match: {topics: [x]}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}
$$)) AS t(what, source);

SELECT * FROM finish();
ROLLBACK;
