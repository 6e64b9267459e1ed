-- Ways round the guard that a client of its table could try with nothing but SQL.
\ir attach.psql
SELECT plan(47);
SELECT release('v1', first_rules() || '
  - {id: own, match: {topics: ["own.*"]}, decision: require_approval, approval: {allow_self: true}, constraints: {max_retries: 1}}
  - {id: slow, match: {topics: ["slow.*"]}, decision: throttle, retry_after_sec: 3600}') \g /dev/null
SELECT policy_attach('shop.jobs', allow => '{"note": "constraints::text"}') \g /dev/null
CREATE FUNCTION approve(key bigint) RETURNS text LANGUAGE sql AS $$
	SELECT (policy_approve(approval_id)).status FROM policy.approvals WHERE job_table = 'shop.jobs' AND job_key = key::text AND status = 'pending'
$$;

--
-- To come in as one that runs
--
SELECT throws_ok($$INSERT INTO shop.jobs (topic, status) VALUES ('prod.a', 'running')$$, 'PE008', NULL, 'what needs approval does not come in running');
SELECT throws_ok($$INSERT INTO shop.jobs (topic, status) VALUES ('mail.a', 'running')$$, 'PE008', NULL, 'nor does what is throttled');
INSERT INTO shop.jobs (topic, status) VALUES ('drop.a', 'running') RETURNING id \gset
SELECT is((status_of(:id), decided_of(:'id'))::text, '(denied,"submit DENY drop")', 'what is denied is marked');
SAVEPOINT allowed;
SELECT release('v2', '
  - {id: drop, match: {topics: ["drop.*"]}, decision: allow}') \g /dev/null
SELECT throws_ok($$SELECT policy_redecide('shop.jobs', '{"topic": "drop.a"}', 'put right')$$, 'PE008', NULL, 'and does not go on as one that runs');
ROLLBACK TO allowed;
INSERT INTO shop.jobs (topic, status) VALUES ('write.a', 'running') RETURNING id \gset
SELECT is((SELECT (status, note::jsonb ->> 'region')::text FROM shop.jobs WHERE id = :id), '(running,eu)', 'what is allowed runs, and has its constraints');
SELECT halt_id AS halt FROM policy_halt('{"topic": "write.*"}', 'an incident') \gset
SELECT throws_ok($$INSERT INTO shop.jobs (topic, status) VALUES ('write.b', 'running')$$, 'PE008', NULL, 'but not where a halt covers it');
SELECT policy_resume(:halt, NULL) \g /dev/null
SELECT bring('own.a', '1') AS id \gset
SELECT approve(:id) \g /dev/null
DELETE FROM shop.jobs WHERE id = :id;
SELECT throws_ok(format($$INSERT INTO shop.jobs (id, topic, payload, status) OVERRIDING SYSTEM VALUE VALUES (%s, 'own.a', '1', 'running')$$, :id), 'PE008', NULL,
	'an approval is not used where no start is counted');
INSERT INTO shop.jobs (id, topic, payload) OVERRIDING SYSTEM VALUE VALUES (:id, 'own.a', '1');
SELECT is((take(:id), asked_of(:'id'))::text, '(own.a,"own consumed 1")', 'but by a row that waits, and then starts');

--
-- To start from nowhere, or to start something else
--
ALTER TABLE shop.jobs ALTER COLUMN status DROP NOT NULL;
INSERT INTO shop.jobs (topic, status) VALUES ('read.a', NULL) RETURNING id \gset
SAVEPOINT denied;
SELECT release('v2', '
  - {id: stop, match: {topics: ["read.*"]}, decision: deny}') \g /dev/null
UPDATE shop.jobs SET status = 'running' WHERE id = :id;
SELECT is((status_of(:id), decided_of(:'id'))::text, '(denied,"submit ALLOW read, claim DENY stop")', 'a start from a status that is NULL is one');
ROLLBACK TO denied;
SELECT bring('read.a', '1') AS id \gset
UPDATE shop.jobs SET status = 'running', payload = '2' WHERE id = :id;
SELECT is((SELECT string_agg(d.source || ' ' || (d.job ->> 'payload'), ', ' ORDER BY decision_id) FROM policy.decisions d WHERE d.job_key = :'id' AND d.job_table = 'shop.jobs'),
	'submit 1, claim 2', 'what is changed as it starts is recorded as it runs');
SELECT bring('read.a', '1') AS id \gset
UPDATE shop.jobs SET status = 'running', topic = 'prod.swap' WHERE id = :id;
SELECT is((status_of(:id), kept_of(:'id'))::text, '(held,awaiting_approval)', 'and decided as that');
SELECT bring('own.b', '1') AS id \gset
SELECT approve(:id) \g /dev/null
UPDATE shop.jobs SET status = 'running', payload = '2' WHERE id = :id;
SELECT is((status_of(:id), (SELECT max(attempts) FROM policy.approvals WHERE job_key = :'id'))::text, '(held,0)', 'an approval is for what it was given to, at the start too');

--
-- To take what another row has been given
--
SELECT bring('own.c', '1') AS first \gset
SELECT bring('own.c', '2') AS id \gset
SELECT approve(:first) \g /dev/null
UPDATE shop.jobs j SET payload = o.payload FROM shop.jobs o WHERE j.id IN (:first, :id) AND o.id = :first + :id - j.id;
SELECT is((status_of(:first), status_of(:id))::text, '(held,held)', 'two rows whose payloads are swapped ask again');
CREATE TABLE shop.named (id int PRIMARY KEY, name text UNIQUE, topic text, payload jsonb, status text, run_at timestamptz);
SELECT policy_attach('shop.named', job_key => 'name') \g /dev/null
INSERT INTO shop.named VALUES (1, 'a', 'prod.a', '1', 'pending', now());
SELECT throws_ok($$UPDATE shop.named SET id = 2$$, 'PE014', NULL, 'no row takes the key of another');
SELECT throws_ok($$UPDATE shop.named SET name = 'b'$$, 'PE014', NULL, 'whatever it is known by');
SELECT bring('slow.a', '1') AS id \gset
SELECT put_kept(:'id', $$run_after = now() - interval '1 second'$$) \g /dev/null
WITH gone AS (DELETE FROM shop.jobs WHERE id = :id RETURNING *)
	INSERT INTO shop.jobs (id, topic, payload) OVERRIDING SYSTEM VALUE SELECT id, topic, '2' FROM gone;
SELECT is((kept_of(:'id'), take(:id))::text, '(throttled,)', 'another job under its key has not waited');
SELECT bring('slow.b', '1') AS id \gset
SELECT put_kept(:'id', $$run_after = now() - interval '1 second'$$) \g /dev/null
WITH gone AS (DELETE FROM shop.jobs WHERE id = :id RETURNING *)
	INSERT INTO shop.jobs (id, topic, payload) OVERRIDING SYSTEM VALUE SELECT id, topic, payload FROM gone;
SELECT is(take(:id), 'slow.b', 'the same one has');

--
-- Statements of any kind
--
SELECT bring('prod.m') AS held \gset
SELECT bring('read.m') AS free \gset
MERGE INTO shop.jobs j USING (VALUES (:held, 'x'), (:free, 'x'), (-1, 'drop.m')) v(id, topic) ON v.id = j.id
	WHEN MATCHED THEN UPDATE SET status = 'running' WHEN NOT MATCHED THEN INSERT (topic) VALUES (v.topic);
SELECT is((status_of(:held), status_of(:free), (SELECT status FROM shop.jobs WHERE topic = 'drop.m'))::text, '(held,running,denied)', 'MERGE');
SELECT bring('prod.n') AS held \gset
WITH x AS (UPDATE shop.jobs SET status = 'pending', run_at = now() WHERE id = :held RETURNING id)
	UPDATE shop.jobs j SET status = 'running' FROM x WHERE j.id = x.id;
SELECT is(status_of(:held), 'held', 'an update of what another one returns');
SELECT bring('read.n') AS free \gset
SAVEPOINT denied;
SELECT release('v2', '
  - {id: stop, match: {topics: ["read.*"]}, decision: deny}') \g /dev/null
DECLARE found CURSOR FOR SELECT * FROM shop.jobs WHERE id = :free FOR UPDATE;
FETCH found \g /dev/null
UPDATE shop.jobs SET status = 'running' WHERE CURRENT OF found;
SELECT is(status_of(:free), 'denied', 'WHERE CURRENT OF');
ROLLBACK TO denied;
SAVEPOINT approved;
SELECT bring('own.n') AS held \gset
SELECT approve(:held) \g /dev/null
ROLLBACK TO approved;
SELECT bring('own.o') AS held \gset
SAVEPOINT changed;
UPDATE shop.jobs SET topic = 'read.o' WHERE id = :held;
SELECT is(status_of(:held), 'pending', 'what is changed to what is allowed goes on');
ROLLBACK TO changed;
UPDATE shop.jobs SET status = 'running' WHERE id = :held;
SELECT is(status_of(:held), 'held', 'but not where that is rolled back');
PREPARE force(bigint) AS UPDATE shop.jobs SET status = 'running' WHERE id = $1 RETURNING id;
EXECUTE force(:held) \g /dev/null
SELECT is(status_of(:held), 'held', 'a prepared statement');
SELECT bring('read.p') AS id \gset
UPDATE shop.jobs SET status = 'done' WHERE id = :id;
UPDATE shop.jobs SET status = 'pending' WHERE id = :id;
SELECT is(decided_of(:'id'), 'submit ALLOW read, update ALLOW read', 'what is brought back to life is decided as what comes in');
UPDATE shop.jobs SET status = 'done' WHERE id = :id;
UPDATE shop.jobs SET status = 'pending', topic = 'prod.p' WHERE id = :id;
SELECT is(status_of(:id), 'held', 'as what it is by then');
CREATE VIEW shop.pending AS SELECT * FROM shop.jobs;
INSERT INTO shop.pending (topic) VALUES ('prod.view');
UPDATE shop.pending SET status = 'running' WHERE topic = 'prod.view';
SELECT is((SELECT status FROM shop.jobs WHERE topic = 'prod.view'), 'held', 'through a view');

--
-- Names of the client's own that would take the place of what the guard means
--
CREATE SCHEMA evil;
CREATE FUNCTION evil.jsonb_build_object(VARIADIC "any") RETURNS jsonb LANGUAGE internal AS 'jsonb_build_object_noargs';
CREATE FUNCTION evil.same(a text, b text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE TEMP TABLE guarded_jobs (job_key text);
CREATE TEMP TABLE decisions (job_key text);
SELECT bring('read.q') AS before \gset
SET LOCAL search_path = evil, pg_temp, public, pg_catalog;
INSERT INTO shop.jobs (topic) VALUES ('prod.q') RETURNING id AS held \gset
UPDATE shop.jobs SET status = 'running' WHERE id = :held;
SET LOCAL search_path = helper, public;
SELECT is((SELECT (status, decided_of(id::text))::text FROM shop.jobs WHERE topic = 'prod.q'), '(held,"submit REQUIRE_APPROVAL prod")', 'are not looked up');

--
-- Row security that hides the rows from others hides nothing from the guard
--
CREATE ROLE policy_test_tenant LOGIN;
CREATE TABLE shop.secured (LIKE shop.jobs INCLUDING ALL, owner text DEFAULT current_user);
ALTER TABLE shop.secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON shop.secured USING (owner = current_user);
SELECT policy_attach('shop.secured', 'table') \g /dev/null
GRANT USAGE ON SCHEMA shop TO policy_test_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.secured TO policy_test_tenant;
SET LOCAL SESSION AUTHORIZATION policy_test_tenant;
INSERT INTO shop.secured (topic) VALUES ('prod.r');
UPDATE shop.secured SET status = 'running';
RESET SESSION AUTHORIZATION;
SELECT is((SELECT status || ' ' || owner FROM shop.secured), 'held policy_test_tenant', 'a row of one who sees his own alone');

--
-- A domain, and a generated column beside what the job is made of
--
CREATE DOMAIN shop.status AS text CHECK (VALUE IN ('pending', 'held', 'denied', 'running', 'done'));
CREATE TABLE shop.typed (id int PRIMARY KEY, topic text, payload jsonb, status shop.status DEFAULT 'pending', run_at timestamptz DEFAULT now(), shouted text GENERATED ALWAYS AS (upper(topic)) STORED);
SELECT policy_attach('shop.typed', 'table') \g /dev/null
INSERT INTO shop.typed (id, topic) VALUES (1, 'prod.s'), (2, 'read.s');
UPDATE shop.typed SET status = 'running';
SELECT is((SELECT string_agg(status || ' ' || shouted, ', ' ORDER BY id) FROM shop.typed), 'held PROD.S, running READ.S', 'types of the client''s own');

--
-- TRUNCATE: what is kept of rows that it takes goes with them
--
SELECT bring('prod.t') AS id \gset
TRUNCATE shop.jobs;
SELECT is((kept_of(:'id'), asked_of(:'id'))::text, '(,"prod superseded 0")', 'nobody is asked about a row that was truncated');
INSERT INTO shop.jobs (id, topic) OVERRIDING SYSTEM VALUE VALUES (:id, 'read.t');
SELECT is(take(:id), 'read.t', 'and another one under its key starts');
CREATE TABLE shop.parts (id int PRIMARY KEY, topic text, payload jsonb, status text DEFAULT 'pending', run_at timestamptz DEFAULT now()) PARTITION BY RANGE (id);
CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES FROM (1) TO (10);
CREATE TABLE shop.parts_2 PARTITION OF shop.parts FOR VALUES FROM (10) TO (20);
SELECT policy_attach('shop.parts', 'table') \g /dev/null
INSERT INTO shop.parts (id, topic) VALUES (1, 'prod.u'), (10, 'prod.u');
TRUNCATE shop.parts_1;
SELECT is((kept_of('1', 'shop.parts'), kept_of('10', 'shop.parts'))::text, '(,awaiting_approval)', 'nor one of a partition; the others stay');
TRUNCATE shop.parts;
SELECT is(kept_of('10', 'shop.parts'), NULL, 'until all go');
INSERT INTO shop.parts (id, topic) VALUES (1, 'prod.v');
SELECT throws_ok($$UPDATE shop.parts SET id = 10$$, 'PE014', NULL, 'a row does not move to another partition under another key');

--
-- What a policy has no hold on is not attached
--
CREATE TABLE shop.other (LIKE shop.jobs INCLUDING ALL);
SELECT is(problems_of($$SELECT policy_attach('shop.other', 'table', job => 'jsonb_build_object(''topic'', topic, ''payload'', status)')$$),
	'column "status" is part of the job, and cannot be what holds, denies or throttles it', 'a job that its own mark would make another one');
SELECT is(problems_of($$SELECT policy_attach('shop.other', 'table', job => 'to_jsonb(new)')$$) LIKE '%column "run_at" is part of the job%', true, 'a whole row, likewise');
SELECT is(problems_of($$SELECT policy_attach('shop.other', 'table', job_key => 'id || status')$$),
	'column "status" is part of the job''s key, and cannot be set', 'a key that its mark would change');
CREATE TABLE shop.by_status (id int, topic text, payload jsonb, status text, run_at timestamptz, PRIMARY KEY (id, status)) PARTITION BY LIST (status);
SELECT is(problems_of($$SELECT policy_attach('shop.by_status')$$), 'column "status" is part of the job''s key, and cannot be set', 'nor one that is partitioned by it');
INSERT INTO shop.other (topic, payload) VALUES ('read.a', '{}');
SELECT is(problems_of($$SELECT policy_attach('shop.other', 'table', allow => '{"payload": "constraints"}')$$), 'allow: what it sets changes what the job is', 'constraints that take a job''s place');
SELECT is(problems_of($$SELECT policy_attach('shop.other', 'table', undo => 'UPDATE nowhere SET a = 1')$$), 'undo: relation "nowhere" does not exist', 'an undo that cannot be run');
SELECT is(problems_of($$SELECT policy_attach('shop.other', 'table', job => '(1 / 0)::text::jsonb')$$), 'division by zero', 'an expression that fails whatever the row');
SELECT is(problems_of($$SELECT policy_attach('shop.pending', 'table')$$), E'shop.pending is no table', 'a view');
SELECT is(problems_of($$SELECT policy_attach('shop.parts_1', 'table')$$), E'shop.parts_1 is a partition: attach the table that it is of', 'a partition');
CREATE TEMP TABLE passing (LIKE shop.jobs INCLUDING ALL);
SELECT is(problems_of($$SELECT policy_attach('pg_temp.passing', 'table')$$), E'passing is a temporary table', 'a temporary table');
CREATE TABLE shop.parent (LIKE shop.jobs INCLUDING ALL);
CREATE TABLE shop.child () INHERITS (shop.parent);
SELECT is(problems_of($$SELECT policy_attach('shop.parent', 'table')$$), E'shop.parent has tables that inherit from it', 'a table that others inherit from');
SELECT is(problems_of($$SELECT policy_attach(NULL)$$), 'there is no such table', 'no table');
CREATE UNLOGGED TABLE shop.unlogged (LIKE shop.jobs INCLUDING ALL);
SELECT is(problems_of($$SELECT policy_attach('shop.unlogged')$$), 'accepted', 'one that is not logged can be');

SELECT * FROM finish();
ROLLBACK;
