# What policy_replay takes over recorded decisions, and how that grows with their
# number, against a scan of the same rows that reads the same fields.
#
# BENCH_REPLAY_JOBS says how many are recorded in all; those of the last tenth of the
# time are the smaller of the two numbers.

package ReplayBench;

use strict;
use warnings;

use BenchSession;
use Measure qw(interleaved keep_row median say_now);
use Workload qw(jobs_sql policy_yaml);
use WritingBench;

my $database = 'bench_replay';
my $parts = 10;
my $scanned = "source IN ('submit', 'update')";

sub _grouped { return scalar reverse reverse($_[0]) =~ s/(\d{3})(?=\d)/$1,/gr; }

# The same rules, of which one in ten denies instead; no rule has a time.
sub _stage
{
	my ($session) = @_;
	my $number = 0;
	my $base = WritingBench::policy();
	my $candidate = WritingBench::policy();

	for my $rule (@{ $candidate->{rules} })
	{
		$rule->{decision} = 'deny' if $number++ % 10 == 0;
	}
	$session->ask("SELECT NULL FROM policy_stage('$_->[0]', "
		  . BenchSession::literal(policy_yaml($_->[1])) . ", 'for a benchmark')")
	  for [ base => $base ], [ candidate => $candidate ];
	$session->ask(q{SELECT NULL FROM policy_publish('base', 'for a benchmark')});
	return;
}

# Records the jobs, a part after the other.  Returns a session, and when the last began.
sub _record
{
	my ($control, $jobs) = @_;
	my ($session, $last);

	$control->ask("CREATE DATABASE $database");
	$session = BenchSession->new($database);
	$session->ask($_) for 'CREATE EXTENSION policy_engine', "LOAD 'policy_engine'";
	_stage($session);
	$session->ask('CREATE UNLOGGED TABLE source AS ' . jobs_sql($jobs / $parts));
	for (1 .. $parts)
	{
		($last) = $session->ask('SELECT clock_timestamp()');
		$session->ask(WritingBench::insert_sql('source'));

		# What replays read is the evidence; the queue itself is not needed.
		$session->ask('DELETE FROM policy.jobs') if $jobs > 1_000_000;
	}
	$session->ask('VACUUM (ANALYZE) policy.decisions');
	return $session, $last;
}

# A replay since a time, by a new session: its figures, and the most memory of its own
# that its process had.
sub _replay
{
	my ($since) = @_;
	my $session = BenchSession->new($database);
	my ($process) = $session->ask('SELECT pg_backend_pid()');
	my ($reader, $writer, $sampler, $ms, $found, $peak);

	pipe $reader, $writer or die "pipe: $!\n";
	$sampler = fork // die "fork: $!\n";
	_sample($process, $writer) if $sampler == 0;
	close $writer;
	$session->ask("LOAD 'policy_engine'");
	$ms = $session->client_ms('CREATE TEMP TABLE made AS SELECT * FROM policy_replay(' . "'candidate', '$since')");
	kill 'TERM', $sampler;
	$peak = <$reader>;
	waitpid $sampler, 0;
	($found) = $session->ask(q{SELECT concat_ws(' ', jobs, replayed, flips BETWEEN jobs / 100 AND jobs / 5) FROM made});
	$session->finish;
	return { ms => $ms, found => $found, kilobytes => $peak };
}

# The child: looks until it is told to stop, and says what it saw.
sub _sample
{
	my ($process, $writer) = @_;
	my $peak = 0;
	my $stopped = 0;

	local $SIG{TERM} = sub { $stopped = 1 };
	while (!$stopped)
	{
		open my $file, '<', "/proc/$process/status" or last;
		my ($anonymous) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$file>;

		close $file;
		$peak = $anonymous if ($anonymous // 0) > $peak;
		select undef, undef, undef, 0.01;
	}
	print $writer "$peak\n";
	close $writer;
	POSIX::_exit(0);
}

sub _check
{
	my ($replayed, $jobs) = @_;

	die "of $jobs jobs a replay says: $replayed->{found}\n" if $replayed->{found} ne "$jobs $jobs t";
	return;
}

sub replay
{
	my ($control, $size) = @_;
	my $jobs = $ENV{BENCH_REPLAY_JOBS} // $size->{jobs};
	my ($session, $last) = _record($control, $jobs);
	my ($first) = $session->ask('SELECT min(decided_at) FROM policy.decisions');
	my $few = $jobs / $parts;
	my $compared = $jobs > 1_000_000 ? $few : $jobs;
	my %since = ($few => $last, $jobs => $first);
	my @fields = map { "count(job->$_)" } q(>'topic'), q(>'tenant_id'), q(>'capability'), q('risk_tags'), q('labels'),
	  q('actor_roles'), q('requires'), q('mcp'), q(>'actor_id'), q(>'actor_type'), q(>'secrets_present');
	my $scan = 'SELECT ' . join(', ', @fields) . " FROM policy.decisions WHERE $scanned AND decided_at >= '$since{$compared}'";
	my (%kilobytes, %ms);

	_check(_replay($first), $jobs);
	%ms = interleaved(
		$jobs > 1_000_000 ? 1 : 5,
		(
			map {
				my $count = $_;
				(
					$count => sub {
						my $replayed = _replay($since{$count});

						_check($replayed, $count);
						push @{ $kilobytes{$count} }, $replayed->{kilobytes};
						return $replayed->{ms};
					})
			} $few, $jobs),
		scan => sub { $session->client_ms($scan) });
	keep_row(what => 'replay of ' . _grouped($compared) . ' decisions at 1,000 rules, flips stored : a scan that reads the fields',
		value => $ms{$compared} / $ms{scan}, bar => 5, sense => '<=',
		detail => { replay => sprintf('%.0f ms', $ms{$compared}), scan => sprintf('%.0f ms', $ms{scan}) });
	keep_row(what => 'replay of ' . _grouped($jobs) . ' decisions : ' . _grouped($few),
		value => $ms{$jobs} / $ms{$few}, bar => 11, sense => '<=',
		detail => { _grouped($few) => sprintf('%.0f ms', $ms{$few}), _grouped($jobs) => sprintf('%.0f ms', $ms{$jobs}) });
	keep_row(what => 'memory of a replay of ' . _grouped($jobs) . ' decisions : ' . _grouped($few),
		value => median(@{ $kilobytes{$jobs} }) / median(@{ $kilobytes{$few} }), bar => 1.1, sense => '<=',
		detail => { map { _grouped($_) => sprintf '%.1f MB', median(@{ $kilobytes{$_} }) / 1024 } $few, $jobs });
	$session->finish;
	return;
}

1;
