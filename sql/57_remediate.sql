--
-- Remediations: a safer job in the place of one that is denied or waits
--

CREATE TABLE policy.remediations (
	job_id bigint NOT NULL,
	replaced_by bigint NOT NULL,
	remediation_id text COLLATE "C" NOT NULL,
	rule text COLLATE "C" NOT NULL,
	snapshot text COLLATE "C" NOT NULL,
	decision_id bigint NOT NULL,
	decided_at timestamptz NOT NULL,
	taken_by text NOT NULL,
	taken_at timestamptz NOT NULL,
	CONSTRAINT remediations_pkey PRIMARY KEY (job_id),
	CONSTRAINT remediations_replaced_by_key UNIQUE (replaced_by)
);
COMMENT ON TABLE policy.remediations IS
	'Evidence: which job took another''s place, by which remediation. Append-only; a job has one at most.';
COMMENT ON COLUMN policy.remediations.job_id IS 'The job that was denied, or waited.';
COMMENT ON COLUMN policy.remediations.replaced_by IS 'The job that took its place.';
COMMENT ON COLUMN policy.remediations.remediation_id IS 'The remediation.';
COMMENT ON COLUMN policy.remediations.rule IS 'The rule that offered it.';
COMMENT ON COLUMN policy.remediations.snapshot IS 'The policy that this is a rule of.';
COMMENT ON COLUMN policy.remediations.decision_id IS 'The decision that the rule applied to.';
COMMENT ON COLUMN policy.remediations.decided_at IS 'When that was made.';
COMMENT ON COLUMN policy.remediations.taken_by IS 'Who took it: who had submitted the job.';
COMMENT ON COLUMN policy.remediations.taken_at IS 'When.';
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON policy.remediations
	FOR EACH ROW EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.remediations
	FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change();
ALTER TABLE policy.remediations ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE policy.remediations ENABLE ALWAYS TRIGGER refuse_truncate;
COMMENT ON TRIGGER refuse_change ON policy.remediations IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER refuse_truncate ON policy.remediations IS 'Append-only: raises PE011.';
SELECT pg_catalog.pg_extension_config_dump('policy.remediations', '');

CREATE FUNCTION policy.document_remediations(
	document policy_document, rules text[],
	OUT rule text, OUT remediation_id text, OUT title text, OUT summary text,
	OUT replacement_topic text, OUT replacement_capability text, OUT add_labels jsonb,
	OUT remove_labels text[])
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'policy_document_remediations'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10000 ROWS 5;
COMMENT ON FUNCTION policy.document_remediations(policy_document, text[]) IS
	'What those of the rules offer that hold a job up: the strictest first, then as the document has them.';

CREATE FUNCTION policy.submit(job jsonb, note text) RETURNS policy.jobs
	AS 'MODULE_PATHNAME', 'policy_submit_noted'
	LANGUAGE C STRICT;
COMMENT ON FUNCTION policy.submit(jsonb, text) IS
	'policy_submit, with a note for the evidence.';

CREATE FUNCTION policy.replaced_keys(job_table text, job_key text) RETURNS text[]
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH RECURSIVE chain(key) AS (
		SELECT replaced_keys.job_key
		UNION
		SELECT r.job_id::text FROM chain c JOIN policy.remediations r
			ON r.replaced_by = CASE replaced_keys.job_table WHEN 'policy.jobs' THEN c.key::bigint END
	)
	SELECT array_agg(c.key) FROM chain c
$$;
COMMENT ON FUNCTION policy.replaced_keys(text, text) IS
	'The key of a job, and those of the jobs whose place it took, one after the other.';

CREATE FUNCTION policy.replacement(
	job jsonb, topic text, capability text, add_labels jsonb, remove_labels text[])
	RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	labels jsonb := CASE jsonb_typeof(job -> 'labels') WHEN 'object' THEN job -> 'labels' ELSE '{}' END;
BEGIN
	-- Names as policies compare them: beside "ENV" a new "env" would contradict it.
	labels := coalesce((SELECT jsonb_object_agg(l.key, l.value) FROM jsonb_each(labels) l
		WHERE policy.normalized(l.key) NOT IN (
			SELECT policy.normalized(r) FROM unnest(remove_labels) r
			UNION ALL SELECT policy.normalized(a) FROM jsonb_object_keys(add_labels) a)), '{}') || add_labels;
	RETURN job - '{idempotency_key,labels}'::text[]
		|| CASE WHEN labels = '{}' THEN labels ELSE jsonb_build_object('labels', labels) END
		|| CASE WHEN topic IS NULL THEN '{}' ELSE jsonb_build_object('topic', topic) END
		|| CASE WHEN capability IS NULL THEN '{}' ELSE jsonb_build_object('capability', capability) END;
END
$$;
COMMENT ON FUNCTION policy.replacement(jsonb, text, text, jsonb, text[]) IS
	'The job that a remediation makes of another: its topic and capability replaced, labels removed and then added, without its idempotency key.';

CREATE FUNCTION policy.offered(
	old policy.jobs,
	OUT remediation_id text, OUT rule text, OUT title text, OUT summary text,
	OUT replacement_topic text, OUT replacement_capability text, OUT add_labels jsonb,
	OUT remove_labels text[], OUT job jsonb, OUT snapshot text)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT o.remediation_id, o.rule, o.title, o.summary, o.replacement_topic,
		o.replacement_capability, o.add_labels, o.remove_labels,
		policy.replacement(policy.job(old), o.replacement_topic, o.replacement_capability,
			o.add_labels, o.remove_labels), o.snapshot
	FROM (SELECT DISTINCT ON (r.remediation_id) r.*, s.snapshot
		FROM policy.decisions d JOIN policy.snapshots s ON s.snapshot = d.snapshot,
			policy.document_remediations(s.document, d.matched_rules) WITH ORDINALITY r
		WHERE d.decision_id = old.decision_id AND d.decided_at = old.decided_at
		ORDER BY r.remediation_id, r.ordinality) o
	ORDER BY o.ordinality
$$;
COMMENT ON FUNCTION policy.offered(policy.jobs) IS
	'What the rules offer that the job''s decision names, in the policy that made it; of two with one id that of the rule of higher standing.';

CREATE FUNCTION policy.remediation_problem(old policy.jobs) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF old.state NOT IN ('denied', 'awaiting_approval', 'throttled') THEN
		RETURN format('It is %s: only what is denied, awaiting_approval or throttled has any.', old.state);
	END IF;
	IF NOT EXISTS (SELECT FROM policy.decisions d
		WHERE d.decision_id = old.decision_id AND d.decided_at = old.decided_at
			AND d.job_hash = policy.job_hash(policy.job(old))) THEN
		RETURN format('What decision %s decided is not in evidence, or is not what the job is now.', old.decision_id);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION policy.remediation_problem(policy.jobs) IS
	'Why a job has no remediations, in words; NULL where it may have some.';

CREATE FUNCTION policy_remediations(
	job_id bigint,
	OUT remediation_id text, OUT rule text, OUT title text, OUT summary text,
	OUT replacement_topic text, OUT replacement_capability text, OUT add_labels jsonb,
	OUT remove_labels text[], OUT job jsonb)
	RETURNS SETOF record
	LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 5
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	old policy.jobs;
	who text := (policy.caller()).name;
BEGIN
	SELECT j.* INTO old FROM policy.jobs j WHERE j.job_id = policy_remediations.job_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE008',
			MESSAGE = format('job %s does not exist', coalesce(policy_remediations.job_id::text, 'NULL')),
			HINT = 'SELECT job_id, state FROM policy.jobs lists the jobs.';
	END IF;
	IF old.submitted_by <> who AND NOT policy.has_owner_rights()
		AND NOT policy.holds_duty(who, 'operate') AND NOT policy.holds_duty(who, 'audit') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('the remediations of job %s are not yours to see', old.job_id),
			DETAIL = format('It was submitted by %I.', old.submitted_by),
			HINT = 'Who submitted it sees them, and somebody with the duty operate or audit.';
	END IF;
	IF policy.remediation_problem(old) IS NULL
		AND NOT EXISTS (SELECT FROM policy.remediations r WHERE r.job_id = old.job_id) THEN
		RETURN QUERY SELECT o.remediation_id, o.rule, o.title, o.summary, o.replacement_topic,
			o.replacement_capability, o.add_labels, o.remove_labels, o.job
			FROM policy.offered(old) o;
	END IF;
END
$$;
COMMENT ON FUNCTION policy_remediations(bigint) IS
	'The safer jobs that may take the place of one that is denied, awaiting_approval or throttled, and how each would be submitted; no row where there is none, or one was taken. For who submitted it, and for the duties operate and audit. Raises PE008 for a job that does not exist.';

CREATE FUNCTION policy.job_to_remediate(job_id bigint) RETURNS policy.jobs
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	job policy.jobs;
BEGIN
	SELECT j.* INTO job FROM policy.jobs j WHERE j.job_id = job_to_remediate.job_id FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE008',
			MESSAGE = format('job %s does not exist', coalesce(job_to_remediate.job_id::text, 'NULL')),
			HINT = 'SELECT job_id, state FROM policy.jobs lists the jobs.';
	END IF;
	-- What takes its place runs in the name of who asked: nobody else chooses it.
	IF job.submitted_by <> (policy.caller()).name THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('job %s is not yours to remediate', job.job_id),
			DETAIL = format('It was submitted by %I.', job.submitted_by),
			HINT = 'Who submitted it takes a remediation; an operator can cancel the job.';
	END IF;
	RETURN job;
END
$$;
COMMENT ON FUNCTION policy.job_to_remediate(bigint) IS
	'The locked row of a job that the caller submitted. Raises PE008 where there is none, 42501 where it is somebody else''s.';

CREATE FUNCTION policy.remediated_job(old policy.jobs, remediation_id text) RETURNS policy.jobs
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	taken policy.remediations;
	job policy.jobs;
BEGIN
	SELECT r.* INTO taken FROM policy.remediations r WHERE r.job_id = old.job_id;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	SELECT j.* INTO job FROM policy.jobs j
		WHERE j.job_id = taken.replaced_by AND taken.remediation_id = remediated_job.remediation_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE008',
			MESSAGE = format('job %s was remediated already', old.job_id),
			DETAIL = format('Job %s took its place at %s, by remediation "%s" of rule "%s".',
							taken.replaced_by, taken.taken_at, taken.remediation_id, taken.rule),
			HINT = 'A job has one remediation; what took its place may have its own.';
	END IF;
	RETURN job;
END
$$;
COMMENT ON FUNCTION policy.remediated_job(policy.jobs, text) IS
	'What took a job''s place by that remediation; NULL where nothing did. Raises PE008 where it was another, or is gone.';

CREATE FUNCTION policy.chosen_remediation(
	old policy.jobs, remediation_id text,
	OUT rule text, OUT job jsonb, OUT snapshot text)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	problem text := policy.remediation_problem(old);
BEGIN
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE008',
			MESSAGE = format('job %s cannot be remediated', old.job_id),
			DETAIL = problem,
			HINT = 'Submit the safer job by itself.';
	END IF;
	SELECT o.rule, o.job, o.snapshot INTO rule, job, snapshot FROM policy.offered(old) o
		WHERE o.remediation_id = chosen_remediation.remediation_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('job %s has no remediation "%s"', old.job_id,
							 coalesce(chosen_remediation.remediation_id, 'NULL')),
			DETAIL = (SELECT format('It has: %s.', coalesce(string_agg(format('"%s"', o.remediation_id), ', '), 'none'))
				FROM policy.offered(old) o),
			HINT = format('SELECT * FROM policy_remediations(%s) lists them.', old.job_id);
	END IF;
END
$$;
COMMENT ON FUNCTION policy.chosen_remediation(policy.jobs, text) IS
	'A remediation that a job has now. Raises PE008 where it can have none, 42704 where it does not have that one.';

CREATE FUNCTION policy_remediate(job_id bigint, remediation_id text) RETURNS policy.jobs
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	old policy.jobs := policy.job_to_remediate(policy_remediate.job_id);
	new policy.jobs := policy.remediated_job(old, policy_remediate.remediation_id);
	chosen record;
BEGIN
	IF new.job_id IS NOT NULL THEN
		RETURN new;
	END IF;
	chosen := policy.chosen_remediation(old, policy_remediate.remediation_id);
	new := policy.submit(chosen.job, format('in the place of job %s: remediation "%s" of rule "%s" in "%s"',
		old.job_id, policy_remediate.remediation_id, chosen.rule, chosen.snapshot));
	-- A snapshot from before somebody else's, which does not show it, raises 40001 here.
	INSERT INTO policy.remediations
		(job_id, replaced_by, remediation_id, rule, snapshot, decision_id, decided_at, taken_by, taken_at)
		VALUES (old.job_id, new.job_id, policy_remediate.remediation_id, chosen.rule, chosen.snapshot,
				old.decision_id, old.decided_at, new.submitted_by, new.submitted_at)
		ON CONFLICT DO NOTHING;
	IF old.state <> 'denied' THEN
		PERFORM @extschema@.policy_cancel(old.job_id, format('job %s took its place: remediation "%s"',
			new.job_id, policy_remediate.remediation_id));
	END IF;
	RETURN new;
END
$$;
COMMENT ON FUNCTION policy_remediate(bigint, text) IS
	'Takes a remediation of a job: submits the safer job, decided now under the active policy, cancels the old one where it waits, and records both in policy.remediations. Once a job; the same again returns what took its place. For who submitted it alone. Raises PE008 for a job that does not exist, is not held up, is not what was decided or has taken another, 42704 for a remediation that it does not have.';
