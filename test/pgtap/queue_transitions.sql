\ir queue.psql
SELECT plan(462);

SELECT is(release('v1', first_rules()), 'v1', 'a policy is in force');
CREATE TEMP TABLE states (position serial, state text);
INSERT INTO states (state) VALUES ('ready'), ('awaiting_approval'), ('throttled'), ('running'), ('succeeded'), ('failed'), ('timed_out'),
	('denied'), ('rejected'), ('expired'), ('cancelled');

--
-- Every transition, allowed and refused
--
CREATE TEMP TABLE allowed AS
SELECT f AS from_state, trim(t) AS to_state, by AS only_by
FROM (VALUES
	(NULL, 'ready, awaiting_approval, throttled, denied', NULL),
	('awaiting_approval', 'ready, throttled, rejected, expired, denied, cancelled', NULL),
	('throttled', 'running, ready, awaiting_approval, rejected, denied, cancelled', NULL),
	('ready', 'running, awaiting_approval, throttled, rejected, denied, cancelled', NULL),
	('running', 'succeeded, failed, timed_out, ready, cancelled', NULL),
	('denied', 'ready, awaiting_approval, throttled', 'redecide'),
	('rejected', 'ready, awaiting_approval, throttled', 'redecide'),
	('expired', 'ready, awaiting_approval, throttled', 'redecide')) AS w(f, targets, by),
	regexp_split_to_table(targets, ',') t;
SELECT set_eq('SELECT from_state, to_state, only_by FROM policy.job_transitions', 'SELECT * FROM allowed', 'policy.job_transitions has them all, and no other');
SELECT throws_ok($$DELETE FROM policy.job_transitions$$, '55000', NULL, 'it is to read');

INSERT INTO policy.jobs (topic) VALUES ('read.one') RETURNING job_id AS id \gset
-- What comes of writing a state over another as that verb, of a job of its own: a server
-- with assertions does not survive a row that is changed time and again in a transaction, in
-- savepoints that are rolled back.
CREATE FUNCTION transit(from_state text, to_state text, verb text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	id bigint := submit('read.one');
BEGIN
	PERFORM put(id, format('state = %L', from_state));
	BEGIN
		IF verb IS NOT NULL THEN
			PERFORM policy.verb_begins(verb);
		END IF;
		UPDATE policy.jobs SET state = to_state WHERE job_id = id;
		result := state_of(id);
		RAISE EXCEPTION USING ERRCODE = 'P0009';
	EXCEPTION
		WHEN SQLSTATE 'P0009' THEN RETURN result;
		WHEN OTHERS THEN RETURN SQLSTATE;
	END;
END
$$;
SELECT is(transit(f.state, t.state, 'test'), CASE WHEN f.state = t.state OR EXISTS
		(SELECT FROM allowed a WHERE a.from_state = f.state AND a.to_state = t.state AND a.only_by IS NULL) THEN t.state ELSE 'PE008' END,
	format('a verb, from %s to %s', f.state, t.state))
FROM states f, states t ORDER BY f.position, t.position;
SELECT is(transit(f.state, t.state, 'redecide'), CASE WHEN f.state = t.state OR EXISTS
		(SELECT FROM allowed a WHERE a.from_state = f.state AND a.to_state = t.state) THEN t.state ELSE 'PE008' END,
	format('policy_redecide, from %s to %s', f.state, t.state))
FROM states f, states t WHERE f.state IN ('denied', 'rejected', 'expired') ORDER BY f.position, t.position;
SELECT is(transit(f.state, t.state, NULL), CASE WHEN f.state = t.state THEN t.state ELSE 'PE014' END,
	format('a superuser''s update, from %s to %s', f.state, t.state))
FROM states f, states t ORDER BY f.position, t.position;
SELECT is(transit(state, 'no such state', 'test'), 'PE008', format('there is no state beside these, from %s', state)) FROM states;
SELECT is(transit('ready', 'no such state', NULL), 'PE014', 'nor for a superuser');
SELECT put(:id, $$state = 'ready'$$) \g /dev/null

--
-- The engine's columns
--
SELECT throws_ok(format('UPDATE policy.jobs SET %I = %s WHERE job_id = %s', name, value, :id), 'PE014', NULL, 'an update cannot set ' || name)
FROM (VALUES ('job_id', '0'), ('decision_id', '0'), ('decided_at', 'now()'), ('constraints', $$'{}'$$), ('run_after', 'now()'), ('attempts', '-1'),
	('claimed_by', $$'me'$$), ('claimed_at', 'now()'), ('claim_token', 'gen_random_uuid()'), ('deadline', 'now()'), ('finished_at', 'now()'), ('result', $$'1'$$),
	('error', $$'x'$$), ('submitted_by', $$'me'$$), ('submitted_at', 'now()'), ('submitted_via', $$'me'$$), ('halt_id', '1')) AS t(name, value);
SELECT throws_ok(format('UPDATE policy.jobs SET payload = %L, %I = NULL WHERE job_id = %s', '1', name, :id), 'PE014', NULL, 'nor take away, beside another, ' || name)
FROM (VALUES ('decision_id'), ('state'), ('constraints'), ('submitted_by')) AS t(name);
SELECT is(sqlstate_of(format('UPDATE policy.jobs SET state = state, attempts = 0, claimed_by = NULL WHERE job_id = %s', :id)), 'none', 'what changes nothing is no change');
SELECT is(evidence_of(:id), 'submit ALLOW read', 'and is not recorded');
SELECT is((SELECT array_agg(name) FROM (VALUES ('job_id'), ('state'), ('decision_id'), ('decided_at'), ('constraints'), ('run_after'), ('attempts'), ('claimed_by'),
		('claimed_at'), ('claim_token'), ('deadline'), ('finished_at'), ('result'), ('error'), ('submitted_by'), ('submitted_at'), ('submitted_via'), ('halt_id'),
		('tenant_id'), ('topic'), ('capability'), ('pack_id'), ('actor_id'), ('actor_type'), ('idempotency_key'), ('secrets_present'), ('risk_tags'),
		('requires'), ('actor_roles'), ('labels'), ('mcp'), ('payload'), ('extra')) t(name)
	WHERE name NOT IN (SELECT attname FROM pg_attribute WHERE attrelid = 'policy.jobs'::regclass)), NULL, 'these are the columns');
SELECT is((SELECT count(*) FROM pg_attribute WHERE attrelid = 'policy.jobs'::regclass AND attnum > 0 AND NOT attisdropped), 33::bigint, 'and no other');

-- A verb's leave ends with it, whatever way.
CREATE TEMP TABLE running AS SELECT * FROM claim();
SELECT is(state_of(:id), 'running', 'a verb moves it');
SELECT throws_ok(format('UPDATE policy.jobs SET state = %L WHERE job_id = %s', 'ready', :id), 'PE014', NULL, 'after a verb nobody else can');
SELECT is(sqlstate_of(format('SELECT policy_complete(%s, gen_random_uuid())', :id)), 'PE013', 'a verb that fails');
SELECT throws_ok(format('UPDATE policy.jobs SET state = %L WHERE job_id = %s', 'ready', :id), 'PE014', NULL, 'leaves nothing behind');
SELECT throws_ok(format('SELECT policy_complete(%s, %L, (SELECT to_jsonb(repeat(%L, 2000000))))', job_id, claim_token, 'x'), '54000', NULL, 'nor one that fails later') FROM running;
SELECT throws_ok(format('UPDATE policy.jobs SET state = %L WHERE job_id = %s', 'ready', :id), 'PE014', NULL, 'does');
CREATE FUNCTION verb_undone(id bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM policy.verb_begins('test');
		PERFORM 1 / 0;
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
	RETURN sqlstate_of(format('UPDATE policy.jobs SET state = %L WHERE job_id = %s', 'ready', id));
END
$$;
SELECT is(verb_undone(:id), 'PE014', 'a verb''s leave ends with its subtransaction');
SAVEPOINT s;
SELECT policy.verb_begins('test') \g /dev/null
ROLLBACK TO s;
SELECT throws_ok(format('UPDATE policy.jobs SET state = %L WHERE job_id = %s', 'ready', :id), 'PE014', NULL, 'or with its savepoint');

--
-- A job's content: changed while it waits, decided again
--
CREATE TEMP TABLE changes (position serial, before text, after text);
INSERT INTO changes (before, after) SELECT f.topic, t.topic FROM (VALUES ('read.c'), ('mail.c'), ('prod.c')) f(topic), (VALUES ('read.d'), ('mail.d'), ('prod.d'), ('drop.d')) t(topic);
CREATE FUNCTION changed(before text, after text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint := submit(before);
BEGIN
	UPDATE policy.jobs SET topic = after WHERE job_id = id;
	RETURN concat_ws('; ', state_of(id), evidence_of(id), approvals_of(id), CASE WHEN evidence_agrees(id) THEN 'agrees' ELSE 'differs' END,
		(SELECT run_after - decided_at FROM policy.jobs j WHERE j.job_id = id));
END
$$;
CREATE FUNCTION d(topic text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE split_part(topic, '.', 1) WHEN 'read' THEN 'ALLOW' WHEN 'mail' THEN 'THROTTLE' WHEN 'prod' THEN 'REQUIRE_APPROVAL' ELSE 'DENY' END
$$;
SELECT is(changed(before, after), concat_ws('; ',
		CASE split_part(after, '.', 1) WHEN 'read' THEN 'ready' WHEN 'mail' THEN 'throttled' WHEN 'prod' THEN 'awaiting_approval' ELSE 'denied' END,
		format('submit %s %s, update %s %s', d(before), split_part(before, '.', 1), d(after), split_part(after, '.', 1)),
		coalesce(nullif(concat_ws(', ', CASE WHEN before LIKE 'prod%' THEN 'prod superseded 0' END, CASE WHEN after LIKE 'prod%' THEN 'prod pending 0' END), ''), 'none'),
		'agrees', CASE WHEN after LIKE 'mail%' THEN '00:00:30' END), format('%s changed to %s', before, after))
FROM changes ORDER BY position;

CREATE FUNCTION content_change(from_state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint := submit('read.content');
BEGIN
	PERFORM put(id, format('state = %L', from_state));
	RETURN sqlstate_of(format('UPDATE policy.jobs SET payload = %L WHERE job_id = %s', 5, id));
END
$$;
SELECT is(content_change(s.state), CASE WHEN s.state IN ('ready', 'awaiting_approval', 'throttled') THEN 'none' ELSE 'PE008' END, 'a change of a job that is ' || s.state)
FROM states s ORDER BY position;

CREATE TEMP TABLE columns (position serial, name text, value text);
INSERT INTO columns (name, value) VALUES ('tenant_id', 'acme'), ('topic', 'read.b'), ('capability', 'c'), ('pack_id', 'p'), ('actor_id', 'a'), ('actor_type', 't'),
	('idempotency_key', 'transition'), ('secrets_present', 'true'), ('risk_tags', '["x"]'), ('requires', '["x"]'), ('actor_roles', '["x"]'), ('labels', '{"a": "b"}'),
	('mcp', '{"tool": "x"}'), ('payload', '5'), ('extra', '{"a": 1}');
CREATE FUNCTION column_names() RETURNS text[] LANGUAGE sql AS $$ SELECT array_agg(name) FROM columns $$;
CREATE FUNCTION column_change(id bigint, name text, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	last bigint := (SELECT max(decision_id) FROM policy.decisions);
BEGIN
	EXECUTE format('UPDATE policy.jobs SET %I = %L WHERE job_id = %s', name, value, id);
	RETURN (SELECT string_agg(concat_ws(' ', source, decision, matched_rule) || ', ' || (CASE name WHEN 'extra' THEN job - column_names() ELSE job -> name END #>> '{}'), '; ') FROM policy.decisions WHERE decision_id > last);
END
$$;
SELECT submit('read.a') AS id \gset
SELECT is(column_change(:id, name, value), format('update ALLOW read, %s', value), 'changing it decides again: ' || name) FROM columns ORDER BY position;
SELECT is(column_change(:id, name, value), NULL, 'writing what is there does not: ' || name) FROM columns ORDER BY position;
SELECT is((SELECT count(*) FROM policy.decisions WHERE job_key = :'id'), 16::bigint, 'a decision for each change');
UPDATE policy.jobs SET payload = NULL WHERE job_id = :id;
SELECT is(evidence_agrees(:id), true, 'and for one taken away');
SELECT is((SELECT array_agg(d.job -> 'payload' ORDER BY d.decision_id DESC) FROM policy.decisions d WHERE d.job_key = :'id')[1:2], ARRAY[NULL, '5']::jsonb[], 'which the evidence shows');
UPDATE policy.jobs SET extra = '[]' WHERE job_id = :id;
SELECT is(state_of(:id), 'denied', 'a change that leaves no job is denied');

-- Many at once
INSERT INTO policy.jobs (topic, payload) SELECT 'read.bulk', to_jsonb(n) FROM generate_series(1, 1500) n;
UPDATE policy.jobs SET topic = CASE WHEN (payload)::int % 2 = 0 THEN 'prod.bulk' ELSE topic END WHERE topic = 'read.bulk';
SELECT is((count(*), count(*) FILTER (WHERE state = 'awaiting_approval'), count(*) FILTER (WHERE evidence_of(job_id) = 'submit ALLOW read, update REQUIRE_APPROVAL prod'),
	count(*) FILTER (WHERE approvals_of(job_id) = 'prod pending 0'))::text, '(1500,750,750,750)', 'an update of many decides what it changes, and no more')
FROM policy.jobs WHERE topic LIKE '%.bulk';
UPDATE policy.jobs j SET payload = to_jsonb((j.payload)::int + o.n) FROM (SELECT 10 AS n) o WHERE j.topic = 'prod.bulk';
SELECT is(count(*), 750::bigint, 'UPDATE FROM, too') FROM policy.jobs WHERE topic = 'prod.bulk' AND evidence_agrees(job_id) AND approvals_of(job_id) = 'prod superseded 0, prod pending 0';
UPDATE policy.jobs SET payload = '1' WHERE topic = 'read.bulk' AND (payload)::int = 1;
SELECT is(evidence_of(job_id), 'submit ALLOW read', 'an update with no change is no decision') FROM policy.jobs WHERE topic = 'read.bulk' AND payload = '1';

-- What an approval is for
SELECT submit('prod.a', '{"payload": {"amount": 5, "trace": "x"}}') AS id \gset
SELECT pending_of(:id) AS approval \gset
UPDATE policy.jobs SET payload = '{"amount": 5, "trace": "y"}' WHERE job_id = :id;
SELECT is((state_of(:id), evidence_of(:id), approvals_of(:id))::text,
	'(awaiting_approval,"submit REQUIRE_APPROVAL prod, update REQUIRE_APPROVAL prod","prod pending 0")', 'what is immaterial changes no approval');
UPDATE policy.jobs SET payload = '{"amount": 6, "trace": "y"}' WHERE job_id = :id;
SELECT is(approvals_of(:id), 'prod superseded 0, prod pending 0', 'what is material asks anew');
SELECT is((a.superseded_by, a.superseded_at, a.resolved_at)::text, (j.decision_id, j.decided_at, j.decided_at)::text, 'and the old one points to the decision that took its place')
FROM policy.approvals a, job(:id) j WHERE a.approval_id = :approval;
SELECT is((a.decision_id, a.decided_at, a.status)::text, (j.decision_id, j.decided_at, 'pending')::text, 'as the new one does') FROM policy.approvals a, job(:id) j WHERE a.approval_id = pending_of(:id);
SELECT throws_ok(format('SELECT policy_approve(%s)', :approval), 'PE009', NULL, 'who asks cannot approve');
CREATE ROLE policy_test_approver LOGIN;
SELECT policy_grant('policy_test_approver', 'approve') \g /dev/null
SET SESSION AUTHORIZATION policy_test_approver;
SELECT throws_ok(format('SELECT policy_approve(%s)', :approval), 'PE010', NULL, 'nobody approves what was superseded');
RESET SESSION AUTHORIZATION;
SELECT pending_of(:id) AS approval \gset
SET SESSION AUTHORIZATION policy_test_approver;
SELECT is((policy_approve(:approval)).status, 'approved', 'the new one is approved');
RESET SESSION AUTHORIZATION;
SELECT is((state_of(:id), evidence_agrees(:id))::text, '(ready,t)', 'the job is ready');
UPDATE policy.jobs SET payload = '{"amount": 6, "trace": "z"}' WHERE job_id = :id;
SELECT is((state_of(:id), approvals_of(:id))::text, '(ready,"prod superseded 0, prod approved 0")', 'and stays so where the change is immaterial');
UPDATE policy.jobs SET payload = '{"amount": 7, "trace": "z"}' WHERE job_id = :id;
SELECT is((state_of(:id), approvals_of(:id))::text, '(awaiting_approval,"prod superseded 0, prod superseded 0, prod pending 0")', 'and waits again where it is not');
UPDATE policy.jobs SET topic = 'drop.a' WHERE job_id = :id;
SELECT is((state_of(:id), approvals_of(:id), pending_of(:id))::text, '(denied,"prod superseded 0, prod superseded 0, prod superseded 0",)', 'a denied job asks nobody');
SELECT is((a.superseded_by)::text, (j.decision_id)::text, 'the denial took its place') FROM policy.approvals a, job(:id) j
	WHERE a.job_key = :'id' ORDER BY approval_id DESC LIMIT 1;

--
-- Every verb on a job in every state
--
CREATE FUNCTION do_verb(verb text, from_state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint := submit('read.verbs');
	token uuid := gen_random_uuid();
	result text;
BEGIN
	PERFORM put(id, format('state = %L, claim_token = %L, attempts = 5, constraints = %L', from_state, token, '{"max_retries": 4}'));
	EXECUTE format(verb, id, token, 'job_id') INTO result;
	RETURN coalesce(result, 'nothing');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
SELECT is(do_verb('SELECT (policy_complete(%1$s, %2$L)).state', state), CASE state WHEN 'running' THEN 'succeeded' ELSE 'PE013' END, 'policy_complete of a job that is ' || state) FROM states;
SELECT is(do_verb('SELECT (policy_fail(%1$s, %2$L)).state', state), CASE state WHEN 'running' THEN 'failed' ELSE 'PE013' END, 'policy_fail of a job that is ' || state) FROM states;
SELECT is(do_verb('SELECT (policy_heartbeat(%1$s, %2$L)).state', state), CASE state WHEN 'running' THEN 'running' ELSE 'PE013' END, 'policy_heartbeat of a job that is ' || state) FROM states;
SELECT is(do_verb('SELECT (policy_cancel(%1$s)).state', state), CASE WHEN state IN ('ready', 'throttled', 'awaiting_approval', 'running', 'cancelled') THEN 'cancelled' ELSE 'PE008' END,
	'policy_cancel of a job that is ' || state) FROM states;
SELECT is(do_verb('SELECT (SELECT state FROM policy_redecide(jsonb_build_object(%3$L, %1$s), NULL))', state), CASE WHEN state IN ('denied', 'rejected', 'expired') THEN 'ready' ELSE 'nothing' END,
	'policy_redecide of a job that is ' || state) FROM states;
SELECT empty_queue() \g /dev/null
SELECT is(do_verb('SELECT (SELECT state FROM policy_claim(%3$L, 10) WHERE job_id = %1$s)', state), CASE WHEN state IN ('ready', 'throttled') THEN 'running' ELSE 'nothing' END,
	'policy_claim of a job that is ' || state) FROM states;

-- Deleting
SELECT submit('prod.deleted') AS id \gset
DELETE FROM policy.jobs WHERE job_id = :id;
SELECT is((evidence_of(:id), approvals_of(:id))::text, '("submit REQUIRE_APPROVAL prod","prod superseded 0")', 'a deleted job''s evidence stays, and nobody is asked any more');

SELECT * FROM finish();
ROLLBACK;
