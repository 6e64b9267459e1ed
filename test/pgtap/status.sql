-- policy_status(): one row for whoever looks after the engine.
\ir common.psql
SELECT plan(35);

SELECT is((SELECT array_agg(format('%s %s', c.name, c.type) ORDER BY c.n)
	FROM (SELECT unnest(p.proargnames) AS name, format_type(unnest(p.proallargtypes), NULL) AS type, generate_subscripts(p.proargnames, 1) AS n
		FROM pg_proc p WHERE p.oid = 'policy_status'::regproc) c),
	'{"snapshot text","release_id bigint","since timestamp with time zone","fail_mode text","ready bigint","awaiting_approval bigint",
	"throttled bigint","running bigint","oldest_approval timestamp with time zone","decisions_last_hour jsonb","maintenance_late boolean",
	"warnings text[]","halts bigint"}', 'the columns, in order');

-- An empty system
SELECT is((s.snapshot, s.release_id, s.since, s.fail_mode, s.ready, s.awaiting_approval, s.throttled, s.running, s.oldest_approval,
		s.decisions_last_hour, s.maintenance_late)::text,
	(NULL::text, NULL::bigint, NULL::timestamptz, 'closed', 0::bigint, 0::bigint, 0::bigint, 0::bigint, NULL::timestamptz, '{}'::jsonb, false)::text,
	'a new system has one row, of zeros and not of NULLs') FROM policy_status() s;
SELECT is(array_length(s.warnings, 1), 1, 'with a single warning') FROM policy_status() s;
SELECT alike(s.warnings[1], '%no policy is active%', 'of what is missing') FROM policy_status() s;

SELECT policy_stage('v1', $$
version: v1
rules:
  - {id: read, match: {topics: ["read.*"]}, decision: allow}
  - {id: write, match: {topics: ["write.*"]}, decision: require_approval}
  - {id: crawl, match: {topics: ["crawl.*"]}, decision: throttle}
$$, NULL) \g /dev/null
SELECT policy_publish('v1', NULL) \g /dev/null
SELECT is((s.snapshot, s.release_id, s.since, s.warnings)::text, ('v1', 1::bigint, r.released_at, '{}'::text[])::text,
	'after a publish it names the release, and warns of nothing') FROM policy_status() s, policy.releases r;

-- The queue
INSERT INTO policy.jobs (topic) SELECT t FROM unnest(ARRAY['read.1', 'read.2', 'read.3', 'read.4', 'write.1', 'write.2', 'write.3', 'crawl.1', 'crawl.2', 'none']) t;
SELECT policy_claim('w', 1, ARRAY['read.1']) \g /dev/null
SELECT policy_complete(job_id, claim_token, NULL) FROM policy_claim('w', 1, ARRAY['read.2']) \g /dev/null
SELECT policy_cancel(job_id, 'no') FROM policy.jobs WHERE topic = 'write.1' \g /dev/null
SELECT is((s.ready, s.awaiting_approval, s.throttled, s.running)::text, (2::bigint, 2::bigint, 2::bigint, 1::bigint)::text,
	'it counts what waits and runs, and nothing that has ended') FROM policy_status() s;
SELECT is(s.oldest_approval, (SELECT min(requested_at) FROM policy.approvals WHERE status = 'pending'), 'since when the oldest pending approval waits')
	FROM policy_status() s;
SELECT isnt((SELECT min(requested_at) FROM policy.approvals), (SELECT min(requested_at) FROM policy.approvals WHERE status = 'pending'),
	'not one that is resolved');
SELECT is(s.decisions_last_hour, '{"ALLOW": 4, "REQUIRE_APPROVAL": 3, "THROTTLE": 2, "DENY": 1}'::jsonb, 'the decisions of the last hour by kind')
	FROM policy_status() s;
-- An hour on, by moving the stored times.
SAVEPOINT later;
ALTER TABLE policy.decisions_default DISABLE TRIGGER ALL;
UPDATE policy.decisions_default SET decided_at = decided_at - interval '1 hour' WHERE decision <> 'DENY';
SELECT is(s.decisions_last_hour, '{"DENY": 1}'::jsonb, 'older ones are left out') FROM policy_status() s;
ROLLBACK TO later;

-- Maintenance
SELECT is(s.maintenance_late, false, 'with nothing past its time maintenance is not late, though it never ran') FROM policy_status() s;
SET LOCAL session_replication_role = replica;
UPDATE policy.jobs SET deadline = now() - interval '9 minutes' WHERE state = 'running';
UPDATE policy.approvals SET expires_at = now() - interval '9 minutes' WHERE status <> 'pending';
SET LOCAL session_replication_role = origin;
SELECT is(s.maintenance_late, false, 'nor while what is overdue is so for less than ten minutes') FROM policy_status() s;
SAVEPOINT late;
SET LOCAL session_replication_role = replica;
UPDATE policy.jobs SET deadline = now() - interval '11 minutes' WHERE state = 'running';
SET LOCAL session_replication_role = origin;
SELECT is(s.maintenance_late, true, 'an attempt ten minutes past its deadline says that it is late') FROM policy_status() s;
SELECT alike(s.warnings[1], '%maintenance is late%policy_maintain()%', 'and so does a warning, with what to do') FROM policy_status() s;
SELECT policy_maintain() \g /dev/null
SELECT is((s.maintenance_late, s.warnings, s.running)::text, (false, '{}'::text[], 0::bigint)::text, 'policy_maintain settles it') FROM policy_status() s;
ROLLBACK TO late;
UPDATE policy.approvals SET expires_at = now() - interval '11 minutes' WHERE status = 'pending';
SELECT is((s.maintenance_late, array_length(s.warnings, 1))::text, (true, 1)::text, 'an approval ten minutes past its expiry does, too') FROM policy_status() s;
SELECT policy_maintain() \g /dev/null
SELECT is((s.maintenance_late, s.warnings, s.awaiting_approval, s.oldest_approval)::text, (false, '{}'::text[], 0::bigint, NULL::timestamptz)::text,
	'until it is expired') FROM policy_status() s;

-- Warnings
SAVEPOINT warned;
CREATE ROLE policy_test_gone;
SELECT policy_grant('policy_test_gone', 'audit') \g /dev/null
SELECT is(s.warnings, '{}', 'a role with a duty is nothing to warn of') FROM policy_status() s;
DROP OWNED BY policy_test_gone;
DROP ROLE policy_test_gone;
SELECT alike(s.warnings[1], '%roles that are gone%', 'a duty of a role that is gone is') FROM policy_status() s;
ROLLBACK TO warned;
CREATE FUNCTION warned(statement text) RETURNS text[] LANGUAGE plpgsql
	AS $$
DECLARE
	found text[];
BEGIN
	EXECUTE statement;
	found := (SELECT s.warnings FROM policy_status() s);
	RAISE EXCEPTION USING ERRCODE = 'UNDOO';
EXCEPTION WHEN SQLSTATE 'UNDOO' THEN
	RETURN found;
END
$$;
SELECT is_empty($$SELECT t.tgrelid::regclass, t.tgname::text, t.tgenabled::text FROM pg_trigger t
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = t.tgrelid AND d.deptype = 'e'
		JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'policy_engine' WHERE NOT t.tgisinternal
		EXCEPT SELECT relation, name, enabled FROM policy.expected_triggers()$$, 'every trigger of the extension''s tables is looked after');
SELECT alike(array_to_string(warned(statement), '; '), '%a trigger of the extension is disabled or gone%', 'warned of: ' || statement)
FROM (VALUES ('ALTER TABLE policy.jobs DISABLE TRIGGER zz_guard_insert'), ('ALTER TABLE policy.jobs DISABLE TRIGGER ALL'),
	('ALTER TABLE policy.jobs DISABLE TRIGGER guard_record'), ('ALTER TABLE policy.decisions DISABLE TRIGGER refuse_change'),
	('ALTER TABLE policy.approvals DISABLE TRIGGER approval_changed'), ('ALTER TABLE policy.releases DISABLE TRIGGER ALL'),
	('ALTER TABLE policy.snapshots DISABLE TRIGGER ALL'), ('ALTER TABLE policy.snapshots DISABLE TRIGGER check_snapshot'),
	('ALTER TABLE policy.simulations DISABLE TRIGGER acknowledge_only'), ('ALTER TABLE policy.seals DISABLE TRIGGER ALL'),
	('ALTER EXTENSION policy_engine DROP FUNCTION policy.guard_insert(); DROP FUNCTION policy.guard_insert() CASCADE'),
	('ALTER TABLE policy.jobs ENABLE REPLICA TRIGGER zz_guard_insert'),
	('ALTER TABLE policy.decisions_default DISABLE TRIGGER refuse_truncate')) t(statement);
SET LOCAL policy_engine.fail_mode = open;
SELECT is((s.fail_mode, array_length(s.warnings, 1))::text, ('open', 1)::text, 'it shows an open fail mode') FROM policy_status() s;
SELECT alike(s.warnings[1], '%fail_mode is open%', 'and warns of it') FROM policy_status() s;

SELECT * FROM finish();
ROLLBACK;
