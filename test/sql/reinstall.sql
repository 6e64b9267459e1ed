--
-- DROP and CREATE EXTENSION in one session, with what it has cached before.
--
CREATE EXTENSION policy_engine;
SELECT snapshot FROM policy_stage('v1', '{version: v1, rules: [{id: before, decision: allow}]}', NULL);
SELECT release_id FROM policy_publish('v1', NULL);
PREPARE evaluate AS SELECT matched_rule, snapshot FROM policy_evaluate('{"topic": "a"}'::jsonb);
PREPARE validate AS SELECT count(*) FROM policy_validate('{version: v1, rules: []}');
CREATE FUNCTION rule_of(job jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v record;
BEGIN
	v := policy_evaluate(job);
	RETURN v.matched_rule;
END
$$;
EXECUTE evaluate;
EXECUTE validate;
SELECT rule_of('{"topic": "a"}');
SELECT matched_rule FROM policy_evaluate('{version: v1, rules: [{id: mine, decision: allow}]}', '{"topic": "a"}', 'epoch');

-- Objects of the user's that need the type keep the extension in place.
CREATE TABLE mine (document policy_document);
DROP EXTENSION policy_engine;
DROP TABLE mine;

DROP EXTENSION policy_engine;
EXECUTE evaluate;
SELECT to_regtype('policy_document'), to_regnamespace('policy');

-- The same names, numbers and texts, and another policy
CREATE EXTENSION policy_engine;
SELECT matched_rule, reason FROM policy_evaluate('{"topic": "a"}'::jsonb);
SELECT rule_of('{"topic": "a"}');
SELECT snapshot FROM policy_stage('v1', '{version: v1, rules: [{id: after, decision: allow}]}', NULL);
SELECT release_id FROM policy_publish('v1', NULL);
EXECUTE evaluate;
EXECUTE validate;
SELECT rule_of('{"topic": "a"}');
SELECT matched_rule FROM policy_evaluate('{version: v1, rules: [{id: mine, decision: allow}]}', '{"topic": "a"}', 'epoch');
SHOW policy_engine.fail_mode;

-- In one transaction, and rolled back
BEGIN;
DROP EXTENSION policy_engine;
CREATE EXTENSION policy_engine;
SELECT matched_rule, reason FROM policy_evaluate('{"topic": "a"}'::jsonb);
SELECT snapshot FROM policy_stage('v1', '{version: v1, rules: [{id: never, decision: allow}]}', NULL);
SELECT release_id FROM policy_publish('v1', NULL);
SELECT matched_rule, reason FROM policy_evaluate('{"topic": "a"}'::jsonb);
SELECT rule_of('{"topic": "a"}');
ROLLBACK;
EXECUTE evaluate;
SELECT rule_of('{"topic": "a"}');

-- A schema of the name that is the extension's is not taken over.
DROP EXTENSION policy_engine;
CREATE SCHEMA policy;
\set SHOW_CONTEXT never
CREATE EXTENSION policy_engine;
\set SHOW_CONTEXT errors
DROP SCHEMA policy;

-- Another schema for the verbs
CREATE SCHEMA elsewhere;
CREATE EXTENSION policy_engine SCHEMA elsewhere;
SELECT snapshot FROM elsewhere.policy_stage('v1', '{version: v1, rules: [{id: there, decision: allow}]}', NULL);
SELECT release_id FROM elsewhere.policy_publish('v1', NULL);
SELECT matched_rule FROM elsewhere.policy_evaluate('{"topic": "a"}'::jsonb);
SELECT snapshot FROM elsewhere.policy_status();
SELECT release_id FROM elsewhere.policy_rollback('v1', NULL);
ALTER EXTENSION policy_engine SET SCHEMA public;
DROP EXTENSION policy_engine;
DROP SCHEMA elsewhere;
DROP FUNCTION rule_of(jsonb);
DEALLOCATE ALL;
