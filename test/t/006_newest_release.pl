# A session takes no look at policy.releases while nothing is released, and misses
# nothing that is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicySession;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
my $job = q({"topic": "job.a"});
my $in_force = "SELECT snapshot FROM policy_evaluate('$job')";

my $scans = q{SELECT pg_stat_get_xact_numscans('policy.releases'::regclass) + coalesce(sum(pg_stat_get_xact_numscans(indexrelid)), 0) FROM pg_index WHERE indrelid = 'policy.releases'::regclass};

# What a decision is made under, and whether policy.releases was read for it.
sub decided
{
	my ($session) = @_;
	my ($before, $snapshot, $after) = split /\n/, $session->ask("BEGIN; $scans; $in_force; $scans; COMMIT");

	return "$snapshot, " . ($after == $before ? 'known' : 'looked');
}

$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION policy_engine;
	SELECT policy_stage('v' || i, format(E'version: v1\nrules:\n  - {id: rule-%s, decision: allow}\n', i)::policy_document, NULL)
	FROM generate_series(1, 9) i;
	SELECT policy_publish('v1', NULL)});

my $session = PolicySession->new($node);
my $publisher = PolicySession->new($node);

is(decided($session), 'v1, looked', 'a session\'s first decision looks for the newest release');
is(decided($session), 'v1, looked', 'so does the second, which is worth remembering');
is(decided($session), 'v1, known', 'from then on none is needed');

# Others' releases
$publisher->ask("BEGIN; SELECT policy_publish('v2', NULL)");
is(decided($session), 'v1, known', 'an uncommitted release changes nothing');
$publisher->ask('ROLLBACK');
is(decided($session), 'v1, known', 'nor one that is rolled back');
$publisher->ask("SELECT policy_publish('v2', NULL)");
is(decided($session), 'v2, looked', 'one that is committed is seen by the next statement');
is(decided($session), 'v2, known', 'and known from then on');
$publisher->ask("SET session_replication_role = replica; INSERT INTO policy.releases (release_id, action, snapshot, released_by, released_at) "
	  . "VALUES (3, 'publish', 'v3', 'elsewhere', now()); RESET session_replication_role");
is(decided($session), 'v3, looked', 'so is one that was replicated');
$publisher->ask("BEGIN; SAVEPOINT a; SELECT policy_publish('v4', NULL); ROLLBACK TO a; COMMIT");
is(decided($session), 'v3, known', 'one that was rolled back to a savepoint is no release');

# Own releases
is($session->ask("BEGIN; SELECT (policy_publish('v4', NULL)).snapshot; $in_force"), "v4\nv4", 'an own release is seen before its commit');
is($session->ask("SAVEPOINT a; SELECT (policy_publish('v5', NULL)).snapshot; $in_force; ROLLBACK TO a; $in_force"), "v5\nv5\nv4",
	'and what a savepoint takes back is not');
is($session->ask("ROLLBACK; $in_force"), 'v3', 'rolled back, it never was');
is(decided($session), 'v3, known', 'and what was before is known');
$session->ask("SELECT policy_publish('v4', NULL)");
is(decided($session), 'v4, looked', 'committed, it is looked for once');
is(decided($session), 'v4, known', 'and known');

# Older snapshots
$session->ask("BEGIN; DECLARE old CURSOR FOR SELECT v.snapshot FROM generate_series(1, 1000) i, policy_evaluate(format('{\"topic\": \"job.%s\"}', i)::jsonb) v");
is($session->ask('FETCH old'), 'v4', 'a cursor that was opened before');
$publisher->ask("SELECT policy_publish('v5', NULL)");
is($session->ask($in_force), 'v5', 'a release');
is($session->ask('FETCH old'), 'v4', 'goes on under the policy that it was opened under');
is($session->ask("COMMIT; $in_force"), 'v5', 'which nothing else does');
my $old = PolicySession->new($node);
my $reader = PolicySession->new($node);
my $exported = $old->ask('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot()');
$publisher->ask("SELECT policy_publish('v6', NULL)");
is($reader->ask($in_force), 'v6', 'a session that knows the newest release');
is($reader->ask("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '$exported'; $in_force"), 'v6',
	'has the newest one under REPEATABLE READ, however old its snapshot is');
is($reader->ask("SET LOCAL force_parallel_mode = on; SET LOCAL parallel_setup_cost = 0; SELECT DISTINCT v.snapshot "
	  . "FROM (SELECT format('{\"topic\": \"%s\"}', relname)::jsonb AS job FROM pg_class) j, policy_evaluate(j.job) v"), 'v5',
	'but in a parallel query, which has one snapshot for all its processes');
$_->ask('COMMIT') for $old, $reader;
$_->finish for $old, $reader;

# Messages that are lost in the crowd
$node->safe_psql('postgres', 'DO $$ BEGIN FOR i IN 1 .. 6000 LOOP CREATE TEMP TABLE t (a int); DROP TABLE t; COMMIT; END LOOP; END $$;'
	  . "SELECT policy_publish('v7', NULL)");
is(decided($session), 'v7, looked', 'a session that has missed messages looks');

# The newest row is not the last where it took the room of one that was rolled back
$node->safe_psql('postgres', 'VACUUM policy.releases');
$publisher->ask("SELECT policy_publish('v9', NULL)");
is($publisher->ask('SELECT (SELECT ctid FROM policy.releases ORDER BY release_id DESC LIMIT 1) < max(ctid) FROM policy.releases'),
	't', 'a release in front of older ones');
is($session->ask($in_force), 'v9', 'is in force');

# Tables that anybody may have changed
$node->safe_psql('postgres', 'ALTER TABLE policy.releases DISABLE TRIGGER release_made');
is(decided($session), 'v9, looked', 'without the trigger that signals releases, a session looks');
is(decided($session), 'v9, looked', 'each time');
$publisher->ask("INSERT INTO policy.releases (release_id, action, snapshot, released_by, released_at) VALUES (9, 'publish', 'v8', 'by hand', now())");
is(decided($session), 'v8, looked', 'and sees what was not signalled');
$node->safe_psql('postgres', 'ALTER TABLE policy.releases ENABLE ALWAYS TRIGGER release_made');
is(decided($session), 'v8, looked', 'with it,');
is(decided($session), 'v8, known', 'it needs no look again');
$node->safe_psql('postgres', 'DROP EXTENSION policy_engine; CREATE EXTENSION policy_engine');
like($session->ask("SELECT v.decision, v.reason FROM policy_evaluate('$job') v"), qr/^DENY\|no active policy$/,
	'what it knew goes with the extension');

$_->finish for $session, $publisher;
$node->stop;
done_testing();
