-- Replay: what a candidate would have decided of the jobs that were recorded.
\ir common.psql
SELECT no_plan();
SET policy_engine.require_simulation = off;

CREATE FUNCTION stage(snapshot text, rules text, head text DEFAULT '') RETURNS void LANGUAGE sql
	AS $$ SELECT policy_stage(snapshot, format(E'version: v1\n%s\nrules:\n%s\n', head, rules)::policy_document, NULL) $$;
-- A simulation in short.
CREATE FUNCTION replayed(snapshot text) RETURNS text LANGUAGE sql
	AS $$ SELECT format('%s jobs, %s replayed, %s loosened, %s tightened', s.jobs, s.replayed, s.loosened, s.tightened) FROM policy_replay(snapshot) s $$;
CREATE FUNCTION newest() RETURNS policy.simulations LANGUAGE sql
	AS $$ SELECT s FROM policy.simulations s ORDER BY s.simulation_id DESC LIMIT 1 $$;
CREATE FUNCTION why() RETURNS text LANGUAGE sql
	AS $$ SELECT string_agg(DISTINCT f.kind || ' ' || f.why::text, ', ') FROM policy.simulation_flips f WHERE f.simulation_id = (newest()).simulation_id $$;

SELECT stage('base', $$
  - {id: read, match: {topics: ['read.*']}, decision: allow, constraints: {max_runtime_sec: 30, allow_hosts: [a, b], deny_hosts: [x], mode: safe}}
  - {id: write, match: {topics: ['write.*']}, decision: require_approval, approval: {approvers: [postgres], min_approvals: 2, expires_in_sec: 600}}
  - {id: drop, match: {topics: ['drop.*']}, decision: deny, reason: never}
  - {id: slow, match: {topics: ['slow.*']}, decision: throttle, retry_after_sec: 60}
$$, E'evidence: {mask: [''$.payload.secret'']}') \g /dev/null
SELECT policy_publish('base', NULL) \g /dev/null
INSERT INTO policy.jobs (topic, payload) SELECT t || '.' || i, '{"secret": "s", "amount": 5}'
	FROM unnest(ARRAY['read', 'write', 'drop', 'slow', 'other']) t, generate_series(1, 4) i;

-- The same policy
SELECT is(replayed('base'), '20 jobs, 20 replayed, 0 loosened, 0 tightened', 'the active snapshot over its own decisions flips nothing');
SELECT is((newest()).matrix_then, (newest()).matrix, 'what is said now is what was decided then');
SELECT is((newest()).matrix, '[{"to": "ALLOW_WITH_CONSTRAINTS", "from": "ALLOW_WITH_CONSTRAINTS", "jobs": 4}, {"to": "THROTTLE", "from": "THROTTLE", "jobs": 4},
	{"to": "REQUIRE_APPROVAL", "from": "REQUIRE_APPROVAL", "jobs": 4}, {"to": "DENY", "from": "DENY", "jobs": 8}]'::jsonb, 'the matrix has all of them');
SELECT is(((newest()).gate ->> 'passed')::boolean, true, 'and the gate lets it pass');
SELECT is(((newest()).covers_history, (newest()).base_snapshot, (newest()).source)::text, '(t,base,decisions)', 'over all that there is');

-- One change of each kind that loosens
CREATE FUNCTION changed(name text, was text, becomes text) RETURNS text LANGUAGE plpgsql
	AS $$
BEGIN
	PERFORM policy_stage(name, replace(document::text, was, becomes)::policy_document, NULL) FROM policy.snapshots WHERE snapshot = 'base';
	RETURN replayed(name) || ': ' || why();
END
$$;
SELECT is(changed('c1', 'decision: deny, reason: never', 'decision: allow'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {decision}', 'a looser decision');
SELECT is(changed('c2', 'max_runtime_sec: 30', 'max_runtime_sec: 31'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {constraints}', 'a greater maximum');
SELECT is(changed('c3', 'max_runtime_sec: 30, ', ''), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {constraints}', 'one that falls to the default');
SELECT is(changed('c4', 'allow_hosts: [a, b]', 'allow_hosts: [a, b, c]'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {constraints}', 'a longer list of what is allowed');
SELECT is(changed('c5', 'deny_hosts: [x]', 'deny_hosts: []'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {constraints}', 'a shorter one of what is denied');
SELECT is(changed('c6', 'mode: safe', 'mode: other'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {constraints}', 'a bound of which nobody knows which is tighter');
SELECT is(changed('c7', 'mode: safe', 'mode: safe, allow_root: true'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {constraints}', 'something that is newly allowed');
SELECT is(changed('c8', 'min_approvals: 2', 'min_approvals: 1'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {approval}', 'fewer approvals');
SELECT is(changed('c9', 'approvers: [postgres], ', ''), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {approval}', 'whoever may approve');
SELECT is(changed('c10', 'expires_in_sec: 600', 'expires_in_sec: 601'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {approval}', 'approvals that last longer');
SELECT is(changed('c11', 'expires_in_sec: 600', 'expires_in_sec: 600, allow_self: true'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {approval}', 'approving for oneself');
SELECT is(changed('c12', 'expires_in_sec: 600', E'expires_in_sec: 600, immaterial: [''$.payload.amount'']'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {approval}', 'more that is immaterial');
SELECT is(changed('c13', 'secret', 'other'), '20 jobs, 20 replayed, 20 loosened, 0 tightened: loosened {mask}', 'a mask that is lost');
SELECT is(changed('c14', 'decision: throttle, retry_after_sec: 60', 'decision: throttle, retry_after_sec: 59'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {constraints}', 'a shorter wait');
SELECT is(changed('c16', 'mode: safe', 'mode: safe, max_retries: 3'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {constraints}', 'more attempts');
SELECT is(changed('c17', 'mode: safe', 'mode: safe, shell: bash'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {constraints}', 'a new key of which nobody knows what it grants');
SELECT is(changed('c18', 'mode: safe', 'mode: safe, max_files: 5, deny_paths: [/etc], require_review: true'), '20 jobs, 20 replayed, 0 loosened, 4 tightened: tightened {constraints}', 'but new bounds only tighten');
SELECT is(changed('c19', 'decision: deny, reason: never', 'decision: deny, reason: never, mode: monitor'), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {rule}', 'a deny that only watches, though the default denies as well');
SELECT is(changed('c20', 'topics: [''slow.*'']', 'topics: [''slow.*'', ''write.*'']'), '20 jobs, 20 replayed, 0 loosened, 4 tightened: tightened {rule}', 'a wait behind an approval');
SELECT stage('open', '  - {id: drop, match: {topics: [''drop.*'']}, decision: deny}', 'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT policy_publish('open', NULL) \g /dev/null
SELECT stage('hour', format('  - {id: drop, match: {topics: [''drop.*'']}, decision: deny, expires_at: "%s"}', to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
	'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT is(replayed('hour') || ': ' || why(), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {decision}', 'a deny that ends in an hour loosens what it denies today');
SELECT ok(bool_and(f.evaluated_at > now() + interval '50 minutes'), 'at that hour') FROM policy.simulation_flips f WHERE f.simulation_id = (newest()).simulation_id;
SELECT stage('morrow', format('  - {id: early, match: {topics: [''drop.*'']}, decision: deny, expires_at: "%s"}', to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
	|| format(E'\n  - {id: later, match: {topics: [''drop.*'']}, decision: require_approval, not_before: "%s"}', to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
	'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT is(replayed('morrow') || ': ' || why(), '20 jobs, 20 replayed, 4 loosened, 0 tightened: loosened {decision}', 'so does a rule that starts tomorrow');
SELECT stage('excepted', format('  - {id: drop, match: {topics: [''drop.*'']}, decision: deny, exceptions: [{id: e, match: {topics: [drop.1]}, reason: r, expires_at: "%s"}]}', to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
	|| E'\n  - {id: all, match: {topics: [''drop.*'']}, decision: deny}', 'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT is(replayed('excepted') || ': ' || why(), '20 jobs, 20 replayed, 1 loosened, 0 tightened: loosened {exception}', 'an exception counts, though another rule still denies');

-- Tightened, and what it adds to the queue
SELECT stage('tight', '  - {id: read, match: {topics: [''read.*'']}, decision: require_approval}', 'defaults: {decision: deny, constraints: {}}') \g /dev/null
SELECT is(replayed('tight') || ': ' || why(), '20 jobs, 20 replayed, 0 loosened, 16 tightened: tightened {decision}', 'what is stricter is tightened');
SELECT is(((newest()).newly_approval, (newest()).approvals_per_day)::text, '(4,4.00)', 'with what newly needs people');
SELECT ok((newest()).rules @> '[{"rule": "read", "gained": 4, "lost": 0}, {"rule": "drop", "gained": 0, "lost": 4}]', 'what each rule gains and loses');
-- What cannot be replayed
SELECT stage('amounts', '  - {id: big, match: {topics: [''read.*''], when: ''$.payload.secret == "s"''}, decision: deny}', 'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT is((SELECT s.unreplayable FROM policy_replay('amounts') s), '{"masked fact": 4}'::jsonb, 'and counted');
SELECT stage('whole', '  - {id: any, match: {topics: [''read.*''], when: ''$.payload.*  == "s"''}, decision: deny}', 'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT is((SELECT s.unreplayable FROM policy_replay('whole') s), '{"masked fact": 4}'::jsonb, 'so is one of whose masks a wildcard reads');
SELECT stage('excused', '  - {id: big, match: {topics: [''drop.*'']}, decision: deny, exceptions: [{id: e, match: {when: ''exists($.payload.secret)''}, reason: r, expires_at: 2099-01-01T00:00:00Z}]}', 'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT is((SELECT s.unreplayable FROM policy_replay('excused') s), '{"masked fact": 4}'::jsonb, 'or an exception');
SELECT stage('beside', '  - {id: big, match: {topics: [''read.*''], when: ''$.payload.amount > 4''}, decision: deny}', 'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT is((SELECT (s.replayed, s.unreplayable, s.tightened)::text FROM policy_replay('beside') s), '(20,{},4)', 'but a mask that no rule reads hides nothing of what is decided');
INSERT INTO policy.jobs (tenant_id) VALUES ('no topic');
SELECT is((SELECT s.unreplayable FROM policy_replay('open') s), '{"invalid job": 1}'::jsonb, 'so is an invalid job');
SELECT policy_submit('{"tenant_id": "t", "job": {"topic": "read.wrapped"}}') \g /dev/null
SELECT is((SELECT s.unreplayable FROM policy_replay('open') s), '{"invalid job": 2}'::jsonb, 'and one that was invalid to submit, whatever is recorded of it');
SELECT stage('fast', '  - {id: rate, match: {topics: [''read.*'']}, decision: throttle, velocity: {max_requests: 1, window_seconds: 60, key: tenant}}', 'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT is((SELECT (s.replayed, s.unreplayable ->> 'velocity without counters', s.tightened)::text FROM policy_replay('fast') s), '(20,,3)',
	'a rate is replayed in the order of time: of four at once one is admitted');
SELECT is((SELECT (s.replayed, s.unreplayable ->> 'velocity without counters')::text
	FROM policy_replay_query('fast', $$SELECT '{"topic": "read.a"}'::jsonb UNION ALL SELECT '{"topic": "b"}'$$) s), '(1,1)', 'but of a query nobody knows it');
-- Jobs an hour apart, told by evidence that was restored.
ALTER TABLE policy.decisions DISABLE TRIGGER refuse_change;
ALTER TABLE policy.decisions_default DISABLE TRIGGER refuse_change;
INSERT INTO policy.decisions (decision_id, decided_at, source, job_table, job_key, job_hash, job, decision, reason, matched_rules,
		monitored_rules, constraints, snapshot, role, session_role)
	SELECT 100000 + i, '2026-01-01T00:00:00Z'::timestamptz + i * interval '20 seconds', 'submit', 'elsewhere', i::text, '', '{"topic": "read.hour"}',
		'ALLOW', 'r', '{}', '{}', '{}', NULL, 'r', 'r' FROM generate_series(0, 17) i;
SELECT is((SELECT (s.jobs, s.tightened)::text FROM policy_replay('fast', '2026-01-01', '2026-01-02') s), '(18,13)', 'what is throttled is not charged, and so one is admitted each time that the last has stopped counting');
SELECT is((SELECT (s.jobs, s.tightened)::text FROM policy_replay('fast', '2026-01-01T00:00:20Z', '2026-01-02') s), '(17,13)',
	'and what was before the window has been charged');
SELECT is((SELECT (s.jobs, s.flips)::text FROM policy_replay('fast', '2026-01-01', '2026-01-02', 'fast') s), '(18,0)', 'against itself it flips nothing');
UPDATE policy.decisions SET decided_at = '2026-01-01T00:00:00Z'::timestamptz + (decision_id - 100000) * interval '70 seconds' WHERE decision_id >= 100000;
SELECT is((SELECT (s.jobs, s.tightened)::text FROM policy_replay('fast', '2026-01-01', '2026-01-02') s), '(18,0)', 'attempts that are further apart are all within it');
DELETE FROM policy.decisions WHERE decision_id >= 100000;

-- An attempt that is left out
CREATE FUNCTION record(id bigint, at timestamptz, job jsonb, snapshot text) RETURNS void LANGUAGE sql
	AS $$ INSERT INTO policy.decisions (decision_id, decided_at, source, job_table, job_key, job_hash, job, decision, reason, matched_rules,
			monitored_rules, constraints, snapshot, role, session_role)
		VALUES (id, at, 'submit', 'elsewhere', id::text, '', job, 'ALLOW', 'r', '{}', '{}', '{}', snapshot, 'r', 'r') $$;
SELECT stage('both', $$  - {id: rate, match: {topics: ['read.*']}, decision: throttle, velocity: {max_requests: 1, window_seconds: 60, key: tenant}}
  - {id: secret, match: {topics: [read.secret], when: '$.payload.secret == "x"'}, decision: deny}$$, 'defaults: {decision: allow, constraints: {}}') \g /dev/null
SELECT record(100000, '2026-01-01T00:00:00Z', '{"topic": "read.secret", "payload": {"secret": "***"}}', 'base'), record(100001, '2026-01-01T00:00:20Z', '{"topic": "read.a"}', 'base') \g /dev/null
SELECT is((SELECT (s.replayed, s.unreplayable, s.tightened)::text FROM policy_replay('both', '2026-01-01', '2026-01-02') s), '(1,"{""masked fact"": 1}",1)',
	'a job of which a fact is masked was an attempt all the same');
SELECT is((SELECT (s.replayed, s.unreplayable, s.tightened)::text FROM policy_replay('both', '2026-01-01T00:00:20Z', '2026-01-02') s), '(1,{},1)',
	'as it is before the window');

-- A snapshot that is not there any more
SELECT record(100002, '2026-01-01T00:00:30Z', '{"topic": "b"}', 'gone'), record(100003, '2026-01-01T00:00:40Z', '{"topic": "b"}', 'base'),
	record(100004, '2026-01-01T00:00:50Z', '{"topic": "b"}', 'gone') \g /dev/null
SELECT is((SELECT (s.jobs, s.replayed, s.unreplayable)::text FROM policy_replay(candidate, '2026-01-01T00:00:30Z', '2026-01-02') s), '(3,1,"{""masked fact"": 2}")',
	format('of what a snapshot masked that is not stored nobody knows: %s', candidate)) FROM unnest(ARRAY['open', 'both']) candidate;
DELETE FROM policy.decisions WHERE decision_id >= 100000;

-- A window, a base, and queries
SELECT is((SELECT s.jobs FROM policy_replay('base', now() + interval '1 hour', now() + interval '2 hours') s), 0::bigint, 'a window without jobs');
SELECT throws_ok($$SELECT policy_replay('base', now(), now() - interval '1 day')$$, '22023', NULL, 'a window that ends before it begins');
SELECT throws_ok($$SELECT policy_replay('none')$$, 'PE002', NULL, 'an unknown snapshot');
SELECT throws_ok($$SELECT policy_replay(NULL)$$, 'PE002', NULL, 'and none');
SELECT is((SELECT (s.base_snapshot, s.base_release_id)::text FROM policy_replay('open', base => 'base') s), '(base,)', 'another base than the active one');
SELECT is((SELECT (s.jobs, s.replayed, s.loosened, s.tightened, s.source, s.approvals_per_day)::text
	FROM policy_replay_query('tight', $$SELECT jsonb_build_object('topic', 'read.' || i) FROM generate_series(1, 1300) i$$) s), '(1300,1300,0,1300,query,)', 'a query''s jobs');
SELECT is((SELECT (count(*), count(job), min(flip), max(flip))::text FROM policy.simulation_flips WHERE simulation_id = (newest()).simulation_id), '(1300,1300,1,1300)', 'with its flips');
SELECT is((SELECT s.approvals_per_day FROM policy_replay_query('tight', $$SELECT '{"topic": "read.a"}'::jsonb, timestamptz '2026-01-01' + i * interval '1 day' FROM generate_series(0, 10) i$$) s), 1.10, 'and its times');
SET timezone = 'Asia/Kolkata';
SET datestyle = 'SQL, DMY';
SELECT policy_replay_query('tight', $$SELECT '{"topic": "read.a"}'::jsonb$$) \g /dev/null
SELECT is(f.evaluated_at, s.started_at, 'without times each is evaluated at the present, however a session writes that')
	FROM policy.simulations s JOIN policy.simulation_flips f USING (simulation_id) WHERE s.simulation_id = (newest()).simulation_id;
RESET datestyle;
SET timezone = 'UTC';
SELECT throws_ok($$SELECT policy_replay_query('tight', 'SELECT 1')$$, '42804', NULL, 'a query of something else');
SELECT throws_ok($$SELECT policy_replay_query('tight', NULL)$$, '22004', NULL, 'no query');
SELECT throws_ok($$SELECT policy_replay_query('tight', 'DELETE FROM policy.jobs RETURNING ''{}''::jsonb')$$, NULL, NULL, 'a query that writes');
SELECT throws_ok($$SELECT policy_replay_query('none', 'SELECT ''{}''::jsonb')$$, 'PE002', NULL, 'for no snapshot');

-- A replay in another's query
CREATE FUNCTION shown() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT 'read.' || count(*) FROM policy.replay_progress $$;
CREATE FUNCTION nested() RETURNS jsonb LANGUAGE plpgsql VOLATILE
	AS $$
BEGIN
	PERFORM policy_replay_query('tight', 'SELECT jsonb_build_object(''topic'', helper.shown())');
	RETURN jsonb_build_object('topic', shown());
END
$$;
SELECT policy_replay_query('tight', 'SELECT helper.nested()') \g /dev/null
SELECT is((SELECT string_agg(f.topic, ' ' ORDER BY f.simulation_id DESC) FROM policy.simulation_flips f WHERE f.simulation_id >= (newest()).simulation_id - 1), 'read.2 read.1',
	'a replay inside of another is shown beside it, and ends alone');
SELECT is((SELECT count(*) FROM policy.replay_progress), 0::bigint, 'in the end neither is shown');

-- Append-only
SELECT throws_ok('UPDATE policy.simulations SET loosened = 0', 'PE011', NULL, 'a simulation does not change');
SELECT throws_ok('DELETE FROM policy.simulations', 'PE011', NULL, 'nor go');
SELECT throws_ok('DELETE FROM policy.simulation_flips', 'PE011', NULL, 'nor do its flips');

SELECT * FROM finish();
ROLLBACK;
