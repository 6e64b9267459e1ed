--
-- Halts: what they cover does not start
--

CREATE FUNCTION policy.halt_scope(scope jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'policy_halt_scope'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION policy.halt_scope(jsonb) IS
	'A halt''s scope, normalised as jobs are. Raises invalid_parameter_value for what is none.';

CREATE FUNCTION policy.halt_covers(scope jsonb, job jsonb) RETURNS boolean
	AS 'MODULE_PATHNAME', 'policy_halt_covers'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION policy.halt_covers(jsonb, jsonb) IS
	'Whether a halt of that scope covers a job; an invalid job always. Raises invalid_parameter_value for a bad scope.';

CREATE FUNCTION policy.halt_of(job jsonb, OUT halt_id bigint, OUT reason text)
	AS 'MODULE_PATHNAME', 'policy_halt_of'
	LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION policy.halt_of(jsonb) IS
	'The oldest halt in force that covers a job, as of now; NULLs where there is none.';

CREATE SEQUENCE policy.halt_id_seq;
COMMENT ON SEQUENCE policy.halt_id_seq IS 'Ids of halts.';

-- src/dispatch/halts.c knows the columns by number.
CREATE TABLE policy.halts (
	halt_id bigint NOT NULL,
	scope jsonb NOT NULL,
	reason text NOT NULL,
	halted_by text NOT NULL,
	halted_at timestamptz NOT NULL,
	resumed_by text,
	resumed_at timestamptz,
	resume_note text,
	CONSTRAINT halts_pkey PRIMARY KEY (halt_id)
);
COMMENT ON TABLE policy.halts IS
	'Halts: from its commit on nothing that one covers starts, until it is resumed. Rows stay, and change once, by policy_resume.';
COMMENT ON COLUMN policy.halts.halt_id IS 'Counts up.';
COMMENT ON COLUMN policy.halts.scope IS 'What it covers, as policies compare it: jobs of this tenant_id, topic (a pattern) and actor_id; {} is everything.';
COMMENT ON COLUMN policy.halts.reason IS 'Why, in the words of who halted.';
COMMENT ON COLUMN policy.halts.halted_by IS 'Who halted.';
COMMENT ON COLUMN policy.halts.halted_at IS 'When that was.';
COMMENT ON COLUMN policy.halts.resumed_by IS 'Who resumed; NULL while it is in force.';
COMMENT ON COLUMN policy.halts.resumed_at IS 'When that was; NULL while it is in force.';
COMMENT ON COLUMN policy.halts.resume_note IS 'Why, in the words of who resumed.';

CREATE TABLE policy.halt_stops (
	halt_id bigint NOT NULL,
	job_table text COLLATE "C" NOT NULL,
	job_key text COLLATE "C" NOT NULL,
	stopped_at timestamptz NOT NULL,
	CONSTRAINT halt_stops_pkey PRIMARY KEY (halt_id, job_table, job_key)
);
COMMENT ON TABLE policy.halt_stops IS
	'What halts in force have kept from starting: a row a job and halt, gone when it is resumed. The evidence of it is in policy.decisions.';
COMMENT ON COLUMN policy.halt_stops.halt_id IS 'The halt.';
COMMENT ON COLUMN policy.halt_stops.job_table IS 'The table of the job.';
COMMENT ON COLUMN policy.halt_stops.job_key IS 'Its key there.';
COMMENT ON COLUMN policy.halt_stops.stopped_at IS 'When it was first to start.';

CREATE TABLE policy.halt_signal ();
COMMENT ON TABLE policy.halt_signal IS
	'Always empty. A halt invalidates what sessions have cached of it, so that they look at the halts again; and its locks keep jobs from starting while a halt commits.';

SELECT pg_catalog.pg_extension_config_dump('policy.halt_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('policy.halts', '');
SELECT pg_catalog.pg_extension_config_dump('policy.halt_stops', '');
SELECT pg_catalog.pg_extension_config_dump('policy.halt_signal', '');

CREATE FUNCTION policy.halt_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_halt_changed' LANGUAGE C;
COMMENT ON FUNCTION policy.halt_changed() IS
	'Trigger of policy.halts: lets every session look at it again once it commits, and keeps what it covers from starting meanwhile.';
CREATE FUNCTION policy.check_halt() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF (new.halt_id, new.scope, new.reason, new.halted_by, new.halted_at)
		IS DISTINCT FROM (old.halt_id, old.scope, old.reason, old.halted_by, old.halted_at)
		OR old.resumed_at IS NOT NULL OR new.resumed_at IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE011',
			MESSAGE = format('halt %s can only be resumed, once', old.halt_id),
			HINT = 'policy_resume(halt_id, note) resumes it; policy_halt(scope, reason) makes another.';
	END IF;
	RETURN new;
END
$$;
COMMENT ON FUNCTION policy.check_halt() IS
	'Trigger of policy.halts: raises PE011 for a change that is no resume.';
CREATE TRIGGER check_halt BEFORE UPDATE ON policy.halts
	FOR EACH ROW EXECUTE FUNCTION policy.check_halt();
CREATE TRIGGER refuse_delete BEFORE DELETE ON policy.halts
	FOR EACH ROW EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.halts
	FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER halt_changed AFTER INSERT OR UPDATE ON policy.halts
	FOR EACH ROW EXECUTE FUNCTION policy.halt_changed();
ALTER TABLE policy.halts ENABLE ALWAYS TRIGGER check_halt;
ALTER TABLE policy.halts ENABLE ALWAYS TRIGGER refuse_delete;
ALTER TABLE policy.halts ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE policy.halts ENABLE ALWAYS TRIGGER halt_changed;
COMMENT ON TRIGGER check_halt ON policy.halts IS 'Nothing but a resume: raises PE011.';
COMMENT ON TRIGGER refuse_delete ON policy.halts IS 'Halts stay: raises PE011.';
COMMENT ON TRIGGER refuse_truncate ON policy.halts IS 'Halts stay: raises PE011.';
COMMENT ON TRIGGER halt_changed ON policy.halts IS 'Tells sessions, and who listens; and holds back what starts.';

CREATE FUNCTION policy.record_halt(halt policy.halts) RETURNS void
	LANGUAGE sql
	SET search_path = pg_catalog, pg_temp
	AS $$
	INSERT INTO policy.decisions (decision_id, decided_at, source, job_table, job_key, job_hash, tenant_id,
			actor_id, topic, decision, reason, matched_rules, monitored_rules, constraints, role, session_role,
			application_name)
		SELECT nextval('policy.decision_id_seq'), clock_timestamp(), 'halt', 'policy.halts', halt.halt_id::text,
			policy.job_hash(halt.scope), halt.scope ->> 'tenant_id', halt.scope ->> 'actor_id',
			halt.scope ->> 'topic',
			(CASE WHEN halt.resumed_at IS NULL THEN 'DENY' ELSE 'ALLOW' END)::@extschema@.policy_decision,
			CASE WHEN halt.resumed_at IS NULL THEN format('halted: %s', halt.reason)
				ELSE concat_ws(': ', 'resumed', halt.resume_note) END,
			'{}', '{}', '{}', coalesce((policy.caller()).name, session_user::text), session_user::text,
			nullif(current_setting('application_name'), '')
$$;
COMMENT ON FUNCTION policy.record_halt(policy.halts) IS
	'Records in the evidence that a halt was made, or resumed.';

CREATE FUNCTION policy_halt(scope jsonb, reason text) RETURNS policy.halts
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	made policy.halts;
BEGIN
	IF coalesce(policy.normalized(policy_halt.reason), '') = '' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a halt needs a reason',
			HINT = 'SELECT * FROM policy_halt(''{"tenant_id": "acme"}'', ''why'')';
	END IF;
	PERFORM policy.check_words('reason', policy_halt.reason);
	INSERT INTO policy.halts AS h (halt_id, scope, reason, halted_by, halted_at)
		VALUES (nextval('policy.halt_id_seq'), policy.halt_scope(policy_halt.scope), policy_halt.reason,
				(policy.caller()).name, clock_timestamp())
		RETURNING h.* INTO made;
	PERFORM policy.record_halt(made);
	RETURN made;
END
$$;
COMMENT ON FUNCTION policy_halt(jsonb, text) IS
	'Stops what the scope covers: from this transaction''s commit on none of it starts, approved or not, until policy_resume. {"tenant_id": ..., "topic": a pattern, "actor_id": ...}: all that are there must hold; {} is everything. What runs goes on: policy.halted_running lists it. Raises invalid_parameter_value for a bad scope or a blank reason.';

CREATE FUNCTION policy_resume(halt_id bigint, note text DEFAULT NULL) RETURNS policy.halts
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	halt policy.halts;
BEGIN
	PERFORM policy.check_words('note', policy_resume.note);
	SELECT h.* INTO halt FROM policy.halts h WHERE h.halt_id = policy_resume.halt_id FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('halt %s does not exist', coalesce(policy_resume.halt_id::text, 'NULL')),
			HINT = 'SELECT halt_id, scope FROM policy.halts WHERE resumed_at IS NULL lists those in force.';
	END IF;
	IF halt.resumed_at IS NULL THEN
		UPDATE policy.halts h SET resumed_by = (policy.caller()).name, resumed_at = clock_timestamp(),
			resume_note = policy_resume.note
			WHERE h.halt_id = policy_resume.halt_id
			RETURNING h.* INTO halt;
		DELETE FROM policy.halt_stops s WHERE s.halt_id = policy_resume.halt_id;
		PERFORM policy.record_halt(halt);
		PERFORM policy.resume_attached();
	END IF;
	RETURN halt;
END
$$;
COMMENT ON FUNCTION policy_resume(bigint, text) IS
	'Ends a halt: from this transaction''s commit on what it has stopped may start, unless another halt covers it. One that was resumed before is returned as it is. Raises invalid_parameter_value for an unknown halt.';

CREATE VIEW policy.halted_running AS
	SELECT h.halt_id, j.job_id, j.tenant_id, j.topic, j.actor_id, j.claimed_by, j.claimed_at, j.deadline
	FROM policy.halts h
		JOIN policy.jobs j ON j.state = 'running' AND policy.halt_covers(h.scope, policy.job(j))
	WHERE h.resumed_at IS NULL;
COMMENT ON VIEW policy.halted_running IS
	'Jobs that run although a halt in force covers them: they had started before it. A row a job and halt.';
COMMENT ON COLUMN policy.halted_running.halt_id IS 'The halt.';
COMMENT ON COLUMN policy.halted_running.job_id IS 'The job.';
COMMENT ON COLUMN policy.halted_running.tenant_id IS 'Its tenant.';
COMMENT ON COLUMN policy.halted_running.topic IS 'What it does.';
COMMENT ON COLUMN policy.halted_running.actor_id IS 'On whose behalf it runs.';
COMMENT ON COLUMN policy.halted_running.claimed_by IS 'The worker that has it.';
COMMENT ON COLUMN policy.halted_running.claimed_at IS 'Since when.';
COMMENT ON COLUMN policy.halted_running.deadline IS 'When the attempt is over; NULL where nothing bounds it.';
