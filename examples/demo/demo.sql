-- The demo: a policy from its first mistakes to its rollback.
--
-- Run from the repository's root, in a new, empty database, as a superuser:
--     psql -X -q -f examples/demo/demo.sql
-- It prints every statement and its result.  It stops at the first statement that fails; its last statement checks all that
-- it showed.

\set ON_ERROR_STOP on
\set ECHO all
\pset pager off
\pset null '(null)'
SET client_min_messages = warning;
SET timezone = 'UTC';

-- ======================================================================
-- 1. Install
-- ======================================================================

CREATE EXTENSION policy_engine;

-- ======================================================================
-- 2. Validate a broken policy: every error at once, with its place
-- ======================================================================

\set broken `cat examples/demo/broken.yaml`
SELECT line, col, code, message, hint FROM policy_validate(:'broken');

-- ======================================================================
-- 3. Stage v41 and v42 from YAML files
-- ======================================================================

\set v41 `cat examples/demo/v41.yaml`
\set v42 `cat examples/demo/v42.yaml`

-- No row means clean.
SELECT * FROM policy_validate(:'v41');
SELECT * FROM policy_validate(:'v42');

SELECT snapshot, note, left(encode(sha256, 'hex'), 16) AS sha256
FROM policy_stage('v41', :'v41', 'the policy as it began');
SELECT snapshot, note, left(encode(sha256, 'hex'), 16) AS sha256
FROM policy_stage('v42', :'v42', 'tighten prod write controls');

-- Staging puts nothing in force: with no active policy, every job is denied.
SELECT decision, reason
FROM policy_evaluate('{"topic": "job.mcp-bridge.read.get_ticket"}'::jsonb);

-- ======================================================================
-- 4. Simulate the request; the answer is the response on file
-- ======================================================================

\set request `cat examples/seed/simulate-request.json`
\set response `cat examples/seed/simulate-response.json`

SELECT jsonb_pretty(policy_simulate(:'request', 'v41')) AS answer;
SELECT policy_simulate(:'request', 'v41') = :'response'::jsonb AS same_as_the_response_on_file;

-- ======================================================================
-- 5. Publish v41
-- ======================================================================

SELECT release_id, action, snapshot, previous_snapshot, note
FROM policy_publish('v41', 'first policy');

-- ======================================================================
-- 6. Decide a table of 20 jobs with one SELECT
-- ======================================================================

CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job jsonb);
\copy jobs (job) FROM 'examples/demo/jobs.jsonl'

SELECT j.id, j.job ->> 'topic' AS topic, v.decision, v.matched_rule, v.reason
FROM jobs j, policy_evaluate(j.job) v
ORDER BY j.id;

-- Whatever is allowed is bounded, too.
SELECT j.id, v.decision, v.constraints
FROM jobs j, policy_evaluate(j.job) v
WHERE v.decision <> 'DENY'
ORDER BY j.id;

-- The decision mix under v41.
SELECT v.snapshot, v.decision, count(*)
FROM jobs j, policy_evaluate(j.job) v
GROUP BY v.snapshot, v.decision
ORDER BY v.decision;

CREATE TEMP TABLE under_v41 AS
SELECT j.id, v.decision, v.snapshot FROM jobs j, policy_evaluate(j.job) v;

-- ======================================================================
-- 7. The rollout, step 1: publish policy snapshot v42
-- ======================================================================

SELECT release_id, action, snapshot, previous_snapshot, note
FROM policy_publish('v42', 'tighten prod write controls');

-- ======================================================================
-- 8. The rollout, step 2: verify the decision mix
-- ======================================================================

SELECT snapshot, release_id, fail_mode, warnings FROM policy_status();

SELECT v.snapshot, v.decision, count(*)
FROM jobs j, policy_evaluate(j.job) v
GROUP BY v.snapshot, v.decision
ORDER BY v.decision;

-- What changed for whom: reads now wait for an approval.  A false positive spike.
SELECT j.id, j.job ->> 'topic' AS topic, old.decision AS v41, v.decision AS v42, v.matched_rule
FROM jobs j JOIN under_v41 old USING (id), policy_evaluate(j.job) v
WHERE v.decision <> old.decision
ORDER BY j.id;

CREATE TEMP TABLE under_v42 AS
SELECT j.id, v.decision, v.snapshot, v.matched_rule FROM jobs j, policy_evaluate(j.job) v;

-- ======================================================================
-- 9. The rollout, step 3: roll back if regression detected
-- ======================================================================

SELECT release_id, action, snapshot, previous_snapshot, note
FROM policy_rollback('v41', 'rollback due false positive spike');

SELECT v.snapshot, v.decision, count(*)
FROM jobs j, policy_evaluate(j.job) v
GROUP BY v.snapshot, v.decision
ORDER BY v.decision;

CREATE TEMP TABLE after_rollback AS
SELECT j.id, v.decision, v.snapshot FROM jobs j, policy_evaluate(j.job) v;

-- ======================================================================
-- 10. Where things stand, and how they came to be so
-- ======================================================================

SELECT * FROM policy_status();

SELECT release_id, action, snapshot, previous_snapshot, note, released_at
FROM policy.releases
ORDER BY release_id;

-- ======================================================================
-- 11. Check: what was shown is right
-- ======================================================================

SELECT set_config('demo.broken', :'broken', false) IS NOT NULL AS broken_kept,
       set_config('demo.same', (policy_simulate(:'request') = :'response'::jsonb)::text, false)
           AS same_under_the_active_policy;

DO $$
DECLARE
	mix jsonb;
BEGIN
	IF (SELECT array_agg(format('%s:%s', line, code)) FROM policy_validate(current_setting('demo.broken')))
		IS DISTINCT FROM
		ARRAY['7:unknown_key', '12:bad_pattern', '14:bad_value', '15:bad_timestamp',
			  '20:bad_jsonpath', '21:empty_constraints', '23:duplicate_id', '25:wrong_type',
			  '28:misplaced_key', '28:out_of_range'] THEN
		RAISE EXCEPTION 'demo: the broken policy has other errors than it should';
	END IF;
	IF current_setting('demo.same') <> 'true' THEN
		RAISE EXCEPTION 'demo: the simulated answer is not the response on file';
	END IF;

	SELECT jsonb_object_agg(decision, n) INTO mix
	FROM (SELECT decision, count(*) AS n FROM under_v41 WHERE snapshot = 'v41' GROUP BY 1) m;
	IF mix IS DISTINCT FROM
		'{"ALLOW": 6, "ALLOW_WITH_CONSTRAINTS": 1, "REQUIRE_APPROVAL": 3, "DENY": 10}' THEN
		RAISE EXCEPTION 'demo: the mix under v41 is %', mix;
	END IF;

	SELECT jsonb_object_agg(decision, n) INTO mix
	FROM (SELECT decision, count(*) AS n FROM under_v42 WHERE snapshot = 'v42' GROUP BY 1) m;
	IF mix IS DISTINCT FROM
		'{"ALLOW": 3, "ALLOW_WITH_CONSTRAINTS": 1, "THROTTLE": 1, "REQUIRE_APPROVAL": 9, "DENY": 6}' THEN
		RAISE EXCEPTION 'demo: the mix under v42 is %', mix;
	END IF;

	IF EXISTS (SELECT id, decision, snapshot FROM under_v41
			   EXCEPT SELECT id, decision, snapshot FROM after_rollback) THEN
		RAISE EXCEPTION 'demo: the rollback did not bring v41''s verdicts back';
	END IF;
	IF (SELECT array_agg(format('%s %s: %s', action, snapshot, note) ORDER BY release_id)
		FROM policy.releases) IS DISTINCT FROM
		ARRAY['publish v41: first policy',
			  'publish v42: tighten prod write controls',
			  'rollback v41: rollback due false positive spike'] THEN
		RAISE EXCEPTION 'demo: policy.releases is not what was done';
	END IF;
	IF (SELECT (snapshot, release_id, fail_mode, warnings) IS DISTINCT FROM
			   ('v41'::text, 3::bigint, 'closed'::text, '{}'::text[])
		FROM policy_status()) THEN
		RAISE EXCEPTION 'demo: policy_status() is not what it should be';
	END IF;
END
$$;

\echo The demo is complete, and everything that it showed was checked.
