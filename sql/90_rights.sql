--
-- Rights: PUBLIC has the pure functions of a document and nothing else.  Free,
-- unrecorded tries at the active policy would let an agent search for a spelling
-- that passes.
--

REVOKE ALL ON FUNCTION policy_evaluate(jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_evaluate(jsonb, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_simulate(jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_lint(text, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_test(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_diff(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_explain(jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_stage(text, policy_document, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_publish(text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_rollback(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_replay(text, timestamptz, timestamptz, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_replay_query(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_report(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_report_text(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_acknowledge(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_status() FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_submit(jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_claim(text, integer, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_heartbeat(bigint, uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_complete(bigint, uuid, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_fail(bigint, uuid, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_cancel(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_remediations(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_remediate(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_approve(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_reject(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_halt(jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_resume(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_approvals(boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_redecide(jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_seal() FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_verify() FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_maintain() FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_grant(text, text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_revoke(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_attach(regclass, text, text, text, jsonb, jsonb, jsonb, jsonb, text[], text, text, text, text, jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_detach(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_reattach_all() FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_redecide(regclass, jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION policy_cancel(regclass, text, text) FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA policy FROM PUBLIC;

-- Who adds a partition to a table that is attached makes its triggers.  They are
-- nothing but triggers, and refuse any other table than their attachment's.
GRANT EXECUTE ON FUNCTION policy.attached_insert(), policy.attached_update(), policy.attached_take(),
	policy.attached_record(), policy.attached_gone() TO PUBLIC;
