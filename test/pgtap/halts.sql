-- Halts: what they cover does not start; what else there is goes on.
\ir queue.psql
SELECT plan(130);
CREATE ROLE policy_test_approver LOGIN;
CREATE ROLE policy_test_operator LOGIN;
CREATE ROLE policy_test_pool LOGIN;
CREATE ROLE policy_test_plain LOGIN;
GRANT policy_test_operator TO policy_test_pool;
SELECT policy_grant('policy_test_approver', 'approve'), policy_grant('policy_test_operator', 'operate'), policy_grant('policy_test_pool', 'operate'),
	policy_grant('policy_test_pool', 'proxy') \g /dev/null
SELECT release('v1', first_rules(), '{decision: allow, constraints: {max_retries: 1}}') \g /dev/null

CREATE FUNCTION halt(scope jsonb, reason text DEFAULT 'why') RETURNS bigint LANGUAGE sql AS $$ SELECT (policy_halt(scope, reason)).halt_id $$;
CREATE FUNCTION resume_all() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(policy_resume(h.halt_id, 'enough')) FROM policy.halts h WHERE h.resumed_at IS NULL
$$;
CREATE FUNCTION claimed() RETURNS bigint[] LANGUAGE sql AS $$ SELECT coalesce(array_agg(job_id ORDER BY job_id), '{}') FROM policy_claim('w', 100) $$;
-- Whether a job is halted by that scope; the queue is left as it was.
CREATE FUNCTION halted(scope jsonb, job jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
	starts boolean;
BEGIN
	BEGIN
		PERFORM policy_halt(scope, 'why');
		id := (policy_submit(job)).job_id;
		starts := id = ANY (claimed());
		RAISE EXCEPTION USING ERRCODE = 'P0009';
	EXCEPTION WHEN SQLSTATE 'P0009' THEN
		RETURN NOT starts;
	END;
END
$$;
-- The halts in evidence, oldest first.
CREATE FUNCTION halts_recorded() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', job_table, job_key, decision, reason), ', ' ORDER BY decision_id) FROM policy.decisions WHERE source = 'halt'
$$;

--
-- Scopes
--
SELECT is(policy.halt_scope(given), kept, format('the scope %s is kept as %s', given, kept)) FROM (VALUES
	('{}'::jsonb, '{}'::jsonb),
	('{"tenant_id": " ACME "}', '{"tenant_id": "acme"}'),
	('{"tenant_id": "\uff21\u200bcme"}', '{"tenant_id": "acme"}'),
	('{"actor_id": "Bob", "tenant_id": "acme"}', '{"actor_id": "bob", "tenant_id": "acme"}'),
	('{"topic": " Job.PAY.* "}', '{"topic": "job.pay.*"}'),
	('{"topic": "Job.[A-C]*"}', '{"topic": "Job.[A-C]*"}'),
	('{"topic": "job.\uff0a"}', '{"topic": "job.\uff0a"}')) AS t(given, kept);
SELECT throws_ok(format('SELECT policy_halt(%L, %L)', scope, 'why'), '22023', 'bad scope of a halt', format('no scope: %s', coalesce(scope, 'NULL')))
FROM (VALUES ('{"tenant": "acme"}'), ('{"tenant_id": "acme", "actor": "x"}'), ('{"tenant_id": null}'), ('{"tenant_id": ["acme"]}'), ('{"tenant_id": "  "}'),
	('{"actor_id": 7}'), ('{"actor_id": ""}'), ('{"topic": ""}'), ('{"topic": "job.[a"}'), ('{"topic": {}}'), ('{"": "x"}'), ('{"TENANT_ID": "acme"}'), ('[]'), ('"acme"'),
	('null'), (NULL)) AS t(scope);
SELECT throws_ok(format('SELECT policy_halt(%L, %L)', '{}', reason), '22023', 'a halt needs a reason', format('no reason: %s', coalesce(reason, 'NULL')))
FROM (VALUES (''), (E' \t'), (NULL)) AS t(reason);
SELECT throws_ok($$SELECT policy_halt('{}', repeat('x', 1048577))$$, '54000', NULL, 'nor one of more than 1 MB');
SELECT is((SELECT count(*) FROM policy.halts), 0::bigint, 'and none of these is a halt');

SELECT is(halted(scope, job), covers, format('a halt of %s: %s of %s', scope, CASE WHEN covers THEN 'covers' ELSE 'knows nothing' END, job)) FROM (VALUES
	('{}'::jsonb, '{"topic": "read.a"}'::jsonb, true),
	('{}', '{"topic": "read.a", "tenant_id": "acme", "actor_id": "x"}', true),
	('{"tenant_id": "AcMe"}', '{"topic": "read.a", "tenant_id": "aCmE"}', true),
	('{"tenant_id": "acme"}', '{"topic": "read.a", "tenant": " ACME"}', true),
	('{"tenant_id": "acme"}', '{"topic": "read.a", "tenant_id": "acme2"}', false),
	('{"tenant_id": "acme"}', '{"topic": "read.a"}', false),
	('{"tenant_id": "acme*"}', '{"topic": "read.a", "tenant_id": "acme2"}', false),
	('{"tenant_id": "default"}', '{"topic": "read.a"}', true),
	('{"topic": "READ.*"}', '{"topic": "Read.a"}', true),
	('{"topic": "read.*"}', '{"topic": "write.a"}', false),
	('{"topic": "read.[a-b]"}', '{"topic": "read.B"}', true),
	('{"topic": "read.[a-b]"}', '{"topic": "read.c"}', false),
	('{"topic": "\u211dead.*"}', '{"topic": "read.c"}', true),
	('{"actor_id": "Bob"}', '{"topic": "read.a", "actor": {"id": "bob"}}', true),
	('{"actor_id": "bob"}', '{"topic": "read.a", "actor_id": "alice"}', false),
	('{"actor_id": "bob"}', '{"topic": "read.a"}', false),
	('{"tenant_id": "acme", "topic": "read.*"}', '{"topic": "read.a", "tenant_id": "acme"}', true),
	('{"tenant_id": "acme", "topic": "read.*"}', '{"topic": "write.a", "tenant_id": "acme"}', false),
	('{"tenant_id": "acme", "topic": "read.*"}', '{"topic": "read.a", "tenant_id": "other"}', false),
	('{"tenant_id": "acme", "topic": "read.*", "actor_id": "x"}', '{"topic": "read.a", "tenant_id": "acme"}', false)) AS t(scope, job, covers);
SELECT is(policy.halt_covers('{"tenant_id": "acme"}', job), true, format('whose %s is nobody knows: any halt covers it', job))
FROM (VALUES ('[]'::jsonb), ('{"topic": "a", "tenant_id": 7}')) AS t(job);

--
-- What is stopped, and what is not
--
SELECT submit('read.a', '{"tenant_id": "acme"}') AS waits, submit('prod.a', '{"tenant_id": "acme"}') AS asks, submit('mail.a', '{"tenant_id": "acme"}') AS throttled,
	submit('read.a', '{"tenant_id": "acme"}') AS runs \gset
SELECT put(:runs, $$submitted_at = submitted_at - interval '1 minute'$$) \g /dev/null
SELECT is((claim('early')).job_id, :runs::bigint, 'a job has started');
SELECT pending_of(:asks) AS approval \gset
SELECT set_config('session_authorization', 'policy_test_approver', true) \g /dev/null
SELECT policy_approve(:approval) \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is(state_of(:asks), 'ready', 'another is approved');
SELECT put(:throttled, $$run_after = now() - interval '1 second'$$) \g /dev/null
SELECT halt('{"tenant_id": "Acme"}', 'they asked for it') AS halt \gset
SELECT is((scope, reason, halted_by, resumed_by, resumed_at, resume_note)::text, (jsonb '{"tenant_id": "acme"}', 'they asked for it', session_user, NULL, NULL, NULL)::text,
	'a halt says what it covers, why, and who made it') FROM policy.halts WHERE halt_id = :halt;
SELECT submit('read.b', '{"tenant_id": "acme"}') AS later, submit('prod.b', '{"tenant_id": "acme"}') AS later_asks, submit('drop.b', '{"tenant_id": "acme"}') AS dropped,
	submit('read.b', '{"tenant_id": "other"}') AS other \gset
SELECT is(ARRAY[state_of(:later), state_of(:later_asks), state_of(:dropped)], '{ready,awaiting_approval,denied}', 'enqueueing goes on deciding by policy');
SELECT is(claimed(), ARRAY[:other::bigint], 'nothing that it covers starts: ready, throttled and due, approved, or new');
SELECT is(claimed(), '{}', 'nor at the next poll');
SELECT is((SELECT array_agg(halt_id ORDER BY job_id) FROM policy.jobs WHERE job_id IN (:waits, :asks, :throttled, :later)), array_fill(:halt::bigint, '{4}'), 'they are out of the queue');
SELECT is(ARRAY[state_of(:waits), state_of(:asks), state_of(:throttled)], '{ready,ready,throttled}', 'in the state that they were in');
SELECT is(evidence_of(:waits), 'submit ALLOW read, halt DENY -', 'that a claim was stopped is evidence, once');
SELECT is((SELECT (tenant_id, topic, decision, reason, snapshot, release_id, matched_rules, constraints, job)::text FROM policy.decisions
		WHERE source = 'halt' AND job_table = 'policy.jobs' AND job_key = :'waits'),
	('acme'::text, 'read.a'::text, 'DENY', format('halt %s: they asked for it', :halt), 'v1', 1, '{}', '{}', '{"topic": "read.a", "tenant_id": "acme"}')::text,
	'it says what was stopped, and by which halt');
SELECT is(halts_recorded(), format('policy.halts %s DENY halted: they asked for it, %s', :halt, (SELECT string_agg(format('policy.jobs %s DENY halt %s: they asked for it', id, :halt), ', ' ORDER BY n)
	FROM unnest(ARRAY[:throttled, :waits, :asks, :later]) WITH ORDINALITY t(id, n))), 'and so is the halt');
SELECT is((SELECT status || attempts FROM policy.approvals WHERE job_key = :'asks'), 'approved0', 'no approval is used up');
SELECT bag_eq('SELECT job_table, job_key FROM policy.halt_stops', format($$VALUES ('policy.jobs', '%s'), ('policy.jobs', '%s'), ('policy.jobs', '%s'), ('policy.jobs', '%s')$$,
	:waits, :asks, :throttled, :later), 'policy.halt_stops lists what is stopped');
SELECT bag_eq('SELECT halt_id, job_id, claimed_by FROM policy.halted_running', format($$VALUES (%s::bigint, %s::bigint, 'early')$$, :halt, :runs), 'and policy.halted_running what runs all the same');
SELECT is((SELECT halts FROM policy_status()), 1::bigint, 'policy_status counts halts');
SELECT alike((SELECT warnings[1] FROM policy_status()), '%halts are in force%"tenant_id": "acme"%they asked for it%', 'and warns of them');

-- What runs
SELECT job_id, claim_token AS token FROM policy.jobs WHERE job_id = :runs \gset
SELECT is((h.state, h.halt_id, h.error)::text, ('halted', :halt, 'they asked for it')::text, 'a heartbeat of what runs says to stop, and why') FROM policy_heartbeat(:runs, :'token') h;
SELECT is((state, halt_id, error)::text, ('running', NULL::bigint, NULL)::text, 'in its answer alone') FROM policy.jobs WHERE job_id = :runs;
SAVEPOINT running;
SELECT is((policy_complete(:runs, :'token', '1')).state, 'succeeded', 'it may go on and complete');
ROLLBACK TO running;
SELECT is((policy_fail(:runs, :'token', 'halted')).state, 'ready', 'or stop, and be tried again');
SELECT is(claimed(), '{}', 'but not while the halt lasts');
SELECT is(evidence_of(:runs), 'submit ALLOW read, halt DENY -', 'which is evidence then');
SELECT is((SELECT count(*) FROM policy.halted_running), 0::bigint, 'now nothing runs that is halted');

-- What changes
UPDATE policy.jobs SET payload = '1' WHERE job_id = :later;
SELECT is((SELECT halt_id FROM policy.jobs WHERE job_id = :later), NULL, 'a job that is changed is in the queue again');
SELECT is(claimed(), '{}', 'and is stopped again');
SELECT is(evidence_of(:later), 'submit ALLOW read, halt DENY -, update ALLOW read', 'once a job and halt is enough of evidence');
UPDATE policy.jobs SET tenant_id = 'another' WHERE job_id = :later;
SELECT is(claimed(), ARRAY[:later::bigint], 'one that is not covered any more starts');
SELECT is((policy_cancel(:waits, 'no')).state, 'cancelled', 'a halted job can be cancelled');
SELECT submit('read.c', '{"tenant_id": "acme"}') AS keyed \gset

-- A second halt
SELECT halt('{"topic": "mail.*"}', 'storm') AS second \gset
SELECT is((policy_resume(:halt, 'calm')).resume_note, 'calm', 'resuming says so');
SELECT is((resumed_by, resumed_at IS NOT NULL)::text, (session_user, true)::text, 'and who did') FROM policy.halts WHERE halt_id = :halt;
SELECT is(claimed(), ARRAY[:asks, :runs, :keyed]::bigint[], 'what it has stopped starts, approved as it was');
SELECT is((SELECT halt_id FROM policy.jobs WHERE job_id = :throttled), :second::bigint, 'but for what another halt covers');
SELECT is(evidence_of(:throttled), 'submit THROTTLE mail, halt DENY -, halt DENY -', 'with evidence of that halt, too');
SELECT is((SELECT count(*) FROM policy.halt_stops WHERE halt_id = :halt), 0::bigint, 'the list of what it has stopped is gone');
SELECT is((SELECT count(*) FROM policy.jobs WHERE halt_id = :halt AND state <> 'cancelled'), 0::bigint, 'and no job that waits points to it');
SELECT alike(halts_recorded(), format('%%policy.halts %s ALLOW resumed: calm%%', :halt), 'the resume is evidence');
SELECT is((policy_resume(:halt, 'again')).resume_note, 'calm', 'it is resumed once');
SELECT is((SELECT count(*) FROM policy.decisions WHERE source = 'halt' AND job_table = 'policy.halts' AND job_key = :'halt'), 2::bigint, 'and recorded once');
SELECT throws_ok('SELECT policy_resume(-1, NULL)', '22023', 'halt -1 does not exist', 'what was never halted cannot be resumed');
SELECT throws_ok('SELECT policy_resume(NULL, NULL)', '22023', 'halt NULL does not exist', 'nor NULL');
SELECT is(resume_all(), 1::bigint, 'the second is resumed');
SELECT is(claimed(), ARRAY[:throttled::bigint], 'and what it has stopped starts');
SELECT is((SELECT halts FROM policy_status()), 0::bigint, 'there is no halt any more');
SELECT empty_queue() \g /dev/null

--
-- The queue behind what is halted
--
SELECT count(submit('read.' || n, '{"tenant_id": "acme"}')) FROM generate_series(1, 2500) n \g /dev/null
SELECT submit('read.x', '{"tenant_id": "other"}') AS behind \gset
SELECT count(submit('write.' || n, '{"tenant_id": "acme"}')) FROM generate_series(1, 10) n \g /dev/null
SELECT halt('{"tenant_id": "acme"}') AS halt \gset
SELECT is((claim()).job_id, :behind::bigint, 'a claim finds what is behind thousands of halted jobs');
SELECT is((SELECT count(*) FROM policy.halt_stops), 2510::bigint, 'and has set aside all that is covered at the head');
SELECT is((SELECT count(*) FROM policy.decisions WHERE source = 'halt' AND reason LIKE format('halt %s: %%', :halt)), 2510::bigint, 'each with its evidence');
SELECT policy_resume(:halt) \g /dev/null
SELECT is((SELECT array_agg(c.topic ORDER BY c.submitted_at) FROM policy_claim('w', 3) c), '{read.1,read.2,read.3}', 'once resumed they come in turn');
SELECT is((SELECT count(*) FROM policy.jobs WHERE halt_id IS NOT NULL AND state = 'ready'), 1510::bigint, 'a claim puts back a thousand');
SELECT is((SELECT count(*) FROM policy_claim('w', 10000)), 2507::bigint, 'and claims go on to put back the rest');
SELECT empty_queue() \g /dev/null
-- By topics
SELECT count(submit('read.' || n)) FROM generate_series(1, 20) n \g /dev/null
SELECT submit('write.x') AS mine \gset
SELECT halt('{"topic": "read.*"}') AS halt \gset
SELECT is((claim('w', '{"write.*"}')).job_id, :mine::bigint, 'a claim of other topics finds its own');
SELECT is((SELECT count(*) FROM policy.halt_stops), 20::bigint, 'and is not kept by those that are halted at the head');
SELECT policy_resume(:halt) \g /dev/null
SELECT empty_queue() \g /dev/null

--
-- Savepoints, and what is not in force
--
SELECT submit('read.a') AS id \gset
SAVEPOINT s;
SELECT halt('{}') \g /dev/null
SELECT is(claimed(), '{}', 'a halt is in force for who made it');
ROLLBACK TO s;
SELECT is(claimed(), ARRAY[:id::bigint], 'and is not once it is taken back');
ROLLBACK TO s;
SELECT halt('{}') AS halt \gset
SAVEPOINT resumed;
SELECT policy_resume(:halt) \g /dev/null
SELECT is(claimed(), ARRAY[:id::bigint], 'so it is with a resume');
ROLLBACK TO resumed;
SELECT is(claimed(), '{}', 'that is taken back');
SELECT resume_all() \g /dev/null

-- Without a policy nothing changes
SAVEPOINT unavailable;
SELECT halt('{}') \g /dev/null
SELECT submit('read.b') AS untouched \gset
ALTER TABLE policy.releases DISABLE TRIGGER ALL;
DELETE FROM policy.releases;
SELECT is(claimed(), '{}', 'while no policy is active a claim gives nothing');
SELECT is((SELECT (state, halt_id)::text FROM policy.jobs WHERE job_id = :untouched), ('ready', NULL::bigint)::text, 'and changes nothing, halted or not');
ROLLBACK TO unavailable;

-- Masks
SELECT release('masked', $$
  - {id: all, decision: allow}
evidence: {mask: ["$.payload.secret", "$.actor_id"]}$$) \g /dev/null
SELECT submit('read.m', '{"actor_id": "bob", "payload": {"secret": "s3cret", "open": 1}}') AS masked, halt('{"actor_id": "bob"}') AS halt \gset
SELECT claimed() \g /dev/null
SELECT is((SELECT (actor_id, job)::text FROM policy.decisions WHERE source = 'halt' AND job_table = 'policy.jobs' AND job_key = :'masked'),
	('***'::text, '{"topic": "read.m", "payload": {"open": 1, "secret": "***"}, "actor_id": "***"}'::jsonb)::text, 'what evidence masks is masked in that of halts');
SELECT resume_all() \g /dev/null

-- A claim within a claim
SAVEPOINT nested;
SELECT empty_queue() \g /dev/null
CREATE FUNCTION claim_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.state = 'running' AND new.claimed_by = 'w' THEN
		PERFORM public.policy_claim('nested', 1);
	END IF;
	RETURN new;
END
$$;
CREATE TRIGGER claim_more AFTER UPDATE ON policy.jobs FOR EACH ROW EXECUTE FUNCTION claim_more();
SELECT submit('read.n'), submit('read.n'), submit('read.o') \g /dev/null
SELECT halt('{"topic": "read.o"}') \g /dev/null
SELECT (claim('w')).job_id \g /dev/null
SELECT is((SELECT array_agg(claimed_by ORDER BY job_id) FROM policy.jobs WHERE topic = 'read.n'), '{w,nested}', 'a trigger of a claim may claim');
SELECT is((SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode IN ('RowExclusiveLock', 'ShareLock')
		AND 'policy.halt_signal'::regclass IN (relation, objid)), 0::bigint, 'and leaves no lock behind that a halt would wait for at its commit');
ROLLBACK TO nested;

--
-- Nobody changes halts behind their back
--
SELECT halt('{"tenant_id": "acme"}') AS halt \gset
SELECT throws_ok(format('UPDATE policy.halts SET %s WHERE halt_id = %s', change, :halt), 'PE011', NULL, format('no update: %s', change))
FROM (VALUES ($$scope = '{"tenant_id": "x"}'$$), ($$reason = 'none'$$), ('halt_id = 0'), ('halted_at = now()'), ($$resume_note = 'x'$$)) AS t(change);
SELECT throws_ok($$UPDATE policy.halts SET resumed_at = NULL WHERE resumed_at IS NOT NULL$$, 'PE011', NULL, 'what was resumed is not halted again');
SELECT throws_ok('DELETE FROM policy.halts', 'PE011', NULL, 'no halt is deleted');
SELECT throws_ok('TRUNCATE policy.halts', 'PE011', NULL, 'nor all');
SELECT submit('read.a', '{"tenant_id": "acme"}') AS acme, submit('read.a', '{"tenant_id": "zeta"}') AS zeta \gset
SAVEPOINT unreadable;
INSERT INTO policy.halts VALUES (0, '{"colour": "red"}', 'by hand', 'me', now());
SELECT is(claimed(), '{}', 'a halt whose scope cannot be read covers everything');
ROLLBACK TO unreadable;
SAVEPOINT disabled;
ALTER TABLE policy.halts DISABLE TRIGGER halt_changed;
SELECT halt('{"tenant_id": "zeta"}') \g /dev/null
SELECT is(:zeta = ANY (claimed()), false, 'a halt is found without its trigger');
SELECT alike(array_to_string((SELECT warnings FROM policy_status()), ' '), '%policy.halts.halt_changed%', 'which policy_status misses');
ROLLBACK TO disabled;
SELECT is((SELECT count(*) FROM policy_verify()), 0::bigint, 'the evidence holds together');

--
-- Who
--
CREATE FUNCTION as_login(login text, statement text, role text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	me text := session_user;
	result text;
BEGIN
	PERFORM set_config('session_authorization', login, true);
	PERFORM set_config('role', coalesce(role, 'none'), true);
	BEGIN
		EXECUTE statement INTO result;
	EXCEPTION WHEN OTHERS THEN
		result := SQLSTATE;
	END;
	PERFORM set_config('role', 'none', true);
	PERFORM set_config('session_authorization', me, true);
	RETURN result;
END
$$;
SELECT is(as_login('policy_test_plain', $$SELECT (policy_halt('{}', 'x')).halted_by$$), '42501', 'who has no duty halts nothing');
SELECT is(as_login('policy_test_plain', format('SELECT (policy_resume(%s)).resumed_by', :halt)), '42501', 'and resumes nothing');
SELECT is(as_login('policy_test_operator', $$SELECT (policy_halt('{"actor_id": "nobody"}', 'x')).halted_by$$), 'policy_test_operator', 'an operator halts');
SELECT is(as_login('policy_test_operator', format('SELECT (policy_resume(%s)).resumed_by', :halt)), 'policy_test_operator', 'and resumes what somebody else has halted');
SELECT is(as_login('policy_test_operator', 'SELECT count(*) FROM policy.halted_running'), '0', 'and sees what runs');
SELECT is(as_login('policy_test_operator', $$INSERT INTO policy.halts VALUES (0, '{}', 'x', 'me', now())$$), '42501', 'but writes no halt itself');
SELECT is(as_login('policy_test_pool', $$SELECT (policy_halt('{"actor_id": "nobody"}', 'x')).halted_by$$, 'policy_test_operator'), 'policy_test_operator',
	'a proxy halts for the role that it has set');
SELECT is((SELECT (role, session_role)::text FROM policy.decisions WHERE source = 'halt' ORDER BY decision_id DESC LIMIT 1), ('policy_test_operator', 'policy_test_pool')::text,
	'and the evidence has both');

SELECT * FROM finish();
ROLLBACK;
