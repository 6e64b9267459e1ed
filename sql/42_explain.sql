--
-- Test a document: its own tests, as TAP
--

CREATE FUNCTION policy_test_document(document policy_document) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'policy_test_document'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION policy_test_document(policy_document) IS
	'Runs a document''s own tests against it, and returns TAP, a line a row: the plan, ok or not ok for each test, as comments what differs, and at the end which rules, conditions and exceptions no test touches. Consults no setting and no counter (a velocity is unknown). A NULL document is a test that fails.';

CREATE FUNCTION policy.test_failures(document policy_document) RETURNS integer
	AS 'MODULE_PATHNAME', 'policy_test_failures'
	LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION policy.test_failures(policy_document) IS
	'How many of a document''s own tests fail.';

CREATE FUNCTION policy.tests_failed(snapshot text) RETURNS integer
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM policy.require_snapshot(tests_failed.snapshot);
	RETURN (SELECT policy.test_failures(s.document) FROM policy.snapshots s
		WHERE s.snapshot = tests_failed.snapshot);
END
$$;
COMMENT ON FUNCTION policy.tests_failed(text) IS
	'How many of a stored snapshot''s own tests fail. Raises PE002 for an unknown snapshot.';

CREATE FUNCTION policy_test(snapshot text) RETURNS SETOF text
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM policy.require_snapshot(policy_test.snapshot);
	RETURN QUERY SELECT t.line FROM policy.snapshots s
		CROSS JOIN LATERAL @extschema@.policy_test_document(s.document) t(line)
		WHERE s.snapshot = policy_test.snapshot;
END
$$;
COMMENT ON FUNCTION policy_test(text) IS
	'Runs a stored snapshot''s own tests: what policy_test_document returns of its document. Raises PE002 for an unknown snapshot.';

--
-- Explain a verdict, rule by rule
--

CREATE FUNCTION policy_explain(
	job jsonb, snapshot text DEFAULT NULL,
	OUT rule text, OUT decision policy_decision, OUT applies boolean,
	OUT failed_on text, OUT detail text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'policy_explain'
	LANGUAGE C STABLE COST 10000 ROWS 100;
COMMENT ON FUNCTION policy_explain(jsonb, text) IS
	'Why each rule of a stored snapshot (NULL: the active one) does or does not apply to a job now: a row a rule, and one with a NULL rule for the default where it counts. applies: the verdict lists it. failed_on: the first part that fails, with the pattern and the value in detail. Those that apply first, by standing; then the nearest misses. One row alone for a job that is invalid, and where no policy is active. Raises PE002 for an unknown snapshot.';

CREATE FUNCTION policy.explain(
	document policy_document, job jsonb, at timestamptz,
	OUT rule text, OUT decision policy_decision, OUT applies boolean,
	OUT failed_on text, OUT detail text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'policy_explain_document'
	LANGUAGE C STABLE COST 10000 ROWS 100;
COMMENT ON FUNCTION policy.explain(policy_document, jsonb, timestamptz) IS
	'What policy_explain returns, of any document and time; consults no counter (a velocity is unknown). Raises null_value_not_allowed without a document or a time.';
