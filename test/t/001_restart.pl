# The active policy and its verdicts are the same after a restart and a crash.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PolicySession;
use PolicyStory qw(stage state verdicts policy);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_policy_node('restart');

stage($node, 'v41', slurp_file("$FindBin::RealBin/../seed/policy.yaml"));
stage($node, 'v42', policy('nothing', 'deny'));
$node->safe_psql('postgres', "SELECT policy_publish('v41', 'first')");
$node->safe_psql('postgres', "SELECT policy_publish('v42', 'second')");
$node->safe_psql('postgres', "SELECT policy_rollback('v41', 'back')");
my $state = state($node);
my $verdicts = verdicts($node);

like($verdicts, qr/^2\|REQUIRE_APPROVAL\|Prod writes require human approval\|/m, 'the policy decides');

$node->restart;
is(state($node), $state, 'what is stored is the same after a restart');
is(verdicts($node), $verdicts, 'verdicts are the same after a restart');

# A crash, with one publish committed just before and one not.
$node->safe_psql('postgres', "SELECT policy_publish('v42', 'last')");
stage($node, 'v43', policy('never'));
$state = state($node);
$verdicts = verdicts($node);
my $session = PolicySession->new($node);
is($session->ask("BEGIN; SELECT (policy_publish('v43', 'never')).release_id"), '5', 'a publish is under way');
is($session->ask(q{SELECT matched_rule FROM policy_evaluate('{"topic": "a"}'::jsonb)}), 'never', 'and seen by its transaction');
$node->stop('immediate');
$session->finish;

$node->start;
is(state($node), $state, 'what was committed is stored after a crash, and nothing else');
is(verdicts($node), $verdicts, 'verdicts are the same after a crash');
is($node->safe_psql('postgres', "SELECT release_id, previous_snapshot FROM policy_publish('v43', 'now')"),
	'5|v42', 'the next publish takes the next number');
is($node->safe_psql('postgres', q{SELECT matched_rule FROM policy_evaluate('{"topic": "a"}'::jsonb)}),
	'never', 'and is in force');

$node->stop;
done_testing();
