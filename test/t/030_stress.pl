# Sixteen clients submit, change, vote, claim, complete, fail, cancel, maintain,
# publish and roll back at random; then SQL proves what must hold of it all.
# POLICY_STRESS_SECONDS (60) is how long, POLICY_SEED what chance begins with.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PolicyStress;
use Test::More;

my $node = start_policy_node('stress');
my $stress = PolicyStress->new($node, seed => $ENV{POLICY_SEED});

$stress->run($ENV{POLICY_STRESS_SECONDS} // 60);
$stress->prove;
$node->stop;
done_testing();
