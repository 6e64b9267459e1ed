-- The job that a row is, and the text that its hash is of: C writes both by itself,
-- and must write what PostgreSQL would.
\ir common.psql
SELECT plan(9);

-- Text with everything that JSON escapes, near both ends of eight bytes too, and more.
CREATE TABLE strings AS
	SELECT n, lead || piece || tail AS string
	FROM (VALUES ('"'), ('\'), (E'\b'), (E'\f'), (E'\n'), (E'\r'), (E'\t'), (E'\u0001'), (E'\u001f'),
			(E'\u007f'), (E'\u0080'), (U&'\+01F600'), ('/'), ('<'), (''), ('é')) p(piece)
		CROSS JOIN (SELECT n, repeat('x', n) AS lead, repeat('y', 9 - n % 10) AS tail FROM generate_series(0, 17) n) l;

CREATE TABLE documents AS
	SELECT to_jsonb(string) AS document FROM strings
	UNION ALL SELECT jsonb_build_object(string, n, 'of', jsonb_build_array(string, jsonb_build_object('a', string))) FROM strings
	UNION ALL SELECT v::jsonb FROM (VALUES ('null'), ('true'), ('false'), ('0'), ('-1.50'), ('1e100'), ('12345678901234567890.000'),
		('[]'), ('{}'), ('[[]]'), ('[{}]'), ('{"a": {}}'), ('{"a": []}'), ('[null, true, false, 1, "s", [2, [3]], {"b": {"c": [4]}}]'),
		('{"long": "' || repeat('0123456789', 300) || '"}')) c(v)
	UNION ALL SELECT jsonb_agg(n) FROM generate_series(1, 100) n
	UNION ALL SELECT jsonb_object_agg('key' || n, jsonb_build_array(n, -n, n::text)) FROM generate_series(1, 100) n
	UNION ALL SELECT (repeat('[', 500) || repeat(']', 500))::jsonb;

SELECT is((SELECT count(*) FROM documents), 594::bigint, 'there are documents to compare');
SELECT is_empty($$SELECT document FROM documents
	WHERE policy.job_hash(document) <> sha256(convert_to(document::text, 'UTF8'))$$,
	'a hash is SHA-256 of the text that jsonb gives');
SELECT is_empty($$SELECT n FROM generate_series(0, 400) n, to_jsonb(repeat('x', n)) document
	WHERE policy.job_hash(document) <> sha256(convert_to(document::text, 'UTF8'))$$,
	'a hash is SHA-256 of a text of any length');
CREATE TABLE deep AS SELECT (repeat('[', 6000) || repeat(']', 6000))::jsonb AS document;
SET max_stack_depth = '100kB';
SELECT throws_ok('SELECT policy.job_hash(document) FROM deep', '54001', NULL, 'what is nested too deep is refused');
RESET max_stack_depth;

-- Rows with any of the columns, their jsonb of any kind, and as jsonb makes them.
SELECT setseed(0.5) \g /dev/null
CREATE TABLE given AS
	SELECT n, t[1] AS tenant_id, t[2] AS topic, t[3] AS capability, t[4] AS pack_id, t[5] AS actor_id, t[6] AS actor_type,
		t[7] AS idempotency_key, CASE WHEN r[8] < 0.6 THEN r[8] < 0.3 END AS secrets_present,
		j[1] AS risk_tags, j[2] AS requires, j[3] AS actor_roles, j[4] AS labels, j[5] AS mcp, j[6] AS payload
	FROM (SELECT n, array_agg(random()) AS r,
				array_agg((SELECT s.string FROM strings s OFFSET floor(random() * 288) LIMIT 1)) AS s,
				array_agg((SELECT d.document FROM documents d OFFSET floor(random() * 594) LIMIT 1)) AS d
			FROM generate_series(1, 400) n, generate_series(1, 14) k GROUP BY n) x,
		LATERAL (SELECT array_agg(CASE WHEN r[i] < 0.7 THEN s[i] END ORDER BY i) AS t FROM generate_series(1, 7) i) texts,
		LATERAL (SELECT array_agg(CASE WHEN r[i + 8] < 0.7 THEN d[i] END ORDER BY i) AS j FROM generate_series(1, 6) i) jsons;
CREATE TABLE rows AS
	SELECT g.n, policy.job(row) AS job,
		(SELECT jsonb_object_agg(e.key, e.value) FROM (
			SELECT 'tenant_id' AS key, to_jsonb(g.tenant_id) AS value UNION ALL SELECT 'topic', to_jsonb(g.topic)
			UNION ALL SELECT 'capability', to_jsonb(g.capability) UNION ALL SELECT 'pack_id', to_jsonb(g.pack_id)
			UNION ALL SELECT 'actor_id', to_jsonb(g.actor_id) UNION ALL SELECT 'actor_type', to_jsonb(g.actor_type)
			UNION ALL SELECT 'idempotency_key', to_jsonb(g.idempotency_key) UNION ALL SELECT 'secrets_present', to_jsonb(g.secrets_present)
			UNION ALL SELECT 'risk_tags', g.risk_tags UNION ALL SELECT 'requires', g.requires UNION ALL SELECT 'actor_roles', g.actor_roles
			UNION ALL SELECT 'labels', g.labels UNION ALL SELECT 'mcp', g.mcp UNION ALL SELECT 'payload', g.payload) e
			WHERE e.value IS NOT NULL) AS expected
	FROM given g,
		LATERAL (SELECT ROW(NULL, g.tenant_id, g.topic, g.capability, g.pack_id, g.actor_id, g.actor_type, g.idempotency_key,
			g.secrets_present, g.risk_tags, g.requires, g.actor_roles, g.labels, g.mcp, g.payload, NULL, NULL, NULL, NULL, NULL,
			NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::policy.jobs AS row) c;
SELECT is((SELECT count(*) FROM rows WHERE expected IS NOT NULL), 400::bigint, 'there are rows to compare');
SELECT is_empty('SELECT n FROM rows WHERE job::text IS DISTINCT FROM expected::text', 'a row''s job reads as what PostgreSQL builds');
SELECT is_empty('SELECT n FROM rows WHERE job IS DISTINCT FROM expected OR pg_column_size(job) <> pg_column_size(expected)
	OR jsonb_hash_extended(job, 7) <> jsonb_hash_extended(expected, 7)', 'and is that value, of the same size and hash');
SELECT is_empty('SELECT n, k FROM rows, jsonb_object_keys(expected) k WHERE job -> k IS DISTINCT FROM expected -> k',
	'every key is found in it');
SELECT is(policy.job(jsonb_populate_record(NULL::policy.jobs, '{}')), '{}'::jsonb, 'an empty row is an empty object');

SELECT * FROM finish();
ROLLBACK;
