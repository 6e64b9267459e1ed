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
COMMENT ON COLUMN policy.simulation_flips.why IS 'In what: decision, constraints, approval, exception, mask.';
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
