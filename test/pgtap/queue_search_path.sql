\ir queue.psql
SELECT plan(22);
-- Whoever calls a verb may have what they like in their search_path: whatever of
-- it were called would run as the extension's owner.
CREATE ROLE policy_test_caller LOGIN;
CREATE ROLE policy_test_approver LOGIN;
SELECT policy_grant('policy_test_caller', duty) FROM unnest('{submit,work,operate,audit}'::text[]) duty \g /dev/null
SELECT policy_grant('policy_test_approver', 'approve') \g /dev/null
SELECT release('v1', first_rules()) \g /dev/null

CREATE SCHEMA shadow AUTHORIZATION policy_test_caller;
SET SESSION AUTHORIZATION policy_test_caller;
CREATE FUNCTION shadow.caught() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = 'called as ' || current_user; END $$;
DO $$
DECLARE
	kind text;
	name text;
BEGIN
	FOREACH kind IN ARRAY '{text,bigint,integer,timestamptz,jsonb,uuid,bytea,text[],bigint[]}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION shadow.compared(%1$s, %1$s) RETURNS boolean LANGUAGE sql AS ''SELECT shadow.caught()''', kind);
		FOREACH name IN ARRAY '{=,<>,<,<=,>,>=,&&}'::text[] LOOP
			EXECUTE format('CREATE OPERATOR shadow.%s (LEFTARG = %2$s, RIGHTARG = %2$s, FUNCTION = shadow.compared)', name, kind);
		END LOOP;
	END LOOP;
	EXECUTE 'CREATE FUNCTION shadow.added(integer, integer) RETURNS integer LANGUAGE sql AS ''SELECT shadow.caught()::integer''';
	EXECUTE 'CREATE OPERATOR shadow.+ (LEFTARG = integer, RIGHTARG = integer, FUNCTION = shadow.added)';
	EXECUTE 'CREATE FUNCTION shadow.taken(jsonb, text) RETURNS jsonb LANGUAGE sql AS ''SELECT to_jsonb(shadow.caught())''';
	EXECUTE 'CREATE OPERATOR shadow.-> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = shadow.taken)';
	EXECUTE 'CREATE OPERATOR shadow.|| (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = shadow.taken)';
	FOREACH name IN ARRAY '{clock_timestamp,now,statement_timestamp,gen_random_uuid,session_user,pg_current_snapshot}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION shadow.%I() RETURNS text LANGUAGE sql AS ''SELECT shadow.caught()::text''', name);
	END LOOP;
	FOREACH name IN ARRAY '{unnest,cardinality,array_agg,jsonb_object_keys,jsonb_typeof,jsonb_each,policy_evaluate,tenant_key,idempotency_hash,normalized,caller,settle,vote}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION shadow.%I(anyelement) RETURNS boolean LANGUAGE sql AS ''SELECT shadow.caught()''', name);
	END LOOP;
END
$$;
CREATE FUNCTION shadow.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT shadow.caught()::text';
CREATE FUNCTION shadow.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE sql AS 'SELECT shadow.caught()::int::bigint';
CREATE FUNCTION shadow.cardinality(text[]) RETURNS integer LANGUAGE sql AS 'SELECT shadow.caught()::int';
CREATE FUNCTION shadow.cardinality(bigint[]) RETURNS integer LANGUAGE sql AS 'SELECT shadow.caught()::int';
CREATE FUNCTION shadow.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT shadow.caught()::text';
CREATE FUNCTION shadow.length(text) RETURNS integer LANGUAGE sql AS 'SELECT shadow.caught()::int';
CREATE FUNCTION shadow.octet_length(text) RETURNS integer LANGUAGE sql AS 'SELECT shadow.caught()::int';
CREATE TYPE shadow.policy_decision AS ENUM ('ALLOW');
CREATE TYPE shadow.jsonb AS ENUM ('x');
CREATE TEMP TABLE jobs (state text);
CREATE TEMP TABLE decisions (decision_id bigint);
CREATE TEMP TABLE approvals (status text);
CREATE TEMP TABLE duties (role text);
CREATE TEMP TABLE seals (seal_id bigint);
GRANT USAGE ON SCHEMA shadow TO policy_test_approver;
RESET SESSION AUTHORIZATION;
CREATE FUNCTION as_login(login text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	me text := session_user;
	path text := current_setting('search_path');
	result text;
BEGIN
	PERFORM set_config('session_authorization', login, true);
	PERFORM set_config('search_path', 'pg_temp, shadow, pg_catalog, public', true);
	EXECUTE statement INTO result;
	PERFORM pg_catalog.set_config('search_path', path, true);
	PERFORM pg_catalog.set_config('session_authorization', me, true);
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
CREATE FUNCTION as_caller(statement text) RETURNS text LANGUAGE sql AS $$ SELECT as_login('policy_test_caller', statement) $$;

SELECT alike(as_caller($$SELECT 'a' = 'b'$$), 'ZZ001 %', 'the trap is set');
SELECT is(as_caller($$WITH i AS (INSERT INTO policy.jobs (topic, tenant_id, idempotency_key) VALUES ('read.a', 'acme', 'k'), ('prod.a', NULL, NULL), ('mail.a', NULL, NULL) RETURNING state)
	SELECT string_agg(state, ' ') FROM i$$), 'ready awaiting_approval throttled', 'insert');
SELECT is(as_caller($$SELECT (policy_submit('{"topic": "read.a", "tenant_id": "acme", "idempotency_key": "k"}'::pg_catalog.jsonb)).state$$), 'ready', 'policy_submit of what is there');
SELECT is(as_caller($$SELECT (policy_submit('{"topic": "read.b", "actor": {"id": "a"}}'::pg_catalog.jsonb)).state$$), 'ready', 'policy_submit of what is new');
SELECT is(as_caller($$WITH u AS (UPDATE policy.jobs SET payload = '1'::pg_catalog.jsonb WHERE topic OPERATOR(pg_catalog.=) 'prod.a' RETURNING state) SELECT state FROM u$$), 'awaiting_approval', 'update');
SELECT job_id AS waiting, pending_of(job_id) AS approval FROM policy.jobs WHERE topic = 'prod.a' \gset
SELECT is(as_login('policy_test_approver', format('SELECT (policy_approve(%s, %L)).status', :approval, 'fine')), 'approved', 'policy_approve');
SELECT is(as_login('policy_test_approver', format('SELECT (policy_reject(%s, %L)).status', :approval, 'no')), 'rejected', 'policy_reject');
SELECT is(as_login('policy_test_approver', 'SELECT count(*) FROM policy_approvals(true)'), '2', 'policy_approvals');
SELECT is(as_caller($$SELECT state FROM policy_redecide('{"state": "rejected", "rule": "prod", "tenant_id": "default"}'::pg_catalog.jsonb, 'x')$$), 'awaiting_approval', 'policy_redecide');
SELECT is(as_caller($$SELECT count(*) FROM policy_claim('w', 5, '{read.*}'::pg_catalog._text)$$), '2', 'policy_claim');
SELECT is(as_caller($$SELECT state FROM policy_claim('w', 5)$$), NULL, 'policy_claim of any topic');
SELECT job_id AS one, claim_token AS token FROM policy.jobs WHERE topic = 'read.a' \gset
SELECT job_id AS two, claim_token AS token_two FROM policy.jobs WHERE topic = 'read.b' \gset
SELECT is(as_caller(format('SELECT (policy_heartbeat(%s, %L)).state', :one, :'token')), 'running', 'policy_heartbeat');
SELECT is(as_caller(format('SELECT (policy_fail(%s, %L)).state', :one, :'token')), 'ready', 'policy_fail');
SELECT is(as_caller(format('SELECT (policy_complete(%s, %L, %L)).state', :two, :'token_two', '1')), 'succeeded', 'policy_complete');
SELECT is(as_caller(format('SELECT (policy_cancel(%s, %L)).state', :waiting, 'x')), 'cancelled', 'policy_cancel');
SELECT is(as_caller('SELECT more FROM policy_maintain()'), 'false', 'policy_maintain');
SELECT is(as_caller('SELECT count(*) FROM policy_seal()'), '0', 'policy_seal, after policy_maintain');
SELECT is(as_caller('SELECT count(*) FROM policy_verify()'), '0', 'policy_verify');
SELECT is(as_caller('SELECT ready FROM policy_status()'), '1', 'policy_status');
SELECT is(as_caller($$SELECT count(*) FROM policy.job_transitions$$), (SELECT count(*)::text FROM policy.job_transitions), 'policy.job_transitions');
SELECT is(as_caller($$SELECT count(*) FROM policy.traces$$), '4', 'policy.traces');
SELECT is((SELECT count(*) FROM pg_temp.jobs) + (SELECT count(*) FROM pg_temp.decisions) + (SELECT count(*) FROM pg_temp.approvals), 0::bigint, 'and nothing was written elsewhere');

SELECT * FROM finish();
ROLLBACK;
