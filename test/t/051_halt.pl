# Halts on a server: under busy workers, prepared, after a crash, in a dump, and told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use IPC::Run ();
use PolicyNode qw(start_policy_node);
use PolicySession;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_policy_node('halts');

$node->append_conf('postgresql.conf', "max_prepared_transactions = 2\ntrack_commit_timestamp = on\nmax_connections = 30\n");
$node->restart;
$node->safe_psql('postgres', <<'SQL');
SELECT policy_stage('v1', 'version: v1
defaults: {decision: allow, constraints: {max_retries: 3}}
rules: []', NULL);
SELECT policy_publish('v1', NULL);
SQL

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub enqueue
{
	my ($tenant, $count) = @_;
	return sql("INSERT INTO policy.jobs (tenant_id, topic) SELECT '$tenant', 'job.' || n % 3 FROM generate_series(1, $count) n");
}
sub halt { return sql("SELECT halt_id FROM policy_halt('$_[0]', 'for a test')"); }
sub resume_all { return sql('SELECT count(policy_resume(halt_id)) FROM policy.halts WHERE resumed_at IS NULL'); }
sub claim { return sql("SELECT count(*) FROM policy_claim('w', 100000)"); }
sub started { return "SELECT count(*) FROM policy.jobs WHERE state = 'running' AND $_[0]"; }

#
# Eight busy workers: nothing starts after the halt's commit.
#
my $dir = $node->basedir;
append_to_file("$dir/one.sql", "SELECT job_id FROM policy_claim('one', 1);\n");
# As some clients do: more than a claim a transaction, and by topic.
append_to_file("$dir/more.sql", "BEGIN;\nSELECT job_id FROM policy_claim('more', 2);\nSELECT job_id FROM policy_claim('more', 1, '{job.1,job.2}');\nCOMMIT;\n");
append_to_file("$dir/old.sql", "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT count(*) FROM policy.halts;\nSELECT job_id FROM policy_claim('old', 1);\nCOMMIT;\n");

for my $round (
	[ '{"tenant_id": "Acme"}', "tenant_id = 'acme'" ],
	[ '{"topic": "JOB.1"}', "topic = 'job.1'" ],
	[ '{}', 'true' ])
{
	my ($scope, $covered) = @$round;
	enqueue($_, 2000) for qw(acme other acme other);
	my $before = sql(started($covered));
	my $worker = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '150', '--max-tries=1', '-f', "$dir/one.sql\@5", '-f', "$dir/more.sql\@3", '-f', "$dir/old.sql\@1",
			$node->connstr('postgres') ], '>', \my $out, '2>', \my $err);
	$node->poll_query_until('postgres', 'SELECT (' . started($covered) . ") > $before + 40") or die 'no worker claims';
	my $halt = halt($scope);
	my $running = sql(started($covered));
	$worker->finish;
	my $late = "pg_xact_commit_timestamp(j.xmin) >= (SELECT pg_xact_commit_timestamp(h.xmin) FROM policy.halts h WHERE halt_id = $halt)";
	like($out, qr/number of transactions actually processed: \d{3}/, "workers went on after a halt of $scope") or diag($err);
	is(sql(started("$covered AND EXISTS (SELECT FROM policy.jobs j WHERE j.job_id = jobs.job_id AND $late)")), '0', 'and nothing that it covers was started by a commit after the halt\'s');
	is(sql(started($covered)), $running, 'what runs is what the halt\'s session saw when it was back');
	is(sql("SELECT count(*) FROM policy.halted_running WHERE halt_id = $halt"), $running, 'and is listed');
	is(sql("SELECT count(*) - count(DISTINCT job_key) FROM policy.decisions WHERE source = 'halt' AND reason LIKE 'halt $halt: %'"), '0', 'what it has stopped is recorded once a job');
	is(sql("SELECT count(*) FROM policy.jobs WHERE halt_id = $halt"), sql("SELECT count(*) FROM policy.halt_stops WHERE halt_id = $halt"), 'each out of the queue');
	is(sql("SELECT count(*) FROM policy.jobs WHERE halt_id = $halt AND NOT ($covered)"), '0', 'and nothing else');
	resume_all();
	claim() for 1 .. 9;
	is(sql("SELECT count(*) FROM policy.jobs WHERE state <> 'running' OR halt_id IS NOT NULL"), '0', 'once it is resumed they all start');
	sql('DELETE FROM policy.jobs');
}

#
# A prepared halt: claims wait for what becomes of it.
#
enqueue('acme', 3);
my $worker = PolicySession->new($node);
$worker->ask("SELECT 1 FROM policy_claim('w', 1)");
sql("BEGIN; SELECT policy_halt('{}', 'prepared'); PREPARE TRANSACTION 'halt'");
$worker->send("SELECT count(*) FROM policy_claim('w', 1)");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 'policy.halt_signal'::regclass")
	or die 'the claim does not wait';
pass('a claim waits for a prepared halt');
sql("COMMIT PREPARED 'halt'");
is($worker->answer, '0', 'and starts nothing once that is committed');
resume_all();
sql("BEGIN; SELECT policy_halt('{}', 'prepared'); PREPARE TRANSACTION 'halt'");
$worker->send("SELECT count(*) FROM policy_claim('w', 1)");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 'policy.halt_signal'::regclass")
	or die 'the claim does not wait';
sql("ROLLBACK PREPARED 'halt'");
is($worker->answer, '1', 'one that is rolled back has stopped nothing');

#
# NOTIFY: a channel of its own, with the commit
#
my $listener = PolicySession->new($node);
$listener->ask('LISTEN policy_halts');
sub told
{
	my $answer = $listener->ask('SELECT 1');
	return join ', ', $answer =~ /^Asynchronous notification "policy_halts" with payload "([^"]*)"/mg;
}
my $halts = 'SELECT policy_halt(\'{"tenant_id": "a"}\', \'x\'); SELECT policy_halt(\'{"tenant_id": "b"}\', \'x\')';
is(told(), '', 'nothing is told at first');
sql("BEGIN; $halts; COMMIT");
my @ids = split /\n/, sql('SELECT halt_id FROM policy.halts WHERE resumed_at IS NULL ORDER BY 1');
is(told(), '[' . join(',', @ids) . ']', 'the halts of a transaction are told at once');
sql("BEGIN; $halts; ROLLBACK");
is(told(), '', 'those that are taken back are not');
sql("SELECT policy_resume($ids[0])");
is(told(), "[$ids[0]]", 'a resume is told');
sql("SELECT policy_resume($ids[0])");
is(told(), '', 'once');
$listener->finish;
resume_all();

#
# A crash
#
my $standing = halt('{"tenant_id": "acme"}');
my $open = PolicySession->new($node);
$open->ask("BEGIN; SELECT policy_halt('{\"tenant_id\": \"other\"}', 'never committed')");
enqueue('other', 1);
$worker->ask("BEGIN; SELECT count(*) FROM policy_claim('w', 1)");
$node->stop('immediate');
$node->start;
is(sql('SELECT halt_id FROM policy.halts WHERE resumed_at IS NULL'), $standing, 'a crash keeps the halt that was committed, and no other');
is(claim(), '1', 'what the crash took back from a worker starts again');
is(sql("SELECT tenant_id FROM policy.jobs WHERE halt_id IS NOT NULL"), 'acme', 'and the rest stays stopped');

#
# A dump with a halt in force, and jobs aside
#
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$copy->append_conf('postgresql.conf', "fsync = off\n");
$copy->start;
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/halts.dump", $node->connstr('postgres') ], 'a dump');
$copy->command_ok([ 'pg_restore', '--exit-on-error', '-d', $copy->connstr('postgres'), "$dir/halts.dump" ], 'restores');
my $state = "SELECT (SELECT jsonb_agg(h ORDER BY halt_id) FROM policy.halts h), (SELECT jsonb_agg((job_id, state, halt_id) ORDER BY job_id) FROM policy.jobs),
	(SELECT jsonb_agg(s ORDER BY job_key) FROM policy.halt_stops s)";
is($copy->safe_psql('postgres', $state), sql($state), 'with what was halted');
is($copy->safe_psql('postgres', "SELECT count(*) FROM policy_claim('w', 9)"), '0', 'which starts nothing there');
is($copy->safe_psql('postgres', "SELECT (policy_resume($standing)).resumed_by IS NOT NULL; SELECT count(*) FROM policy_claim('w', 9)"), "t\n1", 'until it is resumed');
is($copy->safe_psql('postgres', "SELECT halt_id FROM policy_halt('{}', 'x')") > $standing, 1, 'and the next halt has another id');
is($copy->safe_psql('postgres', 'SELECT count(*) FROM policy_verify()'), '0', 'the evidence holds together');

done_testing();
