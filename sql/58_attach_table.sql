--
-- Putting a guard in front of a table, and taking it away
--

CREATE FUNCTION policy.guard_triggers(OUT name text, OUT timing text, OUT function text, OUT every_partition boolean)
	RETURNS SETOF record
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	VALUES ('zzz_policy_begin', 'BEFORE INSERT', 'attached_begin', true),
		('zzz_policy_insert', 'BEFORE INSERT', 'attached_insert', false),
		('zzz_policy_update', 'BEFORE UPDATE', 'attached_update', false),
		('zzz_policy_take', 'BEFORE DELETE', 'attached_take', false),
		('zzz_policy_record', 'AFTER INSERT', 'attached_record', false),
		('zzz_policy_gone', 'AFTER DELETE', 'attached_gone', false),
		('zzz_policy_flush', 'AFTER INSERT OR UPDATE', 'attached_flush', true),
		('zzz_policy_truncate', 'AFTER TRUNCATE', 'attached_truncated', true)
$$;
COMMENT ON FUNCTION policy.guard_triggers() IS
	'The triggers of an attached table. Those for rows reach its partitions by themselves; those for statements are made for every_partition.';

CREATE FUNCTION policy.attached_partitions(job_table regclass) RETURNS SETOF regclass
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT job_table UNION SELECT p.relid FROM pg_partition_tree(job_table) p
$$;
COMMENT ON FUNCTION policy.attached_partitions(regclass) IS 'A table and its partitions.';

CREATE FUNCTION policy.drop_guards(attachment policy.attached_tables) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	made record;
BEGIN
	FOR made IN
		SELECT t.tgrelid::regclass AS relation, t.tgname
		FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
		WHERE t.tgrelid IN (SELECT policy.attached_partitions(attachment.relation))
			AND p.pronamespace = 'policy'::regnamespace AND t.tgparentid = 0
			AND p.proname IN (SELECT g.function FROM policy.guard_triggers() g)
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', made.tgname, made.relation);
	END LOOP;
END
$$;
COMMENT ON FUNCTION policy.drop_guards(policy.attached_tables) IS
	'Drops the triggers of an attached table.';

CREATE FUNCTION policy.make_guards(attachment policy.attached_tables) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	made record;
BEGIN
	PERFORM policy.drop_guards(attachment);
	FOR made IN
		SELECT g.name, g.timing, g.function, r.relation, g.every_partition
		FROM policy.guard_triggers() g
			CROSS JOIN LATERAL (SELECT attachment.relation WHERE NOT g.every_partition
				UNION SELECT policy.attached_partitions(attachment.relation) WHERE g.every_partition) r(relation)
	LOOP
		EXECUTE format('CREATE TRIGGER %I %s ON %s FOR EACH %s EXECUTE FUNCTION policy.%I(%L)',
			made.name, made.timing, made.relation,
			CASE WHEN made.every_partition THEN 'STATEMENT' ELSE 'ROW' END,
			made.function, attachment.attachment_id);
	END LOOP;
END
$$;
COMMENT ON FUNCTION policy.make_guards(policy.attached_tables) IS
	'Makes the triggers of an attached table, instead of those that are there.';

CREATE FUNCTION policy.table_columns(job_table regclass) RETURNS text[]
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT coalesce(array_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
		ORDER BY a.attnum), '{}')
	FROM pg_attribute a
	WHERE a.attrelid = job_table AND a.attnum > 0 AND NOT a.attisdropped
$$;
COMMENT ON FUNCTION policy.table_columns(regclass) IS 'The columns of a table and their types.';

CREATE FUNCTION policy.table_name(job_table regclass) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT format('%I.%I', n.nspname, c.relname)
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = job_table
$$;
COMMENT ON FUNCTION policy.table_name(regclass) IS 'The name of a table, schema-qualified.';

-- Whatever a key's columns are, two keys that differ have texts that differ.
CREATE FUNCTION policy.default_job_key(job_table regclass) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE count(*) WHEN 0 THEN NULL
		WHEN 1 THEN format('%I::text', min(a.attname))
		ELSE format('jsonb_build_array(%s)::text',
			string_agg(format('%I', a.attname), ', ' ORDER BY array_position(i.indkey::smallint[], a.attnum))) END
	FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
	WHERE i.indrelid = default_job_key.job_table AND i.indisprimary
$$;
COMMENT ON FUNCTION policy.default_job_key(regclass) IS
	'The primary key as an expression of type text; NULL where there is none.';

CREATE FUNCTION policy.detect_preset(job_table regclass) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	found text[];
BEGIN
	-- Of two that fit, the one that asks for more is meant.
	SELECT array_agg(p.preset ORDER BY p.preset) INTO found
	FROM (SELECT q.preset, rank() OVER (ORDER BY cardinality(q.detect) DESC) AS place
		FROM policy.attach_presets q
		WHERE NOT EXISTS (SELECT FROM unnest(q.detect) d(name)
			WHERE NOT EXISTS (SELECT FROM pg_attribute a
				WHERE a.attrelid = detect_preset.job_table AND a.attname = d.name AND a.attnum > 0 AND NOT a.attisdropped))
			AND q.detect IS NOT NULL) p
	WHERE p.place = 1;
	IF cardinality(found) = 1 THEN
		RETURN found[1];
	END IF;
	RAISE EXCEPTION USING
		ERRCODE = 'PE012',
		MESSAGE = format('cannot tell how to guard %s', job_table),
		DETAIL = CASE WHEN found IS NULL THEN 'No preset fits its columns.'
			ELSE format('It fits the presets %s.', array_to_string(found, ', ')) END,
		HINT = 'Name the preset (SELECT preset, note FROM policy.attach_presets), or give job, hold, deny, throttle and starts.';
END
$$;
COMMENT ON FUNCTION policy.detect_preset(regclass) IS
	'The preset that a table''s columns fit. Raises PE012 where that is none, or more than one.';

CREATE FUNCTION policy.attached_expressions(attachment policy.attached_tables,
	OUT kind text, OUT target text, OUT source text)
	RETURNS SETOF record
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	VALUES ('job', NULL, attachment.job), ('job_key', NULL, attachment.job_key),
		('starts', NULL, attachment.starts), ('ends', NULL, attachment.ends),
		('notify', NULL, CASE WHEN strpos(attachment.notify, '(') > 0 THEN attachment.notify END),
		('undo', NULL, attachment.undo)
	UNION ALL
	SELECT f.kind, e.key, e.value
	FROM (VALUES ('hold', attachment.hold), ('deny', attachment.deny),
			('throttle', attachment.throttle), ('allow', attachment.allow),
			('release', attachment.release)) f(kind, form)
		CROSS JOIN LATERAL jsonb_each_text(CASE jsonb_typeof(f.form) WHEN 'object' THEN f.form ELSE '{}' END) e
$$;
COMMENT ON FUNCTION policy.attached_expressions(policy.attached_tables) IS
	'The expressions of an attachment, and what each is for.';

CREATE FUNCTION policy.attached_form_problems(attachment policy.attached_tables) RETURNS SETOF text
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE WHEN f.form IS NULL THEN format('%s is not given', f.kind)
		WHEN jsonb_typeof(f.form) <> 'object' THEN format('%s is no object of columns and expressions', f.kind)
		WHEN f.form = '{}' AND f.needed THEN format('%s sets nothing', f.kind)
		ELSE format('%s: the expression of "%s" is no string', f.kind, (SELECT e.key
			FROM jsonb_each(CASE jsonb_typeof(f.form) WHEN 'object' THEN f.form ELSE '{}' END) e
			WHERE jsonb_typeof(e.value) <> 'string' ORDER BY e.key LIMIT 1)) END
	FROM (VALUES ('hold', attachment.hold, true), ('deny', attachment.deny, true),
		('throttle', attachment.throttle, true), ('allow', attachment.allow, false),
		('release', attachment.release, false)) f(kind, form, needed)
	WHERE (f.form IS NULL AND f.needed) OR jsonb_typeof(f.form) <> 'object'
		OR (f.form = '{}' AND f.needed)
		OR EXISTS (SELECT FROM jsonb_each(CASE jsonb_typeof(f.form) WHEN 'object' THEN f.form ELSE '{}' END) e
			WHERE jsonb_typeof(e.value) <> 'string')
	UNION ALL SELECT 'job is not given' WHERE attachment.job IS NULL
	UNION ALL SELECT 'starts is not given' WHERE attachment.starts IS NULL
	UNION ALL SELECT 'on_deny is neither mark nor raise'
		WHERE coalesce(attachment.on_deny NOT IN ('mark', 'raise'), true)
$$;
COMMENT ON FUNCTION policy.attached_form_problems(policy.attached_tables) IS
	'What is wrong with the arguments of an attachment, whatever its table.';

CREATE FUNCTION policy.hidden_rows(job_table regclass, role regrole) RETURNS SETOF text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT c.words
	FROM pg_class t
		JOIN pg_roles o ON o.oid = hidden_rows.role AND NOT o.rolsuper AND NOT o.rolbypassrls
		CROSS JOIN (VALUES ('r'::"char", 'see'), ('w', 'change')) c(command, words)
	WHERE t.oid = hidden_rows.job_table AND t.relrowsecurity
		AND (t.relforcerowsecurity OR NOT pg_has_role(o.oid, t.relowner, 'USAGE'))
		AND NOT EXISTS (SELECT FROM pg_policy p
			WHERE p.polrelid = t.oid AND p.polpermissive AND p.polcmd IN ('*', c.command)
				AND EXISTS (SELECT FROM unnest(p.polroles) r WHERE r = 0 OR pg_has_role(o.oid, r, 'USAGE')))
$$;
COMMENT ON FUNCTION policy.hidden_rows(regclass, regrole) IS
	'What row security has no policy for that a role does to a table''s rows: see, change.';

CREATE FUNCTION policy.attached_table_problems(job_table regclass) RETURNS SETOF text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT p.problem
	FROM pg_class c
		CROSS JOIN LATERAL (VALUES
			(c.relkind NOT IN ('r', 'p'), format('%s is no table', c.oid::regclass)),
			(c.relispartition, format('%s is a partition: attach the table that it is of', c.oid::regclass)),
			(c.relpersistence = 't', format('%s is a temporary table', c.oid::regclass)),
			(c.relnamespace IN ('pg_catalog'::regnamespace, 'policy'::regnamespace),
				format('%s is a table of the system or of policy_engine', c.oid::regclass)),
			(c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid),
				format('%s has tables that inherit from it', c.oid::regclass)),
			(c.relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
				format('%s has no primary key', c.oid::regclass))) p(applies, problem)
	WHERE c.oid = job_table AND p.applies
	UNION ALL
	SELECT format('you lack the privilege %s on %s', r, job_table)
	FROM unnest(ARRAY['TRIGGER', 'SELECT', 'UPDATE']) r
	WHERE NOT has_table_privilege(policy.outer_role(), job_table, r)
		AND NOT (r <> 'TRIGGER' AND has_any_column_privilege(policy.outer_role(), job_table, r))
	UNION ALL
	SELECT format('row security of %s has no policy for you to %s its rows', job_table, h)
	FROM policy.hidden_rows(job_table, policy.outer_role()) h
$$;
COMMENT ON FUNCTION policy.attached_table_problems(regclass) IS
	'Why who calls cannot attach a table.';

CREATE FUNCTION policy.attached_problems(attachment policy.attached_tables) RETURNS text[]
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	problems text[];
	checked record;
BEGIN
	problems := ARRAY(SELECT policy.attached_table_problems(attachment.relation)
		UNION ALL SELECT policy.attached_form_problems(attachment)
		UNION ALL SELECT format('material: column "%s" does not exist', m)
			FROM unnest(attachment.material) m
			WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = attachment.relation
				AND a.attname = m AND a.attnum > 0 AND NOT a.attisdropped));
	FOR checked IN SELECT * FROM policy.attached_expressions(attachment) LOOP
		BEGIN
			PERFORM policy.check_attached(attachment.relation, checked.kind, checked.target, checked.source);
		EXCEPTION WHEN OTHERS THEN
			problems := problems || concat_ws(': ', checked.kind, checked.target, SQLERRM);
		END;
	END LOOP;
	RETURN problems;
END
$$;
COMMENT ON FUNCTION policy.attached_problems(policy.attached_tables) IS
	'All that is wrong with an attachment; empty where nothing is.';

CREATE FUNCTION policy.for_table(source text, job_table regclass) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	-- Inside of a string its quotes are doubled.
	SELECT replace(replace(replace(replace(source,
		'''{schema}', '''' || replace(quote_ident(n.nspname), '''', '''''')),
		'{schema}', quote_ident(n.nspname)),
		'{schema name}', quote_literal(n.nspname)), '{table name}', quote_literal(c.relname))
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = job_table
$$;
COMMENT ON FUNCTION policy.for_table(text, regclass) IS
	'A preset''s SQL for a table: {schema} is its schema as an identifier, {schema name} and {table name} are strings.';

CREATE FUNCTION policy.refuse_attachment(job_table text, problems text[]) RETURNS void
	LANGUAGE plpgsql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF cardinality(problems) > 0 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE012',
			MESSAGE = format('cannot attach %s', job_table),
			DETAIL = array_to_string(problems, E'\n'),
			HINT = 'Nothing was made. Expressions have the row''s columns, and retry_at, reason and constraints; other names are looked up in pg_catalog alone: qualify them.';
	END IF;
END
$$;
COMMENT ON FUNCTION policy.refuse_attachment(text, text[]) IS 'Raises PE012 where there are problems.';

CREATE FUNCTION policy.keep_attachment(attachment policy.attached_tables)
	RETURNS policy.attached_tables
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	made policy.attached_tables := attachment;
	gone policy.attached_tables;
BEGIN
	PERFORM policy.refuse_attachment(policy.table_name(made.relation),
		ARRAY(SELECT format('%s was attached under this name', a.relation) FROM policy.attached_tables a
			JOIN pg_class c ON c.oid = a.relation
			WHERE a.job_table = policy.table_name(made.relation) AND a.relation <> made.relation)
		|| ARRAY(SELECT policy.attached_table_problems(made.relation)));
	made.attachment_id := nextval('policy.attachment_id_seq');
	made.job_table := policy.table_name(made.relation);
	made.columns := policy.table_columns(made.relation);
	made.attached_by := policy.outer_role();
	made.attached_at := clock_timestamp();
	-- What is left of a table of that name that is gone.
	FOR gone IN DELETE FROM policy.attached_tables a
		WHERE a.job_table = made.job_table AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = a.relation)
		RETURNING a.* LOOP
		PERFORM policy.forget_attached(gone.job_table);
	END LOOP;
	INSERT INTO policy.attached_tables VALUES (made.*);
	PERFORM policy.make_guards(made);
	RETURN made;
END
$$;
COMMENT ON FUNCTION policy.keep_attachment(policy.attached_tables) IS
	'Stores an attachment in the name of who calls, and makes its triggers. Raises PE012 for a table that cannot be attached, or not by who calls.';

CREATE FUNCTION policy_attach(
	job_table regclass, preset text DEFAULT NULL, job text DEFAULT NULL, job_key text DEFAULT NULL,
	hold jsonb DEFAULT NULL, deny jsonb DEFAULT NULL, throttle jsonb DEFAULT NULL,
	release jsonb DEFAULT NULL, material text[] DEFAULT NULL, starts text DEFAULT NULL,
	ends text DEFAULT NULL, on_deny text DEFAULT 'mark', notify text DEFAULT NULL,
	allow jsonb DEFAULT NULL, undo text DEFAULT NULL)
	RETURNS policy.attached_tables
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	made policy.attached_tables;
	chosen policy.attach_presets;
BEGIN
	IF policy_attach.job_table IS NULL THEN
		PERFORM policy.refuse_attachment('NULL', ARRAY['there is no such table']);
	END IF;
	IF EXISTS (SELECT FROM policy.attached_tables a WHERE a.relation = policy_attach.job_table) THEN
		PERFORM policy.refuse_attachment(policy.table_name(policy_attach.job_table), ARRAY['it is attached already']);
	END IF;
	made.preset := coalesce(policy_attach.preset, CASE
		WHEN num_nonnulls(policy_attach.job, policy_attach.hold, policy_attach.deny,
			policy_attach.throttle, policy_attach.starts) = 0
		THEN policy.detect_preset(policy_attach.job_table) END);
	SELECT p.* INTO chosen FROM policy.attach_presets p WHERE p.preset = made.preset;
	IF made.preset IS NOT NULL AND NOT FOUND THEN
		PERFORM policy.refuse_attachment(policy.table_name(policy_attach.job_table),
			ARRAY[format('there is no preset "%s"', made.preset)]);
	END IF;
	IF NOT chosen.built_in AND EXISTS (SELECT FROM pg_roles r
			WHERE (r.oid = policy.outer_role() OR r.rolname = current_user) AND r.rolsuper) THEN
		PERFORM policy.refuse_attachment(policy.table_name(policy_attach.job_table), ARRAY[format(
			'preset "%s" is not the extension''s own: an admin''s SQL would run with the rights of a superuser, you', made.preset)]);
	END IF;
	made.relation := policy_attach.job_table;
	made.job := coalesce(policy_attach.job, policy.for_table(chosen.job, made.relation));
	made.job_key := coalesce(policy_attach.job_key, policy.for_table(chosen.job_key, made.relation), policy.default_job_key(made.relation));
	made.hold := coalesce(policy_attach.hold, policy.for_table(chosen.hold::text, made.relation)::jsonb);
	made.deny := coalesce(policy_attach.deny, policy.for_table(chosen.deny::text, made.relation)::jsonb);
	made.throttle := coalesce(policy_attach.throttle, policy.for_table(chosen.throttle::text, made.relation)::jsonb);
	made.allow := coalesce(policy_attach.allow, policy.for_table(chosen.allow::text, made.relation)::jsonb);
	made.release := coalesce(policy_attach.release, policy.for_table(chosen.release::text, made.relation)::jsonb);
	made.material := coalesce(policy_attach.material, chosen.material, '{}');
	made.starts := coalesce(policy_attach.starts, policy.for_table(chosen.starts, made.relation));
	made.ends := coalesce(policy_attach.ends, policy.for_table(chosen.ends, made.relation));
	made.undo := coalesce(policy_attach.undo, policy.for_table(chosen.undo, made.relation));
	made.on_deny := policy_attach.on_deny;
	made.notify := coalesce(policy_attach.notify, policy.for_table(chosen.notify, made.relation));
	PERFORM policy.refuse_attachment(policy.table_name(made.relation), policy.attached_problems(made));
	made := policy.keep_attachment(made);
	PERFORM policy.refuse_attachment(made.job_table, policy.try_attachment(made.attachment_id));
	RETURN made;
END
$$;
COMMENT ON FUNCTION policy_attach(regclass, text, text, text, jsonb, jsonb, jsonb, jsonb, text[], text, text, text, text, jsonb, text) IS
	'Guards a job table that is there already; what is not given comes from the preset, which the table''s columns tell where nothing is given. Needs TRIGGER, SELECT and UPDATE on the table: rows that a vote or maintenance lets go on are written with the rights of who attaches it (of the table''s owner, where that is a superuser). Raises PE012, with all that is wrong, where it cannot be.';

CREATE FUNCTION policy_detach(job_table regclass) RETURNS policy.attached_tables
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	gone policy.attached_tables;
BEGIN
	-- Of a table that is gone nobody has any privilege: this is NULL, and its attachment can go.
	IF NOT has_table_privilege(policy.outer_role(), policy_detach.job_table, 'TRIGGER') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('you lack the privilege TRIGGER on %s', policy_detach.job_table),
			HINT = 'Who may attach a table may detach it.';
	END IF;
	DELETE FROM policy.attached_tables a WHERE a.relation = policy_detach.job_table
		RETURNING a.* INTO gone;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE012',
			MESSAGE = format('%s is not attached', coalesce(policy_detach.job_table::text, 'NULL')),
			HINT = 'SELECT job_table FROM policy_attachments lists the tables that are.';
	END IF;
	PERFORM policy.drop_guards(gone);
	PERFORM policy.forget_attached(gone.job_table);
	RETURN gone;
END
$$;
COMMENT ON FUNCTION policy_detach(regclass) IS
	'Takes the guard from a table: its rows stay as they are, held ones held, and nobody is asked about them any more. Returns the attachment that was. Raises PE012 for a table that is not attached.';

CREATE FUNCTION policy.try_attachment(attachment_id bigint) RETURNS text[]
	AS 'MODULE_PATHNAME', 'policy_try_attachment'
	LANGUAGE C;
COMMENT ON FUNCTION policy.try_attachment(bigint) IS
	'Tries an attachment on rows that its table has, as who calls, and takes it all back: what is wrong with it; empty where nothing is.';

CREATE FUNCTION policy_lookup(source regclass, key_column name, key text, value_column name)
	RETURNS text
	AS 'MODULE_PATHNAME', 'policy_lookup'
	LANGUAGE C STRICT;
COMMENT ON FUNCTION policy_lookup(regclass, name, text, name) IS
	'The value, as text, of the row of a table with that key; NULL where there is none. With the rights of who calls: for expressions of attachments, which have no subqueries.';
