--
-- Errors as a user meets them: one line, the facts, the next step.
--
\set SHOW_CONTEXT never
CREATE EXTENSION policy_engine;

-- A broken policy: every error at once, each with its place.
SELECT $$version: v1
combine: loosest
rules:
  - id: allow-read
    match:
      topic: ["job.read.*"]
      risk_tags: [prod, "[^w]rite"]
    decision: alow
  - id: allow-read
    match: {when: '$.payload.amount'}
    decision: require_approval
    approval: {min_approvals: 0}
    retry_after_sec: 5
$$::policy_document;

-- The same as rows
SELECT * FROM policy_validate($$version: v1
combine: loosest
rules:
  - id: allow-read
    match:
      topic: ["job.read.*"]
      risk_tags: [prod, "[^w]rite"]
    decision: alow
  - id: allow-read
    match: {when: '$.payload.amount'}
    decision: require_approval
    approval: {min_approvals: 0}
    retry_after_sec: 5
$$);

-- Warnings, where there is no error
SELECT * FROM policy_validate($$version: v1
rules:
  - {id: a, decision: allow, constraints: {region: eu}}
  - {id: b, decision: allow, constraints: {region: us}}
$$);

-- Clean
SELECT * FROM policy_validate('{"version": "v1", "rules": []}');

-- More than DETAIL holds
SELECT (E'version: v1\nrules:\n' || string_agg(format(E'  - {id: r%s, decision: perhaps}\n', i), ''))::policy_document
FROM generate_series(1, 25) i;

-- Invisible characters are shown by number
SELECT U&'version: v1\000Arules:\000A  - {id: "pr\200Bod\202E", decision: deny}'::policy_document;

-- The documents that are not
SELECT ''::policy_document;
SELECT E'version: v1\nrules: []\n---\nversion: v1\n'::policy_document;
SELECT E'version: v1\nrules: [\n'::policy_document;
SELECT E'version: v2\nrules: []\n'::policy_document;

-- Snapshots and releases
SELECT policy_publish('v1', 'go');
SELECT policy_rollback('v1', 'back');
SELECT policy_simulate('{"topic": "a"}', 'v1');
SELECT policy_stage(NULL, '{version: v1, rules: []}', 'why');
SELECT policy_stage('', '{version: v1, rules: []}', 'why');
SELECT policy_stage(E'v1\nv2', '{version: v1, rules: []}', 'why');
SELECT snapshot FROM policy_stage('v1', '{version: v1, rules: []}', 'why');
SELECT snapshot FROM policy_stage('v1', '{version: v1, rules: []}', 'why');
SELECT policy_rollback('v1', 'back');
SELECT policy_stage('v2', '{version: v1, rules: [{id: r, decision: require_approval, approval: {approvers: [regress_nobody]}}]}', 'why');
SET policy_engine.max_document_bytes = '1kB';
SELECT policy_stage('v2', rpad('{version: v1, rules: []} #', 2000, 'x')::policy_document, 'why');
SELECT * FROM policy_validate(rpad('{version: v1, rules: []} #', 2000, 'x'));
RESET policy_engine.max_document_bytes;
UPDATE policy.snapshots SET note = 'x';
DELETE FROM policy.snapshots;
TRUNCATE policy.releases;

-- Settings
SET policy_engine.fail_mode = maybe;
\set VERBOSITY sqlstate
SET policy_engine.timeout = 0;
\set VERBOSITY default
SET policy_engine.no_such_setting = 1;

-- As clients test for them
\set VERBOSITY sqlstate
SELECT 'version: v2'::policy_document;
SELECT policy_publish('nowhere', 'go');
SELECT policy_stage('v1', '{version: v1, rules: []}', 'why');
DELETE FROM policy.snapshots;
CREATE ROLE regress_policy_plain;
SET ROLE regress_policy_plain;
SELECT policy_evaluate('{"topic": "a"}'::jsonb);
SELECT * FROM policy.snapshots;
RESET ROLE;
\set VERBOSITY default

DROP ROLE regress_policy_plain;
DROP EXTENSION policy_engine;
