\ir queue.psql
SELECT plan(153);

CREATE ROLE policy_test_submitter LOGIN;
CREATE ROLE policy_test_neighbour LOGIN;
CREATE ROLE policy_test_worker LOGIN;
CREATE ROLE policy_test_approver LOGIN;
CREATE ROLE policy_test_board;
CREATE ROLE policy_test_nobody LOGIN;
SELECT policy_grant('policy_test_submitter', 'submit'), policy_grant('policy_test_neighbour', 'submit'), policy_grant('policy_test_worker', 'work'),
	policy_grant('policy_test_approver', 'approve') \g /dev/null
SELECT is(release('v1', first_rules() || E'\n  - {id: board, match: {topics: ["board.*"]}, decision: require_approval, approval: {approvers: [policy_test_board]}}'), 'v1', 'a policy is in force');

SELECT submit('read.running') AS running, submit('read.ready') AS ready, submit('prod.waiting') AS waiting, submit('board.waiting') AS board \gset
SELECT claim_token AS token FROM policy_claim('worker', 1, '{read.running}') \gset
SELECT pending_of(:waiting) AS approval, pending_of(:board) AS for_board \gset
SELECT submit('read.done') AS done \gset
SELECT put(:done, format('state = %L, claim_token = %L', 'succeeded', :'token')) \g /dev/null

-- What a bad statement raises, as that login: a message of one line, a code, and how to go on.
CREATE FUNCTION raised(login text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	me text := session_user;
	message text;
	hint text;
BEGIN
	PERFORM set_config('session_authorization', coalesce(login, me), true);
	EXECUTE statement;
	PERFORM set_config('session_authorization', me, true);
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(', ', SQLSTATE, CASE WHEN message ~ '\n' OR message = '' THEN 'a message of several lines' END,
		CASE WHEN hint = '' AND (SQLSTATE LIKE 'PE%' OR SQLSTATE IN ('22023', '54000')) THEN 'no hint' END);
END
$$;
CREATE TEMP TABLE bad (position serial, login text, statement text, code text);
INSERT INTO bad (login, statement, code) VALUES
	-- Approvals
	('policy_test_nobody', 'SELECT policy_approve({approval})', '42501'),
	('policy_test_nobody', 'SELECT policy_reject({approval})', '42501'),
	('policy_test_nobody', 'SELECT * FROM policy_approvals()', '42501'),
	('policy_test_submitter', 'SELECT policy_approve({approval})', '42501'),
	('policy_test_worker', 'SELECT policy_approve({approval})', '42501'),
	('policy_test_approver', 'SELECT policy_approve({for_board})', 'PE009'),
	('policy_test_approver', 'SELECT policy_reject({for_board})', 'PE009'),
	(NULL, 'SELECT policy_approve({approval})', 'PE009'),
	('policy_test_approver', 'SELECT policy_approve(NULL)', 'PE010'),
	('policy_test_approver', 'SELECT policy_approve(0)', 'PE010'),
	('policy_test_approver', 'SELECT policy_approve(-9223372036854775808)', 'PE010'),
	('policy_test_approver', 'SELECT policy_reject(9223372036854775807)', 'PE010'),
	('policy_test_approver', 'SELECT policy_approve(9223372036854775808)', '42883'),
	('policy_test_approver', 'UPDATE policy.approvals SET status = ''approved''', '42501'),
	('policy_test_approver', 'INSERT INTO policy.approval_votes VALUES ({approval}, ''me'', ''me'', ''approve'', NULL, now())', '42501'),
	(NULL, 'UPDATE policy.approvals SET status = ''no such'' WHERE approval_id = {approval}', '23514'),
	-- Tokens
	('policy_test_worker', 'SELECT policy_complete({running}, gen_random_uuid(), ''1'')', 'PE013'),
	('policy_test_worker', 'SELECT policy_fail({running}, gen_random_uuid(), ''x'')', 'PE013'),
	('policy_test_worker', 'SELECT policy_heartbeat({running}, gen_random_uuid())', 'PE013'),
	('policy_test_worker', 'SELECT policy_complete({running}, NULL, ''1'')', 'PE013'),
	('policy_test_worker', 'SELECT policy_fail({running}, NULL)', 'PE013'),
	('policy_test_worker', 'SELECT policy_heartbeat({running}, NULL)', 'PE013'),
	('policy_test_worker', 'SELECT policy_complete({ready}, NULL)', 'PE013'),
	('policy_test_worker', 'SELECT policy_complete({done}, ''{token}'')', 'PE013'),
	('policy_test_worker', 'SELECT policy_complete(NULL, ''{token}'')', 'PE013'),
	('policy_test_worker', 'SELECT policy_complete(NULL, NULL)', 'PE013'),
	('policy_test_worker', 'SELECT policy_heartbeat(0, ''{token}'')', 'PE013'),
	('policy_test_worker', 'SELECT policy_fail(-1, ''{token}'')', 'PE013'),
	('policy_test_worker', 'SELECT policy_complete({running}, ''not a token'')', '22P02'),
	('policy_test_worker', 'SELECT policy_complete({running}, ''{token}'', ''not json'')', '22P02'),
	('policy_test_nobody', 'SELECT policy_complete({running}, ''{token}'')', '42501'),
	('policy_test_submitter', 'SELECT policy_complete({running}, ''{token}'')', '42501'),
	-- The engine's columns
	('policy_test_submitter', 'INSERT INTO policy.jobs (topic, decision_id) VALUES (''read.a'', 1)', 'PE014'),
	(NULL, 'UPDATE policy.jobs SET state = ''running'' WHERE job_id = {ready}', 'PE014'),
	(NULL, 'UPDATE policy.jobs SET state = ''no such'' WHERE job_id = {ready}', 'PE014'),
	(NULL, 'UPDATE policy.jobs SET state = NULL WHERE job_id = {ready}', 'PE014'),
	(NULL, 'UPDATE policy.jobs SET claim_token = ''{token}'' WHERE job_id = {ready}', 'PE014'),
	(NULL, 'UPDATE policy.jobs SET payload = ''1'', attempts = 0, deadline = ''infinity'' WHERE job_id = {ready}', 'PE014'),
	('policy_test_worker', 'UPDATE policy.jobs SET state = ''succeeded'' WHERE job_id = {ready}', '42501'),
	('policy_test_submitter', 'DELETE FROM policy.jobs', '42501'),
	('policy_test_submitter', 'TRUNCATE policy.jobs', '42501'),
	('policy_test_submitter', 'SELECT policy.verb_begins(''x'')', '42501'),
	('policy_test_submitter', 'SELECT policy.settle({ready}, ''redecide'', NULL)', '42501'),
	('policy_test_submitter', 'SELECT policy.cast_vote(a, ''me'', ''approve'', NULL) FROM (SELECT NULL::policy.approvals) s(a)', '42501'),
	(NULL, 'SELECT policy.guard_insert()', '39P01'),
	(NULL, 'SELECT policy.approval_changed()', '39P01'),
	-- Somebody else's job
	('policy_test_neighbour', 'UPDATE policy.jobs SET payload = ''1'' WHERE job_id = {ready}', '42501'),
	('policy_test_neighbour', 'SELECT policy_cancel({ready}, ''x'')', '42501'),
	('policy_test_worker', 'SELECT policy_cancel({ready}, ''x'')', '42501'),
	('policy_test_nobody', 'SELECT policy_cancel({ready}, ''x'')', '42501'),
	-- Changes too late
	(NULL, 'UPDATE policy.jobs SET payload = ''1'' WHERE job_id = {running}', 'PE008'),
	(NULL, 'UPDATE policy.jobs SET topic = ''read.b'' WHERE job_id = {done}', 'PE008'),
	(NULL, 'SELECT policy_cancel({done}, ''x'')', 'PE008'),
	(NULL, 'SELECT policy_cancel(0, ''x'')', 'PE008'),
	(NULL, 'SELECT policy_cancel(NULL, NULL)', 'PE008'),
	('policy_test_neighbour', 'SELECT policy_cancel(-1, NULL)', 'PE008'),
	-- Claims
	('policy_test_worker', 'SELECT policy_claim(NULL)', '22023'),
	('policy_test_worker', 'SELECT policy_claim('''')', '22023'),
	('policy_test_worker', E'SELECT policy_claim('' \t\r\n '')', '22023'),
	('policy_test_worker', 'SELECT policy_claim(''w'', NULL)', '22023'),
	('policy_test_worker', 'SELECT policy_claim(''w'', 0)', '22023'),
	('policy_test_worker', 'SELECT policy_claim(''w'', -1)', '22023'),
	('policy_test_worker', 'SELECT policy_claim(''w'', -2147483648)', '22023'),
	('policy_test_worker', 'SELECT policy_claim(''w'', 2147483648)', '42883'),
	('policy_test_nobody', 'SELECT policy_claim(''w'')', '42501'),
	('policy_test_submitter', 'SELECT policy_claim(''w'')', '42501'),
	-- Submissions
	('policy_test_nobody', 'SELECT policy_submit(''{"topic": "read.a"}'')', '42501'),
	('policy_test_nobody', 'INSERT INTO policy.jobs (topic) VALUES (''read.a'')', '42501'),
	('policy_test_nobody', 'SELECT * FROM policy.jobs', '42501'),
	('policy_test_worker', 'INSERT INTO policy.jobs (topic) VALUES (''read.a'')', '42501'),
	('policy_test_submitter', 'SELECT policy_submit(''{"topic": '')', '22P02'),
	('policy_test_submitter', E'SELECT policy_submit(''{"topic": "read.a\\u0000"}'')', '22P05'),
	('policy_test_submitter', 'INSERT INTO policy.jobs (topic, payload) VALUES (''read.a'', ''{'')', '22P02'),
	('policy_test_submitter', 'INSERT INTO policy.jobs (topic, secrets_present) VALUES (''read.a'', ''maybe'')', '22P02'),
	('policy_test_submitter', 'INSERT INTO policy.jobs (no_such_column) VALUES (1)', '42703');
CREATE FUNCTION filled(statement text, VARIADIC names text[]) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1..cardinality(names) BY 2 LOOP
		statement := replace(statement, '{' || names[n] || '}', names[n + 1]);
	END LOOP;
	RETURN statement;
END
$$;
UPDATE bad SET statement = filled(statement, 'approval', :'approval', 'for_board', :'for_board', 'running', :'running', 'ready', :'ready', 'done', :'done', 'token', :'token');
CREATE TEMP TABLE before AS SELECT * FROM policy.jobs;
CREATE TEMP TABLE decided AS SELECT count(*) AS n FROM policy.decisions;
SELECT is(raised(login, statement), code, format('%s for %s: %s', code, coalesce(login, 'a superuser'), regexp_replace(statement, '\s+', ' ', 'g'))) FROM bad ORDER BY position;

-- Patterns of topics are checked, whatever the queue holds.
CREATE FUNCTION claim_patterns(topics text[]) RETURNS text LANGUAGE sql AS $$
	SELECT raised('policy_test_worker', format('SELECT policy_claim(%L, 1, %L)', 'w', topics))
$$;
SELECT is(claim_patterns(topics::text[]), '22023', format('the topics %s', topics))
FROM (VALUES ('{[^a]}'), ('{""}'), ('{NULL}'), ('{"a\\"}'), ('{[}'), ('{[]}'), ('{other.*,"["}'), ('{other,NULL}'), (U&'{"\200B"}'), ('{[z-a]}')) AS t(topics);
SELECT is(claim_patterns(ARRAY[repeat('x', 2000) || '[']), '22023', 'a long one');
SELECT is(claim_patterns('{drop.*}'), 'nothing', 'a good one raises nothing');
SELECT set_eq('SELECT * FROM policy.jobs', 'SELECT * FROM before', 'none of that has changed a job');
SELECT is((SELECT count(*) FROM policy.decisions), (SELECT n FROM decided), 'nor is a decision');
SAVEPOINT s;
SELECT empty_queue() \g /dev/null
SELECT is(claim_patterns(topics::text[]), '22023', format('the topics %s, where there is no job', topics)) FROM (VALUES ('{[^a]}'), ('{NULL}'), ('{""}')) AS t(topics);
ROLLBACK TO s;

-- An engine-owned column set by a submitter
SET SESSION AUTHORIZATION policy_test_submitter;
INSERT INTO policy.jobs (topic, state, constraints, attempts, deadline, submitted_by) VALUES ('prod.mine', 'ready', '{}', -1, 'infinity', 'policy_test_neighbour') RETURNING job_id AS mine \gset
RESET SESSION AUTHORIZATION;
SELECT is((state, attempts, deadline, submitted_by)::text, '(awaiting_approval,0,,policy_test_submitter)', 'on insert it is overwritten') FROM job(:mine);
SELECT matches(raised('policy_test_submitter', format('UPDATE policy.jobs SET %s WHERE job_id = %s', assignment, :mine)), '^(PE014|42501)$', 'on update it is refused: ' || assignment)
FROM unnest(ARRAY['state = $$ready$$', 'run_after = now()', 'attempts = -1', 'constraints = $${}$$', 'submitted_by = $$x$$', 'decision_id = 1', 'payload = $$1$$, state = $$ready$$']) assignment;
SELECT is(state_of(:mine), 'awaiting_approval', 'and nothing is changed');
SELECT is(raised('policy_test_submitter', format('UPDATE policy.jobs SET payload = %L WHERE job_id = %s', '1', :mine)), 'nothing', 'its own columns are its own');

-- An unknown state
SELECT is(raised(NULL, format($$SELECT policy.verb_begins('x'); UPDATE policy.jobs SET state = 'no such' WHERE job_id = %s$$, :ready)), 'PE008', 'no verb moves a job to an unknown state');
SELECT is(raised(NULL, $$INSERT INTO policy.jobs (job_id, state, decision_id, decided_at, constraints, attempts, submitted_by, submitted_at)
	VALUES (-1, 'no such', 1, now(), '{}', 0, 'x', now())$$), '23514', 'nor is one restored');
SELECT is(raised(NULL, $$INSERT INTO policy.jobs (job_id, state, decision_id) VALUES (-1, 'ready', 1)$$), '23502', 'nor a row that lacks what a job has');
SELECT is(raised(NULL, $$INSERT INTO policy.jobs (job_id, state, decision_id, decided_at, constraints, attempts, submitted_by, submitted_at)
	SELECT job_id, state, decision_id, decided_at, constraints, attempts, submitted_by, submitted_at FROM policy.jobs LIMIT 1$$), '23505', 'nor one that is there');

-- Results, errors and notes that are too large
SELECT is(raised('policy_test_worker', format('SELECT policy_complete(%s, %L, to_jsonb(repeat(%L, 100 * 1024 * 1024)::text))', :running, :'token', 'x')), '54000', 'a result of 100 MB is refused');
SELECT is(raised('policy_test_worker', format('SELECT policy_complete(%s, %L, to_jsonb(repeat(%L, 1024 * 1024 - 1)))', :running, :'token', 'x')), '54000', 'as is one a byte over 1 MB');
SELECT is(raised('policy_test_worker', format('SELECT policy_fail(%s, %L, repeat(%L, 100 * 1024 * 1024))', :running, :'token', 'x')), '54000', 'an error of 100 MB, too');
SELECT is((state, attempts, claim_token)::text, ('running', 1, :'token')::text, 'and the job is running still') FROM job(:running);
SET SESSION AUTHORIZATION policy_test_worker;
SELECT state AS ended FROM policy_complete(:running, :'token', to_jsonb(repeat('x', 1024 * 1024 - 2)::text)) \gset
RESET SESSION AUTHORIZATION;
SELECT is(:'ended'::text, 'succeeded', '1 MB is a result');

-- Jobs that are too large are denied, and kept
INSERT INTO policy.jobs (topic, payload) VALUES ('read.large', to_jsonb(repeat('x', 5 * 1024 * 1024))) RETURNING job_id AS id \gset
SELECT is((j.state, d.reason LIKE 'invalid job: %', length(d.job ->> 'payload'))::text, '(denied,t,5242880)', 'a job of 5 MB is denied, and in evidence')
FROM job(:id) j JOIN policy.decisions d USING (decision_id, decided_at);
SELECT submit('read.deep', format('{"payload": %s1%s}', repeat('[', 5000), repeat(']', 5000))::jsonb) AS id \gset
SELECT is(state_of(:id), 'ready', 'a payload of 5,000 levels is a payload');
SELECT is(evidence_agrees(:id), true, 'which evidence can hold');
UPDATE policy.jobs SET payload = to_jsonb(repeat('x', 2 * 1024 * 1024)) WHERE job_id = :id;
SELECT is(state_of(:id), 'denied', 'and a change to one that is too large is denied');

-- A COPY that fails leaves nothing
SELECT count(*) AS decisions FROM policy.decisions \gset
SELECT is(raised(NULL, $$INSERT INTO policy.jobs (topic, risk_tags) SELECT 'read.copy', CASE WHEN n < 5 THEN '[]' ELSE '[' END::jsonb FROM generate_series(1, 5) n$$), '22P02', 'a row that cannot be read');
SELECT is((SELECT count(*) FROM policy.jobs WHERE topic = 'read.copy') + (SELECT count(*) FROM policy.decisions), :decisions::bigint, 'takes those before it along');

-- Constraints beyond all measure
CREATE FUNCTION with_constraints(constraints text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
	result text;
BEGIN
	PERFORM empty_queue();
	PERFORM release(gen_random_uuid()::text, format('- {id: r, decision: allow, constraints: %s}', constraints), '{decision: deny, constraints: {}}');
	id := submit('a');
	SELECT concat_ws(' ', state, coalesce(CASE WHEN deadline >= '9000-01-01Z' THEN deadline::text ELSE (deadline - claimed_at)::text END, 'no deadline'), policy.attempts_allowed(c.constraints))
		INTO result FROM policy_claim('w') c WHERE job_id = id;
	RETURN result;
END
$$;
SELECT is(with_constraints(given), wanted, format('constraints %s', given))
FROM (VALUES ('{max_runtime_sec: 1e300}', 'running 9000-01-01 00:00:00+00 1'), ('{max_runtime_sec: 1e3000}', 'running 9000-01-01 00:00:00+00 1'), ('{max_runtime_sec: 9223372036854775807}', 'running 9000-01-01 00:00:00+00 1'),
	('{max_runtime_sec: 1e-300}', 'running 00:00:00 1'), ('{max_runtime_sec: 0}', 'running 00:00:00 1'), ('{max_runtime_sec: 0.5}', 'running 00:00:00.5 1'),
	('{max_retries: 1e300}', 'running no deadline 2147483647'), ('{max_retries: 1e-300}', 'running no deadline 1'), ('{max_retries: 2147483646}', 'running no deadline 2147483647'),
	('{max_retries: 2147483648}', 'running no deadline 2147483647'), ('{max_retries: 2.999}', 'running no deadline 3')) AS t(given, wanted);
SELECT is(raised(NULL, format('SELECT with_constraints(%L)', given)), 'PE001', 'no document has constraints ' || given)
FROM (VALUES ('{max_runtime_sec: -1}'), ('{max_runtime_sec: soon}'), ('{max_retries: true}'), ('{max_retries: [1]}')) AS t(given);
-- Those that a restore brings, which no document could have
SELECT is(policy.attempts_allowed(given::jsonb), 1, 'constraints that are none give one attempt: ' || given)
FROM unnest(ARRAY['null', '[]', '5', '"x"', '{}', '{"max_retries": "5"}', '{"max_retries": -5}', '{"max_retries": null}', '{"max_retries": [5]}', '{"MAX_RETRIES": 5}']) given;

-- Triggers where they do not belong
CREATE TABLE elsewhere (a integer);
INSERT INTO elsewhere VALUES (1);
CREATE FUNCTION misplaced(moment text, function text, relation text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TRIGGER misplaced %s ON %s %s EXECUTE FUNCTION policy.%s()', split_part(moment, ' FOR', 1), relation, 'FOR' || split_part(moment, ' FOR', 2), function);
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
SELECT is(misplaced(moment, function, relation, statement), '39P01', format('%s on %s, %s', function, relation, moment))
FROM (VALUES ('BEFORE INSERT FOR EACH ROW', 'guard_insert', 'elsewhere', 'INSERT INTO elsewhere VALUES (2)'),
	('AFTER INSERT FOR EACH ROW', 'guard_record', 'elsewhere', 'INSERT INTO elsewhere VALUES (2)'),
	('BEFORE UPDATE FOR EACH ROW', 'guard_update', 'elsewhere', 'UPDATE elsewhere SET a = 2'),
	('AFTER DELETE FOR EACH ROW', 'guard_delete', 'elsewhere', 'DELETE FROM elsewhere'),
	('AFTER UPDATE FOR EACH ROW', 'approval_changed', 'elsewhere', 'UPDATE elsewhere SET a = 2'),
	('BEFORE INSERT FOR EACH STATEMENT', 'guard_insert', 'policy.jobs', 'INSERT INTO policy.jobs (topic) VALUES (''read.a'')'),
	('AFTER INSERT FOR EACH STATEMENT', 'guard_record', 'policy.jobs', 'INSERT INTO policy.jobs (topic) VALUES (''read.a'')'),
	('AFTER UPDATE FOR EACH STATEMENT', 'guard_update', 'policy.jobs', 'UPDATE policy.jobs SET payload = payload'),
	('AFTER TRUNCATE FOR EACH STATEMENT', 'guard_delete', 'policy.jobs', 'TRUNCATE policy.jobs'),
	('AFTER UPDATE FOR EACH STATEMENT', 'approval_changed', 'policy.approvals', 'UPDATE policy.approvals SET attempts = attempts')) AS t(moment, function, relation, statement);

SELECT * FROM finish();
ROLLBACK;
