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

CREATE FUNCTION policy.share(part numeric, whole numeric) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE WHEN coalesce(whole, 0) = 0 THEN NULL
		WHEN part > 0 AND part * 10000 < whole THEN 'below 0.01%'
		WHEN part < whole AND part * 10000 > whole * 9999 THEN 'above 99.99%'
		ELSE policy.number(100 * part / whole) || '%' END
$$;
COMMENT ON FUNCTION policy.share(numeric, numeric) IS
	'A part of a whole in percent, to read; NULL of nothing.';

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

-- The gate's own figures are exact; a reader wants percent and thousands apart.
CREATE FUNCTION policy.report_measure(check_name text, measure text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE WHEN measure !~ '^[0-9]{1,30}([.][0-9]{1,30})?$' THEN measure
		WHEN check_name IN ('flips', 'unreplayable') THEN policy.share(measure::numeric, 1)
		ELSE policy.number(measure::numeric) END
$$;
COMMENT ON FUNCTION policy.report_measure(text, text) IS
	'A check''s value or limit, to read.';

CREATE FUNCTION policy.report_checks(
	simulation policy.simulations, OUT name text, OUT result text, OUT value text, OUT bound text, OUT detail text)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT c.item ->> 'check', CASE WHEN (c.item -> 'passed') = 'true' THEN 'passes' ELSE 'FAILS' END,
		coalesce(policy.report_measure(c.item ->> 'check', c.item ->> 'value'), ''),
		coalesce(policy.report_measure(c.item ->> 'check', c.item ->> 'limit'), ''),
		coalesce(regexp_replace(c.item ->> 'detail', '(\d)(?=(\d\d\d)+(?!\d))', '\1,', 'g'), '')
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
			WHEN 'passed' THEN format('The gate passes: this replay does not keep %s from being published.', policy.clipped(simulation.snapshot, 100))
			WHEN 'acknowledged' THEN format('The gate fails, but its flips were acknowledged: they do not keep %s from being published.', policy.clipped(simulation.snapshot, 100))
			ELSE format('The gate fails: %s must not be published as it is.', policy.clipped(simulation.snapshot, 100)) END,
		array_remove(ARRAY[
			(SELECT 'It fails: ' || string_agg(format('%s %s (limit %s)', c.name, c.value, c.bound), ', ') || '.'
				FROM policy.report_checks(simulation) c WHERE c.result <> 'passes'),
			CASE WHEN simulation.replayed = 0
				THEN 'No job was replayed: this says nothing of what would change.' END,
			CASE WHEN simulation.acknowledged_by IS NOT NULL
				THEN format('Acknowledged by %s at %s: %s', simulation.acknowledged_by,
					policy.moment(simulation.acknowledged_at), coalesce(nullif(simulation.acknowledge_note, ''), 'no note')) END,
			CASE WHEN simulation.source IS DISTINCT FROM 'decisions'
				THEN 'Jobs of a query were replayed, not the recorded decisions: that alone lets nothing be published.' END,
			CASE WHEN simulation.base_snapshot IS DISTINCT FROM (SELECT a.snapshot FROM policy.active a)
				THEN format('What is active now (%s) is not what this was compared with: replay it again before publishing.',
					coalesce((SELECT format('%s, release %s', a.snapshot, a.release_id) FROM policy.active a), 'nothing')) END,
			CASE WHEN simulation.finished_at < statement_timestamp() - interval '24 hours'
				THEN 'This is older than 24 hours: replay it again before publishing.' END,
			CASE WHEN v.state = 'failed' AND simulation.acknowledged_by IS NULL AND simulation.source = 'decisions'
				THEN CASE WHEN v.excusable
					THEN format('Adjust it and replay again; or somebody with the duty release who did not stage it accepts exactly these flips: SELECT policy_acknowledge(%s, ''why'');', simulation.simulation_id)
					ELSE 'Adjust what it fails by and replay again: an acknowledgement excuses flips and loosened jobs alone.' END END
		], NULL)
	FROM (SELECT e.excusable, CASE
			WHEN (simulation.gate -> 'passed') = 'true' THEN 'passed'
			WHEN simulation.acknowledged_by IS NOT NULL AND e.excusable THEN 'acknowledged'
			ELSE 'failed' END AS state
		FROM (SELECT coalesce(bool_and(c.name IN ('flips', 'loosened')), false) AS excusable
			FROM policy.report_checks(simulation) c WHERE c.result <> 'passes') e) v
$$;
COMMENT ON FUNCTION policy.report_verdict(policy.simulations) IS
	'How the gate ended: passed, acknowledged or failed, the same in words, and what else bears on it.';

CREATE FUNCTION policy.report_base(simulation policy.simulations) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT coalesce(policy.clipped(simulation.base_snapshot, 100), 'no active policy') ||
		CASE WHEN simulation.base_release_id IS NULL THEN '' ELSE format(' (release %s)', simulation.base_release_id) END
$$;
COMMENT ON FUNCTION policy.report_base(policy.simulations) IS
	'What a simulation compares with, by name.';

CREATE FUNCTION policy.report_summary(simulation policy.simulations) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT format('%s, %s, replayed by %s at %s',
		CASE simulation.source WHEN 'decisions' THEN 'Recorded jobs' ELSE 'Jobs of a query' END,
		CASE WHEN simulation.covers_history THEN 'all history'
			ELSE format('from %s to before %s', policy.moment(simulation.since), policy.moment(simulation.until)) END,
		policy.clipped(simulation.run_by, 100), policy.moment(simulation.finished_at))
$$;
COMMENT ON FUNCTION policy.report_summary(policy.simulations) IS
	'What was replayed, by whom and when, in a line.';

CREATE FUNCTION policy.report_facts(simulation policy.simulations, OUT fact text, OUT value text, OUT detail text)
	RETURNS SETOF record
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	VALUES
		('Loosened', policy.number(simulation.loosened), 'jobs'),
		('Tightened', policy.number(simulation.tightened), 'jobs'),
		('Flips', policy.number(simulation.flips), 'jobs, ' || coalesce(policy.share(simulation.flips, simulation.replayed), 'none')
			|| ' of those replayed'),
		('New approvals', policy.number(simulation.newly_approval), 'jobs that needed none'),
		('Queue growth', CASE WHEN simulation.approvals_per_day > 0 THEN '+' ELSE '' END ||
			policy.number(simulation.approvals_per_day), 'approvals a day'),
		('Coverage', coalesce(policy.share(simulation.replayed, simulation.jobs), 'none'),
			format('of the jobs replayed, %s of %s', policy.number(simulation.replayed), policy.number(simulation.jobs)))
$$;
COMMENT ON FUNCTION policy.report_facts(policy.simulations) IS
	'What a simulation found: a figure each, and what it is of.';

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
		CASE sign(c.step) WHEN -1 THEN 'looser' WHEN 1 THEN 'stricter' ELSE 'the same' END,
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
		SELECT f.*, row_number() OVER (ORDER BY NOT words ? f.name, f.value = '"***"', f.field NOT LIKE 'payload.%', f.field COLLATE "C") AS place,
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

CREATE FUNCTION policy.report_reason(reason text, rule text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT policy.clipped(nullif(nullif(reason, ''), 'matched rule ' || rule), 300) $$;
COMMENT ON FUNCTION policy.report_reason(text, text) IS
	'A verdict''s reason, clipped; NULL where it says no more than the rule''s name.';

-- The first of each kind of flip comes before the second of any: a thousand alike
-- do not hide the one that is not.
CREATE FUNCTION policy.report_flips(simulation_id bigint, rows integer)
	RETURNS TABLE (kind text, place bigint, decision_id bigint, job jsonb, gone boolean, topic text,
		tenant_id text, actor_id text, source text, evaluated_at timestamptz, why text, from_decision text,
		to_decision text, from_by text, to_by text, from_reason text, to_reason text, from_bounds text, to_bounds text)
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
		f.from_decision::text, f.to_decision::text,
		coalesce('rule ' || f.from_rule, 'the default'), coalesce('rule ' || f.to_rule, 'the default'),
		policy.report_reason(f.from_reason, f.from_rule), policy.report_reason(f.to_reason, f.to_rule),
		CASE WHEN f.from_constraints <> f.to_constraints THEN policy.clipped(nullif(f.from_constraints, '{}')::text, 300) END,
		CASE WHEN f.from_constraints <> f.to_constraints THEN policy.clipped(nullif(f.to_constraints, '{}')::text, 300) END
	FROM chosen c
		JOIN policy.simulation_flips f ON f.simulation_id = report_flips.simulation_id AND f.flip = c.flip
		LEFT JOIN policy.decisions d ON d.decision_id = f.decision_id AND d.decided_at = f.decided_at
	ORDER BY c.kind_place, c.turn, c.flip
$$;
COMMENT ON FUNCTION policy.report_flips(bigint, integer) IS
	'So many flips of a simulation, loosened ones first, then the first of each kind; the job as evidence has it, masked.';
