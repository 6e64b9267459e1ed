\ir attach.psql
SELECT plan(88);
SELECT release('v1', first_rules() || '
  - {id: twice, match: {topics: ["twice.*"]}, decision: require_approval, approval: {min_approvals: 2}}
  - {id: rare_too, match: {topics: ["rare.*"]}, decision: allow}
  - {id: attach_rare, match: {topics: ["rare.*"]}, decision: throttle, velocity: {max_requests: 1, window_seconds: 3600, key: tenant}}
  - {id: own, match: {topics: ["own.*"]}, decision: require_approval, approval: {allow_self: true}, constraints: {max_retries: 1, region: eu}}') \g /dev/null
SELECT policy_attach('shop.jobs', allow => '{"note": "constraints::text"}', notify => 'shop_jobs') \g /dev/null
CREATE ROLE policy_test_approver LOGIN;
SELECT policy_grant('policy_test_approver', 'approve') \g /dev/null

-- The open approval of a row, and a vote on it as somebody else.
CREATE FUNCTION open_of(key bigint) RETURNS bigint LANGUAGE sql AS $$
	SELECT approval_id FROM policy.approvals WHERE job_table = 'shop.jobs' AND job_key = key::text AND status = 'pending' ORDER BY approval_id DESC LIMIT 1
$$;
CREATE FUNCTION say(verb text, key bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	asked bigint := open_of(key);
	said text;
BEGIN
	IF asked IS NULL THEN
		SELECT approval_id INTO asked FROM policy.approvals WHERE job_table = 'shop.jobs' AND job_key = key::text ORDER BY approval_id DESC LIMIT 1;
	END IF;
	PERFORM set_config('session_authorization', 'policy_test_approver', true);
	EXECUTE format('SELECT (public.policy_%s($1)).status', verb) INTO said USING asked;
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN said;
END
$$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA helper TO PUBLIC;

--
-- A start is decided, under what is in force then
--
SELECT bring('read.a') AS id \gset
SELECT is(take(:id), 'read.a', 'what is allowed starts');
SELECT is(decided_of(:'id'), 'submit ALLOW read', 'and is not recorded again');
UPDATE shop.jobs SET status = 'done' WHERE id = :id;
SELECT bring('write.a') AS id \gset
SELECT is(take(:id), 'write.a', 'what is bound starts');
SELECT is((SELECT note::jsonb FROM shop.jobs WHERE id = :id), '{"max_runtime_sec": 30, "max_retries": 2, "region": "eu"}'::jsonb, 'and its constraints reach the worker');
SELECT bring('read.later') AS id \gset
SELECT bring('read.first') AS other \gset
SELECT release('v2', '
  - {id: stop, match: {topics: ["read.later"]}, decision: deny, reason: not any more}
  - {id: ask, match: {topics: ["read.asked"]}, decision: require_approval}' || first_rules()) \g /dev/null
SELECT is(take(:id), NULL, 'what was allowed when it came in does not start under a policy that denies it');
SELECT is((status_of(:id), kept_of(:'id'), decided_of(:'id'))::text, '(denied,denied,"submit ALLOW read, claim DENY stop")', 'it is marked and recorded');
SELECT is(take(), 'read.first', 'and out of the way of the next');
SELECT bring('mail.a') AS id \gset
UPDATE shop.jobs SET topic = 'read.asked' WHERE id = :id;
SELECT is((status_of(:id), asked_of(:'id'))::text, '(held,"ask pending 0")', 'changed content is decided again');

--
-- What waits keeps its form, whatever its client does
--
SELECT bring('prod.a', '1') AS id \gset
SELECT is(take(:id), NULL, 'what is held is not found');
UPDATE shop.jobs SET status = 'running' WHERE id = :id;
SELECT is(status_of(:id), 'held', 'and does not start by its id');
UPDATE shop.jobs SET status = 'pending', run_at = '2031-01-01 00:00:00+00' WHERE id = :id;
SELECT is(status_of(:id), 'held', 'its mark stays');
SELECT is((SELECT wanted FROM policy.guarded_jobs WHERE job_key = :'id') ->> 'status', 'pending', 'and what its client wants is kept');
UPDATE shop.jobs SET status = 'held' WHERE id = :id;
SELECT is((SELECT wanted FROM policy.guarded_jobs WHERE job_key = :'id') ->> 'status', 'pending', 'what it does not change is not what it wants');
UPDATE shop.jobs SET note = 'mine' WHERE id = :id;
SELECT is((SELECT note FROM shop.jobs WHERE id = :id), 'mine', 'what is not guarded is its own');
SELECT bring('drop.a') AS denied \gset
UPDATE shop.jobs SET status = 'pending' WHERE id = :denied;
SELECT is(status_of(:denied), 'denied', 'what is denied stays denied');
UPDATE shop.jobs SET status = 'running' WHERE id = :denied;
SELECT is(status_of(:denied), 'denied', 'and does not start');
SELECT throws_ok(format('UPDATE shop.jobs SET id = DEFAULT WHERE id = %s', :id), 'PE014', NULL, 'a key cannot be changed');
SELECT bring('mail.b') AS throttled \gset
UPDATE shop.jobs SET run_at = now() - interval '1 day' WHERE id = :throttled;
SELECT is(take(:throttled), NULL, 'what is throttled is not made due by its client');
UPDATE shop.jobs SET status = 'running' WHERE id = :throttled;
SELECT is(status_of(:throttled), 'pending', 'nor started by its id');

--
-- Approved, it goes on as its client wants it
--
LISTEN shop_jobs;
SELECT is((would_be, would_decide, job -> 'topic', rule)::text, '(pending,REQUIRE_APPROVAL,"""prod.a""",prod)', 'the queue shows what re-deciding would give') FROM policy_approvals() WHERE job_key = :'id';
SELECT is(say('approve', :id), 'approved', 'somebody says yes');
SELECT is((status_of(:id), kept_of(:'id'), (SELECT run_at FROM shop.jobs WHERE id = :id))::text, '(pending,ready,"2031-01-01 00:00:00+00")',
	'it goes on, when its client wants it to');
SELECT is(decided_of(:'id'), 'submit REQUIRE_APPROVAL prod, vote ALLOW_WITH_CONSTRAINTS prod', 'which is recorded');
UPDATE shop.jobs SET run_at = now() WHERE id = :id;
SELECT is(take(:id), 'prod.a', 'it starts');
SELECT is((asked_of(:'id'), kept_of(:'id'))::text, '("prod consumed 1",running)', 'and uses the approval up by one attempt');
UPDATE shop.jobs SET status = 'pending' WHERE id = :id;
SELECT is(take(:id), 'prod.a', 'tried again it needs no other');
UPDATE shop.jobs SET status = 'pending' WHERE id = :id;
SELECT is(take(:id), NULL, 'but no more often than its retries allow');
SELECT is((status_of(:id), asked_of(:'id'))::text, '(held,"prod consumed 2, prod pending 0")', 'then it is asked for again');
SELECT say('approve', :id) \g /dev/null
SELECT is(take(:id), 'prod.a', 'and goes on with that');
UPDATE shop.jobs SET status = 'done' WHERE id = :id;
SELECT is(kept_of(:'id'), NULL, 'nothing is kept of it at its end');
UPDATE shop.jobs SET status = 'pending' WHERE id = :id;
SELECT is(take(:id), NULL, 'after which no approval counts any more');

SELECT bring('prod.b', '{"n": 1}') AS id \gset
SELECT say('approve', :id) \g /dev/null
UPDATE shop.jobs SET payload = '{"n": 2}' WHERE id = :id;
SELECT is((status_of(:id), asked_of(:'id'))::text, '(held,"prod superseded 0, prod pending 0")', 'an approval is for the content that it was given to');
UPDATE shop.jobs SET payload = '{"n": 2, "trace": 1}' WHERE id = :id;
SELECT say('approve', :id) \g /dev/null
UPDATE shop.jobs SET payload = '{"n": 2, "trace": 2}' WHERE id = :id;
SELECT is((status_of(:id), kept_of(:'id'))::text, '(pending,ready)', 'less what is immaterial');

--
-- Rejected, expired, cancelled: it never runs
--
SELECT bring('prod.c') AS id \gset
SELECT is(say('reject', :id), 'rejected', 'somebody says no');
SELECT is((status_of(:id), kept_of(:'id'), take(:id))::text, '(denied,rejected,)', 'it is marked as denied, and does not run');
SELECT bring('prod.d') AS id \gset
SELECT say('approve', :id) \g /dev/null
SELECT is(say('reject', :id), 'rejected', 'rejecting works until it starts');
SELECT is((status_of(:id), kept_of(:'id'), take(:id))::text, '(denied,rejected,)', 'and stops it');
SELECT bring('prod.e') AS id \gset
UPDATE policy.approvals SET expires_at = now() - interval '1 minute' WHERE approval_id = open_of(:id);
SELECT is(expired, 1, 'maintenance finds one that nobody voted on in time') FROM policy_maintain();
SELECT is((status_of(:id), kept_of(:'id'), asked_of(:'id'))::text, '(denied,expired,"prod expired 0")', 'it has expired');
SELECT bring('prod.f') AS id \gset
SELECT is((policy_cancel('shop.jobs', :'id', 'wrong customer')).state, 'cancelled', 'an operator cancels one');
SELECT is((status_of(:id), asked_of(:'id'))::text, '(denied,"prod superseded 0")', 'nobody is asked about it any more');
SELECT is((policy_cancel('shop.jobs', :'id', NULL)).state, 'cancelled', 'once more, it is what it is');
SELECT throws_ok(format($$SELECT policy_cancel('shop.jobs', %L, NULL)$$, (SELECT bring('read.x'))), 'PE008', NULL, 'one that was allowed is its client''s to cancel');
SELECT bring('prod.g') AS id \gset
UPDATE shop.jobs SET status = 'cancelled' WHERE id = :id;
SELECT is((status_of(:id), kept_of(:'id'), asked_of(:'id'))::text, '(cancelled,,"prod superseded 0")', 'its client may end one that is held');
SELECT bring('mail.g') AS id \gset
UPDATE shop.jobs SET status = 'cancelled' WHERE id = :id;
SELECT is((SELECT run_at <= now() FROM shop.jobs WHERE id = :id), true, 'and nothing of its form is left in it');

--
-- Approvals of two; who asks may not
--
SELECT bring('twice.a') AS id \gset
SELECT is((SELECT count(*) FROM policy_approvals() WHERE job_table = 'shop.jobs' AND job_key = :'id'), 0::bigint, 'a rule that is gone asks nobody');
SELECT release('v3', first_rules() || '
  - {id: twice, match: {topics: ["twice.*"]}, decision: require_approval, approval: {min_approvals: 2}}
  - {id: rare_too, match: {topics: ["rare.*"]}, decision: allow}
  - {id: attach_rare, match: {topics: ["rare.*"]}, decision: throttle, velocity: {max_requests: 1, window_seconds: 3600, key: tenant}}
  - {id: own, match: {topics: ["own.*"]}, decision: require_approval, approval: {allow_self: true}, constraints: {max_retries: 1, region: eu}}') \g /dev/null
SELECT bring('twice.a') AS id \gset
SELECT throws_ok(format('SELECT policy_approve(%s)', open_of(:id)), 'PE009', NULL, 'who asks may not approve');
SELECT is(say('approve', :id) || ' ' || status_of(:id), 'pending held', 'one of two is not enough');
SELECT bring('own.a') AS id \gset
SELECT is((policy_approve(open_of(:id))).status, 'approved', 'but where the rule allows that');
SELECT is(take(:id), 'own.a', 'it starts');
SELECT is((SELECT note::jsonb ->> 'region' FROM shop.jobs WHERE id = :id), 'eu', 'within what was approved');

--
-- Policy put right: decided again
--
SELECT is(count(*), 1::bigint, 'what is denied is decided again') FROM policy_redecide('shop.jobs', jsonb_build_object('job_key', :'denied'), 'a test') WHERE state = 'denied';
SELECT bring('other.a') AS id \gset
SELECT release('v4', '
  - {id: other, match: {topics: ["other.*"]}, decision: allow}' || first_rules()) \g /dev/null
SELECT is((SELECT array_agg(job_key || ' ' || state) FROM policy_redecide('shop.jobs', '{"topic": "other.a"}', 'the policy was wrong')), ARRAY[:'id' || ' ready'], 'and goes on where it may');
SELECT is((status_of(:id), take(:id))::text, '(pending,other.a)', 'as its client wanted it');
SELECT is((SELECT note FROM policy.decisions WHERE job_key = :'id' AND source = 'redecide'), 'the policy was wrong', 'with the note');
SELECT throws_ok($$SELECT policy_redecide('shop.jobs', '{"colour": "red"}', NULL)$$, '22023', NULL, 'an unknown key is refused');
SELECT bring('prod.h') AS id \gset
SELECT release('v5', '
  - {id: prod, match: {topics: ["prod.*"]}, decision: allow}') \g /dev/null
SELECT is(redecided > 0, true, 'maintenance decides what is pending again under another policy') FROM policy_maintain();
SELECT is((status_of(:id), kept_of(:'id'))::text, '(pending,ready)', 'and lets it go on');
SELECT release('v6', first_rules() || '
  - {id: rare_too, match: {topics: ["rare.*"]}, decision: allow}
  - {id: attach_rare, match: {topics: ["rare.*"]}, decision: throttle, velocity: {max_requests: 1, window_seconds: 3600, key: tenant}}') \g /dev/null

--
-- THROTTLE gives the job back at its time
--
SELECT bring('mail.c') AS id \gset
SELECT put_kept(:'id', $$run_after = now() - interval '1 second'$$) \g /dev/null
UPDATE shop.jobs SET run_at = now() - interval '1 second' WHERE id = :id;
SELECT is(take(:id), 'mail.c', 'it starts, by its own time, and is not throttled again');
SELECT is(decided_of(:'id'), 'submit THROTTLE mail, claim ALLOW mail', 'which is recorded');
SELECT bring('rare.a') AS first \gset
SELECT bring('rare.b') AS id \gset
SELECT is(take(:first), 'rare.a', 'a rate admits what it admits');
SELECT is((kept_of(:'id'), take(:id))::text, '(throttled,)', 'and holds back what is beyond');
SELECT is(kept_of(:'first'), NULL, 'the start of what was admitted is not charged again');

--
-- With no policy nothing starts, and nothing changes
--
SELECT bring('read.c') AS id \gset
SELECT count(*) AS decisions FROM policy.decisions \gset
SAVEPOINT outage;
SELECT policy_stage('none', 'version: v1
rules: []', NULL) \g /dev/null
ALTER TABLE policy.snapshots DISABLE TRIGGER ALL;
DELETE FROM policy.snapshots WHERE snapshot = 'v6';
SELECT is(take(:id), NULL, 'a policy that cannot be read starts nothing');
SELECT is((status_of(:id), (SELECT count(*) FROM policy.decisions))::text, format('(pending,%s)', :decisions), 'and changes nothing');
ROLLBACK TO outage;
SELECT is(take(:id), 'read.c', 'it starts when that is over');

--
-- A row that goes, and comes again
--
SELECT bring('prod.i') AS id \gset
DELETE FROM shop.jobs WHERE id = :id;
SELECT is((kept_of(:'id'), asked_of(:'id'))::text, '(,"prod superseded 0")', 'nobody is asked about a row that is gone');
SELECT bring('prod.j', '1') AS id \gset
SELECT say('approve', :id) \g /dev/null
SELECT is(take(:id), 'prod.j', 'a job was approved, and runs');
WITH gone AS (DELETE FROM shop.jobs WHERE id = :id RETURNING *)
	INSERT INTO shop.jobs (id, topic, payload, status) OVERRIDING SYSTEM VALUE SELECT id, topic, payload, 'pending' FROM gone;
SELECT is((status_of(:id), asked_of(:'id'))::text, '(pending,"prod consumed 1")', 'a retry that deletes and inserts needs no second approval');
SELECT is(take(:id), 'prod.j', 'and starts');
WITH gone AS (DELETE FROM shop.jobs WHERE id = :id RETURNING *)
	INSERT INTO shop.jobs (id, topic, payload, status) OVERRIDING SYSTEM VALUE SELECT id, topic, payload, 'pending' FROM gone;
SELECT is((take(:id), status_of(:id))::text, '(,held)', 'but no more often than its retries allow');
SELECT bring('prod.k', '1') AS id \gset
SELECT say('approve', :id) \g /dev/null
WITH gone AS (DELETE FROM shop.jobs WHERE id = :id RETURNING *)
	INSERT INTO shop.jobs (id, topic, payload, status) OVERRIDING SYSTEM VALUE SELECT id, topic, '2', 'pending' FROM gone;
SELECT is(status_of(:id), 'held', 'another job under its key needs its own');
SELECT bring('prod.l', '1') AS id \gset
SELECT say('approve', :id) \g /dev/null
SELECT is(take(:id), 'prod.l', 'a job was approved, and runs');
DELETE FROM shop.jobs WHERE id = :id;
INSERT INTO shop.jobs (id, topic, payload) OVERRIDING SYSTEM VALUE VALUES (:id, 'prod.l', '1');
SELECT is(status_of(:id), 'held', 'deleted while it ran it is over: the same key asks again');
SELECT count(*) AS decisions FROM policy.decisions \gset
INSERT INTO shop.jobs (topic, status) VALUES ('drop.a', 'done'), ('prod.a', 'failed');
SELECT is((SELECT count(*) FROM policy.decisions), :decisions::bigint, 'a row that comes in at its end is no job that could run');
UPDATE shop.jobs SET status = 'pending' WHERE topic = 'drop.a' AND status = 'done';
SELECT is((SELECT array_agg(t) FROM (SELECT take(id) FROM shop.jobs WHERE topic = 'drop.a') s(t) WHERE t IS NOT NULL), NULL, 'and does not start by being brought back to life');

SELECT bring('prod.m') AS id \gset
SELECT say('approve', :id) \g /dev/null
DELETE FROM shop.jobs WHERE id = :id;
SELECT policy_maintain() \g /dev/null
SELECT is(kept_of(:'id'), 'gone', 'what was approved and deleted keeps its approval');
UPDATE policy.approvals SET expires_at = now() WHERE job_key = :'id';
SELECT policy_maintain() \g /dev/null
SELECT is(kept_of(:'id'), NULL, 'for as long as that can be used');

--
-- A table whose guard cannot work any more does not stop maintenance
--
CREATE TABLE shop.broken (LIKE shop.jobs INCLUDING ALL);
SELECT policy_attach('shop.broken', 'table') \g /dev/null
INSERT INTO shop.broken (topic) VALUES ('prod.a');
SELECT bring('prod.n') AS id \gset
UPDATE policy.approvals SET expires_at = now() - interval '1 minute' WHERE status = 'pending';
ALTER TABLE shop.broken RENAME COLUMN payload TO content;
SET LOCAL client_min_messages = error;
SELECT policy_maintain() \g /dev/null
SET LOCAL client_min_messages = warning;
SELECT is(kept_of(:'id'), 'expired', 'others are maintained');
SELECT is(kept_of('1', 'shop.broken'), 'awaiting_approval', 'and its own jobs stay as they are');
SELECT policy_detach('shop.broken') \g /dev/null

--
-- ON CONFLICT DO UPDATE: what is stored is decided, and the client keeps what it wanted
--
CREATE TABLE shop.keyed (LIKE shop.jobs INCLUDING ALL, key text UNIQUE);
SELECT policy_attach('shop.keyed', 'table') \g /dev/null
INSERT INTO shop.keyed (topic, key, run_at) VALUES ('read.a', 'k', '2030-01-01') RETURNING id \gset
INSERT INTO shop.keyed AS k (topic, key, run_at) VALUES ('mail.a', 'k', '2020-01-01')
	ON CONFLICT (key) DO UPDATE SET topic = excluded.topic, run_at = excluded.run_at, status = excluded.status;
SELECT is((SELECT (topic, status, run_at > now() + interval '20 seconds', (g.wanted ->> 'run_at')::timestamptz)::text
	FROM shop.keyed k JOIN policy.guarded_jobs g ON g.job_key = k.id::text AND g.job_table = 'shop.keyed'),
	'(mail.a,pending,t,"2020-01-01 00:00:00+00")', 'the row is decided as it is stored, and what its client wants is known');
SELECT is((SELECT count(*) FROM policy.decisions WHERE job_table = 'shop.keyed'), 2::bigint, 'with one decision for what was stored, and none for what was not');
INSERT INTO shop.keyed AS k (topic, key) VALUES ('prod.a', 'k') ON CONFLICT (key) DO UPDATE SET topic = excluded.topic;
SELECT is((SELECT status FROM shop.keyed WHERE key = 'k'), 'held', 'dangerous content that is swapped in is held');
INSERT INTO shop.keyed AS k (topic, key) VALUES ('read.b', 'k') ON CONFLICT (key) DO UPDATE SET topic = excluded.topic;
SELECT is((SELECT (status, run_at)::text FROM shop.keyed WHERE key = 'k'), '(pending,"2020-01-01 00:00:00+00")', 'and harmless content goes on when its client wanted it to');

--
-- Many rows in one statement, and what is done to them before its end
--
CREATE TABLE shop.many (LIKE shop.jobs INCLUDING ALL, short text GENERATED ALWAYS AS (left(topic, 3)) STORED);
SELECT policy_attach('shop.many', 'table') \g /dev/null
INSERT INTO shop.many (topic, status) VALUES ('read.a', 'done'), ('read.b', 'pending'), ('prod.c', 'pending'), ('read.d', 'failed'), ('read.e', 'pending');
SELECT is((SELECT string_agg(m.topic || ' ' || m.status || ' ' || decided_of(m.id::text, 'shop.many'), '; ' ORDER BY m.id) FROM shop.many m),
	'read.a done none; read.b pending submit ALLOW read; prod.c held submit REQUIRE_APPROVAL prod; read.d failed none; read.e pending submit ALLOW read',
	'each row of a statement is read for itself, generated columns or not');
SELECT throws_ok($$INSERT INTO shop.many (topic, status) VALUES ('prod.a', 'pending'), ('prod.b', 'running')$$, 'PE008', NULL,
	'one that comes in running after one that waits is refused as such');
CREATE FUNCTION shop.rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE shop.early SET topic = 'prod.x' WHERE topic = 'read.x';
	RETURN NULL;
END
$$;
CREATE TABLE shop.early (LIKE shop.jobs INCLUDING ALL);
SELECT policy_attach('shop.early', 'table') \g /dev/null
CREATE TRIGGER early AFTER INSERT ON shop.early FOR EACH ROW EXECUTE FUNCTION shop.rewrite();
INSERT INTO shop.early (topic) VALUES ('read.a'), ('read.x') \g /dev/null
SELECT is((SELECT string_agg(e.status || ' ' || decided_of(e.id::text, 'shop.early'), '; ' ORDER BY e.id) FROM shop.early e),
	'pending submit ALLOW read; held submit ALLOW read, update REQUIRE_APPROVAL prod',
	'decisions are numbered in the order in which they were made, though a trigger changes the row before it is recorded');
SELECT is((SELECT (g.decision_id = max(d.decision_id))::text FROM policy.guarded_jobs g JOIN policy.decisions d USING (job_table, job_key)
	WHERE g.job_table = 'shop.early' GROUP BY g.decision_id), 'true', 'and the last of them is what is kept');

SELECT * FROM finish();
ROLLBACK;
