# A replay that others look at, cancel and kill; and two who publish at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicySession;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "policy_engine.require_simulation = on\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION policy_engine;
	SELECT policy_stage('v' || i, format(E'version: v1\ndefaults: {decision: allow, constraints: {}}\nrules:\n  - {id: r%s, match: {topics: [a]}, decision: allow}\n', i)::policy_document, NULL)
	FROM generate_series(1, 4) i;
	SELECT policy_stage('strict', E'version: v1\nrules: []\n', NULL);
	SELECT policy_publish('v1', NULL);
	INSERT INTO policy.jobs (topic) SELECT 'a' FROM generate_series(1, 1200)});

my $holder = PolicySession->new($node);
my $replayer = PolicySession->new($node);
my $other = PolicySession->new($node);

# Waits for the holder at its 1,300th job, with two fetches of 500 behind it.
my $waiting = q{SELECT (s.jobs, s.flips, s.tightened)::text FROM policy_replay_query('strict', $$
	SELECT jsonb_build_object('topic', 'a', 'payload', CASE WHEN i = 1300 THEN pg_advisory_xact_lock_shared(7)::text END) FROM generate_series(1, 2000) i$$) s};
my $progress = 'SELECT (snapshot, jobs, expected > 0, simulation_id)::text FROM policy.replay_progress ORDER BY 1';
my $kept = 'SELECT (SELECT count(*) FROM policy.simulations) || \' \' || (SELECT count(*) FROM policy.simulation_flips)';

is($other->ask($progress), '', 'nothing is replayed');
$holder->ask('SELECT pg_advisory_lock(7)');
$replayer->send($waiting);
ok($node->poll_query_until('postgres', 'SELECT jobs FROM policy.replay_progress', '1000'), 'others see how far a replay is');
like($other->ask($progress), qr/^\(strict,1000,t,1\)$/, 'of which candidate');
is($other->ask($kept), '0 0', 'and nothing of what it has found');
$node->safe_psql('postgres', "INSERT INTO policy.jobs (topic) SELECT 'poured' FROM generate_series(1, 50)");
is($other->ask(q{SELECT (jobs, flips)::text FROM policy_replay('v2')}), '(1250,0)', 'another replay, while jobs pour in, has those that are there');

# Cancelled
$other->ask('SELECT pg_cancel_backend(' . $replayer->pid . ')');
like($replayer->answer, qr/57014/, 'a replay is cancelled');
is($other->ask($progress), '', 'and is no longer shown');
is($other->ask($kept), '1 0', 'nothing is left of it');

# To its end
$replayer->send($waiting);
ok($node->poll_query_until('postgres', 'SELECT jobs FROM policy.replay_progress', '1000'), 'the same again');
$holder->ask('SELECT pg_advisory_unlock(7)');
is($replayer->answer, '(2000,2000,2000)', 'ends');
is($other->ask($progress), '', 'and is no longer shown');
is($other->ask($kept), '2 2000', 'with all its flips');

# Killed
$holder->ask('SELECT pg_advisory_lock(7)');
$replayer->send($waiting);
$node->poll_query_until('postgres', 'SELECT jobs FROM policy.replay_progress', '1000');
$other->ask('SELECT pg_terminate_backend(' . $replayer->pid . ')');
ok($node->poll_query_until('postgres', "SELECT count(*) FROM policy.replay_progress", '0'), 'one that is terminated goes, too');
is($other->ask($kept), '2 2000', 'and leaves nothing');
$holder->ask('SELECT pg_advisory_unlock(7)');

# Shared out among workers: each job's tenant is who has replayed it
my $shared = PolicySession->new($node);
my %workers = (none => 'max_parallel_workers_per_gather = 0', two => 'max_parallel_workers_per_gather = 2');
my $simulation = q{SELECT to_jsonb(s) - '{simulation_id,started_at,finished_at,until,run_by,query}'::text[] FROM policy.simulations s ORDER BY simulation_id DESC LIMIT 1};
my $flips = q{SELECT jsonb_agg(to_jsonb(f) - '{simulation_id,evaluated_at,tenant_id,job}'::text[] ORDER BY f.flip) FROM policy.simulation_flips f WHERE f.simulation_id = (SELECT max(simulation_id) FROM policy.simulations)};
my $replayers = q{SELECT (count(DISTINCT tenant_id), bool_or(tenant_id = pg_backend_pid()::text))::text FROM policy.simulation_flips WHERE simulation_id = (SELECT max(simulation_id) FROM policy.simulations)};

$node->safe_psql('postgres', q{
	CREATE FUNCTION process() RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS 'BEGIN RETURN pg_backend_pid(); END';
	CREATE FUNCTION here() RETURNS text LANGUAGE plpgsql PARALLEL RESTRICTED AS 'BEGIN RETURN pg_backend_pid(); END';
	CREATE TABLE mine AS SELECT n FROM generate_series(1, 20000) n;
	INSERT INTO policy.jobs (topic, tenant_id) SELECT 'b', 'acme' FROM generate_series(1, 3000);
	ANALYZE mine, policy.decisions});
$shared->ask("SET $_")
  for 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'min_parallel_table_scan_size = 0', 'parallel_leader_participation = off';
for my $replay (
	[ 'recorded jobs', q{policy_replay('strict')} ],
	[ 'a query of jobs', q{policy_replay_query('strict', 'SELECT jsonb_build_object(''topic'', ''a'', ''tenant_id'', process()) FROM mine; -- mine')} ])
{
	my ($what, $call) = @$replay;
	my %found;

	for my $count (qw(none two))
	{
		$shared->ask("SET $workers{$count}");
		$shared->ask("SELECT simulation_id FROM $call");
		$found{$count} = [ map { $shared->ask($_) } $simulation, $flips, $replayers ];
	}
	like($found{two}[0], qr/"flips": [1-9]/, "$what are replayed");
	is($found{two}[0], $found{none}[0], 'by two workers to the same end as by none');
	is($found{two}[1], $found{none}[1], 'with the same flips, in the same order');
	next if $what ne 'a query of jobs';
	is($found{none}[2], '(1,t)', 'one process replays them alone');
	is($found{two}[2], '(2,f)', 'or two workers do');
}
$shared->ask(q{SELECT simulation_id FROM policy_replay_query('strict', 'SELECT jsonb_build_object(''topic'', ''a'', ''tenant_id'', here()) FROM mine')});
is($shared->ask($replayers), '(1,t)', 'a query that workers must not run is not shared out');

# Its memory does not go by how many jobs flip.
like($shared->ask(q{SET work_mem = '1GB'; SET log_temp_files = 0; SET client_min_messages = log;
	SELECT flips FROM policy_replay_query('strict', 'SELECT ''{"topic": "a"}''::jsonb FROM mine')}), qr/^20000\n(?s:.*)temporary file: .* size \d{7}/m,
	'flips wait on disk until the query is done, however much memory there is');
$shared->finish;

# Two who publish at once, both replayed against v1
$other->ask("SELECT policy_replay('v2'), policy_replay('v3')");
my $first = PolicySession->new($node);
is($first->ask("BEGIN; SELECT (policy_publish('v2', NULL)).snapshot"), 'v2', 'one publishes');
$other->send("SELECT policy_publish('v3', NULL)");
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"), 'another waits');
$first->ask('COMMIT');
like($other->answer, qr/PE016/, 'and is told that somebody else was first');
like($other->ask("SELECT policy_publish('v3', NULL)"), qr/PE005/, 'its simulation compares with what is no longer active');
$other->ask("SELECT policy_replay('v3')");
is($other->ask("SELECT (policy_publish('v3', NULL)).previous_snapshot"), 'v2', 'replayed again, it is published');

# The way out waits for nobody
$first->ask('BEGIN; LOCK TABLE policy.decisions IN ACCESS EXCLUSIVE MODE');
is($other->ask(q{SELECT (action, snapshot, loosened)::text FROM policy_rollback('v2', 'out')}), '(rollback,v2,)', 'a rollback does not wait for jobs that are locked, and tells no number then');
$first->ask('COMMIT');
is($other->ask(q{SELECT (action, snapshot, loosened)::text FROM policy_rollback('v3', 'back')}), '(rollback,v3,0)', 'but does once they are not');

# What it is told to type, in a transaction that may not see the newest jobs
my $name = q{it's \\ "100%" $$x$$; --};
$node->safe_psql('postgres', q{SELECT policy_stage($name$} . $name . q{$name$, 'version: v1', NULL)});
for my $call (qw(policy_replay policy_publish))
{
	my $note = $call eq 'policy_publish' ? ', NULL' : '';
	my $refused = $other->ask("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM $call(\$name\$$name\$name\$$note)");
	my ($hint) = $refused =~ /^HINT:\s+(.*;)$/m;

	like($refused, qr/25000/, "$call refuses it");
	like($other->ask($hint), $call eq 'policy_replay' ? qr/^\d+\|it's/ : qr/PE006/, 'and its hint is the next command to type');
	$other->ask('ROLLBACK');
}

$_->finish for $holder, $other, $first;
$node->stop;
done_testing();
