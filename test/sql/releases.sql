--
-- Stage, simulate, publish, decide, roll back: what an operator sees.
--
CREATE EXTENSION policy_engine;
\d policy.snapshots
\d policy.releases
\d policy.active
\d policy_verdict
\dT policy_*

\pset null '(null)'
SELECT snapshot, release_id, since IS NULL AS never, fail_mode, warnings FROM policy_status();
SELECT * FROM policy.active;
SELECT * FROM policy_evaluate('{"topic": "job.mcp-bridge.read.list"}'::jsonb);

SELECT snapshot, length(document::text) AS length, encode(sha256, 'hex') AS sha256, note, staged_by = session_user AS by_me
FROM policy_stage('v41', $$version: v1
rules:
  - id: allow-read
    match: {topics: ["job.mcp-bridge.read.*"]}
    decision: allow
$$, 'read only');
SELECT snapshot, note, staged_by = session_user AS by_me
FROM policy_stage('v42', $$version: v1
rules:
  - id: allow-read
    match: {topics: ["job.mcp-bridge.read.*"]}
    decision: allow
  - id: require-approval-prod-write
    match: {topics: ["job.mcp-bridge.write.*"], risk_tags: [prod]}
    decision: require_approval
    reason: "Prod writes require human approval"
  - id: slow-down
    match: {risk_tags: [bulk]}
    decision: throttle
    retry_after_sec: 30
  - id: watch-exec
    match: {topics: ["job.agent.exec.*"]}
    decision: deny
    mode: monitor
$$, 'tighten prod write controls');

SELECT jsonb_pretty(policy_simulate('{"tenant_id": "default", "job": {"topic": "job.mcp-bridge.write.x", "risk_tags": ["prod"]}}', 'v42'));
SELECT jsonb_pretty(policy_simulate('{"topic": "job.agent.exec.x", "risk_tags": ["bulk"]}', 'v42'));

SELECT release_id, action, snapshot, previous_snapshot, note, released_by = session_user AS by_me, simulation_id, override_reason, loosened
FROM policy_publish('v41', 'first');
SELECT release_id, action, snapshot, previous_snapshot, note, released_by = session_user AS by_me, simulation_id, override_reason, loosened
FROM policy_publish('v42', 'tighten prod write controls', 'reviewed by hand');

CREATE TABLE jobs (id int, job jsonb);
INSERT INTO jobs VALUES
	(1, '{"topic": "job.mcp-bridge.read.list"}'),
	(2, '{"topic": "job.mcp-bridge.write.x", "risk_tags": ["prod"]}'),
	(3, '{"topic": "job.mcp-bridge.write.x", "risk_tags": ["PROD", "bulk"]}'),
	(4, '{"topic": "job.mcp-bridge.read.list", "risk_tags": ["bulk"]}'),
	(5, '{"topic": "job.agent.exec.python"}'),
	(6, '{"risk_tags": ["prod"]}'),
	(7, NULL);
SELECT id, v.* FROM jobs, policy_evaluate(job) v ORDER BY id;
SELECT v.decision, count(*) FROM jobs, policy_evaluate(job) v GROUP BY 1 ORDER BY 1;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, v.decision FROM jobs, policy_evaluate(job) v;

SELECT release_id, action, snapshot, previous_snapshot, note, released_by = session_user AS by_me, simulation_id, override_reason, loosened
FROM policy_rollback('v41', 'rollback due false positive spike');
SELECT id, v.decision, v.snapshot FROM jobs, policy_evaluate(job) v ORDER BY id;
SELECT release_id, snapshot, note FROM policy.active;
SELECT snapshot, release_id, since IS NULL AS never, fail_mode, warnings FROM policy_status();
SELECT release_id, action, snapshot, previous_snapshot, note FROM policy.releases ORDER BY release_id;

DROP TABLE jobs;
DROP EXTENSION policy_engine;
