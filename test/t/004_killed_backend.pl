# A backend that is killed in the middle of a publish, or of a long evaluation,
# leaves nothing half-written: what was in force before is in force after.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PolicySession;
use PolicyStory qw(stage state verdicts policy);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_policy_node('killed');

$node->append_conf('postgresql.conf', "restart_after_crash = on\n");
$node->restart;
stage($node, 'v41', slurp_file("$FindBin::RealBin/../seed/policy.yaml"));
stage($node, 'v42', policy('second', 'deny'));
$node->safe_psql('postgres', "SELECT policy_publish('v41', 'first')");
my $state = state($node);
my $verdicts = verdicts($node);

# Kills a session's backend, and waits until the server has recovered from it.
sub kill_backend
{
	my ($session) = @_;
	my $checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
	my $old = $node->safe_psql('postgres', $checkpointer);

	kill 'KILL', $session->pid or die 'no backend to kill';
	# The server takes every process down and starts others.
	$node->poll_query_until('postgres', "SELECT ($checkpointer) <> $old AND NOT pg_is_in_recovery()")
	  or die 'the server did not come back';
	$session->finish;
	return;
}

sub unchanged
{
	my ($when) = @_;

	is(state($node), $state, "what is stored is unchanged: $when");
	is(verdicts($node), $verdicts, "what is in force is unchanged: $when");
	return;
}

# In the middle of a publish
my $session = PolicySession->new($node);
$session->ask('BEGIN');
$session->ask("SELECT policy_stage('v43', 'version: v1\nrules: []\n', NULL)");
is($session->ask("SELECT release_id FROM policy_publish('v43', 'never')"), '2', 'a publish is under way');
kill_backend($session);
unchanged('killed after a publish, before its commit');

# While it waits for another's
my $first = PolicySession->new($node);
$session = PolicySession->new($node);
$first->ask("BEGIN; SELECT policy_publish('v42', 'never')");
$session->send("SELECT policy_publish('v42', 'never')");
$node->poll_query_until('postgres',
	"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = " . $session->pid)
  or die 'the second publish does not wait';
kill_backend($session);
$first->finish;
unchanged('killed while it waited to publish');

# In the middle of a long evaluation
$session = PolicySession->new($node);
$session->send(
	q{SELECT count(*) FROM generate_series(1, 1000000000) i, policy_evaluate(jsonb_build_object('topic', 'a', 'i', i))});
$node->poll_query_until('postgres',
	"SELECT state = 'active' AND backend_xmin IS NOT NULL FROM pg_stat_activity WHERE pid = " . $session->pid)
  or die 'the evaluation does not run';
kill_backend($session);
unchanged('killed in a long evaluation');

# One that is only cancelled, or terminated, takes nobody down.
my $bystander = PolicySession->new($node);
$session = PolicySession->new($node);
$session->send(
	q{SELECT count(*) FROM generate_series(1, 1000000000) i, policy_evaluate(jsonb_build_object('topic', 'a', 'i', i))});
$node->poll_query_until('postgres', "SELECT state = 'active' FROM pg_stat_activity WHERE pid = " . $session->pid)
  or die 'the evaluation does not run';
$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . $session->pid . ')');
like($session->answer, qr/57014/, 'a long evaluation can be cancelled');
is($session->ask(q{SELECT snapshot FROM policy_evaluate('{"topic": "a"}'::jsonb)}), 'v41', 'and its session goes on');
$session->ask("BEGIN; SELECT policy_publish('v42', 'never')");
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . $session->pid . ', 60000)');
$session->finish;
is($bystander->ask(q{SELECT snapshot FROM policy_evaluate('{"topic": "a"}'::jsonb)}), 'v41', 'others go on, too');
$bystander->finish;
unchanged('cancelled and terminated');

# And all goes on from there.
is($node->safe_psql('postgres', "SELECT release_id, previous_snapshot FROM policy_publish('v42', 'now')"),
	'2|v41', 'the next publish takes the next number');
is($node->safe_psql('postgres', q{SELECT matched_rule FROM policy_evaluate('{"topic": "a"}'::jsonb)}),
	'second', 'and is in force');

$node->stop;
done_testing();
