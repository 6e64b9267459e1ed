-- The drill: stage, replay, publish, watch queue and mix, roll back, with what each
-- step took.  A rollback that is not practised is none.
--
-- Run from the repository's root, in a new, empty database, as a superuser:
--     psql -X -q -f examples/drill.sql
--     psql -X -q -v jobs=1000000 -f examples/drill.sql
-- The jobs are as many as it says, 10,000 unless told; they are varied, and live in
-- that database alone.  It makes one role, drill_release_manager, and drops it.  It
-- stops at the first step that does not do what it should.

\set ON_ERROR_STOP on
\pset pager off
\pset null '(null)'
SET client_min_messages = warning;
SET timezone = 'UTC';
\if :{?jobs} \else \set jobs 10000 \endif

CREATE EXTENSION policy_engine;

-- The gate as it is where nobody has set it.
SET policy_engine.require_simulation = on;
SET policy_engine.gate_max_flip_ratio = 0.05;
SET policy_engine.gate_max_loosened = 0;

CREATE TEMP TABLE steps (step text, took interval, result text);
CREATE FUNCTION pg_temp.step(step text, began timestamptz, result text) RETURNS void LANGUAGE sql
	AS $$ INSERT INTO steps VALUES (step, clock_timestamp() - began, result) $$;

-- In batches, until none is left.
CREATE FUNCTION pg_temp.maintain() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	done record;
	redecided bigint := 0;
BEGIN
	LOOP
		SELECT * INTO done FROM policy_maintain();
		redecided := redecided + done.redecided;
		EXIT WHEN NOT done.more;
	END LOOP;
	RETURN redecided;
END
$$;

-- ======================================================================
-- Before: a policy in force, and a day of jobs under it
-- ======================================================================

\set v41 `cat examples/seed/policy.yaml`
\set v42 `cat examples/demo/v42.yaml`

SELECT policy_stage('v41', :'v41', 'the policy as it began') \g /dev/null
SELECT policy_publish('v41', 'first policy') \g /dev/null

\echo :jobs jobs are submitted under v41 ...
INSERT INTO policy.jobs (tenant_id, topic, risk_tags, payload)
SELECT 'tenant-' || n % 7,
	(ARRAY['job.mcp-bridge.read.get_ticket', 'job.mcp-bridge.write.update_ticket', 'job.agent.exec.python',
		'job.agent.crawl.docs', 'job.payments.charge'])[1 + n % 5],
	(ARRAY['["read"]', '["prod", "write"]', '["medium"]', '["low"]', '["prod"]'])[1 + n / 5 % 5]::jsonb,
	jsonb_build_object('amount', n % 2000)
FROM generate_series(1, :jobs) n;

-- ======================================================================
-- 1. Stage
-- ======================================================================

SELECT clock_timestamp() AS began \gset
SELECT snapshot FROM policy_stage('v42', :'v42', 'tighten prod write controls') \gset
SELECT pg_temp.step('stage', :'began', :'snapshot' || ' is staged, and in force nowhere') \g /dev/null

-- ======================================================================
-- 2. Replay
-- ======================================================================

SELECT clock_timestamp() AS began \gset
SELECT simulation_id, format('%s of %s jobs replayed: %s loosened, %s tightened; %s more approvals a day', replayed, jobs,
	loosened, tightened, approvals_per_day::bigint) AS impact
FROM policy_replay('v42') \gset
SELECT pg_temp.step('replay', :'began', :'impact') \g /dev/null

\echo
\echo What v42 would change:
SELECT kind, why, from_decision, to_decision, count(*), min(topic) AS example
FROM policy.simulation_flips WHERE simulation_id = :simulation_id
GROUP BY kind, why, from_decision, to_decision ORDER BY kind, count(*) DESC;

-- ======================================================================
-- 3. Publish: refused, accepted by somebody else, published
-- ======================================================================

\echo The gate refuses it:
\set ON_ERROR_STOP off
\set VERBOSITY terse
SELECT clock_timestamp() AS began \gset
SELECT policy_publish('v42', 'tighten prod write controls');
\set refused :SQLSTATE
\set VERBOSITY default
\set ON_ERROR_STOP on
SELECT pg_temp.step('refuse', :'began', 'SQLSTATE ' || :'refused') \g /dev/null

CREATE ROLE drill_release_manager LOGIN;
SELECT policy_grant('drill_release_manager', 'release') \g /dev/null
SET SESSION AUTHORIZATION drill_release_manager;
SELECT clock_timestamp() AS began \gset
SELECT acknowledged_by || ' accepts simulation ' || simulation_id AS accepted
FROM policy_acknowledge(:simulation_id, 'payments may ask now; reads wait on purpose') \gset
RESET SESSION AUTHORIZATION;
SELECT pg_temp.step('acknowledge', :'began', :'accepted') \g /dev/null

SELECT clock_timestamp() AS began \gset
SELECT format('release %s, for simulation %s', release_id, simulation_id) AS released
FROM policy_publish('v42', 'tighten prod write controls') \gset
SELECT pg_temp.step('publish', :'began', :'released') \g /dev/null

-- ======================================================================
-- 4. Watch queue and mix
-- ======================================================================

INSERT INTO policy.jobs (topic, risk_tags)
SELECT 'job.mcp-bridge.read.get_ticket', '["prod", "read"]' FROM generate_series(1, 100);

SELECT clock_timestamp() AS began \gset
SELECT format('%s in force; %s ready, %s awaiting approval', snapshot, ready, awaiting_approval) AS queue
FROM policy_status() \gset
SELECT pg_temp.step('watch the queue', :'began', :'queue') \g /dev/null

\echo
\echo Reads wait for approvals now, a false positive spike:
SELECT clock_timestamp() AS began \gset
SELECT decision, rule, sum(decisions) AS decisions FROM policy.decision_mix
GROUP BY decision, rule ORDER BY decision, rule;
SELECT pg_temp.step('watch the mix', :'began', 'the reads wait') \g /dev/null

-- ======================================================================
-- 5. Roll back
-- ======================================================================

SELECT clock_timestamp() AS began \gset
SELECT format('release %s: %s is in force again; %s recorded jobs are looser', release_id, snapshot, loosened) AS restored
FROM policy_rollback('v41', 'rollback due false positive spike') \gset
SELECT pg_temp.step('roll back', :'began', :'restored') \g /dev/null

-- The next decision is v41's; what waits for v42's approvals goes on by itself.
SELECT clock_timestamp() AS began \gset
SELECT format('a read is %s under %s', decision, snapshot) AS next
FROM policy_evaluate('{"topic": "job.mcp-bridge.read.get_ticket", "risk_tags": ["prod", "read"]}'::jsonb) \gset
SELECT pg_temp.step('decide', :'began', :'next') \g /dev/null

SELECT clock_timestamp() AS began \gset
SELECT pg_temp.maintain() || ' decided again' AS maintained \gset
SELECT pg_temp.step('let the queue go on', :'began', :'maintained') \g /dev/null

-- ======================================================================
-- What it took, and whether it is so
-- ======================================================================

\echo
\echo The drill, step by step:
SELECT step, round(1000 * extract(epoch FROM took), 1) AS ms, result FROM steps;

SELECT set_config('drill.refused', :'refused', false) \g /dev/null
DO $$
BEGIN
	IF current_setting('drill.refused') <> 'PE006' THEN
		RAISE EXCEPTION 'drill: the gate did not refuse v42 with PE006 but with %', current_setting('drill.refused');
	END IF;
	IF (SELECT array_agg(format('%s %s: %s', r.action, r.snapshot, r.note) ORDER BY r.release_id) FROM policy.releases r)
		IS DISTINCT FROM ARRAY['publish v41: first policy', 'publish v42: tighten prod write controls',
			'rollback v41: rollback due false positive spike'] THEN
		RAISE EXCEPTION 'drill: policy.releases is not what was done';
	END IF;
	IF NOT EXISTS (SELECT FROM policy.releases r JOIN policy.simulations s USING (simulation_id)
		WHERE r.snapshot = 'v42' AND s.snapshot = 'v42' AND s.base_snapshot = 'v41' AND s.covers_history
			AND s.jobs = s.replayed AND s.acknowledged_by = 'drill_release_manager') THEN
		RAISE EXCEPTION 'drill: v42 was not published for a simulation over all that was recorded';
	END IF;
	IF (SELECT s.snapshot FROM policy_status() s) <> 'v41' THEN
		RAISE EXCEPTION 'drill: v41 is not in force again';
	END IF;
	IF EXISTS (SELECT FROM policy.jobs j WHERE j.state = 'awaiting_approval' AND j.topic LIKE 'job.mcp-bridge.read.%') THEN
		RAISE EXCEPTION 'drill: reads still wait after the rollback';
	END IF;
END
$$;

SELECT policy_revoke('drill_release_manager', 'release') \g /dev/null
DROP ROLE drill_release_manager;
\echo The drill is done: v42 was tried, and v41 is in force.
