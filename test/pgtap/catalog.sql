\ir common.psql
SELECT plan(19);

CREATE TEMP VIEW members AS
	SELECT d.classid, d.objid
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'policy_engine';

-- Every function: name and arguments, what it returns, volatility (immutable,
-- stable, volatile), parallel safety (safe, unsafe), strict, security definer,
-- search_path.  Anything visible that changes has to change here.
SET LOCAL search_path = public;
CREATE TEMP TABLE expected (function text, result text, volatility text, parallel text, strict boolean, definer boolean, settings text);
INSERT INTO expected VALUES
	('policy_document_in(cstring)', 'policy_document', 'i', 's', true, false, NULL),
	('policy_document_out(policy_document)', 'cstring', 'i', 's', true, false, NULL),
	('policy_document_recv(internal)', 'policy_document', 's', 's', true, false, NULL),
	('policy_document_send(policy_document)', 'bytea', 's', 's', true, false, NULL),
	('policy_document_lt(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_le(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_eq(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_ne(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_ge(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_gt(policy_document,policy_document)', 'boolean', 'i', 's', true, false, NULL),
	('policy_document_cmp(policy_document,policy_document)', 'integer', 'i', 's', true, false, NULL),
	('policy_document_hash(policy_document)', 'integer', 'i', 's', true, false, NULL),
	('policy_document_hash_extended(policy_document,bigint)', 'bigint', 'i', 's', true, false, NULL),
	('policy_evaluate(jsonb)', 'policy_verdict', 's', 's', false, false, NULL),
	('policy_evaluate(jsonb,timestamp with time zone)', 'policy_verdict', 's', 's', false, false, NULL),
	('policy_evaluate(policy_document,jsonb,timestamp with time zone)', 'policy_verdict', 'i', 's', false, false, NULL),
	('policy_simulate(jsonb,text)', 'jsonb', 's', 's', false, false, NULL),
	('policy_validate(text)', 'SETOF record', 's', 's', false, false, NULL),
	('policy_lint(text,timestamp with time zone)', 'SETOF record', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_test_document(policy_document)', 'SETOF text', 's', 's', false, false, NULL),
	('policy_diff(text,text)', 'SETOF record', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy.diff(policy_document,policy_document)', 'SETOF record', 's', 'u', true, false, NULL),
	('policy_test(text)', 'SETOF text', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_explain(jsonb,text)', 'SETOF record', 's', 'u', false, false, NULL),
	('policy.explain(policy_document,jsonb,timestamp with time zone)', 'SETOF record', 's', 'u', false, false, NULL),
	('policy.test_failures(policy_document)', 'integer', 's', 's', true, false, NULL),
	('policy.tests_failed(text)', 'integer', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.lint(policy_document,text[],bigint[],timestamp with time zone)', 'SETOF record', 's', 'u', false, false, NULL),
	('policy.standing_rules(policy_document,timestamp with time zone,timestamp with time zone)', 'text[]', 'i', 's', true, false, NULL),
	('policy_stage(text,policy_document,text)', 'policy.snapshots', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_publish(text,text,text)', 'policy.releases', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_rollback(text,text)', 'policy.releases', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_submit(jsonb)', 'policy.jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_claim(text,integer,text[])', 'SETOF policy.jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_heartbeat(bigint,uuid)', 'policy.jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_complete(bigint,uuid,jsonb)', 'policy.jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_fail(bigint,uuid,text)', 'policy.jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_cancel(bigint,text)', 'policy.jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_remediations(bigint)', 'SETOF record', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_remediate(bigint,text)', 'policy.jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy.document_remediations(policy_document,text[])', 'SETOF record', 'i', 's', true, false, NULL),
	('policy.submit(jsonb,text)', 'policy.jobs', 'v', 'u', true, false, NULL),
	('policy.replaced_keys(text,text)', 'text[]', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.replacement(jsonb,text,text,jsonb,text[])', 'jsonb', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.offered(policy.jobs)', 'SETOF record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.remediation_problem(policy.jobs)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.job_to_remediate(bigint)', 'policy.jobs', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.remediated_job(policy.jobs,text)', 'policy.jobs', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.chosen_remediation(policy.jobs,text)', 'record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy_approve(bigint,text)', 'policy.approvals', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_reject(bigint,text)', 'policy.approvals', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_approvals(boolean)', 'TABLE', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_redecide(jsonb,text)', 'SETOF policy.jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_seal()', 'SETOF policy.seals', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_verify()', 'TABLE', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp; enable_nestloop=off'),
	('policy_maintain()', 'record', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_grant(text,text,jsonb)', 'void', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_revoke(text,text)', 'void', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_status()', 'record', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy.document_sha256(policy_document)', 'bytea', 'i', 's', true, false, NULL),
	('policy.check_document(policy_document)', 'void', 's', 's', true, false, NULL),
	('policy.check_snapshot()', 'trigger', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.check_release()', 'trigger', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.refuse_change()', 'trigger', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.replay_job(text,text,timestamp with time zone,boolean,jsonb,timestamp with time zone,bigint,text,text,policy_decision,text,boolean)', 'bytea', 's', 's', false, false, NULL),
	('policy.replay_jobs(bigint,text,text,timestamp with time zone,text,timestamp with time zone,timestamp with time zone)', 'jsonb', 'v', 'u', false, false, NULL),
	('policy.begin_simulation(text,text)', 'record', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.gate_check(text,boolean,text,text,text)', 'jsonb', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.gate_checks(policy.simulations)', 'jsonb', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.keep_simulation(policy.simulations,jsonb)', 'policy.simulations', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.keep_query_simulation(bigint,text,text,timestamp with time zone,text,jsonb)', 'policy.simulations', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy_replay(text,timestamp with time zone,timestamp with time zone,text)', 'policy.simulations', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_replay_query(text,text)', 'policy.simulations', 'v', 'u', false, false, NULL),
	('policy.clipped(text,integer)', 'text', 'i', 's', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.html(text)', 'text', 'i', 's', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.moment(timestamp with time zone)', 'text', 'i', 's', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.number(numeric)', 'text', 'i', 's', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_bar(text,numeric,numeric,text)', 'text', 'i', 's', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_base(policy.simulations)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_checks(policy.simulations)', 'SETOF record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_decisions()', 'text[]', 's', 's', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_facts(policy.simulations)', 'SETOF record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_fields(jsonb,jsonb)', 'SETOF record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_flips(bigint,integer)', 'TABLE', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_head(text)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_heading(text)', 'text', 'i', 's', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_html_coverage(policy.simulations)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_html_flips(policy.simulations,integer)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_html_matrix(jsonb,text)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_html_rules(policy.simulations)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_html_verdict(policy.simulations)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_matrix(jsonb)', 'SETOF record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_origin(policy.simulations)', 'SETOF record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_rules(policy.simulations)', 'SETOF record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_style()', 'text', 'i', 's', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_text_flips(policy.simulations,integer)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_text_matrix(jsonb)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_text_rules(policy.simulations)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_text_verdict(policy.simulations)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_uncovered(policy.simulations)', 'SETOF record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_verdict(policy.simulations)', 'record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.report_words(policy.simulations)', 'jsonb', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.reported(bigint)', 'policy.simulations', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.visible(text)', 'text', 'i', 's', true, false, 'search_path=pg_catalog, pg_temp'),
	('policy.wrapped(text,integer)', 'text', 'i', 's', true, false, 'search_path=pg_catalog, pg_temp'),
	('policy_report(bigint)', 'text', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_report_text(bigint)', 'text', 's', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_acknowledge(bigint,text)', 'policy.simulations', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy.require_tests(text)', 'void', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.pass_gate(text,policy.active)', 'record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.rollback_loosens(text,text)', 'bigint', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.record_override(policy.releases)', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.replays()', 'SETOF record', 'v', 'u', false, false, NULL),
	('policy.acknowledge_only()', 'trigger', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.release_made()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.release(text,text,text,bigint,text,bigint,bigint)', 'policy.releases', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.require_snapshot(text)', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.fail_mode()', 'text', 's', 's', false, false, NULL),
	('policy.velocity_problem()', 'text', 's', 's', false, false, NULL),
	('policy.tenant_key(text,jsonb)', 'text', 'i', 's', false, false, NULL),
	('policy.idempotency_hash(text,jsonb,text)', 'bytea', 'i', 's', false, false, NULL),
	('policy.transitions()', 'SETOF record', 'i', 's', false, false, NULL),
	('policy.guard_insert()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.guard_update()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.guard_record()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.guard_delete()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.guard_flush()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.approval_changed()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.caller()', 'record', 's', 'u', false, false, NULL),
	('policy.holds_role(text,text)', 'boolean', 's', 'u', true, false, NULL),
	('policy.holds_duty(text,text)', 'boolean', 's', 'u', true, false, NULL),
	('policy.has_owner_rights()', 'boolean', 's', 'u', false, false, NULL),
	('policy.verb_begins(text)', 'void', 'v', 'u', true, false, NULL),
	('policy.verb_ends()', 'void', 'v', 'u', false, false, NULL),
	('policy.settle(bigint,text,text)', 'text', 'v', 'u', false, false, NULL),
	('policy.job(policy.jobs)', 'jsonb', 's', 's', true, false, NULL),
	('policy.job_hash(jsonb)', 'bytea', 'i', 's', true, false, NULL),
	('policy.normalized(text)', 'text', 'i', 's', true, false, NULL),
	('policy.topic_matches(text,text[])', 'boolean', 'i', 's', false, false, NULL),
	('policy.attempts_allowed(jsonb)', 'integer', 'i', 's', true, false, NULL),
	('policy.approval_outlook(policy.approvals)', 'record', 's', 'u', true, false, NULL),
	('policy.check_words(text,text)', 'void', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.running_job(bigint,uuid)', 'policy.jobs', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.end_attempt(policy.jobs,boolean,text)', 'policy.jobs', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.approver(policy.approvals)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.check_open(policy.approvals,text)', 'void', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.cast_vote(policy.approvals,text,text,text)', 'policy.approvals', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.vote(bigint,text,text)', 'policy.approvals', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.redecide_values(jsonb,text)', 'text[]', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.check_redecide(jsonb)', 'void', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.is_last_asked(policy.approvals)', 'boolean', 's', 'u', true, false, 'search_path=pg_catalog, pg_temp'),
	('policy.decision_hash(policy.decisions)', 'bytea', 's', 'u', true, false, 'search_path=pg_catalog, pg_temp; TimeZone=UTC; DateStyle=ISO; bytea_output=hex; IntervalStyle=postgres'),
	('policy.merkle_root(bytea)', 'bytea', 'i', 's', true, false, NULL),
	('policy.seal_hash(policy.seals)', 'bytea', 's', 'u', true, false, 'search_path=pg_catalog, pg_temp; TimeZone=UTC; DateStyle=ISO; bytea_output=hex'),
	('policy.next_xid()', 'xid8', 'v', 'u', false, false, NULL),
	('policy.sealable_through()', 'bigint', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.make_seal(policy.seals,bigint)', 'policy.seals', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.verify_seal(policy.seals,policy.seals)', 'TABLE', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp; enable_nestloop=off'),
	('policy.make_partition(date)', 'integer', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.make_partitions()', 'integer', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp; lock_timeout=1s'),
	('policy.expire_approvals(integer)', 'integer', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.redecide_pending(integer)', 'record', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.time_out_jobs(integer)', 'integer', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.attached_begin()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.attached_insert()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.attached_update()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.attached_take()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.attached_record()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.attached_gone()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.attached_flush()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.outer_role()', 'regrole', 's', 'u', false, false, NULL),
	('policy.check_attached(regclass,text,text,text)', 'void', 'v', 'u', false, false, NULL),
	('policy.guard_triggers()', 'SETOF record', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.attached_partitions(regclass)', 'SETOF regclass', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.drop_guards(policy.attached_tables)', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.make_guards(policy.attached_tables)', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.table_columns(regclass)', 'text[]', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.table_name(regclass)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.default_job_key(regclass)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.detect_preset(regclass)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.attached_expressions(policy.attached_tables)', 'SETOF record', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.attached_form_problems(policy.attached_tables)', 'SETOF text', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.attached_table_problems(regclass)', 'SETOF text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.attached_problems(policy.attached_tables)', 'text[]', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.refuse_attachment(text,text[])', 'void', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.keep_attachment(policy.attached_tables)', 'policy.attached_tables', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_attach(regclass,text,text,text,jsonb,jsonb,jsonb,jsonb,text[],text,text,text,text,jsonb,text)', 'policy.attached_tables', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy_detach(regclass)', 'policy.attached_tables', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy.try_attachment(bigint)', 'text[]', 'v', 'u', false, false, NULL),
	('policy.halt_scope(jsonb)', 'jsonb', 'i', 's', false, false, NULL),
	('policy.halt_covers(jsonb,jsonb)', 'boolean', 'i', 's', true, false, NULL),
	('policy.halt_of(jsonb)', 'record', 's', 'u', true, false, NULL),
	('policy.halt_changed()', 'trigger', 'v', 'u', false, false, NULL),
	('policy.check_halt()', 'trigger', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.record_halt(policy.halts)', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy_halt(jsonb,text)', 'policy.halts', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_resume(bigint,text)', 'policy.halts', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy.lock_attached(text,text,boolean)', 'text', 'v', 'u', true, false, NULL),
	('policy.settle_attached(text,text,text,text,text)', 'text', 'v', 'u', false, false, NULL),
	('policy.lock_job(text,text,boolean)', 'text', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.settle_job(text,text,text,text)', 'text', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.decision_of(text,text)', 'bigint', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.for_table(text,regclass)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy_lookup(regclass,name,text,name)', 'text', 'v', 'u', true, false, NULL),
	('policy.attached_name(regclass)', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy_redecide(regclass,jsonb,text)', 'SETOF policy.guarded_jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy_cancel(regclass,text,text)', 'policy.guarded_jobs', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy.resume_attached()', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.missing_guards(policy.attached_tables)', 'SETOF text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.attachment_changes(policy.attached_tables)', 'SETOF text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.check_attachment(policy.attached_tables)', 'record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.attachment_warning()', 'text', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.remake_attachment(bigint)', 'void', 'v', 'u', false, true, 'search_path=pg_catalog, pg_temp'),
	('policy.reattach(policy.attached_tables)', 'text', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy_reattach_all()', 'SETOF record', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.forget_attached(text)', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.pass_over(text,text,text,text)', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.duty_rights()', 'SETOF record', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.check_identity(text,jsonb)', 'void', 'i', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.check_duty(text,text)', 'void', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.expected_triggers()', 'SETOF record', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.first_decision_since(timestamp with time zone)', 'bigint', 's', 'u', false, false, 'search_path=pg_catalog, pg_temp'),
	('policy.role_named(text)', 'regrole', 's', 'u', true, false, 'search_path=pg_catalog, pg_temp'),
	('policy.give_rights(text)', 'void', 'v', 'u', false, false, 'search_path=pg_catalog, pg_temp');
CREATE TEMP VIEW found AS
	SELECT p.oid::regprocedure::text AS function, pg_get_function_result(p.oid) AS result,
		p.provolatile::text AS volatility, p.proparallel::text AS parallel, p.proisstrict AS strict,
		p.prosecdef AS definer, array_to_string(p.proconfig, '; ') AS settings
	FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;
-- pg_get_function_result() spells out a table: only that it is a set counts.
SELECT bag_eq($$SELECT function, CASE WHEN result LIKE 'TABLE(%' AND function = 'policy_validate(text)' THEN 'SETOF record' WHEN result LIKE 'TABLE(%' THEN 'TABLE' ELSE result END,
		volatility, parallel, strict, definer, settings FROM found$$, 'SELECT * FROM expected',
	'the functions are those that are listed, as they are listed');

SELECT is((SELECT array_agg(function ORDER BY function) FROM found WHERE NOT EXISTS (
		SELECT FROM pg_proc p WHERE p.oid = function::regprocedure AND (p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
			OR settings LIKE 'search_path=pg\_catalog, pg\_temp%'))), NULL,
	'every SQL and PL/pgSQL function pins search_path = pg_catalog, pg_temp');
SELECT is((SELECT array_agg(p.oid::regprocedure) FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
		WHERE p.proname LIKE 'policy\_evaluate' AND (p.procost < 2 OR p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c'))),
	NULL, 'policy_evaluate is C and has a cost');
SELECT is(pg_get_function_arguments(f::regprocedure), arguments, 'the arguments of ' || f || ' have the names that are promised')
FROM (VALUES
	('policy_evaluate(jsonb)', 'job jsonb'),
	('policy_evaluate(jsonb,timestamptz)', 'job jsonb, at timestamp with time zone'),
	('policy_evaluate(policy_document,jsonb,timestamptz)', 'document policy_document, job jsonb, at timestamp with time zone'),
	('policy_simulate(jsonb,text)', 'request jsonb, snapshot text DEFAULT NULL::text'),
	('policy_validate(text)', 'source text, OUT line integer, OUT col integer, OUT severity text, OUT code text, OUT message text, OUT hint text'),
	('policy_stage(text,policy_document,text)', 'snapshot text, document policy_document, note text'),
	('policy_publish(text,text,text)', 'snapshot text, note text, override_reason text DEFAULT NULL::text'),
	('policy_rollback(text,text)', 'target_snapshot text, note text')
) AS t(f, arguments);

--
-- Every object says what it is.
--
-- A table's row type and a type's array are members of later versions; they are
-- what the table or the type is.
SELECT is((SELECT string_agg(pg_describe_object(m.classid, m.objid, 0), E'\n' ORDER BY 1) FROM members m
			LEFT JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
			LEFT JOIN pg_class c ON c.oid = t.typrelid
		WHERE coalesce(c.relkind = 'c', true) AND coalesce(t.typcategory <> 'A', true) AND m.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_operator'::regclass,
			'pg_opclass'::regclass, 'pg_namespace'::regclass, 'pg_type'::regclass)
		AND coalesce(obj_description(m.objid, m.classid::regclass::name), '') = ''), NULL,
	'every function, table, view, operator, operator class, schema and type has a comment');
SELECT is((SELECT string_agg(a.attrelid::regclass || '.' || a.attname, E'\n' ORDER BY 1)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE (EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid AND c.relkind IN ('r', 'v', 'p'))
			OR EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = c.reltype AND c.relkind = 'c'))
		AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(col_description(a.attrelid, a.attnum), '') = ''), NULL,
	'every column of a table, a view and a composite type has a comment');
SELECT is((SELECT string_agg(t.tgrelid::regclass || '.' || t.tgname, E'\n' ORDER BY 1)
		FROM pg_trigger t JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = t.tgrelid
		WHERE NOT t.tgisinternal AND coalesce(obj_description(t.oid, 'pg_trigger'), '') = ''), NULL,
	'every trigger has a comment');
SELECT is((SELECT array_agg(c.oid::regclass::text ORDER BY c.relname) FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid),
	'{policy.active,policy.approval_id_seq,policy.approval_votes,policy.approvals,policy.attach_presets,policy.attached_tables,policy.attachment_id_seq,policy.decision_id_seq,policy.decision_mix,policy.decisions,policy.decisions_default,policy.duties,policy.guarded_jobs,policy.halt_id_seq,policy.halt_signal,policy.halt_stops,policy.halted_running,policy.halts,policy.held_duties,policy.job_id_seq,policy.job_transitions,policy.jobs,policy.maintenance,policy_attachments,policy.release_signal,policy.releases,policy.remediations,policy.replay_progress,policy.rule_stats,policy.seals,policy.simulation_flips,policy.simulation_id_seq,policy.simulations,policy.snapshots,policy.traces}',
	'the tables, views and sequences are those that are listed');
SELECT is((SELECT array_agg(t.tgrelid::regclass || '.' || t.tgname ORDER BY t.tgrelid::regclass::text, t.tgname)
		FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN ('policy.snapshots'::regclass, 'policy.releases'::regclass)
		AND t.tgenabled = 'A'),
	'{policy.releases.check_release,policy.releases.refuse_change,policy.releases.refuse_truncate,policy.releases.release_made,policy.snapshots.check_snapshot,policy.snapshots.refuse_change,policy.snapshots.refuse_truncate}',
	'the triggers fire always, on a replica too');

--
-- The extension
--
SELECT is((SELECT extrelocatable FROM pg_extension WHERE extname = 'policy_engine'), false,
	'the extension cannot be moved to another schema, for it names its own');
SELECT is((SELECT count(*) FROM pg_depend d JOIN pg_extension e ON e.oid = d.objid AND d.classid = 'pg_extension'::regclass
		WHERE e.extname = 'policy_engine' AND d.refclassid = 'pg_extension'::regclass), 0::bigint, 'it needs no other extension');
SELECT ok(NOT EXISTS (SELECT FROM regexp_split_to_table(current_setting('shared_preload_libraries'), ',') l WHERE trim(l) = 'policy_engine'),
	'it needs no shared_preload_libraries');

SELECT * FROM finish();
ROLLBACK;
