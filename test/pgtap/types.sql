\ir common.psql
SELECT plan(28);

--
-- policy_decision
--
SELECT is(enum_range(NULL::policy_decision)::text[],
	ARRAY['ALLOW', 'ALLOW_WITH_CONSTRAINTS', 'THROTTLE', 'REQUIRE_APPROVAL', 'DENY'],
	'decisions go from loosest to strictest');
SELECT is(max(d), 'DENY', 'max(decision) is the strictest')
	FROM unnest(enum_range(NULL::policy_decision)) d;

--
-- policy_document: text
--
SELECT is(d::policy_document::text, d, 'the text form is what was given, byte for byte: ' || what)
FROM (VALUES
	('a comment and blank lines', E'# why\n\n\nversion: v1\n\nrules: []   \n\n# end'),
	('CR LF', E'version: v1\r\nrules: []\r\n'),
	('no line end', '{version: v1, rules: []}'),
	('JSON', '{"version": "v1", "rules": []}'),
	('a byte order mark', E'\uFEFFversion: v1\nrules: []\n'),
	('decomposed and invisible characters',
	 E'version: v1\nrules:\n  - {id: r, decision: deny, reason: "e\u0301\u200B\U0001F600"}\n'),
	('a document start and end', E'---\nversion: v1\nrules: []\n...\n')) AS t(what, d);

SELECT is(NULL::text::policy_document::text, NULL, 'a NULL text is a NULL document');

SELECT is(policy_document_send(d::policy_document), convert_to(d, 'UTF8'),
	'the binary form is the text''s bytes')
FROM (VALUES (E'{version: v1, rules: []} # caf\u00E9\n')) AS t(d);

SELECT is(document_sqlstate('rules: []'), 'PE001', 'what is no policy cannot be a policy_document');
SELECT is(sqlstate_of($$CREATE TEMP TABLE holds (d policy_document DEFAULT 'version: v2')$$), 'PE001',
	'an invalid policy is not stored anywhere, a column''s default included');

-- 25 rules, each with one error, the first on line 3
CREATE FUNCTION raised(source text, OUT message text, OUT detail text, OUT hint text)
	LANGUAGE plpgsql AS $$
BEGIN
	PERFORM source::policy_document;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
END
$$;
CREATE TEMP TABLE wrong AS
	SELECT r.* FROM raised(E'version: v1\nrules:\n' ||
		(SELECT string_agg(format(E'  - {id: r%s, decision: perhaps}\n', i), '') FROM generate_series(1, 25) i)) r;
SELECT matches(message, '3:24.*perhaps', 'PE001 has the first error, with its place, as its message') FROM wrong;
SELECT is((SELECT count(*) FROM regexp_matches(detail, '(^|\n)\d+:\d+: ', 'g')), 20::bigint,
	'PE001 lists up to 20 errors in its DETAIL') FROM wrong;
SELECT isnt(hint, '', 'PE001 has a HINT') FROM wrong;
SELECT is((SELECT count(*) FROM policy_validate(
		E'version: v1\nrules:\n' ||
		(SELECT string_agg(format(E'  - {id: r%s, decision: perhaps}\n', i), '') FROM generate_series(1, 25) i))),
	25::bigint, 'policy_validate lists every error');

--
-- policy_document: order and equality are those of the source's bytes
--
CREATE TEMP TABLE documents (d policy_document);
INSERT INTO documents VALUES ('{version: v1, rules: []}'), (E'{version: v1, rules: []}\n'), ('{"version": "v1", "rules": []}'),
	(E'{version: v1, rules: []} # \u00E9'), ('{version: v1, rules: []} # z'), ('{version: v1, rules: []} # Z'),
	('{version: v1, rules: []} '), ('{version: v1, rules: []}');
SELECT ok('{version: v1, rules: []}'::policy_document = '{version: v1, rules: []}'::policy_document, 'the same bytes are equal');
SELECT ok('{version: v1, rules: []}'::policy_document <> '{version:  v1, rules: []}'::policy_document,
	'the same meaning in other bytes is not equal');
SELECT is((SELECT array_agg(d::text ORDER BY d) FROM documents),
	(SELECT array_agg(d::text ORDER BY convert_to(d::text, 'UTF8')) FROM documents),
	'documents sort by their bytes');
SELECT is((SELECT count(*) FROM documents a, documents b
		WHERE (a.d < b.d) IS DISTINCT FROM (convert_to(a.d::text, 'UTF8') < convert_to(b.d::text, 'UTF8'))
		OR (a.d <= b.d) IS DISTINCT FROM (convert_to(a.d::text, 'UTF8') <= convert_to(b.d::text, 'UTF8'))
		OR (a.d >= b.d) IS DISTINCT FROM (convert_to(a.d::text, 'UTF8') >= convert_to(b.d::text, 'UTF8'))
		OR (a.d > b.d) IS DISTINCT FROM (convert_to(a.d::text, 'UTF8') > convert_to(b.d::text, 'UTF8'))
		OR (a.d = b.d) IS DISTINCT FROM (a.d::text = b.d::text)
		OR (a.d <> b.d) IS DISTINCT FROM (a.d::text <> b.d::text)),
	0::bigint, 'the six operators agree with the bytes');
SELECT is((SELECT count(DISTINCT d) FROM documents), 7::bigint, 'DISTINCT works');
SET LOCAL enable_sort = off;
SELECT is((SELECT count(*) FROM (SELECT d FROM documents GROUP BY d) g), 7::bigint, 'hash aggregation works');
RESET enable_sort;
CREATE INDEX documents_btree ON documents (d);
SET LOCAL enable_seqscan = off;
SELECT is((SELECT count(*) FROM documents WHERE d = '{version: v1, rules: []}'), 2::bigint, 'a btree index finds a document');
DROP INDEX documents_btree;
CREATE INDEX documents_hash ON documents USING hash (d);
SELECT is((SELECT count(*) FROM documents WHERE d = '{version: v1, rules: []}'), 2::bigint, 'a hash index finds a document');
RESET enable_seqscan;

--
-- policy_document: size
--
SET LOCAL policy_engine.max_document_bytes = '1kB';
SELECT is(document_sqlstate('{version: v1, rules: []} #' || repeat('x', 5000000)), 'none',
	'policy_engine.max_document_bytes does not stop the type, nor so a restore');
SELECT isnt((SELECT count(*) FROM policy_validate('{version: v1, rules: []} #' || repeat('x', 5000))), 0::bigint,
	'policy_engine.max_document_bytes stops policy_validate');

--
-- policy_verdict
--
SELECT is((SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = 'policy_verdict'::regclass AND NOT attisdropped),
	'decision policy_decision, reason text, constraints jsonb, matched_rule text, '
	'matched_rules text[], monitored_rules text[], snapshot text, retry_after_sec integer',
	'policy_verdict has its columns in the order that is promised');

SELECT * FROM finish();
ROLLBACK;
