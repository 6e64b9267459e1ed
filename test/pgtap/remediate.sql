\ir queue.psql
SELECT plan(120);

-- What a statement gives, run as another login, which may set a role: its first
-- column, or the SQLSTATE that it raises.
CREATE FUNCTION as_login(login text, statement text, role text DEFAULT 'none') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('session_authorization', login, true);
	PERFORM set_config('role', role, true);
	EXECUTE statement INTO result;
	PERFORM set_config('role', 'none', true);
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
CREATE FUNCTION submit_as(login text, topic text, more jsonb DEFAULT '{}') RETURNS bigint LANGUAGE sql AS $$
	SELECT as_login(login, format('SELECT (policy_submit(%L)).job_id', jsonb_build_object('topic', topic) || more))::bigint
$$;
-- What is offered for a job, in order.
CREATE FUNCTION offers(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(remediation_id || ' of ' || rule, ', ' ORDER BY place), 'none')
	FROM policy_remediations(id) WITH ORDINALITY AS t(remediation_id, rule, a, b, c, d, e, f, g, place)
$$;
CREATE FUNCTION new_job(id bigint, remediation text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT r.job FROM policy_remediations(id) r WHERE r.remediation_id = remediation
$$;
-- What a remediation raises: its SQLSTATE, message, detail and hint.
CREATE FUNCTION refused_with(id bigint, remediation text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text;
BEGIN
	PERFORM policy_remediate(id, remediation);
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', state, message, detail, hint);
END
$$;
CREATE FUNCTION remediated(id bigint, remediation text) RETURNS bigint LANGUAGE sql AS $$
	SELECT (policy_remediate(id, remediation)).job_id
$$;

-- What is offered, or refused, where a job is in that state.
CREATE FUNCTION in_state(id bigint, state text, remediation text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	before text := state_of(id);
	result text;
BEGIN
	PERFORM put(id, format('state = %L', state));
	result := CASE WHEN remediation IS NULL THEN offers(id) ELSE refused_with(id, remediation) END;
	PERFORM put(id, format('state = %L', before));
	RETURN result;
END
$$;

CREATE FUNCTION rules() RETURNS text LANGUAGE sql AS $$
	SELECT first_rules() || '
  - id: ship
    match: {topics: ["ship.*"]}
    decision: require_approval
    approval: {expires_in_sec: 3600}
    remediations:
      - {id: dry-run, title: Try it, summary: Nothing is shipped., replacement_topic: read.dry, replacement_capability: dry, add_labels: {mode: dry, count: 01, off: no}, remove_labels: [Env]}
      - {id: by-hand, replacement_topic: prod.hand}
      - {id: never, replacement_topic: drop.it}
      - {id: same}
  - {id: slow, match: {topics: ["slow.*"]}, decision: throttle, retry_after_sec: 60, remediations: [{id: dry-run, replacement_topic: read.slow}]}
  - {id: no, match: {topics: ["no.*"]}, decision: deny, remediations: [{id: ask, replacement_topic: ship.it}, {id: dry-run, replacement_topic: read.no}]}
  - {id: both-slow, match: {topics: ["both.*"]}, decision: throttle, remediations: [{id: a, replacement_topic: read.slow}, {id: b, replacement_topic: read.slow}]}
  - {id: both-ask, match: {topics: ["both.*"]}, decision: require_approval, remediations: [{id: b, replacement_topic: read.ask}, {id: c, replacement_topic: read.ask}]}
  - {id: both-ask2, match: {topics: ["both.*"]}, decision: require_approval, remediations: [{id: c, replacement_topic: read.ask2}]}
  - {id: both-watch, match: {topics: ["both.*"]}, decision: deny, mode: monitor, remediations: [{id: w, replacement_topic: read.watch}]}
  - {id: both-read, match: {topics: ["both.*", "read.*"]}, decision: allow, remediations: [{id: r, replacement_topic: read.read}]}
  - {id: other, match: {topics: ["other.*"]}, decision: deny, remediations: [{id: o, replacement_topic: read.other}]}
  - {id: silent, match: {topics: ["silent.*"]}, decision: deny}'
$$;
SELECT release('v1', rules()) \g /dev/null

CREATE ROLE policy_test_asker LOGIN;
CREATE ROLE policy_test_other LOGIN;
CREATE ROLE policy_test_operator LOGIN;
CREATE ROLE policy_test_auditor LOGIN;
CREATE ROLE policy_test_approver LOGIN;
CREATE ROLE policy_test_pool LOGIN NOINHERIT;
CREATE ROLE policy_test_root LOGIN SUPERUSER;
GRANT policy_test_asker TO policy_test_pool;
SELECT policy_grant('policy_test_asker', 'submit'), policy_grant('policy_test_asker', 'approve'),
	policy_grant('policy_test_other', 'submit'), policy_grant('policy_test_other', 'approve'), policy_grant('policy_test_operator', 'operate'),
	policy_grant('policy_test_operator', 'submit'), policy_grant('policy_test_operator', 'approve'),
	policy_grant('policy_test_auditor', 'audit'), policy_grant('policy_test_approver', 'approve') \g /dev/null

--
-- What is offered
--
SELECT submit('ship.a') AS waiting, submit('slow.a') AS slow, submit('no.a') AS denied, submit('read.a') AS allowed, submit('both.a') AS several, submit('silent.a') AS silent \gset
SELECT is(offers(:waiting), 'dry-run of ship, by-hand of ship, never of ship, same of ship', 'a waiting job''s rule offers what it has, in the document''s order');
SELECT is(offers(:slow), 'dry-run of slow', 'a throttled job''s, too');
SELECT is(offers(:denied), 'ask of no, dry-run of no', 'and a denied one''s');
SELECT is(offers(:allowed), 'none', 'a job that may run is offered nothing');
SELECT is(offers(:silent), 'none', 'nor is one whose rule has nothing to offer');
SELECT is(offers(:several), 'b of both-ask, c of both-ask, a of both-slow',
	'every rule that holds the job up offers: the strictest first, of two with one id the higher, none that allows, watches or is another''s');
SELECT is(new_job(:several, 'b') ->> 'topic', 'read.ask', 'so does what would be submitted');
SELECT is((title, summary, replacement_topic, replacement_capability, add_labels, remove_labels)::text,
	('Try it', 'Nothing is shipped.', 'read.dry', 'dry', '{"mode": "dry", "off": "no", "count": "01"}'::jsonb, '{Env}'::text[])::text,
	'each as the document has it, labels being strings') FROM policy_remediations(:waiting) WHERE remediation_id = 'dry-run';
SELECT is((title, summary, replacement_topic, replacement_capability, add_labels, remove_labels)::text,
	(NULL, NULL, NULL, NULL, '{}'::jsonb, '{}'::text[])::text, 'what it leaves out is NULL, or empty') FROM policy_remediations(:waiting) WHERE remediation_id = 'same';
SELECT release('first', '
  - {id: loose, match: {topics: ["x"]}, decision: require_approval, remediations: [{id: l, replacement_topic: y}]}
  - {id: strict, match: {topics: ["x"]}, decision: deny, remediations: [{id: s, replacement_topic: y}]}', E'{decision: allow}\ncombine: first_match') \g /dev/null
SELECT is(offers(submit('x')), 'l of loose', 'under first_match the winner offers');
SELECT release('default', '
  - {id: r, match: {topics: ["x"]}, decision: deny, remediations: [{id: s, replacement_topic: y}]}', '{decision: deny}') \g /dev/null
SELECT is(offers(submit('y')), 'none', 'a default offers nothing');
SELECT is(offers((policy_submit('{"topic": 1}')).job_id), 'none', 'nor is an invalid job offered anything');
SELECT release('v1 again', rules()) \g /dev/null
SELECT is(in_state(:several, before), 'none', format('a job that is %s is offered nothing', before))
FROM unnest('{ready,running,succeeded,failed,timed_out,cancelled,rejected,expired}'::text[]) before;
SELECT is(sqlstate_of('SELECT * FROM policy_remediations(0)'), 'PE008', 'a job that does not exist has no list');
SELECT is(sqlstate_of('SELECT * FROM policy_remediations(NULL)'), 'PE008', 'nor has NULL');

--
-- What it makes of a job
--
CREATE FUNCTION made(more jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT new_job(submit('ship.made', more), 'dry-run') - '{topic,capability}'::text[]
$$;
SELECT is(new_job(submit('ship.b', '{"tenant_id": "acme", "actor": {"id": "a", "type": "agent", "team": 1}, "capability": "ship", "payload": {"x": [1, null]}, "risk_tags": ["prod"], "more": {"y": 2}, "secrets_present": true}'), 'dry-run'),
	'{"topic": "read.dry", "tenant_id": "acme", "actor_id": "a", "actor_type": "agent", "actor": {"team": 1}, "capability": "dry", "payload": {"x": [1, null]}, "risk_tags": ["prod"], "more": {"y": 2}, "secrets_present": true, "labels": {"mode": "dry", "off": "no", "count": "01"}}'::jsonb,
	'topic and capability are replaced, labels added, all else is the job''s');
SELECT is(new_job(submit('ship.b', '{"capability": "ship", "labels": {"env": 1}}'), 'by-hand'), '{"topic": "prod.hand", "capability": "ship", "labels": {"env": 1}}', 'what it does not name stays');
SELECT is(made('{"labels": {"a": "b", "env": "prod"}}'), '{"labels": {"a": "b", "mode": "dry", "off": "no", "count": "01"}}', 'a label is removed');
SELECT is(made(format('{"labels": {%s: "prod", "a": 1}}', to_json(name))::jsonb), '{"labels": {"a": 1, "mode": "dry", "off": "no", "count": "01"}}', format('spelled %s, too', to_json(name)))
FROM unnest(ARRAY['ENV', ' env ', U&'e\200Bnv', U&'\FF45\FF4E\FF56']) name;
SELECT is(made(format('{"labels": {%s: "wet"}}', to_json(name))::jsonb) -> 'labels', '{"mode": "dry", "off": "no", "count": "01"}', format('and a label that is added replaces %s', to_json(name)))
FROM unnest(ARRAY['mode', 'MODE', U&'mo\200Bde']) name;
SELECT is(made('{"labels": null}'), made('{}'), 'null labels are none');
SELECT is(new_job(submit('ship.b', '{"idempotency_key": "k1"}'), 'same'), '{"topic": "ship.b"}', 'the idempotency key stays with the old job');
SELECT release('unlabel', '
  - {id: r, match: {topics: ["x"]}, decision: deny, remediations: [{id: s, remove_labels: [a, "b"]}]}') \g /dev/null
SELECT is(new_job(submit('x', '{"labels": {"A": 1, "b": 2}}'), 's'), '{"topic": "x"}', 'a job that is left with no label has no labels');
SELECT release('v1 once more', rules()) \g /dev/null

--
-- Taking one
--
SELECT submit_as('policy_test_asker', 'ship.c', '{"tenant_id": "acme", "labels": {"env": "prod"}, "payload": {"n": 1}, "idempotency_key": "k"}') AS old \gset
SELECT pending_of(:old) AS asked \gset
SELECT as_login('policy_test_asker', format('SELECT (policy_remediate(%s, ''dry-run'')).job_id', :old)) AS new \gset
SELECT isnt(:new::bigint, :old::bigint, 'a new job is made');
SELECT is((topic, tenant_id, capability, labels, payload, idempotency_key, state)::text,
	('read.dry', 'acme', 'dry', '{"mode": "dry", "off": "no", "count": "01"}'::jsonb, '{"n": 1}'::jsonb, NULL, 'ready')::text, 'the safer one, decided by the policy') FROM job(:new);
SELECT is((submitted_by, submitted_via, attempts)::text, ('policy_test_asker', NULL, 0)::text, 'in the name of who asked') FROM job(:new);
SELECT is((state, error, finished_at IS NOT NULL)::text, ('cancelled', format('job %s took its place: remediation "dry-run"', :new), true)::text, 'the old one is cancelled, and says why') FROM job(:old);
SELECT is(approvals_of(:old), 'ship superseded 0', 'nobody is asked about it any more');
SELECT is(evidence_of(:new), 'submit ALLOW read', 'the new one''s decision is in evidence');
SELECT is(evidence_agrees(:new), true, 'as it is');
SELECT is((d.note, d.session_role)::text, (format('in the place of job %s: remediation "dry-run" of rule "ship" in "v1 once more"', :old), 'policy_test_asker')::text, 'which names the old one')
FROM policy.decisions d WHERE d.job_key = :'new';
SELECT is((r.replaced_by, r.remediation_id, r.rule, r.snapshot, r.decision_id, r.decided_at, r.taken_by, r.taken_at)::text,
	(:new::bigint, 'dry-run', 'ship', 'v1 once more', o.decision_id, o.decided_at, 'policy_test_asker', n.submitted_at)::text, 'and policy.remediations both')
FROM policy.remediations r, job(:old) o, job(:new) n WHERE r.job_id = :old;
SELECT is((SELECT (replaces, replaced_by)::text FROM policy.traces WHERE job_id = :new), (:old::bigint, NULL)::text, 'a trace leads back');
SELECT is((SELECT (replaces, replaced_by)::text FROM policy.traces WHERE job_id = :old), (NULL, :new::bigint)::text, 'and on');
SELECT is((claim('w', '{read.dry,ship.c}')).job_id, :new::bigint, 'the new one can be claimed');
SELECT is((claim('w', '{read.dry,ship.c}')).job_id, NULL, 'and the old one cannot');
SELECT submit('read.note') AS next \gset
SELECT is((SELECT note FROM policy.decisions WHERE job_key = :'next'), NULL, 'what is submitted next has no note');

-- Once
SELECT is(offers(:old), 'none', 'then nothing is offered any more');
SELECT is(as_login('policy_test_asker', format('SELECT (policy_remediate(%s, ''dry-run'')).job_id', :old)), :'new', 'asking for the same again gives what took its place');
SELECT is((SELECT state FROM job(:new)), 'running', 'as it is now');
SELECT is(as_login('policy_test_asker', format('SELECT (policy_remediate(%s, ''by-hand'')).job_id', :old)), 'PE008', 'asking for another is refused');
SELECT is((SELECT count(*)::int FROM policy.jobs WHERE submitted_by = 'policy_test_asker'), 2, 'and makes no job');
SELECT submit('no.once') AS once \gset
SELECT remediated(:once, 'dry-run') AS taken \gset
SELECT is((SELECT state FROM job(:once)), 'denied', 'what was denied stays denied');
SELECT is(offers(:once), 'none', 'and is offered nothing more');
SELECT is(refused_with(:once, 'ask'), format('PE008 | job %s was remediated already | Job %s took its place at %s, by remediation "dry-run" of rule "no". | A job has one remediation; what took its place may have its own.',
	:once, :taken, (SELECT taken_at FROM policy.remediations WHERE job_id = :once)), 'it too has one alone');
DELETE FROM policy.jobs WHERE job_id = :taken;
SELECT is(split_part(refused_with(:once, 'dry-run'), ' | ', 1), 'PE008', 'even where the new job is gone');
SELECT is((SELECT (policy_redecide(jsonb_build_object('job_id', :once), 'again')).state), 'denied', 'an operator can have it decided again');
SELECT is(split_part(refused_with(:once, 'dry-run'), ' | ', 1), 'PE008', 'which gives no second one');

-- Decided afresh
SELECT submit('slow.c') AS old \gset
SELECT remediated(:old, 'dry-run') AS new \gset
SELECT is(state_of(:old) || ' ' || state_of(:new), 'cancelled ready', 'a throttled job is cancelled, too');
SELECT submit('ship.never') AS old \gset
SELECT remediated(:old, 'never') AS new \gset
SELECT is(state_of(:old) || ' ' || state_of(:new), 'cancelled denied', 'what the policy denies is denied, as a remediation, too');
SELECT submit('no.chain') AS first \gset
SELECT remediated(:first, 'ask') AS second \gset
SELECT is(state_of(:second) || '; ' || offers(:second), 'awaiting_approval; dry-run of ship, by-hand of ship, never of ship, same of ship', 'what waits again is offered its own');
SELECT remediated(:second, 'dry-run') AS third \gset
SELECT is(state_of(:first) || ' ' || state_of(:second) || ' ' || state_of(:third), 'denied cancelled ready', 'and so on');
SELECT submit('ship.d') AS old \gset
SELECT release('v2', '
  - {id: ship, match: {topics: ["ship.*"]}, decision: deny, remediations: [{id: new-one, replacement_topic: read.new}]}
  - {id: read, match: {topics: ["read.*"]}, decision: throttle, retry_after_sec: 7}') \g /dev/null
SELECT is(offers(:old), 'dry-run of ship, by-hand of ship, never of ship, same of ship', 'after a release a job is offered what the policy offers that decided it');
SELECT is(split_part(refused_with(:old, 'new-one'), ' | ', 1), '42704', 'and nothing of another');
SELECT remediated(:old, 'dry-run') AS new \gset
SELECT is((n.state, d.snapshot, d.decision, d.matched_rule)::text, ('throttled', 'v2', 'THROTTLE', 'read')::text, 'the new job is decided by the policy that is active')
FROM job(:new) n, policy.decisions d WHERE d.decision_id = n.decision_id;
SELECT submit('ship.e') AS old \gset
SELECT is(offers(:old), 'new-one of ship', 'a job that the new policy decided is offered its');
SELECT release('v1 for good', rules()) \g /dev/null
SELECT is(state_of((SELECT j.job_id FROM policy_redecide(jsonb_build_object('job_id', :old), 'again') j)) || '; ' || split_part(offers(:old), ',', 1), 'awaiting_approval; dry-run of ship', 'one that is decided again, those of that decision');

--
-- What is refused
--
SELECT submit('ship.f') AS old \gset
SELECT is(refused_with(:old, 'x'), format('42704 | job %s has no remediation "x" | It has: "dry-run", "by-hand", "never", "same". | SELECT * FROM policy_remediations(%s) lists them.', :old, :old), 'an unknown remediation');
SELECT is(split_part(refused_with(:old, NULL), ' | ', 2), format('job %s has no remediation "NULL"', :old), 'NULL');
SELECT is(split_part(refused_with(:old, 'o'), ' | ', 1), '42704', 'one of a rule that does not apply to the job');
SELECT is(split_part(refused_with(:old, 'DRY-RUN'), ' | ', 1), '42704', 'one in capitals');
SELECT is(split_part(refused_with(:silent, 'x'), ' | ', 3), 'It has: none.', 'where there are none, that is said');
SELECT is(refused_with(0, 'x'), 'PE008 | job 0 does not exist |  | SELECT job_id, state FROM policy.jobs lists the jobs.', 'an unknown job');
SELECT is(split_part(refused_with(NULL, 'x'), ' | ', 1), 'PE008', 'a NULL one');
SELECT is(in_state(:old, state, 'dry-run'), format('PE008 | job %s cannot be remediated | It is %s: only what is denied, awaiting_approval or throttled has any. | Submit the safer job by itself.', :old, state), 'a job that is ' || state)
FROM unnest('{ready,running,succeeded,failed,timed_out,cancelled,rejected,expired}'::text[]) state;
SELECT put(:old, 'payload = ''{"drop": "everything"}''') \g /dev/null
SELECT alike(refused_with(:old, 'dry-run'), format('PE008 | job %s cannot be remediated | What decision %% decided is not in evidence, or is not what the job is now. | %%', :old), 'a job that is not what was decided');
SELECT is(offers(:old), 'none', 'which is offered nothing');
SELECT put(:old, 'payload = NULL') \g /dev/null
SELECT is(offers(:old) <> 'none', true, 'and is again once it is');
SELECT put(:old, 'decision_id = -1') \g /dev/null
SELECT alike(refused_with(:old, 'dry-run'), 'PE008 | %not in evidence%', 'a job without evidence');
SELECT is((SELECT count(*)::int FROM policy.remediations WHERE job_id = :old), 0, 'none of which is taken');
SELECT submit('no.g') AS old \gset
UPDATE policy.jobs SET payload = '1' WHERE job_id = :several;
SELECT is(split_part(offers(:several), ',', 1), 'b of both-ask', 'a job that its submitter has changed is offered what its new decision offers');
SELECT is((SELECT job -> 'payload' FROM policy_remediations(:several) LIMIT 1), '1', 'of the job as it is');

--
-- Who
--
SELECT submit_as('policy_test_asker', 'ship.who') AS old \gset
SELECT is(as_login(login, format('SELECT count(*) FROM policy_remediations(%s)', :old)), seen, login || ' and the list: ' || seen)
FROM (VALUES ('policy_test_asker', '4'), ('policy_test_operator', '4'), ('policy_test_auditor', '4'), ('policy_test_root', '4'), ('policy_test_other', '42501'), ('policy_test_approver', '42501')) AS t(login, seen);
SELECT is(as_login(login, format('SELECT (policy_remediate(%s, ''dry-run'')).job_id', :old)), '42501', login || ' cannot take one for somebody else')
FROM unnest('{policy_test_operator,policy_test_auditor,policy_test_root,policy_test_other,policy_test_approver}'::text[]) login;
SELECT is(state_of(:old), 'awaiting_approval', 'which leaves the job as it is');

-- Nobody who asked approves.
SELECT as_login('policy_test_operator', format('WITH u AS (UPDATE policy.jobs SET payload = ''{"by": "the operator"}'' WHERE job_id = %s RETURNING 1) SELECT count(*) FROM u', :old)) \g /dev/null
SELECT as_login('policy_test_pool', format('SELECT (policy_remediate(%s, ''by-hand'')).job_id', :old)) AS none \gset
SELECT is(:'none'::text, '42501', 'a pooler''s login is not the role that it could set');
SELECT policy_grant('policy_test_pool', 'proxy') \g /dev/null
SELECT as_login('policy_test_pool', format('SELECT (policy_remediate(%s, ''by-hand'')).job_id', :old), 'policy_test_asker') AS new \gset
SELECT pending_of(:new) AS approval \gset
SELECT is((requested_by, requested_via)::text, ('policy_test_asker', 'policy_test_pool')::text, 'a login with the duty proxy speaks for the role that it has set') FROM policy.approvals WHERE approval_id = :approval;
SELECT is(as_login('policy_test_asker', format('SELECT (policy_approve(%s)).status', :approval)), 'PE009', 'who asked for the job that waited cannot approve what took its place');
SELECT is(as_login('policy_test_operator', format('SELECT (policy_approve(%s)).status', :approval)), 'PE009', 'nor can who changed it');
SELECT is(as_login('policy_test_approver', format('SELECT (policy_approve(%s)).status', :approval)), 'approved', 'somebody else can');
SELECT submit_as('policy_test_asker', 'no.chain') AS first \gset
SELECT put(:first, 'state = ''awaiting_approval''') \g /dev/null
SELECT as_login('policy_test_operator', format('WITH u AS (UPDATE policy.jobs SET payload = ''2'' WHERE job_id = %s RETURNING 1) SELECT count(*) FROM u', :first)) \g /dev/null
SELECT as_login('policy_test_asker', format('SELECT (policy_remediate(%s, ''ask'')).job_id', :first)) AS second \gset
SELECT as_login('policy_test_asker', format('SELECT (policy_remediate(%s, ''by-hand'')).job_id', :second)) AS third \gset
SELECT is(as_login('policy_test_operator', format('SELECT (policy_approve(%s)).status', pending_of(:third))), 'PE009', 'nor any more where that was two jobs ago');
SELECT is(policy.replaced_keys('policy.jobs', :'third'), ARRAY[:'third', :'second', :'first'], 'for all that it took the place of count');
SELECT is(policy.replaced_keys('other.jobs', :'third'), ARRAY[:'third'], 'but in policy.jobs alone');
SELECT is(policy.replaced_keys('other.jobs', 'a-key'), ARRAY['a-key'], 'whatever keys others have');

-- The identity that is bound to who asks
SELECT submit_as('policy_test_other', 'ship.who', '{"tenant_id": "acme"}') AS old \gset
SELECT policy_grant('policy_test_other', 'submit', '{"tenant_id": "umbrella"}') \g /dev/null
SELECT is(as_login('policy_test_other', format('SELECT (policy_remediate(%s, ''dry-run'')).state', :old)), 'denied', 'a remediation lends nobody an identity that is not theirs');

--
-- What is kept
--
SELECT is(sqlstate_of(statement), 'PE011', 'refused: ' || statement)
FROM unnest(ARRAY['UPDATE policy.remediations SET rule = ''x''', 'DELETE FROM policy.remediations', 'TRUNCATE policy.remediations',
	'SET LOCAL session_replication_role = replica; DELETE FROM policy.remediations']) statement;
SET LOCAL session_replication_role = origin;
SELECT is((SELECT string_agg(detail, '; ') FROM policy_verify() WHERE problem = 'dangling' AND detail LIKE '%remediation%'), NULL, 'a remediation''s decision is in evidence');
ALTER TABLE policy.remediations DISABLE TRIGGER refuse_change;
UPDATE policy.remediations SET decision_id = -decision_id WHERE job_id = :first;
SELECT is((SELECT string_agg(detail, '; ') FROM policy_verify() WHERE problem = 'dangling' AND detail LIKE '%remediation%'),
	format('the remediation of job %s was offered by a decision that is not in evidence', :first), 'where it is not, policy_verify says so');
SELECT alike(array_to_string(warnings, '; '), '%a trigger of the extension is disabled or gone%', 'and policy_status, that a trigger is disabled') FROM policy_status();

SELECT * FROM finish();
ROLLBACK;
