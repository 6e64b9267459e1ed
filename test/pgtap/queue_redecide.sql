\ir queue.psql
SELECT plan(114);
CREATE ROLE policy_test_operator LOGIN;
CREATE ROLE policy_test_submitter LOGIN;
CREATE ROLE policy_test_approver LOGIN;
SELECT policy_grant('policy_test_operator', 'operate'), policy_grant('policy_test_submitter', 'submit'), policy_grant('policy_test_approver', 'approve') \g /dev/null

-- The jobs that a filter finds, by topic.
CREATE FUNCTION redecided(filter jsonb, note text DEFAULT 'put right') RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(topic || ' ' || state, ', ' ORDER BY job_id), 'none') FROM policy_redecide(filter, note)
$$;
CREATE FUNCTION refuse(id bigint, state text) RETURNS bigint LANGUAGE sql AS $$
	SELECT put(id, format('state = %L', state));
	SELECT id;
$$;

--
-- With no policy
--
SELECT submit('read.early') AS id \gset
SELECT is(state_of(:id), 'denied', 'with no active policy a job is denied');
SELECT throws_ok($$SELECT policy_redecide('{}', 'x')$$, '55000', NULL, 'and cannot be decided again');
SELECT is((state_of(:id), evidence_of(:id))::text, '(denied,"submit DENY -")', 'which changes nothing');
SELECT is(release('v1', first_rules()), 'v1', 'once there is one');
SELECT is(redecided('{}'), 'read.early ready', 'it can');
SELECT is((d.source, d.note, d.decision, d.snapshot, d.session_role)::text, ('redecide', 'put right', 'ALLOW', 'v1', session_user)::text, 'which is recorded, with the note')
FROM policy.decisions d, job(:id) j WHERE (d.decision_id, d.decided_at) = (j.decision_id, j.decided_at);
SELECT is(evidence_agrees(:id), true, 'and the job points there');
SELECT is((claim()).job_id, :id::bigint, 'and it can be claimed');
SELECT is(redecided('{}'), 'none', 'a second time there is none');

--
-- What becomes of which job
--
CREATE FUNCTION again(before text, rules text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
	result policy.jobs;
BEGIN
	PERFORM empty_queue();
	PERFORM release('a' || gen_random_uuid(), first_rules());
	id := submit('drop.again');
	PERFORM put(id, format('state = %L', before));
	PERFORM release('b' || gen_random_uuid(), rules);
	SELECT * INTO result FROM policy_redecide(jsonb_build_object('job_id', id), 'why');
	RETURN concat_ws('; ', result.state, result.constraints, evidence_of(id), approvals_of(id), result.run_after - result.decided_at,
		CASE WHEN result.job_id IS NOT NULL AND result::text <> job(id)::text THEN 'not its row' END, CASE WHEN NOT evidence_agrees(id) THEN 'differs' END);
END
$$;
SELECT is(again(before, '- {id: r, decision: allow, constraints: {n: 1}}'),
	'ready; {"n": 1, "max_retries": 1, "max_runtime_sec": 60}; submit DENY drop, redecide ALLOW_WITH_CONSTRAINTS r; none', before || ' to ready') FROM unnest('{denied,rejected,expired}'::text[]) before;
SELECT is(again(before, '- {id: r, decision: require_approval}'),
	'awaiting_approval; {"max_retries": 1, "max_runtime_sec": 60}; submit DENY drop, redecide REQUIRE_APPROVAL r; r pending 0', before || ' to awaiting_approval') FROM unnest('{denied,rejected,expired}'::text[]) before;
SELECT is(again(before, '- {id: r, decision: throttle, retry_after_sec: 90}'),
	'throttled; {"max_retries": 1, "max_runtime_sec": 60}; submit DENY drop, redecide THROTTLE r; none; 00:01:30', before || ' to throttled') FROM unnest('{denied,rejected,expired}'::text[]) before;
SELECT is(again(before, '- {id: r, decision: deny}'), before || '; {}; submit DENY drop, redecide DENY r; none', before || ' and denied again: recorded, and it stays what it is')
FROM unnest('{denied,rejected,expired}'::text[]) before;
SELECT is(again('denied', first_rules()), 'denied; {}; submit DENY drop, redecide DENY drop; none', 'the same decision is recorded, too');
SELECT is(again(before, '- {id: r, decision: allow}'), 'submit DENY drop; none', before || ' is left alone')
FROM unnest('{ready,throttled,awaiting_approval,running,succeeded,failed,timed_out,cancelled}'::text[]) before;

-- Whom it asks again
SELECT empty_queue() \g /dev/null
SELECT release('v2', first_rules()) \g /dev/null
SELECT submit('prod.a') AS id \gset
SELECT pending_of(:id) AS approval \gset
SET SESSION AUTHORIZATION policy_test_approver;
SELECT is((policy_reject(:approval, 'no')).status, 'rejected', 'what was rejected');
RESET SESSION AUTHORIZATION;
SELECT is(redecided(jsonb_build_object('job_id', :id)), 'prod.a awaiting_approval', 'can be asked for again');
SELECT is(approvals_of(:id), 'prod rejected 0, prod pending 0', 'which is another question: the answer to the first stays');
SELECT is((a.decision_id, a.decided_at, a.requested_by)::text, (j.decision_id, j.decided_at, j.submitted_by)::text, 'by the same asker') FROM policy.approvals a, job(:id) j WHERE a.approval_id = pending_of(:id);
SELECT is((claim()).job_id, NULL, 'and it waits');
SELECT pending_of(:id) AS approval \gset
UPDATE policy.approvals SET expires_at = clock_timestamp() WHERE approval_id = :approval;
SET SESSION AUTHORIZATION policy_test_approver;
SELECT is((policy_approve(:approval, 'late')).status, 'expired', 'what expired');
RESET SESSION AUTHORIZATION;
SELECT is(state_of(:id), 'expired', 'with its job');
SELECT is(redecided(jsonb_build_object('job_id', :id)), 'prod.a awaiting_approval', 'can be asked for again');
SELECT is(approvals_of(:id), 'prod rejected 0, prod expired 0, prod pending 0', 'too');
SELECT pending_of(:id) AS approval \gset
SET SESSION AUTHORIZATION policy_test_approver;
SELECT is((policy_approve(:approval)).status, 'approved', 'and approved');
RESET SESSION AUTHORIZATION;
SELECT is((claim()).job_id, :id::bigint, 'and claimed');
-- An approval that was given before an end is not good after it.
SELECT submit('prod.b') AS id \gset
SELECT pending_of(:id) AS approval \gset
SET SESSION AUTHORIZATION policy_test_approver;
SELECT policy_approve(:approval) \g /dev/null
SELECT is((policy_reject(:approval)).status, 'rejected', 'what was approved and then rejected');
RESET SESSION AUTHORIZATION;
SELECT is(redecided(jsonb_build_object('job_id', :id)), 'prod.b awaiting_approval', 'has to be approved again');
SELECT submit('prod.c') AS id \gset
SELECT pending_of(:id) AS approval \gset
SET SESSION AUTHORIZATION policy_test_approver;
SELECT policy_approve(:approval) \g /dev/null
RESET SESSION AUTHORIZATION;
UPDATE policy.jobs SET topic = 'drop.c' WHERE job_id = :id;
SELECT is((state_of(:id), approvals_of(:id))::text, '(denied,"prod superseded 0")', 'what was approved and then denied');
SELECT throws_ok(format('UPDATE policy.jobs SET topic = %L WHERE job_id = %s', 'prod.c', :id), 'PE008', NULL, 'cannot be changed back');
SELECT release('v3', '- {id: prod, decision: require_approval}') \g /dev/null
SELECT is(redecided(jsonb_build_object('job_id', :id)), 'drop.c awaiting_approval', 'and has to be approved again');

-- Nor is a wait that is not over.
SELECT release('w1', '- {id: ask, decision: require_approval}') \g /dev/null
SELECT submit('w') AS id \gset
SELECT pending_of(:id) AS approval \gset
SET SESSION AUTHORIZATION policy_test_approver;
SELECT policy_approve(:approval) \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT release('w2', E'- {id: ask, decision: require_approval}\n- {id: slow, decision: throttle, retry_after_sec: 600}') \g /dev/null
SELECT is((claim()).job_id, NULL, 'what was approved and then throttled');
SET SESSION AUTHORIZATION policy_test_approver;
SELECT is((policy_reject(:approval)).status, 'rejected', 'can be rejected');
RESET SESSION AUTHORIZATION;
SELECT release('w3', '- {id: slow, decision: throttle, retry_after_sec: 900}') \g /dev/null
SELECT is(redecided(jsonb_build_object('job_id', :id)), 'w throttled', 'and decided again has still to wait');
SELECT is(run_after - decided_at, '15 minutes', 'from now') FROM job(:id);

--
-- Filters
--
SELECT empty_queue() \g /dev/null
CREATE FUNCTION forget() RETURNS void LANGUAGE plpgsql SET session_replication_role = replica AS $$ BEGIN DELETE FROM policy.jobs; END $$;
SELECT forget() \g /dev/null
SELECT release('v4', E'- {id: a, match: {topics: ["a.*"]}, decision: deny}\n- {id: b, match: {topics: ["*.b"]}, decision: deny}') \g /dev/null
SELECT submit('a.1', '{"tenant": "Acme", "actor_id": "One"}') AS one, submit('A.B', '{"tenant": "acme", "actor_id": "two"}') AS two, submit('c.b') AS three,
	submit('c.d', '{"actor_id": "one"}') AS four, submit('x.rejected', '{"tenant": "globex"}') AS five, submit('x.expired') AS six \gset
SELECT refuse(:five, 'rejected'), refuse(:six, 'expired') \g /dev/null
CREATE FUNCTION found(filter jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(topic, ' ' ORDER BY job_id), 'none') FROM policy_redecide(filter, 'looking')
$$;
SELECT is(found(filter::jsonb), jobs, 'the filter ' || filter)
FROM (VALUES ('{}', 'a.1 A.B c.b c.d x.rejected x.expired'), ('{"rule": "a"}', 'a.1 A.B'), ('{"rule": "b"}', 'A.B c.b'), ('{"rule": ["a", "b"]}', 'a.1 A.B c.b'), ('{"rule": "A"}', 'none'),
	('{"state": "denied"}', 'a.1 A.B c.b c.d'), ('{"state": "rejected"}', 'x.rejected'), ('{"state": ["rejected", "expired"]}', 'x.rejected x.expired'),
	('{"tenant_id": "acme"}', 'a.1 A.B'), ('{"tenant_id": " ACME"}', 'a.1 A.B'), ('{"tenant_id": "default"}', 'c.b c.d x.expired'), ('{"tenant_id": ["globex", "acme"]}', 'a.1 A.B x.rejected'),
	('{"topic": "a.b"}', 'A.B'), ('{"topic": ["A.1", "c.d"]}', 'a.1 c.d'), ('{"topic": "a.*"}', 'none'), ('{"actor_id": "one"}', 'a.1 c.d'), ('{"actor_id": ["ONE", "Two"]}', 'a.1 A.B c.d'),
	('{"rule": "b", "tenant_id": "acme"}', 'A.B'), ('{"rule": "a", "state": "expired"}', 'none'), ('{"job_id": 0}', 'none'), ('{"rule": []}', 'none'), ('{"state": []}', 'none'),
	('{"job_id": []}', 'none'), ('{"topic": ""}', 'none')) AS t(filter, jobs);
SELECT is(found(jsonb_build_object('job_id', :two)), 'A.B', 'a job_id');
SELECT is(found(jsonb_build_object('job_id', ARRAY[:two, :five])), 'A.B x.rejected', 'several');
SELECT is(found(jsonb_build_object('job_id', :'two')), 'A.B', 'as a string, too');
SELECT is(found(jsonb_build_object('job_id', :two, 'rule', 'a', 'state', 'denied', 'tenant_id', 'acme', 'topic', 'a.b', 'actor_id', 'two')), 'A.B', 'all keys at once');
SELECT is((SELECT count(*) FROM policy.decisions WHERE job_key = :'two' AND source = 'redecide' AND note = 'looking'), (SELECT count(*) FROM policy.decisions WHERE job_key = :'two') - 1,
	'each time is recorded');

SELECT throws_ok(format('SELECT policy_redecide(%L, NULL)', filter), '22023', NULL, 'a bad filter: ' || coalesce(filter, 'NULL'))
FROM (VALUES (NULL), ('[]'), ('5'), ('"x"'), ('null'), ('{"jobs": 1}'), ('{"State": "denied"}'), ('{"tenant": "acme"}'), ('{"rule": null}'), ('{"rule": {}}'), ('{"rule": true}'),
	('{"rule": ["a", null]}'), ('{"rule": [["a"]]}'), ('{"state": "running"}'), ('{"state": "ready"}'), ('{"state": "cancelled"}'), ('{"state": ["denied", "succeeded"]}'), ('{"state": "no such"}'),
	('{"job_id": "x"}'), ('{"job_id": -1}'), ('{"job_id": 1.5}'), ('{"job_id": 1e30}'), ('{"job_id": "1; DROP TABLE policy.jobs"}'), ('{"job_id": ""}'), ('{"rule": "a", "x": 1}')) AS t(filter);
SELECT is((SELECT count(*) FROM policy.jobs), 6::bigint, 'and nothing else happens');
SELECT is(found('{"rule": "a'' OR true --"}'), 'none', 'a value is a value');

--
-- Whose it is
--
SELECT release('v5', '- {id: r, decision: allow}') \g /dev/null
SET SESSION AUTHORIZATION policy_test_submitter;
SELECT throws_ok($$SELECT policy_redecide('{}', 'x')$$, '42501', NULL, 'a submitter may not');
SET SESSION AUTHORIZATION policy_test_approver;
SELECT throws_ok($$SELECT policy_redecide('{}', 'x')$$, '42501', NULL, 'nor an approver');
SET SESSION AUTHORIZATION policy_test_operator;
SELECT is((SELECT count(*) FROM policy_redecide('{}', 'an operator''s')), 6::bigint, 'an operator may');
RESET SESSION AUTHORIZATION;
SELECT is((d.role, d.session_role, d.note)::text, '(policy_test_operator,policy_test_operator,"an operator''s")', 'and the evidence says who') FROM job(:one) j JOIN policy.decisions d USING (decision_id, decided_at);
SELECT is(submitted_by, session_user::text, 'the job is still its submitter''s') FROM job(:one);
-- Without a note
SELECT release('v6', '- {id: r, decision: deny}') \g /dev/null
SELECT submit('a') AS id \gset
SELECT release('v7', '- {id: r, decision: allow}') \g /dev/null
SELECT is(state, 'ready', 'a note may be NULL') FROM policy_redecide(jsonb_build_object('job_id', :id), NULL);
-- Many
SELECT release('v8', '- {id: r, decision: deny}') \g /dev/null
INSERT INTO policy.jobs (topic) SELECT 'many' FROM generate_series(1, 1200);
SELECT release('v9', '- {id: r, decision: require_approval}') \g /dev/null
SELECT is((SELECT count(*) FROM policy_redecide('{"topic": "many"}', 'many') WHERE state = 'awaiting_approval'), 1200::bigint, 'many at once');
SELECT is((SELECT count(*) FROM policy.jobs WHERE topic = 'many' AND evidence_of(job_id) = 'submit DENY r, redecide REQUIRE_APPROVAL r' AND approvals_of(job_id) = 'r pending 0'), 1200::bigint,
	'each with its evidence and its question');

SELECT * FROM finish();
ROLLBACK;
