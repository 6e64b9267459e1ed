\ir common.psql
SELECT plan(45);

CREATE FUNCTION active(job jsonb DEFAULT '{"topic": "a"}', OUT result text) LANGUAGE sql AS $$
	SELECT concat_ws(' | ', decision, reason, constraints, matched_rule, snapshot) FROM policy_evaluate(job)
$$;
SELECT policy_stage('v1', 'version: v1
rules: [{id: r, decision: allow, constraints: {x: 1}}]', NULL) \g /dev/null
SELECT policy_publish('v1', NULL) \g /dev/null
\set normal 'ALLOW_WITH_CONSTRAINTS | matched rule r | {"x": 1, "max_retries": 1, "max_runtime_sec": 60} | r | v1'
SELECT is(active(), :'normal', 'first the policy decides');

--
-- The stored snapshot is gone.
--
CREATE TEMP TABLE kept AS SELECT * FROM policy.snapshots;
ALTER TABLE policy.snapshots DISABLE TRIGGER ALL;
ALTER TABLE policy.releases DISABLE TRIGGER ALL;
DELETE FROM policy.snapshots;

SELECT alike(active(), 'DENY | policy unavailable: %v1%| {}%', 'closed: a snapshot that is not there is DENY, and says why');
SELECT is((v.matched_rule, v.matched_rules, v.monitored_rules)::text, (NULL::text, '{}'::text[], '{}'::text[])::text, 'and no rule is blamed')
	FROM policy_evaluate('{"topic": "a"}'::jsonb) v;
SELECT is(policy_simulate('{"topic": "a"}') ->> 'decision', 'DENY', 'policy_simulate says the same');
SELECT alike(active('[]'), 'DENY | %', 'closed: an invalid job is DENY');
SET LOCAL policy_engine.fail_mode = open;
SELECT alike(active(), 'ALLOW | policy unavailable: %v1%| {"max_retries": 1, "max_runtime_sec": 60}',
	'open: ALLOW within the built-in default constraints, and says why');
SELECT alike(active(invalid), 'DENY | %', 'open: what a job provokes is DENY all the same: ' || coalesce(invalid::text, 'NULL'))
	FROM (VALUES (NULL::jsonb), ('[]'), ('{}'), ('{"topic": 5}'), ('{"topic": "a", "tenant": "x", "tenant_id": "y"}')) AS t(invalid);
RESET policy_engine.fail_mode;
SELECT alike(active(), 'DENY | policy unavailable: %', 'closed again');

-- A failure is not cached.
INSERT INTO policy.snapshots SELECT * FROM kept;
SELECT is(active(), :'normal', 'the snapshot is back, and the same session decides normally');

ALTER TABLE policy.snapshots ENABLE TRIGGER ALL;
ALTER TABLE policy.releases ENABLE TRIGGER ALL;

--
-- policy_engine.timeout
--
CREATE FUNCTION heavy(name text) RETURNS policy_document LANGUAGE sql AS $$
	SELECT (E'version: v1\ndefaults: {decision: allow}\nrules:\n' || string_agg(format(
		E'  - {id: %s-%s, decision: deny, match: {risk_tags: {any: [%s]}}}\n', name, r, patterns), ''))::policy_document
	FROM generate_series(1, 500) r,
		(SELECT string_agg(format('"*x?y*%s"', p), ', ') AS patterns FROM generate_series(1, 20) p) s
$$;
CREATE FUNCTION heavy_job() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('topic', 'a', 'risk_tags', jsonb_agg(repeat('x', 60) || t)) FROM generate_series(1, 256) t
$$;
SELECT policy_stage('heavy', heavy('h'), NULL) \g /dev/null
SELECT policy_publish('heavy', NULL) \g /dev/null
SET LOCAL policy_engine.timeout = '1ms';
SELECT alike(active(), 'DENY | policy unavailable: %timeout%', 'closed: a policy that takes too long to compile is DENY');
SET LOCAL policy_engine.fail_mode = open;
SELECT alike(active(), 'ALLOW | policy unavailable: %timeout%| {"max_retries": 1, "max_runtime_sec": 60}%',
	'open: it is ALLOW within the built-in default constraints');
RESET policy_engine.fail_mode;
SET LOCAL policy_engine.timeout = '1h';
SELECT alike(active(), 'ALLOW | no rule matched |%heavy', 'with time enough the same session compiles it');
SET LOCAL policy_engine.timeout = '1ms';
SELECT alike(active(), 'ALLOW | no rule matched |%heavy', 'and once it is compiled, a light job needs no more');
SELECT alike(active(heavy_job()), 'DENY | policy unavailable: %timeout%', 'a job that takes too long is DENY');
SET LOCAL policy_engine.fail_mode = open;
SELECT alike(active(heavy_job()), 'DENY | policy unavailable: %timeout%', 'in fail mode open, too: a job provoked it');
RESET policy_engine.fail_mode;
SELECT is((policy_evaluate(heavy('h'), heavy_job(), now())).decision, 'ALLOW',
	'a document''s evaluation consults no setting, the time limit included');
SET LOCAL policy_engine.timeout = '1h';
SELECT alike(active(heavy_job()), 'ALLOW | no rule matched |%heavy', 'with time enough the same job is decided');

--
-- The stored snapshot is damaged: its bytes are not what the type writes.
--
CREATE CAST (bytea AS policy_document) WITHOUT FUNCTION;
CREATE CAST (policy_document AS bytea) WITHOUT FUNCTION;
CREATE FUNCTION damage(bytes bytea) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE policy.snapshots SET document = bytes::policy_document, sha256 = NULL
	WHERE snapshot = 'v1';
END
$$;
RESET policy_engine.timeout;
SELECT policy_rollback('v1', NULL) \g /dev/null
ALTER TABLE policy.snapshots DISABLE TRIGGER ALL;
ALTER TABLE policy.snapshots ALTER sha256 DROP NOT NULL;
CREATE TEMP TABLE good AS SELECT document::bytea AS bytes FROM kept;

CREATE FUNCTION damaged(what text, bytes bytea) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM damage(bytes);
	RETURN NEXT alike(active(), 'DENY | policy unavailable: %', 'a damaged snapshot is DENY: ' || what);
	PERFORM set_config('policy_engine.fail_mode', 'open', true);
	RETURN NEXT alike(active(), 'ALLOW | policy unavailable: %', 'and ALLOW in fail mode open: ' || what);
	PERFORM set_config('policy_engine.fail_mode', 'closed', true);
END
$$;
SELECT damaged(what, damaged_bytes)
FROM (SELECT bytes, overlay(bytes PLACING '\x00'::bytea FROM 10) AS other FROM good) g, LATERAL (VALUES
	('nothing at all', ''::bytea),
	('one byte', '\x00'::bytea),
	('less than a header', substr(bytes, 1, 30)),
	('a header alone', substr(other, 1, 40)),
	('a text that is cut off', substr(other, 1, length(bytes) - 5)),
	('a length that is beyond its end', overlay(other PLACING '\xffffff7f'::bytea FROM 37)),
	('a length that is negative', overlay(other PLACING '\xffffffff'::bytea FROM 37)),
	('a length of nothing', overlay(other PLACING '\x00000000'::bytea FROM 37)),
	('a text that is not UTF-8', overlay(other PLACING '\xff'::bytea FROM 55)),
	('a text that is no policy', overlay(other PLACING convert_to('vErsion', 'UTF8') FROM 41)),
	('noise', decode(repeat('deadbeef', 100), 'hex'))
) AS t(what, damaged_bytes);
SELECT damage(overlay(overlay(bytes PLACING '\x01'::bytea FROM 10) PLACING '\x63000000'::bytea FROM 1)) FROM good \g /dev/null
SELECT is(active(), :'normal', 'an unknown format version means: parse the text again');
SELECT damage(bytes) FROM good \g /dev/null
SELECT is(active(), :'normal', 'the bytes are right again, and the same session decides normally');

SELECT * FROM finish();
ROLLBACK;
