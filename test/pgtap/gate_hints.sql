-- What a refused publish is told is the next command to type, whatever the snapshot is called.
\ir common.psql
SELECT no_plan();
SET policy_engine.require_simulation = on;
CREATE ROLE policy_test_other LOGIN;
SELECT policy_grant('policy_test_other', 'release') \g /dev/null
CREATE TABLE names (name text);
INSERT INTO names VALUES ('plain'), ('it''s "quoted"'), ('a\b\'''), ('100% %s %I %1$L'), ('$$x$$ $1'), ('''; SELECT 1/0; --'), ('source: 1; window: 2');

CREATE FUNCTION stage(name text, rules text DEFAULT '', tests text DEFAULT '') RETURNS void LANGUAGE sql
	AS $$ SELECT policy_stage(name, format(E'version: v1\ndefaults: {decision: allow, constraints: {}}\nrules: [%s]\ntests: [%s]\n', rules, tests)::policy_document, NULL) $$;
SELECT stage('strict', '{id: drop, match: {topics: [drop]}, decision: deny}') \g /dev/null
SELECT policy_publish('strict', NULL) \g /dev/null
INSERT INTO policy.jobs (topic) SELECT unnest(ARRAY['drop', 'read']);

-- What a statement is refused with, and its hint.
CREATE FUNCTION refuse(statement text, OUT state text, OUT hint text) LANGUAGE plpgsql
	AS $$
BEGIN
	EXECUTE statement;
	state := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	state := SQLSTATE;
END
$$;
CREATE FUNCTION publish(name text, OUT state text, OUT hint text) LANGUAGE sql
	AS $$ SELECT r.state, r.hint FROM refuse(format('SELECT policy_publish(%L, NULL)', name)) r $$;
-- Runs the command of a hint, as somebody else.
CREATE FUNCTION type_as_other(command text) RETURNS void LANGUAGE plpgsql
	AS $$
BEGIN
	PERFORM set_config('session_authorization', 'policy_test_other', true);
	EXECUTE command;
	PERFORM set_config('session_authorization', 'postgres', true);
END
$$;
CREATE FUNCTION newest(name text) RETURNS policy.simulations LANGUAGE sql
	AS $$ SELECT s FROM policy.simulations s WHERE s.snapshot = name ORDER BY s.simulation_id DESC LIMIT 1 $$;

-- Each tells what it came by; nothing of it stays.
CREATE FUNCTION told(walk regproc, name text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	trace text;
BEGIN
	EXECUTE format('SELECT %s($1)', walk) INTO trace USING name;
	RAISE EXCEPTION USING ERRCODE = 'T0000', MESSAGE = trace;
EXCEPTION WHEN SQLSTATE 'T0000' THEN
	RETURN sqlerrm;
END
$$;

CREATE FUNCTION not_replayed(name text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	first record;
	second record;
BEGIN
	PERFORM stage(name);
	first := publish(name);
	EXECUTE first.hint;
	second := publish(name);
	RETURN concat_ws(' ', first.state, (newest(name)).jobs, second.state);
END
$$;
SELECT is(told('not_replayed', name), 'PE004 2 PE006', 'what was not replayed is, by its hint: ' || name) FROM names;

CREATE FUNCTION stale(name text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	first record;
BEGIN
	PERFORM stage(name, '{id: drop, match: {topics: [drop]}, decision: deny}'), stage('other'), policy_replay(name), policy_publish('other', NULL, 'because');
	first := publish(name);
	EXECUTE first.hint;
	RETURN concat_ws(' ', first.state, (newest(name)).base_snapshot, (publish(name)).state);
END
$$;
SELECT is(told('stale', name), 'PE005 other PE006', 'what is stale is replayed against what is active: ' || name) FROM names;

CREATE FUNCTION loosens(name text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	first record;
	own record;
	flips bigint;
BEGIN
	PERFORM stage(name), policy_replay(name);
	first := publish(name);
	EXECUTE format('SELECT count(*) FROM (%s) f', substring(first.hint FROM 'SELECT \* FROM policy\.simulation_flips WHERE simulation_id = \d+')) INTO flips;
	own := refuse(substring(first.hint FROM 'SELECT policy_acknowledge.*$'));
	PERFORM type_as_other(substring(own.hint FROM 'SELECT policy_acknowledge.*\)'));
	RETURN concat_ws(' ', first.state, flips, own.state, (newest(name)).acknowledged_by, (publish(name)).state);
END
$$;
SELECT is(told('loosens', name), 'PE006 1 42501 policy_test_other none', 'what is looser is looked at, and acknowledged by somebody else: ' || name) FROM names;

CREATE FUNCTION short(name text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	first record;
BEGIN
	PERFORM stage(name, '{id: drop, match: {topics: [drop]}, decision: deny}'), policy_replay(name, now() + interval '1 hour', now() + interval '2 hours');
	first := publish(name);
	EXECUTE first.hint;
	RETURN concat_ws(' ', first.state, (newest(name)).covers_history, (publish(name)).state);
END
$$;
SELECT is(told('short', name), 'PE006 t none', 'a window that is too short gives way to all history: ' || name) FROM names;

CREATE FUNCTION left_out(name text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	first record;
BEGIN
	INSERT INTO policy.jobs (tenant_id) VALUES ('no topic');
	PERFORM stage(name, '{id: drop, match: {topics: [drop]}, decision: deny}'), policy_replay(name);
	first := publish(name);
	EXECUTE substring(first.hint FROM 'SELECT policy_publish.*$');
	RETURN concat_ws(' ', first.state, (SELECT a.snapshot = name FROM policy.active a), (SELECT r.override_reason FROM policy.releases r ORDER BY r.release_id DESC LIMIT 1));
END
$$;
SELECT is(told('left_out', name), 'PE006 t why all the same', 'of too many jobs that nobody can replay an override is the way: ' || name) FROM names;

CREATE FUNCTION fails(name text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	first record;
	lines text;
BEGIN
	PERFORM stage(name, '', '{name: n, job: {topic: x}, expect: {decision: deny}}');
	first := publish(name);
	EXECUTE format('SELECT string_agg(line, '' '') FROM (%s) t(line)', first.hint) INTO lines;
	RETURN first.state || ' ' || (lines ~ 'not ok 1 - n')::text;
END
$$;
SELECT is(told('fails', name), 'PE007 true', 'of tests that fail it is shown which: ' || name) FROM names;

CREATE FUNCTION blank(name text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	first record;
BEGIN
	PERFORM stage(name);
	first := refuse(format('SELECT policy_publish(%L, NULL, '' '')', name));
	EXECUTE first.hint;
	RETURN concat_ws(' ', first.state, (SELECT a.snapshot = name FROM policy.active a));
END
$$;
SELECT is(told('blank', name), '22023 t', 'an override that has no reason is shown one: ' || name) FROM names;

CREATE FUNCTION never_released(name text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	first record;
BEGIN
	PERFORM stage(name, '{id: drop, match: {topics: [drop]}, decision: deny}'), policy_replay(name);
	first := refuse(format('SELECT policy_rollback(%L, NULL)', name));
	EXECUTE substring(first.hint FROM '^(SELECT policy_publish.*\)) releases it');
	RETURN concat_ws(' ', first.state, (SELECT a.snapshot = name FROM policy.active a));
END
$$;
SELECT is(told('never_released', name), 'PE002 t', 'what cannot be rolled back to is published: ' || name) FROM names;

SELECT * FROM finish();
ROLLBACK;
