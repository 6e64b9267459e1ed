-- Seals: policy_seal, policy_verify, and the partitions that policy_maintain makes.
\ir common.psql
SELECT plan(115);

-- Seals everything.  Subtransactions of this one hold a seal up until something
-- ends after them, as in a file that is one transaction nothing does: so one is
-- rolled back.  Another session's (autovacuum's) may do so, too: asked until none does.
CREATE TABLE rolled_back (i int);
CREATE FUNCTION seal() RETURNS bigint LANGUAGE plpgsql
	AS $$
DECLARE
	made bigint := 0;
BEGIN
	LOOP
		BEGIN
			INSERT INTO rolled_back VALUES (1);
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
		made := made + (SELECT count(*) FROM policy_seal());
		EXIT WHEN (SELECT coalesce(max(s.through_id), 0) FROM policy.seals s) >=
			(SELECT coalesce(max(d.decision_id), 0) FROM policy.decisions d);
	END LOOP;
	RETURN made;
END
$$;
-- What policy_verify finds, a word and an id a row.
CREATE FUNCTION findings() RETURNS text LANGUAGE sql
	AS $$
	SELECT coalesce(string_agg(format('%s %s', v.problem, coalesce(v.decision_id, v.seal_id)), ', '
		ORDER BY v.problem, v.seal_id, v.decision_id), 'intact')
	FROM policy_verify() v
$$;
-- What a superuser can do: run a statement with the triggers off.
CREATE FUNCTION tamper(statement text) RETURNS void LANGUAGE plpgsql
	AS $$
DECLARE
	relations text[] := ARRAY(SELECT t.relid::regclass::text FROM pg_partition_tree('policy.decisions') t WHERE t.isleaf) || 'policy.seals'::text;
	relation text;
BEGIN
	FOREACH relation IN ARRAY relations LOOP
		EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', relation);
	END LOOP;
	EXECUTE statement;
	FOREACH relation IN ARRAY relations LOOP
		IF EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass(relation) AND t.tgname = 'refuse_change') THEN
			EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate', relation);
		END IF;
	END LOOP;
END
$$;
-- What policy_verify finds after that; everything is as before when it returns.
CREATE FUNCTION after(VARIADIC statements text[]) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	found text;
	statement text;
BEGIN
	FOREACH statement IN ARRAY statements LOOP
		PERFORM tamper(statement);
	END LOOP;
	found := findings();
	RAISE EXCEPTION USING ERRCODE = 'TAMPR', MESSAGE = found;
EXCEPTION WHEN SQLSTATE 'TAMPR' THEN
	RETURN found;
END
$$;

--
-- The root is RFC 6962's: Certificate Transparency's reference vectors.
--
CREATE TABLE vectors (n int, leaf bytea, root text);
INSERT INTO vectors VALUES
	(1, '\x', '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'),
	(2, '\x00', 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'),
	(3, '\x10', 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77'),
	(4, '\x2021', 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'),
	(5, '\x3031', '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4'),
	(6, '\x40414243', '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef'),
	(7, '\x5051525354555657', 'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c'),
	(8, '\x606162636465666768696a6b6c6d6e6f', '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328');
SELECT is(encode(policy.merkle_root((SELECT string_agg(sha256('\x00' || l.leaf), '' ORDER BY l.n) FROM vectors l WHERE l.n <= v.n)), 'hex'),
	v.root, format('the root over %s leaves', v.n)) FROM vectors v ORDER BY v.n;
SELECT is(policy.merkle_root(''), sha256(''), 'and over none');
SELECT throws_ok($$SELECT policy.merkle_root('\x00')$$, '22023', NULL, 'what is no whole number of leaves is refused');

--
-- Sealing
--
SELECT columns_are('policy', 'seals', ARRAY['seal_id', 'sealed_at', 'after_id', 'through_id', 'decision_ids', 'leaves', 'root', 'previous', 'hash']);
SELECT is(findings(), 'intact', 'with no evidence nothing is wrong');
SELECT is((SELECT count(*) FROM policy_seal()), 0::bigint, 'with no evidence there is nothing to seal');

SELECT policy_stage('v1', $$
version: v1
rules:
  - {id: read, match: {topics: ["read.*"]}, decision: allow}
  - {id: write, match: {topics: ["write.*"]}, decision: require_approval}
$$, NULL), policy_publish('v1', NULL) \g /dev/null
INSERT INTO policy.jobs (topic, tenant_id, actor_id, payload) SELECT 'read.' || n, 'acme', 'a', '{"n": 1}' FROM generate_series(1, 5) n;
-- A gap in the ids, as a rolled-back transaction leaves it.
SAVEPOINT gap;
INSERT INTO policy.jobs (topic) VALUES ('read.gone');
ROLLBACK TO gap;
RELEASE gap;
INSERT INTO policy.jobs (topic) VALUES ('write.1'), ('none.1');
SELECT is(findings(), 'intact', 'what is not sealed yet is not wrong');
SELECT is(seal(), 1::bigint, 'policy_seal makes a seal');
SELECT is((s.seal_id, s.after_id, s.previous)::text, (1::bigint, 0::bigint, NULL::bytea)::text, 'the first, after nothing') FROM policy.seals s;
SELECT is(s.decision_ids, (SELECT array_agg(d.decision_id ORDER BY d.decision_id) FROM policy.decisions d), 'over every decision, in order') FROM policy.seals s;
SELECT is(s.through_id, (SELECT max(d.decision_id) FROM policy.decisions d), 'through the last') FROM policy.seals s;
SELECT is(octet_length(s.leaves), 32 * 7, 'a leaf of 32 bytes for each') FROM policy.seals s;
SELECT is(s.root, policy.merkle_root(s.leaves), 'its root over them') FROM policy.seals s;
SELECT ok(s.sealed_at BETWEEN now() AND clock_timestamp(), 'with its time') FROM policy.seals s;
SELECT is(findings(), 'intact', 'and verifies');
SELECT is((SELECT count(*) FROM policy_seal()), 0::bigint, 'sealing again makes none: nothing is new');
INSERT INTO policy.jobs (topic) SELECT 'read.more.' || n FROM generate_series(1, 3) n;
SELECT is(seal(), 1::bigint, 'what came since gets the next');
SELECT is((b.seal_id, b.after_id, b.previous, cardinality(b.decision_ids))::text, (2::bigint, a.through_id, a.hash, 3)::text,
	'which follows the first, and has its hash') FROM policy.seals a, policy.seals b WHERE a.seal_id = 1 AND b.seal_id = 2;
INSERT INTO policy.jobs (topic) VALUES ('read.last');
SELECT is(seal(), 1::bigint, 'and so on');
SELECT is(findings(), 'intact', 'the chain verifies');
SET LOCAL timezone = 'Pacific/Auckland';
SET LOCAL datestyle = 'German';
SET LOCAL bytea_output = 'escape';
SET LOCAL extra_float_digits = 0;
SELECT is(findings(), 'intact', 'whatever the session''s formats are');
RESET datestyle;
RESET bytea_output;
RESET extra_float_digits;
SET LOCAL timezone = 'UTC';

--
-- Whoever removes the triggers is found out.
--
SELECT decision_ids[3] AS victim, decision_ids[1] AS first_one, decision_ids[6] - 1 AS gap,
	decision_ids[6] AS asking, decision_ids[7] AS denied FROM policy.seals WHERE seal_id = 1 \gset
SELECT job_id AS victim_job FROM policy.jobs WHERE decision_id = :victim \gset
SELECT ok(:gap > (SELECT decision_ids[5] FROM policy.seals WHERE seal_id = 1), 'there is an id between two sealed ones');
SELECT is(after(format('UPDATE policy.decisions SET %s WHERE decision_id = %s', change, :victim)), 'altered ' || :victim, 'named as altered: ' || change)
FROM (VALUES ($$source = 'update'$$), ($$job_table = 'policy.job'$$), ($$job_key = job_key || '0'$$), ($$job_hash = '\x00'$$),
	($$tenant_id = 'globex'$$), ('tenant_id = NULL'), ($$actor_id = ''$$), ($$topic = 'read.x'$$), ($$job = job || '{"n": 2}'$$), ('job = NULL'),
	($$decision = 'DENY'$$), ($$reason = reason || ' '$$), ($$matched_rule = NULL$$), ($$matched_rules = '{}'$$), ($$matched_rules = '{read,read}'$$),
	($$monitored_rules = '{read}'$$), ($$constraints = '{}'$$), ($$snapshot = 'v2'$$), ('release_id = 2'), ($$role = 'x'$$), ($$session_role = 'x'$$),
	($$application_name = 'x'$$), ($$note = ''$$)) c(change);
SELECT is(after(format($$UPDATE policy.decisions SET decided_at = decided_at + interval '1 microsecond' WHERE decision_id = %s$$, :victim)),
	format('altered %s, dangling %s', :victim, :victim), 'a moved time is named, and the job that does not find it any more');
SELECT is(after(format('DELETE FROM policy.decisions WHERE decision_id = %s', :victim)), format('dangling %s, removed %s', :victim, :victim),
	'a removed decision is named, and the job that has none any more');
SELECT is(after(format('DELETE FROM policy.decisions WHERE decision_id = %s', :victim), format('ALTER TABLE policy.jobs DISABLE TRIGGER ALL'),
		format('DELETE FROM policy.jobs WHERE decision_id = %s', :victim)), 'removed ' || :victim, 'a decision removed with its job, too');
SELECT is(after(format($$INSERT INTO policy.decisions SELECT %s, d.decided_at, d.source, d.job_table, d.job_key, d.job_hash, d.tenant_id, d.actor_id,
		d.topic, d.job, d.decision, d.reason, d.matched_rule, d.matched_rules, d.monitored_rules, d.constraints, d.snapshot, d.release_id, d.role,
		d.session_role, d.application_name, d.note FROM policy.decisions d WHERE d.decision_id = %s$$, id, :victim)), 'inserted ' || id,
	format('an inserted decision is named, %s', at))
FROM (VALUES (:gap, 'in a gap'), (0, 'before the first'), (-5, 'with a negative id')) i(id, at);
SELECT is(after(format('UPDATE policy.decisions SET decision_id = %s WHERE decision_id = %s', :gap, :victim)),
	format('dangling %s, inserted %s, removed %s', :victim, :gap, :victim), 'a decision that was given another id is a removed and an inserted one');
SELECT is(after(format($$UPDATE policy.decisions SET reason = 'x' WHERE decision_id IN (%s, %s)$$, :first_one, :denied)),
	format('altered %s, altered %s', :first_one, :denied), 'each altered row is named');
SELECT tamper(format($$UPDATE policy.decisions SET reason = 'forged' WHERE decision_id = %s$$, :victim)) \g /dev/null
SELECT is((v.problem, v.seal_id, v.decision_id, v.decided_at)::text, ('altered', 1::bigint, d.decision_id, d.decided_at)::text,
	'with its seal, its id and its time') FROM policy_verify() v, policy.decisions d WHERE d.decision_id = :victim;
SELECT alike(v.detail, format('%%job %s of policy.jobs%%', :victim_job), 'and its job') FROM policy_verify() v;
SELECT tamper(format($$UPDATE policy.decisions SET reason = 'matched rule read' WHERE decision_id = %s$$, :victim)) \g /dev/null
SELECT is(findings(), 'intact', 'what is put back to the letter is intact again');
SELECT is((SELECT array_agg(DISTINCT p ORDER BY p) FROM regexp_split_to_table(after('DELETE FROM policy.decisions'), ' [0-9]+(, )?') p WHERE p <> ''),
	'{dangling,removed}', 'with all evidence gone every job dangles');
SELECT decision_ids[1] AS only_one FROM policy.seals WHERE seal_id = 3 \gset
SELECT is(after('DELETE FROM policy.jobs', 'DELETE FROM policy.approvals', 'DELETE FROM policy.decisions'),
	'removed 1, removed 2, removed ' || :only_one, 'of a seal that lost everything that is said once');
SELECT is(after('DELETE FROM policy.decisions WHERE decision_id = ' || :asking),
	format('dangling %s, dangling %s, removed %s', :asking, :asking, :asking), 'an approval dangles as well as its job');

--
-- A forged seal
--
SELECT is(after(format('UPDATE policy.seals SET %s WHERE seal_id = 2', change)), found, 'a forged seal is named: ' || change)
FROM (VALUES ($$sealed_at = sealed_at - interval '1 second'$$, 'broken seal 2'), ('after_id = after_id - 1', 'broken seal 2, broken seal 2, inserted ' || :denied),
	($$root = sha256('x')$$, 'broken seal 2'), ($$previous = sha256('x')$$, 'broken seal 2, broken seal 2'),
	($$hash = sha256('x')$$, 'broken seal 2, broken seal 3')) c(change, found);
SELECT alike(after('UPDATE policy.seals SET leaves = leaves || leaves WHERE seal_id = 2'), 'broken seal 2%', 'one with other leaves');
SELECT alike(after('UPDATE policy.seals SET decision_ids = decision_ids[2:] WHERE seal_id = 2'), '%broken seal 2%', 'one with fewer decisions');
SELECT is(after('DELETE FROM policy.seals WHERE seal_id = 2'), 'broken seal 3', 'the one after a removed seal is named');
SELECT is(after('DELETE FROM policy.seals WHERE seal_id = 1'), 'broken seal 2', 'the first''s, too');
-- Altering a decision and its seal to match leaves the next seal's link.
SELECT is(after(format($$UPDATE policy.decisions SET reason = 'forged' WHERE decision_id = %s$$, :victim),
	format($$WITH leaf AS (SELECT string_agg(policy.decision_hash(d), '' ORDER BY d.decision_id) AS leaves FROM policy.decisions d, policy.seals s
		WHERE s.seal_id = 1 AND d.decision_id = ANY (s.decision_ids))
		UPDATE policy.seals s SET leaves = l.leaves, root = policy.merkle_root(l.leaves) FROM leaf l WHERE s.seal_id = 1$$),
	'UPDATE policy.seals s SET hash = policy.seal_hash(s) WHERE seal_id = 1'), 'broken seal 2', 'a forged seal that fits its forged rows breaks the chain after it');
-- Who forges the whole chain is found by the hash that is kept elsewhere.
SELECT hash AS kept FROM policy.seals WHERE seal_id = 3 \gset
SELECT isnt(policy.seal_hash((s.seal_id, s.sealed_at, s.after_id, s.through_id, s.decision_ids, s.leaves, sha256('forged'), s.previous, s.hash)::policy.seals),
	:'kept'::bytea, 'a last seal that is forged to fit has another hash than the one that was kept elsewhere') FROM policy.seals s WHERE s.seal_id = 3;
SELECT is(policy.seal_hash(s), :'kept'::bytea, 'which is reproduced from the true one') FROM policy.seals s WHERE s.seal_id = 3;

SELECT throws_ok(statement, 'PE011', NULL, 'refused: ' || statement) FROM (VALUES ('UPDATE policy.seals SET hash = previous'), ('DELETE FROM policy.seals'),
	('TRUNCATE policy.seals')) t(statement);
SET LOCAL session_replication_role = replica;
SELECT throws_ok(statement, 'PE011', NULL, 'refused by a replica''s apply, too: ' || statement) FROM (VALUES ('UPDATE policy.seals SET hash = previous'),
	('DELETE FROM policy.seals'), ('TRUNCATE policy.seals')) t(statement);
SET LOCAL session_replication_role = origin;

-- Large batches are cut at 10,000.
INSERT INTO policy.jobs (topic) SELECT 'read.' || n FROM generate_series(1, 10001) n;
SELECT is(seal(), 2::bigint, '10,001 decisions are two seals');
SELECT is((SELECT array_agg(cardinality(decision_ids) ORDER BY seal_id) FROM policy.seals WHERE seal_id > 3), '{10000,1}', 'of 10,000 and of one');
SELECT is(findings(), 'intact', 'which verify');

--
-- Partitions: made three months ahead.
--
-- This month is the default partition's: it has rows of it.
SELECT is(partitions, 3, 'policy_maintain makes the next three months, and leaves a month that the default partition holds') FROM policy_maintain();
SELECT to_char(date_trunc('month', now()) + make_interval(months => n), '"decisions_"YYYY_MM') AS month, n INTO TEMP months FROM generate_series(0, 4) n;
SELECT is((SELECT array_agg(c.relname::text ORDER BY c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = 'policy.decisions'::regclass AND c.relname <> 'decisions_default'),
	(SELECT array_agg(month ORDER BY month) FROM months WHERE n BETWEEN 1 AND 3), 'named by their months');
SELECT is(partitions, 0, 'the second call makes none') FROM policy_maintain();
SELECT is((SELECT count(*) FROM pg_depend d JOIN months m ON d.objid = to_regclass('policy.' || m.month)
	WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'), 0::bigint, 'they are no members of the extension: a dump would leave their rows out');
SELECT is((SELECT array_agg(t.tgname::text || ' ' || t.tgenabled::text || ' ' || t.tgfoid::regproc ORDER BY t.tgname)
	FROM pg_trigger t WHERE t.tgrelid = to_regclass('policy.' || m.month)),
	'{"refuse_change A policy.refuse_change","refuse_truncate A policy.refuse_change"}', format('month %s has its own triggers, both ALWAYS', m.n))
FROM months m WHERE m.n BETWEEN 1 AND 3 ORDER BY m.n;
SELECT is((SELECT array_agg(pg_get_indexdef(i.indexrelid) LIKE '%(decision_id)' ORDER BY i.indisprimary DESC) FROM pg_index i
	WHERE i.indrelid = to_regclass('policy.' || m.month)), '{t,f}', format('month %s has its own key, and an index by job', m.n))
FROM months m WHERE m.n BETWEEN 1 AND 3 ORDER BY m.n;
SELECT is((SELECT c.relowner::regrole::text FROM pg_class c WHERE c.oid = to_regclass('policy.' || m.month)),
	(SELECT c.relowner::regrole::text FROM pg_class c WHERE c.oid = 'policy.decisions'::regclass), format('month %s is the owner''s', m.n))
FROM months m WHERE m.n BETWEEN 1 AND 3 ORDER BY m.n;
-- Months are UTC's, whatever the session's zone.
SELECT is((SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_class c WHERE c.oid = to_regclass('policy.' || m.month)),
	format('FOR VALUES FROM (''%s'') TO (''%s'')', date_trunc('month', now()) + make_interval(months => m.n),
		date_trunc('month', now()) + make_interval(months => m.n + 1)), format('month %s is of UTC', m.n))
FROM months m WHERE m.n BETWEEN 1 AND 3 ORDER BY m.n;

-- Partitions have their keys each for itself: a second row of an id is found by its seal.
SELECT is(after(format($$INSERT INTO policy.decisions SELECT d.decision_id, d.decided_at + interval '2 months', d.source, d.job_table, d.job_key, d.job_hash,
		d.tenant_id, d.actor_id, d.topic, d.job, 'DENY', d.reason, d.matched_rule, d.matched_rules, d.monitored_rules, d.constraints, d.snapshot, d.release_id,
		d.role, d.session_role, d.application_name, d.note FROM policy.decisions d WHERE d.decision_id = %s$$, :victim)), 'altered ' || :victim,
	'a second decision of a sealed id, in another month, is named');

-- With no row in the default partition this month is made as well, under any zone.
SELECT tamper('DELETE FROM policy.decisions') \g /dev/null
SELECT tamper('DELETE FROM policy.seals') \g /dev/null
DELETE FROM policy.jobs;
DELETE FROM policy.approvals;
SET LOCAL timezone = 'Pacific/Kiritimati';
SELECT is(partitions, 1, 'an empty default partition gives its month up') FROM policy_maintain();
SET LOCAL timezone = 'UTC';
SELECT is((SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_class c WHERE c.oid = to_regclass('policy.' || m.month)),
	format('FOR VALUES FROM (''%s'') TO (''%s'')', date_trunc('month', now()), date_trunc('month', now()) + interval '1 month'), 'of UTC')
FROM months m WHERE m.n = 0;
INSERT INTO policy.jobs (topic) VALUES ('read.routed');
SELECT is((SELECT tableoid::regclass::text FROM policy.decisions), 'policy.' || m.month, 'and evidence goes there') FROM months m WHERE m.n = 0;
SELECT is(seal(), 1::bigint, 'is sealed there');
SELECT decision_id AS routed FROM policy.decisions \gset
SELECT is(after(format('ALTER TABLE policy.decisions DETACH PARTITION policy.%I', m.month)), format('dangling %s, removed %s', :routed, :routed),
	'and missed, once its partition is detached') FROM months m WHERE m.n = 0;
SELECT is(findings(), 'intact', 'but not while it is there');

-- A later month that the default partition got rows of meanwhile is left alone.
SELECT tamper((SELECT format('DROP TABLE policy.%I', month) FROM months WHERE n = 2)) \g /dev/null
INSERT INTO policy.decisions SELECT nextval('policy.decision_id_seq'), date_trunc('month', now()) + interval '2 months 3 days', 'submit', 'elsewhere', '1', '\x',
	NULL, NULL, NULL, NULL, 'DENY', 'x', NULL, '{}', '{}', '{}', NULL, NULL, 'x', 'x';
SELECT is((SELECT tableoid::regclass::text FROM policy.decisions WHERE job_table = 'elsewhere'), 'policy.decisions_default', 'a month with no partition goes to the default');
SELECT is(partitions, 0, 'and is not split off') FROM policy_maintain();

--
-- policy_maintain: idempotent, one row
--
INSERT INTO policy.jobs (topic) VALUES ('read.sealed'), ('write.sealed');
SELECT is(array_agg(a.attname || ' ' || a.t ORDER BY a.n),
	'{"expired integer","redecided integer","timed_out integer","partitions integer","sealed bigint","more boolean"}', 'policy_maintain says what it did')
FROM (SELECT unnest(p.proargnames) AS attname, format_type(unnest(p.proallargtypes), NULL) AS t, generate_series(1, 6) AS n
	FROM pg_proc p WHERE p.oid = 'policy_maintain'::regproc) a;
SELECT policy_maintain() \g /dev/null
SELECT seal() \g /dev/null
SELECT is((m.*)::text, (0, 0, 0, 0, 0::bigint, false)::text, 'called again it does nothing') FROM policy_maintain() m;
SELECT is(findings(), 'intact', 'and evidence is intact');

SELECT * FROM finish();
ROLLBACK;
