# A velocity check: many clients at one counter, against the same evaluation without.

package VelocityBench;

use strict;
use warnings;

use BenchSession;
use Measure qw(paired keep_row);

my $clients = 8;
my $database = 'bench_velocity';
my $job = q('{"topic": "call.a", "tenant_id": "acme", "actor_id": "agent-7", "risk_tags": ["prod"]}'::jsonb);
my $batch = 1_000;

# Of one run, in seconds: many short ones in turns tell more than a few long ones.
my $run = 1;

# Beyond what the benchmark asks for, so that both policies give one verdict.
my $velocity = ', velocity: {max_requests: 1000000000000, window_seconds: 60, key: "tenant:actor_id"}';

# The same rule with a velocity, and without.
sub _publish
{
	my ($session, $name) = @_;
	my $text = "version: v1\ndefaults: {decision: allow}\nrules:\n"
	  . '  - {id: calls, match: {topics: ["call.*"]}, decision: allow' . ($name eq 'plain' ? '' : $velocity) . "}\n";

	$session->ask("SELECT NULL FROM policy_stage('$name', " . BenchSession::literal($text) . ', NULL) '
		  . "WHERE NOT EXISTS (SELECT FROM policy.snapshots WHERE snapshot = '$name')");
	$session->ask("SELECT NULL FROM policy_publish('$name', NULL, 'a benchmark replays nothing')");
	return;
}

# Transactions a second of a script.
sub _pgbench
{
	my ($session, $seconds, $name, $script) = @_;
	my $path = "$ENV{TMPDIR}/$name.pgbench";

	_publish($session, $name);
	open my $file, '>', $path or die "$path: $!\n";
	print $file $script;
	close $file or die "$path: $!\n";
	my $output = qx(pgbench -n -M prepared -c $clients -j 2 -T $seconds -f $path $database 2>&1);

	$output =~ /^tps = ([\d.]+)/m && $output =~ /number of failed transactions: 0 / or die "pgbench failed:\n$output\n";
	return $1 if $output =~ /^tps = ([\d.]+)/m;
}

sub _compare
{
	my ($session, $size, $what, $script, %more) = @_;
	my ($ratio, %tps) = paired(2 * $size->{rounds},
		plain => sub { _pgbench($session, $run, 'plain', $script) },
		counted => sub { _pgbench($session, $run, 'counted', $script) });

	keep_row(what => $what, value => $ratio, %more,
		detail => { map { $_ => sprintf '%.0f a second', $tps{$_} } keys %tps });
	return;
}

sub velocity
{
	my ($control, $size) = @_;
	my $session;

	$control->ask("CREATE DATABASE $database");
	$session = BenchSession->new($database);
	$session->ask($_)
	  for 'CREATE EXTENSION policy_engine', "LOAD 'policy_engine'", 'SET policy_engine.require_simulation = off';
	_publish($session, 'counted');

	$session->ask("CREATE TABLE hot AS SELECT $job AS job FROM generate_series(1, $batch)");

	# One charge, so that there is a counter to read.
	$session->ask("INSERT INTO policy.jobs (topic, tenant_id, actor_id) VALUES ('call.a', 'acme', 'agent-7')");
	_compare($session, $size, "velocity check, $clients clients on one key : evaluation without it",
		"SELECT count(policy_evaluate(job)) FROM hot;\n",
		bar => 1.2, sense => '<=');
	_compare($session, $size, "durable insert with a charge, $clients clients on one key : without",
		"INSERT INTO policy.jobs (topic, tenant_id, actor_id) VALUES ('call.a', 'acme', 'agent-7');\n",
		bar => 1.2, sense => '<=');
	$session->finish;
	return;
}

1;
