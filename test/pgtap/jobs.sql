\ir common.psql
SELECT plan(160);

-- Everything is allowed, so that a job is denied for being invalid alone.
CREATE TABLE policies (document text);
INSERT INTO policies VALUES ($$
version: v1
defaults: {decision: allow, constraints: {}}
rules:
  - {id: everything, decision: allow}
$$);

CREATE FUNCTION invalid(what text, job jsonb, about text DEFAULT '') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	v policy_verdict := decide(document, job) FROM policies;
BEGIN
	RETURN NEXT is(to_jsonb(v) - 'reason', '{"decision": "DENY", "constraints": {}, "matched_rule": null,
		"matched_rules": [], "monitored_rules": [], "snapshot": null, "retry_after_sec": null}'::jsonb,
		what || ' is invalid: DENY');
	RETURN NEXT alike(v.reason, 'invalid job: %' || about || '%', what || ' says so in the reason');
END
$$;

SELECT invalid(what, job::jsonb, about)
FROM (VALUES
	('NULL', NULL, 'NULL'),
	('an array', '[]', 'object'),
	('an array of jobs', '[{"topic": "a"}]', 'object'),
	('a string', '"a"', 'object'),
	('a number', '5', 'object'),
	('a boolean', 'true', 'object'),
	('null', 'null', 'object'),
	('an empty object', '{}', 'topic'),
	('no topic', '{"risk_tags": ["a"]}', 'topic'),
	('a null topic', '{"topic": null}', 'topic'),
	('an empty topic', '{"topic": ""}', 'topic'),
	('a topic of spaces', '{"topic": "   "}', 'topic'),
	('a topic of invisible characters', '{"topic": "\u200b\u00ad\ufeff"}', 'topic'),
	('a number as topic', '{"topic": 5}', 'topic'),
	('an array as topic', '{"topic": ["a"]}', 'topic'),
	('a number as tenant', '{"topic": "a", "tenant_id": 5}', 'tenant'),
	('an object as tenant', '{"topic": "a", "tenant": {}}', 'tenant'),
	('two tenants', '{"topic": "a", "tenant": "x", "tenant_id": "y"}', 'tenant'),
	('a number as capability', '{"topic": "a", "capability": 5}', 'capability'),
	('a boolean as pack_id', '{"topic": "a", "pack_id": true}', 'pack_id'),
	('a string as tags', '{"topic": "a", "risk_tags": "prod"}', 'risk_tags'),
	('an object as tags', '{"topic": "a", "risk_tags": {"prod": true}}', 'risk_tags'),
	('a tag that is a number', '{"topic": "a", "risk_tags": ["prod", 5]}', 'risk_tags'),
	('a tag that is null', '{"topic": "a", "risk_tags": ["prod", null]}', 'risk_tags'),
	('a tag that is an array', '{"topic": "a", "risk_tags": [["prod"]]}', 'risk_tags'),
	('requires with a number', '{"topic": "a", "requires": [5]}', 'requires'),
	('labels as an array', '{"topic": "a", "labels": ["env"]}', 'labels'),
	('labels as a string', '{"topic": "a", "labels": "env"}', 'labels'),
	('a label that is an array', '{"topic": "a", "labels": {"env": ["prod"]}}', 'label'),
	('a label that is an object', '{"topic": "a", "labels": {"env": {}}}', 'label'),
	('an actor that is a string', '{"topic": "a", "actor": "alice"}', 'actor'),
	('an actor whose id is a number', '{"topic": "a", "actor": {"id": 5}}', 'actor'),
	('an actor whose roles are a string', '{"topic": "a", "actor": {"roles": "dba"}}', 'actor'),
	('an actor with a role that is a number', '{"topic": "a", "actor": {"roles": [5]}}', 'actor'),
	('actor_roles with a number', '{"topic": "a", "actor_roles": [5]}', 'actor'),
	('two actors', '{"topic": "a", "actor": {"id": "x"}, "actor_id": "y"}', 'actor'),
	('two actor types', '{"topic": "a", "actor": {"type": "x"}, "actor_type": "y"}', 'actor'),
	('two lists of roles', '{"topic": "a", "actor": {"roles": ["x"]}, "actor_roles": ["x", "y"]}', 'actor'),
	('mcp as a string', '{"topic": "a", "mcp": "jira"}', 'mcp'),
	('an mcp server that is a number', '{"topic": "a", "mcp": {"server": 5}}', 'mcp'),
	('two mcp servers', '{"topic": "a", "mcp": {"server": "x"}, "labels": {"mcp.server": "y"}}', 'mcp'),
	('two mcp tools', '{"topic": "a", "labels": {"mcp_tool": "x", "mcpTool": "y"}}', 'mcp'),
	('two mcp resources', '{"topic": "a", "mcp": {"resource": "x"}, "labels": {"mcpResource": "y"}}', 'mcp'),
	('two mcp actions', '{"topic": "a", "labels": {"mcp.action": "x", "mcp_action": "y"}}', 'mcp'),
	('two labels with one normalised name', '{"topic": "a", "labels": {"env": "x", "ENV": "y"}}', 'label'),
	('secrets_present as a string', '{"topic": "a", "secrets_present": "true"}', 'secrets_present'),
	('secrets_present as a number', '{"topic": "a", "secrets_present": 1}', 'secrets_present'),
	('an idempotency_key that is a number', '{"topic": "a", "idempotency_key": 5}', 'idempotency_key'),
	('a request with another tenant inside', '{"tenant_id": "x", "job": {"topic": "a", "tenant_id": "y"}}', 'tenant'),
	('a request with another tenant inside, by its other name', '{"tenant_id": "x", "job": {"topic": "a", "tenant": "y"}}', 'tenant'),
	('a request whose tenant is a number', '{"tenant_id": 5, "job": {"topic": "a"}}', 'tenant'),
	('a request whose job is null', '{"tenant_id": "x", "job": null}', ''),
	('a request whose job is a string', '{"job": "a"}', ''),
	('a request whose job is an array', '{"job": [{"topic": "a"}]}', ''),
	('a request in a request', '{"job": {"job": {"topic": "a"}}}', 'topic'),
	('a request with one more key', '{"tenant_id": "x", "job": {"topic": "a"}, "more": 1}', 'topic'),
	('a request that spells its tenant otherwise', '{"tenant": "x", "job": {"topic": "a"}}', 'topic')
) AS t(what, job, about);

-- Limits
SELECT invalid('a topic of 1025 bytes', jsonb_build_object('topic', repeat('a', 1025)), 'topic');
SELECT invalid('a topic of 1025 bytes in fewer characters', jsonb_build_object('topic', repeat('é', 512) || 'a'), 'topic');
SELECT is((decide(document, jsonb_build_object('topic', repeat('a', 1024)))).decision, 'ALLOW', 'a topic of 1024 bytes is valid') FROM policies;
SELECT invalid('257 tags', jsonb_build_object('topic', 'a', 'risk_tags', (SELECT jsonb_agg('t' || i) FROM generate_series(1, 257) i)), 'risk_tags');
SELECT invalid('10,000 tags', jsonb_build_object('topic', 'a', 'risk_tags', (SELECT jsonb_agg('t' || i) FROM generate_series(1, 10000) i)), 'risk_tags');
SELECT is((decide(document, jsonb_build_object('topic', 'a', 'risk_tags', (SELECT jsonb_agg('t' || i) FROM generate_series(1, 256) i)))).decision,
	'ALLOW', '256 tags are valid') FROM policies;
SELECT invalid('257 labels', jsonb_build_object('topic', 'a', 'labels', (SELECT jsonb_object_agg('l' || i, i) FROM generate_series(1, 257) i)), 'label');
SELECT is((decide(document, jsonb_build_object('topic', 'a', 'labels', (SELECT jsonb_object_agg('l' || i, i) FROM generate_series(1, 256) i)))).decision,
	'ALLOW', '256 labels are valid') FROM policies;
SELECT invalid('a megabyte of payload', jsonb_build_object('topic', 'a', 'payload', repeat('x', 1024 * 1024)), '');
SELECT invalid('a megabyte of payload that compresses to little', j, '')
	FROM (SELECT jsonb_build_object('topic', 'a', 'payload', repeat('x', 20 * 1024 * 1024)) j) t;
SELECT is((decide(document, jsonb_build_object('topic', 'a', 'payload', repeat('x', 1000 * 1000)))).decision, 'ALLOW',
	'a payload just below a megabyte is valid') FROM policies;
CREATE TEMP TABLE stored AS SELECT jsonb_build_object('topic', 'a', 'payload', repeat('x', 2 * 1024 * 1024)) job
	UNION ALL SELECT jsonb_build_object('topic', 'a', 'payload', repeat('x', 1000 * 1000));
SELECT is((SELECT array_agg((decide(document, job)).decision::text ORDER BY pg_column_size(job) DESC) FROM stored, policies),
	'{DENY,ALLOW}', 'a stored job that is compressed counts as large as it is');

-- What is valid
SELECT is((decide(document, job::jsonb)).decision, 'ALLOW', what || ' is valid')
FROM policies, (VALUES
	('a topic alone', '{"topic": "a"}'),
	('the same tenant twice', '{"topic": "a", "tenant": "ACME", "tenant_id": " acme "}'),
	('one tenant beside a null one', '{"topic": "a", "tenant": null, "tenant_id": "acme"}'),
	('one tenant beside an empty one', '{"topic": "a", "tenant": "", "tenant_id": "acme"}'),
	('the same actor twice', '{"topic": "a", "actor": {"id": "Alice", "type": "agent", "roles": ["a", "b"]}, "actor_id": "alice", "actor_type": "AGENT", "actor_roles": ["B", "A"]}'),
	('the same mcp server thrice', '{"topic": "a", "mcp": {"server": "Jira"}, "labels": {"mcp.server": "jira", "mcpServer": "JIRA"}}'),
	('the same label twice', '{"topic": "a", "labels": {"env": "prod", "ENV": "Prod"}}'),
	('a label beside an empty one of its name', '{"topic": "a", "labels": {"env": "prod", "ENV": ""}}'),
	('an idempotency key', '{"topic": "a", "idempotency_key": "k1"}'),
	('any payload', '{"topic": "a", "payload": [1, "x", null, {}]}'),
	('a job with a key named job', '{"topic": "a", "job": {"topic": 5}}'),
	('a request', '{"tenant_id": "acme", "job": {"topic": "a"}}'),
	('a request with no tenant', '{"job": {"topic": "a"}}'),
	('a request with a null tenant', '{"tenant_id": null, "job": {"topic": "a"}}'),
	('a request with the same tenant inside', '{"tenant_id": "acme", "job": {"topic": "a", "tenant": "ACME"}}')
) AS t(what, job);

SELECT is((decide($$
version: v1
rules:
  - {id: r, decision: allow, match: {tenants: [acme], when: '$.topic == "a" && $.tenant_id == "acme"'}}
$$, '{"tenant_id": "acme", "job": {"topic": "a", "tenant_id": "acme"}}')).matched_rule, 'r',
	'a request is unwrapped before anything else: when sees the job');
SELECT ok(holds('{tenants: [acme]}', '{"tenant_id": "acme", "job": {"topic": "a"}}'), 'a request''s tenant is the job''s');
SELECT is((policy_evaluate('version: v1
defaults: {decision: allow}
rules: [{id: r, decision: deny, match: {when: ''$.tenant_id == "acme"''}}]',
	jsonb_build_object('tenant_id', 'acme', 'job', blank || '{"topic": "a"}'), now())).decision, 'DENY',
	'a blank tenant inside a request hides the request''s from no when: ' || blank::text)
FROM (VALUES ('{"tenant_id": ""}'::jsonb), ('{"tenant_id": null, "tenant": " "}'), ('{"tenant_id": "\u200b"}')) AS t(blank);

-- A value nested as deep as jsonb allows is a value like any other.
SELECT is((decide(document, jsonb_build_object('topic', 'a', 'payload', (repeat('[', 1500) || repeat(']', 1500))::jsonb))).decision,
	'ALLOW', 'deep nesting in a payload is valid') FROM policies;
SELECT invalid('deep nesting in a tag',
	jsonb_build_object('topic', 'a', 'risk_tags', (repeat('[', 1500) || repeat(']', 1500))::jsonb), 'risk_tags');

-- Never NULL, never an error
SELECT is((v IS NULL, v.decision)::text, (false, 'DENY'::policy_decision)::text, 'a NULL job never becomes a NULL verdict')
	FROM policies, policy_evaluate(document::policy_document, NULL, now()) v;
SELECT is((v).decision, 'DENY', 'a NULL time is DENY')
	FROM policies, policy_evaluate(document::policy_document, '{"topic": "a"}', NULL) v;
SELECT is((v).decision, 'DENY', 'a NULL document is DENY')
	FROM policy_evaluate(NULL::policy_document, '{"topic": "a"}', now()) v;
SELECT is((v).decision, 'DENY', 'a NULL job is DENY under the active policy, too') FROM policy_evaluate(NULL::jsonb) v;

SELECT * FROM finish();
ROLLBACK;
