--
-- Presets of attachments: one a client
--
-- A far date is one that clients can read.  Where the constraints of a job reach its
-- worker, what a client has put there itself is taken away.
--

INSERT INTO policy.attach_presets
	(preset, note, detect, job, job_key, hold, deny, throttle, release, allow, material, starts,
	 ends, undo, notify, built_in)
VALUES
	('table', 'A table of your own with topic, payload jsonb, status text and run_at timestamptz, whose workers take rows that are pending and due, make them running, and in the end done, failed or cancelled.',
	 '{topic,payload,status,run_at}',
	 $$jsonb_build_object('topic', topic, 'payload', payload)$$, NULL,
	 '{"status": "''held''"}', '{"status": "''denied''"}',
	 '{"run_at": "greatest(run_at, retry_at)"}', NULL, NULL,
	 '{topic,payload}',
	 $$new.status = 'running' AND old.status IS DISTINCT FROM 'running'$$,
	 $$new.status IN ('done', 'failed', 'cancelled')$$, NULL, NULL, true),

	('graphile-worker', 'graphile-worker 0.14 and later: attach graphile_worker._private_jobs. The topic is the task''s identifier; constraints are in flags.policy.',
	 '{job_queue_id,task_id,payload,run_at,attempts,max_attempts,locked_at,is_available}',
	 $$jsonb_build_object('topic', @extschema@.policy_lookup('{schema}._private_tasks'::regclass, 'id', task_id::text, 'identifier'),
		'payload', payload::jsonb)$$,
	 NULL,
	 '{"run_at": "''9000-01-01 00:00:00+00''"}',
	 '{"attempts": "max_attempts", "max_attempts": "max_attempts", "last_error": "''denied by policy: '' || reason"}',
	 '{"run_at": "greatest(run_at, retry_at)"}', NULL,
	 $${"flags": "CASE WHEN constraints IS NOT NULL THEN jsonb_set(coalesce(flags, '{}'), '{policy}', constraints) WHEN flags ? 'policy' THEN flags - 'policy' ELSE flags END"}$$,
	 '{task_id,payload}',
	 $$new.locked_at IS NOT NULL AND old.locked_at IS DISTINCT FROM new.locked_at$$,
	 $$new.attempts >= new.max_attempts AND new.locked_at IS NULL$$,
	 $$UPDATE {schema}._private_job_queues q SET locked_by = NULL, locked_at = NULL
		WHERE q.id = ($1->>'job_queue_id')::integer
			AND NOT EXISTS (SELECT FROM {schema}._private_jobs j WHERE j.job_queue_id = q.id AND j.locked_at IS NOT NULL)$$,
	 $$pg_notify('jobs:insert', '{"r":"policy","count":1}')$$, true),

	('pg-boss', 'pg-boss 12 and later: attach pgboss.job, partitions come with it. The topic is the queue''s name; constraints are in data.policy_constraints.',
	 '{name,data,state,start_after,keep_until,completed_on,output,blocked,retry_count}',
	 $$jsonb_build_object('topic', name, 'payload', CASE jsonb_typeof(data) WHEN 'object' THEN data - 'policy_constraints' ELSE data END)$$,
	 'id::text',
	 '{"blocked": "true", "start_after": "''9000-01-01 00:00:00+00''", "keep_until": "''9000-01-01 00:00:00+00''"}',
	 $${"state": "'cancelled'", "completed_on": "clock_timestamp()", "output": "jsonb_build_object('message', 'denied by policy: ' || reason)"}$$,
	 '{"start_after": "greatest(start_after, retry_at)", "keep_until": "keep_until + (greatest(start_after, retry_at) - start_after)"}',
	 '{"keep_until": "keep_until + greatest(clock_timestamp() - start_after, interval ''0'')"}',
	 $${"data": "CASE WHEN jsonb_typeof(data) <> 'object' THEN data WHEN constraints IS NOT NULL THEN jsonb_set(data, '{policy_constraints}', constraints) ELSE data - 'policy_constraints' END"}$$,
	 '{name,data}',
	 $$new.state = 'active' AND old.state IS DISTINCT FROM 'active'$$,
	 $$new.state IN ('completed', 'cancelled', 'failed')$$, NULL,
	 $$pg_notify('pgboss_' || left(encode(sha224({schema name}::bytea), 'hex'), 24), name)$$, true),

	('pgmq', 'pgmq 1.5 and later: attach pgmq.q_<queue>. The topic is the queue''s name; constraints are in headers.policy_constraints. A message that is taken by deleting it, as pop does, starts, too.',
	 '{msg_id,read_ct,enqueued_at,vt,message,headers}',
	 $$jsonb_build_object('topic', substr({table name}, 3), 'payload', message)$$, NULL,
	 '{"vt": "''9000-01-01 00:00:00+00''"}', '{"vt": "''9000-01-01 00:00:00+00''"}',
	 '{"vt": "greatest(vt, retry_at)"}', NULL,
	 $${"headers": "CASE WHEN constraints IS NOT NULL THEN jsonb_set(coalesce(headers, '{}'), '{policy_constraints}', constraints) WHEN jsonb_typeof(headers) = 'object' AND headers ? 'policy_constraints' THEN headers - 'policy_constraints' ELSE headers END"}$$,
	 '{message}',
	 $$new.read_ct > old.read_ct OR (new.msg_id IS NULL AND old.vt <= clock_timestamp())$$,
	 NULL, NULL, NULL, true),

	('pgmq-1.4', 'pgmq before 1.5, whose messages have no headers.',
	 '{msg_id,read_ct,enqueued_at,vt,message}',
	 $$jsonb_build_object('topic', substr({table name}, 3), 'payload', message)$$, NULL,
	 '{"vt": "''9000-01-01 00:00:00+00''"}', '{"vt": "''9000-01-01 00:00:00+00''"}',
	 '{"vt": "greatest(vt, retry_at)"}', NULL, NULL,
	 '{message}',
	 $$new.read_ct > old.read_ct OR (new.msg_id IS NULL AND old.vt <= clock_timestamp())$$,
	 NULL, NULL, NULL, true),

	('procrastinate', 'procrastinate 1 and later: attach procrastinate_jobs. The topic is the task''s name.',
	 '{queue_name,task_name,lock,queueing_lock,args,status,scheduled_at,attempts}',
	 $$jsonb_build_object('topic', task_name, 'payload', args, 'labels', jsonb_build_object('queue', queue_name))$$, NULL,
	 '{"scheduled_at": "''9000-01-01 00:00:00+00''"}', '{"status": "''cancelled''"}',
	 '{"scheduled_at": "greatest(scheduled_at, retry_at)"}', NULL, NULL,
	 '{queue_name,task_name,args}',
	 $$new.status = 'doing' AND old.status IS DISTINCT FROM 'doing'$$,
	 $$new.status::text IN ('succeeded', 'failed', 'cancelled', 'aborted')$$, NULL,
	 $$CASE WHEN pg_notify('procrastinate_any_queue_v1', json_build_object('type', 'job_inserted', 'job_id', id)::text) IS NOT NULL
		THEN pg_notify('procrastinate_queue_v1#' || queue_name, json_build_object('type', 'job_inserted', 'job_id', id)::text) END$$, true),

	('river', 'River: attach river_job. The topic is the job''s kind; constraints are in metadata.policy_constraints.',
	 '{args,attempt,attempted_at,finalized_at,kind,max_attempts,metadata,queue,state,scheduled_at}',
	 $$jsonb_build_object('topic', kind, 'payload', args, 'labels', jsonb_build_object('queue', queue))$$, NULL,
	 '{"state": "''pending''"}',
	 '{"state": "''cancelled''", "finalized_at": "clock_timestamp()"}',
	 '{"state": "''scheduled''", "scheduled_at": "greatest(scheduled_at, retry_at)"}', NULL,
	 $${"metadata": "CASE WHEN constraints IS NOT NULL THEN jsonb_set(metadata, '{policy_constraints}', constraints) ELSE metadata - 'policy_constraints' END"}$$,
	 '{kind,args,queue}',
	 $$new.state = 'running' AND old.state IS DISTINCT FROM 'running'$$,
	 $$new.state IN ('completed', 'cancelled', 'discarded')$$, NULL,
	 $$pg_notify({schema name} || '.river_insert', json_build_object('queue', queue)::text)$$, true),

	('oban', 'Oban 2.20 and later, which has the state suspended: attach oban_jobs. The topic is the worker''s name; constraints are in meta.policy_constraints.',
	 '{worker,queue,args,meta,state,scheduled_at,attempted_at,completed_at,discarded_at,cancelled_at}',
	 $$jsonb_build_object('topic', worker, 'payload', args, 'labels', jsonb_build_object('queue', queue))$$, NULL,
	 '{"state": "''suspended''"}',
	 $${"state": "'cancelled'", "cancelled_at": "clock_timestamp() AT TIME ZONE 'UTC'"}$$,
	 $${"state": "'scheduled'", "scheduled_at": "greatest(scheduled_at, retry_at AT TIME ZONE 'UTC')"}$$, NULL,
	 $${"meta": "CASE WHEN constraints IS NOT NULL THEN jsonb_set(coalesce(meta, '{}'), '{policy_constraints}', constraints) ELSE meta - 'policy_constraints' END"}$$,
	 '{worker,args,queue}',
	 $$new.state = 'executing' AND old.state IS DISTINCT FROM 'executing'$$,
	 $$new.state IN ('completed', 'cancelled', 'discarded')$$, NULL,
	 $$pg_notify({schema name} || '.oban_insert', json_build_object('queue', queue)::text)$$, true),

	('que', 'Que 2: attach que_jobs. The topic is the job''s class, the payload {"args": [...], "kwargs": {...}}. Its workers take a job by an advisory lock, without touching its row: what a policy would say later, at the start, is not asked.',
	 '{run_at,job_class,error_count,last_error_message,queue,args,kwargs,data,finished_at,expired_at}',
	 $$jsonb_build_object('topic', job_class, 'payload', jsonb_build_object('args', args, 'kwargs', kwargs), 'labels', jsonb_build_object('queue', queue))$$, NULL,
	 '{"run_at": "''9000-01-01 00:00:00+00''"}',
	 $${"expired_at": "clock_timestamp()", "run_at": "'9000-01-01 00:00:00+00'", "last_error_message": "left('denied by policy: ' || reason, 500)"}$$,
	 '{"run_at": "greatest(run_at, retry_at)"}', NULL, NULL,
	 '{job_class,args,kwargs,queue}',
	 'false',
	 $$new.finished_at IS NOT NULL OR new.expired_at IS NOT NULL$$, NULL, NULL, true),

	('que-1', 'Que 1, whose jobs have no kwargs: as for Que 2, but the payload is args.',
	 '{run_at,job_class,error_count,last_error_message,queue,args,data,finished_at,expired_at}',
	 $$jsonb_build_object('topic', job_class, 'payload', args, 'labels', jsonb_build_object('queue', queue))$$, NULL,
	 '{"run_at": "''9000-01-01 00:00:00+00''"}',
	 $${"expired_at": "clock_timestamp()", "run_at": "'9000-01-01 00:00:00+00'", "last_error_message": "left('denied by policy: ' || reason, 500)"}$$,
	 '{"run_at": "greatest(run_at, retry_at)"}', NULL, NULL,
	 '{job_class,args,queue}',
	 'false',
	 $$new.finished_at IS NOT NULL OR new.expired_at IS NOT NULL$$, NULL, NULL, true);

UPDATE policy.attach_presets SET siblings = 'q\_%' WHERE preset IN ('pgmq', 'pgmq-1.4');

CREATE FUNCTION policy.keep_built_in() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	-- By name: a cast to regrole folds it to lower case, and would take POSTGRES for postgres.
	IF pg_get_userbyid((SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID)) = current_user THEN
		RETURN coalesce(NEW, OLD);
	END IF;
	IF coalesce(NEW.built_in, false) OR coalesce(OLD.built_in, false) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('preset "%s" is the extension''s own', coalesce(OLD.preset, NEW.preset)),
			HINT = 'Add one of another name, with built_in false.';
	END IF;
	RETURN coalesce(NEW, OLD);
END
$$;
COMMENT ON FUNCTION policy.keep_built_in() IS
	'Trigger of policy.attach_presets: what came with the extension is its owner''s alone.';
CREATE TRIGGER keep_built_in BEFORE INSERT OR UPDATE OR DELETE ON policy.attach_presets
	FOR EACH ROW EXECUTE FUNCTION policy.keep_built_in();
COMMENT ON TRIGGER keep_built_in ON policy.attach_presets IS 'What came with the extension is its owner''s alone.';
