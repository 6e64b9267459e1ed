-- Velocities: rules that apply beyond a rate, counted in shared memory.  No rate of
-- these tests ends while they run; what a counter has is read off stored snapshots that
-- differ in max_requests alone.
\ir queue.psql
SELECT plan(63);
CREATE ROLE policy_test_approver LOGIN;
SELECT policy_grant('policy_test_approver', 'approve') \g /dev/null

CREATE FUNCTION calls(max_requests int) RETURNS text LANGUAGE sql AS $$
	SELECT format('  - {id: v.calls, match: {topics: ["call.*"]}, decision: throttle, velocity: {max_requests: %s, window_seconds: 86400, key: "tenant:actor_id"}}', max_requests)
$$;
CREATE FUNCTION rules(max_requests int) RETURNS text LANGUAGE sql AS $$
	SELECT calls(max_requests) || E'\n' || '
  - {id: v.nested, match: {topics: ["call.never"]}, decision: deny}
  - {id: v.pays, match: {topics: ["pay.*"]}, decision: require_approval, velocity: {max_requests: 1, window_seconds: 86400, key: tenant}, constraints: {max_retries: 1}}
  - {id: v.drops, match: {topics: ["drop.*"]}, decision: deny, velocity: {max_requests: 1, window_seconds: 86400, key: tenant}}
  - {id: v.watch, match: {topics: ["watch.*"]}, mode: monitor, decision: deny, velocity: {max_requests: 2, window_seconds: 86400, key: tenant}}'
$$;

-- What a counter of v.calls has, of up to 20.
SELECT policy_stage('calls ' || n, format(E'version: v1\ndefaults: {decision: allow}\nrules:\n%s\n', calls(n))::policy_document, NULL)
	FROM generate_series(1, 20) n \g /dev/null
CREATE FUNCTION charged(tenant text, actor text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM generate_series(1, 20) n
	WHERE policy_simulate(jsonb_strip_nulls(jsonb_build_object('topic', 'call.x', 'tenant_id', tenant, 'actor_id', actor)), 'calls ' || n)
		->> 'decision' = 'THROTTLE'
$$;
CREATE FUNCTION call(tenant text, more jsonb DEFAULT '{}') RETURNS bigint LANGUAGE sql
	AS $$ SELECT submit('call.a', jsonb_build_object('tenant_id', tenant) || more) $$;
CREATE FUNCTION approve(id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	approval bigint := pending_of(id);
	me text := session_user;
BEGIN
	PERFORM set_config('session_authorization', 'policy_test_approver', true);
	result := (policy_approve(approval)).status;
	PERFORM set_config('session_authorization', me, true);
	RETURN result;
END
$$;

SELECT release('v1', rules(3), '{decision: allow, constraints: {max_retries: 2}}') \g /dev/null

--
-- Within the rate, and beyond
--
SELECT is(array_agg((policy_evaluate('{"topic": "call.a", "tenant_id": "t1"}'::jsonb)).decision::text), array_fill('ALLOW'::text, '{10}'),
	'within the rate the rule does not apply, however often it is evaluated') FROM generate_series(1, 10);
SELECT is(charged('t1'), 0::bigint, 'and evaluating charges nothing');
SELECT call('t1') AS one, call('t1') AS two, call('t1') AS three \gset
SELECT is(array[state_of(:one), state_of(:two), state_of(:three)], '{ready,ready,ready}', 'as many as the limit are admitted');
SELECT is(charged('t1'), 3::bigint, 'and charged');
SELECT call('t1') AS four \gset
SELECT is(state_of(:four), 'throttled', 'the next is throttled');
SELECT is((v.decision::text, v.matched_rules)::text, '(THROTTLE,{v.calls})', 'evaluating says so, too') FROM policy_evaluate('{"topic": "call.a", "tenant_id": "t1"}'::jsonb) v;
SELECT ok(v.retry_after_sec BETWEEN 86000 AND 86400 * 17 / 16 + 1, 'it is to come back when the rate admits again: after a window, and 1/16 of one at most')
	FROM policy_evaluate('{"topic": "call.a", "tenant_id": "t1"}'::jsonb) v;
SELECT ok(j.run_after - j.decided_at BETWEEN interval '86000 s' AND interval '91801 s', 'and the job waits for that') FROM policy.jobs j WHERE job_id = :four;
SELECT is((v.decision, v.retry_after_sec)::text, '(THROTTLE,86400)', 'for a document that is not stored the velocity is unknown')
	FROM policy_evaluate(format(E'version: v1\ndefaults: {decision: allow}\nrules:\n%s\n', calls(3))::policy_document, '{"topic": "call.a", "tenant_id": "t1"}', now()) v;
SELECT is(charged('t1'), 3::bigint, 'what was throttled is given back, and not charged');
SELECT is(state_of(call('t2')), 'ready', 'another key has a rate of its own');

--
-- Which attempts are charged
--
SELECT is(state_of(submit('call.never', '{"tenant_id": "t3"}')), 'denied', 'an attempt that another rule denies');
SELECT is(charged('t3'), 1::bigint, 'is charged');
SAVEPOINT attempt;
SELECT call('t3') \g /dev/null
ROLLBACK TO attempt;
SELECT is(charged('t3'), 2::bigint, 'and so is one that is rolled back');
INSERT INTO policy.jobs (topic, tenant_id, payload) SELECT 'call.a', 't4', '1' FROM generate_series(1, 2);
SELECT is(charged('t4'), 2::bigint, 'two rows that are the same job are two attempts');
SELECT policy_submit('{"topic": "call.a", "tenant_id": "t5", "risk_tags": 1}') \g /dev/null
SELECT is(charged('t5'), 0::bigint, 'an invalid job is charged nothing');
SELECT call('t6', '{"idempotency_key": "k"}') AS keyed \gset
SELECT is(call('t6', '{"idempotency_key": "k"}'), :keyed::bigint, 'the same job submitted again');
SELECT is(charged('t6'), 2::bigint, 'is another attempt, though it makes no job');
UPDATE policy.jobs SET payload = '2' WHERE job_id = :keyed;
SELECT is(charged('t6'), 3::bigint, 'other content is one as well');
UPDATE policy.jobs SET payload = '2' WHERE job_id = :keyed;
SELECT is(charged('t6'), 3::bigint, 'the same content is none');
UPDATE policy.jobs SET payload = '3' WHERE job_id = :keyed;
SELECT is((state_of(:keyed), charged('t6'))::text, '(throttled,3)', 'and beyond the rate a change is throttled');

--
-- ON CONFLICT
--
INSERT INTO policy.jobs (topic, tenant_id, idempotency_key, payload) VALUES ('call.a', 't7', 'k', '1');
INSERT INTO policy.jobs (topic, tenant_id, idempotency_key, payload) VALUES ('call.a', 't7', 'k', '2')
	ON CONFLICT (policy.idempotency_hash(tenant_id, extra, idempotency_key)) WHERE idempotency_key IS NOT NULL DO UPDATE SET payload = EXCLUDED.payload;
SELECT is((SELECT payload::text FROM policy.jobs WHERE tenant_id = 't7'), '2', 'a row that conflicts updates the one that is there');
SELECT is(charged('t7'), 2::bigint, 'and is charged once for both decisions');
INSERT INTO policy.jobs (topic, tenant_id, idempotency_key, payload) VALUES ('call.a', 't8', 'k', '1');
INSERT INTO policy.jobs (topic, tenant_id, idempotency_key, payload) VALUES ('call.a', 't8', 'm', '2'), ('call.a', 't8', 'k', '2')
	ON CONFLICT (policy.idempotency_hash(tenant_id, extra, idempotency_key)) WHERE idempotency_key IS NOT NULL DO UPDATE SET payload = EXCLUDED.payload;
SELECT is(charged('t8'), 3::bigint, 'in a statement that inserts one and updates another, each is charged');
SELECT current_setting('server_version_num')::int >= 150000 AS has_merge \gset
\if :has_merge
INSERT INTO policy.jobs (topic, tenant_id, payload) VALUES ('read.a', 't9', '1');
MERGE INTO policy.jobs j USING (VALUES (1, 'none'), (2, 't9')) v (n, tenant) ON j.tenant_id = v.tenant
	WHEN MATCHED THEN UPDATE SET topic = 'call.a', tenant_id = 't10', payload = '5'
	WHEN NOT MATCHED THEN INSERT (topic, tenant_id, payload) VALUES ('call.a', 't10', '5');
SELECT is((count(*), charged('t10'))::text, '(2,2)', 'MERGE that inserts a job and makes another row the same is charged for both') FROM policy.jobs WHERE tenant_id = 't10';
\else
SELECT skip('MERGE is of PostgreSQL 15', 1);
\endif

--
-- Through the queue
--
SELECT empty_queue() \g /dev/null
SELECT call('q1') AS one, call('q1') AS two, call('q1') AS three, call('q1') AS four \gset
SELECT is(array_agg(job_id ORDER BY job_id), array[:one, :two, :three]::bigint[], 'what was admitted can be claimed, under a rate that is used up') FROM policy_claim('w', 10);
SELECT is(charged('q1'), 3::bigint, 'and is not charged again for that');
SELECT is(string_agg(evidence_of(id), '; '), 'submit ALLOW -; submit ALLOW -; submit ALLOW -', 'nor decided otherwise') FROM unnest(array[:one, :two, :three]) id;
SELECT put(:four, $$run_after = now() - interval '1 second'$$) \g /dev/null
SELECT is((claim()).job_id, NULL::bigint, 'a throttled job whose time has come is asked again');
SELECT is((state_of(:four), evidence_of(:four), charged('q1'))::text, '(throttled,"submit THROTTLE v.calls, claim THROTTLE v.calls",3)', 'and waits on where the rate does not admit it');
SELECT ok(run_after > now() + interval '86000 s', 'until it next will') FROM policy.jobs WHERE job_id = :four;
SELECT release('v2', rules(4), '{decision: allow, constraints: {max_retries: 2}}') \g /dev/null
SELECT is(charged('q1'), 3::bigint, 'a release changes nothing that was counted');
SELECT put(:four, $$run_after = now() - interval '1 second'$$) \g /dev/null
SELECT is((claim()).job_id, :four::bigint, 'where the rate admits it, it starts');
SELECT is(charged('q1'), 4::bigint, 'and is charged');
SELECT (policy_fail(job_id, claim_token, 'no')).state AS failed FROM policy.jobs WHERE job_id = :one \gset
SELECT is(:'failed'::text, 'ready', 'a failed attempt goes back');
SELECT is((claim()).job_id, NULL::bigint, 'and another attempt of the job');
SELECT is((state_of(:one), evidence_of(:one))::text, '(throttled,"submit ALLOW -, claim THROTTLE v.calls")', 'is one more request');

-- A rule that is new
SELECT submit('new.a', '{"tenant_id": "q2"}') AS one, submit('new.a', '{"tenant_id": "q2"}') AS two \gset
SELECT release('v3', rules(4) || E'\n' || '  - {id: v.new, match: {topics: ["new.*"]}, decision: deny, velocity: {max_requests: 1, window_seconds: 86400, key: tenant}}',
	'{decision: allow, constraints: {max_retries: 2}}') \g /dev/null
SELECT is(array_agg(job_id), array[:one]::bigint[], 'a claim asks the velocity of a rule that was not in force when the job was submitted') FROM policy_claim('w', 10);
SELECT is((state_of(:two), evidence_of(:two))::text, '(denied,"submit ALLOW -, claim DENY v.new")', 'and charges it');

-- Approval
SELECT submit('pay.a', '{"tenant_id": "q3"}') AS one, submit('pay.a', '{"tenant_id": "q3"}') AS two, submit('pay.a', '{"tenant_id": "q3"}') AS three \gset
SELECT is(array[state_of(:one), state_of(:two), state_of(:three)], '{ready,awaiting_approval,awaiting_approval}', 'beyond the rate, an approval is asked for');
CREATE FUNCTION pays() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM generate_series(1, 10) n WHERE policy_simulate('{"topic": "pay.x", "tenant_id": "q3"}', 'pays ' || n) ->> 'decision' <> 'ALLOW'
$$;
SELECT policy_stage('pays ' || n, format('{version: v1, defaults: {decision: allow}, rules: [{id: v.pays, decision: deny, velocity: {max_requests: %s, window_seconds: 86400, key: tenant}}]}', n)::policy_document, NULL)
	FROM generate_series(1, 10) n \g /dev/null
SELECT is(pays(), 3::bigint, 'each attempt is charged, those too that a rule holds which does not throttle');
SELECT policy_maintain() \g /dev/null
SELECT count(*) FROM policy_approvals() \g /dev/null
SELECT is((pays(), evidence_of(:two))::text, '(3,"submit REQUIRE_APPROVAL v.pays")', 'neither maintenance nor a look at the queue is charged, nor changes what the attempt was told');
SELECT is(approve(:two), 'approved', 'who may, approves');
SELECT is(array_agg(job_id ORDER BY job_id), array[:one, :two]::bigint[], 'what is approved starts') FROM policy_claim('w', 10);
SELECT is(pays(), 3::bigint, 'without another charge');

-- Denied, and decided again
SELECT submit('drop.a', '{"tenant_id": "q4"}') AS one, submit('drop.a', '{"tenant_id": "q4"}') AS two \gset
SELECT is(array[state_of(:one), state_of(:two)], '{ready,denied}', 'beyond the rate a rule may deny');
SELECT release('v4', replace(rules(4), '{max_requests: 1, window_seconds: 86400, key: tenant}}', '{max_requests: 3, window_seconds: 86400, key: tenant}}'), '{decision: allow, constraints: {max_retries: 2}}') \g /dev/null
SELECT is(array_agg(state), '{ready}', 'policy_redecide asks anew') FROM policy_redecide(format('{"job_id": %s}', :two)::jsonb, 'wider');
SELECT is((policy_evaluate('{"topic": "drop.a", "tenant_id": "q4"}'::jsonb)).decision::text, 'DENY', 'and is charged');

--
-- Monitor, exceptions, first_match, rules that permit
--
SELECT submit('watch.a', '{"tenant_id": "m"}') AS one, submit('watch.a', '{"tenant_id": "m"}') AS two, submit('watch.a', '{"tenant_id": "m"}') AS three \gset
SELECT is(string_agg(d.decision || d.monitored_rules::text, ' ' ORDER BY d.decision_id), 'ALLOW{} ALLOW{} ALLOW{v.watch}', 'in monitor mode a velocity counts, and is told of, and enforces nothing')
	FROM policy.decisions d WHERE d.tenant_id = 'm';
SELECT release('x1', '
  - {id: v.excepted, match: {topics: ["call.*"]}, decision: deny, velocity: {max_requests: 1, window_seconds: 86400, key: tenant},
     exceptions: [{id: e, match: {actor_ids: [bot]}, expires_at: 2999-01-01T00:00:00Z, reason: r}]}', '{decision: allow}') \g /dev/null
SELECT is(array_agg(state_of(call('x', '{"actor_id": "bot"}'))), '{ready,ready,ready}', 'an exception lets pass beyond the rate') FROM generate_series(1, 3);
SELECT is(state_of(call('x')), 'ready', 'and what it covers uses up no rate');
SELECT is(state_of(call('x')), 'denied', 'of the others');
SELECT policy_stage('f1', E'version: v1\ncombine: first_match\nrules:\n  - {id: f.first, match: {topics: ["call.a"]}, decision: allow}\n  - {id: f.second, decision: deny, velocity: {max_requests: 1, window_seconds: 86400, key: tenant}}\n  - {id: f.third, decision: allow}\n', NULL), policy_publish('f1', NULL) \g /dev/null
SELECT call('f'), call('f') \g /dev/null
SELECT is(array[state_of(submit('call.b', '{"tenant_id": "f"}')), state_of(submit('call.b', '{"tenant_id": "f"}'))], '{ready,denied}',
	'under first_match a velocity behind the first rule that applies is not asked');
SELECT is((SELECT count(*) FROM policy_claim('w', 100) WHERE tenant_id = 'f'), 3::bigint, 'and what it admitted is claimed without another charge');
SELECT release('p1', '  - {id: v.permits, match: {topics: ["call.*"]}, decision: allow, velocity: {max_requests: 1, window_seconds: 86400, key: "tenant:labels.l"}}') \g /dev/null
SELECT is(array[state_of(call('p')), state_of(call('p'))], '{denied,ready}', 'a rule that permits applies beyond its rate, too');
SELECT is(array_agg(state_of(call('p', jsonb_build_object('labels', jsonb_build_object('l', repeat('x', 5000)))))), '{denied,denied,denied}',
	'but never by a key that is too long to be counted') FROM generate_series(1, 3);

--
-- Keys
--
SELECT release('k1', calls(2), '{decision: allow}') \g /dev/null
SELECT call('a:b', '{"actor_id": "c"}'), call('a:b', '{"actor_id": "c"}') \g /dev/null
SELECT is(array[charged('a:b', 'c'), charged('a', 'b:c'), charged('a:b:c'), charged('a:b', 'c '), charged('A:b', E'\u200bC')], '{2,0,0,2,2}',
	'two keys never meet, and one has many spellings');
SELECT is(array[state_of(call('a', '{"actor_id": "b:c"}')), state_of(call('a:b', '{"actor_id": "C"}'))], '{ready,throttled}', 'nor when they are charged');
SELECT call('k'), call('k', '{"actor_id": ""}') \g /dev/null
SELECT is(charged('k'), 2::bigint, 'an absent value is the empty one');
SELECT is(state_of(submit('call.a', '{"tenant_id": "k", "actor_id": " "}')), 'throttled', 'and no way round');
SELECT is((v.decision, v.retry_after_sec)::text, '(THROTTLE,86400)', 'a key that is too long to be counted counts as exceeded')
	FROM policy_evaluate(jsonb_build_object('topic', 'call.a', 'tenant_id', repeat('t', 5000))) v;
SELECT release('k2', replace(calls(2), '86400', '86399'), '{decision: allow}') \g /dev/null
SELECT is(state_of(call('k')), 'ready', 'another window begins anew');
SELECT is(s.warnings, '{}', 'policy_status has nothing to say of counters that count') FROM policy_status() s;

SELECT * FROM finish();
ROLLBACK;
