--
-- Duties: who may do what, as GRANTs and as rows
--

CREATE TABLE policy.held_duties (
	role regrole NOT NULL,
	duty text COLLATE "C" NOT NULL,
	identity jsonb,
	granted_by text NOT NULL,
	granted_at timestamptz NOT NULL,
	CONSTRAINT held_duties_pkey PRIMARY KEY (role, duty),
	CONSTRAINT held_duties_duty_check CHECK (duty IN
		('evaluate', 'submit', 'work', 'approve', 'author', 'release', 'override', 'audit',
		 'operate', 'proxy', 'admin'))
);
COMMENT ON TABLE policy.held_duties IS 'Who was given which duty: policy.duties shows it by name.';
COMMENT ON COLUMN policy.held_duties.role IS
	'The role itself, as GRANTs know it: a duty follows it through a change of name, and no other role gets it with the name.';
COMMENT ON COLUMN policy.held_duties.duty IS
	'evaluate, submit, work, approve, author, release, override, audit, operate, proxy or admin.';
COMMENT ON COLUMN policy.held_duties.identity IS
	'submit: what is stamped on the jobs of who holds it: tenant_id, actor_id, actor_type, actor_roles.';
COMMENT ON COLUMN policy.held_duties.granted_by IS 'Who gave it.';
COMMENT ON COLUMN policy.held_duties.granted_at IS 'When.';
-- A row of a role that is gone has a bare number, which elsewhere is another role's.
SELECT pg_catalog.pg_extension_config_dump('policy.held_duties',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) role)');

CREATE VIEW policy.duties AS
	SELECT pg_get_userbyid(d.role)::text AS role, d.duty, d.identity, d.granted_by, d.granted_at
	FROM policy.held_duties d;
COMMENT ON VIEW policy.duties IS 'Who was given which duty: policy_grant, policy_revoke.';
COMMENT ON COLUMN policy.duties.role IS 'The role''s name.';
COMMENT ON COLUMN policy.duties.duty IS
	'evaluate, submit, work, approve, author, release, override, audit, operate, proxy or admin.';
COMMENT ON COLUMN policy.duties.identity IS
	'submit: what is stamped on the jobs of who holds it: tenant_id, actor_id, actor_type, actor_roles.';
COMMENT ON COLUMN policy.duties.granted_by IS 'Who gave it.';
COMMENT ON COLUMN policy.duties.granted_at IS 'When.';

CREATE FUNCTION policy.duty_rights(OUT duty text, OUT privilege text, OUT object text)
	RETURNS SETOF record
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	VALUES
		('evaluate', 'USAGE', 'SCHEMA policy'),
		('evaluate', 'EXECUTE', 'FUNCTION @extschema@.policy_evaluate(jsonb)'),
		('evaluate', 'EXECUTE', 'FUNCTION @extschema@.policy_evaluate(jsonb, timestamptz)'),
		('evaluate', 'EXECUTE', 'FUNCTION @extschema@.policy_status()'),
		('submit', 'EXECUTE', 'FUNCTION @extschema@.policy_submit(jsonb)'),
		('submit', 'EXECUTE', 'FUNCTION @extschema@.policy_cancel(bigint, text)'),
		('submit', 'EXECUTE', 'FUNCTION @extschema@.policy_remediations(bigint)'),
		('submit', 'EXECUTE', 'FUNCTION @extschema@.policy_remediate(bigint, text)'),
		('submit', 'SELECT, INSERT, UPDATE', 'TABLE policy.jobs'),
		('submit', 'EXECUTE', 'FUNCTION policy.idempotency_hash(text, jsonb, text)'),
		('work', 'EXECUTE', 'FUNCTION @extschema@.policy_claim(text, integer, text[])'),
		('work', 'EXECUTE', 'FUNCTION @extschema@.policy_heartbeat(bigint, uuid)'),
		('work', 'EXECUTE', 'FUNCTION @extschema@.policy_complete(bigint, uuid, jsonb)'),
		('work', 'EXECUTE', 'FUNCTION @extschema@.policy_fail(bigint, uuid, text)'),
		('approve', 'EXECUTE', 'FUNCTION @extschema@.policy_approve(bigint, text)'),
		('approve', 'EXECUTE', 'FUNCTION @extschema@.policy_reject(bigint, text)'),
		('approve', 'EXECUTE', 'FUNCTION @extschema@.policy_approvals(boolean)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_stage(text, @extschema@.policy_document, text)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_simulate(jsonb, text)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_lint(text, timestamptz)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_diff(text, text)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_test(text)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_explain(jsonb, text)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_replay(text, timestamptz, timestamptz, text)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_replay_query(text, text)'),
		('author', 'EXECUTE', 'FUNCTION policy.replay_job(text, text, timestamptz, boolean, jsonb, timestamptz, bigint, text, text, @extschema@.policy_decision, text, boolean)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_report(bigint)'),
		('author', 'EXECUTE', 'FUNCTION @extschema@.policy_report_text(bigint)'),
		('author', 'EXECUTE', 'FUNCTION policy.replays()'),
		('author', 'SELECT', 'TABLE policy.replay_progress'),
		('author', 'SELECT', 'TABLE policy.simulations'),
		('author', 'SELECT', 'TABLE policy.simulation_flips'),
		('author', 'SELECT', 'TABLE policy.snapshots'),
		('author', 'SELECT', 'TABLE policy.releases'),
		('author', 'SELECT', 'TABLE policy.active'),
		('release', 'EXECUTE', 'FUNCTION @extschema@.policy_publish(text, text, text)'),
		('release', 'EXECUTE', 'FUNCTION @extschema@.policy_rollback(text, text)'),
		('release', 'EXECUTE', 'FUNCTION @extschema@.policy_approvals(boolean)'),
		('release', 'EXECUTE', 'FUNCTION @extschema@.policy_acknowledge(bigint, text)'),
		('release', 'EXECUTE', 'FUNCTION @extschema@.policy_report(bigint)'),
		('release', 'EXECUTE', 'FUNCTION @extschema@.policy_report_text(bigint)'),
		('release', 'EXECUTE', 'FUNCTION @extschema@.policy_diff(text, text)'),
		('release', 'EXECUTE', 'FUNCTION @extschema@.policy_test(text)'),
		('release', 'EXECUTE', 'FUNCTION policy.replays()'),
		('release', 'SELECT', 'TABLE policy.replay_progress'),
		('release', 'SELECT', 'TABLE policy.simulations'),
		('release', 'SELECT', 'TABLE policy.simulation_flips'),
		('release', 'SELECT', 'TABLE policy.snapshots'),
		('release', 'SELECT', 'TABLE policy.releases'),
		('release', 'SELECT', 'TABLE policy.active'),
		('release', 'SELECT', 'TABLE policy.decision_mix'),
		('audit', 'EXECUTE', 'FUNCTION @extschema@.policy_approvals(boolean)'),
		('audit', 'EXECUTE', 'FUNCTION @extschema@.policy_diff(text, text)'),
		('audit', 'EXECUTE', 'FUNCTION @extschema@.policy_verify()'),
		('audit', 'EXECUTE', 'FUNCTION @extschema@.policy_explain(jsonb, text)'),
		('audit', 'EXECUTE', 'FUNCTION @extschema@.policy_lint(text, timestamptz)'),
		('audit', 'EXECUTE', 'FUNCTION @extschema@.policy_remediations(bigint)'),
		('audit', 'EXECUTE', 'FUNCTION policy.transitions()'),
		('audit', 'EXECUTE', 'FUNCTION policy.job(policy.jobs)'),
		('audit', 'EXECUTE', 'FUNCTION policy.job_hash(jsonb)'),
		('audit', 'EXECUTE', 'FUNCTION policy.is_last_asked(policy.approvals)'),
		('audit', 'EXECUTE', 'FUNCTION @extschema@.policy_report(bigint)'),
		('audit', 'EXECUTE', 'FUNCTION @extschema@.policy_report_text(bigint)'),
		('audit', 'EXECUTE', 'FUNCTION policy.replays()'),
		('audit', 'SELECT', 'TABLE policy.replay_progress'),
		('audit', 'SELECT', 'TABLE policy.simulations'),
		('audit', 'SELECT', 'TABLE policy.simulation_flips'),
		('audit', 'SELECT', 'TABLE policy.snapshots'),
		('audit', 'SELECT', 'TABLE policy.releases'),
		('audit', 'SELECT', 'TABLE policy.active'),
		('audit', 'SELECT', 'TABLE policy.jobs'),
		('audit', 'SELECT', 'TABLE policy.job_transitions'),
		('audit', 'SELECT', 'TABLE policy.decisions'),
		('audit', 'SELECT', 'TABLE policy.decision_mix'),
		('audit', 'SELECT', 'TABLE policy.rule_stats'),
		('audit', 'SELECT', 'TABLE policy.traces'),
		('audit', 'SELECT', 'TABLE policy.approvals'),
		('audit', 'SELECT', 'TABLE policy.approval_votes'),
		('audit', 'SELECT', 'TABLE policy.remediations'),
		('audit', 'SELECT', 'TABLE policy.halts'),
		('audit', 'SELECT', 'TABLE policy.halt_stops'),
		('audit', 'SELECT', 'TABLE policy.seals'),
		('audit', 'EXECUTE', 'FUNCTION policy.halt_covers(jsonb, jsonb)'),
		('audit', 'EXECUTE', 'FUNCTION policy.guard_triggers()'),
		('audit', 'EXECUTE', 'FUNCTION policy.attached_partitions(regclass)'),
		('audit', 'EXECUTE', 'FUNCTION policy.table_columns(regclass)'),
		('audit', 'EXECUTE', 'FUNCTION policy.table_name(regclass)'),
		('audit', 'EXECUTE', 'FUNCTION policy.trigger_type(text, boolean)'),
		('audit', 'EXECUTE', 'FUNCTION policy.missing_guards(policy.attached_tables)'),
		('audit', 'EXECUTE', 'FUNCTION policy.table_is_gone(policy.attached_tables)'),
		('audit', 'EXECUTE', 'FUNCTION policy.hidden_rows(regclass, regrole)'),
		('audit', 'EXECUTE', 'FUNCTION policy.attacher_problems(policy.attached_tables)'),
		('audit', 'EXECUTE', 'FUNCTION policy.attachment_changes(policy.attached_tables)'),
		('audit', 'EXECUTE', 'FUNCTION policy.check_attachment(policy.attached_tables)'),
		('audit', 'SELECT', 'TABLE policy.halted_running'),
		('audit', 'SELECT', 'TABLE policy.attached_tables'),
		('audit', 'SELECT', 'TABLE policy.attach_presets'),
		('audit', 'SELECT', 'TABLE policy.guarded_jobs'),
		('audit', 'SELECT', 'TABLE policy.held_duties'),
		('audit', 'SELECT', 'TABLE @extschema@.policy_attachments'),
		('audit', 'SELECT', 'TABLE policy.duties'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_maintain()'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_seal()'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_redecide(jsonb, text)'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_cancel(bigint, text)'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_approvals(boolean)'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_remediations(bigint)'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_halt(jsonb, text)'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_resume(bigint, text)'),
		('operate', 'EXECUTE', 'FUNCTION policy.halt_covers(jsonb, jsonb)'),
		('operate', 'EXECUTE', 'FUNCTION policy.job(policy.jobs)'),
		('operate', 'SELECT', 'TABLE policy.halts'),
		('operate', 'SELECT', 'TABLE policy.halt_stops'),
		('operate', 'SELECT', 'TABLE policy.halted_running'),
		('operate', 'EXECUTE', 'FUNCTION policy.transitions()'),
		('operate', 'SELECT', 'TABLE policy.jobs'),
		('operate', 'SELECT', 'TABLE policy.job_transitions'),
		('operate', 'SELECT', 'TABLE policy.approvals'),
		('operate', 'SELECT', 'TABLE policy.decision_mix'),
		('operate', 'SELECT', 'TABLE policy.active'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_attach(regclass, text, text, text, jsonb, jsonb, jsonb, jsonb, text[], text, text, text, text, jsonb, text)'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_detach(regclass)'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_redecide(regclass, jsonb, text)'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_cancel(regclass, text, text)'),
		('operate', 'EXECUTE', 'FUNCTION policy.for_table(text, regclass)'),
		('operate', 'EXECUTE', 'FUNCTION @extschema@.policy_reattach_all()'),
		('operate', 'EXECUTE', 'FUNCTION policy.reattach(policy.attached_tables)'),
		('operate', 'EXECUTE', 'FUNCTION policy.remake_attachment(bigint)'),
		('operate', 'EXECUTE', 'FUNCTION policy.guard_triggers()'),
		('operate', 'EXECUTE', 'FUNCTION policy.attached_partitions(regclass)'),
		('operate', 'EXECUTE', 'FUNCTION policy.table_columns(regclass)'),
		('operate', 'EXECUTE', 'FUNCTION policy.trigger_type(text, boolean)'),
		('operate', 'EXECUTE', 'FUNCTION policy.missing_guards(policy.attached_tables)'),
		('operate', 'EXECUTE', 'FUNCTION policy.table_is_gone(policy.attached_tables)'),
		('operate', 'EXECUTE', 'FUNCTION policy.hidden_rows(regclass, regrole)'),
		('operate', 'EXECUTE', 'FUNCTION policy.attacher_problems(policy.attached_tables)'),
		('operate', 'EXECUTE', 'FUNCTION policy.attachment_changes(policy.attached_tables)'),
		('operate', 'EXECUTE', 'FUNCTION policy.check_attachment(policy.attached_tables)'),
		('operate', 'SELECT', 'TABLE @extschema@.policy_attachments'),
		('operate', 'EXECUTE', 'FUNCTION policy.outer_role()'),
		('operate', 'EXECUTE', 'FUNCTION policy.table_name(regclass)'),
		('operate', 'EXECUTE', 'FUNCTION policy.default_job_key(regclass)'),
		('operate', 'EXECUTE', 'FUNCTION policy.detect_preset(regclass)'),
		('operate', 'EXECUTE', 'FUNCTION policy.check_attached(regclass, text, text, text)'),
		('operate', 'EXECUTE', 'FUNCTION policy.attached_expressions(policy.attached_tables)'),
		('operate', 'EXECUTE', 'FUNCTION policy.attached_form_problems(policy.attached_tables)'),
		('operate', 'EXECUTE', 'FUNCTION policy.attached_table_problems(regclass)'),
		('operate', 'EXECUTE', 'FUNCTION policy.attached_problems(policy.attached_tables)'),
		('operate', 'EXECUTE', 'FUNCTION policy.refuse_attachment(text, text[])'),
		('operate', 'EXECUTE', 'FUNCTION policy.keep_attachment(policy.attached_tables)'),
		('operate', 'EXECUTE', 'FUNCTION policy.try_attachment(bigint)'),
		('operate', 'SELECT', 'TABLE policy.attach_presets'),
		('operate', 'SELECT', 'TABLE policy.attached_tables'),
		('operate', 'SELECT', 'TABLE policy.guarded_jobs'),
		('admin', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE policy.attach_presets'),
		('admin', 'EXECUTE', 'FUNCTION @extschema@.policy_grant(text, text, jsonb)'),
		('admin', 'EXECUTE', 'FUNCTION @extschema@.policy_revoke(text, text)'),
		('admin', 'SELECT', 'TABLE policy.duties')
$$;
COMMENT ON FUNCTION policy.duty_rights() IS
	'What each duty may do, as policy_grant grants it. Any duty has those of evaluate; override and proxy have no more.';

CREATE FUNCTION policy.check_identity(duty text, identity jsonb) RETURNS void
	LANGUAGE plpgsql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	wrong text;
BEGIN
	IF check_identity.identity IS NULL THEN
		RETURN;
	ELSIF check_identity.duty <> 'submit' THEN
		wrong := format('The duty %s binds no identity.', check_identity.duty);
	ELSIF jsonb_typeof(check_identity.identity) <> 'object' OR check_identity.identity = '{}' THEN
		wrong := 'An identity is an object with at least one key.';
	ELSE
		SELECT format('"%s" cannot be bound to %s.', e.key, e.value) INTO wrong
			FROM jsonb_each(check_identity.identity) e
			WHERE NOT CASE
				WHEN e.key IN ('tenant_id', 'actor_id', 'actor_type') THEN
					jsonb_typeof(e.value) = 'string' AND policy.normalized(e.value #>> '{}') <> ''
				WHEN e.key = 'actor_roles' THEN
					jsonb_typeof(e.value) = 'array' AND NOT EXISTS (
						SELECT FROM jsonb_array_elements(CASE jsonb_typeof(e.value)
							WHEN 'array' THEN e.value ELSE '[]' END) i
						WHERE jsonb_typeof(i) <> 'string')
				ELSE false END
			LIMIT 1;
	END IF;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'bad identity',
			DETAIL = wrong,
			HINT = 'An identity has any of tenant_id, actor_id and actor_type (strings that are not blank) and actor_roles (an array of strings), and goes with the duty submit.';
	END IF;
END
$$;
COMMENT ON FUNCTION policy.check_identity(text, jsonb) IS
	'Raises invalid_parameter_value where that identity cannot be bound with that duty.';

CREATE FUNCTION policy.check_duty(role text, duty text) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF check_duty.duty IS NULL OR check_duty.duty NOT IN
		('evaluate', 'submit', 'work', 'approve', 'author', 'release', 'override', 'audit',
		 'operate', 'proxy', 'admin') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('"%s" is no duty', coalesce(check_duty.duty, 'NULL')),
			HINT = 'Duties are evaluate, submit, work, approve, author, release, override, audit, operate, proxy and admin.';
	END IF;
	IF check_duty.role IS NULL OR NOT EXISTS (
		SELECT FROM pg_roles r WHERE r.rolname = check_duty.role) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('role "%s" does not exist', coalesce(check_duty.role, 'NULL')),
			HINT = 'CREATE ROLE makes one; names are taken as they are, without folding case.';
	END IF;
END
$$;
COMMENT ON FUNCTION policy.check_duty(text, text) IS
	'Raises undefined_object where there is no such role, invalid_parameter_value where there is no such duty.';

-- Not a cast: that folds the case of a name.
CREATE FUNCTION policy.role_named(name text) RETURNS regrole
	LANGUAGE sql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT r.oid::regrole FROM pg_roles r WHERE r.rolname = role_named.name $$;
COMMENT ON FUNCTION policy.role_named(text) IS
	'The role of that name, taken as it is; NULL where there is none.';

CREATE FUNCTION policy.give_rights(role text) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	given record;
BEGIN
	FOR given IN
		SELECT DISTINCT r.privilege, r.object FROM policy.duty_rights() r
		WHERE EXISTS (SELECT FROM policy.held_duties d
			WHERE d.role = policy.role_named(give_rights.role) AND r.duty IN (d.duty, 'evaluate'))
	LOOP
		EXECUTE format('GRANT %s ON %s TO %I', given.privilege, given.object, give_rights.role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION policy.give_rights(text) IS
	'GRANTs a role what its duties may do.';

CREATE FUNCTION policy_grant(role text, duty text, identity jsonb DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM policy.check_duty(policy_grant.role, policy_grant.duty);
	PERFORM policy.check_identity(policy_grant.duty, policy_grant.identity);
	INSERT INTO policy.held_duties AS d (role, duty, identity, granted_by, granted_at)
		VALUES (policy.role_named(policy_grant.role), policy_grant.duty, policy_grant.identity, session_user,
				clock_timestamp())
		ON CONFLICT ON CONSTRAINT held_duties_pkey DO UPDATE
		SET identity = excluded.identity, granted_by = excluded.granted_by,
			granted_at = excluded.granted_at;
	PERFORM policy.give_rights(policy_grant.role);
END
$$;
COMMENT ON FUNCTION policy_grant(text, text, jsonb) IS
	'Gives a role a duty, with the GRANTs that it needs; with submit, binds an identity that is stamped on its jobs (NULL: none, which also takes an earlier one away). Raises undefined_object for an unknown role, invalid_parameter_value for an unknown duty or a bad identity.';

CREATE FUNCTION policy_revoke(role text, duty text) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	taken record;
BEGIN
	PERFORM policy.check_duty(policy_revoke.role, policy_revoke.duty);
	DELETE FROM policy.held_duties d
		WHERE d.role = policy.role_named(policy_revoke.role) AND d.duty = policy_revoke.duty;
	FOR taken IN SELECT DISTINCT r.privilege, r.object FROM policy.duty_rights() r LOOP
		EXECUTE format('REVOKE %s ON %s FROM %I', taken.privilege, taken.object, policy_revoke.role);
	END LOOP;
	PERFORM policy.give_rights(policy_revoke.role);
END
$$;
COMMENT ON FUNCTION policy_revoke(text, text) IS
	'Takes a duty from a role, and the GRANTs that none of its other duties needs. Revoking what it does not have changes nothing. Raises as policy_grant.';

--
-- Status
--

CREATE FUNCTION policy.expected_triggers(OUT relation regclass, OUT name text, OUT enabled text)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT 'policy.jobs'::regclass, g, 'O'
	FROM unnest(ARRAY['zz_guard_insert', 'zz_guard_update', 'guard_record', 'guard_delete',
		'guard_flush']) g
	UNION ALL VALUES ('policy.approvals'::regclass, 'approval_changed', 'O'),
		('policy.attach_presets'::regclass, 'keep_built_in', 'O'),
		('policy.snapshots'::regclass, 'check_snapshot', 'A'),
		('policy.releases'::regclass, 'check_release', 'A'),
		('policy.releases'::regclass, 'release_made', 'A'),
		('policy.simulations'::regclass, 'acknowledge_only', 'A'),
		('policy.simulations'::regclass, 'refuse_truncate', 'A'),
		('policy.halts'::regclass, 'halt_changed', 'A'),
		('policy.halts'::regclass, 'check_halt', 'A'),
		('policy.halts'::regclass, 'refuse_delete', 'A'),
		('policy.halts'::regclass, 'refuse_truncate', 'A')
	UNION ALL
	SELECT r.relation, g, 'A'
	FROM (VALUES ('policy.snapshots'::regclass), ('policy.releases'::regclass),
			('policy.seals'::regclass), ('policy.remediations'::regclass),
			('policy.simulation_flips'::regclass)
		UNION ALL SELECT p.relid FROM pg_partition_tree('policy.decisions'::regclass) p) r(relation)
		CROSS JOIN unnest(ARRAY['refuse_change', 'refuse_truncate']) g
$$;
COMMENT ON FUNCTION policy.expected_triggers() IS
	'The triggers that the extension rests on, and how each is enabled (pg_trigger.tgenabled).';

-- Ids and times of decisions count up together: what is looked for is found by halves.
CREATE FUNCTION policy.first_decision_since(since timestamptz) RETURNS bigint
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	low bigint := 1;
	high bigint := (SELECT s.last_value + 1 FROM policy.decision_id_seq s);
	middle bigint;
	decided timestamptz;
BEGIN
	WHILE low < high LOOP
		middle := low + (high - low) / 2;
		SELECT d.decided_at INTO decided FROM policy.decisions d
			WHERE d.decision_id >= middle ORDER BY d.decision_id LIMIT 1;
		IF decided < since THEN
			low := middle + 1;
		ELSE
			high := middle;
		END IF;
	END LOOP;
	RETURN low;
END
$$;
COMMENT ON FUNCTION policy.first_decision_since(timestamptz) IS
	'The id from which on decisions were made at that time or later, but for what long transactions wrote meanwhile.';

CREATE FUNCTION policy.velocity_problem() RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'policy_velocity_problem';
COMMENT ON FUNCTION policy.velocity_problem() IS
	'What keeps the counters of velocities from counting, or did in the last hour; NULL where nothing does.';

CREATE FUNCTION policy_status(
	OUT snapshot text, OUT release_id bigint, OUT since timestamptz, OUT fail_mode text,
	OUT ready bigint, OUT awaiting_approval bigint, OUT throttled bigint, OUT running bigint,
	OUT oldest_approval timestamptz, OUT decisions_last_hour jsonb, OUT maintenance_late boolean,
	OUT warnings text[], OUT halts bigint)
	LANGUAGE sql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT a.snapshot, a.release_id, a.since, m.fail_mode,
		q.ready, q.awaiting_approval, q.throttled, q.running, p.oldest, d.mix, l.late,
		array_remove(ARRAY[
			CASE WHEN a.release_id IS NULL
				THEN 'no policy is active: every job is denied; stage one and publish it' END,
			CASE WHEN m.fail_mode = 'open'
				THEN 'policy_engine.fail_mode is open: while the policy cannot be read, jobs are allowed' END,
			CASE WHEN l.late
				THEN 'maintenance is late: approvals or attempts are ten minutes past their time; call policy_maintain() from a scheduler' END,
			(SELECT format('halts are in force, and nothing that they cover starts: %s; policy_resume(halt_id, note) ends one',
					string_agg(format('%s of %s since %s (%s)', h.halt_id, h.scope, h.halted_at, h.reason), ', '
						ORDER BY h.halt_id))
				FROM policy.halts h WHERE h.resumed_at IS NULL
				HAVING count(*) > 0),
			policy.attachment_warning(),
			'velocities cannot be counted, and hold back what they should let pass: ' || policy.velocity_problem(),
			(SELECT format('duties are held by roles that are gone: %s; delete their rows of policy.held_duties',
					string_agg(DISTINCT u.role::text, ', '))
				FROM policy.held_duties u
				WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = u.role)
				HAVING count(*) > 0),
			(SELECT format('a trigger of the extension is disabled or gone: %s; jobs may pass undecided, or evidence be changed',
					string_agg(e.relation::text || '.' || e.name, ', ' ORDER BY e.relation::text, e.name))
				FROM policy.expected_triggers() e
				WHERE NOT EXISTS (SELECT FROM pg_trigger t
					WHERE t.tgrelid = e.relation AND t.tgname = e.name AND t.tgenabled = e.enabled::"char")
				HAVING count(*) > 0)
		], NULL),
		(SELECT count(*) FROM policy.halts h WHERE h.resumed_at IS NULL)
	FROM (SELECT policy.fail_mode() AS fail_mode) m
		LEFT JOIN policy.active a ON true
		CROSS JOIN (SELECT
			count(*) FILTER (WHERE j.state = 'ready') AS ready,
			count(*) FILTER (WHERE j.state = 'awaiting_approval') AS awaiting_approval,
			count(*) FILTER (WHERE j.state = 'throttled') AS throttled,
			count(*) FILTER (WHERE j.state = 'running') AS running
			FROM (SELECT i.state FROM policy.jobs i
				WHERE i.state IN ('ready', 'awaiting_approval', 'throttled', 'running')
				UNION ALL SELECT g.state FROM policy.guarded_jobs g
				WHERE g.state IN ('ready', 'awaiting_approval', 'throttled', 'running')) j) q
		CROSS JOIN (SELECT min(v.requested_at) AS oldest FROM policy.approvals v
			WHERE v.status = 'pending') p
		CROSS JOIN (SELECT coalesce(jsonb_object_agg(e.decision, e.n), '{}') AS mix
			FROM (SELECT c.decision::text, count(*) AS n FROM policy.decisions c
				WHERE c.decided_at > statement_timestamp() - interval '1 hour'
					AND c.decision_id >= policy.first_decision_since(statement_timestamp() - interval '1 hour')
					AND c.job_table NOT IN ('policy.releases', 'policy.halts')
				GROUP BY c.decision) e) d
		CROSS JOIN (SELECT
			EXISTS (SELECT FROM policy.jobs j WHERE j.state = 'running'
				AND j.deadline < statement_timestamp() - interval '10 minutes')
			OR EXISTS (SELECT FROM policy.approvals v WHERE v.status = 'pending'
				AND v.expires_at < statement_timestamp() - interval '10 minutes') AS late) l
$$;
COMMENT ON FUNCTION policy_status() IS
	'One row: the active snapshot, its release and since when; what an unavailable policy decides; how many jobs are where, since when the oldest approval waits, the decisions of the last hour by kind; whether maintenance is late; what an operator should look at; and how many halts are in force.';
