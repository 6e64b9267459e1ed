\ir common.psql
SELECT plan(120);

CREATE TABLE texts (name text, source text);
INSERT INTO texts VALUES ('one', E'version: v1\nrules: [{id: one, decision: allow}]\n'),
	('two', E'version: v1\nrules: [{id: two, decision: deny}]\n'),
	('three', E'version: v1\nrules: [{id: three, decision: require_approval}]\n');
CREATE FUNCTION stage(name text, stored_as text DEFAULT NULL) RETURNS policy.snapshots LANGUAGE sql AS $$
	SELECT s.* FROM texts t, policy_stage(coalesce(stored_as, stage.name), t.source::policy_document, 'note of ' || t.name) s
	WHERE t.name = stage.name
$$;
CREATE FUNCTION active_rule() RETURNS text LANGUAGE sql AS $$
	SELECT v.snapshot || ':' || v.matched_rule FROM policy_evaluate('{"topic": "a"}'::jsonb) v
$$;

--
-- Before the first release
--
SELECT is((v.decision::text, v.reason, v.snapshot, v.constraints)::text, ('DENY', 'no active policy', NULL::text, '{}'::jsonb)::text,
	'with no active policy every job is denied') FROM policy_evaluate('{"topic": "a"}'::jsonb) v;
SET LOCAL policy_engine.fail_mode = open;
SELECT is((v.decision::text, v.reason)::text, ('DENY', 'no active policy')::text, 'whatever the fail mode')
	FROM policy_evaluate('{"topic": "a"}'::jsonb) v;
RESET policy_engine.fail_mode;
SELECT is(policy_simulate('{"topic": "a"}'),
	'{"decision": "DENY", "reason": "no active policy", "constraints": {}, "matched_rule": null}'::jsonb,
	'policy_simulate says so, too');
SELECT is_empty('SELECT * FROM policy.active', 'policy.active has no row');
SELECT is((s.snapshot, s.release_id, s.since, s.fail_mode)::text, (NULL::text, NULL::bigint, NULL::timestamptz, 'closed')::text,
	'policy_status has one row, and no snapshot') FROM policy_status() s;
SELECT is(count(*), 1::bigint, 'exactly one') FROM policy_status();
SELECT alike(s.warnings[1], '%no policy is active%', 'and a warning') FROM policy_status() s;

--
-- Staging
--
SELECT columns_are('policy', 'snapshots', ARRAY['snapshot', 'document', 'sha256', 'note', 'staged_by', 'staged_at', 'tree']);
SELECT is((s.snapshot, s.document::text, s.sha256, s.note, s.staged_by)::text,
	('one', t.source, sha256(convert_to(t.source, 'UTF8')), 'note of one', session_user::text)::text,
	'policy_stage returns the snapshot''s row') FROM texts t, stage('one') s WHERE t.name = 'one';
SELECT ok(s.staged_at BETWEEN now() AND clock_timestamp(), 'with the time of its staging') FROM policy.snapshots s;
SELECT is((SELECT count(*) FROM policy.snapshots), 1::bigint, 'and stores it');
SELECT is(active_rule(), NULL, 'what is staged is not in force');
SELECT isnt(stage('two'), NULL, 'another can be staged');
SELECT isnt(stage('one', 'one again'), NULL, 'and the same text under another name');

SELECT throws_ok($$SELECT stage('two', 'one')$$, 'PE003', NULL, 'a name that is taken is refused');
SELECT throws_ok($$SELECT stage('one')$$, 'PE003', NULL, 'for the same document, too');
SELECT is((SELECT document::text FROM policy.snapshots WHERE snapshot = 'one'), source,
	'and what was staged first stays') FROM texts WHERE name = 'one';
SELECT isnt(stage('one', 'One'), NULL, 'names are compared byte for byte');
SELECT throws_ok($$SELECT policy_stage('x', 'version: v2', NULL)$$, 'PE001', NULL, 'an invalid document is refused');
SELECT throws_ok($$SELECT policy_stage(NULL, '{version: v1, rules: []}', NULL)$$, '22004', NULL, 'a NULL name is refused');
SELECT throws_ok($$SELECT policy_stage('x', NULL, NULL)$$, '22004', NULL, 'a NULL document is refused');
SELECT throws_ok(format('SELECT policy_stage(%L, %L, NULL)', name, '{version: v1, rules: []}'), '23514', NULL, what || ' is refused as a name')
FROM (VALUES ('an empty string', ''), ('129 characters', repeat('x', 129)), ('a line end', E'a\nb'),
	('a tab', E'a\tb'), ('an escape', E'a\x1bb'), ('a delete character', E'a\x7fb'),
	('a C1 control character', U&'a\0085b')) AS t(what, name);
SELECT lives_ok(format('SELECT policy_stage(%L, %L, NULL)', repeat('é', 128), '{version: v1, rules: []}'), '128 characters are a name');

-- What staging asks beyond the type
SELECT throws_ok($$SELECT policy_stage('x', 'version: v1
rules: [{id: r, decision: require_approval, approval: {approvers: [nobody_of_this_name]}}]', NULL)$$, 'PE001',
	'invalid policy document: 2:68: approver "nobody_of_this_name" is not a role',
	'an approver that is no role is refused, with its place');
CREATE ROLE policy_test_approver;
SELECT lives_ok($$SELECT policy_stage('approved', 'version: v1
rules: [{id: r, decision: require_approval, approval: {approvers: [policy_test_approver]}}]', NULL)$$,
	'an approver that is a role is accepted');
SELECT is(document_sqlstate('version: v1
rules: [{id: r, decision: require_approval, approval: {approvers: [nobody_of_this_name]}}]'), 'none',
	'the type knows of no roles, so that they stop no restore');
SET LOCAL policy_engine.max_document_bytes = '1kB';
SELECT throws_ok(format('SELECT policy_stage(%L, %L, NULL)', 'large', '{version: v1, rules: []} #' || repeat('x', 1024)), 'PE001', NULL,
	'more than policy_engine.max_document_bytes is refused');
SELECT lives_ok(format('SELECT policy_stage(%L, %L, NULL)', 'just so', rpad('{version: v1, rules: []} #', 1024, 'x')),
	'as much as policy_engine.max_document_bytes is accepted');
RESET policy_engine.max_document_bytes;
SELECT is((SELECT count(*) FROM policy.snapshots WHERE snapshot IN ('x', 'large')), 0::bigint, 'what was refused is not there');

--
-- Publishing
--
SELECT columns_are('policy', 'releases', ARRAY['release_id', 'action', 'snapshot', 'previous_snapshot', 'note',
	'released_by', 'released_at', 'simulation_id', 'override_reason', 'loosened']);
SELECT columns_are('policy', 'active', ARRAY['release_id', 'snapshot', 'since', 'note', 'released_by']);
SELECT throws_ok($$SELECT policy_publish('nowhere', 'why')$$, 'PE002', NULL, 'a snapshot that is not there cannot be published');
SELECT throws_ok($$SELECT policy_publish(NULL, 'why')$$, 'PE002', NULL, 'nor NULL');
SELECT is((r.release_id, r.action, r.snapshot, r.previous_snapshot, r.note, r.released_by, r.simulation_id, r.override_reason, r.loosened)::text,
	(1::bigint, 'publish', 'one', NULL::text, 'the first', session_user::text, NULL::bigint, NULL::text, NULL::bigint)::text,
	'policy_publish returns the release') FROM policy_publish('one', 'the first') r;
SELECT is(active_rule(), 'one:one', 'the publishing transaction sees it at once');
SELECT is((a.release_id, a.snapshot, a.note, a.released_by)::text, (1::bigint, 'one', 'the first', session_user::text)::text,
	'policy.active shows it') FROM policy.active a;
SELECT is(a.since, r.released_at, 'and since when') FROM policy.active a JOIN policy.releases r USING (release_id);
SELECT is((s.snapshot, s.release_id, s.since, s.fail_mode, s.warnings)::text, ('one', 1::bigint, a.since, 'closed', '{}'::text[])::text,
	'policy_status shows it') FROM policy_status() s, policy.active a;
SELECT is((r.release_id, r.previous_snapshot, r.override_reason)::text, (2::bigint, 'one', 'on fire')::text,
	'the next release names the one before, and why it was overridden') FROM policy_publish('two', 'the second', 'on fire') r;
SELECT is(active_rule(), 'two:two', 'and is in force');

--
-- Rolling back
--
SELECT throws_ok($$SELECT policy_rollback('nowhere', 'why')$$, 'PE002', NULL, 'no rollback to what is not there');
SELECT throws_ok($$SELECT policy_rollback(NULL, 'why')$$, 'PE002', NULL, 'nor to NULL');
SELECT throws_ok($$SELECT policy_rollback('one again', 'why')$$, 'PE002', NULL, 'no rollback to what was never released');
SELECT is((SELECT count(*) FROM policy.releases), 2::bigint, 'what was refused made no release');
SELECT is((r.release_id, r.action, r.snapshot, r.previous_snapshot, r.note)::text, (3::bigint, 'rollback', 'one', 'two', 'rollback due false positive spike')::text,
	'policy_rollback is a new release of an old snapshot') FROM policy_rollback('one', 'rollback due false positive spike') r;
SELECT is(active_rule(), 'one:one', 'and is in force');
SELECT is((SELECT array_agg(release_id || ' ' || action || ' ' || snapshot ORDER BY release_id) FROM policy.releases),
	'{"1 publish one","2 publish two","3 rollback one"}', 'nothing of the history is lost');

--
-- Savepoints, with evaluations between
--
SAVEPOINT before_third;
SELECT isnt(stage('three'), NULL, 'a snapshot is staged in a subtransaction');
SELECT isnt(policy_publish('three', 'why'), NULL, 'and published');
SELECT is(active_rule(), 'three:three', 'it is seen before it is rolled back');
ROLLBACK TO before_third;
SELECT is(active_rule(), 'one:one', 'a publish that was rolled back to a savepoint is not seen');
SELECT isnt(stage('two', 'three'), NULL, 'the name is free again, for another document');
SELECT is((policy_publish('three', 'why')).release_id, 4::bigint, 'and so is the release''s number');
SELECT is(active_rule(), 'three:two', 'the same name and number with another document is another policy');
RELEASE before_third;
SELECT is(active_rule(), 'three:two', 'and stays so');

--
-- Simulation
--
SELECT is(policy_simulate('{"topic": "a"}', 'two') ->> 'matched_rule', 'two', 'policy_simulate decides under a snapshot that is not in force');
SELECT is(policy_simulate('{"topic": "a"}', 'one again') ->> 'matched_rule', 'one', 'or was never released');
SELECT is(policy_simulate('{"topic": "a"}') ->> 'matched_rule', 'two', 'or under the active one');
SELECT throws_ok($$SELECT policy_simulate('{"topic": "a"}', 'nowhere')$$, 'PE002', NULL, 'a snapshot that is not there is an error');
SELECT is((policy_simulate(NULL, 'one')) ->> 'decision', 'DENY', 'a NULL request is DENY');
SELECT alike(policy_simulate('[]', 'one') ->> 'reason', 'invalid job: %', 'an invalid one, too');
SELECT is((SELECT array_agg(k) FROM jsonb_object_keys(policy_simulate('{"topic": "a"}', 'one')) k),
	(SELECT array_agg(k) FROM jsonb_object_keys('{"decision": 1, "reason": 1, "constraints": 1, "matched_rule": 1}') k),
	'with one rule the answer has the four keys');
SELECT isnt(policy_stage('several', $$
version: v1
rules:
  - {id: r1, decision: throttle, retry_after_sec: 9}
  - {id: r2, decision: allow}
  - {id: r3, decision: deny, mode: monitor}
$$, NULL), NULL, 'several rules are staged');
SELECT is(policy_simulate('{"topic": "a"}', 'several'),
	'{"decision": "THROTTLE", "reason": "matched rule r1", "constraints": {"max_runtime_sec": 60, "max_retries": 1}, "matched_rule": "r1",
	  "matched_rules": ["r1", "r2"], "monitored_rules": ["r3"], "retry_after_sec": 9}'::jsonb, 'with several, more follow');

--
-- Append-only, for a superuser and a replica's apply as well
--
CREATE FUNCTION change_is_refused(role text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	statement text;
BEGIN
	PERFORM set_config('session_replication_role', role, true);
	FOREACH statement IN ARRAY ARRAY[
		'UPDATE policy.snapshots SET note = NULL', 'DELETE FROM policy.snapshots',
		'TRUNCATE policy.snapshots CASCADE', 'TRUNCATE policy.snapshots, policy.releases',
		'UPDATE policy.releases SET note = NULL', 'DELETE FROM policy.releases', 'TRUNCATE policy.releases',
		'INSERT INTO policy.snapshots SELECT ''one'', ''{version: v1, rules: []}'', DEFAULT, NULL, ''x'', now() ON CONFLICT (snapshot) DO UPDATE SET note = ''x''']
	LOOP
		statement := replace(statement, 'DEFAULT, ', '');
		statement := replace(statement, 'policy.snapshots SELECT', 'policy.snapshots (snapshot, document, note, staged_by, staged_at) SELECT');
		RETURN NEXT throws_ok(statement, 'PE011', NULL, format('refused under session_replication_role = %s: %s', role, left(statement, 60)));
	END LOOP;
	PERFORM set_config('session_replication_role', 'origin', true);
END
$$;
SELECT change_is_refused(role) FROM (VALUES ('origin'), ('replica'), ('local')) AS t(role);
SELECT throws_ok($$UPDATE policy.active SET note = 'x'$$, '55000', NULL, 'the view cannot be changed either');
SELECT throws_ok($$INSERT INTO policy.releases (release_id, action, snapshot, released_by, released_at)
	VALUES (99, 'retreat', 'one', 'x', now())$$, '23514', NULL, 'a release is a publish or a rollback');

-- What an apply worker inserts is seen as well.
SET LOCAL session_replication_role = replica;
INSERT INTO policy.releases (release_id, action, snapshot, released_by, released_at)
	VALUES (5, 'publish', 'two', 'elsewhere', now());
SELECT is(active_rule(), 'two:two', 'a release that replication applies is in force');
INSERT INTO policy.releases (release_id, action, snapshot, released_by, released_at)
	VALUES (6, 'publish', 'still to come', 'elsewhere', now());
SELECT is((v.decision::text, v.snapshot)::text, ('DENY', NULL::text)::text, 'one that comes before its snapshot denies')
	FROM policy_evaluate('{"topic": "a"}'::jsonb) v;
INSERT INTO policy.snapshots (snapshot, document, sha256, staged_by, staged_at)
	SELECT 'still to come', source, 'not its own', 'elsewhere', now() FROM (SELECT source::policy_document FROM texts WHERE name = 'three') t;
SELECT is(active_rule(), 'still to come:three', 'and is in force as soon as that has come');
SELECT is(sha256, sha256(convert_to(t.source, 'UTF8')), 'under the SHA-256 of its text, whatever was given')
	FROM policy.snapshots s, texts t WHERE s.snapshot = 'still to come' AND t.name = 'three';
RESET session_replication_role;

SET LOCAL policy_engine.fail_mode = open;
SELECT alike(s.warnings[1], '%fail_mode is open%', 'policy_status warns of an open fail mode') FROM policy_status() s;
SELECT is(s.fail_mode, 'open', 'and shows it') FROM policy_status() s;
RESET policy_engine.fail_mode;

SELECT is((SELECT array_agg(c::regclass::text ORDER BY c::regclass::text) FROM pg_extension, unnest(extconfig) c
		WHERE extname = 'policy_engine'), '{policy.approval_id_seq,policy.approval_votes,policy.approvals,policy.attach_presets,policy.attached_tables,policy.attachment_id_seq,policy.decision_id_seq,policy.decisions,policy.decisions_default,policy.guarded_jobs,policy.halt_id_seq,policy.halt_signal,policy.halt_stops,policy.halts,policy.held_duties,policy.job_id_seq,policy.jobs,policy.releases,policy.remediations,policy.seals,policy.simulation_flips,policy.simulation_id_seq,policy.simulations,policy.snapshots}',
	'every table and sequence goes into dumps, but for how far maintenance has come and the signal of releases');

--
-- A policy is read from wherever PostgreSQL has put it
--
CREATE FUNCTION keep_rules(rules integer) RETURNS void LANGUAGE sql AS $$
	INSERT INTO policy.snapshots (snapshot, document, sha256, staged_by, staged_at)
	SELECT rules || ' rules', (E'version: v1\nrules:\n' || string_agg(
		format(E'  - {id: r%s, match: {topics: [job.%s]}, decision: allow}\n', n, md5(n::text)), '' ORDER BY n))::policy_document,
		'', 'elsewhere', now()
	FROM generate_series(1, rules) n
$$;
SELECT keep_rules(n) FROM unnest(ARRAY[3, 30, 300]) n \g /dev/null
ALTER TABLE policy.snapshots ALTER document SET STORAGE EXTENDED;
SELECT keep_rules(n) FROM unnest(ARRAY[31, 301]) n \g /dev/null
ALTER TABLE policy.snapshots DISABLE TRIGGER refuse_change;
UPDATE policy.snapshots SET tree = NULL WHERE snapshot LIKE '% rules';
SELECT results_eq($$SELECT snapshot COLLATE "default", pg_column_size(document) < 2000, pg_column_compression(document) IS NOT NULL
		FROM policy.snapshots WHERE snapshot LIKE '% rules' ORDER BY length(document::text)$$,
	$$VALUES ('3 rules', true, false), ('30 rules', false, false), ('31 rules', false, true),
		('300 rules', false, false), ('301 rules', false, true)$$,
	'documents are kept in their rows, beside them, and compressed');
SELECT is_empty($$SELECT n FROM unnest(ARRAY[3, 30, 31, 300, 301]) n
		WHERE policy_simulate(jsonb_build_object('topic', 'job.' || md5(n::text)), n || ' rules')->>'matched_rule'
			IS DISTINCT FROM 'r' || n$$,
	'and each decides by its last rule');

--
-- A small policy's tree is in its row, and stands for its own document alone.
--
SELECT keep_rules(n) FROM unnest(ARRAY[4, 40, 400, 41]) n \g /dev/null
CREATE FUNCTION decides(rules integer) RETURNS text LANGUAGE sql AS $$
	SELECT policy_simulate(jsonb_build_object('topic', 'job.' || md5(rules::text)), rules || ' rules')->>'matched_rule'
$$;
SELECT is((SELECT array_agg(octet_length(tree) > 0 ORDER BY staged_at, snapshot COLLATE "C") FROM policy.snapshots WHERE snapshot IN ('4 rules', '40 rules', '41 rules')),
	'{t,t,t}', 'a small policy has its tree in its row');
SELECT is(tree, NULL, 'a large one has none') FROM policy.snapshots WHERE snapshot = '400 rules';
SELECT is(decides(400), 'r400', 'and decides');
SELECT is(tree::text || '.', '.', 'a tree has no text') FROM policy.snapshots WHERE snapshot = '4 rules';
SELECT is(octet_length(''::policy.tree), 0, 'an empty one is nothing');
SELECT throws_ok($$SELECT 'no tree'::policy.tree$$, '22P02', 'a policy.tree comes from its document alone', 'and none comes from a text');
SELECT is((SELECT count(*) FROM (SELECT DISTINCT * FROM policy.snapshots) s), (SELECT count(*) FROM policy.snapshots),
	'a snapshot''s row can be compared with others');
UPDATE policy.snapshots SET document = '{version: v1, rules: []}' WHERE snapshot = '40 rules';
SELECT is(decides(40), 'r40', 'a new session reads the tree and not the document');
UPDATE policy.snapshots SET tree = (SELECT tree FROM policy.snapshots WHERE snapshot = '4 rules') WHERE snapshot = '41 rules';
SELECT is(decides(41), 'r41', 'but no tree of another document');
SELECT keep_rules(n) FROM unnest(ARRAY[5, 6]) n \g /dev/null
UPDATE policy.snapshots SET tree = '' WHERE snapshot = '5 rules';
SELECT is(decides(5), 'r5', 'nor an empty one, as data that is restored without triggers has it');
CREATE CAST (bytea AS policy.tree) WITHOUT FUNCTION;
CREATE FUNCTION damaged(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE policy.snapshots SET tree = bytes::policy.tree WHERE snapshot = '6 rules';
	RETURN decides(6);
EXCEPTION WHEN data_corrupted THEN
	RETURN SQLERRM;
END
$$;
CREATE TEMP TABLE good AS SELECT tree::bytea AS bytes FROM policy.snapshots WHERE snapshot = '6 rules';
SELECT is(damaged(damaged_bytes), 'stored policy_document is damaged', 'a damaged tree is an error: ' || what)
FROM good, LATERAL (VALUES ('one other bit', set_bit(bytes, 8 * length(bytes) - 20, 1 - get_bit(bytes, 8 * length(bytes) - 20))),
	('one byte less', substr(bytes, 1, length(bytes) - 1)), ('one byte more', bytes || '\x00'),
	('half a header', substr(bytes, 1, 38))) AS t(what, damaged_bytes);
SELECT is(damaged(set_byte(bytes, 32, 99)), 'r6', 'one of another version is passed over') FROM good;

SELECT * FROM finish();
ROLLBACK;
