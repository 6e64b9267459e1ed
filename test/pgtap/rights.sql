\ir common.psql
SELECT plan(48);
GRANT USAGE ON SCHEMA helper TO PUBLIC;

CREATE ROLE policy_test_plain LOGIN;
CREATE ROLE policy_test_author LOGIN;
CREATE ROLE policy_test_duty;
GRANT policy_test_duty TO policy_test_author;
SELECT policy_stage('v1', 'version: v1
rules: [{id: r1, decision: allow}]', NULL) \g /dev/null
SELECT policy_publish('v1', NULL) \g /dev/null

--
-- PUBLIC has the pure functions, and nothing else.
--
SELECT is((SELECT array_agg(p.oid::regprocedure::text ORDER BY p.oid::regprocedure::text COLLATE "C")
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'policy_engine'
	WHERE has_function_privilege('policy_test_plain', p.oid, 'EXECUTE')),
	ARRAY['policy.attached_gone()', 'policy.attached_insert()', 'policy.attached_record()', 'policy.attached_take()', 'policy.attached_update()',
		'policy_document_cmp(policy_document,policy_document)',
		'policy_document_eq(policy_document,policy_document)',
		'policy_document_ge(policy_document,policy_document)',
		'policy_document_gt(policy_document,policy_document)',
		'policy_document_hash(policy_document)',
		'policy_document_hash_extended(policy_document,bigint)',
		'policy_document_in(cstring)',
		'policy_document_le(policy_document,policy_document)',
		'policy_document_lt(policy_document,policy_document)',
		'policy_document_ne(policy_document,policy_document)',
		'policy_document_out(policy_document)',
		'policy_document_recv(internal)',
		'policy_document_send(policy_document)',
		'policy_evaluate(policy_document,jsonb,timestamp with time zone)',
		'policy_lookup(regclass,name,text,name)',
		'policy_test_document(policy_document)',
		'policy_validate(text)'],
	'PUBLIC may execute the pure functions of a document, and nothing else');
SELECT is((SELECT string_agg(c.oid::regclass || ' ' || p, ', ') FROM pg_class c,
		unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
	WHERE c.relnamespace = 'policy'::regnamespace AND c.relkind IN ('r', 'v', 'p', 'm')
		AND has_table_privilege('policy_test_plain', c.oid, p)), NULL, 'PUBLIC has no right on any table or view');
SELECT is((SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c
	WHERE c.relnamespace = 'policy'::regnamespace AND c.relkind = 'r' AND has_any_column_privilege('policy_test_plain', c.oid, 'SELECT')),
	NULL, 'nor on any column');
SELECT ok(NOT has_schema_privilege('policy_test_plain', 'policy', 'CREATE'), 'PUBLIC cannot create in the schema policy');

SET SESSION AUTHORIZATION policy_test_plain;
SET LOCAL search_path = helper, public;
SELECT is((v).decision, 'ALLOW', 'a plain role may evaluate a document of its own')
	FROM policy_evaluate('version: v1
rules: [{id: r, decision: allow}]'::policy_document, '{"topic": "a"}', now()) v;
SELECT is((SELECT count(*) FROM policy_validate('{version: v1, rules: []}')), 0::bigint, 'a plain role may validate a document');
SELECT is(sqlstate_of(statement), '42501', 'a plain role may not: ' || statement)
FROM (VALUES
	($$SELECT policy_evaluate('{"topic": "a"}'::jsonb)$$),
	($$SELECT policy_evaluate('{"topic": "a"}'::jsonb, now())$$),
	($$SELECT policy_simulate('{"topic": "a"}')$$),
	($$SELECT policy_simulate('{"topic": "a"}', 'v1')$$),
	($$SELECT policy_stage('x', '{version: v1, rules: []}', NULL)$$),
	($$SELECT policy_publish('v1', NULL)$$),
	($$SELECT policy_rollback('v1', NULL)$$),
	($$SELECT policy_status()$$),
	($$SELECT policy.release('publish', 'v1', NULL, NULL)$$),
	($$SELECT policy.check_document('{version: v1, rules: []}')$$),
	($$SELECT * FROM policy.snapshots$$),
	($$SELECT * FROM policy.releases$$),
	($$SELECT * FROM policy.active$$),
	($$INSERT INTO policy.releases (release_id, action, snapshot, released_by, released_at) VALUES (9, 'publish', 'v1', 'x', now())$$),
	($$DELETE FROM policy.snapshots$$),
	($$TRUNCATE policy.releases$$),
	($$CREATE TABLE policy.mine (x int)$$),
	($$SET policy_engine.fail_mode = open$$),
	($$SET policy_engine.timeout = '1h'$$),
	($$SET policy_engine.max_document_bytes = '1GB'$$),
	($$SELECT set_config('policy_engine.fail_mode', 'open', true)$$)
) AS t(statement);
RESET SESSION AUTHORIZATION;

--
-- EXECUTE on a verb is enough, and says who it was.
--
GRANT EXECUTE ON FUNCTION policy_stage(text, policy_document, text), policy_publish(text, text, text),
	policy_rollback(text, text), policy_status(), policy_evaluate(jsonb), policy_simulate(jsonb, text) TO policy_test_duty;
SET SESSION AUTHORIZATION policy_test_author;
SET LOCAL search_path = helper, public;
SELECT is((policy_stage('v2', 'version: v1
rules: [{id: r2, decision: deny}]', 'why')).staged_by, 'policy_test_author', 'a role granted policy_stage can stage');
SELECT is((policy_publish('v2', 'why')).released_by, 'policy_test_author', 'a role granted policy_publish can publish');
SELECT is((v).matched_rule, 'r2', 'a role granted policy_evaluate can evaluate')
	FROM policy_evaluate('{"topic": "a"}'::jsonb) v;
SELECT is(policy_simulate('{"topic": "a"}', 'v1') ->> 'matched_rule', 'r1', 'a role granted policy_simulate can simulate');
SELECT is((policy_rollback('v1', 'why')).released_by, 'policy_test_author', 'a role granted policy_rollback can roll back');
SELECT is((policy_status()).snapshot, 'v1', 'a role granted policy_status can see it');
SELECT is(sqlstate_of('SELECT * FROM policy.snapshots'), '42501', 'none of which lets it read a table');
SELECT is(sqlstate_of('SELECT * FROM policy.releases'), '42501', 'or another');

-- Who it was is the login, whatever role it has set.
SET ROLE policy_test_duty;
SELECT is((policy_stage('v3', '{version: v1, rules: []}', 'why')).staged_by, 'policy_test_author', 'staged_by is the login under SET ROLE');
SELECT is((policy_publish('v3', 'why')).released_by, 'policy_test_author', 'released_by is the login under SET ROLE');
SELECT is((policy_rollback('v1', 'why')).released_by, 'policy_test_author', 'a rollback''s, too');
RESET ROLE;

-- Nothing in the caller's search_path is taken for what the verbs mean.
RESET SESSION AUTHORIZATION;
GRANT CREATE, USAGE ON SCHEMA helper TO policy_test_author;
SET SESSION AUTHORIZATION policy_test_author;
CREATE TEMP TABLE snapshots (snapshot text, document text);
CREATE TEMP TABLE releases (release_id bigint, snapshot text);
CREATE FUNCTION helper.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$;
CREATE FUNCTION helper.never(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
CREATE OPERATOR helper.= (LEFTARG = text, RIGHTARG = text, FUNCTION = helper.never);
SET LOCAL search_path = helper, pg_temp, pg_catalog, public;
SELECT (policy_stage('v4', '{version: v1, rules: []}', 'why')).staged_at AS staged_at \gset
SELECT (policy_publish('v4', 'why')).snapshot AS published \gset
SELECT (policy_status()).snapshot AS status \gset
DROP OPERATOR helper.= (text, text);
SET LOCAL search_path = helper, public;
SELECT ok(:'staged_at'::timestamptz > 'epoch', 'the caller''s search_path shadows no function of policy_stage');
SELECT is(:'published'::text, 'v4', 'nor an operator or a table of policy_publish');
SELECT is(:'status'::text, 'v4', 'nor a table of policy_status');
SELECT is((SELECT count(*) FROM pg_temp.releases), 0::bigint, 'and nothing was written elsewhere');
RESET SESSION AUTHORIZATION;

-- The settings, and who may set them
SELECT is((SELECT array_agg(name || ' ' || context ORDER BY name) FROM pg_settings WHERE name LIKE 'policy\_engine.%'),
	'{"policy_engine.decision_cache_size user","policy_engine.fail_mode superuser","policy_engine.gate_max_flip_ratio superuser","policy_engine.gate_max_loosened superuser","policy_engine.gate_max_unreplayable superuser","policy_engine.gate_min_window superuser","policy_engine.max_document_bytes superuser","policy_engine.require_simulation superuser","policy_engine.timeout superuser"}',
	'the settings are the superuser''s, but for the cache''s size');
SELECT is((current_setting('policy_engine.fail_mode'), current_setting('policy_engine.timeout'), current_setting('policy_engine.max_document_bytes'))::text,
	('closed', '2s', '4MB')::text, 'and have the defaults that are promised');
SELECT is(sqlstate_of(statement), '22023', 'refused: ' || statement)
FROM (VALUES ($$SET policy_engine.fail_mode = maybe$$), ($$SET policy_engine.timeout = 0$$), ($$SET policy_engine.timeout = -1$$),
	($$SET policy_engine.max_document_bytes = -1$$)) AS t(statement);

SELECT * FROM finish();
ROLLBACK;
