\ir common.psql
SELECT plan(19);

CREATE TEMP VIEW members AS
	SELECT d.classid, d.objid
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'policy_engine';

-- Every function: name and arguments, what it returns, volatility (immutable,
-- stable, volatile), parallel safety (safe, unsafe), strict, security definer,
-- search_path.  Anything visible that changes has to change here.
SET LOCAL search_path = public;
CREATE TEMP TABLE expected (function text, result text, volatility text, parallel text, strict boolean, definer boolean, settings text);
INSERT INTO expected VALUES
	-- pure
	('policy_evaluate(jsonb)', 'policy_verdict', 's', 's', false, false, NULL),
	('policy_evaluate(jsonb,timestamp with time zone)', 'policy_verdict', 's', 's', false, false, NULL),
	('policy_evaluate(policy_document,jsonb,timestamp with time zone)', 'policy_verdict', 'i', 's', false, false, NULL),
	('policy_simulate(jsonb,text)', 'jsonb', 's', 's', false, false, NULL),
	('policy_validate(text)', 'SETOF record', 's', 's', false, false, NULL),
	-- verbs
	('policy_stage(text,policy_document,text)', 'policy.snapshots', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_publish(text,text,text)', 'policy.releases', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_rollback(text,text)', 'policy.releases', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_status()', 'record', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	-- the type's
	('policy_document_in(cstring)', 'policy_document', 'i', 's', true, false, NULL),
	('policy_document_out(policy_document)', 'cstring', 'i', 's', true, false, NULL),
	('policy_document_recv(internal)', 'policy_document', 's', 's', true, false, NULL),
	('policy_document_send(policy_document)', 'bytea', 's', 's', true, false, NULL),
	('policy_document_lt(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_le(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_eq(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_ne(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_ge(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_gt(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_cmp(policy_document,policy_document)', 'integer', 'i', 's', true, false, NULL),
	('policy_document_hash(policy_document)', 'integer', 'i', 's', true, false, NULL),
	('policy_document_hash_extended(policy_document,bigint)', 'bigint', 'i', 's', true, false, NULL),
	-- internal
	('policy.document_sha256(policy_document)', 'bytea', 'i', 's', true, false, NULL),
	('policy.check_document(policy_document)', 'void', 's', 's', true, false, NULL),
	('policy.fail_mode()', 'text', 's', 's', false, false, NULL),
	('policy.require_snapshot(text)', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.release(text,text,text,text)', 'policy.releases', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.refuse_change()', 'trigger', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.release_made()', 'trigger', 'v', 'u', false, false, NULL);
CREATE TEMP VIEW found AS
	SELECT p.oid::regprocedure::text AS function, pg_get_function_result(p.oid) AS result,
		p.provolatile::text AS volatility, p.proparallel::text AS parallel, p.proisstrict AS strict,
		p.prosecdef AS definer, array_to_string(p.proconfig, '; ') AS settings
	FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;
-- pg_get_function_result() spells out a table: only that it is a set counts.
SELECT bag_eq($$SELECT function, CASE WHEN function = 'policy_validate(text)' THEN 'SETOF record' ELSE result END,
		volatility, parallel, strict, definer, settings FROM found$$, 'SELECT * FROM expected',
	'the functions are those that are listed, as they are listed');

SELECT is((SELECT array_agg(function ORDER BY function) FROM found WHERE NOT EXISTS (
		SELECT FROM pg_proc p WHERE p.oid = function::regprocedure AND (p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
			OR settings = 'search_path=pg_catalog, pg_temp'))), NULL,
	'every SQL and PL/pgSQL function pins search_path = pg_catalog, pg_temp');
SELECT is((SELECT array_agg(p.oid::regprocedure) FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
		WHERE p.proname LIKE 'policy\_evaluate' AND (p.procost < 2 OR p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c'))),
	NULL, 'policy_evaluate is C and has a cost');
SELECT is(pg_get_function_arguments(f::regprocedure), arguments, 'the arguments of ' || f || ' have the names that are promised')
FROM (VALUES
	('policy_evaluate(jsonb)', 'job jsonb'),
	('policy_evaluate(jsonb,timestamptz)', 'job jsonb, at timestamp with time zone'),
	('policy_evaluate(policy_document,jsonb,timestamptz)', 'document policy_document, job jsonb, at timestamp with time zone'),
	('policy_simulate(jsonb,text)', 'request jsonb, snapshot text DEFAULT NULL::text'),
	('policy_validate(text)', 'source text, OUT line integer, OUT col integer, OUT severity text, OUT code text, OUT message text, OUT hint text'),
	('policy_stage(text,policy_document,text)', 'snapshot text, document policy_document, note text'),
	('policy_publish(text,text,text)', 'snapshot text, note text, override_reason text DEFAULT NULL::text'),
	('policy_rollback(text,text)', 'target_snapshot text, note text')
) AS t(f, arguments);

--
-- Every object says what it is.
--
-- A table's row type and a type's array are members of later versions; they are
-- what the table or the type is.
SELECT is((SELECT string_agg(pg_describe_object(m.classid, m.objid, 0), E'\n' ORDER BY 1) FROM members m
			LEFT JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
			LEFT JOIN pg_class c ON c.oid = t.typrelid
		WHERE coalesce(c.relkind = 'c', true) AND coalesce(t.typcategory <> 'A', true) AND m.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_operator'::regclass,
			'pg_opclass'::regclass, 'pg_namespace'::regclass, 'pg_type'::regclass)
		AND coalesce(obj_description(m.objid, m.classid::regclass::name), '') = ''), NULL,
	'every function, table, view, operator, operator class, schema and type has a comment');
SELECT is((SELECT string_agg(a.attrelid::regclass || '.' || a.attname, E'\n' ORDER BY 1)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE (EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid AND c.relkind IN ('r', 'v', 'p'))
			OR EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = c.reltype AND c.relkind = 'c'))
		AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(col_description(a.attrelid, a.attnum), '') = ''), NULL,
	'every column of a table, a view and a composite type has a comment');
SELECT is((SELECT string_agg(t.tgrelid::regclass || '.' || t.tgname, E'\n' ORDER BY 1)
		FROM pg_trigger t JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = t.tgrelid
		WHERE NOT t.tgisinternal AND coalesce(obj_description(t.oid, 'pg_trigger'), '') = ''), NULL,
	'every trigger has a comment');
SELECT is((SELECT count(*) FROM members m WHERE m.classid = 'pg_class'::regclass), 3::bigint,
	'the tables and views are two and one');
SELECT is((SELECT array_agg(t.tgrelid::regclass || '.' || t.tgname ORDER BY t.tgrelid::regclass::text, t.tgname)
		FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN ('policy.snapshots'::regclass, 'policy.releases'::regclass)
		AND t.tgenabled = 'A'),
	'{policy.releases.refuse_change,policy.releases.refuse_truncate,policy.releases.release_made,policy.snapshots.refuse_change,policy.snapshots.refuse_truncate}',
	'the triggers fire always, on a replica too');

--
-- The extension
--
SELECT is((SELECT extrelocatable FROM pg_extension WHERE extname = 'policy_engine'), false,
	'the extension cannot be moved to another schema, for it names its own');
SELECT is((SELECT count(*) FROM pg_depend d JOIN pg_extension e ON e.oid = d.objid AND d.classid = 'pg_extension'::regclass
		WHERE e.extname = 'policy_engine' AND d.refclassid = 'pg_extension'::regclass), 0::bigint, 'it needs no other extension');
SELECT ok(NOT EXISTS (SELECT FROM regexp_split_to_table(current_setting('shared_preload_libraries'), ',') l WHERE trim(l) = 'policy_engine'),
	'it needs no shared_preload_libraries');

SELECT * FROM finish();
ROLLBACK;
