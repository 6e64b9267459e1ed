# A live system, dumped in the middle of its work, goes on in an empty cluster:
# jobs that run, wait, are held, retried or done, votes, evidence in the default
# partition and in months, seals and duties.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @roles = qw(live_agent live_worker live_alice live_bob live_ops);
my $roles = join '; ', map { "CREATE ROLE $_ LOGIN" } @roles;

my $origin = start_policy_node('live_origin');
my $dir = $origin->basedir;

# What somebody's login asks.
sub as
{
	my ($node, $role, $sql) = @_;
	return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql");
}

$origin->safe_psql('postgres', <<"SQL");
$roles;
SELECT policy_grant('live_agent', 'submit', '{"tenant_id": "acme"}');
SELECT policy_grant('live_worker', 'work');
SELECT policy_grant('live_alice', 'approve'); SELECT policy_grant('live_bob', 'approve');
SELECT policy_grant('live_ops', 'operate'); SELECT policy_grant('live_ops', 'audit');
SELECT policy_stage('v1', '
version: v1
rules:
  - {id: go, match: {topics: ["go.*"]}, decision: allow, constraints: {max_retries: 2, max_runtime_sec: 3600}}
  - {id: slow, match: {topics: ["slow.*"]}, decision: throttle, retry_after_sec: 86400}
  - {id: ask, match: {topics: ["ask.*"]}, decision: require_approval, approval: {min_approvals: 2}}
evidence: {mask: ["\$.payload.secret"]}
', 'first');
SELECT policy_publish('v1', 'go');
SQL

# One job in every state.
my %job;
for my $topic (qw(go.run go.retry go.done go.ready slow.wait ask.half ask.ready ask.reject ask.pending no.way go.cancel))
{
	$job{$topic} = as($origin, 'live_agent',
		"SELECT job_id FROM policy_submit('{\"topic\": \"$topic\", \"payload\": {\"secret\": 1, \"n\": 2}}')");
}
my %approval = map { $_ => $origin->safe_psql('postgres', "SELECT approval_id FROM policy.approvals WHERE job_key = '$job{$_}'") }
  grep { /^ask/ } keys %job;
as($origin, 'live_alice', "SELECT policy_approve($approval{'ask.half'}, 'one')");
as($origin, 'live_alice', "SELECT policy_approve($approval{'ask.ready'}, 'one')");
as($origin, 'live_bob', "SELECT policy_approve($approval{'ask.ready'}, 'two')");
as($origin, 'live_bob', "SELECT policy_reject($approval{'ask.reject'}, 'no')");
as($origin, 'live_agent', "SELECT policy_cancel($job{'go.cancel'}, 'enough')");
my %token = map { $_ => as($origin, 'live_worker', "SELECT claim_token FROM policy_claim('w', 1, '{$_}')") }
  qw(go.run go.retry go.done);
as($origin, 'live_worker', "SELECT policy_fail($job{'go.retry'}, '$token{'go.retry'}', 'once')");
as($origin, 'live_worker', "SELECT policy_complete($job{'go.done'}, '$token{'go.done'}', '{\"r\": 1}')");
as($origin, 'live_ops', 'SELECT * FROM policy_maintain()');

# Evidence of a month that has a partition of its own: a decision as of next month.
$origin->safe_psql('postgres', <<'SQL');
INSERT INTO policy.decisions SELECT nextval('policy.decision_id_seq'), date_trunc('month', now()) + interval '1 month 3 days', source,
	job_table, job_key, job_hash, tenant_id, actor_id, topic, job, decision, reason, matched_rule, matched_rules, monitored_rules,
	constraints, snapshot, release_id, role, session_role, application_name, 'written ahead'
FROM policy.decisions ORDER BY decision_id LIMIT 1;
SELECT * FROM policy_seal();
SQL

my $state_of = <<'SQL';
SELECT j.* FROM policy.jobs j ORDER BY job_id;
SELECT * FROM policy.decisions ORDER BY decision_id;
SELECT tableoid::regclass, count(*) FROM policy.decisions GROUP BY 1 ORDER BY 1;
SELECT * FROM policy.approvals ORDER BY approval_id;
SELECT * FROM policy.approval_votes ORDER BY approval_id, approver;
SELECT * FROM policy.seals ORDER BY seal_id;
SELECT * FROM policy.duties ORDER BY role, duty;
SELECT * FROM policy_verify();
SQL
my $state = $origin->safe_psql('postgres', $state_of);
is($origin->safe_psql('postgres', 'SELECT string_agg(DISTINCT state, \' \' ORDER BY state) FROM policy.jobs'),
	'awaiting_approval cancelled denied ready rejected running succeeded throttled', 'jobs are in every state');
unlike($state, qr/"secret": 1\b.*ALLOW/, 'what is masked is not in evidence');

$origin->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/live.dump", $origin->connstr('postgres') ], 'pg_dump, custom format');
$origin->command_ok([ 'pg_dump', '-f', "$dir/live.sql", $origin->connstr('postgres') ], 'pg_dump, plain');
$origin->stop;

# The restored system goes on where the other was stopped.
sub goes_on
{
	my ($node, $name) = @_;

	is(as($node, 'live_worker', "SELECT state FROM policy_complete($job{'go.run'}, '$token{'go.run'}', '{}')"),
		'succeeded', "$name: a job that ran is completed with its token");
	is(as($node, 'live_bob', "SELECT status FROM policy_approve($approval{'ask.half'}, 'two')"), 'approved',
		"$name: the second vote approves");
	is(as($node, 'live_alice', "SELECT status FROM policy_reject($approval{'ask.pending'}, 'no')"), 'rejected',
		"$name: and another is rejected");
	is(as($node, 'live_worker', "SELECT string_agg(topic, ' ' ORDER BY topic) FROM policy_claim('w', 10)"),
		'ask.half ask.ready go.ready go.retry', "$name: what is ready is claimed");
	is($node->safe_psql('postgres', "SELECT attempts FROM policy.jobs WHERE job_id = $job{'go.retry'}"), '2',
		"$name: a retry counts on");
	is(as($node, 'live_agent', "SELECT tenant_id || ' ' || state || ' ' || (job_id > $job{'go.cancel'})::text FROM policy_submit('{\"topic\": \"go.new\"}')"),
		'acme ready true', "$name: a new job gets a new id, and its submitter's identity");
	my ($status, $out, $err) = $node->psql('postgres', 'TRUNCATE policy.decisions_default');
	like($err, qr/append-only/, "$name: evidence is append-only");
	as($node, 'live_ops', 'SELECT * FROM policy_maintain()');
	is($node->safe_psql('postgres', 'SELECT * FROM policy_verify()'), '', "$name: and sealed as before");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM policy_status() s, unnest(s.warnings)'), '0', "$name: nothing is amiss");
	return;
}

sub restored
{
	my ($name, @command) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', "fsync = off\n");
	$node->start;
	$node->safe_psql('postgres', $roles);
	$node->command_ok([ @command[0 .. $#command - 1], '-d', $node->connstr('postgres'), $command[-1] ],
		"$name: restored into an empty cluster");
	is($node->safe_psql('postgres', $state_of), $state, "$name: everything is as it was");
	goes_on($node, $name);
	$node->stop;
	$node->clean_node;
	return;
}

restored('live_custom', 'pg_restore', '--exit-on-error', "$dir/live.dump");
restored('live_parallel', 'pg_restore', '--exit-on-error', '-j2', "$dir/live.dump");
restored('live_single', 'pg_restore', '--exit-on-error', '--single-transaction', "$dir/live.dump");
restored('live_plain', 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', "--file=$dir/live.sql");

done_testing();
