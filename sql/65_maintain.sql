--
-- Maintenance: what no safety depends on
--

CREATE FUNCTION policy.make_partition(month date) RETURNS integer
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	name text := format('decisions_%s', to_char(make_partition.month, 'YYYY_MM'));
	-- UTC months, whatever the session's time zone is.
	first timestamptz := make_partition.month::timestamp AT TIME ZONE 'UTC';
	after timestamptz := (make_partition.month + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
	IF to_regclass(format('policy.%I', name)) IS NOT NULL THEN
		RETURN 0;
	END IF;
	-- A month that the default partition has rows of is never split off: a
	-- restore would fail on it.  Asked twice, so that nobody is locked out in vain.
	IF EXISTS (SELECT FROM policy.decisions_default d
		WHERE d.decided_at >= first AND d.decided_at < after) THEN
		RETURN 0;
	END IF;
	LOCK TABLE policy.decisions_default IN ACCESS EXCLUSIVE MODE;
	IF EXISTS (SELECT FROM policy.decisions_default d
		WHERE d.decided_at >= first AND d.decided_at < after) THEN
		RETURN 0;
	END IF;
	EXECUTE format('CREATE TABLE policy.%I (LIKE policy.decisions_default INCLUDING ALL)', name);
	EXECUTE format('COMMENT ON TABLE policy.%I IS %L', name,
		format('Evidence of %s (UTC).', to_char(make_partition.month, 'YYYY-MM')));
	EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.%I '
		'FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change()', name);
	EXECUTE format('ALTER TABLE policy.%I ENABLE ALWAYS TRIGGER refuse_truncate', name);
	EXECUTE format('ALTER TABLE policy.decisions ATTACH PARTITION policy.%I FOR VALUES FROM (%L) TO (%L)',
		name, first, after);
	EXECUTE format('ALTER TABLE policy.%I ENABLE ALWAYS TRIGGER refuse_change', name);
	RETURN 1;
END
$$;
COMMENT ON FUNCTION policy.make_partition(date) IS
	'Makes the partition of policy.decisions for a month (its first day), unless it is there or the default partition has rows of that month. Returns how many it made.';

-- Everybody who submits queues behind a lock that is waited for: better not to get
-- it this time.
CREATE FUNCTION policy.make_partitions() RETURNS integer
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
	AS $$
DECLARE
	made integer := 0;
	month date;
BEGIN
	FOR month IN SELECT (date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')
		+ make_interval(months => n))::date FROM generate_series(0, 3) n LOOP
		BEGIN
			made := made + policy.make_partition(month);
		EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
			RETURN made;
		END;
	END LOOP;
	RETURN made;
END
$$;
COMMENT ON FUNCTION policy.make_partitions() IS
	'Makes the partitions of this month and the three after it, but for those that it would have to wait more than a second for. Returns how many it made.';

-- A table that somebody attached must not keep all maintenance from being done.
CREATE FUNCTION policy.pass_over(job_table text, job_key text, state text, message text) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF job_table = 'policy.jobs' OR state LIKE '57%' THEN
		RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message;
	END IF;
	RAISE WARNING USING
		ERRCODE = state,
		MESSAGE = format('job %s of %s was passed over: %s', job_key, job_table, message),
		HINT = 'SELECT * FROM policy_attachments shows what is wrong with its table.';
END
$$;
COMMENT ON FUNCTION policy.pass_over(text, text, text, text) IS
	'What maintenance does about a job that it cannot move: a warning for one of an attached table, else the error again.';

CREATE FUNCTION policy.expire_approvals(most integer) RETURNS integer
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	late record;
	done integer := 0;
BEGIN
	FOR late IN
		SELECT a.approval_id, a.job_table, a.job_key FROM policy.approvals a
		WHERE a.status = 'pending' AND a.expires_at <= clock_timestamp()
		ORDER BY a.expires_at LIMIT most
	LOOP
		-- Whoever moves a job locks it before its approvals; whom it is locked by
		-- sees that it has expired, too.
		BEGIN
			IF policy.lock_job(late.job_table, late.job_key, true) <> 'busy' THEN
				UPDATE policy.approvals a SET status = 'expired', resolved_at = clock_timestamp()
					WHERE a.approval_id = late.approval_id AND a.status = 'pending'
						AND a.expires_at <= clock_timestamp();
				done := done + FOUND::integer;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			PERFORM policy.pass_over(late.job_table, late.job_key, SQLSTATE, SQLERRM);
		END;
	END LOOP;
	RETURN done;
END
$$;
COMMENT ON FUNCTION policy.expire_approvals(integer) IS
	'Expires pending approvals past their time, at most so many. Returns how many.';

CREATE FUNCTION policy.redecide_pending(most integer, OUT redecided integer, OUT more boolean)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	walk policy.maintenance;
	active bigint := (SELECT a.release_id FROM policy.active a);
	asked record;
	seen integer := 0;
	found text;
	decided bigint;
BEGIN
	redecided := 0;
	more := false;
	SELECT m.* INTO walk FROM policy.maintenance m FOR UPDATE;
	IF active IS NULL THEN
		RETURN;
	END IF;
	IF walk.walk_release IS DISTINCT FROM active THEN
		walk.walk_after := 0;
	END IF;
	FOR asked IN
		SELECT a.approval_id, a.job_key, a.job_table FROM policy.approvals a
		WHERE a.status = 'pending' AND a.approval_id > walk.walk_after
		ORDER BY a.approval_id LIMIT most
	LOOP
		seen := seen + 1;
		walk.walk_after := asked.approval_id;
		BEGIN
			found := policy.lock_job(asked.job_table, asked.job_key, true);
			IF found = 'locked' THEN
				decided := policy.decision_of(asked.job_table, asked.job_key);
				PERFORM policy.settle_job(asked.job_table, asked.job_key, 'maintain', NULL);
				redecided := redecided
					+ (policy.decision_of(asked.job_table, asked.job_key) IS DISTINCT FROM decided)::integer;
			ELSIF found = 'gone' THEN
				UPDATE policy.approvals a SET status = 'superseded', resolved_at = clock_timestamp()
					WHERE a.approval_id = asked.approval_id AND a.status = 'pending';
			END IF;
		EXCEPTION WHEN OTHERS THEN
			PERFORM policy.pass_over(asked.job_table, asked.job_key, SQLSTATE, SQLERRM);
		END;
	END LOOP;
	more := seen = most;
	UPDATE policy.maintenance m SET walk_release = active,
		walk_after = CASE WHEN more THEN walk.walk_after ELSE 0 END;
END
$$;
COMMENT ON FUNCTION policy.redecide_pending(integer) IS
	'Decides the next so many jobs that wait for approval again, going round; from the beginning after a release. Returns how many changed, and whether some are left of this round.';

CREATE FUNCTION policy.time_out_jobs(most integer) RETURNS integer
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	job policy.jobs;
	done integer := 0;
BEGIN
	FOR job IN
		SELECT j.* FROM policy.jobs j
		WHERE j.state = 'running' AND j.deadline <= clock_timestamp()
		ORDER BY j.deadline LIMIT most
		FOR UPDATE SKIP LOCKED
	LOOP
		PERFORM policy.end_attempt(job, true, 'the deadline has passed');
		done := done + 1;
	END LOOP;
	RETURN done;
END
$$;
COMMENT ON FUNCTION policy.time_out_jobs(integer) IS
	'Ends running attempts past their deadline, at most so many. Returns how many.';

CREATE FUNCTION policy_maintain(
	OUT expired integer, OUT redecided integer, OUT timed_out integer,
	OUT partitions integer, OUT sealed bigint, OUT more boolean)
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	batch CONSTANT integer := 1000;
BEGIN
	-- One at a time; the other goes on where this one ends.
	PERFORM FROM policy.maintenance m FOR UPDATE;
	-- First, before any row is locked: whoever writes evidence may wait for a row.
	partitions := policy.make_partitions();
	expired := policy.expire_approvals(batch);
	SELECT r.redecided, r.more INTO redecided, more FROM policy.redecide_pending(batch) r;
	timed_out := policy.time_out_jobs(batch);
	SELECT coalesce(sum(cardinality(s.decision_ids)), 0) INTO sealed FROM @extschema@.policy_seal() s;
	more := more OR expired = batch OR timed_out = batch;
	-- What was kept for a retry that has not come while its approval could be used.
	DELETE FROM policy.guarded_jobs g WHERE g.state = 'gone' AND NOT EXISTS (
		SELECT FROM policy.approvals a WHERE a.job_key = g.job_key AND a.job_table = g.job_table
			AND a.status IN ('approved', 'consumed') AND a.expires_at > clock_timestamp());
	UPDATE policy.maintenance m SET maintained_at = clock_timestamp();
END
$$;
COMMENT ON FUNCTION policy_maintain() IS
	'Expires approvals, decides pending ones again, times out overrun jobs, makes partitions three months ahead, and seals evidence: at most 1,000 of each a call, skipping what others hold; more says that another call has work. For a scheduler, once a minute or so; no safety depends on it.';
