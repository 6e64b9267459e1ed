# A hot standby evaluates, read-only, and sees a publish once it is applied.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicySession;
use PolicyStory qw(stage state verdicts policy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$primary->append_conf('postgresql.conf', "fsync = off\n");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION policy_engine');
stage($primary, 'v41', slurp_file("$FindBin::RealBin/../seed/policy.yaml"));
stage($primary, 'v42', policy('second', 'deny'));
stage($primary, 'v43', policy('third', 'require_approval'));
$primary->safe_psql('postgres', "SELECT policy_publish('v41', 'first')");

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
my $in_force = q{SELECT snapshot, matched_rule FROM policy_evaluate('{"topic": "job.mcp-bridge.read.x"}'::jsonb)};

sub applied
{
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));
	return;
}

applied();
is(state($standby), state($primary), 'the standby has what the primary has');
is(verdicts($standby), verdicts($primary), 'and decides the same');

# Sessions that have looked already, in and outside a transaction
my $session = PolicySession->new($standby);
my $snapshot = PolicySession->new($standby);
is($session->ask($in_force), 'v41|allow-read', 'a session of the standby decides');
is($snapshot->ask("BEGIN ISOLATION LEVEL REPEATABLE READ; $in_force"), 'v41|allow-read',
	'so does one under REPEATABLE READ');

my $publisher = PolicySession->new($primary);
is($publisher->ask("BEGIN; SELECT release_id FROM policy_publish('v42', 'second')"), '2', 'a publish on the primary');
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
applied();
is($session->ask($in_force), 'v41|allow-read', 'is not seen before it commits');
is($publisher->ask('COMMIT'), '', 'it commits');
applied();
is($session->ask($in_force), 'v42|second', 'the next statement of the standby sees it once it is applied');
is($snapshot->ask($in_force), 'v42|second', 'under REPEATABLE READ, too');
is($snapshot->ask('SELECT max(release_id) FROM policy.releases; COMMIT'), '1', 'though its tables are those of its snapshot');

# Rolled back, whole and to a savepoint
$publisher->ask("BEGIN; SELECT policy_publish('v43', 'never'); ROLLBACK");
$publisher->ask("BEGIN; SAVEPOINT a; SELECT policy_publish('v43', 'never'); ROLLBACK TO a; COMMIT");
applied();
is($session->ask($in_force), 'v42|second', 'what was rolled back is never seen');
$publisher->ask("BEGIN; SAVEPOINT a; SELECT policy_publish('v43', 'third'); RELEASE a; COMMIT");
applied();
is($session->ask($in_force), 'v43|third', 'what a subtransaction released is');

# Read-only
for my $verb ("policy_stage('v44', 'version: v1\nrules: []\n', NULL)", "policy_publish('v41', NULL)",
	"policy_rollback('v41', NULL)")
{
	like($session->ask("SELECT $verb"), qr/25006/, "refused on a standby: " . substr($verb, 0, 15));
}
is($session->ask($in_force), 'v43|third', 'and its session goes on');

# As a primary
$standby->promote;
is($standby->safe_psql('postgres', "SELECT release_id, previous_snapshot FROM policy_rollback('v41', 'promoted')"),
	'4|v43', 'promoted, it releases');
is($session->ask($in_force), 'v41|allow-read', 'and its sessions see that');

$_->finish for $session, $snapshot, $publisher;
$standby->stop;
$primary->stop;
done_testing();
