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
COMMENT ON COLUMN policy.attached_tables.attached_by IS 'Who attached it: with these rights rows are moved that a vote or maintenance lets go on.';
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
	'Parses an expression of an attachment over a table: job, job_key, starts, ends, notify, or one for a target column. Raises what is wrong with it.';

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
		('zzz_policy_flush', 'AFTER INSERT OR UPDATE', 'attached_flush', true)
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
		('notify', NULL, CASE WHEN strpos(attachment.notify, '(') > 0 THEN attachment.notify END)
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
	SELECT format('row security of %s has no policy for you to %s its rows', job_table, c.words)
	FROM (VALUES ('r'::"char", 'see'), ('w', 'change')) c(command, words)
	WHERE row_security_active(job_table) AND NOT EXISTS (SELECT FROM pg_policy p
		WHERE p.polrelid = job_table AND p.polpermissive AND p.polcmd IN ('*', c.command)
			AND EXISTS (SELECT FROM unnest(p.polroles) r
				WHERE r = 0 OR pg_has_role(policy.outer_role(), r, 'USAGE')))
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
	SELECT replace(replace(replace(source, '{schema}', quote_ident(n.nspname)),
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
	problem text;
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
	'Guards a job table that is there already; what is not given comes from the preset, which the table''s columns tell where nothing is given. Needs TRIGGER, SELECT and UPDATE on the table: rows that a vote or maintenance lets go on are written with the rights of who attaches it. Raises PE012, with all that is wrong, where it cannot be.';

CREATE FUNCTION policy_detach(job_table regclass) RETURNS policy.attached_tables
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	gone policy.attached_tables;
BEGIN
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
