--
-- Who calls, and which verb is at work
--

CREATE FUNCTION policy.caller(OUT name text, OUT via text)
	AS 'MODULE_PATHNAME', 'policy_caller'
	LANGUAGE C STABLE;
COMMENT ON FUNCTION policy.caller() IS
	'Who calls, before any switch of user: the login, or the role that a login with the duty proxy has set; and its other name, or NULL.';

CREATE FUNCTION policy.holds_role(member text, role text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'policy_holds_role'
	LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION policy.holds_role(text, text) IS
	'Whether the member has USAGE of the role by membership, inherited all the way; a superuser does not by being one.';

CREATE FUNCTION policy.holds_duty(member text, duty text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'policy_holds_duty'
	LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION policy.holds_duty(text, text) IS
	'Whether policy_grant gave the duty to the member, or to a role that it holds.';

CREATE FUNCTION policy.has_owner_rights() RETURNS boolean
	AS 'MODULE_PATHNAME', 'policy_has_owner_rights'
	LANGUAGE C STABLE;
COMMENT ON FUNCTION policy.has_owner_rights() IS
	'Whether who calls, before any switch of user, has the rights of the owner of policy.jobs.';

CREATE FUNCTION policy.verb_begins(verb text) RETURNS void
	AS 'MODULE_PATHNAME', 'policy_verb_begins'
	LANGUAGE C STRICT;
COMMENT ON FUNCTION policy.verb_begins(text) IS
	'Lets the engine''s columns be written, until policy.verb_ends() or the end of the (sub)transaction.';
CREATE FUNCTION policy.verb_ends() RETURNS void
	AS 'MODULE_PATHNAME', 'policy_verb_ends'
	LANGUAGE C;
COMMENT ON FUNCTION policy.verb_ends() IS 'Ends what policy.verb_begins() began.';

CREATE FUNCTION policy.settle(job_id bigint, source text, note text) RETURNS text
	AS 'MODULE_PATHNAME', 'policy_settle'
	LANGUAGE C;
COMMENT ON FUNCTION policy.settle(bigint, text, text) IS
	'Locks a waiting, denied, rejected or expired job, decides it again under the active release, moves it, and returns its state. Records what changed (redecide: always). Raises object_not_in_prerequisite_state where no policy can decide.';

CREATE FUNCTION policy.job(job policy.jobs) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'policy_job'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.job(policy.jobs) IS
	'The job of a row: what is decided, hashed and recorded.';

CREATE FUNCTION policy.job_hash(job jsonb) RETURNS bytea
	AS 'MODULE_PATHNAME', 'policy_job_hash'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.job_hash(jsonb) IS
	'SHA-256 of a job''s canonical jsonb text, 32 bytes.';

CREATE FUNCTION policy.normalized(value text) RETURNS text
	AS 'MODULE_PATHNAME', 'policy_normalized'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.normalized(text) IS
	'A string as policies compare it (docs/policy-language.md, section 2).';

CREATE FUNCTION policy.topic_matches(topic text, patterns text[]) RETURNS boolean
	AS 'MODULE_PATHNAME', 'policy_topic_matches'
	LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;
COMMENT ON FUNCTION policy.topic_matches(text, text[]) IS
	'Whether one of the patterns of the policy language matches the topic. Raises invalid_parameter_value for a bad pattern.';

CREATE FUNCTION policy.attempts_allowed(constraints jsonb) RETURNS integer
	AS 'MODULE_PATHNAME', 'policy_attempts_allowed'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.attempts_allowed(jsonb) IS
	'How often a job with these constraints may be tried: 1 + max_retries, fractions rounded down.';

CREATE FUNCTION policy.approval_outlook(
	approval policy.approvals,
	OUT would_be text, OUT would_decide policy_decision, OUT would_reason text)
	AS 'MODULE_PATHNAME', 'policy_approval_outlook'
	LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION policy.approval_outlook(policy.approvals) IS
	'What re-deciding its job now would make of an open approval, and would decide of the job; NULLs for one that is resolved. Writes nothing.';

--
-- Submit, claim, run
--

CREATE FUNCTION policy_submit(job jsonb) RETURNS policy.jobs
	AS 'MODULE_PATHNAME', 'policy_submit'
	LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION policy_submit(jsonb) IS
	'Decides a job and enqueues it in this transaction, and returns its row; a denied or invalid job is a row too. With an idempotency_key that its tenant has used: the job that is there, or PE015 where that is another.';

CREATE FUNCTION policy_claim(worker text, max_jobs integer DEFAULT 1, topics text[] DEFAULT NULL)
	RETURNS SETOF policy.jobs
	AS 'MODULE_PATHNAME', 'policy_claim'
	LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 10;
COMMENT ON FUNCTION policy_claim(text, integer, text[]) IS
	'Takes up to max_jobs jobs that are ready, or throttled and due, whose topics match one of the patterns (NULL: any); decides each again first, and returns those that may start, now running. Raises invalid_parameter_value for a blank worker, less than one job or a bad pattern.';

CREATE FUNCTION policy.check_words(what text, words text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF octet_length(words) > 1048576 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'program_limit_exceeded',
			MESSAGE = format('the %s is larger than 1 MB', what),
			DETAIL = format('Its text has %s bytes; nothing was changed.', octet_length(words)),
			HINT = 'Store what is large elsewhere, and say where it is.';
	END IF;
END
$$;
COMMENT ON FUNCTION policy.check_words(text, text) IS
	'Raises program_limit_exceeded for a note, error or result of more than 1 MB.';

CREATE FUNCTION policy.running_job(job_id bigint, claim_token uuid) RETURNS policy.jobs
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	job policy.jobs;
BEGIN
	SELECT j.* INTO job FROM policy.jobs j WHERE j.job_id = running_job.job_id FOR UPDATE;
	IF job.state = 'running' AND job.claim_token = running_job.claim_token THEN
		RETURN job;
	END IF;
	RAISE EXCEPTION USING
		ERRCODE = 'PE013',
		MESSAGE = format('the claim token is not that of a running attempt of job %s',
						 coalesce(running_job.job_id::text, 'NULL')),
		DETAIL = CASE WHEN job.job_id IS NULL THEN 'There is no such job.'
			ELSE format('The job is %s, after %s attempts.', job.state, job.attempts) END,
		HINT = 'Stop working on it: the attempt is over. policy_claim gives the next job.';
END
$$;
COMMENT ON FUNCTION policy.running_job(bigint, uuid) IS
	'The locked row of a running attempt. Raises PE013 where the token is not its own.';

CREATE FUNCTION policy.end_attempt(job policy.jobs, late boolean, error text) RETURNS policy.jobs
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	again boolean := job.attempts < policy.attempts_allowed(job.constraints)
		AND (NOT late OR coalesce(job.constraints -> 'allow_timeout_retry' = 'true', false));
	ended policy.jobs;
BEGIN
	PERFORM policy.verb_begins('fail');
	UPDATE policy.jobs j SET
		state = CASE WHEN again THEN 'ready' WHEN late THEN 'timed_out' ELSE 'failed' END,
		claim_token = CASE WHEN NOT again THEN j.claim_token END,
		deadline = CASE WHEN NOT again THEN j.deadline END,
		finished_at = CASE WHEN NOT again THEN clock_timestamp() END,
		error = end_attempt.error
		WHERE j.job_id = job.job_id
		RETURNING j.* INTO ended;
	PERFORM policy.verb_ends();
	RETURN ended;
END
$$;
COMMENT ON FUNCTION policy.end_attempt(policy.jobs, boolean, text) IS
	'Ends a running attempt that failed or is late: back to ready where another is left, else failed or timed_out.';

CREATE FUNCTION policy_heartbeat(job_id bigint, claim_token uuid) RETURNS policy.jobs
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	job policy.jobs := policy.running_job(policy_heartbeat.job_id, policy_heartbeat.claim_token);
	halt record;
BEGIN
	IF job.deadline <= clock_timestamp() THEN
		RETURN policy.end_attempt(job, true, 'the deadline has passed');
	END IF;
	-- In the answer alone: what runs goes on where its worker lets it.
	halt := policy.halt_of(policy.job(job));
	IF halt.halt_id IS NOT NULL THEN
		job.state := 'halted';
		job.halt_id := halt.halt_id;
		job.error := halt.reason;
	END IF;
	RETURN job;
END
$$;
COMMENT ON FUNCTION policy_heartbeat(bigint, uuid) IS
	'Asks whether to go on: yes while the row that comes back is running. Extends nothing; an attempt past its deadline ends here, and one that a halt covers comes back halted, with the halt''s id and reason, in the answer alone. Raises PE013 for a token that is not the running attempt''s.';

CREATE FUNCTION policy_complete(job_id bigint, claim_token uuid, result jsonb DEFAULT NULL)
	RETURNS policy.jobs
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	job policy.jobs := policy.running_job(policy_complete.job_id, policy_complete.claim_token);
BEGIN
	PERFORM policy.check_words('result', policy_complete.result::text);
	PERFORM policy.verb_begins('complete');
	UPDATE policy.jobs j SET
		state = CASE WHEN j.deadline <= clock_timestamp() THEN 'timed_out' ELSE 'succeeded' END,
		result = policy_complete.result,
		finished_at = clock_timestamp(),
		error = CASE WHEN j.deadline <= clock_timestamp() THEN 'completed after its deadline' END
		WHERE j.job_id = job.job_id
		RETURNING j.* INTO job;
	PERFORM policy.verb_ends();
	RETURN job;
END
$$;
COMMENT ON FUNCTION policy_complete(bigint, uuid, jsonb) IS
	'Ends a running attempt as succeeded, or as timed_out after its deadline, with a result of at most 1 MB. Raises PE013 for a token that is not the running attempt''s, program_limit_exceeded for a larger result.';

CREATE FUNCTION policy_fail(job_id bigint, claim_token uuid, error text DEFAULT NULL)
	RETURNS policy.jobs
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	job policy.jobs := policy.running_job(policy_fail.job_id, policy_fail.claim_token);
BEGIN
	PERFORM policy.check_words('error', policy_fail.error);
	RETURN policy.end_attempt(job, coalesce(job.deadline <= clock_timestamp(), false),
							  policy_fail.error);
END
$$;
COMMENT ON FUNCTION policy_fail(bigint, uuid, text) IS
	'Ends a running attempt as failed: back to ready while attempts are left (max_retries), else failed; after its deadline as timed_out, tried again only with allow_timeout_retry. Raises PE013 for a token that is not the running attempt''s.';

CREATE FUNCTION policy_cancel(job_id bigint, note text DEFAULT NULL) RETURNS policy.jobs
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	job policy.jobs;
	who text := (policy.caller()).name;
BEGIN
	PERFORM policy.check_words('note', policy_cancel.note);
	SELECT j.* INTO job FROM policy.jobs j WHERE j.job_id = policy_cancel.job_id FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE008',
			MESSAGE = format('job %s does not exist', coalesce(policy_cancel.job_id::text, 'NULL')),
			HINT = 'SELECT job_id, state FROM policy.jobs lists the jobs.';
	END IF;
	IF job.submitted_by <> who AND NOT policy.has_owner_rights()
		AND NOT policy.holds_duty(who, 'operate') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('job %s is not yours to cancel', job.job_id),
			DETAIL = format('It was submitted by %I.', job.submitted_by),
			HINT = 'Who submitted it may cancel it, or somebody with the duty operate.';
	END IF;
	IF job.state <> 'cancelled' THEN
		PERFORM policy.verb_begins('cancel');
		UPDATE policy.jobs j SET
			state = 'cancelled', finished_at = clock_timestamp(), error = policy_cancel.note
			WHERE j.job_id = job.job_id
			RETURNING j.* INTO job;
		PERFORM policy.verb_ends();
	END IF;
	RETURN job;
END
$$;
COMMENT ON FUNCTION policy_cancel(bigint, text) IS
	'Stops a job that waits or runs; for who submitted it, and for the duty operate. The note is kept in its error. One that is cancelled already is returned as it is. Raises PE008 for one that has ended otherwise.';

--
-- Approvals
--

CREATE FUNCTION policy.approver(asked policy.approvals) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	who text := (policy.caller()).name;
BEGIN
	-- Who changed the job since asks as much as who submitted it, and so does who did
	-- either to a job whose place it took.
	IF NOT asked.allow_self AND (who = asked.requested_by OR who = asked.requested_via
		OR EXISTS (SELECT FROM policy.decisions d
			WHERE d.job_key = ANY (policy.replaced_keys(asked.job_table, asked.job_key))
				AND d.job_table = asked.job_table
				AND d.source IN ('submit', 'update') AND who IN (d.role, d.session_role))) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE009',
			MESSAGE = format('%I asked for approval %s and cannot vote on it', who, asked.approval_id),
			DETAIL = 'The rule does not allow who submitted or changed the job to approve it.',
			HINT = 'Somebody else has to vote.';
	END IF;
	IF cardinality(asked.approvers) > 0 AND NOT EXISTS (
		SELECT FROM unnest(asked.approvers) r WHERE policy.holds_role(who, r)) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE009',
			MESSAGE = format('%I is not an approver of approval %s', who, asked.approval_id),
			DETAIL = format('Its approvers are: %s.', array_to_string(asked.approvers, ', ')),
			HINT = 'Somebody who holds one of these roles has to vote.';
	END IF;
	RETURN who;
END
$$;
COMMENT ON FUNCTION policy.approver(policy.approvals) IS
	'Who calls, as an approver of that approval. Raises PE009 where it is none.';

CREATE FUNCTION policy.check_open(asked policy.approvals, vote text) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF asked.status = 'pending' OR (asked.status = 'approved' AND check_open.vote = 'reject') THEN
		RETURN;
	END IF;
	RAISE EXCEPTION USING
		ERRCODE = 'PE010',
		MESSAGE = format('approval %s is not pending', asked.approval_id),
		DETAIL = format('It is %s since %s.', asked.status, asked.resolved_at),
		HINT = 'SELECT * FROM policy_approvals() lists what is pending.';
END
$$;
COMMENT ON FUNCTION policy.check_open(policy.approvals, text) IS
	'Raises PE010 where an approval can take no such vote any more.';

CREATE FUNCTION policy.cast_vote(asked policy.approvals, who text, vote text, note text)
	RETURNS policy.approvals
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	resolved text := 'rejected';
BEGIN
	INSERT INTO policy.approval_votes AS v
		(approval_id, approver, session_role, vote, note, voted_at)
		VALUES (asked.approval_id, who, session_user, cast_vote.vote, cast_vote.note, clock_timestamp())
		ON CONFLICT ON CONSTRAINT approval_votes_pkey DO UPDATE
		SET session_role = excluded.session_role, vote = excluded.vote, note = excluded.note,
			voted_at = excluded.voted_at;
	IF cast_vote.vote = 'approve' THEN
		-- An older snapshot must not count its own votes alone: it cannot lock what
		-- has been touched since.
		UPDATE policy.approvals a SET status = a.status WHERE a.approval_id = asked.approval_id;
		IF (SELECT count(*) FROM policy.approval_votes v
			WHERE v.approval_id = asked.approval_id AND v.vote = 'approve') < asked.required THEN
			RETURN asked;
		END IF;
		resolved := 'approved';
	END IF;
	UPDATE policy.approvals a SET status = resolved, resolved_at = clock_timestamp()
		WHERE a.approval_id = asked.approval_id
		RETURNING a.* INTO asked;
	RETURN asked;
END
$$;
COMMENT ON FUNCTION policy.cast_vote(policy.approvals, text, text, text) IS
	'Records a vote, and resolves the approval where that settles it.';

CREATE FUNCTION policy.vote(approval_id bigint, vote text, note text) RETURNS policy.approvals
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	asked policy.approvals;
	who text;
BEGIN
	PERFORM policy.check_words('note', vote.note);
	SELECT a.* INTO asked FROM policy.approvals a WHERE a.approval_id = vote.approval_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE010',
			MESSAGE = format('approval %s does not exist', coalesce(vote.approval_id::text, 'NULL')),
			HINT = 'SELECT * FROM policy_approvals() lists what is pending.';
	END IF;
	who := policy.approver(asked);
	-- Whoever moves a job locks it before its approvals.
	PERFORM policy.lock_job(asked.job_table, asked.job_key, false);
	SELECT a.* INTO asked FROM policy.approvals a WHERE a.approval_id = vote.approval_id FOR UPDATE;
	IF asked.status IN ('pending', vote.vote || 'd', vote.vote || 'ed') AND EXISTS (
		SELECT FROM policy.approval_votes v WHERE v.approval_id = asked.approval_id
			AND v.approver = who AND v.vote = vote.vote) THEN
		RETURN asked;
	END IF;
	PERFORM policy.check_open(asked, vote.vote);
	IF asked.expires_at <= clock_timestamp() THEN
		UPDATE policy.approvals a SET status = 'expired', resolved_at = clock_timestamp()
			WHERE a.approval_id = asked.approval_id
			RETURNING a.* INTO asked;
		RETURN asked;
	END IF;
	PERFORM policy.settle_job(asked.job_table, asked.job_key, 'vote', NULL);
	SELECT a.* INTO asked FROM policy.approvals a WHERE a.approval_id = vote.approval_id;
	IF asked.status NOT IN ('pending', 'approved') THEN
		RETURN asked;
	END IF;
	RETURN policy.cast_vote(asked, who, vote.vote, vote.note);
END
$$;
COMMENT ON FUNCTION policy.vote(bigint, text, text) IS
	'What policy_approve and policy_reject share.';

CREATE FUNCTION policy_approve(approval_id bigint, note text DEFAULT NULL) RETURNS policy.approvals
	LANGUAGE sql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT policy.vote(policy_approve.approval_id, 'approve', policy_approve.note) $$;
COMMENT ON FUNCTION policy_approve(bigint, text) IS
	'Votes for an approval and returns its row; approved once enough have. One that has expired, or that the active policy no longer asks for as it was asked, is recorded as that and returned. Repeating a vote changes nothing. Raises PE009 for who may not vote on it, PE010 for one that was resolved before.';

CREATE FUNCTION policy_reject(approval_id bigint, note text DEFAULT NULL) RETURNS policy.approvals
	LANGUAGE sql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT policy.vote(policy_reject.approval_id, 'reject', policy_reject.note) $$;
COMMENT ON FUNCTION policy_reject(bigint, text) IS
	'Votes against an approval, until its job is claimed, and returns its row; one rejection ends it, and the job is rejected. Raises as policy_approve.';

CREATE FUNCTION policy_approvals(include_resolved boolean DEFAULT false)
	RETURNS TABLE (
		approval_id bigint, status text, would_be text, would_decide policy_decision,
		would_reason text, job_table text, job_key text, tenant_id text, actor_id text,
		topic text, job jsonb, rule text, reason text, snapshot text, required integer,
		votes bigint, approvers text[], allow_self boolean, requested_by text,
		requested_at timestamptz, expires_at timestamptz, resolved_at timestamptz,
		superseded_by bigint)
	LANGUAGE sql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT a.approval_id, a.status, o.would_be, o.would_decide, o.would_reason,
		a.job_table, a.job_key, d.tenant_id, d.actor_id, d.topic, d.job, a.rule, d.reason,
		a.snapshot, a.required,
		(SELECT count(*) FROM policy.approval_votes v
			WHERE v.approval_id = a.approval_id AND v.vote = 'approve'),
		a.approvers, a.allow_self, a.requested_by, a.requested_at, a.expires_at, a.resolved_at,
		a.superseded_by
	FROM policy.approvals a
		CROSS JOIN LATERAL policy.approval_outlook(a) o
		LEFT JOIN policy.decisions d
			ON d.decision_id = a.decision_id AND d.decided_at = a.decided_at
	WHERE a.status = 'pending' OR policy_approvals.include_resolved
	ORDER BY a.approval_id
$$;
COMMENT ON FUNCTION policy_approvals(boolean) IS
	'The queue, oldest first: what is pending (with include_resolved, what was resolved too), the job as evidence shows it, the votes for it, and what re-deciding now would make of it (would_be) and of its job. Writes nothing.';

CREATE FUNCTION policy.redecide_values(filter jsonb, key text) RETURNS text[]
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE jsonb_typeof(f.value)
		WHEN 'array' THEN ARRAY(SELECT e FROM jsonb_array_elements_text(f.value) e)
		ELSE ARRAY[f.value #>> '{}'] END
	FROM (SELECT redecide_values.filter -> redecide_values.key AS value) f
	WHERE redecide_values.filter ? redecide_values.key
$$;
COMMENT ON FUNCTION policy.redecide_values(jsonb, text) IS
	'The values that a filter of policy_redecide has under a key: one or an array; NULL where it has none.';

CREATE FUNCTION policy.check_redecide(filter jsonb) RETURNS void
	LANGUAGE plpgsql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	wrong text;
BEGIN
	IF filter IS NULL OR jsonb_typeof(filter) <> 'object' THEN
		wrong := 'The filter is not an object.';
	ELSE
		SELECT format('Unknown key "%s".', k) INTO wrong FROM jsonb_object_keys(filter) k
			WHERE k NOT IN ('job_id', 'state', 'rule', 'tenant_id', 'topic', 'actor_id') LIMIT 1;
		IF wrong IS NULL THEN
			SELECT format('The value of "%s" is no string, number or array of these.', e.key)
				INTO wrong FROM jsonb_each(filter) e
				WHERE jsonb_typeof(e.value) NOT IN ('string', 'number', 'array')
					OR (jsonb_typeof(e.value) = 'array' AND EXISTS (
						SELECT FROM jsonb_array_elements(e.value) i
						WHERE jsonb_typeof(i) NOT IN ('string', 'number')))
				LIMIT 1;
		END IF;
		IF wrong IS NULL THEN
			SELECT format('"%s" is no state that can be decided again.', s) INTO wrong
				FROM unnest(policy.redecide_values(filter, 'state')) s
				WHERE s NOT IN ('denied', 'rejected', 'expired') LIMIT 1;
		END IF;
		IF wrong IS NULL THEN
			SELECT format('"%s" is no job_id.', i) INTO wrong
				FROM unnest(policy.redecide_values(filter, 'job_id')) i
				WHERE i !~ '^[0-9]{1,18}$' LIMIT 1;
		END IF;
	END IF;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'bad filter of policy_redecide',
			DETAIL = wrong,
			HINT = 'Its keys are job_id, state (denied, rejected, expired), rule, tenant_id, topic and actor_id; {} is every such job.';
	END IF;
END
$$;
COMMENT ON FUNCTION policy.check_redecide(jsonb) IS
	'Raises invalid_parameter_value for a bad filter of policy_redecide.';

CREATE FUNCTION policy_redecide(filter jsonb, note text) RETURNS SETOF policy.jobs
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	id bigint;
BEGIN
	PERFORM policy.check_redecide(filter);
	PERFORM policy.check_words('note', note);
	FOR id IN
		SELECT j.job_id
		FROM policy.jobs j
			LEFT JOIN policy.decisions d
				ON d.decision_id = j.decision_id AND d.decided_at = j.decided_at
		WHERE j.state IN ('denied', 'rejected', 'expired')
			AND (NOT filter ? 'job_id'
				OR j.job_id = ANY (policy.redecide_values(filter, 'job_id')::bigint[]))
			AND (NOT filter ? 'state' OR j.state = ANY (policy.redecide_values(filter, 'state')))
			AND (NOT filter ? 'rule'
				OR d.matched_rules && policy.redecide_values(filter, 'rule'))
			AND (NOT filter ? 'tenant_id' OR policy.tenant_key(j.tenant_id, j.extra) IN (
				SELECT policy.normalized(v) FROM unnest(policy.redecide_values(filter, 'tenant_id')) v))
			AND (NOT filter ? 'topic' OR policy.normalized(j.topic) IN (
				SELECT policy.normalized(v) FROM unnest(policy.redecide_values(filter, 'topic')) v))
			AND (NOT filter ? 'actor_id' OR policy.normalized(j.actor_id) IN (
				SELECT policy.normalized(v) FROM unnest(policy.redecide_values(filter, 'actor_id')) v))
		ORDER BY j.job_id
	LOOP
		-- Somebody else may have moved it, or it may be gone, since the query began.
		PERFORM FROM policy.jobs j WHERE j.job_id = id
			AND j.state IN ('denied', 'rejected', 'expired') FOR UPDATE;
		IF FOUND THEN
			PERFORM policy.settle(id, 'redecide', note);
			RETURN QUERY SELECT j.* FROM policy.jobs j WHERE j.job_id = id;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION policy_redecide(jsonb, text) IS
	'Decides denied, rejected and expired jobs again under the active policy, records each with the note, and returns them. Filter: job_id, state, rule, tenant_id, topic, actor_id, each one value or an array; {} is all. Raises invalid_parameter_value for a bad filter.';
