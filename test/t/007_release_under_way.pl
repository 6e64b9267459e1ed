# A release is in force as soon as it can be seen: not a moment later, when other sessions
# have got its message.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PolicySession;
use PolicyStory qw(stage policy);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_policy_node('under_way');
my $job = q('{"topic": "a"}'::jsonb);
my $go = $node->basedir . '/go';
my $module = "$FindBin::RealBin/../modules/late_commit";

$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->restart;
stage($node, "v$_", policy("rule-$_")) for 1 .. 4;
$node->safe_psql('postgres', "SELECT policy_publish('v1', NULL)");
$node->safe_psql('postgres', "INSERT INTO policy.jobs (topic) VALUES ('a'), ('b'), ('c')");

# What a statement sees, and what it decides by.
my $seen = "SELECT a.snapshot, v.snapshot FROM policy.active a, policy_evaluate($job) v";
my $claimed = "SELECT a.snapshot, j.decision_id FROM policy.active a, policy_claim('w') j";
my $inserted = q{INSERT INTO policy.jobs (topic) SELECT 'by ' || snapshot FROM policy.active RETURNING topic, (SELECT matched_rule FROM policy_evaluate(}
  . "$job))";

my $session = PolicySession->new($node);
my $repeatable = PolicySession->new($node);
$session->ask($seen) for 1 .. 3;
$repeatable->ask("BEGIN ISOLATION LEVEL REPEATABLE READ; $seen");

# Lets a session release, and stand still when others begin to see it.
sub release_late
{
	my ($releaser, $release) = @_;
	my $releases = $node->safe_psql('postgres', 'SELECT count(*) FROM policy.releases');

	unlink $go;
	$releaser->ask("LOAD '$module'");
	$releaser->send("BEGIN; SET LOCAL late_commit.until = '$go'; $release; COMMIT");
	return $node->poll_query_until('postgres', "SELECT count(*) > $releases FROM policy.releases");
}

sub go_on
{
	my ($releaser) = @_;

	append_to_file($go, '');
	return $releaser->answer;
}

my $releaser = PolicySession->new($node);
ok(release_late($releaser, "SELECT snapshot FROM policy_publish('v2', NULL)"), 'a release is seen');
is($session->ask($seen), 'v2|v2', 'who sees it decides by it');
is($session->ask($seen), 'v2|v2', 'again');
is($repeatable->ask("SELECT v.snapshot FROM policy_evaluate($job) v"), 'v2', 'under REPEATABLE READ, too');
is($session->ask($inserted), 'by v2|rule-2', 'so does an INSERT');
my ($snapshot, $decision_id) = split /\|/, $session->ask($claimed);
is($snapshot, 'v2', 'who claims sees it');
is($session->ask("SELECT source, snapshot FROM policy.decisions WHERE decision_id = $decision_id"), 'claim|v2', 'and is given what it allows');
is(go_on($releaser), 'v2', 'its commit ends');
is($session->ask($seen), 'v2|v2', 'and it is in force still');

# One that was prepared is committed by another session.
$releaser->ask("BEGIN; SELECT policy_publish('v3', NULL); PREPARE TRANSACTION 'v3'");
is($session->ask($seen), 'v2|v2', 'one that is prepared is not in force');
is($session->ask($seen), 'v2|v2', 'however often it is asked');
$releaser->ask("COMMIT PREPARED 'v3'");
is($session->ask($seen), 'v3|v3', 'and is when it is committed');

# One that is rolled back leaves no trace.
$releaser->ask("BEGIN; SELECT policy_publish('v4', NULL)");
is($session->ask($seen), 'v3|v3', 'an open one is not in force');
is($session->ask("SET lock_timeout = '5s'; SELECT pg_total_relation_size('policy.release_signal')"), '0', 'and nobody waits for it');
$node->command_ok([ 'pg_dump', '--lock-wait-timeout=5s', '-f', $node->basedir . '/dump.sql', $node->connstr('postgres') ], 'nor does pg_dump');
$releaser->ask('ROLLBACK');
is($session->ask($seen), 'v3|v3', 'nor after it was rolled back');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE relation = 'policy.release_signal'::regclass}), '0', 'nobody holds the signal');

$repeatable->ask('COMMIT');
$_->finish for $session, $repeatable, $releaser;
$node->stop;
done_testing();
