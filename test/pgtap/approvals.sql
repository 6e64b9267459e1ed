\ir common.psql
SELECT plan(370);
GRANT USAGE ON SCHEMA helper TO PUBLIC;

CREATE ROLE policy_test_asker LOGIN;
CREATE ROLE policy_test_one LOGIN;
CREATE ROLE policy_test_two LOGIN;
CREATE ROLE policy_test_three LOGIN;
CREATE ROLE policy_test_board;
CREATE ROLE policy_test_council;
GRANT policy_test_board, policy_test_council TO policy_test_one, policy_test_two, policy_test_three;
SELECT policy_grant('policy_test_asker', 'submit') \g /dev/null
SELECT policy_grant(r, 'approve') FROM unnest('{policy_test_one,policy_test_two,policy_test_three}'::text[]) r \g /dev/null

-- What a statement gives, run as another login: its first column, or the SQLSTATE that it raises.
CREATE FUNCTION as_login(login text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('session_authorization', login, true);
	EXECUTE statement INTO result;
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
CREATE FUNCTION approve(login text, approval bigint, note text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT as_login(login, format('SELECT (policy_approve(%L, %L)).status', approval, note))
$$;
CREATE FUNCTION reject(login text, approval bigint, note text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT as_login(login, format('SELECT (policy_reject(%L, %L)).status', approval, note))
$$;
CREATE FUNCTION submit(job jsonb) RETURNS bigint LANGUAGE sql AS $$
	SELECT as_login('policy_test_asker', format('SELECT (policy_submit(%L)).job_id', job))::bigint
$$;
-- The ids of those that were claimed.
CREATE FUNCTION claim(max_jobs integer DEFAULT 1) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(c.job_id ORDER BY c.job_id), '{}') FROM policy_claim('worker', max_jobs) c
$$;
CREATE FUNCTION complete(job bigint) RETURNS text LANGUAGE sql AS $$
	SELECT (policy_complete(j.job_id, j.claim_token)).state FROM policy.jobs j WHERE j.job_id = job
$$;
CREATE FUNCTION fail(job bigint) RETURNS text LANGUAGE sql AS $$
	SELECT (policy_fail(j.job_id, j.claim_token, 'broken')).state FROM policy.jobs j WHERE j.job_id = job
$$;
CREATE FUNCTION state(job bigint) RETURNS text LANGUAGE sql AS $$
	SELECT j.state FROM policy.jobs j WHERE j.job_id = job
$$;
-- The approval of a job's rule ('': the default) that was asked for last.
CREATE FUNCTION asked(job bigint, rule text) RETURNS bigint LANGUAGE sql AS $$
	SELECT max(a.approval_id) FROM policy.approvals a
	WHERE a.job_table = 'policy.jobs' AND a.job_key = job::text AND coalesce(a.rule, '') = asked.rule
$$;
CREATE FUNCTION status(approval bigint) RETURNS text LANGUAGE sql AS $$
	SELECT a.status FROM policy.approvals a WHERE a.approval_id = approval
$$;
-- The approvals of a job, in order: rule:status.
CREATE FUNCTION approvals(job bigint) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(coalesce(a.rule, 'default') || ':' || a.status, ' ' ORDER BY a.approval_id), 'none')
	FROM policy.approvals a WHERE a.job_table = 'policy.jobs' AND a.job_key = job::text
$$;
-- The decisions of a job, in order: source:decision.
CREATE FUNCTION history(job bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(d.source || ':' || d.decision, ' ' ORDER BY d.decision_id)
	FROM policy.decisions d WHERE d.job_table = 'policy.jobs' AND d.job_key = history.job::text
$$;
CREATE FUNCTION votes(approval bigint) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(v.approver || ':' || v.vote, ' ' ORDER BY v.voted_at), 'none')
	FROM policy.approval_votes v WHERE v.approval_id = approval
$$;
-- Whether a job's decision is in evidence, and what it is linked to exists.
CREATE FUNCTION is_linked(approval bigint) RETURNS boolean LANGUAGE sql AS $$
	SELECT a.superseded_by = j.decision_id AND a.superseded_at = j.decided_at AND EXISTS (
		SELECT FROM policy.decisions d WHERE d.decision_id = a.superseded_by AND d.decided_at = a.superseded_at)
	FROM policy.approvals a JOIN policy.jobs j ON j.job_id::text = a.job_key WHERE a.approval_id = approval
$$;
CREATE FUNCTION lapse(approval bigint) RETURNS void LANGUAGE sql AS $$
	UPDATE policy.approvals SET expires_at = clock_timestamp() - interval '1 second' WHERE approval_id = approval
$$;
-- What earlier tests have left waiting.
CREATE FUNCTION clear() RETURNS void LANGUAGE sql AS $$
	SELECT policy_cancel(j.job_id) FROM policy.jobs j WHERE j.state IN ('ready', 'awaiting_approval', 'throttled')
$$;
CREATE SEQUENCE snapshot_number;
CREATE FUNCTION release(document text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name text := 'approvals-' || nextval('snapshot_number');
BEGIN
	PERFORM policy_stage(name, ('version: v1' || E'\n' || document)::policy_document, NULL);
	PERFORM policy_publish(name, NULL);
	RETURN name;
END
$$;
-- The one rule that most tests ask by, with what its approval: is.
CREATE FUNCTION release_ask(approval text, reason text DEFAULT 'why') RETURNS text LANGUAGE sql AS $$
	SELECT release(format('
defaults: {decision: allow, constraints: {max_retries: 1}}
rules:
  - id: ask
    match: {topics: [ask]}
    decision: require_approval
    reason: %s
    approval: %s
', reason, approval))
$$;

--
-- Who is asked, and for what
--
SELECT release('
defaults: {decision: require_approval, constraints: {max_retries: 1}}
rules:
  - {id: first, match: {topics: ["ask.*"]}, decision: require_approval, reason: because}
  - id: second
    match: {topics: [ask.two, ask.wait, ask.never]}
    decision: require_approval
    approval:
      approvers: [policy_test_board, policy_test_council]
      min_approvals: 2
      expires_in_sec: 60
      allow_self: true
      immaterial: ["$.payload.trace", "$.payload.items[*].note"]
  - {id: watched, mode: monitor, decision: require_approval}
  - {id: off, enabled: false, decision: require_approval}
  - id: excused
    decision: require_approval
    exceptions: [{id: e, match: {}, expires_at: 2999-01-01T00:00:00Z, reason: r}]
  - {id: wait, match: {topics: [ask.wait]}, decision: throttle, retry_after_sec: 60}
  - {id: never, match: {topics: [ask.never]}, decision: deny}
  - {id: free, match: {topics: ["free"]}, decision: allow}
  - {id: unknown, match: {topics: [unknown], when: "$.payload.amount > 10"}, decision: require_approval}
') AS first_snapshot \gset

SELECT submit('{"topic": "ask.one", "payload": {"a": 1}}') AS job \gset
SELECT is(state(:job), 'awaiting_approval', 'a job that a rule asks about waits for approval');
SELECT is(approvals(:job), 'first:pending', 'one approval is asked for: of that rule');
SELECT is(to_jsonb(a) - '{approval_id,requested_at,expires_at}'::text[], jsonb_build_object(
		'decision_id', j.decision_id, 'decided_at', j.decided_at, 'job_table', 'policy.jobs', 'job_key', j.job_id::text,
		'job_hash', sha256(convert_to('{"topic": "ask.one", "payload": {"a": 1}}', 'UTF8')), 'immaterial', '{}'::text[],
		'snapshot', :'first_snapshot'::text, 'rule', 'first', 'status', 'pending', 'required', 1, 'approvers', '{}'::text[],
		'allow_self', false, 'attempts', 0, 'superseded_by', NULL, 'superseded_at', NULL,
		'requested_by', 'policy_test_asker', 'resolved_at', NULL, 'requested_via', NULL),
	'it has the job''s decision, key and hash, the rule''s defaults, and who asks')
	FROM policy.approvals a JOIN policy.jobs j ON j.job_id::text = a.job_key WHERE j.job_id = :job;
SELECT ok(a.requested_at = a.decided_at AND a.expires_at = a.requested_at + interval '1 day'
		AND a.requested_at BETWEEN now() AND clock_timestamp(), 'it is asked for when it was decided, and stands for a day')
	FROM policy.approvals a WHERE a.job_key = :'job';
SELECT is((d.source, d.decision::text, d.reason, d.matched_rule, d.matched_rules, d.monitored_rules)::text,
	('submit', 'REQUIRE_APPROVAL', 'because', 'first', '{first}'::text[], '{watched}'::text[])::text,
	'the decision that asks is in evidence') FROM policy.decisions d JOIN policy.approvals a USING (decision_id, decided_at) WHERE a.job_key = :'job';

SELECT submit('{"topic": "ask.two", "payload": {"trace": 1, "items": [{"note": "n", "sum": 2}], "a": {"trace": 1}}}') AS job \gset
SELECT is(approvals(:job), 'first:pending second:pending', 'every applying rule that asks has its own approval; none of monitor, disabled or excused rules');
SELECT is((a.required, a.approvers, a.allow_self, a.immaterial, a.expires_at - a.requested_at, a.job_hash)::text,
	(2, '{policy_test_board,policy_test_council}'::text[], true, '{$.payload.trace,$.payload.items[*].note}'::text[], interval '60 s',
	 sha256(convert_to('{"topic": "ask.two", "payload": {"a": {"trace": 1}, "items": [{"sum": 2}]}}', 'UTF8')))::text,
	'what the rule''s approval says is copied, and its hash is that of the job less its immaterial paths')
	FROM policy.approvals a WHERE a.approval_id = asked(:job, 'second');
SELECT is(a.job_hash, sha256(convert_to('{"topic": "ask.two", "payload": {"a": {"trace": 1}, "items": [{"sum": 2, "note": "n"}], "trace": 1}}', 'UTF8')),
	'the other rule''s, that of all of it') FROM policy.approvals a WHERE a.approval_id = asked(:job, 'first');
SELECT is(approve('policy_test_one', asked(:job, 'first')), 'approved', 'one of two is approved');
SELECT is(state(:job), 'awaiting_approval', 'and the job waits for the other');
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL', 'with no other decision');
SELECT is(claim(9), '{}', 'and cannot be claimed');
SELECT is(approve('policy_test_one', asked(:job, 'second')), 'pending', 'of which one vote is not enough');
SELECT is(approve('policy_test_two', asked(:job, 'second')), 'approved', 'but two are');
SELECT is(state(:job), 'ready', 'with the last approval the job is ready');
SELECT is(claim(9), ARRAY[:job]::bigint[], 'and can be claimed');
SELECT is(approvals(:job), 'first:consumed second:consumed', 'which consumes both');

SELECT is(approvals(submit('{"topic": "ask.never"}')), 'none', 'where a rule denies nobody is asked');
SELECT is(approvals(submit('{"topic": "free"}')), 'none', 'where a rule allows neither');
SELECT is(cardinality(claim(9)), 1, 'and the job can be claimed');

SELECT submit('{"topic": "nobody knows"}') AS job \gset
SELECT is(approvals(:job), 'default:pending', 'a default that asks has an approval without a rule');
SELECT is((a.required, a.approvers, a.allow_self, a.immaterial, a.expires_at - a.requested_at)::text,
	(1, '{}'::text[], false, '{}'::text[], interval '1 day')::text, 'with the language''s defaults')
	FROM policy.approvals a WHERE a.job_key = :'job';
SELECT is(approve('policy_test_one', asked(:job, '')), 'approved', 'it can be approved');
SELECT is(state(:job), 'ready', 'which readies the job');
SELECT is(claim(9), ARRAY[:job]::bigint[], 'and lets it be claimed');

SELECT submit('{"topic": "unknown", "payload": {}}') AS job \gset
SELECT is(approvals(:job), 'unknown:pending default:pending', 'where only the unknown made rules apply, the default asks too');
SELECT is(approve('policy_test_one', asked(:job, 'unknown')), 'approved', 'the rule''s is one of them');
SELECT is(state(:job), 'awaiting_approval', 'and not enough');
SELECT is(approve('policy_test_one', asked(:job, '')), 'approved', 'the default''s is the other');
SELECT is(state(:job), 'ready', 'and both are');
SELECT is(claim(9), ARRAY[:job]::bigint[], 'for a claim, too');

SELECT submit('{"topic": "ask.wait"}') AS job \gset
SELECT is(approve('policy_test_one', asked(:job, 'first')), 'approved', 'a job that has to wait, too, is approved');
SELECT is(approve('policy_test_one', asked(:job, 'second')), 'pending', 'by one');
SELECT is(approve('policy_test_two', asked(:job, 'second')), 'approved', 'by all');
SELECT is(state(:job), 'throttled', 'it is throttled then: an approval stands for its rule alone');
SELECT ok(j.run_after BETWEEN j.decided_at + interval '59 s' AND j.decided_at + interval '61 s', 'for as long as the rule says')
	FROM policy.jobs j WHERE j.job_id = :job;
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL vote:THROTTLE', 'which is recorded');
SELECT is(claim(9), '{}', 'it is not given before its time');
SELECT is(reject('policy_test_three', asked(:job, 'second')), 'rejected', 'until it is claimed it can be rejected');
SELECT is(state(:job), 'rejected', 'throttled or not');
SELECT is(approvals(:job), 'first:superseded second:rejected', 'and then its other approvals are superseded');

SELECT as_login('policy_test_asker', $$WITH i AS (INSERT INTO policy.jobs (topic) SELECT 'ask.' || n FROM generate_series(1, 3) n RETURNING job_id)
	SELECT array_agg(job_id ORDER BY job_id) FROM i$$) AS jobs \gset
SELECT is((SELECT array_agg(a.job_key::bigint ORDER BY a.job_key::bigint) FROM policy.approvals a WHERE a.status = 'pending' AND a.job_key::bigint >= (:'jobs'::bigint[])[1]),
	:'jobs'::bigint[], 'of many rows of an INSERT each has an approval of its own');
SELECT is(approve('policy_test_one', min(approval_id)), 'approved', 'one of these is approved') FROM policy.approvals WHERE job_key = (:'jobs'::bigint[])[2]::text;
SELECT is((SELECT array_agg(state(j) ORDER BY j) FROM unnest(:'jobs'::bigint[]) j), '{awaiting_approval,ready,awaiting_approval}',
	'and only its job is ready');
SELECT is(claim(9), ARRAY[(:'jobs'::bigint[])[2]], 'and claimed');

SELECT release('
combine: first_match
rules:
  - {id: wins, decision: require_approval}
  - {id: loses, decision: require_approval, approval: {min_approvals: 2}}
') \g /dev/null
SELECT is(approvals(submit('{"topic": "a"}')), 'wins:pending', 'under first_match the winner alone asks');

--
-- Votes
--
SELECT clear() \g /dev/null
SELECT release_ask('{min_approvals: 2}') \g /dev/null
SELECT submit('{"topic": "ask"}') AS job \gset
SELECT asked(:job, 'ask') AS approval \gset
SELECT decision_id AS asks FROM policy.jobs WHERE job_id = :job \gset
SELECT is(approve('policy_test_one', :approval, 'looks fine'), 'pending', 'a vote short of the quorum leaves it pending');
SELECT is((v.approver, v.session_role, v.vote, v.note)::text, ('policy_test_one', 'policy_test_one', 'approve', 'looks fine')::text,
	'it is recorded with the approver and the note') FROM policy.approval_votes v WHERE v.approval_id = :approval;
SELECT ok(v.voted_at BETWEEN now() AND clock_timestamp(), 'and the time') FROM policy.approval_votes v WHERE v.approval_id = :approval;
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL', 'it decides nothing');
SELECT is(decision_id, :asks::bigint, 'and moves nothing') FROM policy.jobs WHERE job_id = :job;
SELECT is(approve('policy_test_one', :approval, 'still fine'), 'pending', 'the same approver counts once');
SELECT is((SELECT string_agg(approver || ':' || note, ' ') FROM policy.approval_votes WHERE approval_id = :approval), 'policy_test_one:looks fine',
	'and repeating a vote changes nothing');
SELECT is(state(:job), 'awaiting_approval', 'the job waits');
SELECT is(approve('policy_test_two', :approval), 'approved', 'another approver makes the quorum');
SELECT is(state(:job), 'ready', 'the job is ready');
SELECT ok(a.resolved_at BETWEEN now() AND clock_timestamp() AND a.attempts = 0, 'when it was resolved is recorded') FROM policy.approvals a WHERE approval_id = :approval;
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL vote:ALLOW', 'and the decision that came of it');
SELECT is((d.decision_id = j.decision_id AND d.decided_at = j.decided_at, d.session_role, d.matched_rule, j.decision_id > :asks)::text,
	(true, 'policy_test_two', 'ask', true)::text, 'which is the job''s now, and was made by the last approver')
	FROM policy.decisions d JOIN policy.jobs j ON j.job_id::text = d.job_key WHERE j.job_id = :job AND d.source = 'vote';
SELECT is(j.constraints, '{"max_retries": 1}', 'the job has the constraints of its rule and the defaults') FROM policy.jobs j WHERE j.job_id = :job;
SELECT is(approve('policy_test_one', :approval), 'approved', 'repeating a vote on what is approved is no error');
SELECT is(approve('policy_test_two', :approval), 'approved', 'whoever repeats it');
SELECT is(approve('policy_test_three', :approval), 'PE010', 'but another vote comes too late');
SELECT is(votes(:approval), 'policy_test_one:approve policy_test_two:approve', 'and is not recorded');
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL vote:ALLOW', 'nor anything else');

SELECT is(reject('policy_test_three', :approval, 'no'), 'rejected', 'what is approved can be rejected');
SELECT is(state(:job), 'rejected', 'and the job with it');
SELECT is(claim(9), '{}', 'which cannot be claimed then');
SELECT is(votes(:approval), 'policy_test_one:approve policy_test_two:approve policy_test_three:reject', 'all votes stay');
SELECT is(reject('policy_test_three', :approval), 'rejected', 'repeating a rejection is no error');
SELECT is(reject('policy_test_one', :approval), 'PE010', 'another rejection comes too late');
SELECT is(approve('policy_test_one', :approval), 'PE010', 'repeating the approval that was overruled, too');
SELECT is(approve('policy_test_three', :approval), 'PE010', 'and who rejected cannot take it back');
SELECT is(state(:job), 'rejected', 'the job stays rejected');

SELECT submit('{"topic": "ask"}') AS job \gset
SELECT asked(:job, 'ask') AS approval \gset
SELECT is(approve('policy_test_one', :approval), 'pending', 'who has approved');
SELECT is(reject('policy_test_one', :approval, 'on second thoughts'), 'rejected', 'may reject after all');
SELECT is(votes(:approval), 'policy_test_one:reject', 'which is one vote, the last');
SELECT is((SELECT note FROM policy.approval_votes WHERE approval_id = :approval), 'on second thoughts', 'with its note');
SELECT is(state(:job), 'rejected', 'one rejection is enough, however many approvals are required');
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL', 'a rejection is no decision of the policy''s');

SELECT submit('{"topic": "ask"}') AS job \gset
SELECT asked(:job, 'ask') AS approval \gset
SELECT is(approve(r, :approval), s, r || ' approves') FROM (VALUES ('policy_test_one', 'pending'), ('policy_test_two', 'approved')) v(r, s);
SELECT is(claim(9), ARRAY[:job]::bigint[], 'the job is claimed');
SELECT is(reject('policy_test_three', :approval), 'PE010', 'then it cannot be rejected any more');
SELECT is(approve('policy_test_three', :approval), 'PE010', 'nor approved');
SELECT is(state(:job), 'running', 'and goes on');
SELECT is(votes(:approval), 'policy_test_one:approve policy_test_two:approve', 'what comes too late is no vote');

SELECT is(approve('policy_test_one', NULL), 'PE010', 'approving NULL is refused');
SELECT is(reject('policy_test_one', NULL), 'PE010', 'rejecting NULL, too');
SELECT is(approve('policy_test_one', -1), 'PE010', 'approving what does not exist');
SELECT is(reject('policy_test_one', 9223372036854775807), 'PE010', 'and rejecting it');
SELECT throws_like('SELECT policy_approve(-1)', '%does not exist%', 'which says so');
SELECT is(approve('policy_test_asker', :approval), '42501', 'without the duty nobody can approve');
SELECT is(reject('policy_test_asker', :approval), '42501', 'nor reject');

--
-- Expiry is not denial.
--
SELECT submit('{"topic": "ask"}') AS job \gset
SELECT asked(:job, 'ask') AS approval \gset
SELECT is(approve('policy_test_one', :approval), 'pending', 'before its time is over it can be voted on');
SELECT lapse(:approval) \g /dev/null
SELECT is(state(:job), 'awaiting_approval', 'time alone moves nothing');
SELECT is(approve('policy_test_two', :approval), 'expired', 'a vote past its time finds it expired, and records that');
SELECT is(status(:approval), 'expired', 'the approval has expired');
SELECT is(state(:job), 'expired', 'and the job');
SELECT ok(resolved_at BETWEEN now() AND clock_timestamp() AND superseded_by IS NULL, 'when that was found is recorded') FROM policy.approvals WHERE approval_id = :approval;
SELECT is(votes(:approval), 'policy_test_one:approve', 'the vote is not');
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL', 'and no decision: nobody denied');
SELECT is(approve('policy_test_two', :approval), 'PE010', 'what has expired is not pending');
SELECT is(reject('policy_test_two', :approval), 'PE010', 'and cannot be rejected');
SELECT is(state(:job), 'expired', 'the job stays expired');
SELECT is((SELECT string_agg(r.state, ' ') FROM policy_redecide(jsonb_build_object('job_id', :job), 'another chance') r), 'awaiting_approval',
	'an operator can have it decided again');
SELECT is(approvals(:job), 'ask:expired ask:pending', 'which asks again');
SELECT is(votes(asked(:job, 'ask')), 'none', 'from the beginning');
SELECT is(approve('policy_test_one', asked(:job, 'ask')), 'pending', 'of everybody');
SELECT is(approve('policy_test_two', asked(:job, 'ask')), 'approved', 'once more');
SELECT is(claim(9), ARRAY[:job]::bigint[], 'and then the job can start');

SELECT submit('{"topic": "ask"}') AS job \gset
SELECT lapse(asked(:job, 'ask')) \g /dev/null
SELECT is(reject('policy_test_two', asked(:job, 'ask')), 'expired', 'a rejection past its time finds it expired, not rejected');
SELECT is(state(:job), 'expired', 'and so is the job');
SELECT is(votes(asked(:job, 'ask')), 'none', 'with no vote');

SELECT submit('{"topic": "ask"}') AS job \gset
SELECT submit('{"topic": "ask"}') AS other \gset
SELECT lapse(asked(:job, 'ask')) \g /dev/null
SELECT is(expired, 1, 'policy_maintain expires what is past its time') FROM policy_maintain();
SELECT is(status(asked(:job, 'ask')) || ' ' || state(:job), 'expired expired', 'and its job');
SELECT is(status(asked(:other, 'ask')) || ' ' || state(:other), 'pending awaiting_approval', 'and nothing else');
SELECT is(expired, 0, 'once') FROM policy_maintain();
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL', 'nor does it call that a decision');
SELECT is((policy_cancel(:other)).state, 'cancelled', 'the other is cancelled');

-- What was approved is bounded by the same time.
SELECT submit('{"topic": "ask"}') AS job \gset
SELECT asked(:job, 'ask') AS approval \gset
SELECT is(approve(r, :approval), s, r || ' approves') FROM (VALUES ('policy_test_one', 'pending'), ('policy_test_two', 'approved')) v(r, s);
SELECT lapse(:approval) \g /dev/null
SELECT is(claim(9), '{}', 'an approval past its time admits no claim');
SELECT is(state(:job), 'awaiting_approval', 'the job waits again');
SELECT is(approvals(:job), 'ask:expired ask:pending', 'for a new approval');
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL vote:ALLOW claim:REQUIRE_APPROVAL', 'and the claim''s decision is recorded');
SELECT is(approve('policy_test_one', :approval), 'PE010', 'the old one, repeated, is worth nothing');

SELECT asked(:job, 'ask') AS approval \gset
SELECT is(approve(r, :approval), s, r || ' approves') FROM (VALUES ('policy_test_one', 'pending'), ('policy_test_two', 'approved')) v(r, s);
SELECT lapse(:approval) \g /dev/null
SELECT is(reject('policy_test_three', :approval), 'expired', 'rejecting what was approved and is past its time finds it expired');
SELECT isnt(state(:job), 'ready', 'and the job is not ready any more');
SELECT is(claim(9), '{}', 'nor claimed');
SELECT is((policy_cancel(:job)).state, 'cancelled', 'it is cancelled');

--
-- An approval is of one hash.
--
SELECT release_ask('{immaterial: ["$.payload.trace", "$.payload.items[*].note"]}') \g /dev/null
SELECT submit('{"topic": "ask", "payload": {"sum": 1, "trace": "x", "items": [{"note": "n"}]}}') AS job \gset
SELECT asked(:job, 'ask') AS approval \gset
UPDATE policy.jobs SET payload = '{"sum": 1, "trace": "y", "items": [{"note": "o"}]}' WHERE job_id = :job;
SELECT is(approvals(:job), 'ask:pending', 'a change of immaterial paths alone asks for nothing new');
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL update:REQUIRE_APPROVAL', 'though it is decided, and recorded');
SELECT is(approve('policy_test_one', :approval), 'approved', 'what was asked can be approved');
UPDATE policy.jobs SET payload = '{"sum": 1, "items": [{}]}' WHERE job_id = :job;
SELECT is(approvals(:job) || ' ' || state(:job), 'ask:approved ready', 'and stands after another such change');
UPDATE policy.jobs SET payload = payload WHERE job_id = :job;
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL update:REQUIRE_APPROVAL vote:ALLOW update:ALLOW', 'an update that changes nothing is no decision');
SELECT is(claim(9), ARRAY[:job]::bigint[], 'and admits the claim');
SELECT is(complete(:job), 'succeeded', 'of a job that is done');

SELECT submit('{"topic": "ask", "payload": {"sum": 1}}') AS job \gset
SELECT asked(:job, 'ask') AS approval \gset
SELECT is(approve('policy_test_one', :approval), 'approved', 'a sum of 1 is approved');
UPDATE policy.jobs SET payload = '{"sum": 1000000}' WHERE job_id = :job;
SELECT is(state(:job), 'awaiting_approval', 'a job whose payload was changed then waits again');
SELECT is(approvals(:job), 'ask:superseded ask:pending', 'and what was approved is superseded');
SELECT ok(is_linked(:approval), 'by the decision that the job has now');
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL vote:ALLOW update:REQUIRE_APPROVAL', 'which is recorded as an update''s');
SELECT isnt(b.job_hash, a.job_hash, 'the new approval is of another hash')
	FROM policy.approvals a, policy.approvals b WHERE a.approval_id = :approval AND b.approval_id = asked(:job, 'ask');
SELECT is(claim(9), '{}', 'it cannot be claimed');
SELECT is(approve('policy_test_one', :approval), 'PE010', 'repeating the vote on the old approval is refused');
UPDATE policy.jobs SET payload = '{"sum": 1}' WHERE job_id = :job;
SELECT is(approvals(:job), 'ask:superseded ask:superseded ask:pending', 'changing it back brings no approval back');
SELECT is(state(:job), 'awaiting_approval', 'and the job waits');
SELECT is(claim(9), '{}', 'still');
SELECT is(approve('policy_test_one', asked(:job, 'ask')), 'approved', 'until it is approved anew');
UPDATE policy.jobs SET labels = '{"x": "y"}' WHERE job_id = :job;
SELECT is(state(:job), 'awaiting_approval', 'a change of any other column asks again, too');
UPDATE policy.jobs SET extra = '{"x": "y"}' WHERE job_id = :job;
SELECT is(approvals(:job), 'ask:superseded ask:superseded ask:superseded ask:superseded ask:pending', 'extra keys included');
UPDATE policy.jobs SET topic = 'free' WHERE job_id = :job;
SELECT is(state(:job), 'ready', 'a job that no rule asks about any more is ready');
SELECT is(status(asked(:job, 'ask')), 'superseded', 'and nobody is asked');
UPDATE policy.jobs SET topic = 'ask' WHERE job_id = :job;
SELECT is(status(asked(:job, 'ask')) || ' ' || state(:job), 'pending awaiting_approval', 'until one does again');
UPDATE policy.jobs SET topic = '' WHERE job_id = :job;
SELECT is(status(asked(:job, 'ask')) || ' ' || state(:job), 'superseded denied', 'a change that is denied closes it');

-- What slips past the guard meets the claim.
SELECT submit('{"topic": "ask", "payload": {"sum": 1}}') AS job \gset
SELECT asked(:job, 'ask') AS approval \gset
SELECT is(approve('policy_test_one', :approval), 'approved', 'a sum of 1 is approved');
SET LOCAL session_replication_role = replica;
UPDATE policy.jobs SET payload = '{"sum": 1000000}' WHERE job_id = :job;
SET LOCAL session_replication_role = origin;
SELECT is(state(:job), 'ready', 'a payload that was swapped behind the guard');
SELECT is(claim(9), '{}', 'is not claimed');
SELECT is(state(:job) || ' ' || approvals(:job), 'awaiting_approval ask:superseded ask:pending', 'but asked about');
SELECT is((policy_cancel(:job)).state, 'cancelled', 'the job is cancelled');

--
-- Consumed by a claim, for that job's attempts alone
--
SELECT submit('{"topic": "ask"}') AS job \gset
SELECT asked(:job, 'ask') AS approval \gset
SELECT is(approve('policy_test_one', :approval), 'approved', 'a job is approved');
SELECT resolved_at AS resolved FROM policy.approvals WHERE approval_id = :approval \gset
SAVEPOINT before_claim;
SELECT is(claim(), ARRAY[:job]::bigint[], 'and claimed');
SELECT is((status, attempts, resolved_at = :'resolved', superseded_by)::text, ('consumed', 1, true, NULL::bigint)::text,
	'the claim consumes its approval for the first attempt') FROM policy.approvals WHERE approval_id = :approval;
ROLLBACK TO before_claim;
SELECT is((status, attempts)::text, ('approved', 0)::text, 'a claim that is rolled back consumes nothing') FROM policy.approvals WHERE approval_id = :approval;
SELECT is(claim(), ARRAY[:job]::bigint[], 'it is claimed again');
SELECT is(fail(:job), 'ready', 'an attempt fails');
SELECT is(approvals(:job), 'ask:consumed', 'its approval stays consumed');
SELECT is(reject('policy_test_two', :approval), 'PE010', 'and is not to be rejected');
SELECT is(claim(), ARRAY[:job]::bigint[], 'the retry of the same job needs no other');
SELECT is((status, attempts)::text, ('consumed', 2)::text, 'and is counted') FROM policy.approvals WHERE approval_id = :approval;
SELECT is(fail(:job), 'failed', 'there are no more attempts than 1 + max_retries');
SELECT is(claim(9), '{}', 'and none after its end');
SELECT is(history(:job), 'submit:REQUIRE_APPROVAL vote:ALLOW', 'claims that change nothing record nothing');

-- A retry of another job, or too late, is asked about.
SELECT submit('{"topic": "ask", "payload": {"sum": 1}}') AS job \gset
SELECT is(approve('policy_test_one', asked(:job, 'ask')), 'approved', 'a job is approved');
SELECT is(claim(), ARRAY[:job]::bigint[], 'claimed');
SELECT is(fail(:job), 'ready', 'and fails');
UPDATE policy.jobs SET payload = '{"sum": 1000000}' WHERE job_id = :job;
SELECT is(approvals(:job), 'ask:consumed ask:pending', 'changed before its retry it is asked about');
SELECT is(state(:job), 'awaiting_approval', 'and waits');
UPDATE policy.jobs SET payload = '{"sum": 1}' WHERE job_id = :job;
SELECT isnt(claim(9), '{}'::bigint[], 'changed back, the consumed approval is of its hash, and has an attempt left');
SELECT is(approvals(:job), 'ask:consumed ask:superseded', 'so that nobody need be asked');
SELECT is(fail(:job), 'failed', 'for one more attempt');

SELECT submit('{"topic": "ask"}') AS job \gset
SELECT is(approve('policy_test_one', asked(:job, 'ask')), 'approved', 'a job is approved');
SELECT is(claim(), ARRAY[:job]::bigint[], 'claimed');
SELECT is(fail(:job), 'ready', 'and fails');
SELECT lapse(asked(:job, 'ask')) \g /dev/null
SELECT is(claim(9), '{}', 'a consumed approval past its time admits no retry');
SELECT is(state(:job) || ' ' || approvals(:job), 'awaiting_approval ask:consumed ask:pending', 'but a new one is asked for');
SELECT is(approve('policy_test_one', asked(:job, 'ask')), 'approved', 'and given');
SELECT is(claim(9), ARRAY[:job]::bigint[], 'for the retry');
SELECT is((SELECT string_agg(attempts::text, ' ' ORDER BY approval_id) FROM policy.approvals WHERE job_key = :'job'), '1 1', 'each has admitted one attempt');
SELECT is(fail(:job), 'failed', 'the job''s attempts are counted over both');

-- Attempts are the approval's to count, whatever the job's row says.
SELECT submit('{"topic": "ask"}') AS job \gset
SELECT is(approve('policy_test_one', asked(:job, 'ask')), 'approved', 'a job is approved');
SELECT is(claim(), ARRAY[:job]::bigint[], 'claimed');
SELECT is(fail(:job), 'ready', 'and fails');
SET LOCAL session_replication_role = replica;
UPDATE policy.jobs SET attempts = 0 WHERE job_id = :job;
SET LOCAL session_replication_role = origin;
SELECT is(claim(), ARRAY[:job]::bigint[], 'where its attempts were set back behind the guard it has its second');
SELECT is(fail(:job), 'ready', 'which its row takes for the first');
SELECT is(claim(), '{}', 'but the approval has admitted all that it may');
SELECT is(state(:job) || ' ' || approvals(:job), 'awaiting_approval ask:consumed ask:pending', 'and another is asked for');
SELECT is((policy_cancel(:job)).state, 'cancelled', 'the job is cancelled');

-- Nothing that comes back under the same key starts again.
SELECT submit('{"topic": "ask"}') AS job \gset
SELECT is(approve('policy_test_one', asked(:job, 'ask')), 'approved', 'a job is approved');
SELECT is(claim(), ARRAY[:job]::bigint[], 'and claimed');
SELECT is(fail(:job), 'ready', 'once');
SELECT is(claim(), ARRAY[:job]::bigint[], 'and');
SELECT is(fail(:job), 'failed', 'twice');
CREATE TEMP TABLE ended AS SELECT * FROM policy.jobs WHERE job_id = :job;
DELETE FROM policy.jobs WHERE job_id = :job;
UPDATE ended SET state = 'ready', attempts = 0, claim_token = NULL, deadline = NULL, finished_at = NULL;
INSERT INTO policy.jobs SELECT * FROM ended;
SELECT is(state(:job), 'ready', 'its row is inserted again, ready, as if nothing had been');
SELECT is(claim(9), '{}', 'its approval has no attempts left');
SELECT is(state(:job) || ' ' || approvals(:job), 'awaiting_approval ask:consumed ask:pending', 'so it is asked about');
DELETE FROM policy.jobs WHERE job_id = :job;
SELECT is(approvals(:job), 'ask:consumed ask:superseded', 'and when a job is deleted nobody is asked any more');
TRUNCATE ended;
SELECT submit('{"topic": "ask"}') AS job \gset
SELECT is(approve('policy_test_one', asked(:job, 'ask')), 'approved', 'another job is approved');
SELECT is(claim(), ARRAY[:job]::bigint[], 'claimed');
SELECT is(complete(:job), 'succeeded', 'and done, with an attempt left');
INSERT INTO ended SELECT * FROM policy.jobs WHERE job_id = :job;
DELETE FROM policy.jobs WHERE job_id = :job;
UPDATE ended SET state = 'ready', claim_token = NULL, deadline = NULL, finished_at = NULL;
INSERT INTO policy.jobs SELECT * FROM ended;
SELECT is(claim(9), '{}', 'what has ended admits no attempt any more, left or not');
SELECT is(state(:job), 'awaiting_approval', 'so it is asked about, too');
SELECT is((policy_cancel(:job)).state, 'cancelled', 'and given up');

--
-- What a release does to what waits
--
CREATE TABLE changes (what text, approval text);
INSERT INTO changes VALUES ('the approvers', '{approvers: [policy_test_council]}'), ('fewer approvers', '{}'),
	('min_approvals', '{approvers: [policy_test_board], min_approvals: 2}'), ('allow_self', '{approvers: [policy_test_board], allow_self: true}'),
	('immaterial', '{approvers: [policy_test_board], immaterial: ["$.payload.a"]}');
CREATE FUNCTION superseded_by_change(what text, changed text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	held bigint;
	approved bigint;
	walked bigint;
	job_ids bigint[];
BEGIN
	PERFORM release_ask('{approvers: [policy_test_board]}');
	held := submit('{"topic": "ask"}');
	approved := submit('{"topic": "ask"}');
	walked := submit('{"topic": "ask"}');
	RETURN NEXT is(approve('policy_test_one', asked(approved, 'ask')), 'approved', what || ': one is approved');
	PERFORM release_ask(changed);
	RETURN NEXT is(status(asked(held, 'ask')) || ' ' || status(asked(walked, 'ask')) || ' ' || state(approved), 'pending pending ready',
		what || ': a release alone moves nothing');
	RETURN NEXT is(approve('policy_test_two', asked(held, 'ask')), 'superseded', what || ': changed, a vote finds it superseded');
	RETURN NEXT is(approvals(held), 'ask:superseded ask:pending', what || ': and the rule asks anew');
	RETURN NEXT ok(is_linked((SELECT min(approval_id) FROM policy.approvals WHERE job_key = held::text)),
		what || ': what is superseded is linked to its new decision');
	RETURN NEXT is(history(held), 'submit:REQUIRE_APPROVAL vote:REQUIRE_APPROVAL', what || ': which the vote has recorded');
	RETURN NEXT is((SELECT count(*) FROM policy.approval_votes v JOIN policy.approvals a USING (approval_id) WHERE a.job_key = held::text),
		0::bigint, what || ': though it is no vote');
	RETURN NEXT is(state(held), 'awaiting_approval', what || ': the job waits on');
	RETURN NEXT is(claim(9), '{}', what || ': what was approved before admits no claim');
	RETURN NEXT is(state(approved) || ' ' || approvals(approved), 'awaiting_approval ask:superseded ask:pending', what || ': it is asked about anew');
	RETURN NEXT ok(is_linked((SELECT min(approval_id) FROM policy.approvals WHERE job_key = approved::text)), what || ': linked as well');
	RETURN NEXT is((SELECT redecided FROM policy_maintain()), 1, what || ': policy_maintain decides what is left');
	RETURN NEXT is(approvals(walked) || ' ' || history(walked), 'ask:superseded ask:pending submit:REQUIRE_APPROVAL maintain:REQUIRE_APPROVAL',
		what || ': in the same way');
	RETURN NEXT is((SELECT redecided FROM policy_maintain()), 0, what || ': and once');
	PERFORM policy_cancel(j) FROM unnest(ARRAY[held, approved, walked]) j;
END
$$;
SELECT superseded_by_change(what, approval) FROM changes;

-- Nothing of that where what people were asked is the same.
SELECT release_ask('{approvers: [policy_test_board]}') \g /dev/null
SELECT submit('{"topic": "ask"}') AS held \gset
SELECT submit('{"topic": "ask"}') AS approved \gset
SELECT is(approve('policy_test_one', asked(:approved, 'ask')), 'approved', 'one is approved');
SELECT release('
defaults: {decision: allow, constraints: {max_retries: 3}}
rules:
  - {id: new, match: {topics: [other]}, decision: deny}
  - id: ask
    description: other words
    owner: others
    match: {topics: ["as?"], labels: {x: {none: [y]}}}
    decision: require_approval
    reason: other words
    constraints: {max_runtime_sec: 5}
    approval: {approvers: [policy_test_board], expires_in_sec: 7, min_approvals: 1, allow_self: false, immaterial: []}
') \g /dev/null
SELECT is(redecided, 1, 'a rule that asks the same in other words, with other constraints, is decided again') FROM policy_maintain();
SELECT is(approvals(:held) || ' ' || state(:held), 'ask:pending awaiting_approval', 'but what was asked stands');
SELECT is(approve('policy_test_two', asked(:held, 'ask')), 'approved', 'and a vote counts');
SELECT is(state(:held), 'ready', 'for its job');
SELECT is(claim(9), ARRAY[:held, :approved]::bigint[], 'as does what was approved before');
SELECT is((SELECT array_agg(constraints) FROM policy.jobs WHERE job_id IN (:held, :approved)),
	ARRAY['{"max_retries": 1, "max_runtime_sec": 5}', '{"max_retries": 1, "max_runtime_sec": 5}']::jsonb[],
	'which starts with what the newest release and the approved decision both bound it by');
SELECT is((SELECT array_agg(state(j)) FROM unnest(ARRAY[:held, :approved]) j WHERE complete(j) = 'succeeded'), '{succeeded,succeeded}', 'both succeed');

-- A reason alone is no change at all.
SELECT release_ask('{}', 'one reason') \g /dev/null
SELECT submit('{"topic": "ask"}') AS held \gset
SELECT release_ask('{}', 'another reason') \g /dev/null
SELECT is(redecided, 0, 'where the reason alone changed nothing is recorded') FROM policy_maintain();
SELECT is(history(:held) || ' ' || approvals(:held), 'submit:REQUIRE_APPROVAL ask:pending', 'and nothing superseded');
SELECT is(approve('policy_test_one', asked(:held, 'ask')), 'approved', 'it can be approved');
SELECT is(claim(9), ARRAY[:held]::bigint[], 'and its job claimed');
SELECT is(complete(:held), 'succeeded', 'and completed');

-- A change that is taken back before anybody has looked is none.
SELECT release_ask('{min_approvals: 1}') AS back \gset
SELECT submit('{"topic": "ask"}') AS held \gset
SELECT release_ask('{min_approvals: 2}') \g /dev/null
SELECT policy_rollback(:'back', 'never mind') \g /dev/null
SELECT is(approve('policy_test_one', asked(:held, 'ask')), 'approved', 'after a rollback what was asked before stands');
SELECT is(complete(:held), 'succeeded', 'its job runs') WHERE claim(9) = ARRAY[:held]::bigint[];

-- The rule asks no more.
SELECT clear() \g /dev/null
SELECT release_ask('{}') AS asks \gset
SELECT array_agg(submit('{"topic": "ask"}')) AS jobs FROM generate_series(1, 3) \gset
SELECT is(approve('policy_test_one', asked((:'jobs'::bigint[])[3], 'ask')), 'approved', 'one of three is approved');
SELECT release(E'defaults: {decision: allow}\nrules: []') \g /dev/null
SELECT is(approve('policy_test_two', asked((:'jobs'::bigint[])[1], 'ask')), 'superseded', 'where nobody asks any more, a vote finds it superseded');
SELECT is(state((:'jobs'::bigint[])[1]), 'ready', 'and its job is ready');
SELECT is(history((:'jobs'::bigint[])[1]), 'submit:REQUIRE_APPROVAL vote:ALLOW', 'by a decision that the vote has recorded');
SELECT policy_rollback(:'asks', 'back') \g /dev/null
SELECT is(claim(9), ARRAY[(:'jobs'::bigint[])[3]], 'a claim asks again about what a rule asks about again');
SELECT is(state((:'jobs'::bigint[])[1]), 'awaiting_approval', 'who was ready without approval waits');
SELECT is(approvals((:'jobs'::bigint[])[1]), 'ask:superseded ask:pending', 'for a new one');
SELECT release(E'defaults: {decision: allow}\nrules: [{id: ask, match: {topics: [ask]}, decision: deny}]') \g /dev/null
SELECT is(approve('policy_test_two', asked((:'jobs'::bigint[])[1], 'ask')), 'superseded', 'where the rule denies now, too');
SELECT is(state((:'jobs'::bigint[])[1]), 'denied', 'and the job is denied');
SELECT is(redecided, 1, 'policy_maintain finds the other') FROM policy_maintain();
SELECT is(state((:'jobs'::bigint[])[2]) || ' ' || approvals((:'jobs'::bigint[])[2]), 'denied ask:superseded', 'and denies it');
SELECT ok(is_linked(asked((:'jobs'::bigint[])[2], 'ask')), 'with the decision that says so');
SELECT is(complete((:'jobs'::bigint[])[3]), 'succeeded', 'what runs is left to run');

--
-- The end of a job is the end of what was asked about it.
--
SELECT release('
defaults: {decision: allow, constraints: {}}
rules:
  - {id: one, match: {topics: [both]}, decision: require_approval}
  - {id: two, match: {topics: [both]}, decision: require_approval}
') \g /dev/null
CREATE FUNCTION closing(what text, ending text, job_state text, statuses text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	job bigint := submit('{"topic": "both"}');
BEGIN
	RETURN NEXT is(approve('policy_test_one', asked(job, 'one')), 'approved', what || ': one is approved, the other pending');
	EXECUTE replace(replace(ending, 'JOB', job::text), 'TWO', asked(job, 'two')::text);
	RETURN NEXT is(state(job), job_state, what || ': the job is ' || job_state);
	RETURN NEXT is(approvals(job), statuses, what || ': and its approvals closed');
	RETURN NEXT is((SELECT superseded_by FROM policy.approvals WHERE approval_id = asked(job, 'one')), NULL, what || ': by no decision');
	RETURN NEXT ok((SELECT resolved_at BETWEEN now() AND clock_timestamp() FROM policy.approvals WHERE approval_id = asked(job, 'two')), what || ': with the time');
	RETURN NEXT is(approve('policy_test_two', asked(job, 'two')) || reject('policy_test_two', asked(job, 'one')), 'PE010PE010', what || ': nobody can vote any more');
END
$$;
SELECT closing('policy_cancel', 'SELECT policy_cancel(JOB, ''note'')', 'cancelled', 'one:superseded two:superseded');
SELECT closing('rejection', 'SELECT reject(''policy_test_two'', TWO)', 'rejected', 'one:superseded two:rejected');
SELECT closing('expiry', 'SELECT lapse(TWO); SELECT approve(''policy_test_two'', TWO)', 'expired', 'one:superseded two:expired');
SELECT closing('expiry found by policy_maintain', 'SELECT lapse(TWO); SELECT policy_maintain()', 'expired', 'one:superseded two:expired');

-- A rejected job that is decided again is asked about anew: no approval of before counts.
SELECT submit('{"topic": "both"}') AS job \gset
SELECT is(approve('policy_test_one', asked(:job, 'one')), 'approved', 'one of two is approved');
SELECT is(reject('policy_test_one', asked(:job, 'two')), 'rejected', 'the other is rejected');
SELECT is((SELECT r.state FROM policy_redecide(jsonb_build_object('job_id', :job), 'again') r), 'awaiting_approval', 'the job is decided again');
SELECT is(approvals(:job), 'one:superseded two:rejected one:pending two:pending', 'both are asked again');
SELECT is((policy_cancel(:job)).state, 'cancelled', 'and given up');

-- The trigger moves the job, whoever writes the table.
SELECT submit('{"topic": "both"}') AS job \gset
UPDATE policy.approvals SET status = 'approved' WHERE job_key = :'job' AND rule = 'one';
SELECT is(state(:job), 'awaiting_approval', 'a row of policy.approvals that is made approved moves nothing while another is pending');
UPDATE policy.approvals SET status = 'approved' WHERE job_key = :'job' AND rule = 'two';
SELECT is(state(:job), 'ready', 'and the job where it was the last');
UPDATE policy.approvals SET status = 'rejected' WHERE job_key = :'job' AND rule = 'two';
SELECT is(state(:job), 'rejected', 'one that is made rejected rejects it');
SELECT submit('{"topic": "both"}') AS job \gset
UPDATE policy.approvals SET status = 'expired' WHERE job_key = :'job' AND rule = 'two';
SELECT is(state(:job), 'expired', 'one that is made expired expires it');
SELECT throws_ok(format('INSERT INTO policy.approvals SELECT a.approval_id + 1000000, a.decision_id, a.decided_at, a.job_table, a.job_key, a.job_hash, a.immaterial, a.snapshot, a.rule,
		''pending'', 1, ''{}'', false, 0, NULL, NULL, ''x'', now(), now(), NULL, NULL FROM policy.approvals a WHERE a.approval_id = %s
	', asked(submit('{"topic": "both"}'), 'one')), '23505', NULL, 'a job has one open approval for each rule that asks');
SELECT throws_ok('UPDATE policy.approvals SET status = ''maybe''', '23514', NULL, 'a status is one of six');
UPDATE policy.approvals SET status = 'rejected' WHERE status = 'pending';

--
-- The queue
--
SELECT is((p.provolatile, p.prosecdef)::text, ('s', true)::text, 'policy_approvals is STABLE') FROM pg_proc p WHERE p.oid = 'policy_approvals(boolean)'::regprocedure;
SELECT is((SELECT count(*) FROM policy_approvals()), 0::bigint, 'nothing is pending');
SELECT release('
defaults: {decision: allow, constraints: {}}
evidence: {mask: ["$.payload.secret"]}
rules:
  - {id: kept, match: {topics: [kept]}, decision: require_approval, reason: as it is, approval: {min_approvals: 2}}
  - {id: gone, match: {topics: [gone]}, decision: require_approval}
  - {id: denied, match: {topics: [denied]}, decision: require_approval}
  - {id: changed, match: {topics: [changed]}, decision: require_approval}
') AS before \gset
SELECT submit('{"topic": "kept", "tenant_id": "Acme", "actor_id": "Bot", "payload": {"secret": "x", "open": 1}}') AS kept \gset
SELECT submit('{"topic": "gone"}') AS gone \gset
SELECT submit('{"topic": "denied"}') AS denied \gset
SELECT submit('{"topic": "changed"}') AS changed \gset
SELECT submit('{"topic": "kept"}') AS late \gset
SELECT is(approve('policy_test_one', asked(:kept, 'kept')), 'pending', 'one vote is there');
SELECT lapse(asked(:late, 'kept')) \g /dev/null
SELECT is(to_jsonb(q) - '{requested_at,expires_at}'::text[], jsonb_build_object('approval_id', asked(:kept, 'kept'), 'status', 'pending', 'would_be', 'pending',
		'would_decide', 'REQUIRE_APPROVAL', 'would_reason', 'as it is', 'job_table', 'policy.jobs', 'job_key', :'kept'::text, 'tenant_id', 'acme', 'actor_id', 'bot',
		'topic', 'kept', 'job', '{"topic": "kept", "payload": {"open": 1, "secret": "***"}, "tenant_id": "Acme", "actor_id": "Bot"}'::jsonb, 'rule', 'kept', 'reason', 'as it is',
		'snapshot', :'before'::text, 'required', 2, 'votes', 1, 'approvers', '{}'::text[], 'allow_self', false, 'requested_by', 'policy_test_asker',
		'resolved_at', NULL, 'superseded_by', NULL), 'policy_approvals shows the job, as evidence does, and what is asked') FROM policy_approvals() q WHERE q.job_key = :'kept';
SELECT is((SELECT string_agg(q.job_key || ':' || q.would_be, ' ' ORDER BY n) FROM policy_approvals() WITH ORDINALITY q(
		approval_id, status, would_be, would_decide, would_reason, job_table, job_key, tenant_id, actor_id, topic, job, rule, reason, snapshot,
		required, votes, approvers, allow_self, requested_by, requested_at, expires_at, resolved_at, superseded_by, n)),
	format('%s:pending %s:pending %s:pending %s:pending %s:expired', :kept, :gone, :denied, :changed, :late), 'oldest first; what is past its time would be expired');
SELECT release('
defaults: {decision: allow, constraints: {}}
rules:
  - {id: kept, match: {topics: [kept]}, decision: require_approval, reason: in other words, approval: {min_approvals: 2}}
  - {id: denied, match: {topics: [denied]}, decision: deny, reason: no more}
  - {id: changed, match: {topics: [changed]}, decision: require_approval, reason: ask two, approval: {min_approvals: 2}}
') \g /dev/null
CREATE TEMP VIEW everything AS
	SELECT 'jobs' AS of, j.ctid::text AS place, j.xmin::text AS version, to_jsonb(j) AS content FROM policy.jobs j
	UNION ALL SELECT 'approvals', a.ctid::text, a.xmin::text, to_jsonb(a) FROM policy.approvals a
	UNION ALL SELECT 'votes', v.ctid::text, v.xmin::text, to_jsonb(v) FROM policy.approval_votes v
	UNION ALL SELECT 'decisions', d.ctid::text, d.xmin::text, to_jsonb(d) FROM policy.decisions d;
CREATE TEMP TABLE was AS SELECT * FROM everything;
SELECT last_value AS last_decision FROM policy.decision_id_seq \gset
SAVEPOINT read_only;
SET LOCAL transaction_read_only = on;
SELECT string_agg(format('%s:%s:%s:%s', q.topic, q.would_be, q.would_decide, q.would_reason), ', ' ORDER BY q.approval_id) AS outlook FROM policy_approvals() q \gset
SELECT count(*) AS shown FROM policy_approvals(true) \gset
ROLLBACK TO read_only;
SELECT is(:'outlook'::text, 'kept:pending:REQUIRE_APPROVAL:in other words, gone:superseded:ALLOW:no rule matched, denied:superseded:DENY:no more, '
	'changed:superseded:REQUIRE_APPROVAL:ask two, kept:expired:REQUIRE_APPROVAL:in other words',
	'after a release it shows what deciding again would give, in a read-only transaction, too');
SELECT is(:shown::bigint, (SELECT count(*) FROM policy.approvals), 'with include_resolved it has them all');
SELECT is((SELECT count(*) FROM policy_approvals(true) q WHERE q.status NOT IN ('pending', 'approved')
		AND (q.would_be IS NOT NULL OR q.would_decide IS NOT NULL OR q.would_reason IS NOT NULL)), 0::bigint, 'and nothing would become of what is resolved');
SELECT is((SELECT array_agg(DISTINCT q.status ORDER BY q.status) FROM policy_approvals(true) q),
	'{consumed,expired,pending,rejected,superseded}', 'whatever became of it');
SELECT is((SELECT count(*) FROM policy_approvals(NULL)), (SELECT count(*) FROM policy_approvals()), 'NULL includes nothing more');
SELECT bag_eq('SELECT * FROM everything', 'SELECT * FROM was', 'it writes nothing');
SELECT is(last_value, :last_decision::bigint, 'and takes no id') FROM policy.decision_id_seq;

-- What it shows is what a vote finds then.
SELECT is((SELECT string_agg(approve('policy_test_two', q.approval_id), ' ' ORDER BY q.approval_id) FROM policy_approvals() q),
	'approved superseded superseded superseded expired', 'the next votes find what it has shown');
SELECT is((SELECT string_agg(state(j), ' ') FROM unnest(ARRAY[:kept, :gone, :denied, :changed, :late]) j), 'ready ready denied awaiting_approval expired', 'and move the jobs there');
SELECT is((SELECT string_agg(format('%s:%s', q.topic, q.would_be), ', ' ORDER BY q.approval_id) FROM policy_approvals() q), 'changed:pending', 'the queue has what is asked anew');

-- What is masked in evidence is shown to nobody, and bound all the same.
SELECT policy_rollback(:'before', 'masks') \g /dev/null
SELECT submit('{"topic": "gone", "payload": {"secret": "x"}}') AS job \gset
SELECT is(approve('policy_test_one', asked(:job, 'gone')), 'approved', 'a job with a masked value is approved');
UPDATE policy.jobs SET payload = '{"secret": "y"}' WHERE job_id = :job;
SELECT is(state(:job), 'awaiting_approval', 'and asked about when that changes');
SELECT is((SELECT array_agg(DISTINCT q.job -> 'payload') FROM policy_approvals(true) q WHERE q.job_key = :'job'), ARRAY['{"secret": "***"}'::jsonb], 'though nobody is shown it');

-- A default that asks for nothing
SELECT policy_stage('allowing', $$
version: v1
defaults: {decision: allow}
rules:
  - {id: unknown, match: {when: "$.payload.amount > 10"}, decision: require_approval}
$$, NULL) \g /dev/null
SELECT policy_publish('allowing', NULL) \g /dev/null
SELECT submit('{"topic": "unknown", "payload": {}}') AS job \gset
SELECT is(approvals(:job), 'unknown:pending', 'where only the unknown made rules apply, a default that allows asks for nothing');
SELECT is(approve('policy_test_one', asked(:job, 'unknown')), 'approved', 'the rule''s approval is all that it waits for');
SELECT is(state(:job), 'ready', 'and then it is ready');

SELECT * FROM finish();
ROLLBACK;
