\ir attach.psql
SELECT plan(70);
SELECT is(release('v1', first_rules()), 'v1', 'a policy is in force');

--
-- A table is attached: what is left out comes from the preset that its columns tell
--
INSERT INTO shop.jobs (topic) OVERRIDING USER VALUE VALUES ('read.before') RETURNING id AS before \gset
SELECT is((a.job_table, a.preset, a.job_key, a.on_deny, a.attached_by::text)::text, ('shop.jobs', 'table', 'id::text', 'mark', current_user)::text,
	'it says what it took')
FROM policy_attach('shop.jobs') a;
SELECT is((SELECT count(*) FROM policy.decisions WHERE job_table = 'shop.jobs') + (SELECT count(*) FROM policy.guarded_jobs), 0::bigint,
	'the rows that it was tried on are recorded nowhere');
SELECT is(status_of(:before), 'pending', 'and are as they were');
SELECT is((SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'shop.jobs'::regclass AND NOT tgisinternal),
	'zzz_policy_begin zzz_policy_flush zzz_policy_gone zzz_policy_insert zzz_policy_record zzz_policy_take zzz_policy_truncate zzz_policy_update', 'its triggers are there');

--
-- A row that comes in is decided, recorded and marked in one
--
INSERT INTO shop.jobs (topic, payload) VALUES ('read.a', '1'), ('write.a', '2'), ('mail.a', '3'), ('prod.a', '4'), ('drop.a', '5'), ('other.a', '6'), (NULL, '7');
CREATE TEMP TABLE wanted (topic text, status text, late interval, decided text, asked text, kept text);
INSERT INTO wanted VALUES
	('read.a', 'pending', '0', 'submit ALLOW read', 'none', NULL),
	('write.a', 'pending', '0', 'submit ALLOW_WITH_CONSTRAINTS write', 'none', NULL),
	('mail.a', 'pending', '30s', 'submit THROTTLE mail', 'none', 'throttled'),
	('prod.a', 'held', '0', 'submit REQUIRE_APPROVAL prod', 'prod pending 0', 'awaiting_approval'),
	('drop.a', 'denied', '0', 'submit DENY drop', 'none', 'denied'),
	('other.a', 'denied', '0', 'submit DENY -', 'none', 'denied'),
	(NULL, 'denied', '0', 'submit DENY -', 'none', 'denied');
SELECT is((j.status, decided_of(j.id::text), asked_of(j.id::text), kept_of(j.id::text))::text, (w.status, w.decided, w.asked, w.kept)::text,
	coalesce(w.topic, 'no topic') || ': marked, recorded, asked and kept as decided')
FROM wanted w JOIN shop.jobs j ON j.topic IS NOT DISTINCT FROM w.topic AND j.payload IS NOT NULL;
SELECT is(j.run_at > clock_timestamp() + interval '20s', w.late > '0', coalesce(w.topic, 'no topic') || ': runs when it may')
FROM wanted w JOIN shop.jobs j ON j.topic IS NOT DISTINCT FROM w.topic AND j.payload IS NOT NULL;
SELECT is((d.job, d.job_hash = sha256(convert_to(d.job::text, 'UTF8')), d.tenant_id, d.topic, d.session_role)::text,
	('{"topic": "prod.a", "payload": 4}'::jsonb, true, 'default', 'prod.a', session_user)::text, 'evidence has the job that the row is')
FROM policy.decisions d WHERE d.topic = 'prod.a';
SELECT is(count(*), 7::bigint, 'one decision a row') FROM policy.decisions WHERE job_table = 'shop.jobs';
SELECT is((a.requested_by, a.job_hash)::text, (session_user, d.job_hash)::text, 'an approval names who asked, and is for that job')
FROM policy.approvals a JOIN policy.decisions d USING (decision_id);

--
-- In bulk, by COPY, and where ON CONFLICT leaves rows out
--
INSERT INTO shop.jobs (topic, payload) SELECT (ARRAY['read.many', 'prod.many', 'drop.many'])[1 + n % 3], to_jsonb(n) FROM generate_series(1, 1500) n;
SELECT is((count(*), count(DISTINCT d.job_key))::text, '(1500,1500)', 'each of many rows has its evidence')
FROM policy.decisions d JOIN shop.jobs j ON j.id::text = d.job_key AND d.job = jsonb_build_object('topic', j.topic, 'payload', j.payload)
WHERE d.topic LIKE '%.many';
SELECT is(array_agg(DISTINCT status ORDER BY status), '{held}', 'and its mark') FROM shop.jobs WHERE topic = 'prod.many';
COPY shop.jobs (topic, payload) FROM stdin;
read.copied	{"n": 1}
prod.copied	{"n": 2}
\.
SELECT is(string_agg(status || ' ' || decided_of(id::text), ', ' ORDER BY id), 'pending submit ALLOW read, held submit REQUIRE_APPROVAL prod', 'COPY is decided, too')
FROM shop.jobs WHERE topic LIKE '%.copied';
CREATE TABLE shop.unique_jobs (LIKE shop.jobs INCLUDING ALL, UNIQUE (topic));
SELECT is((policy_attach('shop.unique_jobs', 'table')).job_table, 'shop.unique_jobs', 'another table is attached');
INSERT INTO shop.unique_jobs (topic, payload) VALUES ('prod.a', '1'), ('read.b', '1') \g /dev/null
SELECT count(*) AS before FROM policy.decisions \gset
INSERT INTO shop.unique_jobs (topic, payload) VALUES ('prod.a', '2'), ('prod.c', '2'), ('read.b', '2') ON CONFLICT (topic) DO NOTHING;
SELECT is((count(*) - :before, (SELECT count(*) FROM policy.approvals WHERE job_table = 'shop.unique_jobs'))::text, '(1,2)',
	'a row that ON CONFLICT leaves out has no evidence and asks nobody') FROM policy.decisions;
SELECT is(decided_of(id::text, 'shop.unique_jobs'), 'submit REQUIRE_APPROVAL prod', 'the one that is stored has') FROM shop.unique_jobs WHERE topic = 'prod.c';

--
-- What does not fit is refused, all of it at once, before anything is made
--
CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', SQLSTATE, CASE WHEN hint = '' THEN 'no hint' END, detail);
END
$$;
CREATE TABLE shop.plain (id bigint PRIMARY KEY, body jsonb, at timestamptz, state text CHECK (state <> 'never'), twice bigint GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE shop.no_key (topic text, payload jsonb, status text, run_at timestamptz);
CREATE FUNCTION attach_plain(job text DEFAULT 'body', hold text DEFAULT '{"state": "''held''"}', starts text DEFAULT 'new.state = ''running''') RETURNS text LANGUAGE sql AS $$
	SELECT refusal(format($q$SELECT policy_attach('shop.plain', job => %L, hold => %L, deny => '{"state": "''denied''"}', throttle => '{"at": "retry_at"}', starts => %L)$q$, job, hold, starts))
$$;
SELECT is(refusal($$SELECT policy_attach('shop.plain')$$), E'PE012\nNo preset fits its columns.', 'columns that fit no preset');
SELECT is(refusal($$SELECT policy_attach('shop.plain', 'nothing')$$), E'PE012\nthere is no preset "nothing"', 'a preset that there is not');
SELECT is(refusal($$SELECT policy_attach('shop.no_key')$$), E'PE012\nshop.no_key has no primary key', 'a table without a primary key');
SELECT is(refusal($$SELECT policy_attach('policy.jobs', 'table')$$) LIKE E'PE012\n%is a table of the system or of policy_engine%', true, 'the extension''s own');
SELECT is(refusal($$SELECT policy_attach('pg_class', 'table')$$) LIKE E'PE012\n%is a table of the system or of policy_engine%', true, 'a catalog');
SELECT is(refusal($$SELECT policy_attach('shop.jobs')$$), E'PE012\nit is attached already', 'a table that is attached already');
SELECT is(attach_plain(job => 'bodi', hold => '{"stat": "1", "at": "id", "twice": "1"}', starts => 'new.state'), E'PE012\n'
	'job: column "bodi" does not exist\nstarts: an expression of type text was given where boolean is needed\n'
	'hold: at: an expression of type bigint was given where timestamp with time zone is needed\n'
	'hold: stat: column "stat" does not exist\nhold: twice: column "twice" is generated and cannot be set', 'all that is wrong is said at once');
SELECT is(attach_plain(job => source), E'PE012\njob: ' || problem, 'no job: ' || source)
FROM (VALUES ('(SELECT body)', 'cannot use subquery in trigger WHEN condition'),
	('body), (body', '"body), (body" is not one expression'),
	('body) FROM pg_class WHERE (true', '"body) FROM pg_class WHERE (true" is not one expression'),
	('jsonb_agg(body)', 'aggregate functions are not allowed in trigger WHEN conditions'),
	('to_jsonb(twice)', 'generated column "twice" is not known where a row is decided'),
	('to_jsonb(ctid)', 'system columns are not known where a row is decided'),
	('helper.job(1)', 'cannot cast type policy.jobs to jsonb'),
	('job(1)', 'function job(integer) does not exist')) v(source, problem)
WHERE source <> 'helper.job(1)';
INSERT INTO shop.plain VALUES (1, '{"topic": "read.a"}', now(), 'new'), (2, '{"topic": 5}', now(), 'new');
SELECT is(attach_plain(hold => '{"state": "''never''"}'), E'PE012\nhold: new row for relation "plain" violates check constraint "plain_state_check"',
	'a mark that the table''s own constraints refuse');
SELECT is(attach_plain(job => $$jsonb_build_object('topic', 10 / (id - 2))$$), E'PE012\njob: division by zero\njob: no row that is there gives a valid job: topic is not a string',
	'a job that cannot be made of a row that is there');
SELECT is(attach_plain(job => 'jsonb_build_object()'), E'PE012\njob: no row that is there gives a valid job: topic is absent', 'a job that is none');
SELECT is((SELECT count(*) FROM policy.attached_tables WHERE relation = 'shop.plain'::regclass)
	+ (SELECT count(*) FROM pg_trigger WHERE tgrelid = 'shop.plain'::regclass), 0::bigint, 'and nothing of it was made');
SELECT is(attach_plain(), 'accepted', 'what fits is accepted');
SELECT policy_detach('shop.plain') \g /dev/null

--
-- on_deny => raise: the statement fails, and nothing is stored
--
SELECT is((policy_attach('shop.plain', job => 'body', hold => '{"state": "''held''"}', deny => '{"state": "''denied''"}', throttle => '{"at": "retry_at"}',
	starts => 'new.state = ''running''', on_deny => 'raise')).on_deny, 'raise', 'a table that raises');
SELECT throws_ok($$INSERT INTO shop.plain VALUES (3, '{"topic": "drop.a"}', now(), 'new')$$, 'PE017', 'denied by policy: never', 'a denied row raises PE017');
SELECT is(count(*), 0::bigint, 'and is not there') FROM shop.plain WHERE id = 3;
SELECT lives_ok($$INSERT INTO shop.plain VALUES (3, '{"topic": "prod.a"}', now(), 'new')$$, 'any other does not');
SELECT is((SELECT state FROM shop.plain WHERE id = 3) || ' ' || kept_of('3', 'shop.plain'), 'held awaiting_approval', 'and is marked');

--
-- Expressions run as who writes the row
--
CREATE FUNCTION shop.who(body jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT body || jsonb_build_object('payload', current_user::text) $$;
CREATE ROLE policy_test_writer LOGIN;
GRANT USAGE ON SCHEMA shop TO policy_test_writer;
CREATE TABLE shop.written (LIKE shop.plain INCLUDING ALL);
GRANT INSERT, SELECT ON shop.written TO policy_test_writer;
SELECT policy_attach('shop.written', job => 'shop.who(body)', hold => '{"state": "''held''"}', deny => '{"state": "current_user"}', throttle => '{"at": "retry_at"}',
	starts => 'new.state = ''running''') \g /dev/null
SET LOCAL ROLE policy_test_writer;
INSERT INTO shop.written VALUES (1, '{"topic": "read.a"}', now(), 'new'), (2, '{"topic": "drop.a"}', now(), 'new');
RESET ROLE;
SELECT is((SELECT job ->> 'payload' FROM policy.decisions WHERE job_table = 'shop.written' AND job_key = '1'), 'policy_test_writer', 'the job is made as who writes it');
SELECT is((SELECT state FROM shop.written WHERE id = 2), 'policy_test_writer', 'and so is its mark');
REVOKE EXECUTE ON FUNCTION shop.who(jsonb) FROM PUBLIC;
SET LOCAL ROLE policy_test_writer;
SELECT is(sqlstate_of($$INSERT INTO shop.written VALUES (3, '{"topic": "read.a"}', now(), 'new')$$), '42501', 'who may not use what it is made with writes nothing');
RESET ROLE;
SELECT lives_ok($$INSERT INTO shop.written VALUES (3, '{"topic": "read.a"}', now(), 'new')$$, 'who may does');

--
-- An identity that is bound to who writes the row is the job's, whatever the row says
--
CREATE ROLE policy_test_agent LOGIN;
SELECT policy_grant('policy_test_agent', 'submit', '{"tenant_id": "acme"}') \g /dev/null
GRANT USAGE ON SCHEMA shop TO policy_test_agent;
CREATE TABLE shop.claims (id int PRIMARY KEY, topic text, tenant text, status text, run_at timestamptz, payload jsonb);
SELECT policy_attach('shop.claims', 'table', job => 'jsonb_strip_nulls(jsonb_build_object(''topic'', topic, ''tenant_id'', tenant))') \g /dev/null
GRANT INSERT ON shop.claims TO policy_test_agent;
SET LOCAL SESSION AUTHORIZATION policy_test_agent;
INSERT INTO shop.claims VALUES (1, 'read.a', NULL, 'pending', now()), (2, 'read.a', 'Acme', 'pending', now()), (3, 'read.a', 'other', 'pending', now());
RESET SESSION AUTHORIZATION;
SELECT is((SELECT string_agg(concat_ws(' ', job ->> 'tenant_id', tenant_id, decision), ', ' ORDER BY job_key) FROM policy.decisions WHERE job_table = 'shop.claims'),
	'acme acme ALLOW, acme acme ALLOW, other DENY', 'a tenant that is bound is stamped, and a contradiction denied');
UPDATE shop.claims SET status = 'running';
SELECT is((SELECT string_agg(status, ' ' ORDER BY id) FROM shop.claims), 'running running denied', 'a start asks for the same tenant');
SELECT is((SELECT count(*) FROM policy.decisions WHERE job_table = 'shop.claims'), 3::bigint, 'and finds nothing changed');

--
-- Who may attach
--
CREATE ROLE policy_test_operator LOGIN;
SELECT policy_grant('policy_test_operator', 'operate') \g /dev/null
GRANT USAGE ON SCHEMA shop, helper TO policy_test_operator;
CREATE TABLE shop.granted (LIKE shop.jobs INCLUDING ALL);
SET LOCAL SESSION AUTHORIZATION policy_test_operator;
SELECT is(refusal($$SELECT policy_attach('shop.granted')$$), E'PE012\nyou lack the privilege TRIGGER on shop.granted\nyou lack the privilege SELECT on shop.granted\nyou lack the privilege UPDATE on shop.granted',
	'the duty alone does not do');
SELECT is(refusal($$SELECT policy.keep_attachment(ROW(1, 'shop.granted'::regclass, '', '', '', '', '{}', '{}', '{}', '{}', '{}', '{}', '', '', '', 'mark', '', '{}', 'postgres'::regrole, now())::policy.attached_tables)$$)
	LIKE E'PE012\nyou lack the privilege TRIGGER%', true, 'nor does asking its inside');
RESET SESSION AUTHORIZATION;
GRANT TRIGGER, SELECT, UPDATE ON shop.granted TO policy_test_operator;
SET LOCAL SESSION AUTHORIZATION policy_test_operator;
SELECT is((policy_attach('shop.granted')).attached_by::text, 'policy_test_operator', 'with the rights on the table it does');
SELECT is((policy_detach('shop.granted')).job_table, 'shop.granted', 'and who attached it detaches it');
RESET SESSION AUTHORIZATION;
ALTER TABLE shop.granted ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON shop.granted TO policy_test_writer USING (true);
CREATE POLICY reads ON shop.granted FOR SELECT USING (true);
CREATE POLICY less ON shop.granted AS RESTRICTIVE USING (true);
SET LOCAL SESSION AUTHORIZATION policy_test_operator;
SELECT is(refusal($$SELECT policy_attach('shop.granted')$$), E'PE012\nrow security of shop.granted has no policy for you to change its rows', 'not where row security hides the rows');
RESET SESSION AUTHORIZATION;
CREATE POLICY attaches ON shop.granted TO policy_test_operator USING (true);
SET LOCAL SESSION AUTHORIZATION policy_test_operator;
SELECT is((policy_attach('shop.granted')).job_table, 'shop.granted', 'unless it has a policy for who attaches it');
RESET SESSION AUTHORIZATION;

--
-- Detached, a table is what it was
--
SELECT is((policy_detach('shop.jobs')).job_table, 'shop.jobs', 'policy_detach returns what it was');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = 'shop.jobs'::regclass) + (SELECT count(*) FROM policy.guarded_jobs WHERE job_table = 'shop.jobs'),
	0::bigint, 'nothing of it is left');
SELECT is((SELECT count(*) FROM policy.approvals WHERE job_table = 'shop.jobs' AND status = 'pending'), 0::bigint, 'nobody is asked any more');
SELECT is(status_of(bring('drop.again')), 'pending', 'and nothing is decided');
SELECT throws_ok($$SELECT policy_detach('shop.jobs')$$, 'PE012', 'shop.jobs is not attached', 'a table that is not attached cannot be detached');

SELECT * FROM finish();
ROLLBACK;
