\ir common.psql
SELECT plan(7);

\set policy `cat test/seed/policy.yaml`
\set request `cat test/seed/simulate-request.json`
\set response `cat test/seed/simulate-response.json`

SELECT is((SELECT array_agg(format('%s:%s %s %s', line, col, code, message)) FROM policy_validate(:'policy')),
	'{"3:9 no_owner none of the 4 rules has an owner"}', 'the seed''s policy has no error, and no warning but that nobody owns its rules');
SELECT lives_ok(format('SELECT policy_stage(%L, %L, %L)', 'v41', :'policy', 'the first one'), 'it can be staged');
SELECT is(policy_simulate(:'request', 'v41'), :'response'::jsonb,
	'the seed''s request has exactly the seed''s response under a staged snapshot');
SELECT lives_ok($$SELECT policy_publish('v41', 'go')$$, 'it can be published');
SELECT is(policy_simulate(:'request'), :'response'::jsonb, 'and under the active one');
SELECT is((SELECT to_jsonb(v) FROM policy_evaluate(:'request'::jsonb) v),
	:'response'::jsonb || '{"matched_rules": ["require-approval-prod-write"], "monitored_rules": [],
							"snapshot": "v41", "retry_after_sec": null}',
	'policy_evaluate takes the same request and says the same');

SELECT is((SELECT array_agg(v.decision::text || ' ' || coalesce(v.matched_rule, '-') || ' ' || v.constraints::text ORDER BY n)
	FROM (VALUES
		(1, '{"topic": "job.mcp-bridge.read.list", "risk_tags": ["prod"]}'::jsonb),
		(2, '{"topic": "job.mcp-bridge.write.x", "risk_tags": ["prod"]}'),
		(3, '{"topic": "job.mcp-bridge.write.x", "risk_tags": ["write", "prod", "pii"]}'),
		(4, '{"topic": "job.agent.exec.python", "risk_tags": ["medium"]}'),
		(5, '{"topic": "job.mcp-bridge.read.list", "risk_tags": ["destructive"]}'),
		(6, '{"topic": "job.unknown"}')) AS jobs(n, job), policy_evaluate(job) v),
	ARRAY[
		'ALLOW allow-read {"max_retries": 1, "max_runtime_sec": 60}',
		'DENY - {}',
		'REQUIRE_APPROVAL require-approval-prod-write {"max_retries": 1, "max_runtime_sec": 60}',
		'ALLOW_WITH_CONSTRAINTS constrain-medium-risk {"max_retries": 1, "max_runtime_sec": 60, "network_allowlist": ["api.github.com", "api.slack.com"]}',
		'DENY deny-destructive {}',
		'DENY - {}'],
	'each rule of the seed decides what it says');

SELECT * FROM finish();
ROLLBACK;
