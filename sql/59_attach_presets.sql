--
-- Presets of attachments: one a client
--

INSERT INTO policy.attach_presets
	(preset, note, detect, job, job_key, hold, deny, throttle, release, allow, material, starts,
	 ends, undo, notify, built_in)
VALUES
	('table', 'a table of your own with topic, payload jsonb, status text and run_at timestamptz, whose workers take rows that are pending and due and make them running, and in the end done, failed or cancelled',
	 '{topic,payload,status,run_at}',
	 $$jsonb_build_object('topic', topic, 'payload', payload)$$, NULL,
	 '{"status": "''held''"}', '{"status": "''denied''"}',
	 '{"run_at": "retry_at"}', NULL, NULL,
	 '{topic,payload}',
	 $$old.status <> 'running' AND new.status = 'running'$$,
	 $$new.status IN ('done', 'failed', 'cancelled')$$, NULL, NULL, true);
