\ir attach.psql
SELECT plan(36);

-- A superuser has altered what C reads by number: every call that meets it says so,
-- and changes nothing.
SELECT release('v1', first_rules()) \g /dev/null
CREATE ROLE policy_test_asker LOGIN;
SELECT policy_grant('policy_test_asker', 'submit') \g /dev/null
SELECT submit('read.ready') \g /dev/null
SET LOCAL SESSION AUTHORIZATION policy_test_asker;
SELECT (policy_submit('{"topic": "prod.asked"}')).job_id AS asked \gset
RESET SESSION AUTHORIZATION;
SELECT approval_id AS approval FROM policy.approvals WHERE job_key = :'asked' \gset
SELECT count(policy_attach('shop.jobs')) \g /dev/null
GRANT USAGE ON SCHEMA shop TO policy_test_asker;
GRANT INSERT, SELECT ON shop.jobs TO policy_test_asker;
SELECT bring('read.go') AS go \gset
SET LOCAL SESSION AUTHORIZATION policy_test_asker;
SELECT bring('prod.kept') AS kept \gset
RESET SESSION AUTHORIZATION;
SELECT approval_id AS kept_approval FROM policy.approvals WHERE job_key = :'kept' AND job_table = 'shop.jobs' \gset
SELECT isnt(:'kept_approval'::text, '', 'people are asked for a job of an attached table');

-- How a statement fails after an alteration, which is taken back.
CREATE FUNCTION fails(alteration text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	failure text := 'it works';
BEGIN
	BEGIN
		EXECUTE alteration;
		BEGIN
			EXECUTE statement;
		EXCEPTION WHEN OTHERS THEN
			failure := SQLSTATE || ' ' || SQLERRM;
		END;
		RAISE SQLSTATE 'TSTOP';
	EXCEPTION WHEN SQLSTATE 'TSTOP' THEN
		RETURN failure;
	END;
END
$$;
CREATE TEMP TABLE calls (name text, call text);
INSERT INTO calls VALUES
	('evaluate', $$SELECT policy_evaluate('{"topic": "read.x"}')$$),
	('submit', $$SELECT policy_submit('{"topic": "prod.x"}')$$),
	('insert', $$INSERT INTO policy.jobs (topic) VALUES ('prod.x')$$),
	('claim', $$SELECT policy_claim('w')$$),
	('vote', format('SELECT policy_approve(%s, NULL)', :'approval')),
	('vote for a row', format('SELECT policy_approve(%s, NULL)', :'kept_approval')),
	('row', $$INSERT INTO shop.jobs (topic) VALUES ('prod.x')$$),
	('start', format($$UPDATE shop.jobs SET status = 'running' WHERE id = %s$$, :'go'));

SELECT is(fails(format('ALTER TABLE policy.%I %s', t, alteration), call), format('55000 the columns of "policy.%s" have been altered', t),
	format('%s after %s: %s', name, t, alteration))
FROM (VALUES
	('snapshots', 'ALTER sha256 TYPE text USING sha256::text', 'evaluate,submit,row'),
	('snapshots', 'ALTER document TYPE text', 'evaluate'),
	('snapshots', 'DROP COLUMN tree', 'evaluate'),
	('decisions', 'ALTER monitored_rules TYPE text', 'submit,insert,vote,row'),
	('decisions', 'DROP COLUMN note', 'submit,vote for a row'),
	('decisions', 'ALTER application_name TYPE bigint USING 0', 'insert,row'),
	('approvals', 'ALTER attempts TYPE text', 'submit,vote,row,vote for a row'),
	('approvals', 'ALTER immaterial TYPE text', 'insert,vote'),
	('halts', 'ALTER reason TYPE bigint USING 0', 'claim,start'),
	('guarded_jobs', 'ALTER identities TYPE text', 'vote for a row'),
	('attached_tables', 'ALTER starts TYPE jsonb USING NULL, ALTER starts DROP NOT NULL', 'row,start'),
	('jobs', 'ALTER mcp TYPE text', 'submit,insert,claim')
) AS a(t, alteration, names), calls c
WHERE c.name = ANY (string_to_array(a.names, ','));
SELECT is(fails('ALTER TYPE policy_verdict ALTER ATTRIBUTE retry_after_sec TYPE text', call),
	'55000 the columns of the type policy_verdict have been altered', 'a verdict of another shape: ' || name)
FROM calls WHERE name IN ('evaluate');
SELECT is(evidence_of(:asked), 'submit REQUIRE_APPROVAL prod', 'nothing of all that was recorded');

-- What is added is nobody's business.
SELECT is(fails(format('ALTER TABLE policy.%I ADD COLUMN mine text', t), call), 'it works', format('%s after %s: ADD COLUMN', name, t))
FROM (VALUES ('snapshots', 'evaluate'), ('releases', 'evaluate'), ('halts', 'claim'), ('jobs', 'claim'), ('guarded_jobs', 'vote for a row'),
	('attached_tables', 'row')) AS a(t, called), calls c WHERE c.name = a.called;

SELECT * FROM finish();
ROLLBACK;
