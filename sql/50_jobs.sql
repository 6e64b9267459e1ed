--
-- Jobs: the queue of users who have no job table of their own
--

CREATE SEQUENCE policy.job_id_seq;
CREATE SEQUENCE policy.decision_id_seq;
CREATE SEQUENCE policy.approval_id_seq;
COMMENT ON SEQUENCE policy.job_id_seq IS 'Ids of jobs.';
COMMENT ON SEQUENCE policy.decision_id_seq IS 'Ids of decisions.';
COMMENT ON SEQUENCE policy.approval_id_seq IS 'Ids of approvals.';

CREATE FUNCTION policy.tenant_key(tenant_id text, extra jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'policy_tenant_key'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION policy.tenant_key(text, jsonb) IS
	'The tenant of a row of policy.jobs as policies compare it: normalised, "default" where there is none.';

CREATE FUNCTION policy.idempotency_hash(tenant_id text, extra jsonb, idempotency_key text)
	RETURNS bytea
	AS 'MODULE_PATHNAME', 'policy_idempotency_hash'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION policy.idempotency_hash(text, jsonb, text) IS
	'What is unique of a key in its tenant: SHA-256 of the tenant''s length, the tenant as policies compare it, and the key byte for byte. So neither can be too long for an index.';

-- src/dispatch/job_row.h knows the columns by number.
CREATE TABLE policy.jobs (
	job_id bigint NOT NULL,
	tenant_id text,
	topic text,
	capability text,
	pack_id text,
	actor_id text,
	actor_type text,
	idempotency_key text COLLATE "C",
	secrets_present boolean,
	risk_tags jsonb,
	requires jsonb,
	actor_roles jsonb,
	labels jsonb,
	mcp jsonb,
	payload jsonb,
	extra jsonb,
	state text COLLATE "C" NOT NULL,
	decision_id bigint NOT NULL,
	decided_at timestamptz NOT NULL,
	constraints jsonb NOT NULL,
	run_after timestamptz,
	attempts integer NOT NULL,
	claimed_by text,
	claimed_at timestamptz,
	claim_token uuid,
	deadline timestamptz,
	finished_at timestamptz,
	result jsonb,
	error text,
	submitted_by text NOT NULL,
	submitted_at timestamptz NOT NULL,
	submitted_via text,
	halt_id bigint,
	CONSTRAINT jobs_pkey PRIMARY KEY (job_id),
	CONSTRAINT jobs_state_check CHECK (state IN
		('ready', 'awaiting_approval', 'throttled', 'running', 'succeeded', 'failed',
		 'timed_out', 'denied', 'rejected', 'expired', 'cancelled'))
);
CREATE UNIQUE INDEX jobs_idempotency_key ON policy.jobs
	((policy.idempotency_hash(tenant_id, extra, idempotency_key)))
	WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_queue ON policy.jobs
	(halt_id, (coalesce(run_after, submitted_at)), job_id)
	WHERE state IN ('ready', 'throttled');
CREATE INDEX jobs_deadline ON policy.jobs (deadline) WHERE state = 'running';
COMMENT ON TABLE policy.jobs IS
	'Jobs: decided, enqueued and recorded in the transaction that inserts them. The submitter''s columns, job_id''s neighbours up to extra, are the job; the engine''s, from state on, are overwritten on insert and refused on update.';
COMMENT ON INDEX policy.jobs_idempotency_key IS 'An idempotency key is unique in its tenant.';
COMMENT ON INDEX policy.jobs_queue IS 'What policy_claim looks through, in its order; and apart from it what halts keep out of the queue.';
COMMENT ON INDEX policy.jobs_deadline IS 'What policy_maintain looks through for overrun jobs.';
COMMENT ON COLUMN policy.jobs.job_id IS 'The engine''s: counts up.';
COMMENT ON COLUMN policy.jobs.tenant_id IS 'The tenant; NULL is "default".';
COMMENT ON COLUMN policy.jobs.topic IS 'What is to be done, 1 to 1024 bytes; a job without one is denied.';
COMMENT ON COLUMN policy.jobs.capability IS 'The capability that it uses.';
COMMENT ON COLUMN policy.jobs.pack_id IS 'The pack that it belongs to.';
COMMENT ON COLUMN policy.jobs.actor_id IS 'On whose behalf it runs.';
COMMENT ON COLUMN policy.jobs.actor_type IS 'What that actor is: a person, an agent.';
COMMENT ON COLUMN policy.jobs.idempotency_key IS 'One job for one key in a tenant.';
COMMENT ON COLUMN policy.jobs.secrets_present IS 'Whether it handles secrets.';
COMMENT ON COLUMN policy.jobs.risk_tags IS 'An array of strings.';
COMMENT ON COLUMN policy.jobs.requires IS 'An array of strings: what it needs.';
COMMENT ON COLUMN policy.jobs.actor_roles IS 'An array of strings: the actor''s roles.';
COMMENT ON COLUMN policy.jobs.labels IS 'An object of scalars.';
COMMENT ON COLUMN policy.jobs.mcp IS 'An object of server, tool, resource and action.';
COMMENT ON COLUMN policy.jobs.payload IS 'What the worker is given; seen by policies through `when` alone.';
COMMENT ON COLUMN policy.jobs.extra IS 'An object: any other keys of the job.';
COMMENT ON COLUMN policy.jobs.state IS 'Where it is: policy.job_transitions has the ways on.';
COMMENT ON COLUMN policy.jobs.decision_id IS 'The decision that put it there, in policy.decisions.';
COMMENT ON COLUMN policy.jobs.decided_at IS 'When that was decided: finds its partition.';
COMMENT ON COLUMN policy.jobs.constraints IS 'The bounds that the decision set.';
COMMENT ON COLUMN policy.jobs.run_after IS 'THROTTLE: when it may be claimed; NULL where it never was throttled.';
COMMENT ON COLUMN policy.jobs.attempts IS 'How often it was claimed.';
COMMENT ON COLUMN policy.jobs.claimed_by IS 'The worker of the last claim, in its own words.';
COMMENT ON COLUMN policy.jobs.claimed_at IS 'When that was.';
COMMENT ON COLUMN policy.jobs.claim_token IS 'Running: what the worker shows to end the attempt; a new one each claim.';
COMMENT ON COLUMN policy.jobs.deadline IS 'Running: when the attempt is over; NULL where nothing bounds it.';
COMMENT ON COLUMN policy.jobs.finished_at IS 'When it came to its end.';
COMMENT ON COLUMN policy.jobs.result IS 'What policy_complete was given.';
COMMENT ON COLUMN policy.jobs.error IS 'What the last failed attempt, or who cancelled it, said.';
COMMENT ON COLUMN policy.jobs.submitted_by IS 'Who asked: the login, or the role that a proxy login had set.';
COMMENT ON COLUMN policy.jobs.submitted_at IS 'When.';
COMMENT ON COLUMN policy.jobs.submitted_via IS
	'The asker''s other name: a proxy''s login, or the role that another login had set; NULL where there was none. Neither may approve.';
COMMENT ON COLUMN policy.jobs.halt_id IS
	'The halt that keeps it out of the queue: set by the claim that met it there, taken away by a claim after the halt was resumed.';

CREATE FUNCTION policy.transitions(OUT from_state text, OUT to_state text, OUT only_by text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'policy_transitions'
	LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 30;
COMMENT ON FUNCTION policy.transitions() IS
	'The transitions that the guard of policy.jobs lets pass: policy.job_transitions.';
CREATE VIEW policy.job_transitions AS
	SELECT t.from_state, t.to_state, t.only_by FROM policy.transitions() t;
COMMENT ON VIEW policy.job_transitions IS 'How a job may move from state to state; any other move is refused with PE008.';
COMMENT ON COLUMN policy.job_transitions.from_state IS 'Where it is; NULL for an insert.';
COMMENT ON COLUMN policy.job_transitions.to_state IS 'Where it may go.';
COMMENT ON COLUMN policy.job_transitions.only_by IS 'The one verb that may do it; NULL for any that does such a thing.';

CREATE FUNCTION policy.guard_insert() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_guard_insert' LANGUAGE C;
CREATE FUNCTION policy.guard_update() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_guard_update' LANGUAGE C;
CREATE FUNCTION policy.guard_record() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_guard_record' LANGUAGE C;
CREATE FUNCTION policy.guard_delete() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_guard_delete' LANGUAGE C;
CREATE FUNCTION policy.guard_flush() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_guard_flush' LANGUAGE C;
COMMENT ON FUNCTION policy.guard_insert() IS
	'Trigger of policy.jobs: decides a new job and fills the engine''s columns. A row that brings its own decision_id is a restore: taken as it is from who has the owner''s rights, else PE014.';
COMMENT ON FUNCTION policy.guard_update() IS
	'Trigger of policy.jobs: decides a changed job again; raises PE008 for an illegal transition, PE014 for an engine-owned column, 42501 for somebody else''s job.';
COMMENT ON FUNCTION policy.guard_record() IS
	'Trigger of policy.jobs: records what was decided, and asks for approvals.';
COMMENT ON FUNCTION policy.guard_delete() IS
	'Trigger of policy.jobs: a deleted job''s open approvals are superseded.';
COMMENT ON FUNCTION policy.guard_flush() IS
	'Trigger of policy.jobs: writes what the statement''s rows have recorded.';

-- The decision is the last word before the row is stored, so its name sorts last.
CREATE TRIGGER zz_guard_insert BEFORE INSERT ON policy.jobs
	FOR EACH ROW EXECUTE FUNCTION policy.guard_insert();
CREATE TRIGGER zz_guard_update BEFORE UPDATE ON policy.jobs
	FOR EACH ROW EXECUTE FUNCTION policy.guard_update();
CREATE TRIGGER guard_record AFTER INSERT OR UPDATE ON policy.jobs
	FOR EACH ROW EXECUTE FUNCTION policy.guard_record();
CREATE TRIGGER guard_delete AFTER DELETE ON policy.jobs
	FOR EACH ROW EXECUTE FUNCTION policy.guard_delete();
CREATE TRIGGER guard_flush AFTER INSERT OR UPDATE ON policy.jobs
	FOR EACH STATEMENT EXECUTE FUNCTION policy.guard_flush();
COMMENT ON TRIGGER zz_guard_insert ON policy.jobs IS 'Decides.';
COMMENT ON TRIGGER zz_guard_update ON policy.jobs IS 'Decides again, and refuses what may not be.';
COMMENT ON TRIGGER guard_record ON policy.jobs IS 'Records.';
COMMENT ON TRIGGER guard_delete ON policy.jobs IS 'Closes the approvals of a job that is gone.';
COMMENT ON TRIGGER guard_flush ON policy.jobs IS 'Writes what was recorded.';

--
-- Evidence
--

-- src/dispatch/evidence.h knows the columns by number.  The parent has no key and
-- no index: each partition has its own (docs/architecture.md).
CREATE TABLE policy.decisions (
	decision_id bigint NOT NULL,
	decided_at timestamptz NOT NULL,
	source text COLLATE "C" NOT NULL,
	job_table text COLLATE "C" NOT NULL,
	job_key text COLLATE "C" NOT NULL,
	job_hash bytea NOT NULL,
	tenant_id text,
	actor_id text,
	topic text,
	job jsonb,
	decision policy_decision NOT NULL,
	reason text NOT NULL,
	matched_rule text COLLATE "C",
	matched_rules text[] NOT NULL,
	monitored_rules text[] NOT NULL,
	constraints jsonb NOT NULL,
	snapshot text COLLATE "C",
	release_id bigint,
	role text NOT NULL,
	session_role text NOT NULL,
	application_name text,
	note text,
	CONSTRAINT decisions_source_check CHECK (source IN
		('submit', 'update', 'claim', 'vote', 'maintain', 'redecide', 'override', 'halt'))
) PARTITION BY RANGE (decided_at);
COMMENT ON TABLE policy.decisions IS
	'Evidence: every decision that was enforced, written in the job''s own transaction. Append-only; partitioned by month.';
COMMENT ON COLUMN policy.decisions.decision_id IS 'Counts up.';
COMMENT ON COLUMN policy.decisions.decided_at IS 'When it was decided.';
COMMENT ON COLUMN policy.decisions.source IS 'What asked: submit, update, claim, vote, maintain, redecide, override, halt.';
COMMENT ON COLUMN policy.decisions.job_table IS 'The table of the job, schema-qualified.';
COMMENT ON COLUMN policy.decisions.job_key IS 'Its key there.';
COMMENT ON COLUMN policy.decisions.job_hash IS 'SHA-256 of the job''s canonical jsonb text, before masking.';
COMMENT ON COLUMN policy.decisions.tenant_id IS 'Its tenant, as policies compare it.';
COMMENT ON COLUMN policy.decisions.actor_id IS 'Its actor, as policies compare it.';
COMMENT ON COLUMN policy.decisions.topic IS 'Its topic, as policies compare it.';
COMMENT ON COLUMN policy.decisions.job IS 'The job as it was decided; what the policy masks is "***".';
COMMENT ON COLUMN policy.decisions.decision IS 'The decision.';
COMMENT ON COLUMN policy.decisions.reason IS 'Why.';
COMMENT ON COLUMN policy.decisions.matched_rule IS 'The winning rule; NULL for the default.';
COMMENT ON COLUMN policy.decisions.matched_rules IS 'Every applying rule.';
COMMENT ON COLUMN policy.decisions.monitored_rules IS 'Every rule in monitor mode that would have applied.';
COMMENT ON COLUMN policy.decisions.constraints IS 'The bounds.';
COMMENT ON COLUMN policy.decisions.snapshot IS 'The policy that decided; NULL where none was active or it could not be read.';
COMMENT ON COLUMN policy.decisions.release_id IS 'The release that had put it in force.';
COMMENT ON COLUMN policy.decisions.role IS 'The role that was set.';
COMMENT ON COLUMN policy.decisions.session_role IS 'The login.';
COMMENT ON COLUMN policy.decisions.application_name IS 'The client''s name for itself.';
COMMENT ON COLUMN policy.decisions.note IS 'What an operator said who had it decided again; or whose place a remediation took.';
CREATE TABLE policy.decisions_default
	(LIKE policy.decisions INCLUDING CONSTRAINTS INCLUDING COMMENTS,
	 CONSTRAINT decisions_default_pkey PRIMARY KEY (decision_id));
CREATE INDEX decisions_default_job_key ON policy.decisions_default (job_key);
ALTER TABLE policy.decisions ATTACH PARTITION policy.decisions_default DEFAULT;
COMMENT ON TABLE policy.decisions_default IS
	'Evidence of months that policy_maintain has made no partition for.';
COMMENT ON INDEX policy.decisions_default_job_key IS 'The history of one job.';

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON policy.decisions
	FOR EACH ROW EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.decisions
	FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change();
-- The parent's does not reach it.
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.decisions_default
	FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change();
ALTER TABLE policy.decisions ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE policy.decisions ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE policy.decisions_default ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE policy.decisions_default ENABLE ALWAYS TRIGGER refuse_truncate;
COMMENT ON TRIGGER refuse_change ON policy.decisions IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER refuse_truncate ON policy.decisions IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER refuse_change ON policy.decisions_default IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER refuse_truncate ON policy.decisions_default IS 'Append-only: raises PE011.';

--
-- Approvals
--

-- src/dispatch/approvals.h knows the columns by number.
CREATE TABLE policy.approvals (
	approval_id bigint NOT NULL,
	decision_id bigint NOT NULL,
	decided_at timestamptz NOT NULL,
	job_table text COLLATE "C" NOT NULL,
	job_key text COLLATE "C" NOT NULL,
	job_hash bytea NOT NULL,
	immaterial text[] NOT NULL,
	snapshot text COLLATE "C",
	rule text COLLATE "C",
	status text COLLATE "C" NOT NULL,
	required integer NOT NULL,
	approvers text[] NOT NULL,
	allow_self boolean NOT NULL,
	attempts integer NOT NULL,
	superseded_by bigint,
	superseded_at timestamptz,
	requested_by text NOT NULL,
	requested_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	resolved_at timestamptz,
	requested_via text,
	CONSTRAINT approvals_pkey PRIMARY KEY (approval_id),
	CONSTRAINT approvals_status_check CHECK (status IN
		('pending', 'approved', 'rejected', 'expired', 'superseded', 'consumed'))
);
CREATE INDEX approvals_job ON policy.approvals (job_key, job_table);
CREATE UNIQUE INDEX approvals_open ON policy.approvals
	(job_key, job_table, (coalesce(rule, '')))
	WHERE status IN ('pending', 'approved');
CREATE INDEX approvals_pending ON policy.approvals (approval_id) WHERE status = 'pending';
CREATE INDEX approvals_expiry ON policy.approvals (expires_at) WHERE status = 'pending';
COMMENT ON TABLE policy.approvals IS
	'What people were asked: one row for each rule that asks and each hash that was asked for.';
COMMENT ON INDEX policy.approvals_job IS 'The approvals of a job.';
COMMENT ON INDEX policy.approvals_open IS 'A job has one open approval for each rule that asks.';
COMMENT ON INDEX policy.approvals_pending IS 'The queue.';
COMMENT ON INDEX policy.approvals_expiry IS 'What policy_maintain looks through.';
COMMENT ON COLUMN policy.approvals.approval_id IS 'Counts up.';
COMMENT ON COLUMN policy.approvals.decision_id IS 'The decision that asks.';
COMMENT ON COLUMN policy.approvals.decided_at IS 'When that was made.';
COMMENT ON COLUMN policy.approvals.job_table IS 'The table of the job, schema-qualified.';
COMMENT ON COLUMN policy.approvals.job_key IS 'Its key there.';
COMMENT ON COLUMN policy.approvals.job_hash IS 'SHA-256 of the job less the immaterial paths: what is approved.';
COMMENT ON COLUMN policy.approvals.immaterial IS 'The jsonpaths that the rule leaves out.';
COMMENT ON COLUMN policy.approvals.snapshot IS 'The policy that asks.';
COMMENT ON COLUMN policy.approvals.rule IS 'The rule that asks; NULL for the default.';
COMMENT ON COLUMN policy.approvals.status IS 'pending, approved, rejected, expired, superseded, consumed.';
COMMENT ON COLUMN policy.approvals.required IS 'How many have to approve.';
COMMENT ON COLUMN policy.approvals.approvers IS 'The roles of which an approver must hold one; empty: whoever has the duty.';
COMMENT ON COLUMN policy.approvals.allow_self IS 'Whether who asks may approve.';
COMMENT ON COLUMN policy.approvals.attempts IS 'How many attempts of the job it has admitted.';
COMMENT ON COLUMN policy.approvals.superseded_by IS 'The decision that took its place; NULL where none did.';
COMMENT ON COLUMN policy.approvals.superseded_at IS 'When that was made.';
COMMENT ON COLUMN policy.approvals.requested_by IS 'Who asks.';
COMMENT ON COLUMN policy.approvals.requested_at IS 'Since when.';
COMMENT ON COLUMN policy.approvals.expires_at IS 'Until when it can be voted on, and used.';
COMMENT ON COLUMN policy.approvals.resolved_at IS 'When it stopped being pending.';
COMMENT ON COLUMN policy.approvals.requested_via IS 'The asker''s other name (policy.jobs.submitted_via).';

CREATE TABLE policy.approval_votes (
	approval_id bigint NOT NULL,
	approver text NOT NULL,
	session_role text NOT NULL,
	vote text COLLATE "C" NOT NULL,
	note text,
	voted_at timestamptz NOT NULL,
	CONSTRAINT approval_votes_pkey PRIMARY KEY (approval_id, approver),
	CONSTRAINT approval_votes_vote_check CHECK (vote IN ('approve', 'reject'))
);
-- No foreign key to approvals: pg_restore -j loads both tables at once.
COMMENT ON TABLE policy.approval_votes IS 'Who voted: one row an approver.';
COMMENT ON COLUMN policy.approval_votes.approval_id IS 'On what.';
COMMENT ON COLUMN policy.approval_votes.approver IS 'The login, or the role that a proxy login had set.';
COMMENT ON COLUMN policy.approval_votes.session_role IS 'The login.';
COMMENT ON COLUMN policy.approval_votes.vote IS 'approve or reject.';
COMMENT ON COLUMN policy.approval_votes.note IS 'Why.';
COMMENT ON COLUMN policy.approval_votes.voted_at IS 'When.';

CREATE FUNCTION policy.approval_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_approval_changed' LANGUAGE C;
COMMENT ON FUNCTION policy.approval_changed() IS
	'Trigger of policy.approvals: moves the job, and tells who listens.';
CREATE TRIGGER approval_changed AFTER UPDATE ON policy.approvals
	FOR EACH ROW EXECUTE FUNCTION policy.approval_changed();
COMMENT ON TRIGGER approval_changed ON policy.approvals IS 'Moves the job, and tells who listens.';

SELECT pg_catalog.pg_extension_config_dump('policy.job_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('policy.decision_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('policy.approval_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('policy.jobs', '');
SELECT pg_catalog.pg_extension_config_dump('policy.decisions', '');
SELECT pg_catalog.pg_extension_config_dump('policy.decisions_default', '');
SELECT pg_catalog.pg_extension_config_dump('policy.approvals', '');
SELECT pg_catalog.pg_extension_config_dump('policy.approval_votes', '');
