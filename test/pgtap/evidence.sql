-- Evidence: what policy.decisions holds of every decision that was enforced.
\ir common.psql
SELECT plan(171);
GRANT USAGE ON SCHEMA helper TO PUBLIC;

CREATE ROLE policy_test_agent LOGIN;
CREATE ROLE policy_test_team;
CREATE ROLE policy_test_approver LOGIN;
CREATE ROLE policy_test_auditor LOGIN;
GRANT policy_test_team TO policy_test_agent;
SELECT policy_grant('policy_test_agent', 'submit'), policy_grant('policy_test_team', 'submit'),
	policy_grant('policy_test_approver', 'approve'), policy_grant('policy_test_auditor', 'audit') \g /dev/null

-- What is recorded of a job, oldest first.
CREATE FUNCTION history(job_id bigint) RETURNS text LANGUAGE sql
	AS $$
	SELECT string_agg(format('%s %s', d.source, d.decision), ', ' ORDER BY d.decision_id)
	FROM policy.decisions d WHERE d.job_key = history.job_id::text
$$;
-- The newest decision of a job.
CREATE FUNCTION newest(job_id bigint) RETURNS policy.decisions LANGUAGE sql
	AS $$
	SELECT d FROM policy.decisions d WHERE d.job_key = newest.job_id::text
	ORDER BY d.decision_id DESC LIMIT 1
$$;
CREATE FUNCTION recorded() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM policy.decisions $$;

--
-- The table
--
SELECT columns_are('policy', 'decisions', ARRAY['decision_id', 'decided_at', 'source', 'job_table', 'job_key', 'job_hash',
	'tenant_id', 'actor_id', 'topic', 'job', 'decision', 'reason', 'matched_rule', 'matched_rules', 'monitored_rules',
	'constraints', 'snapshot', 'release_id', 'role', 'session_role', 'application_name', 'note']);
SELECT is((SELECT pg_get_partkeydef('policy.decisions'::regclass)), 'RANGE (decided_at)', 'evidence is partitioned by the time of the decision');
SELECT is((SELECT count(*) FROM pg_index WHERE indrelid = 'policy.decisions'::regclass), 0::bigint, 'the parent has no index and no key');
SELECT is((SELECT count(*) FROM pg_constraint c WHERE c.contype = 'f'
	AND (c.conrelid::regclass::text LIKE 'policy.%' OR c.confrelid::regclass::text LIKE 'policy.%')), 0::bigint,
	'no foreign key leads to evidence or from it');

--
-- With no policy at all
--
INSERT INTO policy.jobs (topic, payload) VALUES ('read.early', '{"password": "hunter2"}') RETURNING job_id AS early \gset
SELECT is((d.source, d.decision::text, d.reason, d.matched_rule, d.matched_rules, d.constraints, d.snapshot, d.release_id)::text,
	('submit', 'DENY', 'no active policy', NULL::text, '{}'::text[], '{}'::jsonb, NULL::text, NULL::bigint)::text,
	'with no active policy the denial is evidence, too') FROM newest(:early) d;

SELECT policy_stage('v1', $$
version: v1
rules:
  - {id: read, match: {topics: ["read.*"]}, decision: allow}
  - {id: write, match: {topics: ["write.*"]}, decision: require_approval, reason: "Writes are asked for"}
  - {id: crawl, match: {topics: ["crawl.*"]}, decision: throttle, retry_after_sec: 5}
  - {id: bounded, match: {topics: ["read.bounded"]}, decision: allow_with_constraints, constraints: {max_rows: 10}}
  - {id: watched, match: {topics: ["*.watched"]}, decision: deny, mode: monitor}
evidence:
  mask: ['$.payload.password', '$.payload.keys[0]', '$.payload.cards[*].number', '$.labels.token', '$.extra_secret', '$.payload.all[*]']
$$, NULL), policy_publish('v1', NULL) \g /dev/null

--
-- submit: every column
--
SET LOCAL application_name = 'agent runner';
SET SESSION AUTHORIZATION policy_test_agent;
SET ROLE policy_test_team;
SELECT clock_timestamp() AS before \gset
SELECT job_id AS full_job FROM policy_submit('{"topic": "Read.Bounded", "tenant": " Acme ", "actor": {"id": "Agent-7", "type": "agent", "roles": ["r"]},
	"risk_tags": ["low"], "payload": {"n": 1}, "extra_key": true}') \gset
SELECT clock_timestamp() AS after \gset
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT is(d.decision_id, j.decision_id, 'decision_id is the job''s') FROM newest(:full_job) d, policy.jobs j WHERE j.job_id = :full_job;
SELECT is(d.decided_at, j.decided_at, 'decided_at is the job''s') FROM newest(:full_job) d, policy.jobs j WHERE j.job_id = :full_job;
SELECT ok(d.decided_at BETWEEN :'before' AND :'after', 'and the clock''s, within the statement') FROM newest(:full_job) d;
SELECT is(d.source, 'submit', 'source is submit') FROM newest(:full_job) d;
SELECT is(d.job_table, 'policy.jobs', 'job_table is schema-qualified') FROM newest(:full_job) d;
SELECT is(d.job_key, :'full_job', 'job_key is the job''s id') FROM newest(:full_job) d;
SELECT is(d.job, '{"topic": "Read.Bounded", "tenant_id": " Acme ", "actor_id": "Agent-7", "actor_type": "agent", "actor_roles": ["r"],
	"risk_tags": ["low"], "payload": {"n": 1}, "extra_key": true}'::jsonb, 'job is the row''s, as it was given') FROM newest(:full_job) d;
SELECT is(d.job_hash, sha256(convert_to(d.job::text, 'UTF8')), 'job_hash is SHA-256 of its canonical text') FROM newest(:full_job) d;
SELECT is(d.tenant_id, 'acme', 'tenant_id is normalised') FROM newest(:full_job) d;
SELECT is(d.actor_id, 'agent-7', 'actor_id is normalised') FROM newest(:full_job) d;
SELECT is(d.topic, 'read.bounded', 'topic is normalised') FROM newest(:full_job) d;
SELECT is(d.decision::text, 'ALLOW_WITH_CONSTRAINTS', 'decision is the verdict''s') FROM newest(:full_job) d;
SELECT is(d.reason, 'matched rule bounded', 'reason is the verdict''s') FROM newest(:full_job) d;
SELECT is(d.matched_rule, 'bounded', 'matched_rule is the winner') FROM newest(:full_job) d;
SELECT is(d.matched_rules, '{read,bounded}', 'matched_rules are all that apply, in document order') FROM newest(:full_job) d;
SELECT is(d.monitored_rules, '{}', 'monitored_rules are none here, not NULL') FROM newest(:full_job) d;
SELECT is(d.constraints, '{"max_rows": 10, "max_runtime_sec": 60, "max_retries": 1}'::jsonb, 'constraints are the verdict''s') FROM newest(:full_job) d;
SELECT is(d.constraints, j.constraints, 'and the job''s') FROM newest(:full_job) d, policy.jobs j WHERE j.job_id = :full_job;
SELECT is(d.snapshot, 'v1', 'snapshot names the policy') FROM newest(:full_job) d;
SELECT is(d.release_id, 1::bigint, 'release_id the release that put it in force') FROM newest(:full_job) d;
SELECT is(d.role, 'policy_test_team', 'role is the one that was set, through SECURITY DEFINER, too') FROM newest(:full_job) d;
SELECT is(d.session_role, 'policy_test_agent', 'session_role is the login') FROM newest(:full_job) d;
SELECT is(d.application_name, 'agent runner', 'application_name is the client''s') FROM newest(:full_job) d;
SELECT is(d.note, NULL, 'note is NULL but where somebody wrote one') FROM newest(:full_job) d;

SET LOCAL application_name = '';
SET SESSION AUTHORIZATION policy_test_agent;
INSERT INTO policy.jobs (topic) VALUES ('read.watched') RETURNING job_id AS watched \gset
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT is((d.role, d.session_role, d.application_name)::text, ('policy_test_agent', 'policy_test_agent', NULL::text)::text,
	'without SET ROLE the role is the login; an empty application_name is NULL') FROM newest(:watched) d;
SELECT is((d.decision::text, d.matched_rules, d.monitored_rules)::text, ('ALLOW', '{read}'::text[], '{watched}'::text[])::text,
	'a rule in monitor mode is recorded beside what decided') FROM newest(:watched) d;
SELECT is((d.tenant_id, d.actor_id)::text, ('default', NULL::text)::text, 'an absent tenant is default, an absent actor NULL') FROM newest(:watched) d;

--
-- Every way to insert
--
SELECT recorded() AS so_far \gset
INSERT INTO policy.jobs (topic) VALUES ('read.1'), ('write.1'), ('crawl.1'), ('none.1');
SELECT is(recorded() - :so_far, 4::bigint, 'a multi-row INSERT has one decision for each row');
SELECT is((SELECT string_agg(format('%s:%s:%s', j.topic, j.state, d.decision), ' ' ORDER BY j.job_id)
	FROM policy.jobs j JOIN policy.decisions d USING (decision_id, decided_at) WHERE j.topic LIKE '%.1'),
	'read.1:ready:ALLOW write.1:awaiting_approval:REQUIRE_APPROVAL crawl.1:throttled:THROTTLE none.1:denied:DENY',
	'which its job''s decision_id and decided_at find');
INSERT INTO policy.jobs (topic) SELECT 'read.' || n FROM generate_series(100, 399) n;
SELECT is(recorded() - :so_far, 304::bigint, 'INSERT ... SELECT has one for each row');
COPY policy.jobs (topic, payload) FROM STDIN;
read.copied	{"a": 1}
none.copied	\N
\.
SELECT is(recorded() - :so_far, 306::bigint, 'COPY has one for each row');
SELECT is((SELECT string_agg(history(j.job_id), '; ' ORDER BY j.job_id) FROM policy.jobs j WHERE j.topic LIKE '%.copied'),
	'submit ALLOW; submit DENY', 'with what was decided');
SELECT is((SELECT count(DISTINCT d.decision_id) FROM policy.decisions d), recorded(), 'ids are unique');
SELECT is_empty($$SELECT FROM policy.jobs j WHERE NOT EXISTS (SELECT FROM policy.decisions d
	WHERE d.decision_id = j.decision_id AND d.decided_at = j.decided_at AND d.job_key = j.job_id::text
		AND d.job_hash = policy.job_hash(policy.job(j)))$$, 'every job has its decision, of its very content');

SELECT recorded() AS so_far \gset
INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('read.once', 'k1');
SELECT is(recorded() - :so_far, 1::bigint, 'a job with an idempotency key has its decision');
INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('read.once', 'k1') ON CONFLICT DO NOTHING;
SELECT is(recorded() - :so_far, 1::bigint, 'a row that ON CONFLICT DO NOTHING leaves out has none');
INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('write.once', 'k1'), ('write.twice', 'k2'), ('write.thrice', 'k2')
	ON CONFLICT DO NOTHING;
SELECT is(recorded() - :so_far, 2::bigint, 'nor beside one that goes in');
SELECT is((SELECT count(*) FROM policy.approvals a JOIN policy.jobs j ON a.job_key = j.job_id::text WHERE j.idempotency_key IN ('k1', 'k2')),
	1::bigint, 'nor does it ask for an approval');
INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('write.once', 'k1')
	ON CONFLICT (policy.idempotency_hash(tenant_id, extra, idempotency_key)) WHERE idempotency_key IS NOT NULL
	DO UPDATE SET topic = excluded.topic;
SELECT is(history(job_id), 'submit ALLOW, update REQUIRE_APPROVAL', 'ON CONFLICT DO UPDATE has the decision of the update alone')
	FROM policy.jobs WHERE idempotency_key = 'k1';
SELECT is(recorded() - :so_far, 3::bigint, 'and no other');
SELECT policy_submit('{"topic": "write.twice", "idempotency_key": "k2"}') \g /dev/null
SELECT is(recorded() - :so_far, 3::bigint, 'policy_submit of a job that is there records nothing');

--
-- No evidence outlives its job, and no job its evidence.
--
SELECT recorded() AS so_far \gset
SAVEPOINT here;
INSERT INTO policy.jobs (topic) VALUES ('read.gone'), ('write.gone');
SELECT is(recorded() - :so_far, 2::bigint, 'before the rollback it is there');
ROLLBACK TO here;
SELECT is(recorded() - :so_far, 0::bigint, 'evidence is rolled back with its job');
SELECT throws_ok($$INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('read.x', 'k9'), ('read.y', 'k9')$$, '23505', NULL,
	'a statement that fails half-way');
SELECT is(recorded() - :so_far, 0::bigint, 'leaves no evidence of its first half');
DO $$
BEGIN
	INSERT INTO policy.jobs (topic) VALUES ('read.gone');
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
	INSERT INTO policy.jobs (topic) VALUES ('read.kept');
END
$$;
SELECT is(recorded() - :so_far, 1::bigint, 'nor does a block that caught its error');
SELECT is(history(job_id), 'submit ALLOW', 'and what it did instead is recorded') FROM policy.jobs WHERE topic = 'read.kept';
SELECT job_id AS kept FROM policy.jobs WHERE topic = 'read.kept' \gset
DELETE FROM policy.jobs WHERE job_id = :kept;
SELECT is(history(:kept), 'submit ALLOW', 'a deleted job''s evidence stays');

--
-- update
--
INSERT INTO policy.jobs (topic) VALUES ('read.changed') RETURNING job_id AS changed \gset
UPDATE policy.jobs SET topic = topic WHERE job_id = :changed;
SELECT is(history(:changed), 'submit ALLOW', 'an update that changes nothing is no decision');
UPDATE policy.jobs SET payload = '{"more": true}' WHERE job_id = :changed;
SELECT is(history(:changed), 'submit ALLOW, update ALLOW', 'one that does is decided, and recorded though the verdict is the same');
UPDATE policy.jobs SET topic = 'write.changed' WHERE job_id = :changed;
SELECT is(history(:changed), 'submit ALLOW, update ALLOW, update REQUIRE_APPROVAL', 'as is the next');
SELECT is((j.decision_id, j.decided_at, j.state)::text, (d.decision_id, d.decided_at, 'awaiting_approval')::text, 'the job has the newest')
	FROM policy.jobs j, newest(:changed) d WHERE j.job_id = :changed;
SELECT is(d.job, '{"topic": "write.changed", "payload": {"more": true}}'::jsonb, 'whose evidence has the job as it is now') FROM newest(:changed) d;
SELECT is((SELECT d.job FROM policy.decisions d WHERE d.job_key = :'changed' ORDER BY d.decision_id LIMIT 1), '{"topic": "read.changed"}'::jsonb,
	'while the first has it as it was');

--
-- vote
--
SET SESSION AUTHORIZATION policy_test_agent;
INSERT INTO policy.jobs (topic) VALUES ('write.voted') RETURNING job_id AS voted \gset
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT approval_id AS asked FROM policy.approvals WHERE job_key = :'voted' \gset
SET SESSION AUTHORIZATION policy_test_approver;
SET LOCAL search_path = helper, public;
SELECT is((policy_approve(:asked, 'fine')).status, 'approved', 'the last vote approves');
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT is(history(:voted), 'submit REQUIRE_APPROVAL, vote ALLOW', 'the vote that completes an approval has the decision that it led to');
SELECT is((d.role, d.session_role, d.matched_rules, d.snapshot)::text, ('policy_test_approver', 'policy_test_approver', '{write}'::text[], 'v1')::text,
	'by whoever voted') FROM newest(:voted) d;
SELECT is((j.state, j.decision_id)::text, ('ready', d.decision_id)::text, 'and the job has it') FROM policy.jobs j, newest(:voted) d WHERE j.job_id = :voted;

INSERT INTO policy.jobs (topic) VALUES ('write.refused') RETURNING job_id AS refused_job \gset
SELECT approval_id AS asked FROM policy.approvals WHERE job_key = :'refused_job' \gset
SET SESSION AUTHORIZATION policy_test_approver;
SET LOCAL search_path = helper, public;
SELECT is((policy_reject(:asked, 'no')).status, 'rejected', 'a rejection is recorded by the vote');
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT is(history(:refused_job), 'submit REQUIRE_APPROVAL', 'and is no decision of a policy');

--
-- claim
--
SELECT recorded() AS so_far \gset
SELECT job_id AS claimed FROM policy_claim('w1', 1, ARRAY['read.copied']) \gset
SELECT is(recorded() - :so_far, 0::bigint, 'a claim that changes nothing records nothing');
INSERT INTO policy.jobs (topic) VALUES ('read.later') RETURNING job_id AS later \gset
INSERT INTO policy.jobs (topic) VALUES ('read.stopped') RETURNING job_id AS stopped \gset
SELECT policy_stage('v2', $$
version: v1
rules:
  - {id: read, match: {topics: ["read.*"]}, decision: allow}
  - {id: stop, match: {topics: ["read.stopped"]}, decision: deny, reason: "Stopped"}
$$, NULL), policy_publish('v2', NULL) \g /dev/null
SELECT is((SELECT array_agg(job_id) FROM policy_claim('w1', 1, ARRAY['read.later'])), ARRAY[:later]::bigint[], 'under another snapshot it is claimed');
SELECT is(history(:later), 'submit ALLOW, claim ALLOW', 'and recorded, for the snapshot differs');
SELECT is((d.snapshot, d.release_id)::text, ('v2', 2::bigint)::text, 'with the newest release') FROM newest(:later) d;
SELECT is((j.decision_id, j.state)::text, (d.decision_id, 'running')::text, 'and the job has it') FROM policy.jobs j, newest(:later) d WHERE j.job_id = :later;
SELECT is((SELECT count(*) FROM policy_claim('w1', 1, ARRAY['read.stopped'])), 0::bigint, 'a job that policy stops now is not claimed');
SELECT is(history(:stopped), 'submit ALLOW, claim DENY', 'and recorded');
SELECT is((j.state, d.reason)::text, ('denied', 'Stopped')::text, 'as denied') FROM policy.jobs j, newest(:stopped) d WHERE j.job_id = :stopped;

--
-- maintain and redecide
--
SELECT is(history(job_id), 'submit REQUIRE_APPROVAL', 'a release alone decides nothing again') FROM policy.jobs WHERE topic = 'write.1';
SELECT policy_maintain() \g /dev/null
SELECT is(history(job_id), 'submit REQUIRE_APPROVAL, maintain DENY', 'policy_maintain records what it changes') FROM policy.jobs WHERE topic = 'write.1';
SELECT recorded() AS so_far \gset
SELECT policy_maintain() \g /dev/null
SELECT is(recorded() - :so_far, 0::bigint, 'and nothing the second time');
SELECT policy_rollback('v1', NULL) \g /dev/null
SELECT is((SELECT count(*) FROM policy_redecide(jsonb_build_object('job_id', :stopped::bigint), 'the rule was wrong')), 1::bigint, 'policy_redecide decides again');
SELECT is(history(:stopped), 'submit ALLOW, claim DENY, redecide ALLOW', 'and records');
SELECT is((d.note, d.release_id)::text, ('the rule was wrong', 3::bigint)::text, 'with the note') FROM newest(:stopped) d;
SELECT is((SELECT count(*) FROM policy_redecide(jsonb_build_object('job_id', :early::bigint, 'state', 'denied'), 'once more')), 1::bigint,
	'what was denied without a policy is decided');
SELECT job_id AS nothing FROM policy.jobs WHERE topic = 'none.1' \gset
SELECT policy_redecide(jsonb_build_object('job_id', :nothing::bigint), 'still no') \g /dev/null
SELECT is(history(:nothing), 'submit DENY, redecide DENY', 'policy_redecide records though nothing changes');
SELECT throws_ok($$INSERT INTO policy.decisions (decision_id, decided_at, source, job_table, job_key, job_hash, decision, reason,
		matched_rules, monitored_rules, constraints, role, session_role)
	VALUES (1000000, now(), 'hearsay', 'policy.jobs', '1', '\x', 'ALLOW', 'x', '{}', '{}', '{}', 'x', 'x')$$, '23514', NULL,
	'a source that is none of the eight is refused');

--
-- Masks
--
INSERT INTO policy.jobs (topic, labels, payload, extra) VALUES ('read.masked', '{"token": "t", "env": "prod"}',
	'{"password": {"deep": ["x"]}, "keys": ["a", "b"], "cards": [{"number": 1, "name": "n"}, {"name": "m"}, "plain"], "all": [1, [2], {"three": 3}]}',
	'{"extra_secret": null, "extra_open": 1}') RETURNING job_id AS masked \gset
SELECT is(d.job -> 'payload' -> 'password', '"***"'::jsonb, 'a masked key is stored as ***, whatever its value was') FROM newest(:masked) d;
SELECT is(d.job -> 'payload' -> 'keys', '["***", "b"]'::jsonb, '[n] masks that element alone') FROM newest(:masked) d;
SELECT is(d.job -> 'payload' -> 'cards', '[{"number": "***", "name": "n"}, {"name": "m"}, "plain"]'::jsonb,
	'[*] goes into every element, and adds nothing where there is nothing') FROM newest(:masked) d;
SELECT is(d.job -> 'payload' -> 'all', '["***", "***", "***"]'::jsonb, '[*] at the end masks every element') FROM newest(:masked) d;
SELECT is(d.job -> 'labels', '{"token": "***", "env": "prod"}'::jsonb, 'a label can be masked') FROM newest(:masked) d;
SELECT is((d.job -> 'extra_secret', d.job -> 'extra_open')::text, ('"***"'::jsonb, '1'::jsonb)::text, 'and a key of extra, its null included')
	FROM newest(:masked) d;
SELECT is(d.job_hash, policy.job_hash(policy.job(j)), 'the hash is of the job before masking') FROM newest(:masked) d, policy.jobs j WHERE j.job_id = :masked;
SELECT is(j.payload ->> 'keys', '["a", "b"]', 'and the job keeps what the worker needs') FROM policy.jobs j WHERE j.job_id = :masked;
SELECT job_id AS bad FROM policy_submit('{"topic": "read.bad", "risk_tags": "one", "payload": {"password": "p", "open": 1}}') \gset
SELECT is((d.decision::text, d.job -> 'payload')::text, ('DENY', '{"password": "***", "open": 1}'::jsonb)::text, 'an invalid job is masked as well')
	FROM newest(:bad) d;
SELECT is(d.job -> 'risk_tags', '"one"'::jsonb, 'and its evidence keeps what no column could') FROM newest(:bad) d;
SELECT job_id AS given FROM policy_submit('["no", "object"]') \gset
SELECT is(d.job, '["no", "object"]'::jsonb, 'what was submitted and is no object is evidence as it was given') FROM newest(:given) d;
SELECT is((d.tenant_id, d.actor_id, d.topic)::text, (NULL::text, NULL::text, NULL::text)::text, 'with no fact taken from it') FROM newest(:given) d;
SELECT job_id AS given FROM policy_submit(NULL) \gset
SELECT is((d.decision::text, d.job, d.job_hash)::text, ('DENY', NULL::jsonb, sha256(''))::text, 'a NULL job is NULL in evidence, and denied') FROM newest(:given) d;

-- The payload as evidence has it under some masks.
CREATE FUNCTION masked(paths text, payload jsonb) RETURNS jsonb LANGUAGE plpgsql
	AS $$
DECLARE
	name text := 'mask ' || (SELECT count(*) FROM policy.snapshots);
	job_id bigint;
BEGIN
	PERFORM policy_stage(name, format('{"version": "v1", "evidence": {"mask": %s}}', paths)::policy_document, NULL);
	PERFORM policy_publish(name, NULL);
	INSERT INTO policy.jobs (topic, payload) VALUES ('masked', payload) RETURNING policy.jobs.job_id INTO job_id;
	RETURN (newest(job_id)).job -> 'payload';
END
$$;
SAVEPOINT masks;
SELECT is(masked(paths, payload), expected, format('%s under %s', payload, paths))
FROM (VALUES ('["$.payload"]', '{"a": 1}'::jsonb, '"***"'::jsonb), ('["$.payload", "$.payload.a"]', '{"a": 1}', '"***"'),
	('["$.payload.a", "$.payload"]', '{"a": 1}', '"***"'), ('["$.payload.a.b"]', '{"a": {"b": {"c": 1}, "d": 2}}', '{"a": {"b": "***", "d": 2}}'),
	('["$.payload.a"]', '{"b": {"a": 1}}', '{"b": {"a": 1}}'), ('["$.payload.a"]', '[{"a": 1}]', '[{"a": 1}]'),
	('["$.payload[0]"]', '{"0": 1}', '{"0": 1}'), ('["$.payload[9]"]', '[1, 2]', '[1, 2]'), ('["$.payload[*]"]', '{"a": 1}', '{"a": 1}'),
	('["$.payload[*][*].k"]', '[[{"k": 1}, {"k": [2]}], {"k": 3}, [[{"k": 4}]]]', '[[{"k": "***"}, {"k": "***"}], {"k": 3}, [[{"k": 4}]]]'),
	('["$.payload[0].a", "$.payload[1].b"]', '[{"a": 1, "b": 2}, {"a": 1, "b": 2}]', '[{"a": "***", "b": 2}, {"a": 1, "b": "***"}]'),
	('["$.payload.\"a b\""]', '{"a b": 1, "a": 2}', '{"a b": "***", "a": 2}'), ('["$.payload.A"]', '{"a": 1}', '{"a": 1}'),
	('["$.other.payload"]', '{"a": 1}', '{"a": 1}')) m(paths, payload, expected);
ROLLBACK TO masks;

-- Nobody knows what a policy masks that cannot be read.
SAVEPOINT unavailable;
SET LOCAL session_replication_role = replica;
INSERT INTO policy.releases (release_id, action, snapshot, released_by, released_at) VALUES (50, 'publish', 'nowhere', 'x', now());
SET LOCAL session_replication_role = origin;
INSERT INTO policy.jobs (topic, payload) VALUES ('read.unread', '{"open": 1}') RETURNING job_id AS unread \gset
SELECT is((d.decision::text, d.snapshot, d.job)::text, ('DENY', NULL::text, '{"topic": "read.unread", "payload": "***"}'::jsonb)::text,
	'where the policy cannot be read the payload is not shown at all') FROM newest(:unread) d;
SELECT alike(d.reason, 'policy unavailable: %', 'and the reason says so') FROM newest(:unread) d;
ROLLBACK TO unavailable;

--
-- Append-only, whoever tries
--
SELECT policy_maintain() \g /dev/null
CREATE FUNCTION change_is_refused(role text, relation text) RETURNS SETOF text LANGUAGE plpgsql
	AS $$
DECLARE
	statement text;
BEGIN
	PERFORM set_config('session_replication_role', role, true);
	FOREACH statement IN ARRAY ARRAY['UPDATE %s SET reason = ''forged''', 'DELETE FROM %s', 'TRUNCATE %s', 'TRUNCATE %s CASCADE'] LOOP
		RETURN NEXT throws_ok(format(statement, relation), 'PE011', NULL,
			format('refused under session_replication_role = %s: ', role) || format(statement, relation));
	END LOOP;
	PERFORM set_config('session_replication_role', 'origin', true);
END
$$;
-- A month partition with a row in it: the first of next month's.
SELECT format('policy.decisions_%s', to_char(date_trunc('month', now()) + interval '1 month', 'YYYY_MM')) AS month \gset
INSERT INTO policy.decisions (decision_id, decided_at, source, job_table, job_key, job_hash, decision, reason, matched_rules,
	monitored_rules, constraints, role, session_role)
	VALUES (nextval('policy.decision_id_seq'), date_trunc('month', now()) + interval '40 days', 'submit', 'elsewhere', '1', '\x', 'DENY', 'x',
		'{}', '{}', '{}', 'x', 'x');
SELECT is((SELECT tableoid::regclass::text FROM policy.decisions WHERE job_table = 'elsewhere'), :'month', 'a decision goes to its month''s partition');
SELECT change_is_refused(role, relation)
FROM (VALUES ('origin'), ('replica'), ('local')) r(role),
	(VALUES ('policy.decisions'), ('policy.decisions_default'), (:'month')) p(relation);
SELECT throws_ok(format('TRUNCATE %s, policy.jobs', :'month'), 'PE011', NULL, 'nor beside a table that can be emptied');
SELECT throws_ok($$UPDATE policy.decisions SET decided_at = decided_at + interval '2 months'$$, 'PE011', NULL, 'nor by moving a row to another partition');

SET SESSION AUTHORIZATION policy_test_auditor;
SET LOCAL search_path = helper, public;
SELECT isnt((SELECT count(*) FROM policy.decisions), 0::bigint, 'the duty audit reads evidence');
SELECT is(sqlstate_of(statement), '42501', 'and may not: ' || statement) FROM (VALUES
	('INSERT INTO policy.decisions SELECT * FROM policy.decisions'), ($$UPDATE policy.decisions SET reason = 'x'$$),
	('DELETE FROM policy.decisions'), ('TRUNCATE policy.decisions'), ('SELECT * FROM policy.decisions_default')) t(statement);
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION policy_test_agent;
SET LOCAL search_path = helper, public;
SELECT is(sqlstate_of('SELECT * FROM policy.decisions'), '42501', 'a submitter reads none');
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;

--
-- Views
--
SELECT columns_are('policy', 'decision_mix', ARRAY['hour', 'decision', 'rule', 'decisions']);
SELECT is((SELECT sum(decisions) FROM policy.decision_mix), recorded()::numeric, 'the mix counts every decision once');
SELECT is((SELECT sum(decisions) FROM policy.decision_mix WHERE rule = 'read' AND decision = 'ALLOW'),
	(SELECT count(*)::numeric FROM policy.decisions WHERE matched_rule = 'read' AND decision = 'ALLOW'), 'by rule and decision');
SELECT isnt((SELECT sum(decisions) FROM policy.decision_mix WHERE rule IS NULL AND decision = 'DENY'), NULL, 'a default has no rule');
SELECT is((SELECT count(*) FROM policy.decision_mix WHERE hour <> date_trunc('hour', hour)), 0::bigint, 'by hour');

SELECT columns_are('policy', 'rule_stats', ARRAY['rule', 'hits', 'last_hit', 'share_approved', 'median_wait', 'p90_wait']);
SELECT is((s.hits, s.last_hit)::text, (SELECT (count(*), max(decided_at))::text FROM policy.decisions WHERE 'read' = ANY (matched_rules)),
	'rule_stats counts every decision that a rule applied to') FROM policy.rule_stats s WHERE s.rule = 'read';
SELECT is((s.share_approved, s.median_wait, s.p90_wait)::text, '(,,)', 'a rule that asks nobody has no waits') FROM policy.rule_stats s WHERE s.rule = 'read';
-- Of ten approvals nine approved, waiting 1 to 10 minutes; an open and a superseded one count for nothing.
SET LOCAL session_replication_role = replica;
DELETE FROM policy.approvals;
INSERT INTO policy.approvals (approval_id, decision_id, decided_at, job_table, job_key, job_hash, immaterial, rule, status, required,
	approvers, allow_self, attempts, requested_by, requested_at, expires_at, resolved_at)
	SELECT 1000000 + n, n, now(), 'policy.jobs', (-n)::text, '\x', '{}', 'write',
		CASE n WHEN 1 THEN 'rejected' WHEN 2 THEN 'consumed' WHEN 11 THEN 'pending' WHEN 12 THEN 'superseded' ELSE 'approved' END, 1, '{}', false, 0,
		'x', now(), now(), CASE WHEN n <> 11 THEN now() + make_interval(mins => n) END
	FROM generate_series(1, 12) n;
SET LOCAL session_replication_role = origin;
SELECT is((s.share_approved, s.median_wait, s.p90_wait)::text, ('0.9000'::numeric, '5.5 minutes'::interval, '9.1 minutes'::interval)::text,
	'the share approved, the median and the 90th percentile of the wait') FROM policy.rule_stats s WHERE s.rule = 'write';

SELECT columns_are('policy', 'traces', ARRAY['job_id', 'state', 'topic', 'tenant_id', 'actor_id', 'submitted_by', 'submitted_at',
	'decision_id', 'decided_at', 'source', 'decision', 'reason', 'matched_rule', 'matched_rules', 'constraints', 'snapshot', 'release_id',
	'approved_by', 'rejected_by', 'attempts', 'claimed_by', 'claimed_at', 'finished_at', 'result', 'error', 'replaces', 'replaced_by']);
SELECT is((SELECT count(*) FROM policy.traces), (SELECT count(*) FROM policy.jobs), 'a trace for every job');
SET SESSION AUTHORIZATION policy_test_agent;
INSERT INTO policy.jobs (topic) VALUES ('write.traced') RETURNING job_id AS traced \gset
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT approval_id AS asked FROM policy.approvals WHERE job_key = :'traced' \gset
SET SESSION AUTHORIZATION policy_test_approver;
SELECT policy_approve(:asked, 'ok') \g /dev/null
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT claim_token AS token FROM policy_claim('w7', 1, ARRAY['write.traced']) \gset
SELECT policy_complete(:traced, :'token', '{"done": 1}') \g /dev/null
SELECT is((t.state, t.topic, t.submitted_by, t.source, t.decision::text, t.matched_rule, t.snapshot, t.release_id, t.approved_by, t.rejected_by,
		t.attempts, t.claimed_by, t.result, t.error)::text,
	('succeeded', 'write.traced', 'policy_test_agent', 'vote', 'ALLOW', 'write', 'v1', 3::bigint, '{policy_test_approver}'::text[], NULL::text[],
		1, 'w7', '{"done": 1}'::jsonb, NULL::text)::text, 'a trace joins the outcome to decision, rule, snapshot and approvers')
	FROM policy.traces t WHERE t.job_id = :traced;
-- A first attempt of other content, approved by somebody else, and a rejection that was taken back.
CREATE ROLE policy_test_second LOGIN;
SELECT policy_grant('policy_test_second', 'approve') \g /dev/null
CREATE FUNCTION open_approval(job_id bigint) RETURNS bigint LANGUAGE sql SECURITY DEFINER
	AS $$ SELECT approval_id FROM policy.approvals WHERE job_key = job_id::text AND status = 'pending' $$;
SET SESSION AUTHORIZATION policy_test_agent;
INSERT INTO policy.jobs (topic) VALUES ('write.twice.traced') RETURNING job_id AS traced2 \gset
SET SESSION AUTHORIZATION policy_test_second;
SELECT policy_reject(helper.open_approval(:traced2), 'not yet') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT policy_redecide(jsonb_build_object('job_id', :traced2::bigint), 'now') \g /dev/null
SET SESSION AUTHORIZATION policy_test_second;
SELECT policy_approve(helper.open_approval(:traced2), 'ok') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT policy_fail(job_id, claim_token, 'once') FROM policy_claim('w7', 1, ARRAY['write.twice.traced']) \g /dev/null
SET SESSION AUTHORIZATION policy_test_agent;
UPDATE policy.jobs SET payload = '{"other": true}' WHERE job_id = :traced2;
SET SESSION AUTHORIZATION policy_test_approver;
SELECT policy_approve(helper.open_approval(:traced2), 'ok') \g /dev/null
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT is((t.state, t.approved_by, t.rejected_by, t.attempts)::text, ('ready', '{policy_test_approver}'::text[], NULL::text[], 1)::text,
	'a trace names who approved what runs, and nobody who approved or rejected something else') FROM policy.traces t WHERE t.job_id = :traced2;
SELECT ok(t.claimed_at <= t.finished_at AND t.submitted_at <= t.claimed_at, 'with its times') FROM policy.traces t WHERE t.job_id = :traced;

SELECT * FROM finish();
ROLLBACK;
