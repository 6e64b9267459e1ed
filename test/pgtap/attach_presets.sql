-- Presets on the tables that clients make, with the SQL that clients run: River 0.2x,
-- Oban 2.20, Que 2, pgmq 1.5 and procrastinate 3, their own published statements.  What
-- has a client in test/clients is tried with that, too.
\ir queue.psql
SELECT plan(72);
SELECT release('v1', '
  - {id: drop, match: {when: ''lax $.payload.do == "deny" || $.payload.kwargs.do == "deny"''}, decision: deny, reason: not here}
  - {id: hold, match: {when: ''lax $.payload.do == "hold" || $.payload.kwargs.do == "hold"''}, decision: require_approval, approval: {allow_self: true}, constraints: {max_retries: 1}}
  - {id: wait, match: {when: ''lax $.payload.do == "throttle" || $.payload.kwargs.do == "throttle"''}, decision: throttle, retry_after_sec: 3600}
  - {id: bound, match: {when: ''lax $.payload.do == "bound"''}, decision: allow_with_constraints, constraints: {region: eu}}', '{decision: allow, constraints: {}}') \g /dev/null
CREATE FUNCTION approve(key text) RETURNS text LANGUAGE sql AS $$
	SELECT (policy_approve(approval_id)).status FROM policy.approvals WHERE job_key = key AND status = 'pending'
$$;
CREATE FUNCTION topic_of(key text, job_table text) RETURNS text LANGUAGE sql AS $$
	SELECT topic FROM policy.decisions d WHERE d.job_key = key AND d.job_table = topic_of.job_table ORDER BY decision_id LIMIT 1
$$;
SELECT array_agg(preset ORDER BY preset) AS presets FROM policy.attach_presets WHERE built_in \gset
SELECT is(:'presets'::text, '{graphile-worker,oban,pg-boss,pgmq,pgmq-1.4,procrastinate,que,que-1,river,table}', 'there is a preset for each client');

--
-- River
--
CREATE SCHEMA river;
CREATE TYPE river.river_job_state AS ENUM ('available', 'cancelled', 'completed', 'discarded', 'pending', 'retryable', 'running', 'scheduled');
CREATE TABLE river.river_job (
	id bigserial PRIMARY KEY, state river.river_job_state NOT NULL DEFAULT 'available', attempt smallint NOT NULL DEFAULT 0, max_attempts smallint NOT NULL,
	attempted_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(), finalized_at timestamptz, scheduled_at timestamptz NOT NULL DEFAULT now(),
	priority smallint NOT NULL DEFAULT 1, args jsonb NOT NULL, attempted_by text[], errors jsonb[], kind text NOT NULL, metadata jsonb NOT NULL DEFAULT '{}',
	queue text NOT NULL DEFAULT 'default', tags varchar(255)[] NOT NULL DEFAULT '{}', unique_key bytea, unique_states bit(8),
	CONSTRAINT finalized_or_finalized_at_null CHECK ((finalized_at IS NULL AND state NOT IN ('cancelled', 'completed', 'discarded'))
		OR (finalized_at IS NOT NULL AND state IN ('cancelled', 'completed', 'discarded'))));
INSERT INTO river.river_job (args, kind, max_attempts) VALUES ('{}', 'before', 3);
SELECT is((policy_attach('river.river_job')).preset, 'river', 'River''s table is known by its columns');
CREATE FUNCTION river_insert(args jsonb) RETURNS text LANGUAGE sql AS $$
	INSERT INTO river.river_job (args, kind, max_attempts, queue, state, tags) VALUES (args, 'sort', 25, 'default', 'available', '{}') RETURNING id::text
$$;
-- JobGetAvailable
CREATE FUNCTION river_fetch() RETURNS SETOF river.river_job LANGUAGE sql AS $$
	WITH locked_jobs AS (SELECT * FROM river.river_job WHERE state = 'available' AND queue = 'default' AND scheduled_at <= coalesce(NULL, now())
		ORDER BY priority ASC, scheduled_at ASC, id ASC LIMIT 10 FOR UPDATE SKIP LOCKED)
	UPDATE river.river_job SET state = 'running', attempt = river_job.attempt + 1, attempted_at = now(), attempted_by = array_append(river_job.attempted_by, 'worker')
	FROM locked_jobs WHERE river_job.id = locked_jobs.id RETURNING river_job.*
$$;
SELECT river_insert('{"do": "hold"}') AS held, river_insert('{"do": "deny"}') AS denied, river_insert('{"do": "throttle"}') AS later, river_insert('{"do": "bound"}') AS bound \gset
SELECT is((SELECT string_agg(state || ' ' || (finalized_at IS NOT NULL)::text || ' ' || (scheduled_at > now())::text, ', ' ORDER BY id) FROM river.river_job WHERE id > 1),
	'pending false false, cancelled true false, scheduled false true, available false false', 'each is in its form');
SELECT is(topic_of(:'held', 'river.river_job'), 'sort', 'a job''s kind is its topic');
SELECT is((SELECT array_agg(id::text ORDER BY id) FROM river_fetch()), ARRAY['1', :'bound'], 'what may start is fetched, and nothing else');
SELECT is((SELECT metadata FROM river.river_job WHERE id = :bound), '{"policy_constraints": {"region": "eu"}}', 'a constraint reaches the worker');
-- JobRetry, on what is held, denied and throttled
UPDATE river.river_job SET state = 'available', max_attempts = CASE WHEN attempt = max_attempts THEN max_attempts + 1 ELSE max_attempts END, finalized_at = NULL, scheduled_at = now()
	WHERE id IN (:held, :denied, :later) AND state <> 'running' AND NOT (state = 'available' AND scheduled_at < now());
SELECT is((SELECT count(*) FROM river_fetch()), 0::bigint, 'a retry of what waits or is denied does not start it');
-- JobSchedule, River's own scheduler
UPDATE river.river_job SET state = 'available' WHERE state IN ('retryable', 'scheduled') AND scheduled_at <= now() + interval '1 day';
SELECT is((SELECT state::text FROM river.river_job WHERE id = :later), 'scheduled', 'nor does its scheduler, before its time');
UPDATE policy.guarded_jobs SET run_after = now() WHERE job_key = :'later';
UPDATE river.river_job SET state = 'available' WHERE id = :later;
SELECT is((SELECT array_agg(id::text) FROM river_fetch()), NULL, 'available, it has the time that was set');
UPDATE river.river_job SET scheduled_at = now() WHERE id = :later;
SELECT is((SELECT array_agg(id::text) FROM river_fetch()), ARRAY[:'later'], 'then it starts');
SELECT approve(:'held') \g /dev/null
SELECT is((SELECT array_agg(id::text) FROM river_fetch()), ARRAY[:'held'], 'approved, it starts');
-- JobSetStateIfRunning, errored
UPDATE river.river_job SET state = 'retryable', scheduled_at = now(), errors = array_append(errors, '{}') WHERE id = :held;
UPDATE river.river_job SET state = 'available' WHERE id = :held;
SELECT is((SELECT array_agg(id::text) FROM river_fetch()), ARRAY[:'held'], 'and again, after a failure');
UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE id = :held;
SELECT is((SELECT count(*) FROM policy.guarded_jobs WHERE job_key = :'held'), 0::bigint, 'until it is done');

--
-- Oban
--
CREATE SCHEMA oban;
CREATE TYPE oban.oban_job_state AS ENUM ('available', 'suspended', 'scheduled', 'executing', 'retryable', 'completed', 'discarded', 'cancelled');
CREATE TABLE oban.oban_jobs (
	id bigserial PRIMARY KEY, state oban.oban_job_state NOT NULL DEFAULT 'available', queue text NOT NULL DEFAULT 'default', worker text NOT NULL, args jsonb NOT NULL DEFAULT '{}',
	errors jsonb[] NOT NULL DEFAULT '{}', attempt integer NOT NULL DEFAULT 0, max_attempts integer NOT NULL DEFAULT 20, inserted_at timestamp NOT NULL DEFAULT timezone('UTC', now()),
	scheduled_at timestamp NOT NULL DEFAULT timezone('UTC', now()), attempted_at timestamp, completed_at timestamp, attempted_by text[], discarded_at timestamp, priority integer NOT NULL DEFAULT 0,
	tags text[] DEFAULT '{}', meta jsonb DEFAULT '{}', cancelled_at timestamp);
INSERT INTO oban.oban_jobs (worker) VALUES ('Before');
SELECT is((policy_attach('oban.oban_jobs')).preset, 'oban', 'Oban''s table is known by its columns');
CREATE FUNCTION oban_insert(args jsonb) RETURNS text LANGUAGE sql AS $$
	INSERT INTO oban.oban_jobs (args, worker, queue, meta) VALUES (args, 'App.Mailer', 'default', '{}') RETURNING id::text
$$;
CREATE FUNCTION oban_fetch() RETURNS SETOF oban.oban_jobs LANGUAGE sql AS $$
	WITH subset AS MATERIALIZED (SELECT id FROM oban.oban_jobs WHERE state = 'available' AND queue = 'default' ORDER BY priority, scheduled_at, id LIMIT 10 FOR UPDATE SKIP LOCKED)
	UPDATE oban.oban_jobs AS o0 SET state = 'executing', attempted_at = timezone('UTC', now()), attempted_by = ARRAY['node', 'uuid'], attempt = o0.attempt + 1
	FROM subset AS s1 WHERE o0.id = s1.id AND o0.attempt < o0.max_attempts RETURNING o0.*
$$;
SELECT oban_insert('{"do": "hold"}') AS held, oban_insert('{"do": "deny"}') AS denied, oban_insert('{"do": "throttle"}') AS later, oban_insert('{"do": "bound"}') AS bound \gset
SELECT is((SELECT string_agg(state || ' ' || (cancelled_at IS NOT NULL)::text || ' ' || (scheduled_at > timezone('UTC', now()))::text, ', ' ORDER BY id) FROM oban.oban_jobs WHERE id > 1),
	'suspended false false, cancelled true false, scheduled false true, available false false', 'each is in its form');
SELECT is(topic_of(:'held', 'oban.oban_jobs'), 'app.mailer', 'a job''s worker is its topic');
SELECT is((SELECT array_agg(id::text ORDER BY id) FROM oban_fetch()), ARRAY['1', :'bound'], 'what may start is fetched, and nothing else');
SELECT is((SELECT meta FROM oban.oban_jobs WHERE id = :bound), '{"policy_constraints": {"region": "eu"}}', 'a constraint reaches the worker');
-- retry_all_jobs
UPDATE oban.oban_jobs SET state = 'available', max_attempts = greatest(max_attempts, attempt + 1), scheduled_at = timezone('UTC', now()), completed_at = NULL, cancelled_at = NULL, discarded_at = NULL
	WHERE state NOT IN ('available', 'executing');
SELECT is((SELECT count(*) FROM oban_fetch()), 0::bigint, 'Oban.retry_all_jobs starts nothing that waits or is denied');
-- stage_jobs
UPDATE oban.oban_jobs SET state = 'available' WHERE state IN ('scheduled', 'retryable') AND scheduled_at <= timezone('UTC', now()) + interval '1 day';
SELECT is((SELECT count(*) FROM oban_fetch()), 0::bigint, 'nor does its stager, before the time');
SELECT approve(:'held') \g /dev/null
SELECT is((SELECT array_agg(id::text) FROM oban_fetch()), ARRAY[:'held'], 'approved, it starts');
-- error_job, stage_jobs
UPDATE oban.oban_jobs SET state = 'retryable', scheduled_at = timezone('UTC', now()), errors = array_append(errors, '{}') WHERE id = :held;
UPDATE oban.oban_jobs SET state = 'available' WHERE state IN ('scheduled', 'retryable') AND id = :held;
SELECT is((SELECT array_agg(id::text) FROM oban_fetch()), ARRAY[:'held'], 'and again, after a failure');
-- cancel_all_jobs
SELECT oban_insert('{"do": "hold"}') AS id \gset
UPDATE oban.oban_jobs SET state = 'cancelled', cancelled_at = timezone('UTC', now()) WHERE id = :id AND state NOT IN ('cancelled', 'completed', 'discarded');
SELECT is((SELECT state::text FROM oban.oban_jobs WHERE id = :id), 'cancelled', 'what is held can be cancelled');
SELECT is((SELECT count(*) FROM policy.approvals WHERE job_table = 'oban.oban_jobs' AND job_key = :'id' AND status = 'pending'), 0::bigint, 'and nobody is asked about it any more');

--
-- Que: a worker takes a job by an advisory lock, so what counts is what it finds
--
CREATE SCHEMA que;
CREATE TABLE que.que_jobs (
	priority smallint NOT NULL DEFAULT 100, run_at timestamptz NOT NULL DEFAULT now(), id bigserial PRIMARY KEY, job_class text NOT NULL, error_count integer NOT NULL DEFAULT 0,
	last_error_message text CHECK (char_length(last_error_message) <= 500), queue text NOT NULL DEFAULT 'default', last_error_backtrace text, finished_at timestamptz, expired_at timestamptz,
	args jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(args) = 'array'), data jsonb NOT NULL DEFAULT '{}', job_schema_version integer DEFAULT 2, kwargs jsonb NOT NULL DEFAULT '{}');
INSERT INTO que.que_jobs (job_class) VALUES ('Before');
SELECT is((policy_attach('que.que_jobs')).preset, 'que', 'Que''s table is known by its columns');
CREATE TABLE que.old_jobs (LIKE que.que_jobs INCLUDING ALL);
ALTER TABLE que.old_jobs DROP COLUMN kwargs;
SELECT is((policy_attach('que.old_jobs')).preset, 'que-1', 'so is one of before Que 2');
SELECT policy_detach('que.old_jobs') \g /dev/null
CREATE FUNCTION que_find() RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(id::text ORDER BY priority, run_at, id) FROM que.que_jobs
	WHERE queue = 'default' AND run_at <= now() AND finished_at IS NULL AND expired_at IS NULL
$$;
INSERT INTO que.que_jobs (job_class, args, kwargs) VALUES ('Mail', '[]', '{"do": "hold"}') RETURNING id::text AS held \gset
INSERT INTO que.que_jobs (job_class, args, kwargs) VALUES ('Mail', '[]', '{"do": "deny"}') RETURNING id::text AS denied \gset
INSERT INTO que.que_jobs (job_class, args, kwargs) VALUES ('Mail', '[]', '{"do": "throttle"}') RETURNING id::text AS later \gset
SELECT is(que_find(), '{1}', 'nothing but what is allowed is found');
SELECT is((SELECT (expired_at IS NOT NULL, last_error_message)::text FROM que.que_jobs WHERE id = :denied), '(t,"denied by policy: not here")', 'what is denied has expired, and says why');
SELECT is((SELECT run_at > now() + interval '1000 years' FROM que.que_jobs WHERE id = :denied), true, 'and workers are not told of it: Que tells of what is due');
-- reschedule, and a retry of all that have expired
UPDATE que.que_jobs SET run_at = now(), expired_at = NULL WHERE id > 1;
SELECT is(que_find(), '{1}', 'a client''s reschedule makes none of them due');
-- As no start is seen, a job that had ended comes in again where it is brought back
UPDATE que.que_jobs SET finished_at = now() WHERE id = :held;
UPDATE que.que_jobs SET finished_at = NULL WHERE id = :held;
SELECT is(que_find(), '{1}', 'nor does one that is finished and brought back');
UPDATE que.que_jobs SET finished_at = now() WHERE id = 1;
UPDATE que.que_jobs SET finished_at = NULL, kwargs = '{"do": "hold"}' WHERE id = 1;
SELECT is(que_find(), NULL, 'nor one that is brought back as another');
UPDATE que.que_jobs SET kwargs = '{}' WHERE id = 1;
SELECT approve(:'held') \g /dev/null
SELECT is(que_find(), ARRAY['1', :'held'], 'approved, it is found');
-- finish
UPDATE que.que_jobs SET finished_at = now() WHERE id = :held;
SELECT is((SELECT count(*) FROM policy.guarded_jobs WHERE job_key = :'held' AND job_table = 'que.que_jobs'), 0::bigint, 'until it is done');

--
-- pgmq: a queue's table
--
CREATE SCHEMA pgmq;
CREATE TABLE pgmq.q_mail (msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, read_ct int DEFAULT 0 NOT NULL, enqueued_at timestamptz DEFAULT now() NOT NULL, last_read_at timestamptz,
	vt timestamptz NOT NULL, message jsonb, headers jsonb);
CREATE TABLE pgmq.q_old (msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, read_ct int DEFAULT 0 NOT NULL, enqueued_at timestamptz DEFAULT now() NOT NULL, vt timestamptz NOT NULL, message jsonb);
SELECT is((policy_attach('pgmq.q_mail')).preset, 'pgmq', 'pgmq''s table is known by its columns');
SELECT is((policy_attach('pgmq.q_old')).preset, 'pgmq-1.4', 'so is one of before 1.5');
CREATE FUNCTION send(message jsonb) RETURNS text LANGUAGE sql AS $$
	INSERT INTO pgmq.q_mail (vt, message, headers) VALUES (clock_timestamp(), message, NULL) RETURNING msg_id::text
$$;
CREATE FUNCTION read() RETURNS text[] LANGUAGE sql AS $$
	WITH cte AS (SELECT msg_id FROM pgmq.q_mail WHERE vt <= clock_timestamp() ORDER BY msg_id LIMIT 10 FOR UPDATE SKIP LOCKED),
	got AS (UPDATE pgmq.q_mail m SET last_read_at = clock_timestamp(), vt = clock_timestamp() + interval '1 hour', read_ct = read_ct + 1 FROM cte WHERE m.msg_id = cte.msg_id RETURNING m.*)
	SELECT array_agg(msg_id::text ORDER BY msg_id) FROM got
$$;
CREATE FUNCTION pop() RETURNS text[] LANGUAGE sql AS $$
	WITH cte AS (SELECT msg_id FROM pgmq.q_mail WHERE vt <= clock_timestamp() ORDER BY msg_id LIMIT 10 FOR UPDATE SKIP LOCKED),
	got AS (DELETE FROM pgmq.q_mail WHERE msg_id IN (SELECT msg_id FROM cte) RETURNING *)
	SELECT array_agg(msg_id::text ORDER BY msg_id) FROM got
$$;
SELECT send('{"do": "hold"}') AS held \gset
SELECT send('{"do": "deny"}') AS denied \gset
SELECT send('{"do": "throttle"}') AS later \gset
SELECT send('{"do": "bound"}') AS bound \gset
SELECT is(topic_of(:'held', 'pgmq.q_mail'), 'mail', 'a queue''s name is the topic');
SELECT is(read(), ARRAY[:'bound'], 'what may start is read, and nothing else');
SELECT is((SELECT headers FROM pgmq.q_mail WHERE msg_id = :bound), '{"policy_constraints": {"region": "eu"}}', 'a constraint reaches the reader');
-- set_vt
UPDATE pgmq.q_mail SET vt = clock_timestamp() WHERE msg_id IN (:held, :denied, :later);
SELECT is(read(), NULL, 'set_vt makes nothing visible that waits or is denied');
SELECT is(pop(), NULL, 'nor does pop find it');
SELECT approve(:'held') \g /dev/null
SELECT is(pop(), ARRAY[:'held'], 'approved, it can be popped');
SELECT is((SELECT status || ' ' || attempts FROM policy.approvals WHERE job_table = 'pgmq.q_mail' AND job_key = :'held'), 'consumed 1', 'which is an attempt');
SELECT send('{"n": 1}') AS id \gset
SELECT release('v2', '
  - {id: nothing, match: {topics: ["*"]}, decision: deny}') \g /dev/null
SELECT is(pop(), NULL, 'what a newer policy denies is not popped');
SELECT is((SELECT state FROM policy.guarded_jobs WHERE job_table = 'pgmq.q_mail' AND job_key = :'id'), 'denied', 'it is denied, and there');
DELETE FROM pgmq.q_mail WHERE msg_id = :id;
SELECT is((SELECT count(*) FROM pgmq.q_mail WHERE msg_id = :id), 0::bigint, 'and can be deleted');
-- A queue that comes later
CREATE TABLE pgmq.q_new (LIKE pgmq.q_mail INCLUDING ALL);
SELECT is((SELECT outcome FROM policy_reattach_all() WHERE job_table = 'pgmq.q_new'), 'attached', 'policy_reattach_all guards a queue that has come since');
INSERT INTO pgmq.q_new (vt, message) VALUES (now(), '{}');
SELECT is((SELECT topic || ' ' || decision FROM policy.decisions WHERE job_table = 'pgmq.q_new'), 'new DENY', 'as the others are');
SELECT release('v3', '
  - {id: hold, match: {when: ''lax $.payload.do == "hold" || $.payload.kwargs.do == "hold"''}, decision: require_approval, approval: {allow_self: true}, constraints: {max_retries: 1}}
  - {id: drop, match: {when: ''lax $.payload.do == "deny" || $.payload.kwargs.do == "deny"''}, decision: deny, reason: not here}', '{decision: allow, constraints: {}}') \g /dev/null

--
-- A partitioned table, as pg-boss has it
--
CREATE SCHEMA boss;
CREATE TYPE boss.job_state AS ENUM ('created', 'retry', 'active', 'completed', 'cancelled', 'failed');
CREATE TABLE boss.job (id uuid NOT NULL DEFAULT gen_random_uuid(), name text NOT NULL, priority integer NOT NULL DEFAULT 0, data jsonb, state boss.job_state NOT NULL DEFAULT 'created',
	retry_count integer NOT NULL DEFAULT 0, start_after timestamptz NOT NULL DEFAULT now(), started_on timestamptz, completed_on timestamptz, keep_until timestamptz NOT NULL DEFAULT now() + interval '14 days',
	output jsonb, blocked boolean NOT NULL DEFAULT false, PRIMARY KEY (name, id)) PARTITION BY LIST (name);
CREATE TABLE boss.job_common (LIKE boss.job INCLUDING ALL);
ALTER TABLE boss.job ATTACH PARTITION boss.job_common DEFAULT;
SELECT is((policy_attach('boss.job')).preset, 'pg-boss', 'pg-boss''s table is known by its columns');
CREATE FUNCTION boss_fetch(name text) RETURNS text[] LANGUAGE sql AS $$
	WITH next AS (SELECT id FROM boss.job j WHERE j.name = boss_fetch.name AND state < 'active' AND NOT blocked AND start_after <= now() ORDER BY priority DESC FOR UPDATE SKIP LOCKED),
	got AS (UPDATE boss.job j SET state = 'active', started_on = now() FROM next WHERE j.name = boss_fetch.name AND j.id = next.id RETURNING j.id)
	SELECT array_agg(id::text ORDER BY id) FROM got
$$;
CREATE FUNCTION boss_send(name text, data jsonb) RETURNS text LANGUAGE sql AS $$ INSERT INTO boss.job (name, data) VALUES (name, data) RETURNING id::text $$;
SELECT boss_send('mail', '{"do": "hold"}') AS held \gset
SELECT is((SELECT (blocked, start_after > now() + interval '1000 years', keep_until > now() + interval '1000 years')::text FROM boss.job WHERE id = :'held'), '(t,t,t)', 'what is held is blocked, and kept');
SELECT is(boss_fetch('mail'), NULL, 'and not fetched');
CREATE TABLE boss.j1 (LIKE boss.job INCLUDING ALL);
ALTER TABLE boss.job ATTACH PARTITION boss.j1 FOR VALUES IN ('apart');
SELECT boss_send('apart', '{"do": "deny"}') AS denied \gset
SELECT is((SELECT state::text FROM boss.j1 WHERE id = :'denied'), 'cancelled', 'a partition that comes later is guarded');
-- pg-boss writes into the partition itself
INSERT INTO boss.j1 (name, data) VALUES ('apart', '{"do": "hold"}') RETURNING id::text AS apart \gset
SELECT is((SELECT blocked FROM boss.j1 WHERE id = :'apart'), true, 'written to directly, too');
SELECT is((SELECT string_agg(decision::text, ' ') FROM policy.decisions WHERE job_key = :'apart'), 'REQUIRE_APPROVAL', 'with its evidence');
SELECT is((SELECT array_agg(w) FROM policy_attachments a, unnest(a.warnings) w WHERE a.job_table = 'boss.job'), '{"trigger zzz_policy_begin of boss.j1 is gone","trigger zzz_policy_flush of boss.j1 is gone","trigger zzz_policy_truncate of boss.j1 is gone"}',
	'policy_attachments says that its statements'' triggers are missing, which make it faster');
SELECT is((SELECT outcome FROM policy_reattach_all() WHERE job_table = 'boss.job'), 'attached again', 'policy_reattach_all makes them');
SELECT is((SELECT warnings FROM policy_attachments WHERE job_table = 'boss.job'), '{}', 'then all is well');
INSERT INTO boss.j1 (name, data) SELECT 'apart', '{"do": "nothing"}' FROM generate_series(1, 100);
SELECT is((SELECT count(*) FROM policy.decisions WHERE topic = 'apart' AND decision = 'ALLOW'), 100::bigint, 'and many rows have their evidence, too');
COPY boss.j1 (name, data) FROM stdin;
apart	{"do": "deny"}
\.
SELECT is((SELECT count(*) FROM policy.decisions WHERE topic = 'apart' AND decision = 'DENY'), 2::bigint, 'COPY into a partition is decided');
SELECT approve(:'apart') \g /dev/null
SELECT is((SELECT (blocked, start_after <= now(), keep_until < now() + interval '15 days')::text FROM boss.j1 WHERE id = :'apart'), '(f,t,t)', 'approved, it has what its client wanted');
SELECT is(:'apart' = ANY (boss_fetch('apart')), true, 'and is fetched');
-- A retry deletes and inserts
WITH deleted_jobs AS (DELETE FROM boss.job WHERE name = 'apart' AND id = :'apart' RETURNING *),
	retried_jobs AS (INSERT INTO boss.job (id, name, data, state, retry_count) SELECT id, name, data, 'retry', retry_count + 1 FROM deleted_jobs ON CONFLICT DO NOTHING RETURNING *)
	SELECT count(*) FROM retried_jobs \g /dev/null
SELECT is((SELECT state || ' ' || blocked FROM boss.job WHERE id = :'apart'), 'retry false', 'a retry needs no second approval');
SELECT is(:'apart' = ANY (boss_fetch('apart')), true, 'and starts');

--
-- A migration that drops what guards
--
SELECT is((SELECT count(*) FROM unnest((SELECT warnings FROM policy_status())) w WHERE w LIKE '%attached%'), 0::bigint, 'policy_status is content');
DROP TRIGGER zzz_policy_update ON river.river_job;
ALTER TABLE oban.oban_jobs DISABLE TRIGGER zzz_policy_insert;
ALTER TABLE que.que_jobs ADD COLUMN extra text;
ALTER TABLE que.que_jobs ALTER COLUMN error_count TYPE bigint;
SELECT is((present, enabled, current, warnings)::text, '(f,f,t,"{""trigger zzz_policy_update of river.river_job is gone""}")', 'a dropped trigger is shown') FROM policy_attachments WHERE job_table = 'river.river_job';
SELECT is((present, enabled, current, warnings)::text, '(t,f,t,"{""trigger zzz_policy_insert of oban.oban_jobs is disabled""}")', 'so is one that is disabled') FROM policy_attachments WHERE job_table = 'oban.oban_jobs';
SELECT is((present, enabled, current, warnings)::text, '(t,t,f,"{""column error_count integer is gone, or of another type"",""column error_count bigint is new"",""column extra text is new""}")', 'so are columns that have changed')
FROM policy_attachments WHERE job_table = 'que.que_jobs';
SELECT alike(w, '%oban.oban_jobs, que.que_jobs, river.river_job%', 'policy_status warns of them') FROM policy_status() s, unnest(s.warnings) w WHERE w LIKE '%attached%';
SELECT is((SELECT string_agg(outcome, ', ' ORDER BY job_table) FROM policy_reattach_all() WHERE outcome <> 'nothing to do'), 'attached again, attached again, attached again', 'policy_reattach_all puts them right');
SELECT is((SELECT bool_and(present AND enabled AND current) FROM policy_attachments), true, 'all of them');
ALTER TABLE que.que_jobs RENAME COLUMN job_class TO class;
SELECT is((SELECT outcome FROM policy_reattach_all() WHERE job_table = 'que.que_jobs'), E'material: column "job_class" does not exist\njob: column "job_class" does not exist',
	'what no longer fits it says, and leaves as it is');
SELECT throws_ok($$INSERT INTO que.que_jobs (class) VALUES ('Mail')$$, '42703', NULL, 'a table that its guard does not fit any more takes nothing');

SELECT * FROM finish();
ROLLBACK;
