--
-- Whether the guards are there
--

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
		warnings := ARRAY['the table is gone'];
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
		|| ARRAY(SELECT format('who attached it lacks the privilege %s', r) FROM unnest(ARRAY['SELECT', 'UPDATE']) r
			WHERE EXISTS (SELECT FROM pg_roles o WHERE o.oid = attachment.attached_by)
				AND NOT has_any_column_privilege(attachment.attached_by, attachment.relation, r))
		|| CASE WHEN NOT EXISTS (SELECT FROM pg_roles o WHERE o.oid = attachment.attached_by)
			THEN ARRAY['who attached it is gone: nothing lets its held rows go on'] ELSE '{}' END
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

CREATE FUNCTION policy.remake_attachment(attachment_id bigint) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	made policy.attached_tables;
BEGIN
	SELECT a.* INTO made FROM policy.attached_tables a
		WHERE a.attachment_id = remake_attachment.attachment_id FOR UPDATE;
	-- A table that was made again has its old name.
	IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = made.relation) THEN
		made.relation := to_regclass(made.job_table);
	END IF;
	PERFORM policy.refuse_attachment(made.job_table, ARRAY(SELECT policy.attached_table_problems(made.relation)));
	UPDATE policy.attached_tables a SET relation = made.relation, columns = policy.table_columns(made.relation)
		WHERE a.attachment_id = made.attachment_id;
	PERFORM policy.make_guards(made);
END
$$;
COMMENT ON FUNCTION policy.remake_attachment(bigint) IS
	'Makes the triggers of an attached table again, and takes its columns as they are. Raises PE012 where who calls could not attach it.';

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
			RETURN 'the table is gone';
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
