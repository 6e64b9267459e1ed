-- The gate: what policy_publish asks of a candidate.
\ir common.psql
SELECT no_plan();
SET policy_engine.require_simulation = on;

CREATE ROLE policy_test_author LOGIN;
CREATE ROLE policy_test_releaser LOGIN;
CREATE ROLE policy_test_breaker LOGIN;
SELECT policy_grant('policy_test_author', 'author'), policy_grant('policy_test_author', 'release'), policy_grant('policy_test_releaser', 'release'),
	policy_grant('policy_test_breaker', 'release'), policy_grant('policy_test_breaker', 'override') \g /dev/null
GRANT USAGE ON SCHEMA helper TO PUBLIC;
CREATE FUNCTION stage(snapshot text, rules text) RETURNS void LANGUAGE sql
	AS $$ SELECT policy_stage(snapshot, format(E'version: v1\ndefaults: {decision: allow, constraints: {}}\nrules:\n%s\n', rules)::policy_document, NULL) $$;
-- What a publish comes to: the SQLSTATE, or the simulation that let it pass; nothing stays.
CREATE FUNCTION outcome(snapshot text) RETURNS text LANGUAGE plpgsql
	AS $$
DECLARE
	made policy.releases;
BEGIN
	made := policy_publish(snapshot, 'a try');
	RAISE EXCEPTION USING ERRCODE = 'T0000', MESSAGE = format('released %s', coalesce(made.simulation_id::text, 'ungated'));
EXCEPTION
	WHEN SQLSTATE 'T0000' THEN RETURN sqlerrm;
	WHEN OTHERS THEN RETURN sqlstate;
END
$$;

-- Without a history
SELECT stage('v1', $$  - {id: drop, match: {topics: ['drop.*']}, decision: deny}
  - {id: bound, match: {topics: ['read.*']}, decision: allow, constraints: {max_runtime_sec: 30}}
  - {id: ask, match: {topics: ['write.*']}, decision: require_approval, approval: {min_approvals: 2}}$$) \g /dev/null
SELECT is(outcome('v1'), 'released ungated', 'a first release without history needs no simulation');
SELECT policy_publish('v1', 'first') \g /dev/null
SELECT stage('v2', '  - {id: drop, match: {topics: [''drop.*'']}, decision: allow}') \g /dev/null
SELECT is(outcome('v2'), 'released ungated', 'nor does another while nothing is recorded');

SELECT policy_stage('failing', E'version: v1\ntests:\n  - {name: n, job: {topic: x}, expect: {decision: allow}}', NULL) \g /dev/null
SELECT is(outcome('failing'), 'PE007', 'one whose own tests fail passes not even then');
SET policy_engine.require_simulation = off;
SELECT is(outcome('failing'), 'PE007', 'nor where no simulation is asked for');
SET policy_engine.require_simulation = on;
SELECT throws_like($$SELECT policy_publish('failing', NULL)$$, '1 of the own tests of snapshot "failing" fails', 'it is told how many');
SELECT throws_ok($$SELECT policy_publish('failing', NULL, 'an outage')$$, 'PE007', NULL, 'an override passes the gate, and no failing test');

-- With one
INSERT INTO policy.jobs (topic) SELECT t || '.' || i FROM unnest(ARRAY['drop', 'read', 'write', 'other']) t, generate_series(1, 25) i;
SELECT is(outcome('v2'), 'PE004', 'a candidate that was not replayed');
SELECT throws_like($$SELECT policy_publish('v2', NULL)$$, '%was not replayed', 'is told so');
SELECT stage('same', $$  - {id: renamed, match: {topics: ['drop.*']}, decision: deny, reason: other words}
  - {id: bound, match: {topics: ['read.*']}, decision: allow, constraints: {max_runtime_sec: 30}}
  - {id: ask, match: {topics: ['write.*']}, decision: require_approval, approval: {min_approvals: 2}}$$) \g /dev/null
SELECT is((SELECT (s.flips, s.gate ->> 'passed')::text FROM policy_replay('same') s), '(0,true)', 'one that changes no decision');
SELECT matches(outcome('same'), '^released \d+$', 'passes');
SELECT is((SELECT (s.loosened, s.gate ->> 'passed')::text FROM policy_replay('v2') s), '(75,false)', 'one that loosens');
SELECT is(outcome('v2'), 'PE006', 'does not');

-- Not to be got round
SELECT is((SELECT s.gate ->> 'passed' FROM policy_replay('v2', now() + interval '1 hour', now() + interval '2 hours') s), 'false', 'a window without the jobs');
SELECT is(outcome('v2'), 'PE006', 'is no way round');
SELECT is((SELECT s.gate ->> 'passed' FROM policy_replay('v2', clock_timestamp()) s), 'false', 'nor is a short one');
SELECT is(outcome('v2'), 'PE006', 'which ends now');
SELECT is((SELECT (s.jobs, s.gate ->> 'passed')::text FROM policy_replay('v2', clock_timestamp(), clock_timestamp() + interval '8 days') s), '(0,false)', 'nor one that is all still to come');
SELECT is(outcome('v2'), 'PE006', 'however long');
SELECT is((SELECT string_agg(format('%s of %s: %s', s.jobs, c ->> 'value', c ->> 'passed'), '; ' ORDER BY s.simulation_id)
	FROM (VALUES (now() + interval '1 hour', 'infinity'), ('-infinity', '2020-01-01'), ('-infinity', 'infinity'), ('-infinity', NULL)) w(since, until),
		policy_replay('v2', w.since::timestamptz, w.until::timestamptz) s, jsonb_array_elements(s.gate -> 'checks') c WHERE c ->> 'check' = 'window'),
	'0 of no jobs: false; 0 of no jobs: false; 100 of all history: true; 100 of all history: true', 'a window may be infinite');
SELECT is(outcome('v2'), 'PE006', 'which loosens no less');
SELECT is((SELECT s.gate ->> 'passed' FROM policy_replay_query('v2', $$SELECT '{"topic": "other.benign"}'::jsonb$$) s), 'false', 'nor one benign job');
SELECT is(outcome('v2'), 'PE006', 'of a query');
SELECT policy_replay('v2') \g /dev/null
SELECT stage('v3', '  - {id: nothing, match: {topics: [none]}, decision: deny}') \g /dev/null
SELECT policy_replay('v3', base => 'v2') \g /dev/null
SELECT is(outcome('v3'), 'PE005', 'nor a comparison with what is not active');
ALTER TABLE policy.simulations DISABLE TRIGGER acknowledge_only;
UPDATE policy.simulations SET finished_at = finished_at - interval '25 hours' WHERE snapshot = 'same';
ALTER TABLE policy.simulations ENABLE ALWAYS TRIGGER acknowledge_only;
SELECT is(outcome('same'), 'PE005', 'nor a simulation of yesterday');
CREATE FUNCTION looser(name text, rules text) RETURNS text LANGUAGE plpgsql
	AS $$ BEGIN PERFORM stage(name, rules); PERFORM policy_replay(name); RETURN outcome(name); END $$;
SELECT is(looser('hour', format($$  - {id: drop, match: {topics: ['drop.*']}, decision: deny, expires_at: "%s"}
  - {id: bound, match: {topics: ['read.*']}, decision: allow, constraints: {max_runtime_sec: 30}}
  - {id: ask, match: {topics: ['write.*']}, decision: require_approval, approval: {min_approvals: 2}}$$, to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))),
	'PE006', 'nor a deny that ends in an hour');
SELECT is(looser('morrow', format($$  - {id: drop, match: {topics: ['drop.*']}, decision: deny, expires_at: "%1$s"}
  - {id: later, match: {topics: ['drop.*']}, decision: allow, not_before: "%1$s"}
  - {id: bound, match: {topics: ['read.*']}, decision: allow, constraints: {max_runtime_sec: 30}}
  - {id: ask, match: {topics: ['write.*']}, decision: require_approval, approval: {min_approvals: 2}}$$, to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))),
	'PE006', 'nor a rule that starts tomorrow');
SELECT is(looser('wider', $$  - {id: drop, match: {topics: ['drop.*']}, decision: deny}
  - {id: bound, match: {topics: ['read.*']}, decision: allow, constraints: {max_runtime_sec: 300}}
  - {id: ask, match: {topics: ['write.*']}, decision: require_approval, approval: {min_approvals: 2}}$$), 'PE006', 'nor a wider constraint');
SELECT is(looser('fewer', $$  - {id: drop, match: {topics: ['drop.*']}, decision: deny}
  - {id: bound, match: {topics: ['read.*']}, decision: allow, constraints: {max_runtime_sec: 30}}
  - {id: ask, match: {topics: ['write.*']}, decision: require_approval, approval: {min_approvals: 1}}$$), 'PE006', 'nor fewer approvers');
SELECT is(looser('immaterial', $$  - {id: drop, match: {topics: ['drop.*']}, decision: deny}
  - {id: bound, match: {topics: ['read.*']}, decision: allow, constraints: {max_runtime_sec: 30}}
  - {id: ask, match: {topics: ['write.*']}, decision: require_approval, approval: {min_approvals: 2, immaterial: ['$.payload.path']}}$$), 'PE006', 'nor a broader immaterial');

-- History that is older than the window, but for one job; a day is 24 hours in every time zone.
CREATE FUNCTION gate_window(since timestamptz) RETURNS text LANGUAGE sql
	AS $$ SELECT c ->> 'value' || ': ' || (c ->> 'passed') FROM policy_replay('same', since) s, jsonb_array_elements(s.gate -> 'checks') c WHERE c ->> 'check' = 'window' $$;
SAVEPOINT old;
ALTER TABLE policy.decisions DISABLE TRIGGER refuse_change;
ALTER TABLE policy.decisions_default DISABLE TRIGGER refuse_change;
UPDATE policy.decisions SET decided_at = decided_at - interval '8 days';
SELECT is(gate_window(clock_timestamp() - interval '168 hours'), 'no jobs: false', 'nor a week in which there was no job');
INSERT INTO policy.jobs (topic) VALUES ('other.new');
SELECT matches(gate_window(now() - interval '168 hours'), '^7 days 00:00:0.*: true$', 'a week with a job is enough');
SELECT matches(gate_window(clock_timestamp() - interval '167 hours 59 minutes'), '^6 days 23:59:0.*: false$', 'not quite a week is not');
SELECT policy_replay('same', until => clock_timestamp() - interval '1 minute') \g /dev/null
SELECT is(outcome('same'), 'PE006', 'nor one that does not reach the present');
ROLLBACK TO old;

-- Its limits are settings
SELECT is(looser('stricter', $$  - {id: drop, match: {topics: ['drop.*']}, decision: deny}
  - {id: bound, match: {topics: ['read.*']}, decision: allow, constraints: {max_runtime_sec: 20}}
  - {id: ask, match: {topics: ['write.*']}, decision: require_approval, approval: {min_approvals: 2}}$$), 'PE006', 'too many that are only stricter are too many');
SET policy_engine.gate_max_flip_ratio = 0.25;
SELECT matches(outcome('stricter'), '^released', 'unless so many may flip');
SELECT is(outcome('v2'), 'PE006', 'which lets nothing looser pass');
SET policy_engine.gate_max_flip_ratio = 1;
SET policy_engine.gate_max_loosened = 75;
SELECT matches(outcome('v2'), '^released', 'unless that may be, too');
RESET policy_engine.gate_max_flip_ratio;
RESET policy_engine.gate_max_loosened;
INSERT INTO policy.jobs (tenant_id) SELECT 'invalid' FROM generate_series(1, 10);
SELECT policy_replay('same') \g /dev/null
SELECT is(outcome('same'), 'PE006', 'too many that could not be replayed are too many');
SET policy_engine.gate_max_unreplayable = 0.1;
SELECT matches(outcome('same'), '^released', 'unless so many may be left out');
SET policy_engine.require_simulation = off;
SELECT is(outcome('v2'), 'released ungated', 'with the gate off nothing is asked');
SET policy_engine.require_simulation = on;

-- Somebody else's word
SET SESSION AUTHORIZATION policy_test_author;
SELECT policy_stage('authored', (SELECT document FROM policy.snapshots WHERE snapshot = 'v2')::text::policy_document, NULL) \g /dev/null
SELECT (policy_replay('authored')).simulation_id AS simulation \gset
SELECT throws_ok($$SELECT policy_publish('authored', NULL)$$, 'PE006', NULL, 'what an author has staged');
SELECT throws_ok(format('SELECT policy_acknowledge(%s, NULL)', :simulation), '42501', NULL, 'its author does not acknowledge');
SET SESSION AUTHORIZATION policy_test_releaser;
SELECT throws_ok('SELECT policy_acknowledge(0, NULL)', 'P0002', NULL, 'what is not there cannot be');
SELECT is((s.acknowledged_by, s.acknowledge_note)::text, '(policy_test_releaser,seen)', 'but somebody else does') FROM policy_acknowledge(:simulation, 'seen') s;
SELECT is((policy_acknowledge(:simulation, 'again')).acknowledge_note, 'seen', 'once');
SELECT is((r.simulation_id, r.loosened)::text, format('(%s,75)', :simulation), 'and then it is released, with what it loosens') FROM policy_publish('authored', NULL) r;
RESET SESSION AUTHORIZATION;

-- A proxy speaks for the role that it has set, when it stages, too.
CREATE ROLE policy_test_pooler LOGIN;
GRANT policy_test_author, policy_test_releaser TO policy_test_pooler;
SELECT policy_grant('policy_test_pooler', 'proxy') \g /dev/null
SET SESSION AUTHORIZATION policy_test_pooler;
SET ROLE policy_test_author;
SELECT is((policy_stage('pooled', 'version: v1', NULL)).staged_by, 'policy_test_author', 'through a proxy it is the author who stages');
SELECT (policy_replay('pooled')).simulation_id AS pooled \gset
SELECT throws_ok(format('SELECT policy_acknowledge(%s, NULL)', :pooled), '42501', NULL, 'who does not acknowledge there');
SET SESSION AUTHORIZATION policy_test_author;
SELECT throws_ok(format('SELECT policy_acknowledge(%s, NULL)', :pooled), '42501', NULL, 'nor by a login of their own');
SET SESSION AUTHORIZATION policy_test_pooler;
SET ROLE policy_test_releaser;
SELECT is((policy_acknowledge(:pooled, NULL)).acknowledged_by, 'policy_test_releaser', 'but somebody else does, through the same proxy');
RESET SESSION AUTHORIZATION;

-- What an acknowledgement does not cover
SELECT policy_replay('pooled') \g /dev/null
SELECT is(outcome('pooled'), 'PE006', 'a newer simulation is not acknowledged by the older one''s word');
SELECT stage('short', '  - {id: other, match: {topics: [x]}, decision: deny}') \g /dev/null
SELECT (policy_replay('short', clock_timestamp())).simulation_id AS short \gset
SELECT (policy_replay_query('short', $$SELECT '{"topic": "other.benign"}'::jsonb$$)).simulation_id AS query \gset
SET SESSION AUTHORIZATION policy_test_releaser;
SELECT policy_acknowledge(:short, NULL), policy_acknowledge(:query, NULL) \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is(outcome('short'), 'PE006', 'nor is a window that is too short, nor a query');
SELECT (policy_replay('short', base => 'same')).simulation_id AS other_base \gset
SET SESSION AUTHORIZATION policy_test_releaser;
SELECT policy_acknowledge(:other_base, NULL) \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is(outcome('short'), 'PE006', 'nor a comparison with another base');
SELECT throws_ok($$UPDATE policy.simulations SET acknowledged_by = 'x', loosened = 0 WHERE acknowledged_by IS NULL$$, 'PE011', NULL, 'an acknowledgement changes nothing else');

-- An override
SELECT is(outcome('v1'), 'PE004', 'what is not replayed against what is active now');
SET SESSION AUTHORIZATION policy_test_releaser;
SELECT throws_ok($$SELECT policy_publish('v1', NULL, 'because')$$, '42501', NULL, 'is not overridden by who may not');
SET SESSION AUTHORIZATION policy_test_breaker;
SELECT throws_ok($$SELECT policy_publish('v1', NULL, E' \n')$$, '22023', NULL, 'nor without a reason');
SELECT is((r.override_reason, r.simulation_id)::text, '(because,)', 'but by who may') FROM policy_publish('v1', NULL, 'because') r;
RESET SESSION AUTHORIZATION;
SELECT is((d.source, d.reason, d.snapshot, d.session_role, d.job_table)::text, '(override,because,v1,policy_test_breaker,policy.releases)', 'and the evidence says so')
	FROM policy.decisions d ORDER BY d.decision_id DESC LIMIT 1;
SELECT is((SELECT sum(m.decisions) FROM policy.decision_mix m), (SELECT count(*)::numeric FROM policy.decisions d WHERE d.job_table = 'policy.jobs'),
	'but no mix counts it among the decisions of jobs');
SELECT is((SELECT sum(e.value::integer) FROM policy_status() s, jsonb_each_text(s.decisions_last_hour) e), (SELECT count(*) FROM policy.decisions d WHERE d.job_table = 'policy.jobs'),
	'nor does policy_status');

-- The way out
SELECT is((r.action, r.loosened)::text, '(rollback,75)', 'a rollback is not gated, and says what it loosens') FROM policy_rollback('authored', 'out') r;
SELECT is(r.loosened, 0::bigint, 'or that it does not') FROM policy_rollback('v1', 'back') r;
SELECT stage('rate', '  - {id: rate, match: {topics: [none]}, decision: throttle, velocity: {max_requests: 1, window_seconds: 60, key: tenant}}') \g /dev/null
SELECT is((policy.rollback_loosens(target, 'v1', 'infinity'), policy.rollback_loosens(target, 'v1', '-infinity'))::text, '(75,)',
	format('what there is no time for is not counted, nor waited for: %s', target)) FROM unnest(ARRAY['v2', 'rate']) target;

-- Away and back: a snapshot is immutable, and what was compared with it still is.
SELECT (policy_replay('same')).simulation_id AS same \gset
SELECT is(outcome('same'), format('released %s', :same), 'a simulation against what is active');
SELECT policy_publish('v2', NULL, 'because') \g /dev/null
SELECT is(outcome('same'), 'PE005', 'is stale once something else is');
SELECT policy_rollback('v1', 'back') \g /dev/null
SELECT is(outcome('same'), format('released %s', :same), 'and not where a rollback has made it active again');

SELECT * FROM finish();
ROLLBACK;
