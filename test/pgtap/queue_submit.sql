\ir queue.psql
SELECT plan(240);

SELECT is(release('v1', first_rules()), 'v1', 'a policy is in force');
SELECT count(*) AS before FROM policy.decisions \gset

--
-- INSERT: what the policy says is the state
--
INSERT INTO policy.jobs (topic) VALUES ('read.a'), ('write.a'), ('mail.a'), ('prod.a'), ('drop.a'), ('other.a'), (NULL);
CREATE TEMP TABLE wanted (position serial, topic text, state text, decision text, rule text, constraints jsonb, reason text);
INSERT INTO wanted (topic, state, decision, rule, constraints, reason) VALUES
	('read.a', 'ready', 'ALLOW', 'read', '{"max_runtime_sec": 60, "max_retries": 1}', 'matched rule read'),
	('write.a', 'ready', 'ALLOW_WITH_CONSTRAINTS', 'write', '{"max_runtime_sec": 30, "max_retries": 2, "region": "eu"}', 'matched rule write'),
	('mail.a', 'throttled', 'THROTTLE', 'mail', '{"max_runtime_sec": 60, "max_retries": 1}', 'matched rule mail'),
	('prod.a', 'awaiting_approval', 'REQUIRE_APPROVAL', 'prod', '{"max_runtime_sec": 60, "max_retries": 1}', 'a person has to look'),
	('drop.a', 'denied', 'DENY', 'drop', '{}', 'never'),
	('other.a', 'denied', 'DENY', NULL, '{}', 'nothing allows it'),
	(NULL, 'denied', 'DENY', NULL, '{}', 'invalid job%');
SELECT is((j.state, j.constraints)::text, (w.state, w.constraints)::text, coalesce(w.topic, 'no topic') || ' is ' || w.state)
FROM wanted w LEFT JOIN policy.jobs j ON j.topic IS NOT DISTINCT FROM w.topic ORDER BY w.position;
SELECT is((d.source, d.decision, d.matched_rule, d.matched_rules, d.monitored_rules, d.constraints, d.snapshot)::text,
	('submit', w.decision, w.rule, CASE WHEN w.rule IS NULL THEN '{}' ELSE ARRAY[w.rule] END, '{}'::text[], w.constraints, 'v1')::text,
	'its evidence has the verdict: ' || coalesce(w.topic, 'no topic'))
FROM wanted w LEFT JOIN policy.jobs j ON j.topic IS NOT DISTINCT FROM w.topic
	LEFT JOIN policy.decisions d ON (d.decision_id, d.decided_at) = (j.decision_id, j.decided_at) ORDER BY w.position;
SELECT alike(d.reason, w.reason, 'and the reason: ' || coalesce(w.topic, 'no topic'))
FROM wanted w LEFT JOIN policy.jobs j ON j.topic IS NOT DISTINCT FROM w.topic
	LEFT JOIN policy.decisions d ON (d.decision_id, d.decided_at) = (j.decision_id, j.decided_at) ORDER BY w.position;
SELECT is(count(*) - :before, 7::bigint, 'one decision a job') FROM policy.decisions;
SELECT is(count(*), 7::bigint, 'each of a job of its own') FROM (SELECT DISTINCT job_key FROM policy.decisions WHERE job_table = 'policy.jobs') k;
SELECT ok(bool_and(evidence_agrees(job_id)), 'each with the hash of its job, and the job points to it') FROM policy.jobs;
SELECT is((count(*), min(topic), min(run_after - decided_at), max(run_after - decided_at))::text,
	(1, 'mail.a', '30 seconds'::interval, '30 seconds'::interval)::text, 'only the throttled one has a time to run after, decided_at and the wait')
FROM policy.jobs WHERE run_after IS NOT NULL;
SELECT ok(bool_and(decided_at BETWEEN now() AND clock_timestamp() AND submitted_at BETWEEN now() AND clock_timestamp()),
	'they were submitted and decided now') FROM policy.jobs;
SELECT is(count(*), 7::bigint, 'and nothing else is set') FROM policy.jobs
WHERE attempts = 0 AND (claimed_by, claimed_at, claim_token, deadline, finished_at, result, error) IS NOT DISTINCT FROM
	(NULL::text, NULL::timestamptz, NULL::uuid, NULL::timestamptz, NULL::timestamptz, NULL::jsonb, NULL::text);
SELECT is(approvals_of(job_id), 'prod pending 0', 'who has to be asked is asked') FROM policy.jobs WHERE topic = 'prod.a';
SELECT is(count(*), 1::bigint, 'and about nothing else') FROM policy.approvals;

--
-- The evidence of one job, whole
--
SET LOCAL application_name = 'a client';
INSERT INTO policy.jobs (tenant_id, topic, capability, pack_id, actor_id, actor_type, idempotency_key, secrets_present, risk_tags, requires,
	actor_roles, labels, mcp, payload, extra) VALUES (' Acme ', 'Read.Whole', 'cap', 'pack', 'Agent-7', 'agent', 'key', true, '["prod"]', '["net"]',
	'["dev"]', '{"team": "x"}', '{"server": "s"}', '{"a": [1, null]}', '{"color": "red"}') RETURNING job_id AS id \gset
SELECT is(d.job, '{"tenant_id": " Acme ", "topic": "Read.Whole", "capability": "cap", "pack_id": "pack", "actor_id": "Agent-7", "actor_type": "agent",
	"idempotency_key": "key", "secrets_present": true, "risk_tags": ["prod"], "requires": ["net"], "actor_roles": ["dev"], "labels": {"team": "x"},
	"mcp": {"server": "s"}, "payload": {"a": [1, null]}, "color": "red"}'::jsonb, 'a job is its columns, and the keys of extra beside them')
FROM policy.decisions d WHERE d.job_key = :'id';
SELECT is((d.tenant_id, d.actor_id, d.topic)::text, ('acme', 'agent-7', 'read.whole')::text, 'tenant, actor and topic are there as policies compare them')
FROM policy.decisions d WHERE d.job_key = :'id';
SELECT is((d.job_table, d.role, d.session_role, d.application_name, d.note, d.release_id)::text,
	('policy.jobs', current_user, session_user, 'a client', NULL, (SELECT release_id FROM policy.active))::text, 'and who, from where, by which release')
FROM policy.decisions d WHERE d.job_key = :'id';
SELECT is(policy.job(j), d.job, 'policy.job says the same') FROM policy.jobs j JOIN policy.decisions d USING (decision_id) WHERE j.job_id = :id;
SELECT is(policy.job_hash(d.job), d.job_hash, 'and policy.job_hash') FROM policy.decisions d WHERE d.job_key = :'id';
RESET application_name;

--
-- The other forms
--
INSERT INTO policy.jobs (topic, payload) SELECT (ARRAY['read.many', 'prod.many', 'drop.many'])[1 + n % 3], to_jsonb(n) FROM generate_series(1, 2500) n;
SELECT is((count(*), count(DISTINCT decision_id), count(*) FILTER (WHERE state = 'ready'), count(*) FILTER (WHERE state = 'awaiting_approval'))::text,
	(2500, 2500, 833, 834)::text, 'INSERT SELECT decides every row') FROM policy.jobs WHERE topic LIKE '%.many';
SELECT is(count(*), 2500::bigint, 'and records each with its own payload') FROM policy.jobs j
	JOIN policy.decisions d ON (d.decision_id, d.decided_at) = (j.decision_id, j.decided_at)
	WHERE j.topic LIKE '%.many' AND d.job_key = j.job_id::text AND d.job -> 'payload' = j.payload;
SELECT is(count(*), 834::bigint, 'and asks for each that has to be asked for') FROM policy.jobs j JOIN policy.approvals a ON a.job_key = j.job_id::text
	AND (a.decision_id, a.decided_at) = (j.decision_id, j.decided_at) WHERE j.topic = 'prod.many' AND a.status = 'pending';

CREATE TEMP TABLE made (job_id bigint, state text, decision_id bigint);
WITH i AS (INSERT INTO policy.jobs (topic) VALUES ('read.cte'), ('drop.cte') RETURNING job_id, state, decision_id)
INSERT INTO made SELECT * FROM i;
SELECT is(array_agg(state ORDER BY job_id), '{ready,denied}', 'RETURNING shows what was decided, in a WITH, too') FROM made;
SELECT is(count(*), 2::bigint, 'and that is recorded') FROM made m JOIN policy.decisions d USING (decision_id) WHERE d.job_key = m.job_id::text;

INSERT INTO policy.jobs DEFAULT VALUES RETURNING job_id AS id \gset
SELECT is(state_of(:id), 'denied', 'DEFAULT VALUES is an invalid job, and a row');
SELECT is(evidence_of(:id), 'submit DENY -', 'with its evidence');

COPY policy.jobs (topic, tenant_id, payload) FROM stdin;
read.copy	acme	{"n": 1}
prod.copy	acme	{"n": 2}
drop.copy	\N	\N
\.
SELECT is(array_agg(concat_ws(' ', topic, state, evidence_of(job_id)) ORDER BY job_id),
	ARRAY['read.copy ready submit ALLOW read', 'prod.copy awaiting_approval submit REQUIRE_APPROVAL prod', 'drop.copy denied submit DENY drop'],
	'COPY decides and records every row') FROM policy.jobs WHERE topic LIKE '%.copy';
SELECT is(approvals_of(job_id), 'prod pending 0', 'and asks') FROM policy.jobs WHERE topic = 'prod.copy';

CREATE VIEW mine AS SELECT topic, payload FROM policy.jobs;
INSERT INTO mine VALUES ('drop.view', '1');
SELECT is((state, evidence_of(job_id))::text, '(denied,"submit DENY drop")', 'so does an insert through a view') FROM policy.jobs WHERE topic = 'drop.view';
PREPARE one (text) AS INSERT INTO policy.jobs (topic) VALUES ($1);
EXECUTE one('read.prepared');
EXECUTE one('drop.prepared');
SELECT is(array_agg(state || ' ' || evidence_of(job_id) ORDER BY job_id), '{"ready submit ALLOW read","denied submit DENY drop"}', 'and a prepared one')
FROM policy.jobs WHERE topic LIKE '%.prepared';
DO $$
BEGIN
	FOR n IN 1..3 LOOP
		INSERT INTO policy.jobs (topic, payload) VALUES ('read.loop', to_jsonb(n));
	END LOOP;
END
$$;
SELECT is(array_agg(evidence_of(job_id)), '{submit ALLOW read,submit ALLOW read,submit ALLOW read}', 'and one in a loop') FROM policy.jobs WHERE topic = 'read.loop';
SELECT CASE WHEN current_setting('server_version_num')::int >= 150000 THEN lives_ok($$
	MERGE INTO policy.jobs j USING (VALUES ('drop.merge')) v(topic) ON j.topic = v.topic WHEN NOT MATCHED THEN INSERT (topic) VALUES (v.topic)$$, 'MERGE lives')
	ELSE lives_ok($$INSERT INTO policy.jobs (topic) VALUES ('drop.merge')$$, 'there is no MERGE before 15') END;
SELECT is((state, evidence_of(job_id))::text, '(denied,"submit DENY drop")', 'and decides') FROM policy.jobs WHERE topic = 'drop.merge';

-- What is rolled back leaves nothing.
SELECT count(*) AS decisions FROM policy.decisions \gset
SELECT count(*) AS approvals FROM policy.approvals \gset
SAVEPOINT s;
INSERT INTO policy.jobs (topic) VALUES ('prod.undone');
ROLLBACK TO s;
SELECT is(sqlstate_of($$INSERT INTO policy.jobs (topic, payload) SELECT 'prod.undone', to_jsonb(1 / (3 - n)) FROM generate_series(1, 3) n$$), '22012',
	'an insert that fails in the middle');
SELECT is((SELECT count(*) FROM policy.jobs WHERE topic = 'prod.undone'), 0::bigint, 'leaves no job');
SELECT is((SELECT count(*) FROM policy.decisions), :decisions::bigint, 'no decision');
SELECT is((SELECT count(*) FROM policy.approvals), :approvals::bigint, 'and no approval');
INSERT INTO policy.jobs (topic) VALUES ('read.after');
SELECT is(evidence_of(job_id), 'submit ALLOW read', 'and the next one is recorded once') FROM policy.jobs WHERE topic = 'read.after';

-- Other triggers
CREATE FUNCTION change_topic() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.topic := TG_ARGV[0]; RETURN NEW; END $$;
CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER a_change BEFORE INSERT ON policy.jobs FOR EACH ROW WHEN (NEW.topic = 'read.changed') EXECUTE FUNCTION change_topic('drop.changed');
INSERT INTO policy.jobs (topic) VALUES ('read.changed') RETURNING job_id AS id \gset
SELECT is((state_of(:id), evidence_of(:id))::text, '(denied,"submit DENY drop")', 'what a trigger makes of a job before is what is decided');
CREATE TRIGGER zzz_change BEFORE INSERT ON policy.jobs FOR EACH ROW WHEN (NEW.topic = 'read.smuggled') EXECUTE FUNCTION change_topic('drop.smuggled');
SELECT throws_ok($$INSERT INTO policy.jobs (topic) VALUES ('read.smuggled')$$, '27000', NULL, 'no trigger changes a job after it was decided');
CREATE TRIGGER zzz_leave_out BEFORE INSERT ON policy.jobs FOR EACH ROW WHEN (NEW.topic = 'read.gone') EXECUTE FUNCTION leave_out();
SELECT count(*) AS decisions FROM policy.decisions \gset
INSERT INTO policy.jobs (topic) VALUES ('read.gone'), ('read.stays');
SELECT is((SELECT count(*) FROM policy.decisions) - :decisions, 1::bigint, 'a row that a trigger leaves out leaves no evidence, the others theirs');
SELECT throws_ok($$SELECT policy_submit('{"topic": "read.gone"}')$$, '39P01', NULL, 'but policy_submit owes its caller a row');
SELECT is((policy_submit('{"topic": "read.changed"}')).state, 'denied', 'what a trigger makes of a submitted job is what is decided, too');
SELECT throws_ok($$SELECT policy_submit('{"topic": "read.smuggled"}')$$, '27000', NULL, 'and no trigger changes it after');
DROP TRIGGER a_change ON policy.jobs;
DROP TRIGGER zzz_change ON policy.jobs;
DROP TRIGGER zzz_leave_out ON policy.jobs;

-- A submitted job is a statement of its own
CREATE TABLE fired (what text, topics text);
CREATE FUNCTION note_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO helper.fired VALUES (TG_WHEN || ' ' || TG_LEVEL); RETURN NULL; END $$;
CREATE FUNCTION note_rows() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO helper.fired SELECT 'rows', string_agg(topic, ' ') FROM inserted; RETURN NULL; END $$;
CREATE TRIGGER before_statement BEFORE INSERT ON policy.jobs FOR EACH STATEMENT EXECUTE FUNCTION note_statement();
CREATE TRIGGER after_statement AFTER INSERT ON policy.jobs FOR EACH STATEMENT EXECUTE FUNCTION note_statement();
CREATE TRIGGER after_row AFTER INSERT ON policy.jobs FOR EACH ROW EXECUTE FUNCTION note_statement();
SELECT is((policy_submit('{"topic": "read.fires"}')).state, 'ready', 'a job among triggers');
SELECT is((SELECT string_agg(what, ', ') FROM fired), 'BEFORE STATEMENT, AFTER ROW, AFTER STATEMENT', 'fires them as an INSERT does');
DROP TRIGGER before_statement ON policy.jobs;
DROP TRIGGER after_statement ON policy.jobs;
DROP TRIGGER after_row ON policy.jobs;
DELETE FROM fired;
CREATE TRIGGER after_rows AFTER INSERT ON policy.jobs REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION note_rows();
SELECT is((policy_submit('{"topic": "read.seen"}')).state, 'ready', 'a job');
SELECT is((SELECT topics FROM fired), 'read.seen', 'is in the table of new rows that a trigger has');
DROP TRIGGER after_rows ON policy.jobs;
SELECT ok((policy_submit('{"topic": "read.first"}')).job_id < (policy_submit('{"topic": "read.second"}')).job_id, 'two in one statement');
SELECT is((SELECT string_agg(evidence_of(job_id), ', ') FROM policy.jobs WHERE topic IN ('read.first', 'read.second')),
	'submit ALLOW read, submit ALLOW read', 'are recorded, each');
SELECT lives_ok($$DO 'BEGIN FOR i IN 1 .. 300 LOOP PERFORM policy_submit(jsonb_build_object(''topic'', ''read.crowd'')); END LOOP; END'$$, 'many in a block');
SELECT is((SELECT count(*) FROM policy.jobs j JOIN policy.decisions d ON d.job_key = j.job_id::text WHERE j.topic = 'read.crowd'), 300::bigint, 'are, too');
ALTER TABLE policy.jobs ADD COLUMN colour text DEFAULT 'red', ADD COLUMN shade text GENERATED ALWAYS AS (topic || '!') STORED;
SELECT is((policy_submit('{"topic": "read.coloured"}')).state, 'ready', 'a job of a table with more columns');
SELECT is((j.colour, j.shade)::text, '(red,read.coloured!)', 'has what they default to') FROM policy.jobs j WHERE topic = 'read.coloured';
ALTER TABLE policy.jobs DROP COLUMN colour, DROP COLUMN shade;
SELECT is((policy_submit('{"topic": "read.plain"}')).state, 'ready', 'and one of a table that had');
SELECT count(*) FROM policy_claim('w', 1) \g /dev/null
SAVEPOINT intact;
DROP VIEW mine;
ALTER TABLE policy.jobs ADD COLUMN colour text, DROP COLUMN payload;
SELECT throws_ok($$SELECT policy_claim('w')$$, '55000', 'the columns of "policy.jobs" have been altered', 'where a column of its own is gone, a claim says so');
SELECT throws_ok($$SELECT policy_submit('{"topic": "read.x", "payload": 1}')$$, '42703', NULL, 'a submission fails');
SELECT throws_ok($$INSERT INTO policy.jobs (topic) VALUES ('read.x')$$, '55000', NULL, 'and an INSERT');
ROLLBACK TO intact;
DROP VIEW mine;
ALTER TABLE policy.jobs ALTER COLUMN payload TYPE json USING payload::json;
SELECT throws_ok($$INSERT INTO policy.jobs (topic) VALUES ('read.x')$$, '55000', NULL, 'so is where one has another type');
ROLLBACK TO intact;
SELECT is((policy_submit('{"topic": "read.intact"}')).state, 'ready', 'put right, it goes on');
ALTER TABLE policy.decisions ADD COLUMN mine text;
ALTER TABLE policy.approvals ADD COLUMN mine text;
INSERT INTO policy.jobs (topic) VALUES ('prod.wider') RETURNING job_id AS id \gset
SELECT is((d.decision, d.mine)::text, '(REQUIRE_APPROVAL,)', 'evidence with a column more has NULL there') FROM policy.decisions d WHERE d.job_key = :'id';
SELECT is((a.status, a.mine)::text, '(pending,)', 'so have approvals') FROM policy.approvals a WHERE a.job_key = :'id';
ALTER TABLE policy.decisions DROP COLUMN mine;
ALTER TABLE policy.approvals DROP COLUMN mine;
SELECT is((SELECT q.would_be FROM policy_approvals() q WHERE q.job_key = :'id'), 'pending', 'both are read when that is gone again');

--
-- ON CONFLICT
--
INSERT INTO policy.jobs (topic, idempotency_key, payload) VALUES ('read.once', 'once', '1') RETURNING job_id AS id \gset
SELECT count(*) AS decisions FROM policy.decisions \gset
SELECT throws_ok($$INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('read.once', 'once')$$, '23505', NULL, 'a key that is taken is a unique violation');
INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('prod.once', 'once') ON CONFLICT DO NOTHING;
SELECT is((SELECT count(*) FROM policy.decisions), :decisions::bigint, 'ON CONFLICT DO NOTHING leaves no evidence of what it does not insert');
SELECT is((SELECT count(*) FROM policy.jobs WHERE idempotency_key = 'once'), 1::bigint, 'nor a job');
INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('read.once', 'once'), ('read.once', 'twice'), ('drop.once', 'once')
	ON CONFLICT (policy.idempotency_hash(tenant_id, extra, idempotency_key)) WHERE idempotency_key IS NOT NULL DO NOTHING;
SELECT is((SELECT count(*) FROM policy.decisions) - :decisions, 1::bigint, 'and evidence of what it does');
SELECT is(evidence_of(job_id), 'submit ALLOW read', 'of the right one') FROM policy.jobs WHERE idempotency_key = 'twice';
INSERT INTO policy.jobs (topic, idempotency_key, payload) VALUES ('drop.once', 'once', '2')
	ON CONFLICT (policy.idempotency_hash(tenant_id, extra, idempotency_key)) WHERE idempotency_key IS NOT NULL DO UPDATE SET topic = excluded.topic, payload = excluded.payload;
SELECT is((state_of(:id), evidence_of(:id))::text, '(denied,"submit ALLOW read, update DENY drop")', 'DO UPDATE decides what it updates');
SELECT ok(evidence_agrees(:id), 'and the job points there');
SELECT throws_ok($$INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('read.once', 'once')
	ON CONFLICT (policy.idempotency_hash(tenant_id, extra, idempotency_key)) WHERE idempotency_key IS NOT NULL DO UPDATE SET topic = excluded.topic$$,
	'PE008', NULL, 'and what was denied stays that');
SELECT throws_ok($$INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('read.once', 'twice')
	ON CONFLICT (policy.idempotency_hash(tenant_id, extra, idempotency_key)) WHERE idempotency_key IS NOT NULL DO UPDATE SET state = 'running'$$,
	'PE014', NULL, 'DO UPDATE sets no column of the engine''s');
SELECT throws_ok($$INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('read.once', 'twice')
	ON CONFLICT (policy.idempotency_hash(tenant_id, extra, idempotency_key)) WHERE idempotency_key IS NOT NULL DO UPDATE SET decision_id = excluded.decision_id$$,
	'PE014', NULL, 'not even to a decision of the row that was not inserted');

--
-- The engine's columns are the engine's
--
INSERT INTO policy.jobs (job_id, topic, state, decided_at, constraints, run_after, attempts, claimed_by, claimed_at, claim_token, deadline, finished_at,
	result, error, submitted_by, submitted_at, submitted_via)
VALUES (-5, 'prod.forged', 'running', '2000-01-01', '{"max_retries": 99}', '2000-01-01', 99, 'me', '2000-01-01', '00000000-0000-0000-0000-000000000000',
	'infinity', '2000-01-01', '1', 'none', 'somebody', '2000-01-01', 'somebody else') RETURNING job_id AS id \gset
SELECT is((state, constraints, run_after, attempts, claimed_by, claimed_at, claim_token, deadline, finished_at, result, error, submitted_by, submitted_via)::text,
	('awaiting_approval', '{"max_runtime_sec": 60, "max_retries": 1}'::jsonb, NULL::timestamptz, 0, NULL::text, NULL::timestamptz, NULL::uuid, NULL::timestamptz,
	NULL::timestamptz, NULL::jsonb, NULL::text, session_user::text, NULL::text)::text, 'what an insert says of them is overwritten, a superuser''s too')
FROM job(:id);
SELECT ok(job_id > 0 AND submitted_at >= now() AND decided_at >= now(), 'ids and times as well') FROM job(:id);
SELECT ok(evidence_agrees(:id), 'and the evidence is of what it is');
INSERT INTO policy.jobs (topic, state) VALUES ('read.x', 'no such state') RETURNING job_id AS id \gset
SELECT is(state_of(:id), 'ready', 'an unknown state is overwritten, too');
INSERT INTO policy.jobs (topic, job_id, state, decision_id, attempts) VALUES ('read.x', DEFAULT, DEFAULT, DEFAULT, DEFAULT) RETURNING job_id AS id \gset
SELECT is(state_of(:id), 'ready', 'DEFAULT works for each');
SELECT is(count(DISTINCT job_id), count(*), 'ids are never the same') FROM policy.jobs;

--
-- A row that brings its decision is a restore
--
SELECT count(*) AS decisions FROM policy.decisions \gset
INSERT INTO policy.jobs (job_id, topic, state, decision_id, decided_at, constraints, attempts, claimed_by, submitted_by, submitted_at)
VALUES (1000001, 'drop.restored', 'running', 999, '2020-01-01', '{"x": 1}', 3, 'w', 'long gone', '2020-01-01');
SELECT is((state, decision_id, decided_at, constraints, attempts, claimed_by, submitted_by, submitted_at)::text,
	('running', 999, '2020-01-01'::timestamptz, '{"x": 1}'::jsonb, 3, 'w', 'long gone', '2020-01-01'::timestamptz)::text, 'the owner''s is taken as it is')
FROM job(1000001);
SELECT is((SELECT count(*) FROM policy.decisions), :decisions::bigint, 'and nothing is recorded');
COPY policy.jobs (job_id, topic, state, decision_id, decided_at, constraints, attempts, submitted_by, submitted_at) FROM stdin;
1000002	prod.restored	awaiting_approval	1000	2020-01-01	{}	0	long gone	2020-01-01
\.
SELECT is((state_of(1000002), approvals_of(1000002))::text, '(awaiting_approval,none)', 'by COPY, too');
SELECT throws_ok($$INSERT INTO policy.jobs (job_id, topic, state, decision_id, decided_at, constraints, attempts, submitted_by, submitted_at)
	VALUES (1000003, 'a', 'no such state', 999, '2020-01-01', '{}', 3, 'long gone', '2020-01-01')$$, '23514', NULL, 'but for an unknown state');
CREATE ROLE policy_test_submitter LOGIN;
SELECT policy_grant('policy_test_submitter', 'submit') \g /dev/null
SET SESSION AUTHORIZATION policy_test_submitter;
SELECT throws_ok($$INSERT INTO policy.jobs (job_id, topic, state, decision_id, decided_at, constraints, attempts, submitted_by, submitted_at)
	VALUES (1000004, 'drop.all', 'ready', 999, '2020-01-01', '{}', 0, 'x', '2020-01-01')$$, 'PE014', NULL, 'a submitter''s is refused');
SELECT throws_ok($$INSERT INTO policy.jobs (topic, decision_id) VALUES ('read.a', 1)$$, 'PE014', NULL, 'for an allowed job, too');
INSERT INTO policy.jobs (job_id, topic, state, submitted_by) VALUES (7, 'read.mine', 'succeeded', 'postgres') RETURNING job_id AS id \gset
SELECT is((state, submitted_by)::text, '(ready,policy_test_submitter)', 'its other columns of the engine''s are overwritten') FROM job(:id);
COPY policy.jobs (topic) FROM stdin;
read.mine
\.
RESET SESSION AUTHORIZATION;
SELECT is((d.role, d.session_role)::text, '(policy_test_submitter,policy_test_submitter)', 'and the evidence says who')
FROM policy.decisions d WHERE d.job_key = :'id';
SELECT is((SELECT count(*) FROM policy.jobs WHERE submitted_by = 'policy_test_submitter'), 2::bigint, 'a submitter may COPY');

--
-- Idempotency
--
SELECT count(*) AS decisions FROM policy.decisions \gset
CREATE TEMP TABLE again AS SELECT * FROM policy_submit('{"topic": "read.key", "idempotency_key": "k", "tenant": "Acme", "actor": {"id": "a"}}');
SELECT is((policy_submit('{"idempotency_key": "k", "actor_id": "a", "topic": "read.key", "tenant_id": "Acme"}')), j, 'the same job is not submitted twice, however it is spelled')
FROM again a JOIN policy.jobs j USING (job_id);
SELECT is((SELECT count(*) FROM policy.decisions) - :decisions, 1::bigint, 'and is decided once');
SELECT throws_ok(format('SELECT policy_submit(%L)', job), 'PE015', NULL, 'another job with its key is refused: ' || job)
FROM (VALUES ('{"topic": "read.key", "idempotency_key": "k", "tenant": "Acme", "actor": {"id": "b"}}'),
	('{"topic": "read.key", "idempotency_key": "k", "tenant": "Acme"}'),
	('{"topic": "read.key", "idempotency_key": "k", "tenant": "acme", "actor": {"id": "a"}}'),
	('{"topic": "read.key", "idempotency_key": "k", "tenant": " ACME ", "actor": {"id": "a"}}'),
	('{"topic": "drop.key", "idempotency_key": "k", "tenant": "Acme", "actor": {"id": "a"}}')) AS t(job);
SELECT throws_ok(format('INSERT INTO policy.jobs (topic, idempotency_key, tenant_id, extra) VALUES (%L, %L, %L, %L)', 'read.other', 'k', tenant, extra),
	'23505', NULL, format('a plain insert of tenant %L, extra %L finds the key taken', tenant, extra))
FROM (VALUES ('acme', NULL), (' ACME', NULL), (NULL, '{"tenant": "aCme"}'), ('', '{"tenant": "acme"}')) AS t(tenant, extra);
SELECT is(sqlstate_of(format('SELECT policy_submit(%L)', job)), 'none', 'it is free: ' || job)
FROM (VALUES ('{"topic": "read.key", "idempotency_key": "k"}'), ('{"topic": "read.key", "idempotency_key": "K"}'),
	('{"topic": "read.key", "idempotency_key": "k "}'), ('{"topic": "read.key", "idempotency_key": "k", "tenant": "globex"}'),
	('{"topic": "read.key", "idempotency_key": "k", "tenant": "a cme"}')) AS t(job);
SELECT throws_ok($$INSERT INTO policy.jobs (topic, tenant_id, idempotency_key) VALUES ('read.key', 'Default', 'k')$$, '23505', NULL,
	'no tenant is the tenant "default"');
SELECT is((SELECT count(*) FROM policy.jobs WHERE topic = 'read.key'), 6::bigint, 'what was refused is not there');
SELECT isnt(submit('read.blank', '{"idempotency_key": ""}'), submit('read.blank', '{"idempotency_key": ""}'), 'an empty key is none');
SELECT isnt(submit('read.blank', '{"idempotency_key": " "}'), submit('read.blank', '{"idempotency_key": " "}'), 'nor is a blank one');
SELECT isnt(submit('read.blank', '{"idempotency_key": null}'), submit('read.blank', '{"idempotency_key": null}'), 'nor null');
SELECT lives_ok($$INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('read.blank', ''), ('read.blank', ''), ('read.blank', ' ')$$, 'a plain insert takes no blank key either');
SELECT is((SELECT count(*) FROM policy.jobs WHERE topic = 'read.blank'), 9::bigint, 'in a plain insert, too');
SELECT is(submit('read.long', long), submit('read.long', long), 'a key may be long') FROM (SELECT jsonb_build_object('idempotency_key', string_agg(md5(n::text), '')) AS long
	FROM generate_series(1, 10000) n) l;
SELECT policy_submit('{"topic": "drop.key", "idempotency_key": "denied"}') \g /dev/null
SELECT is((policy_submit('{"topic": "drop.key", "idempotency_key": "denied"}')).state, 'denied', 'a denied job is given back as it is');
SELECT is((SELECT count(*) FROM policy.jobs WHERE idempotency_key = 'denied'), 1::bigint, 'once');
SELECT submit('read.done', '{"idempotency_key": "done"}') AS id \gset
SELECT put(:id, $$state = 'succeeded', result = '1'$$) \g /dev/null
SELECT is((policy_submit('{"topic": "read.done", "idempotency_key": "done"}')).result, '1', 'so is one that has ended');
SELECT submit('read.changes', '{"idempotency_key": "changes"}') AS id \gset
UPDATE policy.jobs SET payload = '1' WHERE job_id = :id;
SELECT throws_ok($$SELECT submit('read.changes', '{"idempotency_key": "changes"}')$$, 'PE015', NULL, 'one that was changed is another');
SELECT is(submit('read.changes', '{"idempotency_key": "changes", "payload": 1}'), :id::bigint, 'than what it is now');
SELECT throws_ok(format('UPDATE policy.jobs SET idempotency_key = %L WHERE job_id = %s', 'done', :id), '23505', NULL, 'no job takes another''s key');

--
-- policy_submit: the job's other spellings, rewritten to columns
--
CREATE FUNCTION columns_of(job jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('tenant_id', tenant_id, 'topic', topic, 'capability', capability, 'pack_id', pack_id, 'actor_id', actor_id,
		'actor_type', actor_type, 'idempotency_key', idempotency_key, 'secrets_present', secrets_present, 'risk_tags', risk_tags, 'requires', requires,
		'actor_roles', actor_roles, 'labels', labels, 'mcp', mcp, 'payload', payload, 'extra', extra)) || jsonb_build_object('state', state)
	FROM policy_submit(job)
$$;
SELECT is(columns_of(job), columns, 'submitted: ' || job::text)
FROM (VALUES
	('{"topic": "read.s"}'::jsonb, '{"topic": "read.s", "state": "ready"}'::jsonb),
	('{"topic": "read.s", "tenant": "acme"}', '{"topic": "read.s", "tenant_id": "acme", "state": "ready"}'),
	('{"topic": "read.s", "tenant_id": "acme"}', '{"topic": "read.s", "tenant_id": "acme", "state": "ready"}'),
	('{"topic": "read.s", "tenant": "acme", "tenant_id": "acme"}', '{"topic": "read.s", "tenant_id": "acme", "state": "ready"}'),
	('{"topic": "read.s", "tenant": null, "tenant_id": "acme"}', '{"topic": "read.s", "tenant_id": "acme", "state": "ready"}'),
	('{"topic": "read.s", "tenant": "acme", "tenant_id": ""}', '{"topic": "read.s", "tenant_id": "acme", "state": "ready"}'),
	('{"topic": "read.s", "tenant": " ", "tenant_id": "acme"}', '{"topic": "read.s", "tenant_id": "acme", "state": "ready"}'),
	('{"topic": "read.s", "actor": {"id": "a", "type": "agent", "roles": ["dev"]}}',
		'{"topic": "read.s", "actor_id": "a", "actor_type": "agent", "actor_roles": ["dev"], "state": "ready"}'),
	('{"topic": "read.s", "actor": {"id": "a", "mail": "a@b"}}', '{"topic": "read.s", "actor_id": "a", "extra": {"actor": {"mail": "a@b"}}, "state": "ready"}'),
	('{"topic": "read.s", "actor": {"id": "a"}, "actor_id": "a"}', '{"topic": "read.s", "actor_id": "a", "state": "ready"}'),
	('{"topic": "read.s", "actor": null}', '{"topic": "read.s", "state": "ready"}'),
	('{"topic": "read.s", "color": "red", "n": {"a": [1]}}', '{"topic": "read.s", "extra": {"color": "red", "n": {"a": [1]}}, "state": "ready"}'),
	('{"topic": "read.s", "extra": {"a": 1}}', '{"topic": "read.s", "extra": {"extra": {"a": 1}}, "state": "ready"}'),
	('{"topic": "read.s", "job": {"topic": "drop.s"}}', '{"topic": "read.s", "extra": {"job": {"topic": "drop.s"}}, "state": "ready"}'),
	('{"topic": "read.s", "state": "running", "attempts": 5}', '{"topic": "read.s", "extra": {"state": "running", "attempts": 5}, "state": "ready"}'),
	('{"topic": "read.s", "decision_id": 5, "submitted_by": "x"}', '{"topic": "read.s", "extra": {"decision_id": 5, "submitted_by": "x"}, "state": "ready"}'),
	('{"topic": "read.s", "labels": {"mcp.server": "x"}, "risk_tags": ["a"], "secrets_present": false}',
		'{"topic": "read.s", "labels": {"mcp.server": "x"}, "risk_tags": ["a"], "secrets_present": false, "state": "ready"}'),
	('{"topic": "read.s", "payload": "text", "mcp": {"server": "s"}, "requires": ["net"], "capability": "c", "pack_id": "p"}',
		'{"topic": "read.s", "payload": "text", "mcp": {"server": "s"}, "requires": ["net"], "capability": "c", "pack_id": "p", "state": "ready"}'),
	('{"topic": "read.s", "capability": null, "labels": null, "secrets_present": null}', '{"topic": "read.s", "state": "ready"}'),
	('{"Topic": "read.s", "topic": "read.t"}', '{"topic": "read.t", "extra": {"Topic": "read.s"}, "state": "ready"}')
) AS t(job, columns);
SELECT is((evidence_of(j.job_id), policy.job(j))::text, ('submit ALLOW read', '{"topic": "read.s", "actor": {"mail": "a@b"}, "actor_id": "a", "color": "red"}'::jsonb)::text,
	'the keys of extra are beside the columns in what is decided')
FROM policy_submit('{"topic": "read.s", "actor": {"id": "a", "mail": "a@b"}, "color": "red"}') s, job(s.job_id) j;
SELECT job_id AS id, decision_id AS decision FROM policy_submit('{"topic": "read.s"}') \gset
SELECT is(d.job_key, :'id', 'the row that comes back has its decision') FROM policy.decisions d WHERE d.decision_id = :decision;

-- What is no job is denied, and kept in evidence as it was given.
CREATE TEMP TABLE invalid (position serial, job jsonb);
INSERT INTO invalid (job) VALUES (NULL), ('null'), ('[]'), ('5'), ('"read.s"'), ('{}'),
	('{"topic": 5}'), ('{"topic": ["read.s"]}'), ('{"topic": ""}'), ('{"topic": " "}'), ('{"topic": null}'),
	('{"topic": "read.s", "tenant": 5}'), ('{"topic": "read.s", "tenant_id": {}}'), ('{"topic": "read.s", "tenant": "a", "tenant_id": "b"}'),
	('{"topic": "read.s", "actor": "me"}'), ('{"topic": "read.s", "actor": ["me"]}'), ('{"topic": "read.s", "actor": {"id": 5}}'),
	('{"topic": "read.s", "actor": {"id": "a"}, "actor_id": "b"}'), ('{"topic": "read.s", "actor": {"roles": "dev"}}'),
	('{"topic": "read.s", "actor": {"roles": ["dev"]}, "actor_roles": ["ops"]}'), ('{"topic": "read.s", "actor_roles": [5]}'),
	('{"topic": "read.s", "secrets_present": "yes"}'), ('{"topic": "read.s", "risk_tags": "prod"}'), ('{"topic": "read.s", "risk_tags": [null]}'),
	('{"topic": "read.s", "requires": {}}'), ('{"topic": "read.s", "labels": ["a"]}'), ('{"topic": "read.s", "labels": {"a": {}}}'),
	('{"topic": "read.s", "labels": {"Team": "a", "team": "b"}}'), ('{"topic": "read.s", "mcp": "x"}'), ('{"topic": "read.s", "mcp": {"server": 5}}'),
	('{"topic": "read.s", "mcp": {"server": "a"}, "labels": {"mcp.server": "b"}}'), ('{"topic": "read.s", "capability": 5}'),
	('{"topic": "read.s", "pack_id": true}'), ('{"topic": "read.s", "idempotency_key": 5}'),
	('{"job": {"topic": "read.s"}}'), ('{"tenant_id": "a", "job": {"topic": "read.s"}}'),
	(jsonb_build_object('topic', 'read.' || repeat('x', 1020))),
	(jsonb_build_object('topic', 'read.s', 'risk_tags', (SELECT jsonb_agg('tag' || n) FROM generate_series(1, 257) n))),
	(jsonb_build_object('topic', 'read.s', 'labels', (SELECT jsonb_object_agg('l' || n, n) FROM generate_series(1, 257) n))),
	(jsonb_build_object('topic', 'read.s', 'payload', repeat('x', 1024 * 1024)));
CREATE FUNCTION shown(job jsonb) RETURNS text LANGUAGE sql AS $$ SELECT coalesce(left(job::text, 100), 'NULL') $$;
CREATE TEMP TABLE submitted AS SELECT i.position, s.* FROM invalid i, policy_submit(i.job) s;
SELECT is((s.state, d.decision, d.constraints, d.matched_rules, d.reason LIKE 'invalid job: _%')::text,
	('denied', 'DENY', '{}'::jsonb, '{}'::text[], true)::text, 'denied as invalid, in evidence: ' || shown(i.job))
FROM invalid i LEFT JOIN submitted s USING (position) LEFT JOIN policy.decisions d USING (decision_id, decided_at) ORDER BY position;
SELECT is(d.job, i.job, 'which keeps what was given: ' || shown(i.job))
FROM invalid i JOIN submitted s USING (position) LEFT JOIN policy.decisions d USING (decision_id, decided_at)
WHERE i.job IS NULL OR jsonb_typeof(i.job) <> 'object' OR i.job IN ('{"topic": 5}', '{"topic": "read.s", "tenant": 5}', '{"topic": "read.s", "secrets_present": "yes"}',
	'{"topic": "read.s", "tenant": "a", "tenant_id": "b"}', '{"topic": "read.s", "actor": {"id": "a"}, "actor_id": "b"}', '{"job": {"topic": "read.s"}}')
ORDER BY position;

-- In a plain insert, too
CREATE TEMP TABLE extras (position serial, extra jsonb, state text);
INSERT INTO extras (extra, state) VALUES ('[]', 'denied'), ('"x"', 'denied'), ('null', 'denied'), ('5', 'denied'), ('{"topic": "read.s"}', 'denied'),
	('{"topic": "drop.s"}', 'denied'), ('{"payload": 1}', 'denied'), ('{"tenant_id": "acme"}', 'denied'), ('{"labels": {}}', 'denied'),
	('{"secrets_present": false}', 'denied'), ('{"tenant": 5}', 'denied'), ('{"tenant": "globex"}', 'denied'), ('{"actor": {"id": "b"}}', 'denied'),
	('{"actor": "x"}', 'denied'), ('{}', 'ready'), ('{"tenant": "acme"}', 'ready'), ('{"tenant": " Acme "}', 'ready'), ('{"actor": {"id": "A"}}', 'ready'),
	('{"actor": {"type": "agent"}}', 'ready'), ('{"job": {"topic": "drop.s"}}', 'ready'), ('{"extra": {"topic": "drop.s"}}', 'ready');
INSERT INTO policy.jobs (tenant_id, actor_id, topic, extra) SELECT 'acme', 'a', 'read.s', extra FROM extras ORDER BY position;
SELECT is((j.state, evidence_of(j.job_id))::text, CASE e.state WHEN 'ready' THEN '(ready,"submit ALLOW read")' ELSE '(denied,"submit DENY -")' END,
	format('a job with extra %s is %s', e.extra, e.state))
FROM extras e LEFT JOIN policy.jobs j ON j.actor_id = 'a' AND j.topic = 'read.s' AND j.extra = e.extra ORDER BY position;
INSERT INTO policy.jobs (extra) VALUES ('{"job": {"topic": "read.s"}}') RETURNING job_id AS id \gset
SELECT is((state_of(:id), evidence_of(:id))::text, '(denied,"submit DENY -")', 'a simulate request in extra is no job');

CREATE FUNCTION insert_column(name text, value text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	EXECUTE CASE WHEN name = 'topic' THEN format('INSERT INTO policy.jobs (topic) VALUES (%L) RETURNING job_id', value)
		ELSE format('INSERT INTO policy.jobs (topic, %I) VALUES (%L, %L) RETURNING job_id', name, 'read.s', value) END INTO id;
	RETURN id;
END
$$;
CREATE TEMP TABLE columns AS SELECT name, value, insert_column(name, value) AS job_id
FROM (VALUES ('risk_tags', '"prod"'), ('risk_tags', '{}'), ('risk_tags', '[5]'), ('requires', '5'), ('actor_roles', '"dev"'), ('labels', '[]'), ('labels', '{"a": []}'),
	('mcp', '"x"'), ('mcp', '{"tool": 5}'), ('topic', ' '), ('topic', repeat('x', 1025))) t(name, value);
SELECT is((j.state, d.reason LIKE 'invalid job: _%')::text, '(denied,t)', format('denied as invalid: %s %s', c.name, left(c.value, 20)))
FROM columns c JOIN policy.jobs j USING (job_id) LEFT JOIN policy.decisions d ON d.job_key = j.job_id::text;

SELECT * FROM finish();
ROLLBACK;
