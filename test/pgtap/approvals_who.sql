\ir common.psql
SELECT plan(111);
GRANT USAGE ON SCHEMA helper TO PUBLIC;

-- What a statement gives, run as another login, which may set a role: its first
-- column, or the SQLSTATE that it raises.
CREATE FUNCTION as_login(login text, role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('session_authorization', login, true);
	IF role IS NOT NULL THEN
		PERFORM set_config('role', role, true);
	END IF;
	EXECUTE statement INTO result;
	PERFORM set_config('role', 'none', true);
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
CREATE FUNCTION approve(login text, role text, approval bigint) RETURNS text LANGUAGE sql AS $$
	SELECT as_login(login, role, format('SELECT (policy_approve(%L)).status', approval))
$$;
CREATE FUNCTION reject(login text, role text, approval bigint) RETURNS text LANGUAGE sql AS $$
	SELECT as_login(login, role, format('SELECT (policy_reject(%L)).status', approval))
$$;
-- Submits a job, and gives its approval.
CREATE FUNCTION ask(login text, role text, topic text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	job text := as_login(login, role, format('SELECT (policy_submit(%L)).job_id', jsonb_build_object('topic', topic)));
BEGIN
	RETURN a.approval_id FROM policy.approvals a WHERE a.job_key = job;
END
$$;
CREATE FUNCTION asker(approval bigint) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s via %s', a.requested_by, coalesce(a.requested_via, 'nothing')) FROM policy.approvals a WHERE a.approval_id = approval
$$;
CREATE FUNCTION status(approval bigint) RETURNS text LANGUAGE sql AS $$
	SELECT a.status FROM policy.approvals a WHERE a.approval_id = approval
$$;
CREATE FUNCTION voter(approval bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s by %s', v.approver, v.session_role), ', ' ORDER BY v.voted_at) FROM policy.approval_votes v WHERE v.approval_id = approval
$$;

CREATE ROLE policy_test_alice LOGIN;
CREATE ROLE "Policy_Test_Alice" LOGIN;
CREATE ROLE policy_test_bob LOGIN;
CREATE ROLE policy_test_carol LOGIN;
CREATE ROLE policy_test_pool LOGIN NOINHERIT;
CREATE ROLE policy_test_root LOGIN SUPERUSER;
CREATE ROLE policy_test_team;
CREATE ROLE policy_test_staff;
GRANT policy_test_staff TO policy_test_alice, "Policy_Test_Alice", policy_test_bob, policy_test_carol;
-- Who may be whom.
GRANT policy_test_bob TO policy_test_alice;
GRANT policy_test_alice, policy_test_bob, policy_test_carol TO policy_test_pool;
SELECT policy_grant(role, duty) FROM unnest('{policy_test_staff,policy_test_pool}'::text[]) role, unnest('{submit,approve}'::text[]) duty \g /dev/null

-- The roles that the rules ask: direct, through a role that inherits, through one that does not.
CREATE ROLE policy_test_board;
CREATE ROLE policy_test_chair IN ROLE policy_test_board;
CREATE ROLE policy_test_shut NOINHERIT IN ROLE policy_test_board;
CREATE ROLE policy_test_direct LOGIN IN ROLE policy_test_board, policy_test_staff;
CREATE ROLE policy_test_through LOGIN IN ROLE policy_test_chair, policy_test_staff;
CREATE ROLE policy_test_behind LOGIN IN ROLE policy_test_shut, policy_test_staff;
CREATE ROLE policy_test_aside LOGIN NOINHERIT IN ROLE policy_test_board;
SELECT policy_grant(r, 'approve') FROM unnest('{policy_test_aside,policy_test_board}'::text[]) r \g /dev/null

SELECT policy_stage('who', 'version: v1
rules:
  - {id: anybody, match: {topics: [anybody]}, decision: require_approval}
  - {id: self, match: {topics: [self]}, decision: require_approval, approval: {allow_self: true}}
  - {id: two, match: {topics: [two]}, decision: require_approval, approval: {min_approvals: 2}}
  - {id: two-self, match: {topics: [two-self]}, decision: require_approval, approval: {min_approvals: 2, allow_self: true}}
  - {id: board, match: {topics: [board]}, decision: require_approval, approval: {approvers: [policy_test_board]}}
  - {id: either, match: {topics: [either]}, decision: require_approval, approval: {approvers: [policy_test_team, policy_test_board]}}
  - {id: person, match: {topics: [person]}, decision: require_approval, approval: {approvers: [policy_test_bob]}}
  - {id: own, match: {topics: [own]}, decision: require_approval, approval: {approvers: [policy_test_alice], allow_self: true}}
  - {id: by-root, match: {topics: [by-root]}, decision: require_approval, approval: {approvers: [policy_test_root]}}
', NULL) \g /dev/null
SELECT policy_publish('who', NULL) \g /dev/null

--
-- Nobody approves what they asked for.
--
SELECT ask('policy_test_alice', NULL, 'anybody') AS approval \gset
SELECT is(asker(:approval), 'policy_test_alice via nothing', 'the asker is the login');
SELECT is(approve('policy_test_alice', NULL, :approval), 'PE009', 'who cannot approve');
SELECT is(reject('policy_test_alice', NULL, :approval), 'PE009', 'nor reject');
SELECT is(approve('policy_test_alice', 'policy_test_bob', :approval), 'PE009', 'nor approve after SET ROLE');
SELECT is(approve('policy_test_alice', 'policy_test_alice', :approval), 'PE009', 'nor after SET ROLE to itself');
SELECT is(voter(:approval), NULL, 'none of which is a vote');
SELECT is(status(:approval), 'pending', 'nor changes anything');
SELECT is(approve('policy_test_bob', NULL, :approval), 'approved', 'somebody else can');
SELECT is(voter(:approval), 'policy_test_bob by policy_test_bob', 'and is recorded');

-- Another spelling, of what the job says of itself or of the name
SELECT as_login('policy_test_alice', NULL, $$INSERT INTO policy.jobs (topic, actor_id, submitted_by, submitted_via, extra)
	VALUES ('anybody', 'policy_test_bob', 'policy_test_bob', 'policy_test_carol', '{"submitted_by": "policy_test_bob", "requested_by": "policy_test_bob"}') RETURNING job_id$$) AS job \gset
SELECT approval_id AS approval FROM policy.approvals WHERE job_key = :'job' \gset
SELECT is(asker(:approval), 'policy_test_alice via nothing', 'the asker is the login, whatever it writes where the engine does');
SELECT is(approve('policy_test_alice', NULL, :approval), 'PE009', 'and cannot approve');
SELECT is(approve('policy_test_carol', NULL, :approval), 'approved', 'whom it has named can');
SELECT ask('policy_test_alice', NULL, 'anybody') AS approval \gset
SET SESSION AUTHORIZATION POLICY_TEST_ALICE;
SET LOCAL search_path = helper, public;
SELECT is(sqlstate_of(format('SELECT policy_approve(%s)', :approval)), 'PE009', 'a name spelled in other letters is the same login');
SET ROLE "policy_test_bob";
SELECT is(sqlstate_of(format('SELECT policy_approve(%s)', :approval)), 'PE009', 'and in quotes the same role');
RESET ROLE;
RESET SESSION AUTHORIZATION;
SET LOCAL search_path = helper, public;
SELECT is(approve('Policy_Test_Alice', NULL, :approval), 'approved', 'but a login whose name differs in case is another: we cannot tell');

-- With a role set while asking
SELECT ask('policy_test_alice', 'policy_test_bob', 'anybody') AS approval \gset
SELECT is(asker(:approval), 'policy_test_alice via policy_test_bob', 'who asks under SET ROLE is the login still, and the role is known');
SELECT is(approve('policy_test_alice', NULL, :approval), 'PE009', 'the login cannot approve');
SELECT is(approve('policy_test_alice', 'policy_test_bob', :approval), 'PE009', 'under the same role neither');
SELECT is(approve('policy_test_bob', NULL, :approval), 'PE009', 'nor can that role''s own login');
SELECT is(approve('policy_test_carol', NULL, :approval), 'approved', 'somebody else can');

-- Who asked is known without evidence, too, which may be dropped after years.
SELECT ask('policy_test_alice', 'policy_test_bob', 'anybody') AS approval \gset
ALTER TABLE policy.decisions DISABLE TRIGGER refuse_change;
DELETE FROM policy.decisions;
ALTER TABLE policy.decisions ENABLE ALWAYS TRIGGER refuse_change;
SELECT is(approve('policy_test_alice', NULL, :approval), 'PE009', 'the asker of what is not in evidence any more cannot approve');
SELECT is(approve('policy_test_bob', NULL, :approval), 'PE009', 'nor can the role that it had set');
SELECT is(approve('policy_test_carol', NULL, :approval), 'approved', 'somebody else can');

-- A quorum of one person
SELECT ask('policy_test_alice', NULL, 'two') AS approval \gset
SELECT is(approve('policy_test_carol', NULL, :approval), 'pending', 'one approver');
SELECT is(approve('policy_test_carol', 'policy_test_staff', :approval), 'pending', 'is one, whatever role it sets');
SELECT is(voter(:approval), 'policy_test_carol by policy_test_carol', 'and has one vote');
SELECT is(approve('policy_test_bob', NULL, :approval), 'approved', 'another is another');

-- Superusers
SELECT ask('policy_test_root', NULL, 'anybody') AS approval \gset
SELECT is(asker(:approval), 'policy_test_root via nothing', 'a superuser who asks is the asker');
SELECT is(approve('policy_test_root', NULL, :approval), 'PE009', 'and cannot approve');
SELECT is(approve('policy_test_root', 'policy_test_bob', :approval), 'PE009', 'after SET ROLE neither');
SELECT is(approve('policy_test_root', 'postgres', :approval), 'PE009', 'as another superuser neither');
SELECT is(approve('policy_test_bob', NULL, :approval), 'approved', 'somebody else can');
SELECT ask('policy_test_alice', NULL, 'anybody') AS approval \gset
SELECT is(approve('policy_test_root', NULL, :approval), 'approved', 'a superuser who has not asked may approve where anybody may');
SELECT is(voter(:approval), 'policy_test_root by policy_test_root', 'as itself');

--
-- The roles that a rule asks
--
SELECT ask('policy_test_alice', NULL, 'board') AS approval \gset
SELECT is(approve('policy_test_bob', NULL, :approval), 'PE009', 'who holds none of the roles cannot approve');
SELECT is(reject('policy_test_bob', NULL, :approval), 'PE009', 'nor reject');
SELECT is(approve('policy_test_root', NULL, :approval), 'PE009', 'a superuser is no member by being one');
SELECT is(approve('policy_test_root', 'policy_test_board', :approval), 'PE009', 'nor by SET ROLE');
SELECT is(reject('policy_test_root', NULL, :approval), 'PE009', 'nor for a rejection');
SELECT is(approve('policy_test_aside', NULL, :approval), 'PE009', 'a member that does not inherit has no USAGE');
SELECT is(approve('policy_test_aside', 'policy_test_board', :approval), 'PE009', 'and gets none by SET ROLE');
SELECT is(approve('policy_test_behind', NULL, :approval), 'PE009', 'nor who is a member through a role that does not inherit');
SELECT is(voter(:approval), NULL, 'none of which is a vote');
SELECT is(approve('policy_test_through', NULL, :approval), 'approved', 'a member through a role that inherits has it');
SELECT ask('policy_test_alice', NULL, 'board') AS approval \gset
SELECT is(approve('policy_test_direct', NULL, :approval), 'approved', 'and a direct one');
SELECT is(voter(:approval), 'policy_test_direct by policy_test_direct', 'who is recorded by its own name');
SELECT ask('policy_test_alice', NULL, 'either') AS approval \gset
SELECT is(approve('policy_test_direct', NULL, :approval), 'approved', 'one of several roles is enough');
SELECT ask('policy_test_direct', NULL, 'board') AS approval \gset
SELECT is(approve('policy_test_direct', NULL, :approval), 'PE009', 'a member that asks cannot approve');
SELECT is(approve('policy_test_through', NULL, :approval), 'approved', 'but another member');

-- What counts is who is a member at the vote.
SELECT ask('policy_test_alice', NULL, 'board') AS approval \gset
REVOKE policy_test_board FROM policy_test_direct;
SELECT is(approve('policy_test_direct', NULL, :approval), 'PE009', 'who was a member when it was asked, and is not any more, cannot approve');
GRANT policy_test_board TO policy_test_carol;
SELECT is(approve('policy_test_carol', NULL, :approval), 'approved', 'who has become one can');
GRANT policy_test_board TO policy_test_root;
SELECT ask('policy_test_alice', NULL, 'board') AS approval \gset
SELECT is(approve('policy_test_root', NULL, :approval), 'approved', 'a superuser can who was made a member');
REVOKE policy_test_board FROM policy_test_root;

-- A login as approver, and the names of superusers
SELECT ask('policy_test_carol', NULL, 'person') AS approval \gset
SELECT is(approve('policy_test_direct', NULL, :approval), 'PE009', 'a rule that asks one person asks no other');
SELECT is(approve('policy_test_bob', NULL, :approval), 'approved', 'but that one');
SELECT ask('policy_test_carol', NULL, 'person') AS approval \gset
SELECT is(approve('policy_test_alice', NULL, :approval), 'approved', 'and who has USAGE of that one''s role');
SELECT ask('policy_test_carol', NULL, 'by-root') AS approval \gset
SELECT is(approve('policy_test_bob', NULL, :approval), 'PE009', 'a rule that asks a superuser');
SELECT is(approve('postgres', NULL, :approval), 'PE009', 'does not ask another');
SELECT is(approve('policy_test_root', NULL, :approval), 'approved', 'but that one');

-- A role that is gone has no members.
SELECT ask('policy_test_alice', NULL, 'either') AS approval \gset
ALTER ROLE policy_test_board RENAME TO policy_test_other;
SELECT is(approve('policy_test_through', NULL, :approval), 'PE009', 'of a role that is renamed nobody is a member any more');
ALTER ROLE policy_test_other RENAME TO policy_test_board;
SELECT is(approve('policy_test_through', NULL, :approval), 'approved', 'until it is there again');

-- Who may not vote at all learns nothing else.
SELECT is(approve('policy_test_alice', NULL, :approval), 'PE009', 'the asker is told so, though it is not pending any more');
SELECT is(approve('policy_test_behind', NULL, :approval), 'PE009', 'who is no approver, too');

--
-- allow_self
--
SELECT ask('policy_test_alice', NULL, 'self') AS approval \gset
SELECT is(approve('policy_test_alice', NULL, :approval), 'approved', 'with allow_self who asks can approve');
SELECT is(reject('policy_test_alice', NULL, :approval), 'rejected', 'and reject');
SELECT ask('policy_test_alice', NULL, 'two-self') AS approval \gset
SELECT is(approve('policy_test_alice', NULL, :approval), 'pending', 'but only once');
SELECT is(approve('policy_test_alice', 'policy_test_bob', :approval), 'pending', 'whatever role it sets');
SELECT is(approve('policy_test_bob', NULL, :approval), 'approved', 'and needs another where two are required');
SELECT ask('policy_test_alice', NULL, 'own') AS approval \gset
SELECT is(approve('policy_test_bob', NULL, :approval), 'PE009', 'allow_self makes nobody an approver');
SELECT is(approve('policy_test_alice', NULL, :approval), 'approved', 'but leaves one that is');
SELECT ask('policy_test_bob', NULL, 'own') AS approval \gset
SELECT is(approve('policy_test_bob', NULL, :approval), 'PE009', 'nor the asker itself');

--
-- A pooler's login
--
SELECT is(as_login('policy_test_pool', 'policy_test_alice', 'SELECT name || '' '' || via FROM policy.caller()'), '42501', 'who calls is nobody''s to ask');
SELECT ask('policy_test_pool', 'policy_test_alice', 'anybody') AS approval \gset
SELECT is(asker(:approval), 'policy_test_pool via policy_test_alice', 'without the duty proxy a pooler''s login speaks for itself');
SELECT is(approve('policy_test_pool', 'policy_test_bob', :approval), 'PE009', 'and cannot approve as anybody');
SELECT is(approve('policy_test_alice', NULL, :approval), 'PE009', 'nor can who it said it was');
SELECT policy_grant('policy_test_pool', 'proxy') \g /dev/null

SELECT ask('policy_test_pool', 'policy_test_alice', 'anybody') AS approval \gset
SELECT is(asker(:approval), 'policy_test_alice via policy_test_pool', 'with it, it speaks for the role that it has set');
SELECT is(approve('policy_test_pool', 'policy_test_alice', :approval), 'PE009', 'who cannot approve through it');
SELECT is(approve('policy_test_alice', NULL, :approval), 'PE009', 'nor around it');
SELECT is(approve('policy_test_alice', 'policy_test_bob', :approval), 'PE009', 'nor as somebody else');
SELECT is(approve('policy_test_pool', NULL, :approval), 'PE009', 'nor can the pooler''s own login');
SELECT is(approve('policy_test_pool', 'none', :approval), 'PE009', 'whether it has reset its role or had none');
SELECT is(approve('policy_test_pool', 'policy_test_bob', :approval), 'approved', 'somebody else can, through it');
SELECT is(voter(:approval), 'policy_test_bob by policy_test_pool', 'and both names are recorded');

SELECT ask('policy_test_alice', NULL, 'anybody') AS approval \gset
SELECT is(approve('policy_test_pool', 'policy_test_alice', :approval), 'PE009', 'who asked without it cannot approve through it');
SELECT is(approve('policy_test_pool', 'policy_test_bob', :approval), 'approved', 'but somebody else');

SELECT ask('policy_test_alice', NULL, 'two') AS approval \gset
SELECT is(approve('policy_test_bob', NULL, :approval), 'pending', 'who has approved');
SELECT is(approve('policy_test_pool', 'policy_test_bob', :approval), 'pending', 'is the same through a pooler');
SELECT is(approve('policy_test_pool', 'policy_test_carol', :approval), 'approved', 'where another is another');

SELECT ask('policy_test_alice', NULL, 'board') AS approval \gset
SELECT is(approve('policy_test_pool', 'policy_test_bob', :approval), 'PE009', 'membership is that of whom it speaks for');
SELECT is(approve('policy_test_pool', 'policy_test_carol', :approval), 'approved', 'not its own');
SELECT ask('policy_test_alice', NULL, 'person') AS approval \gset
SELECT is(approve('policy_test_pool', NULL, :approval), 'PE009', 'a pooler''s login that may be anybody, and inherits nothing, is nobody');

-- The duty is the login's; that of the role that it sets is worth nothing.
SELECT policy_revoke('policy_test_pool', 'proxy') \g /dev/null
SELECT policy_grant('policy_test_bob', 'proxy') \g /dev/null
SELECT ask('policy_test_pool', 'policy_test_bob', 'anybody') AS approval \gset
SELECT is(asker(:approval), 'policy_test_pool via policy_test_bob', 'a role that is a proxy makes no proxy of who sets it');
SELECT is(approve('policy_test_pool', 'policy_test_carol', :approval), 'PE009', 'by that neither');
SELECT policy_revoke('policy_test_bob', 'proxy') \g /dev/null
SELECT ask('policy_test_root', 'policy_test_bob', 'anybody') AS approval \gset
SELECT is(asker(:approval), 'policy_test_root via policy_test_bob', 'a superuser is no proxy by being one');
SELECT is(approve('policy_test_root', 'policy_test_carol', :approval), 'PE009', 'and approves nothing of its own as another');

-- What changes somebody else's job asks, too.
SELECT policy_grant('policy_test_carol', 'operate') \g /dev/null
SELECT as_login('policy_test_alice', NULL, $$SELECT (policy_submit('{"topic": "anybody", "payload": 1}')).job_id$$) AS job \gset
SELECT is(as_login('policy_test_carol', NULL, format('WITH u AS (UPDATE policy.jobs SET payload = ''2'' WHERE job_id = %s RETURNING 1) SELECT count(*) FROM u', :'job')), '1',
	'an operator may change somebody else''s job');
SELECT max(approval_id) AS approval FROM policy.approvals WHERE job_key = :'job' \gset
SELECT is(status(:approval), 'pending', 'which is asked about');
SELECT is(approve('policy_test_carol', NULL, :approval), 'PE009', 'who has changed it cannot approve that');
SELECT is(approve('policy_test_alice', NULL, :approval), 'PE009', 'nor can who submitted it');
SELECT is(approve('policy_test_bob', NULL, :approval), 'approved', 'somebody else can');
SELECT as_login('policy_test_alice', 'policy_test_bob', $$SELECT (policy_submit('{"topic": "anybody", "payload": 1}')).job_id$$) AS job \gset
SELECT as_login('policy_test_carol', 'policy_test_direct', format('UPDATE policy.jobs SET payload = ''2'' WHERE job_id = %s RETURNING 1', :'job')) AS changed \gset
SELECT is(:'changed'::text, '42501', 'but not as another role that it may not set');
GRANT policy_test_direct TO policy_test_carol;
SELECT as_login('policy_test_carol', 'policy_test_direct', format('UPDATE policy.jobs SET payload = ''2'' WHERE job_id = %s RETURNING 1', :'job')) AS changed \gset
SELECT is(:'changed'::text, '1', 'an operator may change it with a role set');
SELECT max(approval_id) AS approval FROM policy.approvals WHERE job_key = :'job' \gset
SELECT is(approve('policy_test_bob', NULL, :approval), 'PE009', 'a change takes nobody from those who have asked: neither the role that was set when it was submitted');
SELECT is(approve('policy_test_alice', NULL, :approval), 'PE009', 'nor the login');
SELECT is(approve('policy_test_carol', NULL, :approval), 'PE009', 'and adds who has changed it');
SELECT is(approve('policy_test_direct', NULL, :approval), 'PE009', 'and the role that was set then');
SELECT policy_stage('who-else', 'version: v1
rules: [{id: anybody, match: {topics: [anybody]}, decision: require_approval, approval: {immaterial: ["$.payload.z"]}}]', NULL) \g /dev/null
SELECT policy_publish('who-else', NULL) \g /dev/null
SELECT policy_maintain() \g /dev/null
SELECT isnt(max(approval_id), :approval::bigint, 'after a release it is asked about anew') FROM policy.approvals WHERE job_key = :'job';
SELECT max(approval_id) AS approval FROM policy.approvals WHERE job_key = :'job' \gset
SELECT is(approve(login, NULL, :approval), 'PE009', login || ' has submitted or changed it, still')
FROM unnest('{policy_test_alice,policy_test_bob,policy_test_carol,policy_test_direct}'::text[]) login;
SELECT is(approve('policy_test_through', NULL, :approval), 'approved', 'who has not can approve');

SELECT * FROM finish();
ROLLBACK;
