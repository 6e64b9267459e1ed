# The drill of examples/ runs as it is, under the gate, and leaves what it says.

use strict;
use warnings;

use FindBin;
use Cwd qw(abs_path);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = abs_path("$FindBin::RealBin/../..");
my $node = PostgreSQL::Test::Cluster->new('drill');
my ($out, $err);

$node->init;
$node->append_conf('postgresql.conf', 'policy_engine.require_simulation = on');
$node->start;
chdir $root or die "$root: $!";
ok( run_log(
		[ 'psql', '-X', '-q', '-v', 'jobs=2000', '-d', $node->connstr('postgres'), '-f', 'examples/drill.sql' ],
		'>', \$out, '2>', \$err),
	'the drill runs to its end');
like($err, qr/ERROR:  snapshot "v42" is outside the gate/, 'the gate refuses what flips too much');
unlike($err =~ s/^.*outside the gate.*$//mr, qr/ERROR|WARNING/, 'and nothing else goes wrong');
for my $step (qw(stage replay refuse acknowledge publish), 'watch the queue', 'watch the mix', 'roll back', 'decide',
	'let the queue go on')
{
	like($out, qr/^ \Q$step\E +\| +[0-9.]+ \| \S/m, "what it took: $step");
}
like($out, qr/2000 of 2000 jobs replayed: [1-9]\d* loosened, [1-9]\d* tightened/, 'every job was replayed');
like($out, qr/a read is ALLOW under v41/, 'the rollback holds for the next decision');
is($node->safe_psql('postgres', q{SELECT string_agg(action || ' ' || snapshot, ', ' ORDER BY release_id) FROM policy.releases}),
	'publish v41, publish v42, rollback v41', 'what was released');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname ~ '^drill_'}), '0', 'no role is left');

$node->stop;
done_testing();
