# Velocities on a server: many sessions at one rate, databases, restarts, a standby,
# and a table of counters that is full.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicySession;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "fsync = off\nmax_connections = 50\nrestart_after_crash = on\n");
$node->start;

sub sql
{
	my ($query, $database) = @_;
	return $node->safe_psql($database // 'postgres', $query);
}

# Puts a rule in force: its name, limit, window and more in the velocity's mapping.
sub release
{
	my ($rule, $limit, $window, $database) = @_;
	my $name = "$rule $limit $window";

	return sql(<<"SQL", $database);
SELECT policy_stage('$name', 'version: v1
defaults: {decision: allow}
rules:
  - {id: $rule, decision: throttle, velocity: {max_requests: $limit, window_seconds: $window, key: tenant}}', NULL)
	WHERE NOT EXISTS (SELECT FROM policy.snapshots WHERE snapshot = '$name') \\g /dev/null
SELECT policy_publish('$name', NULL) \\g /dev/null
SQL
}

sub states
{
	my ($tenant, $database) = @_;
	return sql("SELECT state, count(*) FROM policy.jobs WHERE tenant_id = '$tenant' GROUP BY state ORDER BY state", $database);
}

sub insert
{
	my ($tenant) = @_;
	return "INSERT INTO policy.jobs (topic, tenant_id) VALUES ('call', '$tenant')";
}

sub verdict
{
	my ($tenant, $on) = @_;
	return ($on // $node)->safe_psql('postgres',
		"SELECT decision, retry_after_sec FROM policy_evaluate('{\"topic\": \"call\", \"tenant_id\": \"$tenant\"}'::jsonb)");
}

sql('CREATE EXTENSION policy_engine');
sql('CREATE DATABASE other');
sql('CREATE EXTENSION policy_engine', 'other');

#
# Twenty sessions at once
#
release('many', 10, 3600);
my @sessions = map { PolicySession->new($node) } 1 .. 20;
my $gate = PolicySession->new($node);
for my $round (1 .. 5)
{
	$gate->ask('SELECT pg_advisory_lock(1)');
	$_->send('SELECT pg_advisory_lock_shared(1); ' . insert("round$round")) for @sessions;
	$node->poll_query_until('postgres', "SELECT count(*) = 20 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
	  or die 'the sessions do not wait';
	$gate->ask('SELECT pg_advisory_unlock(1)');
	is(join('', map { $_->answer } @sessions), '', "twenty sessions submit at once, round $round");
	$_->ask('SELECT pg_advisory_unlock_shared(1)') for @sessions;
	is(states("round$round"), "ready|10\nthrottled|10", 'and as many as the limit are admitted');
}

# The same of claims: ten jobs have used the rate up, and twenty more are due where it
# admits ten of them.
sql('INSERT INTO policy.jobs (topic, tenant_id) SELECT \'call\', \'claims\' FROM generate_series(1, 30)');
is(sql(q{SELECT count(*) FROM policy_claim('first', 100) WHERE tenant_id = 'claims'}), '10', 'what the rate admitted is claimed');
release('many', 20, 3600);
sql(q{SET session_replication_role = replica; UPDATE policy.jobs SET run_after = now() WHERE tenant_id = 'claims' AND state = 'throttled'});
$gate->ask('SELECT pg_advisory_lock(1)');
$_->send(q{SELECT pg_advisory_lock_shared(1); SELECT job_id FROM policy_claim('worker')}) for @sessions;
$node->poll_query_until('postgres', "SELECT count(*) = 20 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
  or die 'the sessions do not wait';
$gate->ask('SELECT pg_advisory_unlock(1)');
$_->answer for @sessions;
$_->ask('SELECT pg_advisory_unlock_shared(1)') for @sessions;
is(states('claims'), "running|20\nthrottled|10", 'twenty workers at once start as many as the rate admits');
is(sql(q{SELECT count(*) FROM policy.jobs WHERE tenant_id = 'claims' AND state = 'throttled' AND run_after < now() + interval '1 hour'}), '0',
	'and what they do not start is not due any more');
release('many', 10, 3600);

# Readers take no lock: beside others that charge the key that they ask about, and keys
# whose counters are made and freed in the same chains, they see what was charged.
release('churn', 1, 1);
sql(q{INSERT INTO policy.jobs (topic, tenant_id) SELECT 'call', 'churn' || n FROM generate_series(1, 20000) n});
release('many', 10, 3600);
sql(insert('read')) for 1 .. 10;
my $dir = $node->basedir;
append_to_file("$dir/read.sql", <<'SQL');
SELECT 1 / bool_and(v.decision = 'THROTTLE')::int FROM generate_series(1, 300) n, policy_evaluate(jsonb_build_object('topic', 'call', 'tenant_id', 'read', 'n', n)) v;
SQL
append_to_file("$dir/write.sql", <<'SQL');
INSERT INTO policy.jobs (topic, tenant_id) SELECT 'call', CASE WHEN n % 2 = 0 THEN 'read' ELSE 'new' || :client_id || '.' || random() END FROM generate_series(1, 100) n;
SQL
$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '30', '-f', "$dir/read.sql", '-f', "$dir/write.sql", $node->connstr('postgres') ],
	'eight clients read a rate and charge it: who reads always sees that it is used up');
is(sql(q{SELECT count(*) FROM policy.jobs WHERE tenant_id = 'read' AND state = 'ready'}), '10', 'and no more than the limit is admitted');
sql(q{DELETE FROM policy.jobs WHERE tenant_id <> 'claims'});

# Nobody waits for who has charged and not ended.
my ($one, $two) = @sessions;
$one->ask('BEGIN; ' . insert('open'));
is($two->ask("SET statement_timeout = '60s'; BEGIN; " . insert('open')), '', 'a charge of an open transaction holds no other up');
$one->ask('ROLLBACK');
$two->ask('ROLLBACK');
$one->ask(join '; ', ('BEGIN', insert('open'), 'ROLLBACK') x 7);
is(verdict('open'), 'ALLOW|', 'nine attempts were rolled back');
$one->ask('BEGIN; ' . insert('open') . '; ROLLBACK');
like(verdict('open'), qr/^THROTTLE/, 'and each counts: a tenth is the last');

# An update that waits for another, and then is made of the new row
sql("INSERT INTO policy.jobs (topic, tenant_id, payload) VALUES ('call', 'epq', '1')");
$one->ask("BEGIN; UPDATE policy.jobs SET payload = '2' WHERE tenant_id = 'epq'");
$two->send("UPDATE policy.jobs SET payload = '3' WHERE tenant_id = 'epq' AND topic = 'call'");
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = ' . $two->pid . " AND wait_event_type = 'Lock'")
  or die 'the update does not wait';
$one->ask('COMMIT');
is($two->answer, '', 'an update that has waited for another');
sql(insert('epq')) for 1 .. 6;
is(verdict('epq'), 'ALLOW|', 'is charged once: nine so far');
sql(insert('epq'));
like(verdict('epq'), qr/^THROTTLE/, 'and ten make the limit');

#
# No window ever admits more: shown by the times that evidence has, whatever they are
#
release('sliding', 7, 1);
my $script = $node->basedir . '/submit.sql';
append_to_file($script, <<'SQL');
INSERT INTO policy.jobs (topic, tenant_id) VALUES ('call', 'window');
SELECT count(*) FROM policy_claim('worker', 5);
SQL
my $admitted = q{decided_at FROM policy.decisions WHERE snapshot = 'sliding 7 1' AND tenant_id = 'window' AND decision = 'ALLOW'};
for my $round (1 .. 1000)
{
	$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '20', '-f', $script, $node->connstr('postgres') ],
		"eight clients submit and claim, round $round");
	last if $round >= 3 && sql("SELECT count(*) > 7 * 6 FROM (SELECT $admitted) t") eq 't';
}
is(sql("SELECT count(*) > 7 * 6 FROM (SELECT $admitted) t"), 't', 'the rate goes on admitting while more than it admits is asked for');
# Without a scheduler: what was throttled comes back by a claim alone.
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM policy_claim('worker', 50) WHERE tenant_id = 'window' AND run_after IS NOT NULL})
  or die 'nothing comes back';
is(sql("SELECT count(*) > 0 FROM policy.decisions WHERE source = 'claim' AND snapshot = 'sliding 7 1' AND tenant_id = 'window' AND decision = 'ALLOW'"),
	't', 'throttled jobs among them, once they have come back');
is(sql(<<"SQL"), '0', 'no window of its length, wherever it begins, admits more than the limit');
SELECT count(*) FROM (SELECT count(*) OVER (ORDER BY decided_at RANGE BETWEEN CURRENT ROW AND '1 second' FOLLOWING) AS n FROM (SELECT $admitted) t) w WHERE n > 7
SQL
is(sql(q{SELECT count(*) FROM policy.jobs WHERE tenant_id = 'window' AND state = 'ready' AND run_after IS NOT NULL}),
	'0', 'what is throttled waits by its own run_after, until a claim finds it due');
is(sql(q{SELECT count(*) FROM policy.jobs WHERE tenant_id = 'window' AND claimed_at < run_after}), '0', 'none is started before its time');
is(sql(q{SELECT count(*) FROM policy.jobs WHERE tenant_id = 'window' AND state = 'throttled' AND run_after < decided_at + interval '1 second'}), '0',
	'which is a whole second away at least');
is(sql('SELECT maintained_at IS NULL FROM policy.maintenance'), 't', 'and nobody has called policy_maintain');

#
# Databases, restarts
#
release('many', 10, 3600);
release('many', 10, 3600, 'other');
like(verdict('round1'), qr/^THROTTLE\|3[0-9]{3}$/, 'one database has used its rate up');
$node->safe_psql('other', insert('round1'));
is(states('round1', 'other'), 'ready|1', 'another has its own');
$node->stop('fast');
$node->start;
is(verdict('round1'), 'ALLOW|', 'a restart begins anew');
sql(insert('again')) for 1 .. 11;
is(states('again'), "ready|10\nthrottled|1", 'and counts from there');
my $victim = PolicySession->new($node);
$victim->ask(insert('again'));
$victim->send('SELECT pg_sleep(600)');
kill 'KILL', $victim->pid;
$node->poll_query_until('postgres', q{SELECT pg_postmaster_start_time() IS NOT NULL}) or die 'the server does not come back';
$node->poll_query_until('postgres',
	q{SELECT decision = 'ALLOW' FROM policy_evaluate('{"topic": "call", "tenant_id": "again"}'::jsonb)})
  or die 'the counters do not begin anew';
sql(insert('crashed')) for 1 .. 11;
is(states('crashed'), "ready|10\nthrottled|1", 'so does a server whose backend was killed');

#
# A standby has no counters, and once promoted its own
#
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('write'));
is(verdict('unseen'), 'ALLOW|', 'what the primary admits');
is(verdict('unseen', $standby), 'THROTTLE|3600', 'is unknown on a standby, and a rule that restricts applies');
is($standby->safe_psql('postgres', "SELECT coalesce(array_to_string(warnings, ','), 'none') FROM policy_status()"), '', 'of which it does not warn');
$standby->promote;
is(verdict('unseen', $standby), 'ALLOW|', 'promoted, it counts');
$standby->safe_psql('postgres', insert('promoted')) for 1 .. 11;
is($standby->safe_psql('postgres', "SELECT state, count(*) FROM policy.jobs WHERE tenant_id = 'promoted' GROUP BY state ORDER BY state"),
	"ready|10\nthrottled|1", 'by itself');
$standby->stop;

#
# A full table
#
my $fill = sub {
	my ($prefix) = @_;
	return sql(<<"SQL");
BEGIN;
SET LOCAL synchronous_commit = off;
INSERT INTO policy.jobs (topic, tenant_id) SELECT 'call', '$prefix' || n FROM generate_series(1, 110000) n;
SELECT count(*) FILTER (WHERE state = 'ready'), count(*) FILTER (WHERE state = 'throttled') > 0 FROM policy.jobs WHERE tenant_id LIKE '$prefix%';
COMMIT;
SQL
};
release('full', 1, 86400);
sql(insert('first'));
my ($room, $refused) = split /\|/, $fill->('f');
cmp_ok($room, '>', 40_000, "the counters of $room keys have room");
is($refused, 't', 'and then new keys are refused');
like(verdict('first'), qr/^THROTTLE\|[89][0-9]{4}$/, 'none that counts was evicted');
like(verdict('f1'), qr/^THROTTLE\|[89][0-9]{4}$/, 'however old');
sql(insert('late'));
is(sql(q{SELECT extract(epoch FROM run_after - decided_at)::int FROM policy.jobs WHERE tenant_id = 'late'}), '86400', 'a new key counts as exceeded, for a window');
like(sql('SELECT warnings FROM policy_status()'), qr/velocities cannot be counted.*full/, 'and policy_status warns of it');
$node->stop('fast');
$node->start;
release('short', 1, 1);
($room, $refused) = split /\|/, $fill->('g');
release('full', 1, 86400);
for my $try (1 .. 600)
{
	sql(insert("after$try"));
	last if states("after$try") eq 'ready|1';
}
is(sql(q{SELECT count(*) > 0 FROM policy.jobs WHERE tenant_id LIKE 'after%' AND state = 'ready'}), 't',
	'what does not count any more makes room');
$fill->('h');
cmp_ok(sql(q{SELECT count(*) FROM policy.jobs WHERE tenant_id LIKE 'h%' AND state = 'ready'}), '>', 40_000, 'all of it');

$_->finish for @sessions, $gate, $victim;
$node->stop;
done_testing();
