--
-- Reports of a simulation: what both forms share
--

CREATE FUNCTION policy.visible(value text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	-- What has no glyph of its own, or moves those of others: controls, bidirectional
	-- and zero-width characters, tags, variation selectors and what XML forbids.
	hidden CONSTANT text := E'[\\u0001-\\u001F\\u007F-\\u00A0\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5'
		'\\u180B-\\u180F\\u2000-\\u200F\\u2028-\\u202F\\u205F-\\u206F\\u2800\\u3000\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0'
		'\\uFFF0-\\uFFFB\\uFFFE\\uFFFF\\U000E0000-\\U000E0FFF]';
BEGIN
	IF visible.value COLLATE "C" !~ hidden THEN
		RETURN visible.value;
	END IF;
	RETURN (SELECT string_agg(CASE WHEN c.character COLLATE "C" ~ hidden
				THEN format('[U+%s]', CASE WHEN ascii(c.character) > 65535 THEN upper(to_hex(ascii(c.character)))
					ELSE lpad(upper(to_hex(ascii(c.character))), 4, '0') END)
				ELSE c.character END, '' ORDER BY c.place)
		FROM regexp_split_to_table(visible.value, '') WITH ORDINALITY c(character, place));
END
$$;
COMMENT ON FUNCTION policy.visible(text) IS
	'The text with each character that is not seen, or that moves others, as [U+202E].';

CREATE FUNCTION policy.number(value numeric) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE WHEN value IS NULL THEN 'unknown'
		ELSE rtrim(to_char(round(value, 2), 'FM999,999,999,999,999,990.99'), '.') END
$$;
COMMENT ON FUNCTION policy.number(numeric) IS
	'A number to read: thousands apart, at most two decimals.';

CREATE FUNCTION policy.clipped(value text, characters integer) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE WHEN length(value) > characters
		THEN format('%s... (%s characters)', left(value, characters), policy.number(length(value)))
		ELSE value END
$$;
COMMENT ON FUNCTION policy.clipped(text, integer) IS
	'The text, or its first characters and how many it has.';

CREATE FUNCTION policy.moment(at timestamptz) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE WHEN at IS NULL THEN 'unknown'
		WHEN at = '-infinity' THEN 'the beginning'
		WHEN at = 'infinity' THEN 'the end'
		ELSE to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC' END
$$;
COMMENT ON FUNCTION policy.moment(timestamptz) IS
	'A time to read, in UTC, to the second.';

CREATE FUNCTION policy.reported(simulation_id bigint) RETURNS policy.simulations
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	simulation policy.simulations;
BEGIN
	IF reported.simulation_id IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'the simulation''s id is NULL',
			HINT = 'SELECT simulation_id, snapshot FROM policy.simulations lists the ids; policy_replay(...) makes a simulation.';
	END IF;
	SELECT s.* INTO simulation FROM policy.simulations s
		WHERE s.simulation_id = reported.simulation_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'no_data_found',
			MESSAGE = format('simulation %s does not exist', reported.simulation_id),
			HINT = 'SELECT simulation_id, snapshot FROM policy.simulations lists the ids; policy_replay(...) makes a simulation.';
	END IF;
	RETURN simulation;
END
$$;
COMMENT ON FUNCTION policy.reported(bigint) IS
	'The simulation of that id. Raises invalid_parameter_value for NULL, no_data_found where there is none.';

CREATE FUNCTION policy.report_checks(
	simulation policy.simulations, OUT name text, OUT result text, OUT value text, OUT bound text, OUT detail text)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT c.item ->> 'check', CASE WHEN (c.item -> 'passed') = 'true' THEN 'passes' ELSE 'FAILS' END,
		coalesce(c.item ->> 'value', ''), coalesce(c.item ->> 'limit', ''), coalesce(c.item ->> 'detail', '')
	FROM jsonb_array_elements(simulation.gate -> 'checks') WITH ORDINALITY c(item, place)
	ORDER BY c.item -> 'passed' = 'true', c.place
$$;
COMMENT ON FUNCTION policy.report_checks(policy.simulations) IS
	'The gate''s checks, those that failed first.';

CREATE FUNCTION policy.report_verdict(
	simulation policy.simulations, OUT state text, OUT verdict text, OUT remarks text[])
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT v.state,
		CASE v.state
			WHEN 'passed' THEN format('The gate passes: this replay does not keep %s from being published.', simulation.snapshot)
			WHEN 'acknowledged' THEN format('The gate fails, but its flips were acknowledged: they do not keep %s from being published.', simulation.snapshot)
			ELSE format('The gate fails: %s must not be published as it is.', simulation.snapshot) END,
		array_remove(ARRAY[
			CASE WHEN simulation.acknowledged_by IS NOT NULL
				THEN format('Acknowledged by %s at %s: %s', simulation.acknowledged_by,
					policy.moment(simulation.acknowledged_at), coalesce(nullif(simulation.acknowledge_note, ''), 'no note')) END,
			CASE WHEN simulation.source IS DISTINCT FROM 'decisions'
				THEN 'Jobs of a query were replayed, not the recorded decisions: that alone lets nothing be published.' END,
			CASE WHEN simulation.base_snapshot IS DISTINCT FROM (SELECT a.snapshot FROM policy.active a)
				THEN format('What is active now (%s) is not what this was compared with: replay it again before publishing.',
					coalesce((SELECT format('%s, release %s', a.snapshot, a.release_id) FROM policy.active a), 'nothing')) END,
			CASE WHEN simulation.finished_at < statement_timestamp() - interval '24 hours'
				THEN 'This is older than 24 hours: replay it again before publishing.' END
		], NULL)
	FROM (SELECT CASE
		WHEN (simulation.gate -> 'passed') = 'true' THEN 'passed'
		WHEN simulation.acknowledged_by IS NOT NULL AND (
			SELECT bool_and(c.name IN ('flips', 'loosened')) FROM policy.report_checks(simulation) c
			WHERE c.result <> 'passes') THEN 'acknowledged'
		ELSE 'failed' END AS state) v
$$;
COMMENT ON FUNCTION policy.report_verdict(policy.simulations) IS
	'How the gate ended: passed, acknowledged or failed, the same in words, and what else bears on it.';

CREATE FUNCTION policy.report_base(simulation policy.simulations) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT coalesce(simulation.base_snapshot, 'no active policy') ||
		coalesce(format(' (release %s)', simulation.base_release_id), '')
$$;
COMMENT ON FUNCTION policy.report_base(policy.simulations) IS
	'What a simulation compares with, by name.';

CREATE FUNCTION policy.report_facts(simulation policy.simulations, OUT fact text, OUT value text)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	VALUES
		('Flips', format('%s of %s jobs replayed', policy.number(simulation.flips), policy.number(simulation.replayed))),
		('Loosened', policy.number(simulation.loosened)),
		('Tightened', policy.number(simulation.tightened)),
		('Newly need approval', policy.number(simulation.newly_approval)),
		('Queue growth', format('%s approvals a day', CASE WHEN simulation.approvals_per_day > 0 THEN '+' ELSE '' END ||
			policy.number(simulation.approvals_per_day))),
		('Coverage', format('%s of %s jobs replayed', policy.number(simulation.replayed), policy.number(simulation.jobs)))
$$;
COMMENT ON FUNCTION policy.report_facts(policy.simulations) IS
	'What a simulation found, in a line each.';

CREATE FUNCTION policy.report_origin(simulation policy.simulations, OUT fact text, OUT value text)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT o.fact, o.value
	FROM (VALUES
		('Simulation', simulation.simulation_id::text),
		('Candidate', simulation.snapshot),
		('Its SHA-256', encode(simulation.sha256, 'hex')),
		('Base', policy.report_base(simulation)),
		('Jobs of', CASE simulation.source WHEN 'decisions' THEN 'policy.decisions' ELSE 'a query' END),
		('Query', policy.clipped(simulation.query, 1000)),
		('Window', format('from %s, before %s', policy.moment(simulation.since), policy.moment(simulation.until))),
		('All history', CASE WHEN simulation.covers_history THEN 'yes' ELSE 'no' END),
		('Run by', simulation.run_by),
		('Started', policy.moment(simulation.started_at)),
		('Finished', policy.moment(simulation.finished_at))) o(fact, value)
	WHERE o.value IS NOT NULL
$$;
COMMENT ON FUNCTION policy.report_origin(policy.simulations) IS
	'What was replayed, on what, by whom and when, in a line each.';

CREATE FUNCTION policy.report_uncovered(simulation policy.simulations, OUT reason text, OUT jobs numeric)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT u.key, (u.value #>> '{}')::numeric
	FROM jsonb_each(simulation.unreplayable) u
	WHERE u.value <> '0'
	ORDER BY 2 DESC, 1
$$;
COMMENT ON FUNCTION policy.report_uncovered(policy.simulations) IS
	'Why jobs could not be replayed, and how many each.';

CREATE FUNCTION policy.report_decisions() RETURNS text[]
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT enum_range(NULL::@extschema@.policy_decision)::text[] $$;
COMMENT ON FUNCTION policy.report_decisions() IS
	'The decisions, from loosest to strictest.';

CREATE FUNCTION policy.report_matrix(
	matrix jsonb, OUT from_decision text, OUT to_decision text, OUT jobs numeric, OUT meaning text, OUT heat integer)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH cells AS (
		SELECT f.decision AS from_decision, t.decision AS to_decision, t.place - f.place AS step,
			coalesce((SELECT sum((m.item ->> 'jobs')::numeric) FROM jsonb_array_elements(matrix) m(item)
				WHERE m.item ->> 'from' = f.decision AND m.item ->> 'to' = t.decision), 0) AS jobs
		FROM unnest(policy.report_decisions()) WITH ORDINALITY f(decision, place)
			CROSS JOIN unnest(policy.report_decisions()) WITH ORDINALITY t(decision, place)
	)
	SELECT c.from_decision, c.to_decision, c.jobs,
		CASE sign(c.step) WHEN -1 THEN 'looser' WHEN 1 THEN 'stricter' ELSE 'as before' END,
		-- By orders of magnitude: one job among a million is to be seen.
		CASE WHEN c.jobs = 0 THEN 0
			ELSE greatest(1, ceil(4 * ln(c.jobs + 1) / ln(max(c.jobs) OVER () + 1)))::integer END
	FROM cells c
	ORDER BY array_position(policy.report_decisions(), c.from_decision),
		array_position(policy.report_decisions(), c.to_decision)
$$;
COMMENT ON FUNCTION policy.report_matrix(jsonb) IS
	'Every cell of a matrix, in order: how many jobs, which way, and how much of the most (0 to 4, by logarithm).';

CREATE FUNCTION policy.report_rules(
	simulation policy.simulations, OUT rule text, OUT gained numeric, OUT lost numeric, OUT most numeric)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT coalesce(r.item ->> 'rule', '(default)'), c.gained, c.lost, max(greatest(c.gained, c.lost)) OVER ()
	FROM jsonb_array_elements(simulation.rules) r(item)
		CROSS JOIN LATERAL (SELECT coalesce((r.item ->> 'gained')::numeric, 0) AS gained,
			coalesce((r.item ->> 'lost')::numeric, 0) AS lost) c
	WHERE c.gained + c.lost > 0
	ORDER BY c.gained + c.lost DESC, r.item ->> 'rule' COLLATE "C"
$$;
COMMENT ON FUNCTION policy.report_rules(policy.simulations) IS
	'The rules whose jobs differ, those with the most first.';

-- What the documents speak of tells which of a job's fields a reviewer looks for.
CREATE FUNCTION policy.report_words(simulation policy.simulations) RETURNS jsonb
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT coalesce(jsonb_object_agg(w.word, true), '{}')
	FROM policy.snapshots s
		CROSS JOIN LATERAL regexp_split_to_table(s.document::text COLLATE "C", '[^A-Za-z0-9_-]+') w(word)
	WHERE s.snapshot IN (simulation.snapshot, simulation.base_snapshot) AND w.word <> ''
$$;
COMMENT ON FUNCTION policy.report_words(policy.simulations) IS
	'The words of candidate and base, as the keys of an object.';

CREATE FUNCTION policy.report_fields(job jsonb, words jsonb, OUT field text, OUT value text)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH fields AS (
		SELECT CASE WHEN i.key IS NULL THEN o.key ELSE o.key || '.' || i.key END AS field,
			coalesce(i.key, o.key) AS name, coalesce(i.value, o.value) AS value
		FROM jsonb_each(CASE jsonb_typeof(job) WHEN 'object' THEN job ELSE jsonb_build_object('job', job) END) o
			LEFT JOIN LATERAL jsonb_each(CASE WHEN o.key IN ('payload', 'labels', 'mcp')
				AND jsonb_typeof(o.value) = 'object' THEN o.value ELSE '{}' END) i ON true
		WHERE o.key NOT IN ('topic', 'tenant_id', 'actor_id')
	), chosen AS (
		SELECT f.*, row_number() OVER (ORDER BY NOT words ? f.name, f.field NOT LIKE 'payload.%', f.field COLLATE "C") AS place,
			count(*) OVER () AS total
		FROM fields f
	)
	SELECT CASE WHEN c.place <= 8 THEN policy.clipped(c.field, 80) ELSE 'left out' END,
		CASE WHEN c.place <= 8 THEN policy.clipped(c.value #>> '{}', 160)
			ELSE format('%s more fields', policy.number(c.total - 8)) END
	FROM chosen c WHERE c.place <= 9
	ORDER BY c.place
$$;
COMMENT ON FUNCTION policy.report_fields(jsonb, jsonb) IS
	'A job''s fields, clipped: at most eight, those that the words name first, then the payload''s.';

-- The first of each kind of flip comes before the second of any: a thousand alike
-- do not hide the one that is not.
CREATE FUNCTION policy.report_flips(simulation_id bigint, rows integer)
	RETURNS TABLE (kind text, place bigint, decision_id bigint, job jsonb, gone boolean, topic text,
		tenant_id text, actor_id text, source text, evaluated_at timestamptz, why text, from_verdict text,
		to_verdict text, from_bounds text, to_bounds text)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH ranked AS (
		SELECT f.flip, f.kind <> 'loosened' AS kind_place,
			row_number() OVER (PARTITION BY f.kind, f.from_decision, f.to_decision, f.from_rule, f.to_rule
				ORDER BY f.flip) AS turn
		FROM policy.simulation_flips f WHERE f.simulation_id = report_flips.simulation_id
	), chosen AS (
		SELECT r.* FROM ranked r ORDER BY r.kind_place, r.turn, r.flip LIMIT report_flips.rows
	)
	SELECT f.kind, row_number() OVER (ORDER BY c.kind_place, c.turn, c.flip), f.decision_id, coalesce(d.job, f.job),
		d.decision_id IS NULL AND f.job IS NULL, f.topic, f.tenant_id, f.actor_id,
		CASE WHEN f.decision_id IS NULL THEN 'job ' || coalesce(f.job_key, f.flip::text)
			ELSE format('decision %s, %s %s', f.decision_id, f.job_table, f.job_key) END,
		f.evaluated_at, array_to_string(f.why, ', '),
		format('%s by %s: %s', f.from_decision, coalesce('rule ' || f.from_rule, 'the default'), policy.clipped(coalesce(f.from_reason, ''), 300)),
		format('%s by %s: %s', f.to_decision, coalesce('rule ' || f.to_rule, 'the default'), policy.clipped(coalesce(f.to_reason, ''), 300)),
		policy.clipped(nullif(f.from_constraints, '{}')::text, 300),
		policy.clipped(nullif(f.to_constraints, '{}')::text, 300)
	FROM chosen c
		JOIN policy.simulation_flips f ON f.simulation_id = report_flips.simulation_id AND f.flip = c.flip
		LEFT JOIN policy.decisions d ON d.decision_id = f.decision_id AND d.decided_at = f.decided_at
	ORDER BY c.kind_place, c.turn, c.flip
$$;
COMMENT ON FUNCTION policy.report_flips(bigint, integer) IS
	'So many flips of a simulation, loosened ones first, then the first of each kind; the job as evidence has it, masked.';
