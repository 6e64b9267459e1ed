\ir common.psql
SELECT plan(270);
GRANT USAGE ON SCHEMA helper TO PUBLIC;

CREATE TEMP TABLE all_duties (duty text);
INSERT INTO all_duties VALUES ('evaluate'), ('submit'), ('work'), ('approve'), ('author'), ('release'), ('override'), ('audit'), ('operate'), ('proxy'), ('admin');
SELECT format('CREATE ROLE policy_test_%s LOGIN', duty) FROM all_duties \gexec
CREATE ROLE policy_test_plain LOGIN;
CREATE ROLE policy_test_other LOGIN;
SELECT policy_stage('v1', 'version: v1
defaults: {decision: allow}
rules:
  - {id: ask, match: {topics: [ask]}, decision: require_approval}', NULL) \g /dev/null
SELECT policy_publish('v1', NULL) \g /dev/null
SELECT policy_maintain() \g /dev/null

CREATE TEMP VIEW members AS
	SELECT d.classid, d.objid
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'policy_engine';
-- Functions that a role may execute, but for those that everybody may.
CREATE FUNCTION functions_of(role text) RETURNS text[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(f.function ORDER BY f.function), '{}')
	FROM (SELECT p.oid::regprocedure::text COLLATE "C" AS function FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
		WHERE has_function_privilege(role, p.oid, 'EXECUTE') AND NOT has_function_privilege('policy_test_plain', p.oid, 'EXECUTE')) f
$$;
-- What it may do with the tables, views and sequences; columns where it is not the whole table.
CREATE FUNCTION tables_of(role text) RETURNS text[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(t.grant ORDER BY t.grant), '{}')
	FROM (SELECT format('%s %s', c.relname, p) COLLATE "C" FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
		WHERE c.relnamespace = 'policy'::regnamespace AND c.relkind IN ('r', 'v', 'p', 'm') AND has_table_privilege(role, c.oid, p)
		UNION ALL SELECT format('%s %s', c.relname, p) FROM pg_class c, unnest('{USAGE,SELECT,UPDATE}'::text[]) p
		WHERE c.relnamespace = 'policy'::regnamespace AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(role, c.oid, p) END
		UNION ALL SELECT format('%s %s (%s)', c.relname, p, string_agg(a.attname, ',' ORDER BY a.attnum)) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid,
			unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) p
		WHERE c.relnamespace = 'policy'::regnamespace AND c.relkind IN ('r', 'v', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped
			AND NOT has_table_privilege(role, c.oid, p) AND has_column_privilege(role, c.oid, a.attnum, p)
		GROUP BY c.relname, p) t("grant")
$$;
CREATE FUNCTION try(login text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	first text;
BEGIN
	PERFORM set_config('session_authorization', login, true);
	EXECUTE statement INTO first;
	RAISE SQLSTATE 'ZZZZZ' USING MESSAGE = coalesce(first, 'NULL');
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	-- All that it has done is undone.
	RETURN 'done: ' || SQLERRM;
WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
CREATE FUNCTION as_login(login text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('session_authorization', login, true);
	EXECUTE statement INTO result;
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;

--
-- Without a duty: the pure functions of a document, and nothing else
--
SELECT is((SELECT array_agg(p.oid::regprocedure::text ORDER BY 1) FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	WHERE has_function_privilege('policy_test_plain', p.oid, 'EXECUTE') AND p.proname !~ '^policy_document_' AND p.prorettype <> 'trigger'::regtype),
	'{"policy_evaluate(policy_document,jsonb,timestamp with time zone)",policy_validate(text),policy_test_document(policy_document),"policy_lookup(regclass,name,text,name)"}', 'PUBLIC may evaluate, test and validate a document of its own');
SELECT is(tables_of('policy_test_plain'), '{}', 'PUBLIC has no right on any table, view, sequence, column or partition');
SELECT is(has_schema_privilege('policy_test_plain', 'policy', p), false, 'PUBLIC has no ' || p || ' of the schema policy') FROM unnest('{USAGE,CREATE}'::text[]) p;
SELECT is((SELECT count(*) FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	WHERE p.pronamespace = 'policy'::regnamespace AND has_function_privilege('policy_test_plain', p.oid, 'EXECUTE') AND p.prorettype <> 'trigger'::regtype), 0::bigint,
	'PUBLIC may execute nothing in it, but make a partition''s triggers');

--
-- What each duty opens
--
CREATE TEMP TABLE expected (duty text, functions text[], tables text[]);
INSERT INTO expected VALUES
	('evaluate', '{}', '{}'),
	('submit', '{policy_submit(jsonb),"policy_cancel(bigint,text)",policy_remediations(bigint),"policy_remediate(bigint,text)","policy.idempotency_hash(text,jsonb,text)"}', '{jobs SELECT,jobs INSERT,
"jobs UPDATE"}'),
	('work', '{"policy_claim(text,integer,text[])","policy_heartbeat(bigint,uuid)","policy_complete(bigint,uuid,jsonb)","policy_fail(bigint,uuid,text)"}', '{}'),
	('approve', '{"policy_approve(bigint,text)","policy_reject(bigint,text)",policy_approvals(boolean)}',
		'{}'),
	('author', '{"policy.replay_job(text,text,timestamp with time zone,boolean,jsonb,timestamp with time zone,bigint,text,text,policy_decision,text,boolean)",policy.replays(),policy_report(bigint),policy_report_text(bigint),"policy_stage(text,policy_document,text)","policy_simulate(jsonb,text)",policy_test(text),"policy_diff(text,text)","policy_explain(jsonb,text)","policy_lint(text,timestamp with time zone)","policy_replay(text,timestamp with time zone,timestamp with time zone,text)","policy_replay_query(text,text)"}', '{replay_progress SELECT,simulations SELECT,simulation_flips SELECT,snapshots SELECT,releases SELECT,active SELECT}'),
	('release', '{policy.replays(),policy_report(bigint),policy_report_text(bigint),"policy_publish(text,text,text)","policy_rollback(text,text)","policy_acknowledge(bigint,text)",policy_test(text),"policy_diff(text,text)",policy_approvals(boolean)}',
		'{replay_progress SELECT,simulations SELECT,simulation_flips SELECT,snapshots SELECT,releases SELECT,active SELECT,decision_mix SELECT}'),
	('override', '{}', '{}'),
	('audit', '{"policy_diff(text,text)","policy_explain(jsonb,text)",policy.replays(),policy_remediations(bigint),policy_report(bigint),policy_report_text(bigint),policy_approvals(boolean),"policy_lint(text,timestamp with time zone)",policy_verify(),policy.transitions(),policy.job(policy.jobs),policy.job_hash(jsonb),policy.is_last_asked(policy.approvals),"policy.halt_covers(jsonb,jsonb)",policy.guard_triggers(),policy.attached_partitions(regclass),policy.table_columns(regclass),policy.table_name(regclass),"policy.trigger_type(text,boolean)","policy.hidden_rows(regclass,regrole)",policy.table_is_gone(policy.attached_tables),policy.attacher_problems(policy.attached_tables),policy.missing_guards(policy.attached_tables),policy.attachment_changes(policy.attached_tables),policy.check_attachment(policy.attached_tables)}',
		'{replay_progress SELECT,simulations SELECT,simulation_flips SELECT,snapshots SELECT,releases SELECT,active SELECT,jobs SELECT,job_transitions SELECT,decisions SELECT,decision_mix SELECT,rule_stats SELECT,traces SELECT,approvals SELECT,approval_votes SELECT,seals SELECT,remediations SELECT,duties SELECT,held_duties SELECT,halts SELECT,halt_stops SELECT,halted_running SELECT,attached_tables SELECT,attach_presets SELECT,guarded_jobs SELECT}'),
	('operate', '{policy_maintain(),policy_remediations(bigint),policy_seal(),"policy_redecide(jsonb,text)","policy_cancel(bigint,text)",policy_approvals(boolean),policy.transitions(),"policy_attach(regclass,text,text,text,jsonb,jsonb,jsonb,jsonb,text[],text,text,text,text,jsonb,text)",policy_detach(regclass),policy.outer_role(),policy.table_name(regclass),policy.default_job_key(regclass),policy.detect_preset(regclass),"policy.check_attached(regclass,text,text,text)",policy.attached_expressions(policy.attached_tables),policy.attached_form_problems(policy.attached_tables),policy.attached_table_problems(regclass),policy.attached_problems(policy.attached_tables),"policy.refuse_attachment(text,text[])",policy.keep_attachment(policy.attached_tables),policy.try_attachment(bigint),"policy_halt(jsonb,text)","policy_resume(bigint,text)","policy.halt_covers(jsonb,jsonb)",policy.job(policy.jobs),"policy_redecide(regclass,jsonb,text)","policy_cancel(regclass,text,text)","policy.for_table(text,regclass)",policy_reattach_all(),policy.reattach(policy.attached_tables),policy.remake_attachment(bigint),policy.guard_triggers(),policy.attached_partitions(regclass),policy.table_columns(regclass),"policy.trigger_type(text,boolean)","policy.hidden_rows(regclass,regrole)",policy.table_is_gone(policy.attached_tables),policy.attacher_problems(policy.attached_tables),policy.missing_guards(policy.attached_tables),policy.attachment_changes(policy.attached_tables),policy.check_attachment(policy.attached_tables)}',
		'{jobs SELECT,job_transitions SELECT,approvals SELECT,decision_mix SELECT,active SELECT,attach_presets SELECT,attached_tables SELECT,guarded_jobs SELECT,halts SELECT,halt_stops SELECT,halted_running SELECT}'),
	('proxy', '{}', '{}'),
	('admin', '{"policy_grant(text,text,jsonb)","policy_revoke(text,text)"}',
		'{duties SELECT,attach_presets SELECT,attach_presets INSERT,attach_presets UPDATE,attach_presets DELETE}');
-- Any duty brings evaluate.
UPDATE expected SET functions = functions || '{policy_evaluate(jsonb),"policy_evaluate(jsonb,timestamp with time zone)",policy_status()}'::text[];

SELECT is(count(*), 11::bigint, 'there are eleven duties') FROM expected JOIN all_duties USING (duty);
SELECT is(functions_of('policy_test_' || duty), '{}', 'before it is granted there is nothing of ' || duty) FROM all_duties;
SELECT policy_grant('policy_test_' || duty, duty) FROM all_duties \g /dev/null
SELECT is(functions_of('policy_test_' || duty), (SELECT array_agg(f COLLATE "C" ORDER BY f COLLATE "C") FROM unnest(functions) f),
	duty || ' may execute its functions, and no other') FROM expected;
SELECT is(tables_of('policy_test_' || duty), (SELECT coalesce(array_agg(t COLLATE "C" ORDER BY t COLLATE "C"), '{}') FROM unnest(tables) t),
	duty || ' has its rights on tables, and no other') FROM expected;
SELECT is(has_schema_privilege('policy_test_' || duty, 'policy', 'USAGE'), true, duty || ' may name what is in the schema policy') FROM all_duties;
SELECT is(has_schema_privilege('policy_test_' || duty, 'policy', 'CREATE'), false, duty || ' may create nothing there') FROM all_duties;
SELECT is((SELECT count(*) FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid, aclexplode(p.proacl) a
		WHERE a.is_grantable AND a.grantee <> p.proowner), 0::bigint, 'nobody may hand on what was granted of functions');
SELECT is((SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'policy'::regnamespace AND a.is_grantable AND a.grantee <> c.relowner),
	0::bigint, 'nor of tables');

-- Every function that can be called as a duty's is a duty's, or PUBLIC's.
SELECT is((SELECT array_agg(p.oid::regprocedure::text ORDER BY 1) FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	WHERE p.pronamespace <> 'policy'::regnamespace AND NOT has_function_privilege('policy_test_plain', p.oid, 'EXECUTE')
		AND NOT EXISTS (SELECT FROM all_duties WHERE has_function_privilege('policy_test_' || duty, p.oid, 'EXECUTE'))), NULL,
	'there is no verb that no duty opens');

--
-- The same by calling: who does not get insufficient_privilege
--
CREATE TABLE calls (duties text, statement text);
INSERT INTO calls VALUES
	('everyone', $$SELECT policy_evaluate('{"topic": "a"}'::jsonb)$$),
	('everyone', $$SELECT policy_evaluate('{"topic": "a"}'::jsonb, now())$$),
	('everyone', $$SELECT policy_status()$$),
	('submit', $$SELECT policy_submit('{"topic": "a"}')$$),
	('submit', $$INSERT INTO policy.jobs (topic) VALUES ('a') RETURNING 1$$),
	('submit', $$INSERT INTO policy.jobs (topic, state, claim_token) VALUES ('a', 'running', gen_random_uuid()) RETURNING *$$),
	('submit', $$UPDATE policy.jobs SET payload = '1', extra = '{}' WHERE job_id < 0 RETURNING 1$$),
	('operate submit', $$SELECT policy_cancel(-1)$$),
	('audit operate submit', $$SELECT * FROM policy_remediations(-1)$$),
	('submit', $$SELECT policy_remediate(-1, 'x')$$),
	('work', $$SELECT policy_claim('w')$$),
	('work', $$SELECT policy_heartbeat(-1, gen_random_uuid())$$),
	('work', $$SELECT policy_complete(-1, gen_random_uuid())$$),
	('work', $$SELECT policy_fail(-1, gen_random_uuid())$$),
	('approve', $$SELECT policy_approve(-1)$$),
	('approve', $$SELECT policy_reject(-1)$$),
	('approve audit operate release', $$SELECT * FROM policy_approvals()$$),
	('audit operate', $$SELECT * FROM policy_attachments$$),
	('audit', $$SELECT * FROM policy.held_duties$$),
	('author', $$SELECT policy_stage('x', '{version: v1, rules: []}', NULL)$$),
	('author', $$SELECT policy_simulate('{"topic": "a"}')$$),
	('author', $$SELECT policy_simulate('{"topic": "a"}', 'v1')$$),
	('release', $$SELECT policy_publish('v1', NULL)$$),
	('release', $$SELECT policy_rollback('v1', NULL)$$),
	('audit', $$SELECT * FROM policy_verify()$$),
	('operate', $$SELECT policy_maintain()$$),
	('operate', $$SELECT policy_seal()$$),
	('operate', $$SELECT policy_redecide('{}', NULL)$$),
	('operate', $$SELECT policy_halt('{}', 'x')$$),
	('operate', $$SELECT policy_resume(-1)$$),
	('audit operate', $$SELECT * FROM policy.halted_running$$),
	('audit operate', $$SELECT * FROM policy.halts$$),
	('audit operate', $$SELECT * FROM policy.halt_stops$$),
	('admin', $$SELECT policy_grant('policy_test_other', 'work')$$),
	('admin', $$SELECT policy_revoke('policy_test_other', 'work')$$),
	('audit author release', $$SELECT * FROM policy.snapshots$$),
	('audit author release', $$SELECT * FROM policy.releases$$),
	('audit author operate release', $$SELECT * FROM policy.active$$),
	('audit operate submit', $$SELECT * FROM policy.jobs$$),
	('audit operate', $$SELECT * FROM policy.job_transitions$$),
	('audit', $$SELECT * FROM policy.decisions$$),
	('audit operate release', $$SELECT * FROM policy.decision_mix$$),
	('audit', $$SELECT * FROM policy.rule_stats$$),
	('audit', $$SELECT * FROM policy.traces$$),
	('audit operate', $$SELECT * FROM policy.approvals$$),
	('audit', $$SELECT * FROM policy.approval_votes$$),
	('audit', $$SELECT * FROM policy.seals$$),
	('audit', $$SELECT * FROM policy.remediations$$),
	('admin audit', $$SELECT * FROM policy.duties$$),
	('audit', $$SELECT policy.job_hash(policy.job(j)) FROM policy.jobs j$$),
	-- What nobody may, whatever duty they have
	('nobody', $$SELECT * FROM policy.decisions_default$$),
	('nobody', $$SELECT * FROM policy.maintenance$$),
	('submit', $$UPDATE policy.jobs SET state = 'ready'$$),
	('submit', $$UPDATE policy.jobs SET attempts = 0$$),
	('submit', $$UPDATE policy.jobs SET submitted_by = 'policy_test_other'$$),
	('nobody', $$DELETE FROM policy.jobs$$),
	('nobody', $$TRUNCATE policy.jobs$$),
	('nobody', $$SELECT job_id FROM policy.jobs FOR UPDATE OF jobs NOWAIT; DELETE FROM policy.approvals$$),
	('nobody', $$UPDATE policy.approvals SET status = 'approved'$$),
	('nobody', $$INSERT INTO policy.approvals SELECT * FROM policy.approvals$$),
	('nobody', $$INSERT INTO policy.approval_votes VALUES (1, 'x', 'x', 'approve', NULL, now())$$),
	('nobody', $$DELETE FROM policy.approval_votes$$),
	('nobody', $$INSERT INTO policy.decisions SELECT * FROM policy.decisions$$),
	('nobody', $$UPDATE policy.decisions SET reason = ''$$),
	('nobody', $$DELETE FROM policy.decisions$$),
	('nobody', $$TRUNCATE policy.decisions$$),
	('nobody', $$DELETE FROM policy.decisions_default$$),
	('nobody', $$DELETE FROM policy.seals$$),
	('nobody', $$INSERT INTO policy.remediations VALUES (1, 2, 'x', 'x', 'x', 1, now(), 'x', now())$$),
	('nobody', $$DELETE FROM policy.remediations$$),
	('nobody', $$SELECT policy.submit('{"topic": "a"}', 'in the place of job 1')$$),
	('nobody', $$INSERT INTO policy.held_duties VALUES ('policy_test_other', 'admin', NULL, 'x', now())$$),
	('nobody', $$UPDATE policy.held_duties SET duty = 'admin'$$),
	('nobody', $$DELETE FROM policy.releases$$),
	('nobody', $$INSERT INTO policy.snapshots (snapshot, document, staged_by, staged_at) VALUES ('x', '{version: v1, rules: []}', 'x', now())$$),
	('nobody', $$SELECT nextval('policy.job_id_seq')$$),
	('nobody', $$SELECT setval('policy.decision_id_seq', 1)$$),
	('nobody', $$SELECT last_value FROM policy.approval_id_seq$$),
	('nobody', $$ALTER TABLE policy.jobs DISABLE TRIGGER zz_guard_insert$$),
	('nobody', $$CREATE TRIGGER mine BEFORE INSERT ON policy.jobs FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()$$),
	('nobody', $$CREATE TABLE policy.mine (x int)$$),
	('nobody', $$SET session_replication_role = replica$$),
	('nobody', $$SELECT policy.verb_begins('claim')$$),
	('nobody', $$SELECT policy.verb_ends()$$),
	('nobody', $$SELECT policy.settle(1, 'vote', NULL)$$),
	('nobody', $$SELECT policy.vote(1, 'approve', NULL)$$),
	('nobody', $$SELECT policy.cast_vote(NULL, 'policy_test_other', 'approve', NULL)$$),
	('nobody', $$SELECT policy.end_attempt(NULL, false, NULL)$$),
	('nobody', $$SELECT policy.running_job(1, NULL)$$),
	('nobody', $$SELECT policy.release('publish', 'v1', NULL, NULL, NULL, NULL, NULL)$$),
	('nobody', $$SELECT policy.give_rights('policy_test_other')$$),
	('nobody', $$SELECT policy.make_partitions()$$),
	('nobody', $$SELECT policy.expire_approvals(1)$$),
	('nobody', $$SELECT policy.caller()$$),
	('nobody', $$SELECT policy.holds_duty('policy_test_other', 'admin')$$);
INSERT INTO policy.jobs (topic) VALUES ('ask'), ('a');
SELECT is((SELECT coalesce(string_agg(duty, ' ' ORDER BY duty), 'nobody') FROM all_duties WHERE try('policy_test_' || duty, statement) <> '42501'
		AND duties <> 'everyone'), CASE duties WHEN 'everyone' THEN 'nobody' ELSE duties END, duties || ' may: ' || statement) FROM calls;
SELECT is((SELECT array_agg(statement || ': ' || duty) FROM calls, all_duties WHERE duties = 'everyone' AND try('policy_test_' || duty, statement) NOT LIKE 'done: %'), NULL,
	'any duty may evaluate, and see the status');
SELECT is((SELECT array_agg(statement || ': ' || try('policy_test_plain', statement)) FROM calls WHERE try('policy_test_plain', statement) <> '42501'), NULL,
	'without a duty nobody may any of that');

-- A statement for a duty that does what it says
SELECT alike(try('policy_test_' || duty, statement), result, duty || ' gets something by: ' || statement)
FROM (VALUES
	('submit', $$SELECT (policy_submit('{"topic": "a"}')).state$$, 'done: ready'),
	('submit', $$INSERT INTO policy.jobs (topic, state, submitted_by) VALUES ('ask', 'running', 'x') RETURNING state || ' ' || submitted_by$$, 'done: awaiting_approval policy_test_submit'),
	('work', $$SELECT state FROM policy_claim('w', 1)$$, 'done: running'),
	('approve', $$SELECT (policy_approve(approval_id)).status FROM policy_approvals()$$, 'done: approved'),
	('author', $$SELECT (policy_stage('x', '{version: v1, rules: []}', NULL)).staged_by$$, 'done: policy_test_author'),
	('release', $$SELECT (policy_publish('v1', NULL)).released_by$$, 'done: policy_test_release'),
	('audit', $$SELECT count(*) > 0 FROM policy.decisions$$, 'done: true'),
	('audit', $$SELECT count(*) > 0 FROM policy.traces$$, 'done: true'),
	('operate', $$SELECT state FROM policy_redecide('{"job_id": 999999999}', NULL)$$, 'done: NULL'),
	('operate', $$SELECT (policy_cancel(min(job_id))).state FROM policy.jobs$$, 'done: cancelled'),
	('operate', $$SELECT partitions FROM policy_maintain()$$, 'done: 0'),
	('admin', $$SELECT policy_grant('policy_test_other', 'work')$$, 'done: %')
) AS t(duty, statement, result);

--
-- A job is its submitter's, and an operator's.
--
SELECT policy_grant('policy_test_other', 'submit') \g /dev/null
SELECT as_login('policy_test_submit', $$SELECT (policy_submit('{"topic": "a"}')).job_id$$) AS mine \gset
SELECT is(try('policy_test_other', format($$UPDATE policy.jobs SET payload = '1' WHERE job_id = %s$$, :'mine')), '42501', 'another submitter may not change it');
SELECT is(try('policy_test_other', format('SELECT policy_cancel(%s)', :'mine')), '42501', 'nor cancel it');
SELECT is(try('policy_test_submit', format($$UPDATE policy.jobs SET payload = '1' WHERE job_id = %s RETURNING payload$$, :'mine')), 'done: 1', 'who submitted it may change it');
SELECT is(try('policy_test_submit', format('SELECT (policy_cancel(%s)).state', :'mine')), 'done: cancelled', 'and cancel it');
SELECT is(try('policy_test_operate', format('SELECT (policy_cancel(%s)).state', :'mine')), 'done: cancelled', 'an operator may cancel it');
SELECT is(try('policy_test_operate', format($$UPDATE policy.jobs SET payload = '1' WHERE job_id = %s$$, :'mine')), '42501', 'but has no right to write the table');
SELECT policy_grant('policy_test_other', 'operate') \g /dev/null
SELECT is(try('policy_test_other', format($$UPDATE policy.jobs SET payload = '1' WHERE job_id = %s RETURNING payload$$, :'mine')), 'done: 1', 'until it has submit as well');
SELECT is(try('policy_test_submit', $$UPDATE policy.jobs SET payload = '1' WHERE job_id < 0 RETURNING 1$$), 'done: NULL', 'an update of nothing is nobody''s');
SELECT is(try('policy_test_submit', format($$INSERT INTO policy.jobs SELECT * FROM policy.jobs WHERE job_id = %s$$, :'mine')), 'PE014', 'a restore is not a submitter''s');
SELECT policy_revoke('policy_test_other', d) FROM unnest('{submit,operate}'::text[]) d \g /dev/null

--
-- Granting and revoking
--
SELECT is(functions_of('policy_test_other') || tables_of('policy_test_other'), '{}', 'what was revoked has left nothing');
SELECT is(has_schema_privilege('policy_test_other', 'policy', 'USAGE'), false, 'not even the schema');
SELECT policy_grant('policy_test_other', 'operate') \g /dev/null
SELECT policy_grant('policy_test_other', 'approve') \g /dev/null
SELECT policy_revoke('policy_test_other', 'operate') \g /dev/null
SELECT is(functions_of('policy_test_other'), functions_of('policy_test_approve'), 'what another duty needs stays');
SELECT is(tables_of('policy_test_other'), '{}', 'what none needs goes');
SELECT policy_revoke('policy_test_other', 'operate') \g /dev/null
SELECT policy_revoke('policy_test_other', 'work') \g /dev/null
SELECT is(functions_of('policy_test_other'), functions_of('policy_test_approve'), 'revoking what it does not have changes nothing');
SELECT policy_grant('policy_test_other', 'approve') \g /dev/null
SELECT is(array_agg(duty || ' ' || granted_by), '{"approve postgres"}', 'granting what it has changes nothing, either') FROM policy.duties WHERE role = 'policy_test_other';
SELECT policy_revoke('policy_test_other', 'evaluate') \g /dev/null
SELECT is(functions_of('policy_test_other'), functions_of('policy_test_approve'), 'a duty goes on to bring evaluate');
SELECT policy_revoke('policy_test_other', 'approve') \g /dev/null
SELECT is(functions_of('policy_test_other') || tables_of('policy_test_other'), '{}', 'with the last duty everything goes');
SELECT is(count(*), 0::bigint, 'the row, too') FROM policy.duties WHERE role = 'policy_test_other';
SELECT lives_ok('DROP ROLE policy_test_other', 'and then the role can be dropped');
CREATE ROLE policy_test_other LOGIN;

SELECT is((SELECT jsonb_agg(to_jsonb(d) - 'granted_at') FROM policy.duties d WHERE d.role = 'policy_test_work'),
	'[{"role": "policy_test_work", "duty": "work", "identity": null, "granted_by": "postgres"}]', 'a duty is a row of policy.duties');
SELECT ok(granted_at BETWEEN now() AND clock_timestamp(), 'with its time') FROM policy.duties WHERE role = 'policy_test_work';
SELECT alike((SELECT array_to_string(relacl, ' ') FROM pg_class WHERE oid = 'policy.decisions'::regclass), '%policy_test_audit=r/%', 'and a GRANT that \dp shows');

SELECT throws_ok(statement, state, NULL, 'refused: ' || statement)
FROM (VALUES
	($$SELECT policy_grant('policy_test_nobody', 'work')$$, '42704'),
	($$SELECT policy_grant('public', 'work')$$, '42704'),
	($$SELECT policy_grant('PUBLIC', 'work')$$, '42704'),
	($$SELECT policy_grant('POLICY_TEST_OTHER', 'work')$$, '42704'),
	($$SELECT policy_grant(NULL, 'work')$$, '42704'),
	($$SELECT policy_grant('', 'work')$$, '42704'),
	($$SELECT policy_grant('policy_test_other', 'everything')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'Work')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', '')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', NULL)$$, '22023'),
	($$SELECT policy_revoke('policy_test_nobody', 'work')$$, '42704'),
	($$SELECT policy_revoke('public', 'work')$$, '42704'),
	($$SELECT policy_revoke('policy_test_other', 'everything')$$, '22023'),
	($$SELECT policy_revoke(NULL, NULL)$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'work', '{"tenant_id": "x"}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'proxy', '{"tenant_id": "x"}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '[]')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', 'null')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '"acme"')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"tenant": "x"}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"tenant_id": "x", "topic": "y"}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"tenant_id": 5}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"tenant_id": null}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"tenant_id": ""}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"actor_id": " \u200b"}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"actor_id": ["x"]}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"actor_roles": "x"}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"actor_roles": [5]}')$$, '22023'),
	($$SELECT policy_grant('policy_test_other', 'submit', '{"actor_roles": ["x", ["y"]]}')$$, '22023')
) AS t(statement, state);
SELECT is(functions_of('policy_test_other') || tables_of('policy_test_other'), '{}', 'none of which has granted anything');

-- Names that need quotes
CREATE ROLE "Policy_Test ""x""; DROP" LOGIN;
SELECT lives_ok($$SELECT policy_grant('Policy_Test "x"; DROP', 'work')$$, 'a role''s name is taken as it is');
SELECT is(functions_of('Policy_Test "x"; DROP'), functions_of('policy_test_work'), 'and gets what it should');
SELECT lives_ok($$SELECT policy_revoke('Policy_Test "x"; DROP', 'work')$$, 'and loses it');

-- A duty is its members', if they inherit.
CREATE ROLE policy_test_group;
CREATE ROLE policy_test_member LOGIN IN ROLE policy_test_group;
CREATE ROLE policy_test_outsider LOGIN NOINHERIT IN ROLE policy_test_group;
SELECT policy_grant('policy_test_group', 'operate') \g /dev/null
SELECT is(try('policy_test_member', 'SELECT expired FROM policy_maintain()'), 'done: 0', 'a duty is its members''');
SELECT is(try('policy_test_outsider', 'SELECT expired FROM policy_maintain()'), '42501', 'where they inherit');
SELECT is(try('policy_test_member', format('SELECT (policy_cancel(%s)).state', :'mine')), 'done: cancelled', 'for what a verb itself asks about duties, too');
GRANT EXECUTE ON FUNCTION policy_cancel(bigint, text) TO policy_test_outsider;
GRANT USAGE ON SCHEMA policy TO policy_test_outsider;
SELECT is(try('policy_test_outsider', format('SELECT (policy_cancel(%s)).state', :'mine')), '42501', 'with the same result');

-- admin hands out duties, and is recorded.
SELECT is(as_login('policy_test_admin', $$SELECT policy_grant('policy_test_other', 'submit', '{"tenant_id": "acme"}')$$), '', 'an admin can grant');
SELECT is((SELECT granted_by || ' ' || identity FROM policy.duties WHERE role = 'policy_test_other'), 'policy_test_admin {"tenant_id": "acme"}', 'and is recorded');
SELECT is(functions_of('policy_test_other'), functions_of('policy_test_submit'), 'what is granted is there');
SELECT is(try('policy_test_admin', 'SELECT * FROM policy.jobs'), '42501', 'an admin has no other duty by being one');
SELECT is(as_login('policy_test_admin', $$SELECT policy_revoke('policy_test_other', 'submit')$$), '', 'and can revoke');
SELECT is(functions_of('policy_test_other') || tables_of('policy_test_other'), '{}', 'what was granted');
SELECT is(as_login('policy_test_admin', $$SELECT policy_revoke('policy_test_admin', 'admin')$$), '', 'its own duty, too');
SELECT is(try('policy_test_admin', $$SELECT policy_grant('policy_test_other', 'work')$$), '42501', 'which is then gone');

--
-- Bound identities
--
SELECT policy_grant('policy_test_other', 'submit', '{"tenant_id": "Acme", "actor_id": "agent-7", "actor_type": "agent", "actor_roles": ["reader", "writer"]}') \g /dev/null
CREATE FUNCTION submitted(login text, job jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT try(login, format($q$SELECT jsonb_build_array(state, tenant_id, actor_id, actor_type, actor_roles) FROM policy_submit(%L)$q$, job))
$$;
SELECT is(submitted('policy_test_other', job::jsonb), 'done: ["ready", "Acme", "agent-7", "agent", ["reader", "writer"]]', 'stamped on ' || job)
FROM (VALUES ('{"topic": "a"}'), ('{"topic": "a", "tenant_id": "ACME", "actor_id": " Agent-7 ", "actor_type": "\uff21gent", "actor_roles": ["writer", "Reader", "writer"]}'),
	('{"topic": "a", "tenant": "acme", "actor": {"id": "agent-7", "roles": ["writer", "reader"]}}'), ('{"topic": "a", "tenant_id": "", "actor_roles": []}')) t(job);
SELECT alike(submitted('policy_test_other', job::jsonb), 'done: ["denied"%', 'a contradiction is denied: ' || job)
FROM (VALUES ('{"topic": "a", "tenant_id": "other"}'), ('{"topic": "a", "tenant": "other"}'), ('{"topic": "a", "actor_id": "agent-8"}'), ('{"topic": "a", "actor": {"id": "agent-8"}}'),
	('{"topic": "a", "actor_type": "person"}'), ('{"topic": "a", "actor_roles": ["reader"]}'), ('{"topic": "a", "actor_roles": ["reader", "writer", "root"]}'),
	('{"topic": "a", "actor_roles": "reader"}')) t(job);
SELECT alike(try('policy_test_other', $$INSERT INTO policy.jobs (topic, tenant_id) VALUES ('a', 'other') RETURNING state$$), 'done: denied', 'by a plain INSERT, too');
SELECT alike(try('policy_test_other', $$INSERT INTO policy.jobs (topic, extra) VALUES ('a', '{"tenant": "other"}') RETURNING state$$), 'done: denied', 'and in extra');
SELECT alike(try('policy_test_other', $$INSERT INTO policy.jobs (topic, extra) VALUES ('a', '{"actor": {"id": "other"}}') RETURNING state$$), 'done: denied', 'however it is spelled');
SELECT as_login('policy_test_other', $$SELECT (policy_submit('{"topic": "a"}')).job_id$$) AS job \gset
SELECT is(try('policy_test_other', format($$UPDATE policy.jobs SET tenant_id = 'other' WHERE job_id = %s RETURNING state$$, :'job')), 'done: denied', 'a change is denied, too');
SELECT is(try('policy_test_other', format($$UPDATE policy.jobs SET tenant_id = NULL, payload = '1' WHERE job_id = %s RETURNING tenant_id$$, :'job')), 'done: Acme', 'or stamped');

CREATE ROLE policy_test_both LOGIN IN ROLE policy_test_other;
SELECT policy_grant('policy_test_both', 'submit', '{"tenant_id": "other"}') \g /dev/null
SELECT alike(submitted('policy_test_both', '{"topic": "a"}'), 'done: ["denied"%', 'two identities that differ deny every job');
SELECT policy_grant('policy_test_both', 'submit', '{"tenant_id": "Acme", "actor_id": "agent-7", "actor_type": "agent", "actor_roles": ["reader", "writer"]}') \g /dev/null
SELECT alike(submitted('policy_test_both', '{"topic": "a"}'), 'done: ["ready", "Acme"%', 'two that are the same are one');
SELECT policy_grant('policy_test_both', 'submit') \g /dev/null
SELECT alike(submitted('policy_test_both', '{"topic": "a"}'), 'done: ["ready", "Acme"%', 'no identity of its own takes none away that its role has');
SELECT policy_grant('policy_test_other', 'submit') \g /dev/null
SELECT is(submitted('policy_test_other', '{"topic": "a", "tenant_id": "other"}'), 'done: ["ready", "other", null, null, null]', 'granting without an identity takes it away');

--
-- Nothing of the caller's is taken for what the extension means.
--
SELECT is((SELECT array_agg(p.oid::regprocedure::text ORDER BY 1) FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
		JOIN pg_language l ON l.oid = p.prolang
	WHERE l.lanname IN ('sql', 'plpgsql') AND NOT coalesce(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)), NULL,
	'every SQL and PL/pgSQL function pins its search_path');
SELECT is((SELECT array_agg(DISTINCT l.lanname) FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
		JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname NOT IN ('sql', 'plpgsql', 'c')), NULL, 'and there are functions in no other language but C');
SELECT is((SELECT array_agg(p.oid::regprocedure::text ORDER BY 1) FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	WHERE p.prosecdef AND NOT coalesce(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)), NULL, 'every SECURITY DEFINER function does, whatever its language');

SELECT policy_grant('policy_test_other', d) FROM unnest('{work,approve,operate,audit}'::text[]) d \g /dev/null
CREATE SCHEMA hostile AUTHORIZATION policy_test_other;
SET SESSION AUTHORIZATION policy_test_other;
SELECT format($q$CREATE FUNCTION hostile.bad(%1$s, %1$s) RETURNS %2$s LANGUAGE plpgsql AS $f$ BEGIN RAISE EXCEPTION 'the caller''s operator ran, as %%', current_user; END $f$$q$,
	t, 'boolean') FROM unnest('{text,bigint,integer,timestamptz,uuid,jsonb,bytea,boolean}'::text[]) t \gexec
SELECT format('CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = hostile.bad)', o, t)
FROM unnest('{=,<>,<,<=,>,>=}'::text[]) o, unnest('{text,bigint,integer,timestamptz,uuid,jsonb,bytea,boolean}'::text[]) t \gexec
CREATE OPERATOR hostile.+ (LEFTARG = integer, RIGHTARG = integer, FUNCTION = hostile.bad);
CREATE OPERATOR hostile.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.bad);
CREATE FUNCTION hostile.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the caller''s function ran, as %', current_user; END $$;
CREATE FUNCTION hostile.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the caller''s function ran, as %', current_user; END $$;
CREATE FUNCTION hostile.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the caller''s function ran, as %', current_user; END $$;
CREATE TEMP TABLE jobs (x int);
CREATE TEMP TABLE approvals (x int);
CREATE TEMP TABLE decisions (x int);
CREATE TEMP TABLE duties (x int);
SET LOCAL search_path = hostile, pg_temp, pg_catalog, public;
SELECT helper.sqlstate_of('SELECT 1::bigint = 1::bigint') AS shadowed \gset
SELECT state AS inserted FROM policy_submit('{"topic": "ask", "payload": 1, "idempotency_key": "k"}') \gset
SELECT job_id AS job FROM policy_submit('{"topic": "ask", "payload": 1, "idempotency_key": "k"}') \gset
INSERT INTO policy.jobs (topic, payload) VALUES ('ask', '1') RETURNING job_id AS plain \gset
UPDATE policy.jobs SET payload = '2' WHERE job_id OPERATOR(pg_catalog.=) :job::bigint RETURNING state AS updated \gset
UPDATE policy.jobs SET topic = 'a' WHERE job_id OPERATOR(pg_catalog.=) :plain::bigint RETURNING state AS readied \gset
SELECT pg_catalog.count(*) AS queue FROM policy_approvals() \gset
SELECT more AS more FROM policy_maintain() \gset
SELECT pg_catalog.count(*) AS claimed FROM policy_claim('w', 100, '{a,"b*"}') \gset
SELECT job_id AS running, claim_token AS token FROM policy.jobs WHERE state OPERATOR(pg_catalog.=) 'running' AND job_id OPERATOR(pg_catalog.=) :plain::bigint \gset
SELECT state AS beaten FROM policy_heartbeat(:running, :'token') \gset
SELECT state AS failed FROM policy_fail(:running, :'token') \gset
SELECT state AS cancelled FROM policy_cancel(:running) \gset
SELECT pg_catalog.count(*) AS again FROM policy_redecide('{"topic": "ask", "job_id": [1, 2]}', NULL) \gset
SELECT pg_catalog.count(*) AS problems FROM policy_verify() \gset
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT is(:'shadowed'::text, 'P0001', 'a caller can put operators of its own first');
SELECT is(ARRAY[:'inserted', :'updated', :'readied', :'beaten', :'failed', :'cancelled']::text[], '{awaiting_approval,awaiting_approval,ready,running,ready,cancelled}',
	'whatever operators, functions and tables a caller puts first, the verbs and the guard use the catalog''s');
SELECT ok(:claimed > 0 AND :queue > 0 AND :problems = 0, 'and find what is there');
SELECT is((SELECT count(*) FROM policy.approvals WHERE job_key = :'job'), 2::bigint, 'and write where they should');
SELECT as_login('policy_test_other', $$SELECT policy_submit('{"topic": "ask"}')$$) \g /dev/null
SELECT max(approval_id) AS approval FROM policy.approvals \gset
SET SESSION AUTHORIZATION policy_test_approve;
SET LOCAL search_path = hostile, pg_catalog, public;
SELECT status AS voted FROM policy_approve(:approval) \gset
SELECT status AS unvoted FROM policy_reject(:approval) \gset
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT is(:'voted' || ' ' || :'unvoted', 'approved rejected', 'as do votes');

SELECT * FROM finish();
ROLLBACK;
