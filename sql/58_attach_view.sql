--
-- Whether the guards are there
--

CREATE FUNCTION policy.trigger_type(timing text, statement boolean) RETURNS integer
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT sum(v.bit)::integer
	FROM (VALUES (NOT statement, 1), (timing LIKE 'BEFORE%', 2), (timing LIKE '%INSERT%', 4),
		(timing LIKE '%DELETE%', 8), (timing LIKE '%UPDATE%', 16), (timing LIKE '%TRUNCATE%', 32)) v(applies, bit)
	WHERE v.applies
$$;
COMMENT ON FUNCTION policy.trigger_type(text, boolean) IS
	'What pg_trigger.tgtype is of a trigger with that timing.';

CREATE FUNCTION policy.missing_guards(attachment policy.attached_tables) RETURNS SETOF text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT format(CASE WHEN t.oid IS NULL THEN 'trigger %I of %s is gone'
			WHEN t.tgenabled NOT IN ('O', 'A') THEN 'trigger %I of %s is disabled'
			ELSE 'trigger %I of %s is not the one that was made' END, g.name, r.relation)
	FROM policy.guard_triggers() g
		CROSS JOIN policy.attached_partitions(attachment.relation) r(relation)
		LEFT JOIN pg_trigger t ON t.tgrelid = r.relation AND t.tgname = g.name
		LEFT JOIN pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = 'policy'::regnamespace
	WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A') OR p.proname IS DISTINCT FROM g.function
		OR t.tgargs <> convert_to(attachment.attachment_id::text, 'UTF8') || '\x00'::bytea
		OR t.tgtype <> policy.trigger_type(g.timing, g.every_partition)
		OR t.tgqual IS NOT NULL OR t.tgattr::text <> '' OR t.tgconstraint <> 0
	ORDER BY r.relation::text, g.name
$$;
COMMENT ON FUNCTION policy.missing_guards(policy.attached_tables) IS
	'What is wrong with the triggers of an attached table and its partitions.';

CREATE FUNCTION policy.attachment_changes(attachment policy.attached_tables) RETURNS SETOF text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT format('column %s is gone, or of another type', c) FROM unnest(attachment.columns) c
	WHERE c <> ALL (policy.table_columns(attachment.relation))
	UNION ALL
	SELECT format('column %s is new', c) FROM unnest(policy.table_columns(attachment.relation)) c
	WHERE c <> ALL (attachment.columns)
	UNION ALL
	SELECT format('its name was %s', attachment.job_table)
	WHERE policy.table_name(attachment.relation) <> attachment.job_table
$$;
COMMENT ON FUNCTION policy.attachment_changes(policy.attached_tables) IS
	'What has changed of a table since it was attached.';

CREATE FUNCTION policy.table_is_gone(attachment policy.attached_tables) RETURNS text
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT format('the table is gone: SELECT policy_detach(%s) forgets it', attachment.relation::oid)
$$;
COMMENT ON FUNCTION policy.table_is_gone(policy.attached_tables) IS
	'What is said of an attachment whose table was dropped.';

CREATE FUNCTION policy.attacher_problems(attachment policy.attached_tables) RETURNS SETOF text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT 'who attached it is gone: nothing lets its held rows go on'
	WHERE NOT EXISTS (SELECT FROM pg_roles o WHERE o.oid = attachment.attached_by)
	UNION ALL
	SELECT format('who attached it lacks the privilege %s', r) FROM unnest(ARRAY['SELECT', 'UPDATE']) r
	WHERE EXISTS (SELECT FROM pg_roles o WHERE o.oid = attachment.attached_by)
		AND NOT has_any_column_privilege(attachment.attached_by, attachment.relation, r)
	UNION ALL
	SELECT format('row security has no policy for who attached it to %s its rows', h)
	FROM policy.hidden_rows(attachment.relation, attachment.attached_by) h
$$;
COMMENT ON FUNCTION policy.attacher_problems(policy.attached_tables) IS
	'Why rows of an attached table cannot be moved with the rights of who attached it.';

CREATE FUNCTION policy.check_attachment(attachment policy.attached_tables,
	OUT present boolean, OUT enabled boolean, OUT current boolean, OUT warnings text[])
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	guards text[];
	changes text[];
BEGIN
	IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = attachment.relation) THEN
		present := false;
		enabled := false;
		current := false;
		warnings := ARRAY[policy.table_is_gone(attachment)];
		RETURN;
	END IF;
	guards := ARRAY(SELECT policy.missing_guards(attachment));
	changes := ARRAY(SELECT policy.attachment_changes(attachment));
	present := NOT EXISTS (SELECT FROM unnest(guards) g WHERE g NOT LIKE '% is disabled');
	enabled := present AND cardinality(guards) = 0;
	current := cardinality(changes) = 0;
	warnings := guards || changes
		|| ARRAY(SELECT format('trigger %I fires after the guard, and must not change what was decided', t.tgname)
			FROM pg_trigger t
			WHERE t.tgrelid = attachment.relation AND NOT t.tgisinternal AND t.tgname > 'zzz_policy_z'
				-- A row's, before its insertion or update.
				AND t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0)
		|| ARRAY(SELECT format('table %s inherits from it, and has no guard', i.inhrelid::regclass)
			FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent AND c.relkind = 'r'
			WHERE i.inhparent = attachment.relation)
		|| ARRAY(SELECT policy.attacher_problems(attachment))
		|| CASE WHEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = attachment.relation AND i.indisprimary)
			THEN ARRAY['its primary key is gone'] ELSE '{}' END;
END
$$;
COMMENT ON FUNCTION policy.check_attachment(policy.attached_tables) IS
	'Whether the triggers of an attached table are there, enabled and current, and what an operator should look at.';

CREATE VIEW policy_attachments AS
	SELECT a.job_table, a.preset, a.on_deny, a.attached_by::text AS attached_by, a.attached_at,
		(SELECT count(*) FROM policy.attached_partitions(a.relation) p WHERE p <> a.relation) AS partitions,
		c.present, c.enabled, c.current, c.warnings
	FROM policy.attached_tables a CROSS JOIN LATERAL policy.check_attachment(a) c;
COMMENT ON VIEW policy_attachments IS
	'The tables that are attached, and whether their guards are there. Who owns a table, and a superuser, can take them away: then it shows that.';
COMMENT ON COLUMN policy_attachments.job_table IS 'The table, as it was attached.';
COMMENT ON COLUMN policy_attachments.preset IS 'The preset; NULL: none.';
COMMENT ON COLUMN policy_attachments.on_deny IS 'mark or raise.';
COMMENT ON COLUMN policy_attachments.attached_by IS 'Who attached it.';
COMMENT ON COLUMN policy_attachments.attached_at IS 'When.';
COMMENT ON COLUMN policy_attachments.partitions IS 'How many partitions it has.';
COMMENT ON COLUMN policy_attachments.present IS 'Its triggers are there, and those of its partitions.';
COMMENT ON COLUMN policy_attachments.enabled IS 'And none is disabled.';
COMMENT ON COLUMN policy_attachments.current IS 'Its name and columns are as they were.';
COMMENT ON COLUMN policy_attachments.warnings IS 'What to look at; policy_reattach_all() puts triggers and columns right.';

CREATE FUNCTION policy.attachment_warning() RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT format('attached tables are not guarded as they were: %s; see policy_attachments, and call policy_reattach_all()',
		string_agg(a.job_table, ', ' ORDER BY a.job_table))
	FROM policy.attached_tables a CROSS JOIN LATERAL policy.check_attachment(a) c
	WHERE cardinality(c.warnings) > 0
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION policy.attachment_warning() IS
	'What policy_status says of attached tables; NULL where all is well.';

CREATE FUNCTION policy.rename_attached(attachment_id bigint) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	was text;
	name text;
BEGIN
	SELECT a.job_table, policy.table_name(a.relation) INTO was, name FROM policy.attached_tables a
		WHERE a.attachment_id = rename_attached.attachment_id;
	IF name = was THEN
		RETURN;
	END IF;
	UPDATE policy.attached_tables a SET job_table = name WHERE a.attachment_id = rename_attached.attachment_id;
	DELETE FROM policy.guarded_jobs g WHERE g.job_table = name;
	UPDATE policy.guarded_jobs g SET job_table = name WHERE g.job_table = was;
	UPDATE policy.approvals a SET job_table = name
		WHERE a.job_table = was AND a.status IN ('pending', 'approved', 'consumed');
END
$$;
COMMENT ON FUNCTION policy.rename_attached(bigint) IS
	'Gives an attachment, and what is open of its jobs, the name that its table has now; evidence keeps the one that it had.';

CREATE FUNCTION policy.remake_attachment(attachment_id bigint) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	made policy.attached_tables;
	again boolean;
BEGIN
	SELECT a.* INTO made FROM policy.attached_tables a
		WHERE a.attachment_id = remake_attachment.attachment_id FOR UPDATE;
	-- A table that was made again has its old name.
	again := NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = made.relation);
	IF again THEN
		made.relation := to_regclass(made.job_table);
	END IF;
	PERFORM policy.refuse_attachment(made.job_table, ARRAY(SELECT policy.attached_table_problems(made.relation))
		|| ARRAY(SELECT format('%s was attached under this name', a.relation) FROM policy.attached_tables a
			WHERE a.job_table = policy.table_name(made.relation) AND a.attachment_id <> made.attachment_id));
	-- Another table's owner has other code run when its rows are moved: with the rights of who says so now.
	IF again OR EXISTS (SELECT policy.attacher_problems(made)) THEN
		made.attached_by := policy.outer_role();
	END IF;
	UPDATE policy.attached_tables a
		SET relation = made.relation, columns = policy.table_columns(made.relation), attached_by = made.attached_by
		WHERE a.attachment_id = made.attachment_id;
	PERFORM policy.make_guards(made);
	PERFORM policy.rename_attached(made.attachment_id);
	IF again THEN
		PERFORM policy.forget_gone(made.job_table);
	END IF;
END
$$;
COMMENT ON FUNCTION policy.remake_attachment(bigint) IS
	'Makes the triggers of an attached table again, and takes its name and columns as they are; who calls takes the place of who attached it, where that one can move no rows any more, or the table was made again. Raises PE012 where who calls could not attach it.';

CREATE FUNCTION policy.reattach(attachment policy.attached_tables) RETURNS text
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	at policy.attached_tables := attachment;
	detail text;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = at.relation) THEN
		at.relation := to_regclass(at.job_table);
		IF at.relation IS NULL THEN
			RETURN policy.table_is_gone(attachment);
		END IF;
	ELSIF cardinality((policy.check_attachment(attachment)).warnings) = 0 THEN
		RETURN 'nothing to do';
	END IF;
	PERFORM policy.refuse_attachment(at.job_table, policy.attached_problems(at));
	PERFORM policy.remake_attachment(at.attachment_id);
	RETURN 'attached again';
EXCEPTION WHEN SQLSTATE 'PE012' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN detail;
END
$$;
COMMENT ON FUNCTION policy.reattach(policy.attached_tables) IS
	'Puts an attachment right where it is not, and says what was done, or why it could not be.';

CREATE FUNCTION policy_reattach_all(OUT job_table text, OUT outcome text) RETURNS SETOF record
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	attachment policy.attached_tables;
	sibling record;
BEGIN
	FOR attachment IN SELECT a.* FROM policy.attached_tables a ORDER BY a.job_table LOOP
		job_table := attachment.job_table;
		outcome := policy.reattach(attachment);
		RETURN NEXT;
	END LOOP;
	FOR sibling IN
		SELECT DISTINCT s.oid::regclass AS relation
		FROM policy.attached_tables a
			JOIN policy.attach_presets p ON p.preset = a.preset AND p.siblings IS NOT NULL
			JOIN pg_class c ON c.oid = a.relation
			JOIN pg_class s ON s.relnamespace = c.relnamespace AND s.relname LIKE p.siblings
				AND s.relkind IN ('r', 'p') AND NOT s.relispartition
		WHERE NOT EXISTS (SELECT FROM policy.attached_tables o WHERE o.relation = s.oid)
	LOOP
		job_table := policy.table_name(sibling.relation);
		BEGIN
			PERFORM @extschema@.policy_attach(sibling.relation);
			outcome := 'attached';
		EXCEPTION WHEN SQLSTATE 'PE012' THEN
			GET STACKED DIAGNOSTICS outcome = PG_EXCEPTION_DETAIL;
		END;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION policy_reattach_all() IS
	'Puts right what policy_attachments warns of: makes triggers again that a restore or a client''s migration has lost, takes changed columns as they are, and attaches the queues that a client has made since (a preset''s siblings). A row a table: what was done, or why it could not be.';
