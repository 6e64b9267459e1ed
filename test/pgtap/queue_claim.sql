\ir queue.psql
SELECT plan(202);
CREATE ROLE policy_test_approver LOGIN;
SELECT policy_grant('policy_test_approver', 'approve') \g /dev/null

-- What a job is, apart from what must differ.
CREATE FUNCTION attempt(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', state, attempts, coalesce(claimed_by, '-')) FROM policy.jobs WHERE job_id = id
$$;
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
-- Ends the running attempt of a job.
CREATE FUNCTION fail(id bigint, error text DEFAULT 'broken') RETURNS text LANGUAGE sql AS $$
	SELECT (policy_fail(j.job_id, j.claim_token, fail.error)).state FROM policy.jobs j WHERE j.job_id = id
$$;
CREATE FUNCTION complete(id bigint, result jsonb DEFAULT '1') RETURNS text LANGUAGE sql AS $$
	SELECT (policy_complete(j.job_id, j.claim_token, complete.result)).state FROM policy.jobs j WHERE j.job_id = id
$$;
CREATE FUNCTION heartbeat(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT (policy_heartbeat(j.job_id, j.claim_token)).state FROM policy.jobs j WHERE j.job_id = id
$$;
-- Puts a running job past its deadline.
CREATE FUNCTION overrun(id bigint) RETURNS void LANGUAGE sql AS $$ SELECT put(id, $p$deadline = clock_timestamp() - interval '1 second'$p$) $$;

CREATE FUNCTION snapshot_of(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT snapshot FROM policy.decisions WHERE decision_id = id $$;

--
-- Before any release: restored jobs, and nobody to decide
--
INSERT INTO policy.jobs (job_id, topic, state, decision_id, decided_at, constraints, attempts, submitted_by, submitted_at)
VALUES (1000001, 'read.a', 'ready', 1, '2020-01-01', '{"x": 1}', 0, 'long gone', '2020-01-01');
CREATE TEMP TABLE restored AS SELECT * FROM policy.jobs;
SELECT is_empty($$SELECT policy_claim('worker', 10)$$, 'with no active policy a claim gives nothing');
SELECT set_eq('SELECT * FROM policy.jobs', 'SELECT * FROM restored', 'and changes nothing');
SELECT is_empty('SELECT * FROM policy.decisions', 'nor records anything');
SELECT is(submit('read.a') IS NOT NULL, true, 'a submission then');
SELECT is(array_agg(state || ' ' || evidence_of(job_id)), '{denied submit DENY -}', 'is denied, and recorded') FROM policy.jobs WHERE job_id < 1000000;
SELECT is(release('v1', first_rules()), 'v1', 'a policy is in force');
SELECT is((claim()).job_id, 1000001::bigint, 'and the restored job can be claimed');
SELECT is((attempt(1000001), evidence_of(1000001))::text, '("running 1 worker","claim ALLOW read")', 'under a decision of its own, since it had none');

--
-- What a claim takes, and in which order
--
SELECT empty_queue() \g /dev/null
SELECT submit('read.1') AS one, submit('write.2') AS two, submit('mail.3') AS three, submit('mail.4') AS four, submit('read.5') AS five, submit('prod.6') AS six,
	submit('drop.7') AS seven \gset
SELECT put(:one, $$submitted_at = now() - interval '1 hour'$$), put(:two, $$submitted_at = now() - interval '2 hours'$$),
	put(:three, $$submitted_at = now() - interval '9 hours', run_after = now() - interval '90 minutes'$$),
	put(:four, $$submitted_at = now() - interval '9 hours'$$), put(:five, $$submitted_at = now() - interval '1 hour'$$) \g /dev/null
SELECT is((claim()).job_id, :two::bigint, 'the oldest is first');
SELECT is((claim()).job_id, :three::bigint, 'a throttled one has the place of its due time');
SELECT is((claim()).job_id, :one::bigint, 'then the next');
SELECT is((claim()).job_id, :five::bigint, 'of one time, the lower id first');
SELECT is((claim()).job_id, NULL, 'and no other: none that is not due, waits for approval, or is denied');
SELECT is((SELECT array_agg(state_of(id) ORDER BY o) FROM unnest(ARRAY[:four, :six, :seven]::bigint[]) WITH ORDINALITY u(id, o)), '{throttled,awaiting_approval,denied}', 'which stay what they are');
SELECT put(:four, 'run_after = clock_timestamp()') \g /dev/null
SELECT is((claim()).job_id, :four::bigint, 'due now is due');
SELECT is((state, run_after IS NOT NULL, evidence_of(job_id))::text, '(running,t,"submit THROTTLE mail, claim ALLOW mail")', 'the rule that it waited for now allows; its time stays')
FROM job(:four);
SELECT is_empty($$SELECT policy_claim('worker', 100)$$, 'an empty queue gives nothing');

SELECT empty_queue() \g /dev/null
INSERT INTO policy.jobs (topic) SELECT 'read.' || n FROM generate_series(1, 5) n;
SELECT is((SELECT count(*) FROM policy_claim('worker', 3)), 3::bigint, 'max_jobs are taken');
SELECT is((SELECT count(*) FROM policy_claim('worker', 100)), 2::bigint, 'or as many as there are');
INSERT INTO policy.jobs (topic) SELECT 'read.' || n FROM generate_series(1, 2300) n;
SELECT is((SELECT count(DISTINCT claim_token) FROM policy_claim('worker', 2147483647)), 2300::bigint, 'be it many, each with a token of its own');
SELECT is((SELECT count(*) FROM policy.decisions WHERE source = 'claim'), 3::bigint, 'a claim under the same policy records nothing: those three had another decision');

-- Topics
CREATE FUNCTION claimable(topics text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM empty_queue();
	PERFORM submit(t) FROM unnest('{read.a,read.a.b,READ.B,write.a,write.*}'::text[]) t;
	SELECT coalesce(string_agg(topic, ' ' ORDER BY job_id), 'nothing') INTO result FROM policy_claim('worker', 10, topics);
	RETURN result;
END
$$;
SELECT is(claimable(topics::text[]), taken, format('the topics %s', coalesce(topics, 'NULL')))
FROM (VALUES (NULL, 'read.a read.a.b READ.B write.a write.*'), ('{*}', 'read.a read.a.b READ.B write.a write.*'), ('{read.a}', 'read.a'), ('{Read.A}', 'read.a'),
	('{read.b}', 'READ.B'), ('{read.*}', 'read.a read.a.b READ.B'), ('{read.?}', 'read.a READ.B'), ('{"*.[ab]"}', 'read.a read.a.b READ.B write.a'),
	('{"write.\\*"}', 'write.*'), ('{read.b,write.a}', 'READ.B write.a'), ('{read}', 'nothing'), ('{drop.*}', 'nothing'), ('{ read.a }', 'read.a')) AS t(topics, taken);

-- Those that a claim for other topics passes over are not touched.
SELECT empty_queue() \g /dev/null
SELECT submit('read.a') AS id \gset
CREATE TEMP TABLE before AS SELECT * FROM policy.jobs WHERE job_id = :id;
SELECT is((claim('worker', '{write.*}')).job_id, NULL, 'there is nothing of that topic');
SELECT set_eq(format('SELECT * FROM policy.jobs WHERE job_id = %s', :id), 'SELECT * FROM before', 'and the others stay as they are');

--
-- The attempt
--
SELECT empty_queue() \g /dev/null
SELECT submit('write.a') AS id \gset
CREATE TEMP TABLE attempts AS SELECT * FROM claim('worker 1');
SELECT is(j, a::text::policy.jobs, 'what comes back is the row') FROM attempts a, job(:id) j;
SELECT is((state, attempts, claimed_by, deadline - claimed_at, finished_at, error)::text, ('running', 1, 'worker 1', '30 seconds'::interval, NULL, NULL)::text,
	'it runs, by whom, until its deadline: max_runtime_sec from the claim') FROM attempts;
SELECT ok(claimed_at BETWEEN now() AND clock_timestamp(), 'since now') FROM attempts;
SELECT matches(claim_token::text, '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$', 'under a random token') FROM attempts;
SELECT is(constraints, '{"max_runtime_sec": 30, "max_retries": 2, "region": "eu"}', 'with its bounds') FROM attempts;
SELECT is((claim()).job_id, NULL, 'nobody else gets it');
SELECT is(heartbeat(:id), 'running', 'a heartbeat says to go on');
SELECT is((j.deadline, j.claim_token, j.claimed_at, j.attempts)::text, (a.deadline, a.claim_token, a.claimed_at, a.attempts)::text, 'and extends nothing') FROM attempts a, job(:id) j;
SELECT is((state, result, finished_at >= claimed_at, claim_token IS NULL OR claim_token = a_token, error)::text, '(succeeded,"{""n"": 1}",t,t,)', 'it is completed, with its result')
FROM (SELECT j.*, a.claim_token AS a_token FROM attempts a, policy_complete(a.job_id, a.claim_token, '{"n": 1}') j) c;
SELECT throws_ok(format('SELECT %s(%s, %L)', verb, job_id, claim_token), 'PE013', NULL, verb || ' with the token of an attempt that has ended')
FROM attempts, unnest('{policy_heartbeat,policy_complete,policy_fail}'::text[]) verb;
SELECT is((result, attempts)::text, '("{""n"": 1}",1)', 'changes nothing') FROM job(:id);
SELECT is((claim()).job_id, NULL, 'and it does not run again');
SELECT is(evidence_of(:id), 'submit ALLOW_WITH_CONSTRAINTS write', 'the decision of its submission is all that there is');
SELECT submit('read.b') AS id \gset
SELECT claim() \g /dev/null
SELECT is((state, result)::text, '(succeeded,)', 'a result may be left out') FROM (SELECT c.* FROM job(:id) j, policy_complete(j.job_id, j.claim_token) c) c;

-- A claim that is rolled back was none.
SELECT submit('read.c') AS id \gset
SAVEPOINT s;
SELECT is((claim()).job_id, :id::bigint, 'it is claimed');
ROLLBACK TO s;
SELECT is(attempt(:id), 'ready 0 -', 'a claim that is rolled back leaves nothing');
SELECT is((claim()).job_id, :id::bigint, 'and it can be claimed again');

-- Retries
SELECT submit('write.retries') AS id \gset
SELECT claim('one') \g /dev/null
SELECT is(attempt(:id), 'running 1 one', 'the first attempt');
CREATE TEMP TABLE first AS SELECT * FROM job(:id);
SELECT is(fail(:id, 'e1'), 'ready', 'failed, it is ready again');
SELECT is((error, finished_at, claim_token, deadline)::text, '(e1,,,)', 'with what went wrong, under no token') FROM job(:id);
SELECT throws_ok(format('SELECT %s(%s, %L)', verb, job_id, claim_token), 'PE013', NULL, verb || ' with the token of an attempt that failed')
FROM first, unnest('{policy_heartbeat,policy_complete,policy_fail}'::text[]) verb;
SELECT claim('two') \g /dev/null
SELECT is(attempt(:id), 'running 2 two', 'the second attempt');
SELECT isnt(j.claim_token, f.claim_token, 'has another token') FROM first f, job(:id) j;
SELECT throws_ok(format('SELECT %s(%s, %L)', verb, job_id, claim_token), 'PE013', NULL, verb || ' by the first, late: another attempt is running')
FROM first, unnest('{policy_heartbeat,policy_complete,policy_fail}'::text[]) verb;
SELECT is(attempt(:id), 'running 2 two', 'which goes on');
SELECT is(fail(:id, 'e2'), 'ready', 'failed, it is ready for the last');
SELECT claim('three') \g /dev/null
SELECT is(attempt(:id), 'running 3 three', '1 + max_retries attempts');
SELECT is(fail(:id, 'e3'), 'failed', 'then it has failed');
SELECT is((error, finished_at IS NOT NULL)::text, '(e3,t)', 'for good') FROM job(:id);
SELECT is((claim()).job_id, NULL, 'and is not claimed again');
SELECT submit('write.recovers') AS id \gset
SELECT claim() \g /dev/null
SELECT fail(:id) \g /dev/null
SELECT claim() \g /dev/null
SELECT is(complete(:id), 'succeeded', 'a later attempt may succeed');
SELECT is(error, NULL, 'and then nothing went wrong') FROM job(:id);
SELECT submit('write.silent') AS id \gset
SELECT claim() \g /dev/null
SELECT is(fail(:id, NULL), 'ready', 'no word of what went wrong is needed');

-- Deadlines
SELECT empty_queue() \g /dev/null
CREATE FUNCTION late(verb text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint := submit('write.late');
	result text;
BEGIN
	PERFORM claim();
	PERFORM overrun(id);
	EXECUTE format('SELECT %s(%s)', verb, id) INTO result;
	RETURN concat_ws(' ', result, attempt(id), (SELECT j.result FROM policy.jobs j WHERE j.job_id = id),
		(SELECT CASE WHEN j.finished_at IS NOT NULL THEN 'finished' END FROM policy.jobs j WHERE j.job_id = id));
END
$$;
SELECT is(late('heartbeat'), 'timed_out timed_out 1 worker finished', 'a heartbeat past the deadline is told that its time is over');
SELECT is(late('fail'), 'timed_out timed_out 1 worker finished', 'a failure past it, too: no retry, though attempts are left');
SELECT is(late('complete'), 'timed_out timed_out 1 worker 1 finished', 'completing past it ends as timed_out, with the result');
SELECT is((claim()).job_id, NULL, 'none of them is tried again');
SELECT isnt(release('v2', '
  - {id: again, match: {topics: ["write.*"]}, decision: allow, constraints: {max_runtime_sec: 10, max_retries: 1, allow_timeout_retry: true}}
  - {id: word, match: {topics: ["word.*"]}, decision: allow, constraints: {max_runtime_sec: 10, max_retries: 1, allow_timeout_retry: "true"}}
  - {id: false, match: {topics: ["false.*"]}, decision: allow, constraints: {max_runtime_sec: 10, max_retries: 1, allow_timeout_retry: false}}
  - {id: free, match: {topics: ["free.*"]}, decision: allow}
  - {id: zero, match: {topics: ["zero.*"]}, decision: allow, constraints: {max_runtime_sec: 0}}
  - {id: huge, match: {topics: ["huge.*"]}, decision: allow, constraints: {max_runtime_sec: 1e300, max_retries: 1e300}}
  - {id: part, match: {topics: ["part.*"]}, decision: allow, constraints: {max_runtime_sec: 1.5, max_retries: 1.9}}
  - {id: half, match: {topics: ["half.*"]}, decision: allow, constraints: {max_runtime_sec: 0.25, max_retries: 0.9}}',
	'{decision: deny, constraints: {}}'), NULL, 'a release that lets late attempts be repeated');
SELECT is(late('heartbeat'), 'ready ready 1 worker', 'then a heartbeat past the deadline gives it back');
SELECT empty_queue() \g /dev/null
SELECT is(late('fail'), 'ready ready 1 worker', 'so does a failure');
SELECT empty_queue() \g /dev/null
SELECT is(late('complete'), 'timed_out timed_out 1 worker 1 finished', 'but what was completed is not repeated');
SELECT submit('write.again') AS id \gset
SELECT claim('one') \g /dev/null
CREATE TEMP TABLE overran AS SELECT * FROM job(:id);
SELECT overrun(:id) \g /dev/null
SELECT is(heartbeat(:id), 'ready', 'a late worker''s heartbeat gives the job back');
SELECT claim('two') \g /dev/null
SELECT is(attempt(:id), 'running 2 two', 'another takes it');
SELECT throws_ok(format('SELECT %s(%s, %L)', verb, job_id, claim_token), 'PE013', NULL, verb || ' with the late worker''s token') FROM overran,
	unnest('{policy_heartbeat,policy_complete,policy_fail}'::text[]) verb;
SELECT ok(j.deadline > clock_timestamp(), 'the second attempt has a deadline of its own') FROM job(:id) j;
SELECT overrun(:id) \g /dev/null
SELECT is(heartbeat(:id), 'timed_out', 'which is the last where no attempt is left');
SELECT submit('word.a') AS id \gset
SELECT claim() \g /dev/null
SELECT overrun(:id) \g /dev/null
SELECT is(heartbeat(:id), 'timed_out', 'allow_timeout_retry must be true, not a word');
SELECT submit('false.a') AS id \gset
SELECT claim() \g /dev/null
SELECT overrun(:id) \g /dev/null
SELECT is(heartbeat(:id), 'timed_out', 'nor false');

CREATE FUNCTION claimed(topic text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint := submit(topic);
	result text;
BEGIN
	SELECT concat_ws(' ', state, coalesce((deadline - claimed_at)::text, 'no deadline')) INTO result FROM claim();
	result := concat_ws(', ', result, fail(id));
	PERFORM empty_queue();
	RETURN result;
END
$$;
SELECT is(claimed('free.a'), 'running no deadline, failed', 'without max_runtime_sec there is no deadline, without max_retries no retry');
SELECT is(claimed('part.a'), 'running 00:00:01.5, ready', 'fractions of a second count, fractions of a retry round down');
SELECT is(claimed('half.a'), 'running 00:00:00.25, failed', 'to none');
SELECT submit('zero.a') AS id \gset
SELECT is((claim()).state, 'running', 'an attempt of no time begins');
SELECT is(heartbeat(:id), 'timed_out', 'and is over at once');
SELECT submit('huge.a') AS id \gset
SELECT is((c.state, c.deadline)::text, ('running', '9000-01-01 00:00:00+00'::timestamptz)::text, 'a deadline that no clock reaches is clamped') FROM claim() c;
SELECT put(:id, 'attempts = 2147483646') \g /dev/null
SELECT is(fail(:id), 'ready', 'so are retries');
SELECT is((claim()).attempts, 2147483647, 'up to what can be counted');
SELECT is(fail(:id), 'failed', 'and no further');

--
-- Another release between decision and claim
--
CREATE FUNCTION between_releases(topic text, rules text, wait boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
	result text;
BEGIN
	PERFORM empty_queue();
	PERFORM release('a' || gen_random_uuid(), first_rules());
	id := submit(topic);
	IF wait THEN
		PERFORM put(id, 'run_after = clock_timestamp()');
	END IF;
	PERFORM release('b' || gen_random_uuid(), rules);
	SELECT 'given' INTO result FROM policy_claim('worker');
	RETURN concat_ws('; ', coalesce(result, 'nothing'), state_of(id), evidence_of(id), approvals_of(id), (SELECT constraints::text FROM job(id)),
		(SELECT CASE WHEN run_after > clock_timestamp() THEN date_trunc('second', run_after - decided_at) END FROM job(id)), CASE WHEN NOT evidence_agrees(id) THEN 'differs' END);
END
$$;
SELECT is(between_releases('read.a', '- {id: read, decision: deny}'), 'nothing; denied; submit ALLOW read, claim DENY read; none; {}', 'a release that denies');
SELECT is(between_releases('read.a', '- {id: read, match: {topics: [x]}, decision: allow}'), 'nothing; denied; submit ALLOW read, claim DENY -; none; {}', 'one with no rule for it');
SELECT is(between_releases('read.a', '- {id: ask, decision: require_approval}'),
	'nothing; awaiting_approval; submit ALLOW read, claim REQUIRE_APPROVAL ask; ask pending 0; {"max_retries": 1, "max_runtime_sec": 60}', 'one that asks');
SELECT is(between_releases('read.a', '- {id: slow, decision: throttle, retry_after_sec: 100}'),
	'nothing; throttled; submit ALLOW read, claim THROTTLE slow; none; {"max_retries": 1, "max_runtime_sec": 60}; 00:01:40', 'one that throttles');
SELECT is(between_releases('read.a', '- {id: read, decision: allow, constraints: {region: us}}'),
	'given; running; submit ALLOW read, claim ALLOW_WITH_CONSTRAINTS read; none; {"region": "us", "max_retries": 1, "max_runtime_sec": 60}', 'one with other bounds');
SELECT is(between_releases('read.a', '- {id: other, decision: allow}'), 'given; running; submit ALLOW read, claim ALLOW other; none; {"max_retries": 1, "max_runtime_sec": 60}', 'another rule');
SELECT is(between_releases('read.a', first_rules()), 'given; running; submit ALLOW read, claim ALLOW read; none; {"max_retries": 1, "max_runtime_sec": 60}',
	'another snapshot that says the same: what let it start is recorded');
SELECT is(between_releases('write.a', '- {id: write, decision: allow, constraints: {max_runtime_sec: 500}}'),
	'given; running; submit ALLOW_WITH_CONSTRAINTS write, claim ALLOW_WITH_CONSTRAINTS write; none; {"max_retries": 1, "max_runtime_sec": 500}',
	'the verdict at the claim holds, not an older one');
SELECT is(between_releases('mail.a', '- {id: fast, decision: allow}'), 'nothing; throttled; submit THROTTLE mail; none; {"max_retries": 1, "max_runtime_sec": 60}; 00:00:30',
	'a throttled job is not claimed before its time, whatever the release');
SELECT is(between_releases('mail.a', '- {id: fast, decision: allow}', true), 'given; running; submit THROTTLE mail, claim ALLOW fast; none; {"max_retries": 1, "max_runtime_sec": 60}',
	'due, it is decided like any other');
SELECT is(between_releases('mail.a', '- {id: slower, decision: throttle, retry_after_sec: 300}', true),
	'nothing; throttled; submit THROTTLE mail, claim THROTTLE slower; none; {"max_retries": 1, "max_runtime_sec": 60}; 00:05:00', 'it has not waited for another rule');
SELECT is(between_releases('mail.a', '- {id: mail, decision: deny}', true), 'nothing; denied; submit THROTTLE mail, claim DENY mail; none; {}', 'due, it may be denied');
SELECT is(between_releases('mail.a', E'- {id: mail, decision: throttle}\n- {id: ask, decision: require_approval}', true),
	'nothing; awaiting_approval; submit THROTTLE mail, claim REQUIRE_APPROVAL ask; ask pending 0; {"max_retries": 1, "max_runtime_sec": 60}', 'or have to be asked for');
-- A rule that applied, but was no throttle, has not been waited for.
SELECT empty_queue() \g /dev/null
SELECT release('c1', E'- {id: mail, match: {topics: ["mail.*"]}, decision: throttle, retry_after_sec: 30}\n- {id: all, decision: allow}') \g /dev/null
SELECT submit('mail.b') AS id \gset
SELECT put(:id, 'run_after = clock_timestamp()') \g /dev/null
SELECT release('c2', E'- {id: mail, match: {topics: ["mail.*"]}, decision: throttle, retry_after_sec: 30}\n- {id: all, decision: throttle, retry_after_sec: 900}') \g /dev/null
SELECT is((claim()).job_id, NULL, 'what a rule allowed before it throttled was not waited for');
SELECT is((state, run_after - decided_at)::text, '(throttled,00:15:00)', 'and is') FROM job(:id);

-- What a claim records: that which differs from the job's decision in one of four things.
CREATE FUNCTION claim_after(assignment text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	PERFORM empty_queue();
	id := submit('write.a');
	ALTER TABLE policy.decisions DISABLE TRIGGER refuse_change;
	EXECUTE format('UPDATE policy.decisions SET %s WHERE job_key = %L', assignment, id);
	ALTER TABLE policy.decisions ENABLE ALWAYS TRIGGER refuse_change;
	PERFORM claim();
	RETURN (SELECT string_agg(source, ' ' ORDER BY decision_id) FROM policy.decisions WHERE job_key = id::text);
END
$$;
SELECT release('e1', first_rules()) \g /dev/null
SELECT is(claim_after(assignment), recorded, format('after a decision with %s: %s', assignment, recorded))
FROM (VALUES ('source = source', 'submit'), ('decision = $$ALLOW$$', 'submit claim'), ('matched_rules = $${read}$$', 'submit claim'), ('matched_rules = $${write,read}$$', 'submit claim'),
	('matched_rules = $${}$$', 'submit claim'), ('constraints = $${"max_runtime_sec": 30, "max_retries": 2, "region": "us"}$$', 'submit claim'), ('constraints = $${}$$', 'submit claim'),
	('snapshot = $$v1$$', 'submit claim'), ('snapshot = NULL', 'submit claim'), ('reason = $$another$$', 'submit'), ('monitored_rules = $${x}$$', 'submit')) AS t(assignment, recorded);

-- Waiting is for once.
SELECT empty_queue() \g /dev/null
SELECT release('d1', first_rules()) \g /dev/null
SELECT submit('mail.c') AS id \gset
SELECT put(:id, 'run_after = clock_timestamp()') \g /dev/null
SELECT is((claim()).job_id, :id::bigint, 'what has waited starts');
SELECT is(fail(:id), 'ready', 'and is tried again');
SELECT is((claim()).job_id, :id::bigint, 'without waiting again');
SELECT is(evidence_of(:id), 'submit THROTTLE mail, claim ALLOW mail', 'by the same decision');
SELECT submit('mail.d') AS id \gset
SELECT put(:id, 'run_after = clock_timestamp()') \g /dev/null
SELECT release('d2', E'- {id: mail, match: {topics: ["mail.*"]}, decision: throttle, retry_after_sec: 30}\n- {id: ask, decision: require_approval}') \g /dev/null
SELECT is((claim()).job_id, NULL, 'what has waited may have to be approved');
SELECT is((approve(:id), state_of(:id))::text, '(approved,ready)', 'and then');
SELECT is((claim()).job_id, :id::bigint, 'does not wait again');
SELECT submit('mail.e') AS id \gset
SELECT put(:id, 'run_after = clock_timestamp()') \g /dev/null
UPDATE policy.jobs SET payload = '1' WHERE job_id = :id;
SELECT is((claim()).job_id, NULL, 'a changed job has waited for nothing yet');

-- Those that cannot start leave the head, and the claim goes on.
SELECT empty_queue() \g /dev/null
SELECT release('v3', first_rules()) \g /dev/null
INSERT INTO policy.jobs (topic) SELECT 'read.' || (ARRAY['no', 'ask', 'slow'])[1 + n % 3] FROM generate_series(1, 2100) n;
INSERT INTO policy.jobs (topic) VALUES ('read.yes'), ('read.no'), ('read.yes'), ('read.yes');
SELECT release('v4', '
  - {id: read, match: {topics: ["read.*"]}, decision: allow}
  - {id: no, match: {topics: ["read.no"]}, decision: deny}
  - {id: ask, match: {topics: ["read.ask"]}, decision: require_approval}
  - {id: slow, match: {topics: ["read.slow"]}, decision: throttle}') \g /dev/null
SELECT is(array_agg(topic), '{read.yes,read.yes}', 'a claim of two passes all that cannot start') FROM policy_claim('worker', 2);
SELECT is((count(*) FILTER (WHERE state = 'denied' AND topic = 'read.no'), count(*) FILTER (WHERE state = 'awaiting_approval' AND topic = 'read.ask'),
	count(*) FILTER (WHERE state = 'throttled' AND topic = 'read.slow'), count(*) FILTER (WHERE state = 'ready'))::text, '(701,700,700,1)', 'which are where the release puts them')
FROM policy.jobs WHERE submitted_at >= now() AND state <> 'cancelled' AND topic LIKE 'read.%' AND snapshot_of(decision_id) = 'v4' OR state = 'ready';
SELECT is(count(*), 2101::bigint, 'each with its evidence') FROM policy.jobs j WHERE snapshot_of(decision_id) = 'v4' AND state <> 'running' AND evidence_agrees(job_id);
SELECT is(array_agg(topic), '{read.yes}', 'the next claim gets what is left') FROM policy_claim('worker', 2);

-- Retries are decided again, too.
SELECT empty_queue() \g /dev/null
SELECT release('v5', first_rules()) \g /dev/null
SELECT submit('write.a') AS id \gset
SELECT claim() \g /dev/null
SELECT release('v6', '- {id: write, decision: deny}') \g /dev/null
SELECT is(heartbeat(:id), 'running', 'a release does not stop what runs');
SELECT is(fail(:id), 'ready', 'failed, it would be tried again');
SELECT is((claim()).job_id, NULL, 'but is not: the new release denies it');
SELECT is((attempt(:id), evidence_of(:id))::text, '("denied 1 worker","submit ALLOW_WITH_CONSTRAINTS write, claim DENY write")', 'as the evidence says');

--
-- Approved jobs
--
SELECT empty_queue() \g /dev/null
SELECT release('v7', first_rules()) \g /dev/null
SELECT submit('prod.a') AS id \gset
SELECT is((claim()).job_id, NULL, 'what waits for approval is not claimed');
SELECT is(approve(:id), 'approved', 'approved');
SELECT is((claim('one')).job_id, :id::bigint, 'it is');
SELECT is((attempt(:id), approvals_of(:id))::text, '("running 1 one","prod consumed 1")', 'which consumes the approval');
SELECT is((SELECT count(*) FROM policy.decisions WHERE job_key = :'id'), 2::bigint, 'and decides nothing new');
SELECT is(fail(:id), 'ready', 'the attempt fails');
SELECT is((claim('two')).job_id, :id::bigint, 'the approval is good for 1 + max_retries attempts');
SELECT is((attempt(:id), approvals_of(:id))::text, '("running 2 two","prod consumed 2")', 'and counts them');
SELECT is(fail(:id), 'failed', 'and no more');
-- More attempts than were approved
SELECT submit('prod.b') AS id \gset
SELECT approve(:id) \g /dev/null
SELECT claim() \g /dev/null
SELECT fail(:id) \g /dev/null
UPDATE policy.approvals SET attempts = 2 WHERE job_key = :'id';
SELECT is((claim()).job_id, NULL, 'a consumed approval with no attempt left admits none');
SELECT is((state_of(:id), approvals_of(:id))::text, '(awaiting_approval,"prod consumed 2, prod pending 0")', 'people are asked again');
SELECT is(approve(:id), 'approved', 'and may approve');
SELECT is((claim()).job_id, :id::bigint, 'the last attempt');
-- One that expired
SELECT submit('prod.c') AS id \gset
SELECT approve(:id) \g /dev/null
UPDATE policy.approvals SET expires_at = clock_timestamp() WHERE job_key = :'id';
SELECT is((claim()).job_id, NULL, 'an approval past its time admits nothing');
SELECT is((state_of(:id), approvals_of(:id))::text, '(awaiting_approval,"prod expired 0, prod pending 0")', 'people are asked again');
SELECT submit('prod.d') AS id \gset
SELECT approve(:id) \g /dev/null
SELECT claim() \g /dev/null
SELECT fail(:id) \g /dev/null
UPDATE policy.approvals SET expires_at = clock_timestamp() WHERE job_key = :'id';
SELECT is((claim()).job_id, NULL, 'nor does a consumed one');
SELECT is((state_of(:id), approvals_of(:id))::text, '(awaiting_approval,"prod consumed 1, prod pending 0")', 'people are asked again');

-- None after a terminal state
SELECT empty_queue() \g /dev/null
SELECT submit('prod.e') AS id \gset
SELECT approve(:id) \g /dev/null
SELECT claim() \g /dev/null
SELECT fail(:id) \g /dev/null
SELECT release('v8', '- {id: prod, decision: deny}') \g /dev/null
SELECT is((claim()).job_id, NULL, 'denied between two attempts');
SELECT release('v9', first_rules()) \g /dev/null
SELECT is(state, 'awaiting_approval', 'decided again, it has to be approved again') FROM policy_redecide(jsonb_build_object('job_id', :id), 'again');
SELECT is(approvals_of(:id), 'prod consumed 1, prod pending 0', 'no approval admits an attempt after an end');

-- The bounds that were approved still bind
CREATE FUNCTION approved_then(approved text, now text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
	rule text := '- {id: ask, decision: require_approval, constraints: %s}';
BEGIN
	PERFORM empty_queue();
	PERFORM release('a' || gen_random_uuid(), format(rule, approved), '{constraints: {}}');
	id := submit('a');
	PERFORM approve(id);
	PERFORM release('b' || gen_random_uuid(), format(rule, now), '{constraints: {}}');
	RETURN (claim()).constraints;
END
$$;
SELECT is(approved_then(approved, later), merged, format('approved with %s, claimed with %s', approved, later))
FROM (VALUES ('{max_n: 5}', '{max_n: 9}', '{"max_n": 5}'::jsonb), ('{max_n: 9}', '{max_n: 5}', '{"max_n": 5}'), ('{min_n: 5}', '{min_n: 9}', '{"min_n": 9}'),
	('{region: eu}', '{region: us}', '{"region": "us"}'), ('{region: eu}', '{}', '{"region": "eu"}'), ('{}', '{region: us}', '{"region": "us"}'),
	('{allow_hosts: [a, b]}', '{allow_hosts: [b, c]}', '{"allow_hosts": ["b"]}'), ('{deny_hosts: [a]}', '{deny_hosts: [b]}', '{"deny_hosts": ["b", "a"]}'),
	('{n: {max_x: 1, y: 2}}', '{n: {max_x: 2, y: 3}}', '{"n": {"max_x": 1, "y": 3}}'), ('{}', '{}', '{}')) AS t(approved, later, merged);

-- Several rules that ask
SELECT empty_queue() \g /dev/null
SELECT release('v10', E'- {id: one, decision: require_approval}\n- {id: two, decision: require_approval}') \g /dev/null
SELECT submit('a') AS id \gset
SELECT is(approvals_of(:id), 'one pending 0, two pending 0', 'each rule that asks has an approval of its own');
SELECT approve(:id) \g /dev/null
SELECT is((state_of(:id), (claim()).job_id)::text, '(awaiting_approval,)', 'one of two is not enough');
SELECT approve(:id) \g /dev/null
SELECT is((claim()).job_id, :id::bigint, 'both are');
SELECT is(approvals_of(:id), 'one consumed 1, two consumed 1', 'and both are consumed');

-- first_match: an approved rule keeps its place, too
SELECT empty_queue() \g /dev/null
SELECT policy_stage('first', 'version: v1
combine: first_match
rules:
  - {id: ask, match: {topics: ["a.*"]}, decision: require_approval, constraints: {n: 1}}
  - {id: no, decision: deny}', NULL), policy_publish('first', NULL) \g /dev/null
SELECT submit('a.b') AS id \gset
SELECT approve(:id) \g /dev/null
SELECT is((c.job_id, c.constraints, evidence_of(c.job_id))::text, (:id, '{"n": 1, "max_retries": 1, "max_runtime_sec": 60}'::jsonb,
	'submit REQUIRE_APPROVAL ask, vote ALLOW_WITH_CONSTRAINTS ask')::text, 'under first_match the approved rule, not the next, decides') FROM claim() c;
-- strictest: what else applies still counts
SELECT release('s1', E'- {id: ask, decision: require_approval}\n- {id: slow, match: {topics: [x]}, decision: throttle}\n- {id: no, match: {topics: [x]}, decision: deny}') \g /dev/null
SELECT submit('y') AS id \gset
SELECT approve(:id) \g /dev/null
SELECT release('s2', E'- {id: ask, decision: require_approval}\n- {id: slow, decision: throttle}') \g /dev/null
SELECT is((claim()).job_id, NULL, 'an approval satisfies the rule that it was asked by, and no throttle');
SELECT is((state_of(:id), approvals_of(:id))::text, '(throttled,"ask approved 0")', 'the job waits, approved');
SELECT release('s3', E'- {id: ask, decision: require_approval}\n- {id: no, decision: deny}') \g /dev/null
SELECT put(:id, 'run_after = clock_timestamp()') \g /dev/null
SELECT is((claim()).job_id, NULL, 'and no denial');
SELECT is((state_of(:id), approvals_of(:id))::text, '(denied,"ask superseded 0")', 'which ends it');

-- One release, one new decision
SELECT release('s4', first_rules()) \g /dev/null
SELECT submit('write.twice') AS id \gset
SELECT release('s5', first_rules()) \g /dev/null
SELECT claim(), fail(:id) \g /dev/null
SELECT claim(), fail(:id) \g /dev/null
SELECT is((attempt(:id), evidence_of(:id))::text, '("ready 2 worker","submit ALLOW_WITH_CONSTRAINTS write, claim ALLOW_WITH_CONSTRAINTS write")', 'a retry under the same release is no new decision');

--
-- An unavailable policy
--
SELECT empty_queue() \g /dev/null
SELECT release('v11', first_rules()) \g /dev/null
SELECT submit('read.a') AS id \gset
CREATE TEMP TABLE waiting AS SELECT * FROM policy.jobs;
CREATE TEMP TABLE kept AS SELECT * FROM policy.snapshots;
SELECT count(*) AS decisions FROM policy.decisions \gset
ALTER TABLE policy.snapshots DISABLE TRIGGER ALL;
DELETE FROM policy.snapshots;
SELECT is_empty($$SELECT policy_claim('worker', 10)$$, 'with a policy that cannot be read a claim gives nothing');
SET LOCAL policy_engine.fail_mode = open;
SELECT is_empty($$SELECT policy_claim('worker', 10)$$, 'whatever the fail mode');
RESET policy_engine.fail_mode;
SELECT set_eq('SELECT * FROM policy.jobs', 'SELECT * FROM waiting', 'and changes nothing');
SELECT is((SELECT count(*) FROM policy.decisions), :decisions::bigint, 'nor records anything');
INSERT INTO policy.snapshots SELECT * FROM kept;
ALTER TABLE policy.snapshots ENABLE TRIGGER ALL;
SELECT is((claim()).job_id, :id::bigint, 'once it can be read again the queue goes on');

--
-- Cancelling
--
SELECT empty_queue() \g /dev/null
SELECT submit('read.a') AS ready, submit('mail.a') AS throttled, submit('prod.a') AS waiting, submit('prod.b') AS approved \gset
SELECT approve(:approved) \g /dev/null
SELECT is((state, error, finished_at IS NOT NULL)::text, '(cancelled,"no more",t)', 'a ready job is cancelled, with a note') FROM policy_cancel(:ready, 'no more');
SELECT is((state, error)::text, '(cancelled,)', 'a throttled one, without') FROM policy_cancel(:throttled);
SELECT is((policy_cancel(:waiting, 'x')).state, 'cancelled', 'one that waits for approval');
SELECT is((approvals_of(:waiting), pending_of(:waiting))::text, '("prod superseded 0",)', 'then nobody is asked any more');
SELECT is((policy_cancel(:approved, 'x')).state, 'cancelled', 'one that was approved');
SELECT is((approvals_of(:approved), (SELECT superseded_by FROM policy.approvals WHERE job_key = :'approved'))::text, '("prod superseded 0",)', 'then it is no more, and nothing took its place');
SELECT is((claim()).job_id, NULL, 'none of them is claimed');
SELECT is((policy_cancel(:ready, 'again')).error, 'no more', 'cancelling again changes nothing');
SELECT is(evidence_of(:ready), 'submit ALLOW read', 'nor is it a decision');
SELECT submit('read.b') AS id \gset
CREATE TEMP TABLE stopped AS SELECT * FROM claim();
SELECT is((policy_cancel(:id, 'stop')).state, 'cancelled', 'a running one is stopped');
SELECT throws_ok(format('SELECT %s(%s, %L)', verb, job_id, claim_token), 'PE013', NULL, 'which its worker learns by ' || verb) FROM stopped,
	unnest('{policy_heartbeat,policy_complete,policy_fail}'::text[]) verb;
SELECT is((state, error)::text, '(cancelled,stop)', 'and that changes nothing') FROM job(:id);

SELECT * FROM finish();
ROLLBACK;
