--
-- Compare two snapshots, by what they mean
--

CREATE FUNCTION policy.diff(
	from_document policy_document, to_document policy_document,
	OUT rule text, OUT change text, OUT detail text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'policy_diff_documents'
	LANGUAGE C STABLE STRICT COST 10000 ROWS 20;
COMMENT ON FUNCTION policy.diff(policy_document, policy_document) IS
	'What policy_diff returns, of any two documents.';

CREATE FUNCTION policy_diff(
	from_snapshot text, to_snapshot text,
	OUT rule text, OUT change text, OUT detail text)
	RETURNS SETOF record
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM policy.require_snapshot(from_snapshot);
	PERFORM policy.require_snapshot(to_snapshot);
	RETURN QUERY SELECT d.rule, d.change, d.detail
		FROM policy.snapshots f CROSS JOIN policy.snapshots t
			CROSS JOIN LATERAL policy.diff(f.document, t.document) d
		WHERE f.snapshot = from_snapshot AND t.snapshot = to_snapshot;
END
$$;
COMMENT ON FUNCTION policy_diff(text, text) IS
	'What differs between two stored snapshots by meaning, from now on: a row for each rule that was added, removed, changed, renamed or moved, and with a NULL rule for combine, defaults, evidence and tests. detail: each part in words; whether the change, taken alone, only loosens, only tightens, may do both or decides as before; and example jobs that both policies have decided. No row where they mean the same. Raises PE002 for an unknown snapshot.';
