--
-- Evidence: views, seals
--

CREATE VIEW policy.decision_mix AS
	SELECT date_trunc('hour', d.decided_at) AS hour, d.decision, d.matched_rule AS rule,
		count(*) AS decisions
	FROM policy.decisions d
	WHERE d.job_table NOT IN ('policy.releases', 'policy.halts')
	GROUP BY 1, 2, 3;
COMMENT ON VIEW policy.decision_mix IS 'Decisions of jobs by hour, decision and winning rule: overrides and halts themselves are none.';
COMMENT ON COLUMN policy.decision_mix.hour IS 'The hour''s beginning.';
COMMENT ON COLUMN policy.decision_mix.decision IS 'The decision.';
COMMENT ON COLUMN policy.decision_mix.rule IS 'The winning rule; NULL for the default.';
COMMENT ON COLUMN policy.decision_mix.decisions IS 'How many.';

CREATE VIEW policy.rule_stats AS
	WITH hits AS (
		SELECT r.rule, count(*) AS hits, max(d.decided_at) AS last_hit
		FROM policy.decisions d CROSS JOIN LATERAL unnest(d.matched_rules) r(rule)
		GROUP BY r.rule
	), waits AS (
		SELECT a.rule,
			count(*) FILTER (WHERE v.approved)::numeric / nullif(count(*), 0) AS share_approved,
			percentile_cont(0.5) WITHIN GROUP (ORDER BY a.resolved_at - a.requested_at) AS median_wait,
			percentile_cont(0.9) WITHIN GROUP (ORDER BY a.resolved_at - a.requested_at) AS p90_wait
		FROM policy.approvals a
			CROSS JOIN LATERAL (SELECT a.status IN ('approved', 'consumed') AS approved) v
		WHERE a.status IN ('approved', 'consumed', 'rejected', 'expired')
		GROUP BY a.rule
	)
	SELECT coalesce(h.rule, w.rule) AS rule, coalesce(h.hits, 0) AS hits, h.last_hit,
		round(w.share_approved, 4) AS share_approved, w.median_wait, w.p90_wait
	FROM hits h FULL JOIN waits w ON w.rule = h.rule;
COMMENT ON VIEW policy.rule_stats IS
	'What each rule does in the evidence that is there: what to prune, and what annoys.';
COMMENT ON COLUMN policy.rule_stats.rule IS 'The rule; NULL for a default that asks for approval.';
COMMENT ON COLUMN policy.rule_stats.hits IS 'Decisions that it applied to.';
COMMENT ON COLUMN policy.rule_stats.last_hit IS 'The last of them.';
COMMENT ON COLUMN policy.rule_stats.share_approved IS 'Of its approvals that people or time settled, the share approved, 0 to 1.';
COMMENT ON COLUMN policy.rule_stats.median_wait IS 'How long these waited: the median.';
COMMENT ON COLUMN policy.rule_stats.p90_wait IS 'And the 90th percentile.';

-- What was said of an earlier content of the job says nothing of this one.
CREATE FUNCTION policy.is_last_asked(approval policy.approvals) RETURNS boolean
	LANGUAGE sql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT NOT EXISTS (SELECT FROM policy.approvals n
		WHERE n.job_key = approval.job_key AND n.job_table = approval.job_table
			AND n.rule IS NOT DISTINCT FROM approval.rule AND n.approval_id > approval.approval_id)
$$;
COMMENT ON FUNCTION policy.is_last_asked(policy.approvals) IS
	'Whether no newer approval of the same job and rule has followed.';

CREATE VIEW policy.traces AS
	SELECT j.job_id, j.state, j.topic, j.tenant_id, j.actor_id, j.submitted_by, j.submitted_at,
		d.decision_id, d.decided_at, d.source, d.decision, d.reason, d.matched_rule, d.matched_rules,
		d.constraints, d.snapshot, d.release_id,
		(SELECT array_agg(v.approver ORDER BY v.voted_at)
			FROM policy.approvals a JOIN policy.approval_votes v ON v.approval_id = a.approval_id
			WHERE a.job_table = 'policy.jobs' AND a.job_key = j.job_id::text
				AND a.status IN ('approved', 'consumed') AND v.vote = 'approve'
				AND policy.is_last_asked(a)) AS approved_by,
		(SELECT array_agg(v.approver ORDER BY v.voted_at)
			FROM policy.approvals a JOIN policy.approval_votes v ON v.approval_id = a.approval_id
			WHERE a.job_table = 'policy.jobs' AND a.job_key = j.job_id::text
				AND v.vote = 'reject' AND policy.is_last_asked(a)) AS rejected_by,
		j.attempts, j.claimed_by, j.claimed_at, j.finished_at, j.result, j.error,
		(SELECT r.job_id FROM policy.remediations r WHERE r.replaced_by = j.job_id) AS replaces,
		(SELECT r.replaced_by FROM policy.remediations r WHERE r.job_id = j.job_id) AS replaced_by
	FROM policy.jobs j
		LEFT JOIN policy.decisions d
			ON d.decision_id = j.decision_id AND d.decided_at = j.decided_at;
COMMENT ON VIEW policy.traces IS
	'A job from rule to outcome: one row a job, with the decision that holds. Its earlier decisions are in policy.decisions under its job_key.';
COMMENT ON COLUMN policy.traces.job_id IS 'The job.';
COMMENT ON COLUMN policy.traces.state IS 'Where it is.';
COMMENT ON COLUMN policy.traces.topic IS 'Its topic.';
COMMENT ON COLUMN policy.traces.tenant_id IS 'Its tenant.';
COMMENT ON COLUMN policy.traces.actor_id IS 'Its actor.';
COMMENT ON COLUMN policy.traces.submitted_by IS 'Who asked.';
COMMENT ON COLUMN policy.traces.submitted_at IS 'When.';
COMMENT ON COLUMN policy.traces.decision_id IS 'The decision that holds; NULL where its evidence is gone.';
COMMENT ON COLUMN policy.traces.decided_at IS 'When it was made.';
COMMENT ON COLUMN policy.traces.source IS 'What asked for it.';
COMMENT ON COLUMN policy.traces.decision IS 'The decision.';
COMMENT ON COLUMN policy.traces.reason IS 'Why.';
COMMENT ON COLUMN policy.traces.matched_rule IS 'The winning rule.';
COMMENT ON COLUMN policy.traces.matched_rules IS 'Every applying rule.';
COMMENT ON COLUMN policy.traces.constraints IS 'The bounds.';
COMMENT ON COLUMN policy.traces.snapshot IS 'The policy.';
COMMENT ON COLUMN policy.traces.release_id IS 'Its release.';
COMMENT ON COLUMN policy.traces.approved_by IS 'Who approved, in order; NULL where nobody had to.';
COMMENT ON COLUMN policy.traces.rejected_by IS 'Who rejected.';
COMMENT ON COLUMN policy.traces.attempts IS 'How often it was claimed.';
COMMENT ON COLUMN policy.traces.claimed_by IS 'The worker of the last claim.';
COMMENT ON COLUMN policy.traces.claimed_at IS 'When that was.';
COMMENT ON COLUMN policy.traces.finished_at IS 'When it came to its end.';
COMMENT ON COLUMN policy.traces.result IS 'What came of it.';
COMMENT ON COLUMN policy.traces.error IS 'What went wrong.';
COMMENT ON COLUMN policy.traces.replaces IS 'The job whose place it took by a remediation.';
COMMENT ON COLUMN policy.traces.replaced_by IS 'The job that took its place.';

CREATE TABLE policy.seals (
	seal_id bigint NOT NULL,
	sealed_at timestamptz NOT NULL,
	after_id bigint NOT NULL,
	through_id bigint NOT NULL,
	decision_ids bigint[] NOT NULL,
	leaves bytea NOT NULL,
	root bytea NOT NULL,
	previous bytea,
	hash bytea NOT NULL,
	CONSTRAINT seals_pkey PRIMARY KEY (seal_id)
);
COMMENT ON TABLE policy.seals IS
	'The chain over evidence: each seal has the Merkle root of its decisions and the hash of the seal before. Append-only. Keep the last hash elsewhere: who can rewrite this database can rewrite the whole chain.';
COMMENT ON COLUMN policy.seals.seal_id IS '1, 2, 3 ...';
COMMENT ON COLUMN policy.seals.sealed_at IS 'When.';
COMMENT ON COLUMN policy.seals.after_id IS 'It has every decision after this id (the last seal''s through_id)';
COMMENT ON COLUMN policy.seals.through_id IS 'up to and with this one.';
COMMENT ON COLUMN policy.seals.decision_ids IS 'Their ids.';
COMMENT ON COLUMN policy.seals.leaves IS 'Their hashes, 32 bytes each, in the same order.';
COMMENT ON COLUMN policy.seals.root IS 'The Merkle root of the leaves (RFC 6962).';
COMMENT ON COLUMN policy.seals.previous IS 'The hash of the seal before; NULL for the first.';
COMMENT ON COLUMN policy.seals.hash IS 'SHA-256 of all that: what to keep elsewhere.';
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON policy.seals
	FOR EACH ROW EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.seals
	FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change();
ALTER TABLE policy.seals ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE policy.seals ENABLE ALWAYS TRIGGER refuse_truncate;
COMMENT ON TRIGGER refuse_change ON policy.seals IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER refuse_truncate ON policy.seals IS 'Append-only: raises PE011.';
SELECT pg_catalog.pg_extension_config_dump('policy.seals', '');

-- How far things have come; not dumped: transaction ids mean nothing elsewhere.
CREATE TABLE policy.maintenance (
	only_row boolean NOT NULL DEFAULT true,
	maintained_at timestamptz,
	walk_release bigint,
	walk_after bigint NOT NULL DEFAULT 0,
	horizon_id bigint,
	horizon_xid xid8,
	CONSTRAINT maintenance_pkey PRIMARY KEY (only_row),
	CONSTRAINT maintenance_only_row_check CHECK (only_row)
);
INSERT INTO policy.maintenance DEFAULT VALUES;
COMMENT ON TABLE policy.maintenance IS 'How far policy_maintain and policy_seal have come: one row, not dumped.';
COMMENT ON COLUMN policy.maintenance.only_row IS 'True.';
COMMENT ON COLUMN policy.maintenance.maintained_at IS 'When policy_maintain last ran.';
COMMENT ON COLUMN policy.maintenance.walk_release IS 'The release under which it re-decides what is pending.';
COMMENT ON COLUMN policy.maintenance.walk_after IS 'The approval up to which it has come.';
COMMENT ON COLUMN policy.maintenance.horizon_id IS 'Decisions up to this id were given out before';
COMMENT ON COLUMN policy.maintenance.horizon_xid IS 'this transaction id: complete once all before it have ended.';

CREATE FUNCTION policy.decision_hash(decision policy.decisions) RETURNS bytea
	LANGUAGE sql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
	SET timezone = 'UTC' SET datestyle = 'ISO' SET bytea_output = 'hex' SET intervalstyle = 'postgres'
	AS $$
	SELECT sha256('\x00' || convert_to(ROW(
		decision.decision_id, decision.decided_at, decision.source, decision.job_table,
		decision.job_key, decision.job_hash, decision.tenant_id, decision.actor_id, decision.topic,
		decision.job, decision.decision, decision.reason, decision.matched_rule,
		decision.matched_rules, decision.monitored_rules, decision.constraints, decision.snapshot,
		decision.release_id, decision.role, decision.session_role, decision.application_name,
		decision.note)::text, 'UTF8'))
$$;
COMMENT ON FUNCTION policy.decision_hash(policy.decisions) IS
	'A leaf of a seal: SHA-256 of a byte 0 and the decision''s text (RFC 6962, section 2.1).';

CREATE FUNCTION policy.merkle_root(leaves bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'policy_merkle_root'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.merkle_root(bytea) IS
	'The root over leaves of 32 bytes each (RFC 6962, section 2.1). Raises invalid_parameter_value for another length.';

CREATE FUNCTION policy.seal_hash(seal policy.seals) RETURNS bytea
	LANGUAGE sql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
	SET timezone = 'UTC' SET datestyle = 'ISO' SET bytea_output = 'hex'
	AS $$
	SELECT sha256(convert_to(ROW(seal.seal_id, seal.sealed_at, seal.after_id, seal.through_id,
		seal.decision_ids, seal.root, seal.previous)::text, 'UTF8'))
$$;
COMMENT ON FUNCTION policy.seal_hash(policy.seals) IS
	'What a seal''s hash must be: SHA-256 of its other columns'' text, the leaves by their root.';

CREATE FUNCTION policy.next_xid() RETURNS xid8
	AS 'MODULE_PATHNAME', 'policy_next_xid'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION policy.next_xid() IS
	'The id that the next transaction will get: every one that was given out is before it.';

-- Every writer takes its transaction id before a decision's.  So the ids that were
-- given out when the horizon was taken belong to transactions before horizon_xid,
-- and are complete once those have ended.  A snapshot knows of no transaction from
-- its xmax on: all of those are still running, but for our own.
CREATE FUNCTION policy.sealable_through() RETURNS bigint
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	known policy.maintenance;
	last_id bigint;
	next_xid xid8;
	seen pg_snapshot;
	through bigint;
BEGIN
	SELECT m.* INTO known FROM policy.maintenance m FOR UPDATE;
	SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END INTO last_id
		FROM policy.decision_id_seq s;
	next_xid := policy.next_xid();
	seen := pg_current_snapshot();
	IF NOT EXISTS (SELECT FROM pg_snapshot_xip(seen))
		AND (next_xid <= pg_snapshot_xmax(seen)
			OR (pg_current_xact_id() = pg_snapshot_xmax(seen)
				AND next_xid::text::numeric = pg_snapshot_xmax(seen)::text::numeric + 1)) THEN
		RETURN last_id;
	END IF;
	IF known.horizon_xid <= pg_snapshot_xmax(seen) AND NOT EXISTS (
		SELECT FROM pg_snapshot_xip(seen) x WHERE x < known.horizon_xid) THEN
		through := known.horizon_id;
	END IF;
	IF through IS NOT NULL OR known.horizon_xid IS NULL OR known.horizon_xid > next_xid THEN
		UPDATE policy.maintenance m SET horizon_id = last_id, horizon_xid = next_xid;
	END IF;
	RETURN through;
END
$$;
COMMENT ON FUNCTION policy.sealable_through() IS
	'The decision id up to which nothing can be written any more; NULL where none is known yet.';

CREATE FUNCTION policy.make_seal(last policy.seals, through_id bigint) RETURNS policy.seals
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	made policy.seals;
BEGIN
	made.seal_id := coalesce(last.seal_id, 0) + 1;
	made.sealed_at := clock_timestamp();
	made.after_id := coalesce(last.through_id, 0);
	made.previous := last.hash;
	SELECT coalesce(array_agg(b.decision_id ORDER BY b.decision_id), '{}'),
		coalesce(string_agg(b.leaf, '' ORDER BY b.decision_id), '')
		INTO made.decision_ids, made.leaves
		FROM (SELECT d.decision_id, policy.decision_hash(d) AS leaf
			FROM policy.decisions d
			WHERE d.decision_id > made.after_id AND d.decision_id <= make_seal.through_id
			ORDER BY d.decision_id
			LIMIT 10000) b;
	made.through_id := CASE WHEN cardinality(made.decision_ids) < 10000 THEN make_seal.through_id
		ELSE made.decision_ids[10000] END;
	made.root := policy.merkle_root(made.leaves);
	made.hash := policy.seal_hash(made);
	RETURN made;
END
$$;
COMMENT ON FUNCTION policy.make_seal(policy.seals, bigint) IS
	'The next seal after the last one (NULL: the first), over at most 10,000 decisions up to an id.';

CREATE FUNCTION policy_seal() RETURNS SETOF policy.seals
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	last policy.seals;
	through bigint;
BEGIN
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_transaction_state',
			MESSAGE = 'evidence can only be sealed in a READ COMMITTED transaction',
			DETAIL = 'This transaction''s snapshot may be older than what it would seal.',
			HINT = 'Run it in a transaction of its own.';
	END IF;
	-- As policy_maintain locks them: its row first.
	PERFORM FROM policy.maintenance m FOR UPDATE;
	LOCK TABLE policy.seals IN SHARE ROW EXCLUSIVE MODE;
	through := policy.sealable_through();
	SELECT s.* INTO last FROM policy.seals s ORDER BY s.seal_id DESC LIMIT 1;
	WHILE coalesce(last.through_id, 0) < through LOOP
		last := policy.make_seal(last, through);
		EXIT WHEN cardinality(last.decision_ids) = 0;
		INSERT INTO policy.seals VALUES (last.*);
		RETURN NEXT last;
	END LOOP;
END
$$;
COMMENT ON FUNCTION policy_seal() IS
	'Seals the decisions written since the last seal, 10,000 a seal, and returns the seals made: none where nothing is new, or may still be in the writing. Raises invalid_transaction_state outside READ COMMITTED.';

CREATE FUNCTION policy.verify_seal(seal policy.seals, before policy.seals)
	RETURNS TABLE (problem text, seal_id bigint, decision_id bigint, decided_at timestamptz, detail text)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp SET enable_nestloop = off
	AS $$
DECLARE
	found bigint;
BEGIN
	IF seal.seal_id <> coalesce(before.seal_id, 0) + 1
		OR seal.after_id <> coalesce(before.through_id, 0)
		OR seal.previous IS DISTINCT FROM before.hash THEN
		RETURN QUERY SELECT 'broken seal', seal.seal_id, NULL::bigint, NULL::timestamptz,
			'it does not follow the seal before it';
	END IF;
	IF octet_length(seal.leaves) <> 32 * cardinality(seal.decision_ids)
		OR seal.root <> policy.merkle_root(seal.leaves)
		OR seal.hash <> policy.seal_hash(seal) THEN
		RETURN QUERY SELECT 'broken seal', seal.seal_id, NULL::bigint, NULL::timestamptz,
			'its own content was altered';
	END IF;
	SELECT count(*) INTO found FROM policy.decisions d
		WHERE d.decision_id = ANY (seal.decision_ids);
	IF found = 0 AND cardinality(seal.decision_ids) > 1 THEN
		RETURN QUERY SELECT 'removed', seal.seal_id, NULL::bigint, NULL::timestamptz,
			format('all %s decisions of this seal are gone: a partition was dropped or detached, or they were deleted',
				cardinality(seal.decision_ids));
	END IF;
	RETURN QUERY
		SELECT p.problem, seal.seal_id, p.decision_id, p.decided_at, p.detail
		FROM (
			SELECT coalesce(d.decision_id, l.decision_id) AS decision_id, d.decided_at,
				CASE WHEN d.decision_id IS NULL THEN 'removed'
					WHEN l.decision_id IS NULL THEN 'inserted'
					WHEN d.leaf <> l.leaf THEN 'altered' END AS problem,
				CASE WHEN d.decision_id IS NULL THEN 'the decision is gone'
					WHEN l.decision_id IS NULL THEN 'the decision was not there when this seal was made'
					ELSE format('job %s of %s: the decision is not what was sealed', d.job_key, d.job_table)
				END AS detail
			FROM (SELECT i.decision_id,
					substring(seal.leaves FROM (i.n::integer - 1) * 32 + 1 FOR 32) AS leaf
				FROM unnest(seal.decision_ids) WITH ORDINALITY i(decision_id, n)) l
				FULL JOIN (SELECT e.decision_id, e.decided_at, e.job_key, e.job_table,
						policy.decision_hash(e) AS leaf
					FROM policy.decisions e
					WHERE e.decision_id > seal.after_id AND e.decision_id <= seal.through_id) d
				ON d.decision_id = l.decision_id
		) p
		WHERE p.problem IS NOT NULL
			AND NOT (p.problem = 'removed' AND found = 0 AND cardinality(seal.decision_ids) > 1)
		ORDER BY p.decision_id;
END
$$;
COMMENT ON FUNCTION policy.verify_seal(policy.seals, policy.seals) IS
	'What is wrong with a seal, given the one before it (NULL: it is the first).';

CREATE FUNCTION policy_verify()
	RETURNS TABLE (problem text, seal_id bigint, decision_id bigint, decided_at timestamptz, detail text)
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	-- A plan made when the tables were small must not be kept for large ones.
	SET search_path = pg_catalog, pg_temp SET enable_nestloop = off
	AS $$
DECLARE
	seal policy.seals;
	before policy.seals;
BEGIN
	FOR seal IN SELECT s.* FROM policy.seals s ORDER BY s.seal_id LOOP
		RETURN QUERY SELECT * FROM policy.verify_seal(seal, before);
		before := seal;
	END LOOP;
	RETURN QUERY
		SELECT 'inserted', NULL::bigint, d.decision_id, d.decided_at,
			format('job %s of %s: the decision is before the first that was sealed', d.job_key, d.job_table)
		FROM policy.decisions d WHERE d.decision_id <= 0;
	RETURN QUERY
		SELECT 'dangling', NULL::bigint, j.decision_id, j.decided_at,
			format('job %s is %s by a decision that is not in evidence', j.job_id, j.state)
		FROM policy.jobs j
		WHERE NOT EXISTS (SELECT FROM policy.decisions d
			WHERE d.decision_id = j.decision_id AND d.decided_at = j.decided_at)
		ORDER BY j.job_id;
	RETURN QUERY
		SELECT 'dangling', NULL::bigint, a.decision_id, a.decided_at,
			format('approval %s was asked for by a decision that is not in evidence', a.approval_id)
		FROM policy.approvals a
		WHERE NOT EXISTS (SELECT FROM policy.decisions d
			WHERE d.decision_id = a.decision_id AND d.decided_at = a.decided_at)
		ORDER BY a.approval_id;
	RETURN QUERY
		SELECT 'dangling', NULL::bigint, r.decision_id, r.decided_at,
			format('the remediation of job %s was offered by a decision that is not in evidence', r.job_id)
		FROM policy.remediations r
		WHERE NOT EXISTS (SELECT FROM policy.decisions d
			WHERE d.decision_id = r.decision_id AND d.decided_at = r.decided_at)
		ORDER BY r.job_id;
END
$$;
COMMENT ON FUNCTION policy_verify() IS
	'Recomputes every seal and names each decision that was altered, removed or inserted, each broken seal, and each job, approval and remediation whose decision is not in evidence (dangling). No row means intact. What was written since the last seal is not covered yet.';
