--
-- Attachments: guards in front of job tables that are there already
--

CREATE TABLE policy.attach_presets (
	preset text COLLATE "C" NOT NULL,
	note text,
	detect text[],
	job text NOT NULL,
	job_key text,
	hold jsonb NOT NULL,
	deny jsonb NOT NULL,
	throttle jsonb NOT NULL,
	release jsonb,
	allow jsonb,
	material text[],
	starts text NOT NULL,
	ends text,
	undo text,
	notify text,
	siblings text,
	built_in boolean NOT NULL DEFAULT false,
	CONSTRAINT attach_presets_pkey PRIMARY KEY (preset)
);
COMMENT ON TABLE policy.attach_presets IS
	'How policy_attach guards a kind of job table; an admin may add more. Their SQL runs as whoever writes a job''s row; {schema} in it is the table''s schema, {schema name} and {table name} are strings.';
COMMENT ON COLUMN policy.attach_presets.preset IS 'Its name.';
COMMENT ON COLUMN policy.attach_presets.note IS 'What it is for: the client, and its versions.';
COMMENT ON COLUMN policy.attach_presets.detect IS 'The columns that a table has which it is for; NULL: only by name.';
COMMENT ON COLUMN policy.attach_presets.job IS 'An expression over a row: the job, jsonb.';
COMMENT ON COLUMN policy.attach_presets.job_key IS 'An expression over a row: the job''s key, text; NULL: the primary key.';
COMMENT ON COLUMN policy.attach_presets.hold IS 'An object of columns and expressions: what keeps a row from being found, until people have said yes.';
COMMENT ON COLUMN policy.attach_presets.deny IS 'Likewise, for good; reason is the decision''s.';
COMMENT ON COLUMN policy.attach_presets.throttle IS 'Likewise, until retry_at.';
COMMENT ON COLUMN policy.attach_presets.release IS 'What is set in a row that goes on; NULL: what its client has asked for.';
COMMENT ON COLUMN policy.attach_presets.allow IS 'What is set in a row that starts; constraints is what it is bound to, NULL where no rule says so.';
COMMENT ON COLUMN policy.attach_presets.material IS 'The columns whose change is decided again.';
COMMENT ON COLUMN policy.attach_presets.starts IS 'Whether a change from old to new starts the job; new is all NULLs where a row is deleted.';
COMMENT ON COLUMN policy.attach_presets.ends IS 'Whether new is a job that has come to its end.';
COMMENT ON COLUMN policy.attach_presets.undo IS 'A statement that undoes what a claim has done beside a start that was refused; $1 is the row, jsonb.';
COMMENT ON COLUMN policy.attach_presets.notify IS 'Who is told of a row that goes on: a channel, or a call of pg_notify.';
COMMENT ON COLUMN policy.attach_presets.siblings IS 'A pattern (LIKE) of the names of tables beside it that policy_reattach_all attaches, too: a client''s queues.';
COMMENT ON COLUMN policy.attach_presets.built_in IS 'It came with the extension.';
SELECT pg_catalog.pg_extension_config_dump('policy.attach_presets', 'WHERE NOT built_in');

CREATE SEQUENCE policy.attachment_id_seq;
COMMENT ON SEQUENCE policy.attachment_id_seq IS 'Ids of attachments.';
SELECT pg_catalog.pg_extension_config_dump('policy.attachment_id_seq', '');

-- src/attach/attached_table.c knows the columns by number.
CREATE TABLE policy.attached_tables (
	attachment_id bigint NOT NULL,
	relation regclass NOT NULL,
	job_table text COLLATE "C" NOT NULL,
	preset text COLLATE "C",
	job text NOT NULL,
	job_key text NOT NULL,
	hold jsonb NOT NULL,
	deny jsonb NOT NULL,
	throttle jsonb NOT NULL,
	allow jsonb,
	release jsonb,
	material text[] NOT NULL,
	starts text NOT NULL,
	ends text,
	undo text,
	on_deny text COLLATE "C" NOT NULL,
	notify text,
	columns text[] NOT NULL,
	attached_by regrole NOT NULL,
	attached_at timestamptz NOT NULL,
	CONSTRAINT attached_tables_pkey PRIMARY KEY (attachment_id),
	CONSTRAINT attached_tables_on_deny_check CHECK (on_deny IN ('mark', 'raise'))
);
CREATE UNIQUE INDEX attached_tables_job_table ON policy.attached_tables (job_table);
CREATE UNIQUE INDEX attached_tables_relation ON policy.attached_tables ((relation::oid));
COMMENT ON TABLE policy.attached_tables IS 'The tables that policy_attach guards: policy_attachments shows whether it does.';
COMMENT ON INDEX policy.attached_tables_job_table IS 'A table is attached once.';
COMMENT ON INDEX policy.attached_tables_relation IS 'Likewise, by the table itself.';
COMMENT ON COLUMN policy.attached_tables.attachment_id IS 'Counts up; the argument of its triggers.';
COMMENT ON COLUMN policy.attached_tables.relation IS 'The table.';
COMMENT ON COLUMN policy.attached_tables.job_table IS 'Its name, schema-qualified, as it was attached: what evidence and approvals have.';
COMMENT ON COLUMN policy.attached_tables.preset IS 'The preset that arguments left out were taken from; NULL: none.';
COMMENT ON COLUMN policy.attached_tables.job IS 'See policy.attach_presets, for this and what follows.';
COMMENT ON COLUMN policy.attached_tables.job_key IS 'The key that evidence has.';
COMMENT ON COLUMN policy.attached_tables.hold IS 'What is set in a row that waits for approval.';
COMMENT ON COLUMN policy.attached_tables.deny IS 'What is set in a row that is denied.';
COMMENT ON COLUMN policy.attached_tables.throttle IS 'What is set in a row that is throttled.';
COMMENT ON COLUMN policy.attached_tables.allow IS 'What is set in a row that starts.';
COMMENT ON COLUMN policy.attached_tables.release IS 'What is set in a row that goes on, beside what its client asked for.';
COMMENT ON COLUMN policy.attached_tables.material IS 'The columns whose change is decided again.';
COMMENT ON COLUMN policy.attached_tables.starts IS 'Whether a change starts the job.';
COMMENT ON COLUMN policy.attached_tables.ends IS 'Whether a row has come to its end.';
COMMENT ON COLUMN policy.attached_tables.undo IS 'What undoes the rest of a claim that was refused.';
COMMENT ON COLUMN policy.attached_tables.on_deny IS 'mark: a denied row is stored, as deny says; raise: PE017, and nothing is stored or recorded.';
COMMENT ON COLUMN policy.attached_tables.notify IS 'Who is told of a row that goes on.';
COMMENT ON COLUMN policy.attached_tables.columns IS 'The columns and their types at that time.';
COMMENT ON COLUMN policy.attached_tables.attached_by IS 'Who attached it: with these rights (those of the table''s owner, where that is a superuser) rows are moved that a vote or maintenance lets go on.';
COMMENT ON COLUMN policy.attached_tables.attached_at IS 'When.';
SELECT pg_catalog.pg_extension_config_dump('policy.attached_tables', '');

-- src/attach/guarded.c knows the columns by number.
CREATE TABLE policy.guarded_jobs (
	job_key text COLLATE "C" NOT NULL,
	job_table text COLLATE "C" NOT NULL,
	row_key jsonb NOT NULL,
	state text COLLATE "C" NOT NULL,
	decision_id bigint NOT NULL,
	decided_at timestamptz NOT NULL,
	constraints jsonb NOT NULL,
	run_after timestamptz,
	started_at timestamptz,
	wanted jsonb,
	asked_by text NOT NULL,
	asked_via text,
	identities jsonb,
	CONSTRAINT guarded_jobs_pkey PRIMARY KEY (job_key, job_table),
	CONSTRAINT guarded_jobs_state_check CHECK (state IN
		('ready', 'awaiting_approval', 'throttled', 'denied', 'rejected', 'expired', 'cancelled',
		 'halted', 'running', 'gone'))
);
COMMENT ON TABLE policy.guarded_jobs IS
	'What is kept of the rows of attached tables that are not plainly allowed, until they come to their end.';
COMMENT ON COLUMN policy.guarded_jobs.job_key IS 'The job''s key, as evidence has it.';
COMMENT ON COLUMN policy.guarded_jobs.job_table IS 'Its table, as evidence has it.';
COMMENT ON COLUMN policy.guarded_jobs.row_key IS 'The primary key of its row, by column.';
COMMENT ON COLUMN policy.guarded_jobs.state IS
	'awaiting_approval, throttled, denied, rejected, expired, cancelled, halted: its row is kept from running; ready, running; gone: its row was deleted after it was approved.';
COMMENT ON COLUMN policy.guarded_jobs.decision_id IS 'The decision that put it there.';
COMMENT ON COLUMN policy.guarded_jobs.decided_at IS 'When that was made.';
COMMENT ON COLUMN policy.guarded_jobs.constraints IS 'The bounds that it set.';
COMMENT ON COLUMN policy.guarded_jobs.run_after IS 'THROTTLE: when it may run; NULL where it never was throttled.';
COMMENT ON COLUMN policy.guarded_jobs.started_at IS 'When it was last started; NULL where it was not.';
COMMENT ON COLUMN policy.guarded_jobs.wanted IS 'What its client wants in the columns that hold, deny and throttle set; NULL where its row has that.';
COMMENT ON COLUMN policy.guarded_jobs.asked_by IS 'Who asked: the login, or the role that a proxy login had set.';
COMMENT ON COLUMN policy.guarded_jobs.asked_via IS 'The asker''s other name; neither may approve.';
COMMENT ON COLUMN policy.guarded_jobs.identities IS 'The identities that are bound to the asker, an array.';
CREATE INDEX guarded_jobs_halted ON policy.guarded_jobs (job_table, decision_id) WHERE state = 'halted';
COMMENT ON INDEX policy.guarded_jobs_halted IS 'What policy_resume looks through.';
SELECT pg_catalog.pg_extension_config_dump('policy.guarded_jobs', '');

CREATE FUNCTION policy.attached_begin() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_attached_begin' LANGUAGE C;
CREATE FUNCTION policy.attached_insert() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_attached_insert' LANGUAGE C;
CREATE FUNCTION policy.attached_update() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_attached_update' LANGUAGE C;
CREATE FUNCTION policy.attached_take() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_attached_take' LANGUAGE C;
CREATE FUNCTION policy.attached_record() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_attached_record' LANGUAGE C;
CREATE FUNCTION policy.attached_gone() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_attached_gone' LANGUAGE C;
CREATE FUNCTION policy.attached_flush() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_attached_flush' LANGUAGE C;
COMMENT ON FUNCTION policy.attached_begin() IS
	'Trigger of attached tables: what the statement records will be written at its end.';
COMMENT ON FUNCTION policy.attached_insert() IS
	'Trigger of attached tables: decides a row, and puts it in the form that its decision has. Raises PE017 for a denied one with on_deny => ''raise''.';
COMMENT ON FUNCTION policy.attached_update() IS
	'Trigger of attached tables: decides a start, and a row whose material columns change; keeps a row that waits in its form. Raises PE014 for a changed key.';
COMMENT ON FUNCTION policy.attached_take() IS
	'Trigger of attached tables: decides a row that is taken by deleting it.';
COMMENT ON FUNCTION policy.attached_record() IS
	'Trigger of attached tables: records what was decided of a row that is stored, and asks for approvals.';
COMMENT ON FUNCTION policy.attached_gone() IS
	'Trigger of attached tables: nobody is asked any more about a row that is gone.';
COMMENT ON FUNCTION policy.attached_flush() IS
	'Trigger of attached tables: writes what the statement''s rows have recorded.';

CREATE FUNCTION policy.outer_role() RETURNS regrole
	AS 'MODULE_PATHNAME', 'policy_outer_role'
	LANGUAGE C STABLE;
COMMENT ON FUNCTION policy.outer_role() IS
	'The role that who calls has set, before any switch of user.';

CREATE FUNCTION policy.check_attached(job_table regclass, kind text, target text, source text)
	RETURNS void
	AS 'MODULE_PATHNAME', 'policy_check_attached'
	LANGUAGE C;
COMMENT ON FUNCTION policy.check_attached(regclass, text, text, text) IS
	'Parses an expression of an attachment over a table: job, job_key, starts, ends, notify, undo, or one for a target column. Raises what is wrong with it.';

--
-- Jobs wherever they are: in policy.jobs, or in a table that was attached
--

CREATE FUNCTION policy.lock_attached(job_table text, job_key text, skip_locked boolean) RETURNS text
	AS 'MODULE_PATHNAME', 'policy_lock_attached'
	LANGUAGE C STRICT;
COMMENT ON FUNCTION policy.lock_attached(text, text, boolean) IS
	'policy.lock_job() for a job of an attached table; with the rights of who attached it.';

CREATE FUNCTION policy.settle_attached(job_table text, job_key text, source text, note text, refused text)
	RETURNS text
	AS 'MODULE_PATHNAME', 'policy_settle_attached'
	LANGUAGE C;
COMMENT ON FUNCTION policy.settle_attached(text, text, text, text, text) IS
	'policy.settle() for a job of an attached table; or (refused: rejected, expired or cancelled) puts a waiting one there without deciding. Its row is written with the rights of who attached the table.';

CREATE FUNCTION policy.lock_job(job_table text, job_key text, skip_locked boolean) RETURNS text
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF lock_job.job_table <> 'policy.jobs' THEN
		RETURN policy.lock_attached(lock_job.job_table, lock_job.job_key, lock_job.skip_locked);
	END IF;
	IF lock_job.skip_locked THEN
		PERFORM FROM policy.jobs j WHERE j.job_id = lock_job.job_key::bigint FOR UPDATE SKIP LOCKED;
	ELSE
		PERFORM FROM policy.jobs j WHERE j.job_id = lock_job.job_key::bigint FOR UPDATE;
	END IF;
	RETURN CASE WHEN FOUND THEN 'locked'
		WHEN EXISTS (SELECT FROM policy.jobs j WHERE j.job_id = lock_job.job_key::bigint) THEN 'busy'
		ELSE 'gone' END;
END
$$;
COMMENT ON FUNCTION policy.lock_job(text, text, boolean) IS
	'Locks a job''s row: locked; busy, where skip_locked and somebody else has it; or gone.';

CREATE FUNCTION policy.settle_job(job_table text, job_key text, source text, note text) RETURNS text
	LANGUAGE sql
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE job_table WHEN 'policy.jobs' THEN policy.settle(job_key::bigint, source, note)
		ELSE policy.settle_attached(job_table, job_key, source, note, NULL) END
$$;
COMMENT ON FUNCTION policy.settle_job(text, text, text, text) IS
	'policy.settle() for a job wherever it is.';

CREATE FUNCTION policy.decision_of(job_table text, job_key text) RETURNS bigint
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE decision_of.job_table
		WHEN 'policy.jobs' THEN (SELECT j.decision_id FROM policy.jobs j WHERE j.job_id = decision_of.job_key::bigint)
		ELSE (SELECT g.decision_id FROM policy.guarded_jobs g
			WHERE g.job_key = decision_of.job_key AND g.job_table = decision_of.job_table) END
$$;
COMMENT ON FUNCTION policy.decision_of(text, text) IS
	'The decision that a job waits by; NULL where there is none.';

CREATE FUNCTION policy.forget_attached(job_table text) RETURNS void
	LANGUAGE sql
	SET search_path = pg_catalog, pg_temp
	AS $$
	UPDATE policy.approvals a SET status = 'superseded', resolved_at = clock_timestamp()
		WHERE a.job_table = forget_attached.job_table AND a.status IN ('pending', 'approved');
	DELETE FROM policy.guarded_jobs g WHERE g.job_table = forget_attached.job_table;
$$;
COMMENT ON FUNCTION policy.forget_attached(text) IS
	'Forgets the jobs of a table that is attached no more: nobody is asked about them.';

CREATE FUNCTION policy.forget_gone(job_table text) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	kept record;
BEGIN
	FOR kept IN SELECT g.job_key FROM policy.guarded_jobs g WHERE g.job_table = forget_gone.job_table LOOP
		IF policy.lock_attached(forget_gone.job_table, kept.job_key, true) = 'gone' THEN
			UPDATE policy.approvals a SET status = 'superseded', resolved_at = clock_timestamp()
				WHERE a.job_key = kept.job_key AND a.job_table = forget_gone.job_table
					AND a.status IN ('pending', 'approved');
			DELETE FROM policy.guarded_jobs g
				WHERE g.job_key = kept.job_key AND g.job_table = forget_gone.job_table;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION policy.forget_gone(text) IS
	'Forgets the jobs of an attached table whose rows are gone, and asks nobody about them any more.';

CREATE FUNCTION policy.attached_truncated() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	attachment policy.attached_tables;
BEGIN
	SELECT a.* INTO attachment FROM policy.attached_tables a WHERE a.attachment_id = TG_ARGV[0]::bigint;
	IF attachment.relation = TG_RELID THEN
		PERFORM policy.forget_attached(attachment.job_table);
	ELSIF EXISTS (SELECT FROM pg_partition_ancestors(TG_RELID) p WHERE p.relid = attachment.relation) THEN
		PERFORM policy.forget_gone(attachment.job_table);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION policy.attached_truncated() IS
	'Trigger of attached tables: nothing is kept of rows that a TRUNCATE has taken, as their keys may come again.';

CREATE FUNCTION policy.resume_attached() RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	held record;
BEGIN
	FOR held IN SELECT g.job_table, g.job_key FROM policy.guarded_jobs g
		WHERE g.state = 'halted' ORDER BY g.job_table, g.decision_id LOOP
		PERFORM policy.settle_attached(held.job_table, held.job_key, 'halt', NULL, NULL);
	END LOOP;
END
$$;
COMMENT ON FUNCTION policy.resume_attached() IS
	'Lets the jobs of attached tables go on that a halt has stopped; another halt that covers one stops its next start.';

--
-- Jobs of attached tables, moved by operators
--

CREATE FUNCTION policy.attached_name(job_table regclass) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	name text := (SELECT a.job_table FROM policy.attached_tables a WHERE a.relation = attached_name.job_table);
BEGIN
	IF name IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE012',
			MESSAGE = format('%s is not attached', coalesce(attached_name.job_table::text, 'NULL')),
			HINT = 'SELECT job_table FROM policy_attachments lists the tables that are.';
	END IF;
	RETURN name;
END
$$;
COMMENT ON FUNCTION policy.attached_name(regclass) IS
	'The name that evidence has of an attached table. Raises PE012 for one that is not.';

CREATE FUNCTION policy_redecide(job_table regclass, filter jsonb, note text)
	RETURNS SETOF policy.guarded_jobs
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	name text := policy.attached_name(policy_redecide.job_table);
	key text;
BEGIN
	PERFORM policy.check_redecide(filter - 'job_key');
	PERFORM policy.check_words('note', note);
	FOR key IN
		SELECT g.job_key
		FROM policy.guarded_jobs g
			LEFT JOIN policy.decisions d
				ON d.decision_id = g.decision_id AND d.decided_at = g.decided_at
		WHERE g.job_table = name AND g.state IN ('denied', 'rejected', 'expired')
			AND (NOT filter ? 'job_key' OR g.job_key = ANY (policy.redecide_values(filter, 'job_key')))
			AND (NOT filter ? 'state' OR g.state = ANY (policy.redecide_values(filter, 'state')))
			AND (NOT filter ? 'rule' OR d.matched_rules && policy.redecide_values(filter, 'rule'))
			AND (NOT filter ? 'tenant_id' OR d.tenant_id IN (
				SELECT policy.normalized(v) FROM unnest(policy.redecide_values(filter, 'tenant_id')) v))
			AND (NOT filter ? 'topic' OR d.topic IN (
				SELECT policy.normalized(v) FROM unnest(policy.redecide_values(filter, 'topic')) v))
			AND (NOT filter ? 'actor_id' OR d.actor_id IN (
				SELECT policy.normalized(v) FROM unnest(policy.redecide_values(filter, 'actor_id')) v))
			AND NOT filter ? 'job_id'
		ORDER BY g.decision_id
	LOOP
		PERFORM policy.settle_attached(name, key, 'redecide', note, NULL);
		RETURN QUERY SELECT g.* FROM policy.guarded_jobs g WHERE g.job_key = key AND g.job_table = name;
	END LOOP;
END
$$;
COMMENT ON FUNCTION policy_redecide(regclass, jsonb, text) IS
	'policy_redecide for the jobs of an attached table; its filter has job_key for job_id. Raises PE012 for a table that is not attached, invalid_parameter_value for a bad filter.';

CREATE FUNCTION policy_cancel(job_table regclass, job_key text, note text)
	RETURNS policy.guarded_jobs
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	name text := policy.attached_name(policy_cancel.job_table);
	kept policy.guarded_jobs;
BEGIN
	PERFORM policy.check_words('note', policy_cancel.note);
	IF policy.settle_attached(name, policy_cancel.job_key, 'cancel', policy_cancel.note, 'cancelled') = 'cancelled' THEN
		UPDATE policy.approvals a SET status = 'superseded', resolved_at = clock_timestamp()
			WHERE a.job_key = policy_cancel.job_key AND a.job_table = name
				AND a.status IN ('pending', 'approved');
		SELECT g.* INTO kept FROM policy.guarded_jobs g
			WHERE g.job_key = policy_cancel.job_key AND g.job_table = name;
		RETURN kept;
	END IF;
	RAISE EXCEPTION USING
		ERRCODE = 'PE008',
		MESSAGE = format('job %s of %s does not wait', coalesce(policy_cancel.job_key, 'NULL'), name),
		DETAIL = coalesce((SELECT format('It is %s.', g.state) FROM policy.guarded_jobs g
			WHERE g.job_key = policy_cancel.job_key AND g.job_table = name),
			'Nothing is kept of it: it was allowed, or is not there.'),
		HINT = 'A job that runs, or that was allowed, is cancelled as its client does it.';
END
$$;
COMMENT ON FUNCTION policy_cancel(regclass, text, text) IS
	'Stops a job of an attached table that is held or throttled, or was approved and has not started. The note goes into its row''s reason. One that is cancelled already is returned as it is. Raises PE008 for any other, PE012 for a table that is not attached.';
