# Replicas of a system that is at work.  A hot standby decides and shows the queue,
# changes nothing, and goes on where the primary ended.  A node that gets snapshots
# and releases by logical replication dispatches jobs of its own under them.  One
# that gets everything keeps what the publisher decided, and decides nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyLive qw(bring_to_life contents as_role);
use PolicySession;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub new_node
{
	my ($name, $setting) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => $setting, extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', "fsync = off\nmax_logical_replication_workers = 8\nmax_sync_workers_per_subscription = 2\n");
	$node->start;
	return $node;
}

my $primary = new_node('primary', 'logical');
$primary->safe_psql('postgres', 'CREATE EXTENSION policy_engine');
bring_to_life($primary);

# What somebody is told who asks a node to do what it cannot.
sub refused
{
	my ($node, $role, $sql, $state, $name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role, '-v', 'VERBOSITY=sqlstate' ]);

	like($err, qr/ERROR:  $state$/m, $name);
	return;
}

#
# A dispatch node: releases of the primary, jobs of its own
#

my %node = map { $_ => new_node($_) } qw(dispatch in_binary archive);

# The subscription has the node's name, in another database the publication's.
sub subscribe
{
	my ($node, $publication, $options, $database) = @_;
	my $name = defined $database ? $publication : $node->name;
	my $from = $primary->connstr . ' dbname=postgres';

	$database //= 'postgres';
	$node->safe_psql($database, "CREATE SUBSCRIPTION $name CONNECTION '$from' PUBLICATION $publication $options");
	$node->poll_query_until($database, "SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')")
	  or die "$name was not synchronised";
	return;
}

# Everything that the primary has committed is applied.
sub applied
{
	my ($node) = @_;
	$primary->wait_for_catchup($node->name, 'replay', $primary->lsn('write'));
	return;
}

foreach my $node (@node{qw(dispatch in_binary)})
{
	$node->safe_psql('postgres', 'CREATE EXTENSION policy_engine');
	$node->safe_psql('postgres', 'CREATE ROLE asker LOGIN; CREATE ROLE alice LOGIN; CREATE ROLE worker LOGIN; CREATE ROLE leads; GRANT leads TO alice; '
		  . "SELECT policy_grant('asker', 'submit'), policy_grant('alice', 'approve'), policy_grant('worker', 'work')");
}
my $session = PolicySession->new($node{dispatch});
my $in_force = q{SELECT decision, reason, snapshot FROM policy_evaluate('{"topic": "drop.it"}'::jsonb)};
is($session->ask($in_force), 'DENY|no active policy|', 'a new node denies what it has no policy for');
is(as_role($node{dispatch}, 'asker', "SELECT job_id, state FROM policy_submit('{\"topic\": \"read.early\"}')"), '1|denied', 'its jobs, too');

$primary->safe_psql('postgres', 'CREATE PUBLICATION policies FOR TABLE policy.snapshots, policy.releases');
subscribe($node{dispatch}, 'policies', '');
subscribe($node{in_binary}, 'policies', 'WITH (binary = true)');
my $policies = <<'SQL';
SELECT snapshot, document, encode(sha256, 'hex'), note, staged_by, staged_at FROM policy.snapshots ORDER BY snapshot;
SELECT * FROM policy.releases ORDER BY release_id;
SELECT * FROM policy.active;
SQL
foreach my $node (@node{qw(dispatch in_binary)})
{
	my $name = $node->name;
	is($node->safe_psql('postgres', $policies), $primary->safe_psql('postgres', $policies), "$name: snapshots and releases are copied");
}
is($session->ask($in_force), 'DENY|no rule matched|v2', 'the node\'s sessions decide by them');

# Jobs of its own, ids of its own
is(as_role($node{dispatch}, 'asker', "SELECT string_agg(job_id || ' ' || state, ', ' ORDER BY job_id) FROM "
			. "unnest('{read.a,read.b,write.a,write.b,mail.a}'::text[]) t, policy_submit(jsonb_build_object('topic', t))"),
	'2 ready, 3 ready, 4 awaiting_approval, 5 awaiting_approval, 6 throttled', 'it decides jobs of its own');
is($node{dispatch}->safe_psql('postgres', "SELECT string_agg(DISTINCT snapshot || ' ' || release_id, ', ') FROM policy.decisions WHERE snapshot IS NOT NULL"),
	'v2 2', 'and records under which release');
is(as_role($node{dispatch}, 'worker', "SELECT topic FROM policy_claim('w')"), 'read.a', 'and gives them out');

# A publish of the primary is in force there once it is applied.
$primary->safe_psql('postgres', q{SELECT policy_stage('v3', 'version: v1
rules:
  - {id: read, match: {topics: ["read.*"]}, decision: deny, reason: read no more}
  - {id: write, match: {topics: ["write.*"]}, decision: require_approval, approval: {approvers: [leads]}}
  - {id: drop, match: {topics: ["drop.*"]}, decision: allow}', NULL)});
my $publisher = PolicySession->new($primary);
$publisher->ask("BEGIN; SELECT policy_publish('v3', 'third')");
$primary->safe_psql('postgres', 'CREATE TABLE unrelated (i int)');
applied($node{dispatch});
is($session->ask($in_force), 'DENY|no rule matched|v2', 'what has not committed is not in force anywhere');
$publisher->ask('COMMIT');
applied($_) foreach @node{qw(dispatch in_binary)};
is($session->ask($in_force), 'ALLOW|matched rule drop|v3', 'the next statement sees a publish once it is applied');
is($node{in_binary}->safe_psql('postgres', $in_force), 'ALLOW|matched rule drop|v3', 'sent as text or binary');
is(as_role($node{dispatch}, 'worker', "SELECT count(*) FROM policy_claim('w', 10)"), '0', 'a claim decides by it');
is($node{dispatch}->safe_psql('postgres', 'SELECT state, reason, source, release_id FROM policy.jobs JOIN policy.decisions USING (decision_id, decided_at) '
			. "WHERE jobs.topic = 'read.b'"),
	'denied|read no more|claim|3', 'so what was ready is denied, and that is recorded');
is(as_role($node{dispatch}, 'alice', 'SELECT status FROM policy_approve(1)'), 'superseded', 'a vote, too');
is($node{dispatch}->safe_psql('postgres', 'SELECT redecided FROM policy_maintain()'), '1', 'and maintenance');
is($node{dispatch}->safe_psql('postgres', "SELECT string_agg(rule || ' ' || status || ' ' || required, ', ' ORDER BY approval_id) FROM policy.approvals"),
	'write superseded 2, write superseded 2, write pending 1, write pending 1', 'what waited is asked for as it is now');
is(as_role($node{dispatch}, 'alice', 'SELECT string_agg(status, \',\') FROM unnest(\'{3,4}\'::bigint[]) i, policy_approve(i)'),
	'approved,approved', 'and can be approved');
$primary->safe_psql('postgres', "SELECT policy_rollback('v2', 'back')");
applied($node{dispatch});
is($session->ask($in_force), 'DENY|no rule matched|v2', 'a rollback is in force as well');
is(as_role($node{dispatch}, 'worker', "SELECT count(*) FROM policy_claim('w', 10)"), '0', 'and asks for two votes again');
is($node{dispatch}->safe_psql('postgres', "SELECT string_agg(state, ', ') FROM policy.jobs WHERE topic LIKE 'write.%'"),
	'awaiting_approval, awaiting_approval', 'so that what one had approved waits');
$node{dispatch}->safe_psql('postgres', 'SELECT policy_seal()');
is($node{dispatch}->safe_psql('postgres', 'SELECT * FROM policy_verify()'), '', 'evidence of its own is intact');
is($node{dispatch}->safe_psql('postgres', 'SELECT warnings FROM policy_status()'), '{}', 'and nothing is to be warned of');

# After a restart the node decides by what it has, the primary there or not.
$node{dispatch}->restart;
$session->finish;
is($node{dispatch}->safe_psql('postgres', $in_force), 'DENY|no rule matched|v2', 'restarted, the node decides the same');

#
# A node that gets the release before the snapshot
#

my $node = $node{in_binary};
$primary->safe_psql('postgres', 'CREATE PUBLICATION releases FOR TABLE policy.releases; CREATE PUBLICATION snapshots FOR TABLE policy.snapshots');
$node->safe_psql('postgres', 'CREATE DATABASE behind');
$node->safe_psql('behind', 'CREATE EXTENSION policy_engine');
$session = PolicySession->new($node, 'behind');
subscribe($node, 'releases', '', 'behind');
like($session->ask($in_force), qr/^DENY\|policy unavailable: /, 'behind: a release without its snapshot denies');
is($session->ask(q{SELECT state FROM policy_submit('{"topic": "read.x"}')}), 'denied', 'behind: its jobs, too');
$session->ask(<<'SQL');
INSERT INTO policy.jobs (job_id, topic, state, decision_id, decided_at, constraints, attempts, submitted_by, submitted_at)
	SELECT nextval('policy.job_id_seq'), 'read.restored', 'ready', decision_id, decided_at, '{}', 0, 'postgres', decided_at FROM policy.decisions
SQL
is($session->ask(q{SELECT count(*) FROM policy_claim('w')}), '0', 'behind: a claim gives nothing');
is($session->ask(q{SELECT state, attempts FROM policy.jobs WHERE topic = 'read.restored'}), 'ready|0', 'behind: and changes nothing');
subscribe($node, 'snapshots', '', 'behind');
is($session->ask($in_force), 'DENY|no rule matched|v2', 'behind: the same session decides once the snapshot is there');
is($session->ask(q{SELECT topic FROM policy_claim('w')}), 'read.restored', 'behind: and gives out');
$session->finish;

#
# An archive: everything, as the primary decided it
#

$node{archive}->safe_psql('postgres', 'CREATE EXTENSION policy_engine');
$primary->safe_psql('postgres', 'CREATE PUBLICATION everything FOR TABLE policy.snapshots, policy.releases, policy.jobs, policy.decisions, '
	  . 'policy.approvals, policy.approval_votes, policy.seals WITH (publish_via_partition_root = true)');
subscribe($node{archive}, 'everything', '');
my $everything = join "\n", map { "SELECT '$_', t::text FROM policy.$_ t ORDER BY 2;" } qw(snapshots releases jobs decisions approvals approval_votes seals);

sub same
{
	my ($name) = @_;

	applied($node{archive});
	is_deeply([ split /\n/, $node{archive}->safe_psql('postgres', $everything) ], [ split /\n/, $primary->safe_psql('postgres', $everything) ],
		"archive: $name");
	return;
}
same('what was there is copied');
as_role($primary, 'asker', q{INSERT INTO policy.jobs (topic) VALUES ('read.more'), ('write.more'), ('never.more')});
same('new jobs are as the primary has decided them');
$primary->safe_psql('postgres', "SELECT policy_claim('w', 100)");
same('claimed ones as they were claimed');
$primary->safe_psql('postgres', "SELECT policy_complete(job_id, claim_token) FROM policy.jobs WHERE state = 'running' AND topic LIKE 'read.%'; "
	  . "UPDATE policy.jobs SET payload = '2' WHERE topic = 'write.more'; SELECT policy_maintain()");
same('so are those that end or change');
is($node{archive}->safe_psql('postgres', 'SELECT * FROM policy_verify()'), '', 'archive: its evidence is intact, by the primary\'s seals');
is($node{archive}->safe_psql('postgres', 'SELECT is_called FROM policy.decision_id_seq'), 'f', 'archive: it has decided nothing itself');

#
# A hot standby
#

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
my $shown = <<'SQL';
SELECT approval_id, status, would_be, would_decide, would_reason, job_key, votes FROM policy_approvals();
SELECT approval_id, status FROM policy_approvals(true);
SELECT * FROM policy.traces ORDER BY job_id;
SELECT * FROM policy.decision_mix ORDER BY 1, 2, 3;
SELECT policy_simulate('{"tenant_id": "default", "job": {"topic": "write.x"}}');
SQL
sub standby_shows
{
	my ($name) = @_;

	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));
	is_deeply([ contents($standby), split /\n/, $standby->safe_psql('postgres', $shown) ],
		[ contents($primary), split /\n/, $primary->safe_psql('postgres', $shown) ], "standby: $name");
	return;
}
standby_shows('it shows the queue, and everything else, as the primary does');
$publisher->ask("SELECT policy_publish('v3', 'fourth')");
standby_shows('and what a new release would make of what waits');
like($standby->safe_psql('postgres', 'SELECT DISTINCT would_be FROM policy_approvals()'), qr/superseded/, 'standby: that it would be asked for anew');
$publisher->ask("SELECT policy_rollback('v2', 'back')");
standby_shows('and a rollback');

my %refused = (
	policy_submit => q{SELECT policy_submit('{"topic": "read.x"}')},
	'an insert' => q{INSERT INTO policy.jobs (topic) VALUES ('read.x')},
	'an update' => q{UPDATE policy.jobs SET payload = '1' WHERE state = 'ready'},
	policy_claim => q{SELECT policy_claim('w')},
	policy_heartbeat => q{SELECT policy_heartbeat(job_id, claim_token) FROM policy.jobs WHERE state = 'running'},
	policy_complete => q{SELECT policy_complete(job_id, claim_token) FROM policy.jobs WHERE state = 'running'},
	policy_fail => q{SELECT policy_fail(job_id, claim_token) FROM policy.jobs WHERE state = 'running'},
	policy_cancel => q{SELECT policy_cancel(job_id) FROM policy.jobs WHERE state = 'awaiting_approval'},
	policy_approve => q{SELECT policy_approve(approval_id) FROM policy_approvals()},
	policy_reject => q{SELECT policy_reject(approval_id) FROM policy_approvals()},
	policy_redecide => q{SELECT policy_redecide('{}', 'x')},
	policy_maintain => q{SELECT policy_maintain()},
	policy_seal => q{SELECT policy_seal()},
	policy_grant => q{SELECT policy_grant('asker', 'work')});
refused($standby, /approve|reject/ ? 'alice' : 'postgres', $refused{$_}, '25006', "standby: refused: $_") foreach sort keys %refused;

#
# Promoted, it goes on where the primary was.
#

$publisher->finish;
$node{$_}->stop foreach sort keys %node;
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));
$primary->stop;
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT * FROM policy_verify()'), '', 'promoted: nothing is wrong with the evidence');
is(as_role($standby, 'asker', "INSERT INTO policy.jobs (topic) VALUES ('read.promoted') RETURNING state"), 'ready', 'promoted: it decides');
is(as_role($standby, 'worker', "SELECT topic FROM policy_claim('w', 1, '{read.promoted}')"), 'read.promoted', 'promoted: and gives out');
my ($id, $token) = split /\|/, $standby->safe_psql('postgres', "SELECT job_id, claim_token FROM policy.jobs WHERE topic = 'write.running'");
is(as_role($standby, 'worker', "SELECT state FROM policy_complete($id, '$token')"), 'succeeded', 'promoted: what ran ends under its token');
my $half = $standby->safe_psql('postgres', "SELECT max(approval_id) FROM policy.approvals a JOIN policy.jobs j ON a.job_key = j.job_id::text WHERE topic = 'write.half'");
is(as_role($standby, 'bob', "SELECT status FROM policy_approve($half)"), 'approved', 'promoted: a vote completes what the primary had counted');
$standby->stop;
done_testing();
