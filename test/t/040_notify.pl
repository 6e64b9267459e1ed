# NOTIFY on policy_approvals and policy_releases: one a channel and transaction,
# sent with the commit and only with it, a JSON array of the ids.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PolicySession;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_policy_node('notify');

$node->append_conf('postgresql.conf', 'max_prepared_transactions = 2');
$node->restart;
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE asker LOGIN;
CREATE ROLE approver LOGIN;
SELECT policy_grant('asker', 'submit'), policy_grant('approver', 'approve');
SELECT policy_stage('v1', 'version: v1
rules:
  - {id: read, match: {topics: ["read.*"]}, decision: allow}
  - {id: write, match: {topics: ["write.*"]}, decision: require_approval}
  - {id: twice, match: {topics: ["write.twice.*"]}, decision: require_approval}
  - {id: quorum, match: {topics: ["write.quorum"]}, decision: require_approval, approval: {min_approvals: 2}}', NULL);
SELECT policy_stage('v2', 'version: v1
rules: [{id: read, decision: allow}]', NULL);
SELECT policy_publish('v1', NULL);
SQL

my $listener = PolicySession->new($node);
$listener->ask('LISTEN policy_approvals; LISTEN policy_releases');
my $session = PolicySession->new($node);

# Every notification is told before the listener's next statement ends: psql prints
# what came with it.
sub told
{
	my @told;

	# What a listener has not seen when it asks was not sent: notifications are in
	# its queue before the sender's commit returns.
	my $answer = $listener->ask('SELECT 1');
	while ($answer =~ /^Asynchronous notification "(\w+)" (?:with payload "([^"]*)" )?received from server process with PID (\d+)\.$/mg)
	{
		push @told, "$1 " . ($2 // '');
	}
	return join ', ', sort @told;
}

# What a statement's transaction tells, by whom it is run.
sub tells
{
	my ($sql, $role) = @_;

	$session->ask("SET SESSION AUTHORIZATION $role") if defined $role;
	my $answer = $session->ask($sql);
	like($answer, qr/^(?!.*ERROR)/s, "no error: $sql");
	$session->ask('RESET SESSION AUTHORIZATION') if defined $role;
	return told();
}

sub submit { return "INSERT INTO policy.jobs (topic) VALUES " . join(', ', map { "('$_')" } @_); }

is(told(), '', 'nothing was told before');

# Releases
is(tells("SELECT release_id FROM policy_publish('v2', NULL)"), 'policy_releases [2]', 'a publish tells its id');
is(tells("SELECT release_id FROM policy_rollback('v1', NULL)"), 'policy_releases [3]', 'a rollback, too');
is(tells("BEGIN; SELECT policy_publish('v2', NULL); SELECT policy_rollback('v1', NULL); COMMIT"),
	'policy_releases [4,5]', 'two releases of one transaction are told at once');
is(tells("SELECT policy_stage('v3', '{version: v1, rules: []}', NULL)"), '', 'staging tells nothing');

# Approvals that are made
is(tells(submit('read.a'), 'asker'), '', 'a job that needs none tells nothing');
is(tells(submit('write.a'), 'asker'), 'policy_approvals [1]', 'an approval that is asked for is told');
is(tells(submit('write.b', 'read.b', 'write.c'), 'asker'), 'policy_approvals [2,3]', 'those of one statement at once');
is(tells('BEGIN; ' . submit('write.d') . '; ' . submit('write.e') . '; COMMIT', 'asker'),
	'policy_approvals [4,5]', 'those of one transaction at once');
is(tells(submit('write.twice.a'), 'asker'), 'policy_approvals [6,7]', 'one for each rule that asks');
is(tells("SELECT state FROM policy_submit('{\"topic\": \"write.f\"}')", 'asker'), 'policy_approvals [8]', 'by policy_submit as well');

# Approvals that change
is(tells('SELECT status FROM policy_approve(1)', 'approver'), 'policy_approvals [1]', 'an approval');
is(tells('SELECT status FROM policy_approve(1)', 'approver'), '', 'a repeated vote changes nothing, and tells nothing');
is(tells("SELECT status FROM policy_reject(2, 'no')", 'approver'), 'policy_approvals [2]', 'a rejection');
is(tells("SELECT state FROM policy_claim('w', 1, ARRAY['write.a'])"), 'policy_approvals [1]', 'a claim that uses one up');
is(tells("UPDATE policy.jobs SET topic = 'read.d' WHERE topic = 'write.d'"), 'policy_approvals [4]', 'one that a change supersedes');
is(tells("UPDATE policy.jobs SET payload = '1' WHERE topic = 'write.e'"), 'policy_approvals [5,9]', 'and the one that takes its place');
is(tells("SELECT c.state FROM policy.jobs j, policy_cancel(j.job_id, 'no') c WHERE j.topic = 'write.e'"), 'policy_approvals [9]', 'that of a job that is cancelled');
is(tells("DELETE FROM policy.jobs WHERE topic = 'write.f'"), 'policy_approvals [8]', 'that of a job that is deleted');
tells('UPDATE policy.approvals SET expires_at = now() WHERE approval_id = 3');
is(tells('SELECT expired FROM policy_maintain()'), 'policy_approvals [3]', 'one that expires');
is(tells("BEGIN; SELECT policy_publish('v2', NULL); SELECT policy_maintain(); COMMIT"),
	'policy_approvals [6,7], policy_releases [6]', 'both channels of one transaction, each once');
$session->ask("SELECT policy_rollback('v1', NULL)");
told();

# What is rolled back is not told.
my $next = $node->safe_psql('postgres', 'SELECT max(approval_id) + 1 FROM policy.approvals');
is(tells('BEGIN; ' . submit('write.gone') . '; ROLLBACK', 'asker'), '', 'a transaction that is rolled back tells nothing');
is(tells("BEGIN; SELECT policy_publish('v2', NULL); ROLLBACK"), '', 'a publish that is rolled back, neither');
like(tells('BEGIN; ' . submit('write.g') . '; SAVEPOINT s; ' . submit('write.gone') . '; ROLLBACK TO s; ' . submit('write.h') . '; COMMIT', 'asker'),
	qr/^policy_approvals \[(\d+),(\d+)\]$/, 'of a savepoint that is rolled back nothing is told');
is($node->safe_psql('postgres',
		"SELECT count(*) FROM policy.approvals a JOIN policy.jobs j ON a.job_key = j.job_id::text WHERE j.topic IN ('write.g', 'write.h')"),
	'2', 'but the others of its transaction');
is(tells('BEGIN; SAVEPOINT s; ' . submit('write.gone') . '; ROLLBACK TO s; COMMIT', 'asker'), '', 'with nothing left, nothing is told');
like(tells('BEGIN; SAVEPOINT s; ' . submit('write.i') . '; RELEASE s; COMMIT', 'asker'), qr/^policy_approvals \[\d+\]$/, 'of one that is released it is');
is(tells('BEGIN; SAVEPOINT a; SAVEPOINT b; ' . submit('write.gone') . '; RELEASE b; ROLLBACK TO a; COMMIT', 'asker'),
	'', 'unless one around it is rolled back');
my $kept = tells("DO \$\$ BEGIN INSERT INTO policy.jobs (topic) VALUES ('write.gone'); RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN INSERT INTO policy.jobs (topic) VALUES ('write.kept'); END \$\$", 'asker');
is($kept, 'policy_approvals [' . $node->safe_psql('postgres',
		"SELECT a.approval_id FROM policy.approvals a JOIN policy.jobs j ON a.job_key = j.job_id::text WHERE j.topic = 'write.kept'") . ']',
	'a block that caught its error tells what it did instead');
is(tells('INSERT INTO policy.jobs (topic, idempotency_key) VALUES (\'write.once\', \'k\')', 'asker') =~ /^policy_approvals \[\d+\]$/,
	1, 'a job with a key');
is(tells('INSERT INTO policy.jobs (topic, idempotency_key) VALUES (\'write.once\', \'k\') ON CONFLICT DO NOTHING', 'asker'),
	'', 'tells nothing where it is there already');
$session->ask('SET SESSION AUTHORIZATION asker');
like($session->ask("INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('write.x', 'l'), ('write.y', 'l')"), qr/ERROR/, 'a statement that fails');
$session->ask('RESET SESSION AUTHORIZATION');
is(told(), '', 'tells nothing');

# Ids as many as fit: 8000 bytes with the terminating one.
my $many = tells("INSERT INTO policy.jobs (topic) SELECT 'write.' || n FROM generate_series(1, 1000) n", 'asker');
like($many, qr/^policy_approvals \[\d+(,\d+){999}\]$/, 'a thousand ids fit');
my $ids = $node->safe_psql('postgres', 'SELECT string_agg(approval_id::text, \',\' ORDER BY approval_id) FROM policy.approvals WHERE approval_id > ' .
	($many =~ /\[(\d+),/)[0] . ' - 1');
is($many, "policy_approvals [$ids]", 'and are told, every one');
is(tells("INSERT INTO policy.jobs (topic) SELECT 'write.' || n FROM generate_series(1, 2000) n", 'asker'),
	'policy_approvals []', 'more than fit are told as an empty array: look for yourself');
is(tells("INSERT INTO policy.jobs (topic) SELECT 'write.' || n FROM generate_series(1, 10000) n", 'asker'),
	'policy_approvals []', 'however many');
is(tells("BEGIN; SAVEPOINT s; INSERT INTO policy.jobs (topic) SELECT 'write.' || n FROM generate_series(1, 10000) n; ROLLBACK TO s; " .
		submit('write.z') . '; COMMIT', 'asker') =~ /^policy_approvals \[\d+\]$/, 1, 'a full list that is rolled back does not count');
# A payload has 7,999 bytes at most.  993 ids of 7 digits and 6 of 8, with commas
# and brackets, are that; with one digit more it does not fit.
$node->safe_psql('postgres', "SELECT setval('policy.approval_id_seq', 9999999 - 993)");
like(tells("INSERT INTO policy.jobs (topic) SELECT 'write.' || n FROM generate_series(1, 999) n", 'asker'),
	qr/^policy_approvals \[9999007(,\d+){997},10000005\]$/, '7,999 bytes are told');
$node->safe_psql('postgres', "DELETE FROM policy.jobs; DELETE FROM policy.approvals; SELECT setval('policy.approval_id_seq', 9999999 - 992)");
told();
is(tells("INSERT INTO policy.jobs (topic) SELECT 'write.' || n FROM generate_series(1, 999) n", 'asker'),
	'policy_approvals []', '8,000 are not');

# Two-phase commit: PostgreSQL keeps no notification for a prepared transaction.
is(tells('BEGIN; ' . submit('write.prepared') . "; PREPARE TRANSACTION 'p'", 'asker'), '', 'a prepared transaction tells nothing');
is(tells("COMMIT PREPARED 'p'"), '', 'nor does its commit');
is($node->safe_psql('postgres',
		"SELECT count(*) FROM policy.approvals a JOIN policy.jobs j ON a.job_key = j.job_id::text WHERE j.topic = 'write.prepared' AND a.status = 'pending'"),
	'1', 'but its approval is there to be found');
like(tells(submit('write.after'), 'asker'), qr/^policy_approvals \[\d+\]$/, 'and the next transaction tells its own alone');

$listener->finish;
$session->finish;
$node->stop;
done_testing();
