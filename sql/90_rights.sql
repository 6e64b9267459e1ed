--
-- Rights: PUBLIC has the pure functions of a document and nothing else.  Free,
-- unrecorded tries at the active policy would let an agent search for a spelling
-- that passes.
--

REVOKE ALL ON FUNCTION policy_evaluate(jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_evaluate(jsonb, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_simulate(jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_stage(text, policy_document, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_publish(text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_rollback(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_status() FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA policy FROM PUBLIC;
