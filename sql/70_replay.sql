--
-- Replay: a candidate over what was decided, and the gate before a publish
--

CREATE SEQUENCE policy.simulation_id_seq AS bigint;
COMMENT ON SEQUENCE policy.simulation_id_seq IS 'Ids of policy.simulations.';

CREATE TABLE policy.simulations (
	simulation_id bigint NOT NULL,
	snapshot text COLLATE "C" NOT NULL,
	sha256 bytea NOT NULL,
	base_snapshot text COLLATE "C",
	base_release_id bigint,
	source text COLLATE "C" NOT NULL,
	query text,
	since timestamptz,
	until timestamptz,
	covers_history boolean NOT NULL,
	run_by text NOT NULL,
	started_at timestamptz NOT NULL,
	finished_at timestamptz NOT NULL,
	jobs bigint NOT NULL,
	replayed bigint NOT NULL,
	unreplayable jsonb NOT NULL,
	matrix jsonb NOT NULL,
	matrix_then jsonb NOT NULL,
	flips bigint NOT NULL,
	loosened bigint NOT NULL,
	tightened bigint NOT NULL,
	newly_approval bigint NOT NULL,
	approvals_per_day numeric,
	rules jsonb NOT NULL,
	gate jsonb NOT NULL,
	acknowledged_by text,
	acknowledged_at timestamptz,
	acknowledge_note text,
	CONSTRAINT simulations_pkey PRIMARY KEY (simulation_id),
	CONSTRAINT simulations_source_check CHECK (source IN ('decisions', 'query'))
);
COMMENT ON TABLE policy.simulations IS
	'What a candidate would have decided of jobs that were recorded, or that a query gave: policy_replay, policy_replay_query. Append-only, but for policy_acknowledge.';
COMMENT ON COLUMN policy.simulations.simulation_id IS 'Counts up.';
COMMENT ON COLUMN policy.simulations.snapshot IS 'The candidate.';
COMMENT ON COLUMN policy.simulations.sha256 IS 'SHA-256 of its text.';
COMMENT ON COLUMN policy.simulations.base_snapshot IS 'What it is compared with; NULL: with no active policy, which denies.';
COMMENT ON COLUMN policy.simulations.base_release_id IS 'The release that was active, where the base was the active snapshot; else NULL.';
COMMENT ON COLUMN policy.simulations.source IS 'decisions: the recorded jobs; query: those of a query, which the gate does not take.';
COMMENT ON COLUMN policy.simulations.query IS 'The query.';
COMMENT ON COLUMN policy.simulations.since IS 'The window''s beginning; NULL for a query.';
COMMENT ON COLUMN policy.simulations.until IS 'Its end, not included; NULL for a query.';
COMMENT ON COLUMN policy.simulations.covers_history IS 'Whether it has all jobs that were recorded when it began.';
COMMENT ON COLUMN policy.simulations.run_by IS 'Who ran it.';
COMMENT ON COLUMN policy.simulations.started_at IS 'When it began: the present that jobs were evaluated at, too.';
COMMENT ON COLUMN policy.simulations.finished_at IS 'When it had ended.';
COMMENT ON COLUMN policy.simulations.jobs IS 'Jobs in the window, or of the query.';
COMMENT ON COLUMN policy.simulations.replayed IS 'Of these, those that were evaluated.';
COMMENT ON COLUMN policy.simulations.unreplayable IS 'How many were not, by reason: masked fact, velocity without counters, invalid job.';
COMMENT ON COLUMN policy.simulations.matrix IS 'Jobs by what the base says (from) and what the candidate says (to), each at the moment at which the change is worst.';
COMMENT ON COLUMN policy.simulations.matrix_then IS 'Jobs by what was recorded (from) and what the candidate says at the job''s own time (to).';
COMMENT ON COLUMN policy.simulations.flips IS 'Jobs that are decided otherwise: policy.simulation_flips has them.';
COMMENT ON COLUMN policy.simulations.loosened IS 'Of these, those that are decided more loosely in some way.';
COMMENT ON COLUMN policy.simulations.tightened IS 'And those that are not.';
COMMENT ON COLUMN policy.simulations.newly_approval IS 'Jobs that need an approval, and did not.';
COMMENT ON COLUMN policy.simulations.approvals_per_day IS 'What these add to the queue a day; NULL where the jobs have no times.';
COMMENT ON COLUMN policy.simulations.rules IS 'Jobs that each rule (NULL: the default) gains and loses, where it does.';
COMMENT ON COLUMN policy.simulations.gate IS 'Whether policy_publish would have let it pass when it had ended, and each check.';
COMMENT ON COLUMN policy.simulations.acknowledged_by IS 'Who has accepted its flips; NULL: nobody.';
COMMENT ON COLUMN policy.simulations.acknowledged_at IS 'When.';
COMMENT ON COLUMN policy.simulations.acknowledge_note IS 'Why.';

CREATE TABLE policy.simulation_flips (
	simulation_id bigint NOT NULL,
	flip bigint NOT NULL,
	decision_id bigint,
	decided_at timestamptz,
	job_table text COLLATE "C",
	job_key text COLLATE "C",
	tenant_id text,
	actor_id text,
	topic text,
	job jsonb,
	evaluated_at timestamptz NOT NULL,
	kind text COLLATE "C" NOT NULL,
	why text[] NOT NULL,
	from_decision policy_decision NOT NULL,
	to_decision policy_decision NOT NULL,
	from_rule text COLLATE "C",
	to_rule text COLLATE "C",
	from_reason text NOT NULL,
	to_reason text NOT NULL,
	from_constraints jsonb NOT NULL,
	to_constraints jsonb NOT NULL,
	CONSTRAINT simulation_flips_pkey PRIMARY KEY (simulation_id, flip),
	CONSTRAINT simulation_flips_kind_check CHECK (kind IN ('loosened', 'tightened'))
);
COMMENT ON TABLE policy.simulation_flips IS 'The jobs that a simulation''s candidate decides otherwise than its base. Append-only.';
COMMENT ON COLUMN policy.simulation_flips.simulation_id IS 'The simulation.';
COMMENT ON COLUMN policy.simulation_flips.flip IS '1, 2, 3 ... in it.';
COMMENT ON COLUMN policy.simulation_flips.decision_id IS 'The recorded decision, which has the job; NULL for a query''s.';
COMMENT ON COLUMN policy.simulation_flips.decided_at IS 'When it was made: the job''s own time; NULL where a query gives none.';
COMMENT ON COLUMN policy.simulation_flips.job_table IS 'The job''s table; NULL for a query''s.';
COMMENT ON COLUMN policy.simulation_flips.job_key IS 'Its key there.';
COMMENT ON COLUMN policy.simulation_flips.tenant_id IS 'Its tenant, normalised.';
COMMENT ON COLUMN policy.simulation_flips.actor_id IS 'Its actor, normalised.';
COMMENT ON COLUMN policy.simulation_flips.topic IS 'Its topic, normalised.';
COMMENT ON COLUMN policy.simulation_flips.job IS 'A query''s job; NULL where the recorded decision has it.';
COMMENT ON COLUMN policy.simulation_flips.evaluated_at IS 'The moment at which the change is worst: the job''s own time, the present, or one beside a validity boundary.';
COMMENT ON COLUMN policy.simulation_flips.kind IS 'loosened or tightened.';
COMMENT ON COLUMN policy.simulation_flips.why IS 'In what: decision, constraints, approval, exception, mask, rule (one that restricted only watches now, or a wait behind an approval is shorter).';
COMMENT ON COLUMN policy.simulation_flips.from_decision IS 'What the base decides.';
COMMENT ON COLUMN policy.simulation_flips.to_decision IS 'What the candidate decides.';
COMMENT ON COLUMN policy.simulation_flips.from_rule IS 'The base''s winning rule; NULL for the default.';
COMMENT ON COLUMN policy.simulation_flips.to_rule IS 'The candidate''s.';
COMMENT ON COLUMN policy.simulation_flips.from_reason IS 'The base''s reason.';
COMMENT ON COLUMN policy.simulation_flips.to_reason IS 'The candidate''s.';
COMMENT ON COLUMN policy.simulation_flips.from_constraints IS 'The base''s bounds.';
COMMENT ON COLUMN policy.simulation_flips.to_constraints IS 'The candidate''s.';

-- An acknowledgement, once, is all that is ever changed.
CREATE FUNCTION policy.acknowledge_only() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP = 'UPDATE' AND OLD.acknowledged_by IS NULL AND NEW.acknowledged_by IS NOT NULL
		AND to_jsonb(OLD) - ARRAY['acknowledged_by', 'acknowledged_at', 'acknowledge_note']
			= to_jsonb(NEW) - ARRAY['acknowledged_by', 'acknowledged_at', 'acknowledge_note'] THEN
		RETURN NEW;
	END IF;
	RAISE EXCEPTION USING
		ERRCODE = 'PE011',
		MESSAGE = 'policy.simulations is append-only',
		DETAIL = format('%s was refused; nothing was changed.', TG_OP),
		HINT = 'policy_acknowledge accepts a simulation''s flips; policy_replay makes another simulation.';
END
$$;
COMMENT ON FUNCTION policy.acknowledge_only() IS
	'Trigger of policy.simulations: raises PE011 for any change but an acknowledgement.';

CREATE TRIGGER acknowledge_only BEFORE UPDATE OR DELETE ON policy.simulations
	FOR EACH ROW EXECUTE FUNCTION policy.acknowledge_only();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.simulations
	FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON policy.simulation_flips
	FOR EACH ROW EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.simulation_flips
	FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change();
ALTER TABLE policy.simulations ENABLE ALWAYS TRIGGER acknowledge_only;
ALTER TABLE policy.simulations ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE policy.simulation_flips ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE policy.simulation_flips ENABLE ALWAYS TRIGGER refuse_truncate;
COMMENT ON TRIGGER acknowledge_only ON policy.simulations IS 'Append-only, but for an acknowledgement: raises PE011.';
COMMENT ON TRIGGER refuse_truncate ON policy.simulations IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER refuse_change ON policy.simulation_flips IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER refuse_truncate ON policy.simulation_flips IS 'Append-only: raises PE011.';

SELECT pg_catalog.pg_extension_config_dump('policy.simulation_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('policy.simulations', '');
SELECT pg_catalog.pg_extension_config_dump('policy.simulation_flips', '');

CREATE FUNCTION policy.replay_job(candidate text, base text, present timestamptz, recorded boolean, job jsonb,
		at timestamptz DEFAULT NULL, decision_id bigint DEFAULT NULL, job_table text DEFAULT NULL,
		job_key text DEFAULT NULL, decision policy_decision DEFAULT NULL, snapshot text DEFAULT NULL,
		unavailable boolean DEFAULT NULL) RETURNS bytea
	AS 'MODULE_PATHNAME', 'policy_replay_job'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION policy.replay_job(text, text, timestamptz, boolean, jsonb, timestamptz, bigint, text, text, policy_decision, text, boolean) IS
	'One job''s part of a replay, in the server''s own format, which policy_replay and policy_replay_query read: what two snapshots say of it. Raises PE002 for an unknown snapshot.';

CREATE FUNCTION policy.replay_jobs(simulation_id bigint, candidate text, base text, present timestamptz,
		query text, since timestamptz, until timestamptz, deadline timestamptz DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'policy_replay_jobs'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION policy.replay_jobs(bigint, text, text, timestamptz, text, timestamptz, timestamptz, timestamptz) IS
	'Replays the recorded jobs that a query gives for a window, $1 to $2, and returns the counts of policy.simulations; writes the flips (NULL for the id: it does not). Base NULL: no active policy. At the deadline it stops, with the counts of the jobs before.';

CREATE FUNCTION policy.begin_simulation(snapshot text, base text, OUT simulation_id bigint,
		OUT base_snapshot text, OUT base_release_id bigint, OUT started_at timestamptz)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM policy.require_snapshot(begin_simulation.snapshot);
	SELECT a.snapshot, a.release_id INTO base_snapshot, base_release_id FROM policy.active a;
	IF begin_simulation.base IS NOT NULL THEN
		PERFORM policy.require_snapshot(begin_simulation.base);
		IF begin_simulation.base IS DISTINCT FROM base_snapshot THEN
			base_snapshot := begin_simulation.base;
			base_release_id := NULL;
		END IF;
	END IF;
	simulation_id := nextval('policy.simulation_id_seq');
	started_at := clock_timestamp();
END
$$;
COMMENT ON FUNCTION policy.begin_simulation(text, text) IS
	'What a simulation begins with: its id, its base (NULL: the active snapshot) and the time. Raises PE002 for an unknown snapshot.';

CREATE FUNCTION policy.gate_check(check_name text, passed boolean, value text, bound text, detail text)
	RETURNS jsonb
	LANGUAGE sql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT jsonb_build_object('check', check_name, 'passed', passed, 'value', value, 'limit', bound, 'detail', detail)
$$;
COMMENT ON FUNCTION policy.gate_check(text, boolean, text, text, text) IS 'One check of policy.simulations.gate.';

CREATE FUNCTION policy.gate_checks(simulation policy.simulations) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	s policy.simulations := gate_checks.simulation;
	-- Loads the library, which knows the settings.
	mode text := policy.fail_mode();
	min_window interval := current_setting('policy_engine.gate_min_window')::interval;
	max_unreplayable numeric := current_setting('policy_engine.gate_max_unreplayable')::numeric;
	max_flips numeric := current_setting('policy_engine.gate_max_flip_ratio')::numeric;
	max_loosened bigint := current_setting('policy_engine.gate_max_loosened')::bigint;
	left_out numeric := coalesce((s.jobs - s.replayed)::numeric / nullif(s.jobs, 0), 0);
	flipped numeric := coalesce(s.flips::numeric / nullif(s.replayed, 0), 0);
	-- What is still to come has no jobs, and makes no window longer.
	reached timestamptz := least(s.until, s.started_at);
	-- Seconds: a day is 24 hours, whatever the session's time zone makes of it.
	least_window interval := make_interval(secs => extract(epoch FROM min_window)::double precision);
	checks jsonb;
BEGIN
	checks := jsonb_build_array(
		policy.gate_check('source', s.source = 'decisions', s.source, 'decisions',
			'A query''s jobs are those that somebody has chosen.'),
		policy.gate_check('window', s.source = 'decisions' AND (s.covers_history
				OR (s.jobs > 0 AND s.until >= s.started_at AND s.since <= reached - least_window)),
			CASE WHEN s.covers_history THEN 'all history'
				WHEN s.source = 'decisions' AND s.jobs = 0 THEN 'no jobs'
				WHEN isfinite(s.since) AND isfinite(reached) THEN greatest(reached - s.since, '0')::text
				ELSE 'up to ' || s.until END, min_window::text,
			'Up to the present, and so far back, with jobs in it, or all that was recorded.'),
		policy.gate_check('unreplayable', left_out <= max_unreplayable, round(left_out, 6)::text, max_unreplayable::text,
			format('%s of %s jobs were left out.', s.jobs - s.replayed, s.jobs)),
		policy.gate_check('flips', flipped <= max_flips, round(flipped, 6)::text, max_flips::text,
			format('%s of %s jobs are decided otherwise.', s.flips, s.replayed)),
		policy.gate_check('loosened', s.loosened <= max_loosened, s.loosened::text, max_loosened::text,
			format('%s jobs are decided more loosely.', s.loosened)));
	RETURN jsonb_build_object('passed',
		NOT EXISTS (SELECT FROM jsonb_array_elements(checks) c WHERE NOT (c ->> 'passed')::boolean),
		'checks', checks);
END
$$;
COMMENT ON FUNCTION policy.gate_checks(policy.simulations) IS
	'Whether a simulation is within the gate as it is set now: passed, and each check with its value and its limit.';

CREATE FUNCTION policy.keep_simulation(kept policy.simulations, counts jsonb) RETURNS policy.simulations
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	days double precision := (counts ->> 'days')::double precision;
BEGIN
	SELECT s.sha256 INTO kept.sha256 FROM policy.snapshots s WHERE s.snapshot = kept.snapshot;
	kept.run_by := (policy.caller()).name;
	kept.finished_at := clock_timestamp();
	kept.jobs := counts -> 'jobs';
	kept.replayed := counts -> 'replayed';
	kept.unreplayable := counts -> 'unreplayable';
	kept.matrix := counts -> 'matrix';
	kept.matrix_then := counts -> 'matrix_then';
	kept.loosened := counts -> 'loosened';
	kept.tightened := counts -> 'tightened';
	kept.flips := kept.loosened + kept.tightened;
	kept.newly_approval := counts -> 'newly_approval';
	kept.rules := counts -> 'rules';
	IF days > 0 THEN
		kept.approvals_per_day := round((kept.newly_approval / days)::numeric, 2);
	END IF;
	kept.gate := policy.gate_checks(kept);
	INSERT INTO policy.simulations SELECT kept.*;
	RETURN kept;
END
$$;
COMMENT ON FUNCTION policy.keep_simulation(policy.simulations, jsonb) IS
	'Stores a simulation, with the counts that policy.replay_jobs gave.';

CREATE FUNCTION policy.keep_query_simulation(simulation_id bigint, snapshot text, base_snapshot text,
		started_at timestamptz, query text, counts jsonb) RETURNS policy.simulations
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	kept policy.simulations;
BEGIN
	kept.simulation_id := keep_query_simulation.simulation_id;
	kept.snapshot := keep_query_simulation.snapshot;
	kept.base_snapshot := keep_query_simulation.base_snapshot;
	SELECT a.release_id INTO kept.base_release_id FROM policy.active a
		WHERE a.snapshot = keep_query_simulation.base_snapshot;
	kept.source := 'query';
	kept.query := keep_query_simulation.query;
	kept.covers_history := false;
	kept.started_at := keep_query_simulation.started_at;
	RETURN policy.keep_simulation(kept, keep_query_simulation.counts);
END
$$;
COMMENT ON FUNCTION policy.keep_query_simulation(bigint, text, text, timestamptz, text, jsonb) IS
	'Stores the simulation of policy_replay_query.';

-- A snapshot of the database that is older than the newest jobs, or than all of them,
-- would let pass what they forbid.
CREATE FUNCTION policy.require_read_committed(call text) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_transaction_state',
			MESSAGE = 'recorded jobs can only be replayed, and the gate only passed, in a READ COMMITTED transaction',
			DETAIL = 'This transaction may not see the newest of them.',
			HINT = format('ROLLBACK; BEGIN ISOLATION LEVEL READ COMMITTED; SELECT * FROM %s; COMMIT;', require_read_committed.call);
	END IF;
END
$$;
COMMENT ON FUNCTION policy.require_read_committed(text) IS
	'Raises invalid_transaction_state in a transaction that reads as of its beginning; the call is for the hint.';

CREATE FUNCTION policy_replay(snapshot text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		base text DEFAULT NULL) RETURNS policy.simulations
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	kept policy.simulations;
	oldest timestamptz;
	counts jsonb;
BEGIN
	PERFORM policy.require_read_committed(format('policy_replay(%L)', policy_replay.snapshot));
	SELECT b.simulation_id, b.base_snapshot, b.base_release_id, b.started_at
		INTO kept.simulation_id, kept.base_snapshot, kept.base_release_id, kept.started_at
		FROM policy.begin_simulation(policy_replay.snapshot, policy_replay.base) b;
	kept.snapshot := policy_replay.snapshot;
	kept.source := 'decisions';
	SELECT min(d.decided_at) INTO oldest FROM policy.decisions d WHERE d.source IN ('submit', 'update');
	kept.since := coalesce(policy_replay.since, oldest, kept.started_at);
	kept.until := coalesce(policy_replay.until, kept.started_at);
	IF kept.since > kept.until THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a window ends before it begins',
			DETAIL = format('From %s to %s.', kept.since, kept.until),
			HINT = 'SELECT * FROM policy_replay(''v1'', now() - interval ''30 days'').';
	END IF;
	kept.covers_history := kept.until >= kept.started_at AND kept.since <= coalesce(oldest, kept.since);
	-- What was invalid for more than what is recorded of it stays so: it has no topic.
	counts := policy.replay_jobs(kept.simulation_id, kept.snapshot, kept.base_snapshot, kept.started_at,
		'SELECT CASE WHEN d.topic IS NOT NULL OR d.reason NOT LIKE ''invalid job: %'' THEN d.job END, '
		'd.decided_at, d.decision_id, d.job_table, d.job_key, d.decision, d.snapshot, '
		'd.snapshot IS NULL AND d.reason LIKE ''policy unavailable: %'' '
		'FROM policy.decisions d WHERE d.source IN (''submit'', ''update'') '
		'AND d.decided_at >= $1 AND d.decided_at < $2', kept.since, kept.until);
	RETURN policy.keep_simulation(kept, counts);
END
$$;
COMMENT ON FUNCTION policy_replay(text, timestamptz, timestamptz, text) IS
	'Evaluates a staged snapshot over the jobs that were recorded from since (NULL: all) until until (NULL: now), and compares it with what another says now (base; NULL: the active one). Stores and returns the simulation; its flips are in policy.simulation_flips. Raises PE002 for an unknown snapshot, invalid_parameter_value for a window that ends before it begins, invalid_transaction_state outside READ COMMITTED.';

CREATE FUNCTION policy_replay_query(snapshot text, query text) RETURNS policy.simulations
	AS 'MODULE_PATHNAME', 'policy_replay_query'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION policy_replay_query(text, text) IS
	'Evaluates a staged snapshot over the jobs that a query gives: a column of jsonb, and maybe one of timestamptz, the job''s own time (without: the present). The query runs as who calls, read-only. Compares with the active snapshot, stores and returns the simulation, which the gate does not take. Raises PE002 for an unknown snapshot, datatype_mismatch for other columns, and what the query raises.';

CREATE FUNCTION policy_acknowledge(simulation_id bigint, note text) RETURNS policy.simulations
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	kept policy.simulations;
	author text;
	who record := policy.caller();
BEGIN
	SELECT s.* INTO kept FROM policy.simulations s
		WHERE s.simulation_id = policy_acknowledge.simulation_id FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'no_data_found',
			MESSAGE = format('there is no simulation %s', coalesce(policy_acknowledge.simulation_id::text, 'NULL')),
			HINT = 'SELECT simulation_id, snapshot, flips FROM policy.simulations lists them.';
	END IF;
	SELECT s.staged_by INTO author FROM policy.snapshots s WHERE s.snapshot = kept.snapshot;
	IF author IN (who.name, who.via) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('snapshot "%s" was staged by you', kept.snapshot),
			DETAIL = 'Its flips are for somebody else to accept.',
			HINT = format('Somebody else with the duty release runs: SELECT policy_acknowledge(%s, ''why'').', kept.simulation_id);
	END IF;
	IF kept.acknowledged_by IS NOT NULL THEN
		RETURN kept;
	END IF;
	UPDATE policy.simulations s
		SET acknowledged_by = who.name, acknowledged_at = clock_timestamp(), acknowledge_note = policy_acknowledge.note
		WHERE s.simulation_id = kept.simulation_id
		RETURNING s.* INTO kept;
	RETURN kept;
END
$$;
COMMENT ON FUNCTION policy_acknowledge(bigint, text) IS
	'Accepts exactly the flips of a simulation, by somebody who did not stage its snapshot; returns it. Once acknowledged it stays so. Raises no_data_found for an unknown simulation, insufficient_privilege for who staged the snapshot.';

-- Asked of an override, too: who means another document stages it without the test.
CREATE FUNCTION policy.require_tests(snapshot text) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	failed integer := policy.tests_failed(require_tests.snapshot);
BEGIN
	IF failed > 0 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE007',
			MESSAGE = format('%s of the own tests of snapshot "%s" %s', failed, require_tests.snapshot,
				CASE failed WHEN 1 THEN 'fails' ELSE 'fail' END),
			DETAIL = 'Nothing was released.',
			HINT = format('SELECT policy_test(%L)', require_tests.snapshot);
	END IF;
END
$$;
COMMENT ON FUNCTION policy.require_tests(text) IS
	'Raises PE007 where tests of a stored snapshot''s own fail.';

-- What may pass: a simulation against what is active now.
CREATE FUNCTION policy.pass_gate(snapshot text, active policy.active, OUT simulation_id bigint, OUT loosened bigint)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	mode text := policy.fail_mode();
	newest policy.simulations;
	gate jsonb;
	failing text;
	replay text := format('SELECT * FROM policy_replay(%L)', pass_gate.snapshot);
BEGIN
	IF NOT current_setting('policy_engine.require_simulation')::boolean THEN
		RETURN;
	END IF;
	PERFORM policy.require_read_committed(format('policy_publish(%L, ''note'')', pass_gate.snapshot));
	IF NOT EXISTS (SELECT FROM policy.decisions d WHERE d.source IN ('submit', 'update')) THEN
		RETURN;
	END IF;
	SELECT s.* INTO newest FROM policy.simulations s
		WHERE s.snapshot = pass_gate.snapshot AND s.source = 'decisions'
		ORDER BY (s.base_snapshot IS NOT DISTINCT FROM active.snapshot) DESC, s.simulation_id DESC LIMIT 1;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE004',
			MESSAGE = format('snapshot "%s" was not replayed', pass_gate.snapshot),
			DETAIL = 'Nothing was released: nobody knows yet what it would change of the jobs that were recorded.',
			HINT = replay;
	END IF;
	IF newest.base_snapshot IS DISTINCT FROM active.snapshot
		OR newest.finished_at < clock_timestamp() - interval '24 hours' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE005',
			MESSAGE = format('simulation %s of snapshot "%s" is stale', newest.simulation_id, pass_gate.snapshot),
			DETAIL = CASE WHEN newest.base_snapshot IS DISTINCT FROM active.snapshot
				THEN format('It compares with %s, and %s is active.', coalesce('"' || newest.base_snapshot || '"', 'no policy'),
					coalesce('"' || active.snapshot || '"', 'none'))
				ELSE format('It is of %s.', newest.finished_at) END || ' Nothing was released.',
			HINT = replay;
	END IF;
	gate := policy.gate_checks(newest);
	SELECT string_agg(format('%s: %s (limit %s)', c ->> 'check', c ->> 'value', c ->> 'limit'), '; ') INTO failing
		FROM jsonb_array_elements(gate -> 'checks') c
		WHERE NOT (c ->> 'passed')::boolean
			AND NOT (newest.acknowledged_by IS NOT NULL AND c ->> 'check' IN ('flips', 'loosened'));
	IF failing IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE006',
			MESSAGE = format('snapshot "%s" is outside the gate', pass_gate.snapshot),
			DETAIL = format('Simulation %s: %s. Nothing was released.', newest.simulation_id, failing),
			HINT = CASE WHEN failing ~ '(^|; )(source|window|unreplayable): '
				THEN CASE WHEN failing ~ '(^|; )(source|window): ' THEN replay
					ELSE format('Somebody with the duty override: SELECT policy_publish(%L, ''note'', ''why all the same'')', pass_gate.snapshot) END
				ELSE format('See SELECT * FROM policy.simulation_flips WHERE simulation_id = %s; then somebody else than who staged it: SELECT policy_acknowledge(%s, ''why'')',
					newest.simulation_id, newest.simulation_id) END;
	END IF;
	simulation_id := newest.simulation_id;
	loosened := newest.loosened;
END
$$;
COMMENT ON FUNCTION policy.pass_gate(text, policy.active) IS
	'The simulation that lets a snapshot be published over what is active: NULL where none is asked for. Raises PE004 where there is none, PE005 for a stale one, PE006 where it is outside the gate and its flips are not acknowledged, invalid_transaction_state outside READ COMMITTED.';

-- A rollback is the way out, and waits for nothing: the newest jobs only, as many as
-- there is time for, and none where they are locked.
CREATE FUNCTION policy.rollback_loosens(target text, active text,
		deadline timestamptz DEFAULT clock_timestamp() + interval '2 seconds') RETURNS bigint
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET lock_timeout = '1s'
	AS $$
DECLARE
	counts jsonb;
BEGIN
	counts := policy.replay_jobs(NULL, rollback_loosens.target, rollback_loosens.active, clock_timestamp(),
		'SELECT CASE WHEN n.topic IS NOT NULL OR n.reason NOT LIKE ''invalid job: %'' THEN n.job END, '
		'n.decided_at, n.decision_id, n.job_table, n.job_key, n.decision, n.snapshot, '
		'n.snapshot IS NULL AND n.reason LIKE ''policy unavailable: %'' '
		'FROM (SELECT d.* FROM policy.decisions d ORDER BY d.decision_id DESC LIMIT 10000) n '
		'WHERE n.source IN (''submit'', ''update'') AND n.decided_at >= $1 AND n.decided_at < $2',
		'-infinity', 'infinity', rollback_loosens.deadline);
	RETURN CASE WHEN (counts ->> 'replayed')::bigint > 0 THEN (counts ->> 'loosened')::bigint END;
EXCEPTION WHEN OTHERS THEN
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION policy.rollback_loosens(text, text, timestamptz) IS
	'How many of the jobs among the 10,000 newest decisions a rollback decides more loosely, of as many of them as can be replayed until the deadline; NULL where that cannot be told: none could be, or they are locked.';

CREATE FUNCTION policy.record_override(made policy.releases) RETURNS void
	LANGUAGE sql
	SET search_path = pg_catalog, pg_temp
	AS $$
	INSERT INTO policy.decisions (decision_id, decided_at, source, job_table, job_key, job_hash, decision, reason,
			matched_rules, monitored_rules, constraints, snapshot, release_id, role, session_role, application_name)
		SELECT nextval('policy.decision_id_seq'), clock_timestamp(), 'override', 'policy.releases', made.release_id::text,
			sha256(''), 'ALLOW', made.override_reason, '{}', '{}', '{}', made.snapshot, made.release_id,
			coalesce((policy.caller()).name, session_user::text), session_user::text, nullif(current_setting('application_name'), '')
$$;
COMMENT ON FUNCTION policy.record_override(policy.releases) IS
	'Records in the evidence that a snapshot was published in spite of the gate, and why.';

CREATE FUNCTION policy.replays(OUT pid integer, OUT simulation_id bigint, OUT snapshot text, OUT started_at timestamptz,
		OUT jobs bigint, OUT expected bigint) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'policy_replays'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION policy.replays() IS 'The replays that run in this database now: what policy.replay_progress shows.';

CREATE VIEW policy.replay_progress AS
	SELECT r.pid, r.simulation_id, r.snapshot, r.started_at, r.jobs, r.expected,
		least(1, round(r.jobs::numeric / nullif(r.expected, 0), 3)) AS share
	FROM policy.replays() r;
COMMENT ON VIEW policy.replay_progress IS 'How far the replays are that run in this database now; 16 of a server at most.';
COMMENT ON COLUMN policy.replay_progress.pid IS 'The process that replays.';
COMMENT ON COLUMN policy.replay_progress.simulation_id IS 'The simulation that it will be.';
COMMENT ON COLUMN policy.replay_progress.snapshot IS 'The candidate, cut after 127 bytes.';
COMMENT ON COLUMN policy.replay_progress.started_at IS 'When it began to read jobs.';
COMMENT ON COLUMN policy.replay_progress.jobs IS 'Jobs that it has replayed.';
COMMENT ON COLUMN policy.replay_progress.expected IS 'Jobs that the planner expects.';
COMMENT ON COLUMN policy.replay_progress.share IS 'The one of the other, 1 at most.';
