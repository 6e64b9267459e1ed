--
-- policy_report_text: the same for a terminal of 80 columns
--

CREATE FUNCTION policy.wrapped(value text, indent integer) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	-- Neither an escape sequence nor a line break of a job's reaches the terminal.
	rest text := policy.visible(policy.clipped(wrapped.value, 2000));
	room CONSTANT integer := 79 - wrapped.indent;
	lines text[] := '{}';
	taken integer;
BEGIN
	WHILE length(rest) > room LOOP
		taken := room + 1 - strpos(reverse(left(rest, room + 1)), ' ');
		IF taken < room / 2 OR taken > room THEN
			taken := room;
		END IF;
		lines := lines || rtrim(left(rest, taken));
		rest := ltrim(substr(rest, taken + 1));
	END LOOP;
	RETURN repeat(' ', wrapped.indent) || array_to_string(lines || rest, E'\n' || repeat(' ', wrapped.indent));
END
$$;
COMMENT ON FUNCTION policy.wrapped(text, integer) IS
	'The text in lines of at most 79 characters, indented, with unseen characters shown.';

CREATE FUNCTION policy.report_heading(value text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT E'\n' || upper(value) || E'\n' || repeat('-', length(value)) $$;
COMMENT ON FUNCTION policy.report_heading(text) IS 'A heading for a terminal.';

CREATE FUNCTION policy.report_text_verdict(simulation policy.simulations) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT concat_ws(E'\n',
		policy.wrapped(upper(v.state) || '. ' || v.verdict, 0),
		(SELECT string_agg(policy.wrapped(r.remark, 2), E'\n' ORDER BY r.place)
			FROM unnest(v.remarks) WITH ORDINALITY r(remark, place)),
		'',
		(SELECT string_agg(rpad(f.fact, 22) || f.value || ' ' || f.detail, E'\n') FROM policy.report_facts(simulation) f),
		policy.report_heading('The gate'),
		(SELECT string_agg(policy.wrapped(format('[%s] %s: %s%s', c.result, c.name, c.value,
				coalesce(', limit ' || nullif(c.bound, ''), '')), 0)
			|| coalesce(E'\n' || policy.wrapped(nullif(c.detail, ''), 9), ''), E'\n')
			FROM policy.report_checks(simulation) c))
	FROM policy.report_verdict(simulation) v
$$;
COMMENT ON FUNCTION policy.report_text_verdict(policy.simulations) IS
	'For a terminal: the gate''s verdict, the figures that matter, and each check.';

-- The columns have the decisions' numbers: five names do not fit beside each other.
CREATE FUNCTION policy.report_text_matrix(matrix jsonb) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT concat_ws(E'\n',
		rpad('from \ to', 27) || (SELECT string_agg(lpad(d.place::text, 10), '' ORDER BY d.place)
			FROM unnest(policy.report_decisions()) WITH ORDINALITY d(decision, place)),
		(SELECT string_agg(r.line, E'\n' ORDER BY r.place) FROM (
			SELECT rpad(format('%s %s', d.place, d.decision), 27) || string_agg(
					lpad(CASE WHEN m.jobs = 0 THEN '.' ELSE CASE m.meaning WHEN 'looser' THEN '-' WHEN 'stricter' THEN '+' ELSE '' END
						|| CASE WHEN m.jobs < 1e8 THEN m.jobs::text ELSE round(m.jobs / 1e6) || 'M' END END, 10), '' ORDER BY array_position(policy.report_decisions(), m.to_decision)) AS line, d.place
			FROM unnest(policy.report_decisions()) WITH ORDINALITY d(decision, place)
				JOIN policy.report_matrix(matrix) m ON m.from_decision = d.decision
			GROUP BY d.place, d.decision) r),
		'- looser, + stricter')
$$;
COMMENT ON FUNCTION policy.report_text_matrix(jsonb) IS
	'For a terminal: a matrix of decisions.';

CREATE FUNCTION policy.report_text_rules(simulation policy.simulations) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH rules AS MATERIALIZED (
		SELECT r.*, row_number() OVER () AS place FROM policy.report_rules(simulation) r
	)
	SELECT CASE WHEN NOT EXISTS (SELECT FROM rules) THEN 'No rule gains or loses a job.' ELSE concat_ws(E'\n',
		(SELECT string_agg(concat_ws(E'\n', policy.wrapped(r.rule, 0),
				rtrim('  gained ' || lpad(policy.number(r.gained), 13) || ' ' || repeat('#', ceil(50 * r.gained / r.most)::integer)),
				rtrim('  lost   ' || lpad(policy.number(r.lost), 13) || ' ' || repeat('#', ceil(50 * r.lost / r.most)::integer))),
				E'\n' ORDER BY r.place)
			FROM rules r WHERE r.place <= 30),
		(SELECT format('%s more rules with fewer jobs are left out.', policy.number(count(*)))
			FROM rules r WHERE r.place > 30 HAVING count(*) > 0)) END
$$;
COMMENT ON FUNCTION policy.report_text_rules(policy.simulations) IS
	'For a terminal: the rules with the most jobs gained and lost.';

CREATE FUNCTION policy.report_text_flips(simulation policy.simulations, rows integer) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH words AS MATERIALIZED (SELECT policy.report_words(simulation) AS known),
	flips AS MATERIALIZED (SELECT f.* FROM policy.report_flips(simulation.simulation_id, rows) f)
	SELECT CASE WHEN NOT EXISTS (SELECT FROM flips) THEN 'No job is decided otherwise.' ELSE concat_ws(E'\n',
		(SELECT string_agg(concat_ws(E'\n',
				policy.wrapped(format('%s. %s (%s): topic %s, tenant %s, actor %s', f.place, f.kind, f.why,
					coalesce(f.topic, 'unknown'), coalesce(f.tenant_id, 'unknown'), coalesce(f.actor_id, 'unknown')), 0),
				policy.wrapped(format('%s, at %s', f.source, policy.moment(f.evaluated_at)), 3),
				policy.wrapped('base:      ' || concat_ws(' ', f.from_decision, 'by', f.from_by || CASE WHEN f.from_reason IS NULL THEN '' ELSE ':' END, f.from_reason, f.from_bounds), 3),
				policy.wrapped('candidate: ' || concat_ws(' ', f.to_decision, 'by', f.to_by || CASE WHEN f.to_reason IS NULL THEN '' ELSE ':' END, f.to_reason, f.to_bounds), 3),
				CASE WHEN f.gone THEN '   Its evidence is gone.' ELSE (
					SELECT string_agg(policy.wrapped(format('%s: %s', p.field, p.value), 5), E'\n')
					FROM words w CROSS JOIN LATERAL policy.report_fields(f.job, w.known) p) END), E'\n' ORDER BY f.place)
			FROM flips f),
		(SELECT format(E'%s more flips are left out:\nSELECT * FROM policy.simulation_flips WHERE simulation_id = %s',
				policy.number(simulation.flips - count(*)), simulation.simulation_id)
			FROM flips HAVING simulation.flips > count(*))) END
$$;
COMMENT ON FUNCTION policy.report_text_flips(policy.simulations, integer) IS
	'For a terminal: so many of the jobs that are decided otherwise, and how many are left out.';

CREATE FUNCTION policy_report_text(simulation_id bigint) RETURNS text
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	simulation policy.simulations := policy.reported(policy_report_text.simulation_id);
BEGIN
	RETURN concat_ws(E'\n',
		policy.wrapped(format('Impact of %s on %s', policy.clipped(simulation.snapshot, 100), policy.report_base(simulation)), 0),
		policy.wrapped(policy.report_summary(simulation), 0),
		'',
		policy.report_text_verdict(simulation),
		policy.report_heading('From what the base says now to what the candidate says'),
		policy.report_text_matrix(simulation.matrix),
		policy.report_heading('From what was recorded then to what the candidate says'),
		policy.report_text_matrix(simulation.matrix_then),
		policy.report_heading('By rule'),
		policy.report_text_rules(simulation),
		policy.report_heading('Jobs decided otherwise'),
		policy.report_text_flips(simulation, 50),
		policy.report_heading('Coverage'),
		format('%s of %s jobs were replayed.', policy.number(simulation.replayed), policy.number(simulation.jobs)),
		(SELECT string_agg(policy.wrapped(format('not replayed, %s: %s', u.reason, policy.number(u.jobs)), 2), E'\n')
			FROM policy.report_uncovered(simulation) u),
		policy.report_heading('What was replayed'),
		(SELECT string_agg(policy.wrapped(format('%s: %s', o.fact, o.value), 0), E'\n') FROM policy.report_origin(simulation) o));
END
$$;
COMMENT ON FUNCTION policy_report_text(bigint) IS
	'A simulation as text for a terminal of 80 columns: what policy_report shows, with at most 50 flips. Raises as policy_report.';
