--
-- Lint that looks at what was recorded
--

CREATE FUNCTION policy.lint(
	document policy_document, quiet text[], decisions bigint[], since timestamptz,
	OUT line integer, OUT col integer, OUT severity text,
	OUT code text, OUT message text, OUT hint text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'policy_lint_document'
	LANGUAGE C STABLE COST 1000 ROWS 10;
COMMENT ON FUNCTION policy.lint(policy_document, text[], bigint[], timestamptz) IS
	'What policy_validate warns of, and the rules quiet, which none of so many decisions since then list.';

CREATE FUNCTION policy.standing_rules(document policy_document, since timestamptz, until timestamptz)
	RETURNS text[]
	AS 'MODULE_PATHNAME', 'policy_standing_rules'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION policy.standing_rules(policy_document, timestamptz, timestamptz) IS
	'The ids of a document''s rules that are enabled, and valid from one time beyond another.';

CREATE FUNCTION policy_lint(
	snapshot text, since timestamptz DEFAULT NULL,
	OUT line integer, OUT col integer, OUT severity text,
	OUT code text, OUT message text, OUT hint text)
	RETURNS SETOF record
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	beginning timestamptz := coalesce(policy_lint.since, statement_timestamp() - interval '30 days');
	document @extschema@.policy_document;
	quiet text[];
	decisions bigint[];
BEGIN
	PERFORM policy.require_snapshot(policy_lint.snapshot);
	SELECT s.document INTO document FROM policy.snapshots s WHERE s.snapshot = policy_lint.snapshot;
	-- A decision says something of the rules of the snapshot that it was made under.
	WITH made AS MATERIALIZED (
		SELECT d.snapshot, count(*) AS decisions
		FROM policy.decisions d WHERE d.decided_at >= beginning AND d.snapshot IS NOT NULL
		GROUP BY 1
	), asked AS (
		SELECT r.rule, sum(m.decisions)::bigint AS decisions
		FROM made m JOIN policy.snapshots s ON s.snapshot = m.snapshot
			CROSS JOIN LATERAL unnest(policy.standing_rules(s.document, beginning, statement_timestamp())) r(rule)
		GROUP BY 1
	), hit AS (
		SELECT DISTINCT r.rule
		FROM policy.decisions d CROSS JOIN LATERAL unnest(d.matched_rules || d.monitored_rules) r(rule)
		WHERE d.decided_at >= beginning
	)
	SELECT array_agg(a.rule ORDER BY a.rule), array_agg(a.decisions ORDER BY a.rule)
		INTO quiet, decisions
	FROM asked a
	WHERE NOT EXISTS (SELECT FROM hit h WHERE h.rule = a.rule)
		AND a.rule = ANY (policy.standing_rules(document, beginning, statement_timestamp()));
	RETURN QUERY SELECT l.* FROM policy.lint(document, quiet, decisions, beginning) l;
END
$$;
COMMENT ON FUNCTION policy_lint(text, timestamptz) IS
	'What policy_validate warns of in a stored snapshot, and besides its rules that no recorded decision lists since a time (NULL: 30 days ago): matched_rules and monitored_rules of the decisions that were made under a snapshot with that rule. Nothing recorded, nothing said. Raises PE002 for an unknown snapshot.';
