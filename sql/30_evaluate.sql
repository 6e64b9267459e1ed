--
-- Evaluate: pure, writes nothing
--

CREATE FUNCTION policy_evaluate(job jsonb) RETURNS policy_verdict
	AS 'MODULE_PATHNAME', 'policy_evaluate_active'
	LANGUAGE C STABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION policy_evaluate(jsonb) IS
	'Decides a job under the active policy at the statement''s time. Never NULL: an invalid job, no active policy and an unavailable one are DENY, with the reason. Raises nothing for what a job holds.';

CREATE FUNCTION policy_evaluate(job jsonb, at timestamptz) RETURNS policy_verdict
	AS 'MODULE_PATHNAME', 'policy_evaluate_active_at'
	LANGUAGE C STABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION policy_evaluate(jsonb, timestamptz) IS
	'Decides a job under the active policy at another time.';

CREATE FUNCTION policy_evaluate(document policy_document, job jsonb, at timestamptz)
	RETURNS policy_verdict
	AS 'MODULE_PATHNAME', 'policy_evaluate_document'
	LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION policy_evaluate(policy_document, jsonb, timestamptz) IS
	'Decides a job under any document at a time; consults no setting and no counter (a velocity is unknown).';

CREATE FUNCTION policy_simulate(request jsonb, snapshot text DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'policy_simulate'
	LANGUAGE C STABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION policy_simulate(jsonb, text) IS
	'Answers {"tenant_id": ..., "job": {...}}, or a bare job, as a stored snapshot would (NULL: the active one) with decision, reason, constraints and matched_rule; then matched_rules where several apply, monitored_rules where any does, and retry_after_sec for THROTTLE. Raises PE002 for an unknown snapshot.';

CREATE FUNCTION policy_validate(
	source text,
	OUT line integer, OUT col integer, OUT severity text,
	OUT code text, OUT message text, OUT hint text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'policy_validate'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION policy_validate(text) IS
	'Every error of a policy''s text, or every lint warning where it has no error: line and column (from 1, in characters), severity (error, warning), a stable code, the message and a hint. No row means clean. Raises nothing for what the text holds.';
