-- As whom what belongs to an attachment runs, and what policy_attachments shows of
-- those who can take a guard away.
\ir attach.psql
SELECT plan(50);
SELECT release('v1', first_rules() || '
  - {id: own, match: {topics: ["own.*"]}, decision: require_approval, approval: {allow_self: true}, constraints: {max_retries: 1}}') \g /dev/null
CREATE ROLE policy_test_app LOGIN;
CREATE ROLE policy_test_operator LOGIN;
CREATE ROLE policy_test_admin LOGIN;
SELECT policy_grant('policy_test_operator', 'operate'), policy_grant('policy_test_admin', 'admin') \g /dev/null
GRANT USAGE, CREATE ON SCHEMA shop TO policy_test_app, policy_test_operator;
GRANT USAGE ON SCHEMA helper TO PUBLIC;
CREATE FUNCTION approve(key text, job_table text DEFAULT 'shop.jobs') RETURNS text LANGUAGE sql AS $$
	SELECT (policy_approve(approval_id)).status FROM policy.approvals a WHERE a.job_table = approve.job_table AND job_key = key AND status = 'pending'
$$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA helper TO PUBLIC;

-- Who has run what, one after the other: what code of others' writes down.
CREATE TABLE shop.ran (at serial, who text, what text);
GRANT INSERT ON shop.ran TO PUBLIC;
GRANT USAGE ON SEQUENCE shop.ran_at_seq TO PUBLIC;
CREATE FUNCTION ran(which text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	result text := (SELECT string_agg(DISTINCT who, ' ') FROM shop.ran WHERE what = which);
BEGIN
	DELETE FROM shop.ran;
	RETURN coalesce(result, 'nobody');
END
$$;
GRANT EXECUTE ON FUNCTION ran(text) TO PUBLIC;

--
-- A superuser attaches a table of somebody else's, whose triggers then run as that one
--
ALTER TABLE shop.jobs OWNER TO policy_test_app;
SELECT is((policy_attach('shop.jobs')).attached_by::text, current_user::text, 'a superuser attaches a table of another''s');
SET LOCAL SESSION AUTHORIZATION policy_test_app;
CREATE FUNCTION shop.spy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.ran (who, what) VALUES (current_user, 'trigger');
	RETURN new;
END
$$;
CREATE TRIGGER spy BEFORE UPDATE ON shop.jobs FOR EACH ROW EXECUTE FUNCTION shop.spy();
INSERT INTO shop.jobs (topic) VALUES ('own.a') RETURNING id \gset
INSERT INTO shop.jobs (topic) VALUES ('read.a') RETURNING id AS stopped \gset
RESET SESSION AUTHORIZATION;
SELECT is(approve(:'id'), 'approved', 'what it holds is approved');
SELECT is((ran('trigger'), status_of(:id))::text, '(policy_test_app,pending)', 'and goes on as the table''s owner');
INSERT INTO shop.jobs (topic) VALUES ('own.b') RETURNING id \gset
UPDATE policy.approvals SET expires_at = now() - interval '1 minute' WHERE status = 'pending';
SELECT policy_maintain() \g /dev/null
SELECT is((ran('trigger'), kept_of(:'id'))::text, '(policy_test_app,expired)', 'so it is in maintenance');
SELECT policy_redecide('shop.jobs', '{"state": "expired"}', 'again') \g /dev/null
SELECT is((ran('trigger'), kept_of(:'id'))::text, '(policy_test_app,awaiting_approval)', 'in policy_redecide');
SELECT policy_cancel('shop.jobs', :'id', 'no more') \g /dev/null
SELECT is((ran('trigger'), kept_of(:'id'))::text, '(policy_test_app,cancelled)', 'in policy_cancel');
SELECT halt_id AS halt FROM policy_halt('{"topic": "read.*"}', 'an incident') \gset
SET LOCAL SESSION AUTHORIZATION policy_test_app;
UPDATE shop.jobs SET status = 'running' WHERE id = :stopped;
SELECT is((ran('trigger'), status_of(:stopped))::text, '(policy_test_app,held)', 'in a start that is refused');
RESET SESSION AUTHORIZATION;
SELECT policy_resume(:halt, NULL) \g /dev/null
SELECT is((ran('trigger'), status_of(:stopped))::text, '(policy_test_app,pending)', 'and in policy_resume');
-- What would run later would run as who votes.
SET LOCAL SESSION AUTHORIZATION policy_test_app;
CREATE FUNCTION shop.leave() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('application_name', 'theirs', false);
	RETURN new;
END
$$;
CREATE TRIGGER leave BEFORE UPDATE ON shop.jobs FOR EACH ROW EXECUTE FUNCTION shop.leave();
INSERT INTO shop.jobs (topic) VALUES ('own.set') RETURNING id \gset
RESET SESSION AUTHORIZATION;
SELECT current_setting('application_name') AS application \gset
SELECT is(approve(:'id'), 'approved', 'with a trigger that sets something');
SELECT is(current_setting('application_name'), :'application', 'it is as it was for who votes');
DROP TRIGGER leave ON shop.jobs;
SET LOCAL SESSION AUTHORIZATION policy_test_app;
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON shop.jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.spy();
INSERT INTO shop.jobs (topic) VALUES ('own.late') RETURNING id \gset
RESET SESSION AUTHORIZATION;
SELECT throws_ok(format('SELECT approve(%L)', :'id'), '42501', NULL, 'a deferred trigger is not left to run as who votes');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT is(ran('trigger') IN ('policy_test_app', 'nobody'), true, 'and does not');
SET CONSTRAINTS ALL DEFERRED;
DROP TRIGGER late ON shop.jobs;
SELECT policy_detach('shop.jobs') \g /dev/null
SELECT is((policy_attach('shop.jobs')).job_table, 'shop.jobs', 'it is attached again');
SELECT is(ran('trigger'), 'nobody', 'trying it leaves nothing');

--
-- A preset that an admin makes
--
SELECT policy_detach('shop.jobs') \g /dev/null
SET LOCAL SESSION AUTHORIZATION policy_test_admin;
INSERT INTO policy.attach_presets (preset, detect, job, hold, deny, throttle, release, starts)
	SELECT 'theirs', detect || '{note}', 'jsonb_build_object(''topic'', shop.say(topic))', hold, deny, throttle, '{"note": "shop.say(note)"}', starts FROM policy.attach_presets WHERE preset = 'table';
SELECT is(sqlstate_of($$UPDATE policy.attach_presets SET job = 'shop.say(topic)' WHERE preset = 'table'$$), '42501', 'an admin does not change what came with the extension');
SELECT is(sqlstate_of($$DELETE FROM policy.attach_presets WHERE preset = 'pgmq'$$), '42501', 'nor takes it away');
SELECT is(sqlstate_of($$UPDATE policy.attach_presets SET built_in = true WHERE preset = 'theirs'$$), '42501', 'nor makes it look so');
SELECT is(sqlstate_of($$UPDATE policy.attach_presets SET note = 'mine' WHERE preset = 'theirs'$$), 'none', 'but changes his own');
RESET SESSION AUTHORIZATION;
SELECT upper(current_user) AS shouted \gset
CREATE ROLE :"shouted" LOGIN;
SELECT policy_grant(:'shouted', 'admin') \g /dev/null
SET LOCAL SESSION AUTHORIZATION :"shouted";
SELECT is(sqlstate_of($$DELETE FROM policy.attach_presets WHERE preset = 'pgmq'$$), '42501', 'nor does one whose name is the owner''s but for its case');
RESET SESSION AUTHORIZATION;
CREATE FUNCTION shop.say(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.ran (who, what) VALUES (current_user, 'preset');
	RETURN what;
END
$$;
GRANT SELECT, UPDATE, TRIGGER ON shop.jobs TO policy_test_operator;
INSERT INTO shop.jobs (topic) VALUES ('read.b');
SELECT is(problems_of($$SELECT policy_attach('shop.jobs')$$), 'preset "theirs" is not the extension''s own: an admin''s SQL would run with the rights of a superuser, you',
	'a superuser is not led to run it');
SELECT is(ran('preset'), 'nobody', 'nothing of it ran');
SET LOCAL SESSION AUTHORIZATION policy_test_operator;
SELECT is((policy_attach('shop.jobs')).preset, 'theirs', 'an operator may attach with it');
SET LOCAL SESSION AUTHORIZATION policy_test_app;
INSERT INTO shop.jobs (topic) VALUES ('own.c') RETURNING id \gset
SELECT is(ran('preset'), 'policy_test_app', 'it runs as who writes the row');
RESET SESSION AUTHORIZATION;
SELECT is(approve(:'id'), 'approved', 'a superuser votes');
SELECT is(ran('preset'), 'policy_test_operator', 'and it runs as who attached it');
SELECT policy_maintain() \g /dev/null
SELECT policy_approvals() \g /dev/null
SELECT is(ran('preset') IN ('policy_test_operator', 'nobody'), true, 'in maintenance, too');

-- A name that is no identifier without quotes
CREATE ROLE "policy_test Operator" LOGIN;
SELECT policy_grant('policy_test Operator', 'operate') \g /dev/null
GRANT USAGE ON SCHEMA shop TO "policy_test Operator";
CREATE TABLE shop.quoted (LIKE shop.jobs INCLUDING ALL);
GRANT SELECT, UPDATE, TRIGGER ON shop.quoted TO "policy_test Operator";
SET LOCAL SESSION AUTHORIZATION "policy_test Operator";
SELECT is((policy_attach('shop.quoted', 'table')).attached_by::text, '"policy_test Operator"', 'who attaches may have any name');
SELECT policy_detach('shop.quoted') \g /dev/null
RESET SESSION AUTHORIZATION;

--
-- Looking at an attachment runs nothing of it
--
CREATE TABLE shop.looked (LIKE shop.jobs INCLUDING ALL);
GRANT SELECT, UPDATE, TRIGGER ON shop.looked TO policy_test_operator;
SET LOCAL SESSION AUTHORIZATION policy_test_operator;
CREATE FUNCTION shop.constant(a text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM set_config('test.ran_as', current_user, false);
	RETURN a;
END
$$;
SELECT policy_attach('shop.looked', 'table', job => 'jsonb_build_object(''topic'', shop.constant(''read.a''))') \g /dev/null
RESET SESSION AUTHORIZATION;
ALTER TABLE shop.looked DISABLE TRIGGER zzz_policy_insert;
SELECT set_config('test.ran_as', 'nobody', false) \g /dev/null
SELECT * FROM policy_attachments \g /dev/null
SELECT is((SELECT outcome FROM policy_reattach_all() WHERE job_table = 'shop.looked'), 'attached again', 'a superuser puts an operator''s attachment right');
SELECT is(current_setting('test.ran_as'), 'nobody', 'and runs nothing of it, not even what is constant');

--
-- A table that is made again is another one's: its rows are moved as who says so now
--
DROP TABLE shop.looked;
SET LOCAL SESSION AUTHORIZATION policy_test_app;
CREATE TABLE shop.looked (LIKE shop.jobs INCLUDING ALL);
RESET SESSION AUTHORIZATION;
SELECT policy_grant('policy_test_app', 'operate') \g /dev/null
SET LOCAL SESSION AUTHORIZATION policy_test_app;
SELECT is((SELECT outcome FROM policy_reattach_all() WHERE job_table = 'shop.looked'), 'attached again', 'it is attached again');
SELECT is((SELECT attached_by FROM policy_attachments WHERE job_table = 'shop.looked'), 'policy_test_app', 'in the name of who did that');
RESET SESSION AUTHORIZATION;
SELECT policy_revoke('policy_test_app', 'operate') \g /dev/null

--
-- What policy_attachments shows
--
CREATE FUNCTION shown(job_table text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', present, enabled, current, warnings) FROM policy_attachments a WHERE a.job_table = shown.job_table
$$;
CREATE FUNCTION again(job_table text) RETURNS text LANGUAGE sql AS $$
	SELECT outcome FROM policy_reattach_all() r WHERE r.job_table = again.job_table
$$;
SELECT is(shown('shop.looked'), 't t t {}', 'all is well');
SELECT attachment_id AS id FROM policy.attached_tables WHERE job_table = 'shop.looked' \gset
DROP TRIGGER zzz_policy_update ON shop.looked;
CREATE TRIGGER zzz_policy_update BEFORE UPDATE ON shop.looked FOR EACH ROW WHEN (false) EXECUTE FUNCTION policy.attached_update(:'id');
SELECT is(shown('shop.looked'), 'f f t {"trigger zzz_policy_update of shop.looked is not the one that was made"}', 'a trigger that was made with a condition');
DROP TRIGGER zzz_policy_update ON shop.looked;
CREATE TRIGGER zzz_policy_update BEFORE UPDATE OF note ON shop.looked FOR EACH ROW EXECUTE FUNCTION policy.attached_update(:'id');
SELECT is(shown('shop.looked'), 'f f t {"trigger zzz_policy_update of shop.looked is not the one that was made"}', 'or of some columns');
DROP TRIGGER zzz_policy_update ON shop.looked;
CREATE TRIGGER zzz_policy_update AFTER UPDATE ON shop.looked FOR EACH ROW EXECUTE FUNCTION policy.attached_update(:'id');
SELECT is(shown('shop.looked'), 'f f t {"trigger zzz_policy_update of shop.looked is not the one that was made"}', 'or at another time');
SELECT is(again('shop.looked') || ' ' || shown('shop.looked'), 'attached again t t t {}', 'policy_reattach_all puts it right');
ALTER TABLE shop.looked ENABLE REPLICA TRIGGER zzz_policy_update;
SELECT is(shown('shop.looked'), 't f t {"trigger zzz_policy_update of shop.looked is disabled"}', 'one that fires on replicas alone');
SELECT again('shop.looked') \g /dev/null
CREATE TABLE shop.child () INHERITS (shop.looked);
SELECT is(shown('shop.looked'), 't t t {"table shop.child inherits from it, and has no guard"}', 'a table that inherits from it');
DROP TABLE shop.child;
ALTER TABLE shop.jobs ENABLE ROW LEVEL SECURITY;
SELECT is(shown('shop.jobs'), 't t t {"row security has no policy for who attached it to see its rows","row security has no policy for who attached it to change its rows"}',
	'row security that hides the rows from who attached it');
ALTER TABLE shop.jobs DISABLE ROW LEVEL SECURITY;
REVOKE UPDATE ON shop.jobs FROM policy_test_operator;
SELECT is(shown('shop.jobs'), 't t t {"who attached it lacks the privilege UPDATE"}', 'a privilege that it has no more');
SELECT is(again('shop.jobs') || ' ' || shown('shop.jobs'), 'attached again t t t {}', 'who has it takes its place');

-- A table that is renamed takes along what is open; evidence has the name that it had.
INSERT INTO shop.jobs (topic) VALUES ('own.d') RETURNING id \gset
ALTER TABLE shop.jobs RENAME TO tasks;
SELECT is(shown('shop.jobs'), 't t f {"its name was shop.jobs"}', 'a name that has changed');
SELECT is(again('shop.jobs') || ' ' || shown('shop.tasks'), 'attached again t t t {}', 'is taken over');
SELECT is(approve(:'id', 'shop.tasks'), 'approved', 'what was open is approved');
SELECT is((SELECT status FROM shop.tasks WHERE id = :id), 'pending', 'and goes on');
SELECT is((decided_of(:'id'), decided_of(:'id', 'shop.tasks'))::text, '("submit REQUIRE_APPROVAL own","vote ALLOW_WITH_CONSTRAINTS own")', 'and evidence is under the name of its time');

-- A table that is gone, and will not come again
INSERT INTO shop.tasks (topic) VALUES ('own.e') RETURNING id \gset
SELECT 'shop.tasks'::regclass::oid AS gone \gset
DROP TABLE shop.tasks;
SELECT is(shown('shop.tasks'), format('f f f {"the table is gone: SELECT policy_detach(%s) forgets it"}', :gone), 'a table that was dropped');
SELECT is(again('shop.tasks'), format('the table is gone: SELECT policy_detach(%s) forgets it', :gone), 'cannot be put right');
SELECT is((policy_detach(:gone)).job_table, 'shop.tasks', 'but be forgotten');
SELECT is(asked_of(:'id', 'shop.tasks'), 'own superseded 0', 'with what was asked about it');

SELECT * FROM finish();
ROLLBACK;
