# A system in the middle of its work: jobs in every state, approvals half voted,
# attempts running, evidence in several partitions, seals and duties.  For tests of
# what must survive: a dump, a promotion.
#
#	bring_to_life($node, maintained => 1);
#	my @contents = contents($node);	# everything that is stored, as text
#	go_on($node, 'restored');			# TAP: every part of it goes on working

package PolicyLive;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT_OK = qw(bring_to_life contents go_on as_role);

# %s: what differs between the two versions.
my $policy = <<'YAML';
version: v1
evidence: {mask: ["$.payload.password"]}
rules:
  - {id: read, match: {topics: ["read.*"]}, decision: allow, constraints: {max_runtime_sec: 86400, max_retries: 2}}
  - {id: once, match: {topics: ["once.*"]}, decision: allow, constraints: {max_runtime_sec: 86400, max_retries: 0}}
  - {id: mail, match: {topics: ["mail.*"]}, decision: throttle, retry_after_sec: 86400}
  - {id: write, match: {topics: ["write.*"]}, decision: require_approval, constraints: {max_runtime_sec: 86400, max_retries: 1},
     approval: {approvers: [leads], min_approvals: 2}}
  - {id: twice, match: {topics: ["write.twice.*"]}, decision: require_approval,
     approval: {immaterial: ["$.payload.trace"]}}
  - {id: drop, match: {topics: ["%s.*"]}, decision: deny, remediations: [{id: instead, replacement_topic: drop.instead}, {id: other}]}
YAML

my $roles = <<'SQL';
CREATE ROLE leads;
CREATE ROLE asker LOGIN;
CREATE ROLE alice LOGIN IN ROLE leads;
CREATE ROLE bob LOGIN IN ROLE leads;
CREATE ROLE worker LOGIN;
CREATE ROLE "Op erator" LOGIN;
CREATE ROLE agent_7 LOGIN;
CREATE ROLE pooler LOGIN IN ROLE asker;
SELECT policy_grant('asker', 'submit'), policy_grant('leads', 'approve'), policy_grant('worker', 'work'),
	policy_grant('Op erator', 'operate'), policy_grant('Op erator', 'audit'), policy_grant('pooler', 'proxy'),
	policy_grant('pooler', 'submit'), policy_grant('agent_7', 'submit', '{"tenant_id": "acme", "actor_id": "agent-7"}');
SQL

# Topics say what becomes of the jobs; (at) moves a stored time behind the guard's back.
my $work = <<'SQL';
CREATE FUNCTION pg_temp.id(topic text) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
	$$ SELECT j.job_id FROM policy.jobs j WHERE j.topic = id.topic $$;
CREATE FUNCTION pg_temp.asked(topic text, rule text DEFAULT 'write') RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
	$$ SELECT max(a.approval_id) FROM policy.approvals a WHERE a.job_key = pg_temp.id(topic)::text AND a.rule = asked.rule $$;
CREATE FUNCTION pg_temp.begin(topic text) RETURNS policy.jobs LANGUAGE sql AS
	$$ SELECT j.* FROM policy_claim('origin', 1, ARRAY[begin.topic]) j $$;

SET SESSION AUTHORIZATION asker;
INSERT INTO policy.jobs (topic, payload) SELECT t, jsonb_build_object('of', t, 'password', 'secret', 'trace', 1) FROM unnest(ARRAY[
	'read.ready', 'read.retry', 'read.running', 'read.late', 'read.done', 'read.cancelled', 'once.failed', 'once.late', 'mail.later', 'mail.due',
	'write.half', 'write.open', 'write.ready', 'write.retry', 'write.running', 'write.rejected', 'write.expired', 'write.expiring', 'write.changed',
	'write.twice.half', 'drop.it']) t;
SELECT policy_remediate(pg_temp.id('drop.it'), 'instead');
SELECT policy_submit('{"topic": "read.key", "idempotency_key": "k", "tenant_id": "Acme", "custom": {"a": [1, null]}}'), policy_submit('[]');
INSERT INTO policy.jobs (topic, risk_tags) VALUES ('read.invalid', '{}');
UPDATE policy.jobs SET payload = '{"of": "another"}' WHERE topic = 'write.changed';
SET SESSION AUTHORIZATION agent_7;
SELECT policy_submit('{"topic": "read.bound"}');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION pooler;
SET ROLE asker;
INSERT INTO policy.jobs (topic) VALUES ('write.pooled');
RESET SESSION AUTHORIZATION;

SET SESSION AUTHORIZATION alice;
SELECT policy_approve(pg_temp.asked(t), 'alice: ' || t) FROM unnest('{write.half,write.ready,write.retry,write.running}'::text[]) t;
SELECT policy_approve(pg_temp.asked('write.twice.half', 'twice'), NULL), policy_reject(pg_temp.asked('write.rejected'), 'no');
SET SESSION AUTHORIZATION bob;
SELECT policy_approve(pg_temp.asked(t)) FROM unnest('{write.ready,write.retry,write.running}'::text[]) t;
RESET SESSION AUTHORIZATION;
UPDATE policy.approvals SET expires_at = now() WHERE approval_id IN (pg_temp.asked('write.expired'), pg_temp.asked('write.expiring'));
SET SESSION AUTHORIZATION alice;
SELECT policy_approve(pg_temp.asked('write.expired'));
RESET SESSION AUTHORIZATION;

SET SESSION AUTHORIZATION worker;
SELECT count(pg_temp.begin(t)) FROM unnest('{read.retry,read.running,read.late,read.done,once.failed,once.late,write.retry,write.running}'::text[]) t;
RESET SESSION AUTHORIZATION;
SELECT policy_fail(job_id, claim_token, 'again') FROM policy.jobs WHERE topic IN ('read.retry', 'once.failed', 'write.retry');
SELECT policy_complete(job_id, claim_token, '{"rows": 1e3}') FROM policy.jobs WHERE topic = 'read.done';
SET session_replication_role = replica;
UPDATE policy.jobs SET deadline = now() WHERE topic IN ('read.late', 'once.late');
UPDATE policy.jobs SET run_after = now() WHERE topic = 'mail.due';
RESET session_replication_role;
SELECT policy_complete(job_id, claim_token) FROM policy.jobs WHERE topic = 'once.late';
SELECT policy_cancel(pg_temp.id('read.cancelled'), 'not needed');
SQL

# What each job must be when all that is done.
my $states = 'denied NULL, %sdenied drop.instead, denied drop.it, denied read.invalid, awaiting_approval write.changed, awaiting_approval write.expiring, '
  . 'awaiting_approval write.half, awaiting_approval write.open, awaiting_approval write.pooled, awaiting_approval write.twice.half, '
  . 'cancelled read.cancelled, expired write.expired, failed once.failed, ready read.bound, ready read.key, ready read.ready, '
  . 'ready read.retry, ready write.ready, ready write.retry, rejected write.rejected, running read.late, running read.running, '
  . 'running write.running, succeeded read.done, throttled mail.due, throttled mail.later, timed_out once.late';

# A statement as somebody else.
sub as_role
{
	my ($node, $role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

# maintained: whether policy_maintain has made this month's partition before the
# first job came.  If so, evidence is there, and what is older in the default one.
sub bring_to_life
{
	my ($node, %options) = @_;

	$node->safe_psql('postgres', $roles);
	$node->safe_psql('postgres', sprintf(q{SELECT policy_stage('%s', $yaml$%s$yaml$, 'note of %1$s')}, $_->[0], sprintf $policy, $_->[1]))
	  foreach [ 'v1', 'drop' ], [ 'v2', 'destroy' ];
	$node->safe_psql('postgres', "SELECT policy_publish('v1', 'first')");
	if (!$options{maintained})
	{
		as_role($node, 'asker', "INSERT INTO policy.jobs (topic) VALUES ('drop.first')");
		is($node->safe_psql('postgres', 'SELECT partitions FROM policy_maintain()'), '3', 'three months are made');
		$node->safe_psql('postgres', <<'SQL');
INSERT INTO policy.decisions SELECT nextval('policy.decision_id_seq'), date_trunc('month', now()) + interval '1 month 3 days', source,
	job_table, job_key, job_hash, tenant_id, actor_id, topic, job, decision, reason, matched_rule, matched_rules, monitored_rules,
	constraints, snapshot, release_id, role, session_role, application_name, 'written ahead'
FROM policy.decisions;
SQL
	}
	else
	{
		is($node->safe_psql('postgres', 'SELECT partitions FROM policy_maintain()'), '4', 'four months are made');
		$node->safe_psql('postgres', <<'SQL');
INSERT INTO policy.decisions (decision_id, decided_at, source, job_table, job_key, job_hash, decision, reason, matched_rules, monitored_rules,
	constraints, role, session_role)
VALUES (nextval('policy.decision_id_seq'), '2020-02-29 12:00+00', 'submit', 'policy.jobs', '1', '\x00', 'DENY', 'old', '{}', '{}', '{}', 'asker', 'asker');
INSERT INTO policy.jobs (job_id, topic, state, decision_id, decided_at, constraints, attempts, submitted_by, submitted_at)
	SELECT nextval('policy.job_id_seq'), 'old.job', 'cancelled', decision_id, decided_at, '{}', 0, 'asker', decided_at FROM policy.decisions;
SQL
	}
	$node->safe_psql('postgres', $work);
	is($node->safe_psql('postgres', "SELECT string_agg(state || ' ' || coalesce(topic, 'NULL'), ', ' ORDER BY state <> 'denied', state, topic "
				. "COLLATE \"C\" NULLS FIRST) FROM policy.jobs WHERE topic IS DISTINCT FROM 'old.job'"),
		sprintf($states, $options{maintained} ? '' : 'denied drop.first, '), 'jobs in every state');
	$node->safe_psql('postgres', "SELECT policy_publish('v2', 'second')");
	# Both kinds: one that a seal covers, and one that none does yet.
	ok($node->safe_psql('postgres', 'SELECT count(*) FROM policy_seal()') > 0, 'evidence is sealed');
	as_role($node, 'asker', "INSERT INTO policy.jobs (topic) VALUES ('read.unsealed')");
	$node->safe_psql('postgres', "SELECT policy.make_partition('2019-12-01')");
	return;
}

# Everything that is stored and how, a line each: rows by relation, positions of sequences, the
# partitions' bounds, triggers and rights.
sub contents
{
	my ($node) = @_;

	return split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT format($$SELECT %L, count(*), md5(coalesce(string_agg(t::text, E'\n' ORDER BY t::text COLLATE "C"), '')) FROM policy.%I t$$, c.relname, c.relname)
FROM pg_class c WHERE c.relnamespace = 'policy'::regnamespace AND c.relkind = 'r' AND c.relname <> 'maintenance' ORDER BY c.relname
\gexec
SELECT s.sequencename, s.last_value FROM pg_sequences s WHERE s.schemaname = 'policy' ORDER BY 1;
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), obj_description(c.oid, 'pg_class') FROM pg_class c
	WHERE c.relispartition AND c.relkind = 'r' ORDER BY 1;
SELECT i.indexrelid::regclass::text, i.indisprimary FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
	WHERE c.relispartition AND c.relkind = 'r' ORDER BY 1;
SELECT t.tgrelid::regclass::text, t.tgname, t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
	WHERE c.relnamespace = 'policy'::regnamespace ORDER BY 1, 2;
SELECT c.relname, a::text FROM pg_class c, unnest(c.relacl) a WHERE c.relnamespace = 'policy'::regnamespace ORDER BY 1, 2;
SELECT p.oid::regprocedure::text, a::text FROM pg_proc p, unnest(p.proacl) a WHERE p.proname LIKE 'policy%' OR p.pronamespace = 'policy'::regnamespace
	ORDER BY 1, 2;
SELECT snapshot, release_id, since, ready, awaiting_approval, throttled, running, oldest_approval, maintenance_late, warnings FROM policy_status();
SELECT * FROM policy_verify();
SQL
}

# The job of that topic, as the columns say.
sub job
{
	my ($node, $topic, $columns) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM policy.jobs WHERE topic = '$topic'");
}

sub asked
{
	my ($node, $topic, $rule) = @_;
	return $node->safe_psql('postgres', "SELECT max(a.approval_id) FROM policy.approvals a JOIN policy.jobs j ON a.job_key = j.job_id::text "
		  . "WHERE j.topic = '$topic' AND a.rule = '$rule'");
}

sub refused
{
	my ($node, $role, $sql, $state, $name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role, '-v', 'VERBOSITY=sqlstate' ]);

	like($err, qr/ERROR:  $state$/m, $name);
	return;
}

sub go_on
{
	my ($node, $name) = @_;

	is($node->safe_psql('postgres', 'SELECT * FROM policy_verify()'), '', "$name: nothing is wrong with the evidence");
	is($node->safe_psql('postgres', 'SELECT snapshot, warnings FROM policy_status()'), 'v2|{}', "$name: the policy is in force, with nothing to warn of");
	votes($node, $name);
	attempts($node, $name);
	ids($node, $name);
	evidence($node, $name);
	return;
}

sub votes
{
	my ($node, $name) = @_;
	my $half = asked($node, 'write.half', 'write');

	is(as_role($node, 'alice', "SELECT status FROM policy_approve($half)"), 'pending', "$name: a vote that was cast is no second one");
	refused($node, 'asker', "SELECT policy_approve($half)", '42501', "$name: who has no duty may not vote");
	is(as_role($node, 'bob', "SELECT status FROM policy_approve($half)"), 'approved', "$name: the vote that was missing completes it");
	is(job($node, 'write.half', 'state'), 'ready', "$name: and its job is ready");
	is(as_role($node, 'alice', 'SELECT status FROM policy_approve(' . asked($node, 'write.open', 'write') . ')'),
		'pending', "$name: one that nobody had voted on can be");
	is(as_role($node, 'bob', 'SELECT status FROM policy_reject(' . asked($node, 'write.open', 'write') . ", 'no')"),
		'rejected', "$name: and rejected");
	my $changed = "UPDATE policy.jobs SET payload = payload || '{\"trace\": 2}' WHERE topic = 'write.twice.half'";
	as_role($node, 'asker', $changed);
	is($node->safe_psql('postgres', "SELECT string_agg(rule || ' ' || status, ', ' ORDER BY approval_id) FROM policy.approvals a "
				. "JOIN policy.jobs j ON a.job_key = j.job_id::text WHERE topic = 'write.twice.half'"),
		'write superseded, twice approved, write pending', "$name: a change asks again where it matters, and there alone");
	refused($node, 'alice', 'SELECT policy_approve(' . asked($node, 'write.expired', 'write') . ')', 'PE010', "$name: what expired stays so");
	return;
}

sub attempts
{
	my ($node, $name) = @_;
	my $run = "SELECT string_agg(topic || ' ' || attempts, ', ' ORDER BY topic COLLATE \"C\") FROM policy_claim('restored', 100)";

	is(as_role($node, 'worker', $run), 'mail.due 1, read.bound 1, read.key 1, read.ready 1, read.retry 2, read.unsealed 1, '
		  . 'write.half 1, write.ready 1, write.retry 2', "$name: what may start starts, and nothing else");
	is($node->safe_psql('postgres', "SELECT status, attempts FROM policy.approvals WHERE approval_id = " . asked($node, 'write.retry', 'write')),
		'consumed|2', "$name: a second attempt counts on the approval of the first");
	is(as_role($node, 'worker', $run), '', "$name: once");
	my ($id, $token) = split /\|/, job($node, 'write.running', 'job_id, claim_token');
	is(as_role($node, 'worker', "SELECT state FROM policy_heartbeat($id, '$token')"), 'running', "$name: an attempt that ran goes on");
	is(as_role($node, 'worker', "SELECT state, claimed_by FROM policy_complete($id, '$token', '1')"),
		'succeeded|origin', "$name: and ends under the token that it had");
	refused($node, 'worker', "SELECT policy_complete($id, '$token')", 'PE013', "$name: once");
	($id, $token) = split /\|/, job($node, 'write.retry', 'job_id, claim_token');
	is(as_role($node, 'worker', "SELECT state, attempts FROM policy_fail($id, '$token', 'no more')"), 'failed|2', "$name: its attempts are counted on");
	is(as_role($node, 'Op erator', 'SELECT expired, redecided, timed_out FROM policy_maintain()'), '1|0|1',
		"$name: maintenance ends what is late");
	is(job($node, 'read.late', 'state'), 'timed_out', "$name: the attempt past its deadline");
	is(job($node, 'write.expiring', 'state'), 'expired', "$name: the approval past its time");
	as_role($node, 'Op erator', "SELECT policy_redecide('{\"topic\": \"drop.it\"}', 'under v2')");
	is($node->safe_psql('postgres', 'SELECT state, reason, note FROM policy.jobs JOIN policy.decisions USING (decision_id, decided_at) '
				. "WHERE jobs.topic = 'drop.it'"),
		'denied|no rule matched|under v2', "$name: what was denied is decided again");
	return;
}

sub ids
{
	my ($node, $name) = @_;
	my $last = 'SELECT (SELECT max(job_id) FROM policy.jobs), (SELECT max(decision_id) FROM policy.decisions), (SELECT max(approval_id) FROM policy.approvals)';
	my ($job, $decision, $approval) = split /\|/, $node->safe_psql('postgres', $last);

	is($node->safe_psql('postgres', "SELECT (SELECT last_value FROM policy.job_id_seq) >= $job, (SELECT last_value FROM policy.decision_id_seq) >= $decision, "
				. "(SELECT last_value FROM policy.approval_id_seq) >= $approval"), 't|t|t', "$name: ids go on");
	is(as_role($node, 'asker', "SELECT state, job_id > $job, decision_id > $decision FROM policy_submit('{\"topic\": \"write.new\"}')"),
		'awaiting_approval|t|t', "$name: a new job is decided");
	ok(asked($node, 'write.new', 'write') > $approval, "$name: and asked for");
	is(as_role($node, 'asker', q[SELECT job_id FROM policy_submit('{"topic": "read.key", "idempotency_key": "k", "tenant_id": "Acme", "custom": {"a": [1, null]}}')]),
		job($node, 'read.key', 'job_id'), "$name: a key finds its job");
	refused($node, 'asker', q[SELECT policy_submit('{"topic": "read.other", "idempotency_key": "k", "tenant_id": "acme"}')], 'PE015',
		"$name: and is refused to another");
	my $denied = job($node, 'drop.it', 'job_id');
	is(as_role($node, 'asker', "SELECT job_id FROM policy_remediate($denied, 'instead')"), job($node, 'drop.instead', 'job_id'),
		"$name: a remediation that was taken is known");
	refused($node, 'asker', "SELECT policy_remediate($denied, 'other')", 'PE008', "$name: and the only one");
	is(as_role($node, 'agent_7', q[SELECT tenant_id, actor_id FROM policy_submit('{"topic": "read.bound.again"}')]), 'acme|agent-7',
		"$name: a bound identity is stamped");
	is(as_role($node, 'pooler', "SET ROLE asker; INSERT INTO policy.jobs (topic) VALUES ('read.pooled') RETURNING submitted_by, submitted_via"),
		'asker|pooler', "$name: a proxy speaks for the role that it has set");
	is($node->safe_psql('postgres', "SELECT release_id, previous_snapshot FROM policy_rollback('v1', 'restored')"), '3|v2', "$name: releases go on");
	is(as_role($node, 'asker', "INSERT INTO policy.jobs (topic) VALUES ('drop.more') RETURNING state"), 'denied', "$name: and are in force");
	return;
}

sub evidence
{
	my ($node, $name) = @_;
	my $seals = $node->safe_psql('postgres', 'SELECT max(seal_id) FROM policy.seals');

	is($node->safe_psql('postgres', 'SELECT min(seal_id) FROM policy_seal()'), $seals + 1, "$name: the chain of seals goes on");
	is($node->safe_psql('postgres', 'SELECT * FROM policy_verify()'), '', "$name: and is whole");
	is($node->safe_psql('postgres', "SELECT DISTINCT job #>> '{payload,password}' FROM policy.decisions WHERE topic = 'read.ready'"), '***',
		"$name: what was masked is not in it");
	foreach my $partition (split /\n/, $node->safe_psql('postgres', "SELECT relid::regclass FROM pg_partition_tree('policy.decisions') WHERE isleaf"))
	{
		refused($node, 'postgres', "TRUNCATE $partition", 'PE011', "$name: $partition is append-only");
	}
	$node->safe_psql('postgres', 'BEGIN; SET LOCAL session_replication_role = replica; '
		  . "ALTER TABLE policy.decisions DISABLE TRIGGER refuse_change; UPDATE policy.decisions SET reason = 'forged' WHERE decision_id = 2; "
		  . 'ALTER TABLE policy.decisions ENABLE ALWAYS TRIGGER refuse_change; COMMIT');
	is($node->safe_psql('postgres', 'SELECT problem, decision_id FROM policy_verify()'), 'altered|2', "$name: and would tell of a change");
	return;
}

1;
