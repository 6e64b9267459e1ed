# The stress of 030 with backends killed and the server restarted in the middle of
# it: what has committed is as sound as without.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PolicyStress;
use Test::More;

my $node = start_policy_node('stress_killed');
my $calls = 0;

$node->append_conf('postgresql.conf', "restart_after_crash = on\n");
$node->restart;
my $stress = PolicyStress->new($node, seed => $ENV{POLICY_SEED});

# One backend of the clients, any.
sub kill_one
{
	my ($code, $pid) = $node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE usename LIKE 'stress%' "
		  . "AND state <> 'idle' ORDER BY random() LIMIT 1");
	return defined $pid && $pid =~ /^(\d+)$/ && kill 'KILL', $1;
}

my ($killed, $terminated, $restarted) = (0, 0, 0);
$stress->run(
	$ENV{POLICY_STRESS_SECONDS} // 25,
	sub {
		$calls++;
		if ($calls % 7 == 3)
		{
			$killed += kill_one() ? 1 : 0;
		}
		elsif ($calls % 7 == 6)
		{
			$node->stop('immediate');
			$node->start;
			$restarted++;
		}
		else
		{
			$node->psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
				  . "WHERE usename LIKE 'stress%' ORDER BY random() LIMIT 1");
			$terminated++;
		}
	});
note("$killed killed, $terminated terminated, $restarted restarts");
ok($node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'the server is there');
ok($restarted > 0, 'it was restarted in the middle');
$stress->prove;
$node->stop;
done_testing();
