# A guarded table of the client's own, against the same table that nothing guards: a
# bulk insert of jobs that may run, with three indexes.

package AttachBench;

use strict;
use warnings;

use BenchSession;
use Measure qw(interleaved keep_row);
use Workload qw(policy_yaml);
use WritingBench;

my $database = 'bench_attach';
my $columns = 'topic, payload, status, run_at';

sub _table
{
	my ($session, $name) = @_;

	$session->ask($_)
	  for "CREATE TABLE $name (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text NOT NULL, payload jsonb, "
	  . "status text NOT NULL DEFAULT 'pending', run_at timestamptz NOT NULL DEFAULT now())",
	  "CREATE INDEX ON $name (status, run_at)", "CREATE INDEX ON $name (topic)";
	return;
}

sub attach
{
	my ($control, $size) = @_;
	my $rows = $size->{inserted} / 2;
	my ($session, %ms);

	$control->ask("CREATE DATABASE $database");
	$session = BenchSession->new($database);
	$session->ask($_)
	  for 'CREATE EXTENSION policy_engine', "LOAD 'policy_engine'",
	  q{SELECT NULL FROM policy_stage('attach', } . BenchSession::literal(policy_yaml(WritingBench::policy())) . q{, 'for a benchmark')},
	  q{SELECT NULL FROM policy_publish('attach', 'for a benchmark')},
	  "CREATE UNLOGGED TABLE given AS SELECT 'own.service' || n % 1000 || '.run' AS topic, "
	  . "jsonb_build_object('amount', n, 'note', repeat('x', 50)) AS payload, 'pending' AS status, now() AS run_at "
	  . "FROM generate_series(1, $rows) n";
	_table($session, $_) for qw(bare guarded unrecorded);
	$session->ask("SELECT NULL FROM policy_attach('$_', 'table')") for qw(guarded unrecorded);
	$session->ask('ALTER TABLE unrecorded DISABLE TRIGGER zzz_policy_record');

	my %insert = map {
		my $name = $_;
		(
			$name => sub {
				my $ms = $session->client_ms("INSERT INTO $name ($columns) SELECT $columns FROM given");
				my ($held) = $session->ask("SELECT count(*) FROM $name WHERE status <> 'pending'");

				die "$held rows of $name are held\n" if $held != 0;
				WritingBench::empty_evidence($session, $name);
				return $ms;
			})
	} qw(bare guarded unrecorded);

	$session->ask("INSERT INTO guarded ($columns) SELECT $columns FROM given");
	my ($recorded) = $session->ask(q{SELECT count(*) FROM policy.decisions WHERE job_table = 'public.guarded' AND decision = 'ALLOW'});
	die "$recorded of $rows rows are recorded as allowed\n" if $recorded != $rows;
	WritingBench::empty_evidence($session, 'guarded');

	%ms = interleaved($size->{rounds}, %insert);
	keep_row(what => 'attached insert, bulk, three indexes, evidence included : bare',
		value => $ms{guarded} / $ms{bare}, bar => 2.5, sense => '<=',
		detail => { map { $_ => sprintf '%.2f us a row', 1000 * $ms{$_} / $rows } qw(guarded bare) });
	keep_row(what => q{the guard's triggers without evidence : bare},
		value => $ms{unrecorded} / $ms{bare}, bar => 1.5, sense => '<=',
		detail => { map { $_ => sprintf '%.2f us a row', 1000 * $ms{$_} / $rows } qw(unrecorded bare) });
	$session->finish;
	return;
}

1;
