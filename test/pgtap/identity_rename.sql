\ir common.psql
SELECT plan(8);
GRANT USAGE ON SCHEMA helper TO PUBLIC;

-- A duty and its bound identity are the role's, whatever its name is.
CREATE ROLE policy_test_agent LOGIN;
SELECT policy_stage('v1', 'version: v1
rules: [{id: r1, decision: allow}]', NULL) \g /dev/null
SELECT policy_publish('v1', NULL) \g /dev/null
SELECT policy_grant('policy_test_agent', 'submit', '{"tenant_id": "acme"}') \g /dev/null
SELECT policy_grant('policy_test_agent', 'proxy') \g /dev/null
ALTER ROLE policy_test_agent RENAME TO policy_test_renamed;
CREATE ROLE policy_test_agent LOGIN;

SELECT is((SELECT array_agg(DISTINCT role) FROM policy.duties), '{policy_test_renamed}', 'the row shows the new name');
SELECT ok(policy.holds_duty('policy_test_renamed', 'proxy'), 'the role holds its duty under the new name');
SELECT ok(NOT policy.holds_duty('policy_test_agent', 'proxy'), 'who got the old name does not');

SET SESSION AUTHORIZATION policy_test_renamed;
SELECT tenant_id, state FROM policy_submit('{"topic": "a"}') \gset stamped_
SELECT state FROM policy_submit('{"topic": "a", "tenant_id": "other"}') \gset other_
RESET SESSION AUTHORIZATION;
SELECT is(:'stamped_tenant_id'::text, 'acme', 'the identity is stamped under the new name');
SELECT is(:'stamped_state'::text, 'ready', 'and the job is decided');
SELECT is(:'other_state'::text, 'denied', 'another tenant contradicts it still');

-- Revoking by the new name takes it away.
SELECT policy_revoke('policy_test_renamed', 'submit') \g /dev/null
SELECT is((SELECT array_agg(duty) FROM policy.duties WHERE role = 'policy_test_renamed'), '{proxy}',
	'a duty is revoked under the new name');
SELECT ok(NOT has_function_privilege('policy_test_renamed', 'policy_submit(jsonb)', 'EXECUTE'), 'with its GRANTs');

SELECT * FROM finish();
ROLLBACK;
