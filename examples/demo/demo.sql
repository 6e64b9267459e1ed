-- The demo: a policy from its first mistakes to its rollback, and jobs from their
-- submission to their evidence.
--
-- Run from the repository's root, in a new, empty database, as a superuser:
--     psql -X -q -f examples/demo/demo.sql
-- It prints every statement and its result, and stops at the first statement that
-- fails where it should not; what it showed is checked at its end.  It makes six
-- roles, demo_*, and drops them.

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

-- A warning: nobody owns the rules of v41.  No row: v42 is clean.
SELECT line, col, severity, code, message FROM policy_validate(:'v41');
SELECT line, col, severity, code, message FROM policy_validate(:'v42');

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
-- 7. Replay v42 over what was decided under v41, before it is published
-- ======================================================================

-- A day under v41: its jobs are gone from the queue by the evening, their evidence stays.
SELECT count(*) AS submitted FROM (SELECT job FROM jobs ORDER BY id) j, policy_submit(j.job) s;
WITH done AS (DELETE FROM policy.jobs RETURNING job_id) SELECT count(*) AS done FROM done;

SELECT simulation_id, jobs, replayed, unreplayable, flips, loosened, tightened, newly_approval
FROM policy_replay('v42');

-- It decides most jobs otherwise, so the gate refuses it, and says why.
\set ON_ERROR_STOP off
SELECT policy_publish('v42', 'tighten prod write controls');
\set ON_ERROR_STOP on
SELECT policy_report_text(1);

-- That is what was meant.  Whoever has the duty to release, and did not stage it,
-- accepts exactly these flips.
CREATE ROLE demo_carol LOGIN;
SELECT policy_grant('demo_carol', 'release') \gset
SET SESSION AUTHORIZATION demo_carol;
SELECT simulation_id, acknowledged_by, acknowledge_note
FROM policy_acknowledge(1, 'payments may ask now; reads wait on purpose');
RESET SESSION AUTHORIZATION;

-- Two of the twenty are no valid jobs: more than the gate leaves out by itself.
SET policy_engine.gate_max_unreplayable = 0.1;

-- ======================================================================
-- 8. The rollout, step 1: publish policy snapshot v42
-- ======================================================================

SELECT release_id, action, snapshot, previous_snapshot, note, simulation_id, loosened
FROM policy_publish('v42', 'tighten prod write controls');
RESET policy_engine.gate_max_unreplayable;

-- ======================================================================
-- 9. The rollout, step 2: verify the decision mix
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
-- 10. Duties: who may do what
-- ======================================================================

CREATE ROLE demo_agent LOGIN;
CREATE ROLE demo_alice LOGIN;
CREATE ROLE demo_bob LOGIN;
CREATE ROLE demo_worker LOGIN;
CREATE ROLE demo_auditor LOGIN;

-- Whatever the agent says, its jobs are agent-7's of tenant acme.
SELECT policy_grant('demo_agent', 'submit', '{"tenant_id": "acme", "actor_id": "agent-7"}') \gset
SELECT policy_grant('demo_alice', 'approve') \gset
SELECT policy_grant('demo_bob', 'approve') \gset
SELECT policy_grant('demo_worker', 'work') \gset
SELECT policy_grant('demo_auditor', 'audit') \gset
SELECT role, duty, identity FROM policy.duties ORDER BY role, duty;

-- ======================================================================
-- 11. Submit jobs: decided, enqueued and recorded in one transaction
-- ======================================================================

GRANT SELECT ON jobs TO demo_agent;
SET SESSION AUTHORIZATION demo_agent;

-- The 20 jobs, less what they claim of tenant and actor.
SELECT count(*) AS submitted
FROM (SELECT job - '{tenant,tenant_id,actor}'::text[] AS job FROM jobs ORDER BY id) j,
     policy_submit(j.job) s;

-- A plain INSERT does the same.
INSERT INTO policy.jobs (topic, risk_tags, payload) VALUES
    ('job.mcp-bridge.write.restart', '["prod", "write"]', '{"host": "db1"}'),
    ('job.agent.exec.python', '["medium"]', '{"code": "print(1)"}')
RETURNING job_id, state, constraints;

-- A claim to be somebody else is an invalid job: denied, and recorded.
INSERT INTO policy.jobs (topic, actor_id) VALUES ('job.mcp-bridge.read.get_ticket', 'agent-1')
RETURNING job_id, state;
RESET SESSION AUTHORIZATION;

-- States, and why.
SELECT job_id, state, topic, decision, matched_rule, reason FROM policy.traces ORDER BY job_id;

-- The decision mix, and the queue.
SELECT decision, rule, sum(decisions) AS decisions FROM policy.decision_mix
GROUP BY decision, rule ORDER BY decision, rule;
SELECT ready, awaiting_approval, throttled, running, decisions_last_hour FROM policy_status();
SELECT approval_id, job_key, topic, rule, votes, required, requested_by FROM policy_approvals();

-- ======================================================================
-- 12. Approve one, claim it, complete it
-- ======================================================================

SELECT approval_id AS ticket FROM policy_approvals() WHERE job_key = '27' \gset

-- Who only submits does not approve.
\set ON_ERROR_STOP off
SET SESSION AUTHORIZATION demo_agent;
SELECT policy_approve(:ticket, 'it is fine, trust me');
\set ON_ERROR_STOP on

SET SESSION AUTHORIZATION demo_alice;
SELECT status, required FROM policy_approve(:ticket, 'seen, is right');
SET SESSION AUTHORIZATION demo_bob;
SELECT status, required FROM policy_approve(:ticket, 'so have I');
SET SESSION AUTHORIZATION demo_worker;

-- The claim decides afresh; of three such tickets one is approved.
SELECT job_id, topic, state, attempts, constraints, deadline - claimed_at AS runs_at_most, claim_token
FROM policy_claim('worker-1', 10, ARRAY['job.mcp-bridge.write.update_*']);
RESET SESSION AUTHORIZATION;
SELECT claim_token FROM policy.jobs WHERE job_id = 27 \gset
SET SESSION AUTHORIZATION demo_worker;
SELECT job_id, state FROM policy_heartbeat(27, :'claim_token');
SELECT job_id, state, result FROM policy_complete(27, :'claim_token', '{"updated": true}');
RESET SESSION AUTHORIZATION;

SELECT approval_id, status, attempts FROM policy.approvals WHERE job_key = '27';

-- The crawler was throttled: nothing to claim until its time.
SET SESSION AUTHORIZATION demo_worker;
SELECT count(*) AS claimed FROM policy_claim('worker-1', 10, ARRAY['job.agent.crawl.*']);
RESET SESSION AUTHORIZATION;
-- Half a minute later (its stored time is moved), the claim itself takes it.
SET session_replication_role = replica;
UPDATE policy.jobs SET run_after = now() WHERE state = 'throttled';
RESET session_replication_role;
SET SESSION AUTHORIZATION demo_worker;
SELECT job_id AS crawl, claim_token FROM policy_claim('worker-1', 10, ARRAY['job.agent.crawl.*']) \gset
-- A failed attempt goes back to the queue while its constraints allow another.
SELECT job_id, state, attempts, error, constraints FROM policy_fail(:crawl, :'claim_token', 'connection reset');
-- Whoever comes late with the token of an attempt that is over is told so.
\set ON_ERROR_STOP off
SELECT policy_complete(:crawl, :'claim_token', '{"pages": 12}');
\set ON_ERROR_STOP on
RESET SESSION AUTHORIZATION;

-- ======================================================================
-- 13. Change a payload after the approval: the claim is refused
-- ======================================================================

-- The payment of 5000 is approved ...
SELECT approval_id AS payment FROM policy_approvals() WHERE job_key = '37' \gset
SET SESSION AUTHORIZATION demo_alice;
SELECT status FROM policy_approve(:payment, '5000 is right');

-- ... and then it is another payment.
SET SESSION AUTHORIZATION demo_agent;
UPDATE policy.jobs SET payload = '{"amount": 9000, "currency": "EUR"}' WHERE job_id = 37
RETURNING job_id, state;

-- The worker gets the small payment, and not that one: it is asked for again.
SET SESSION AUTHORIZATION demo_worker;
SELECT job_id, payload FROM policy_claim('worker-1', 10, ARRAY['job.payments.*']);
RESET SESSION AUTHORIZATION;
SELECT approval_id, status, superseded_by, left(encode(job_hash, 'hex'), 8) AS hash
FROM policy.approvals WHERE job_key = '37' ORDER BY approval_id;

-- Whoever goes round the guard meets the claim, which looks for itself.
SELECT approval_id AS payment FROM policy_approvals() WHERE job_key = '37' \gset
SET SESSION AUTHORIZATION demo_alice;
SELECT status FROM policy_approve(:payment, '9000 is right, too');
RESET SESSION AUTHORIZATION;
SET session_replication_role = replica;
UPDATE policy.jobs SET payload = '{"amount": 90000, "currency": "EUR"}' WHERE job_id = 37
RETURNING job_id, state;
RESET session_replication_role;
SET SESSION AUTHORIZATION demo_worker;
SELECT job_id, payload FROM policy_claim('worker-1', 10, ARRAY['job.payments.*']);
RESET SESSION AUTHORIZATION;
SELECT job_id, state, attempts FROM policy.jobs WHERE job_id = 37;

-- ======================================================================
-- 14. Let an approval expire: that is no denial
-- ======================================================================

SELECT approval_id AS merge FROM policy_approvals() WHERE job_key = '28' \gset
UPDATE policy.approvals SET expires_at = now() - interval '1 second' WHERE approval_id = :merge;
SET SESSION AUTHORIZATION demo_alice;
SELECT status FROM policy_approve(:merge, 'too late');
RESET SESSION AUTHORIZATION;
SELECT j.job_id, j.state, a.status, a.superseded_by FROM policy.jobs j JOIN policy.approvals a ON a.job_key = j.job_id::text
WHERE j.job_id = 28;

-- ======================================================================
-- 15. The rollout, step 3: roll back if regression detected
-- ======================================================================

CREATE TEMP TABLE queue_before AS SELECT job_id, state FROM policy.jobs;

SELECT release_id, action, snapshot, previous_snapshot, note
FROM policy_rollback('v41', 'rollback due false positive spike');

SELECT v.snapshot, v.decision, count(*)
FROM jobs j, policy_evaluate(j.job) v
GROUP BY v.snapshot, v.decision
ORDER BY v.decision;

CREATE TEMP TABLE after_rollback AS
SELECT j.id, v.decision, v.snapshot FROM jobs j, policy_evaluate(j.job) v;

-- What that does to the queue: nothing yet, but the queue shows what it will do.
SELECT approval_id, job_key, topic, rule, status, would_be, would_decide FROM policy_approvals();

-- policy_maintain, or the next vote or claim, whichever comes first, does it.
SELECT expired, redecided, timed_out, partitions, sealed, more FROM policy_maintain();
SELECT j.job_id, j.topic, b.state AS before, j.state AS now, d.source, d.reason
FROM policy.jobs j JOIN queue_before b USING (job_id)
    JOIN policy.decisions d ON d.decision_id = j.decision_id AND d.decided_at = j.decided_at
WHERE j.state <> b.state ORDER BY j.job_id;

-- The reads that v42 held go on.  The crawler, ready to be tried again, is nothing
-- that v41 knows: it is denied where it is claimed.
SET SESSION AUTHORIZATION demo_worker;
SELECT job_id, topic, state
FROM policy_claim('worker-2', 100, ARRAY['job.mcp-bridge.read.*', 'job.agent.crawl.*'])
ORDER BY job_id;
RESET SESSION AUTHORIZATION;
SELECT state, count(*) FROM policy.jobs GROUP BY state ORDER BY state;

-- ======================================================================
-- 16. Where things stand, and how they came to be so
-- ======================================================================

SELECT * FROM policy_status() \gx

SELECT release_id, action, snapshot, previous_snapshot, note, released_at
FROM policy.releases
ORDER BY release_id;

-- ======================================================================
-- 17. One job from rule to outcome
-- ======================================================================

SET SESSION AUTHORIZATION demo_auditor;
SELECT * FROM policy.traces WHERE job_id = 27 \gx
SELECT decision_id, source, decision, matched_rule, snapshot, session_role
FROM policy.decisions WHERE job_key = '27' ORDER BY decision_id;
SELECT v.approver, v.vote, v.note FROM policy.approval_votes v JOIN policy.approvals a USING (approval_id)
WHERE a.job_key = '27' ORDER BY v.voted_at;

-- What rules do: which to prune, and which annoy.
SELECT rule, hits, share_approved FROM policy.rule_stats ORDER BY rule;
RESET SESSION AUTHORIZATION;

-- ======================================================================
-- 18. Verify the evidence; alter it, and see that named
-- ======================================================================

SELECT seal_id, cardinality(decision_ids) AS decisions, left(encode(hash, 'hex'), 16) AS hash FROM policy_seal();

-- No row means intact.
SELECT * FROM policy_verify();

-- Evidence is append-only, for the superuser as well ...
\set ON_ERROR_STOP off
UPDATE policy.decisions SET decision = 'ALLOW' WHERE job_key = '31';
\set ON_ERROR_STOP on

-- ... who removes the triggers, and is found out.
ALTER TABLE policy.decisions_default DISABLE TRIGGER ALL;
UPDATE policy.decisions_default SET decision = 'ALLOW', reason = 'matched rule allow-read' WHERE job_key = '31';
ALTER TABLE policy.decisions_default ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE policy.decisions_default ENABLE ALWAYS TRIGGER refuse_truncate;
SELECT problem, seal_id, decision_id, detail FROM policy_verify();

-- ======================================================================
-- 19. Check: what was shown is right
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
	IF (SELECT (r.simulation_id, r.loosened, s.snapshot, s.base_snapshot, s.acknowledged_by, s.jobs, s.gate ->> 'passed')
			IS DISTINCT FROM (1::bigint, 4::bigint, 'v42'::text, 'v41'::text, 'demo_carol'::text, 20::bigint, 'false'::text)
		FROM policy.releases r JOIN policy.simulations s USING (simulation_id) WHERE r.release_id = 2) THEN
		RAISE EXCEPTION 'demo: v42 was not published for the simulation that was acknowledged';
	END IF;
	IF (SELECT (snapshot, release_id, fail_mode, warnings) IS DISTINCT FROM
			   ('v41'::text, 3::bigint, 'closed'::text, '{}'::text[])
		FROM policy_status()) THEN
		RAISE EXCEPTION 'demo: policy_status() is not what it should be';
	END IF;

	IF (SELECT (state, approved_by, attempts, result) IS DISTINCT FROM
			   ('succeeded'::text, '{demo_alice,demo_bob}'::text[], 1, '{"updated": true}'::jsonb)
		FROM policy.traces WHERE job_id = 27) OR
	   (SELECT (status, attempts) IS DISTINCT FROM ('consumed'::text, 1)
		FROM policy.approvals WHERE job_key = '27') THEN
		RAISE EXCEPTION 'demo: the approved ticket did not run as approved';
	END IF;
	IF (SELECT attempts FROM policy.jobs WHERE job_id = 37) <> 0 OR
	   (SELECT array_agg(status ORDER BY approval_id) FROM policy.approvals WHERE job_key = '37')
		IS DISTINCT FROM ARRAY['superseded', 'superseded', 'superseded'] THEN
		RAISE EXCEPTION 'demo: a changed payment was claimed';
	END IF;
	IF (SELECT array_agg(format('%s %s', source, decision) ORDER BY decision_id)
		FROM policy.decisions WHERE job_key = '28') IS DISTINCT FROM ARRAY['submit REQUIRE_APPROVAL'] OR
	   (SELECT state FROM policy.jobs WHERE job_id = 28) <> 'expired' THEN
		RAISE EXCEPTION 'demo: an expired approval was taken for a denial';
	END IF;
	SELECT jsonb_object_agg(state, n) INTO mix
	FROM (SELECT state, count(*) AS n FROM policy.jobs GROUP BY 1) m;
	IF mix IS DISTINCT FROM
		'{"ready": 2, "running": 8, "succeeded": 1, "awaiting_approval": 2, "denied": 9, "expired": 1}' THEN
		RAISE EXCEPTION 'demo: the queue is %', mix;
	END IF;
	IF (SELECT array_agg(format('%s %s', v.problem, d.job_key))
		FROM policy_verify() v JOIN policy.decisions d USING (decision_id))
		IS DISTINCT FROM ARRAY['altered 31'] THEN
		RAISE EXCEPTION 'demo: the altered decision was not named';
	END IF;
END
$$;

-- The roles are the whole cluster's: away with them.
REVOKE SELECT ON jobs FROM demo_agent;
SELECT count(policy_revoke(role, duty)::text) AS revoked FROM policy.duties;
DROP ROLE demo_agent, demo_alice, demo_bob, demo_carol, demo_worker, demo_auditor;

\echo The demo is complete, and everything that it showed was checked.
