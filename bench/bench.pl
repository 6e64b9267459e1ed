# What bench/run runs, inside its private server.

use strict;
use warnings;

use FindBin;
use Getopt::Long;
use JSON::PP ();
use POSIX ();

use AttachBench;
use BenchSession;
use EvaluationBench;
use LintBench;
use Measure qw(rows series missed say_now);
use ReplayBench;
use VelocityBench;
use WritingBench;

my %options = (mode => 'full', commit => 'unknown');
my %sections = (
	attach => \&AttachBench::attach,
	evaluation => \&EvaluationBench::evaluation,
	memory => \&EvaluationBench::memory,
	first => \&EvaluationBench::first_decision,
	parallel => \&EvaluationBench::parallel,
	cache => \&EvaluationBench::cache,
	sweeps => \&EvaluationBench::sweeps,
	lint => \&LintBench::lint,
	replay => \&ReplayBench::replay,
	velocity => \&VelocityBench::velocity,
	writing => \&WritingBench::writing);

# jobs, and runs of everything; verdicts that are checked at most, and rules that the
# naive evaluator, in Perl, is asked to look at for them; jobs that are written, and
# how long pgbench runs.
my %sizes = (
	full => {
		jobs => 1_000_000, rounds => 7, sample => 4_000, looks => 2_000_000, inserted => 200_000, seconds => 4 },
	quick => {
		jobs => 200_000, rounds => 5, sample => 4_000, looks => 500_000, inserted => 50_000, seconds => 2 });

# What runs where no section is named.
my %usual = (
	full => [qw(evaluation memory first parallel cache writing attach velocity replay lint sweeps)],
	quick => [qw(evaluation memory first parallel writing)]);

sub machine
{
	my ($model) = grep { s/^model name\s*:\s*// } _lines_of('/proc/cpuinfo');
	my $cores = grep { /^processor\s*:/ } _lines_of('/proc/cpuinfo');
	my ($memory) = map { /^MemTotal:\s+(\d+)/ ? $1 : () } _lines_of('/proc/meminfo');

	chomp $model if defined $model;
	return sprintf '%s, %d cores, %.0f GiB', $model // 'unknown processor', $cores, $memory / 1024 / 1024;
}

sub _lines_of
{
	my ($path) = @_;

	open my $file, '<', $path or return;
	return <$file>;
}

sub write_results
{
	my ($session) = @_;
	my %results = (
		date => POSIX::strftime('%Y-%m-%d', gmtime),
		mode => $options{mode},
		commit => $options{commit},
		machine => machine(),
		postgresql => ($session->ask('SHOW server_version'))[0],
		jobs => $sizes{ $options{mode} }{jobs},
		rounds => $sizes{ $options{mode} }{rounds},
		rows => rows(),
		series => series());

	open my $file, '>', $options{output} or die "$options{output}: $!\n";
	print $file JSON::PP->new->canonical->pretty->encode(\%results);
	close $file or die "$options{output}: $!\n";
	return;
}

GetOptions(\%options, 'mode=s', 'commit=s', 'floor=s', 'output=s', 'strict') or exit 1;

my @chosen = @ARGV;
my $session = BenchSession->new;
my $size = { %{ $sizes{ $options{mode} } }, floor => $options{floor} };

@chosen = @{ $usual{ $options{mode} } } if !@chosen;
EvaluationBench::prepare($session, $size) if grep { !/^(?:attach|lint|replay|velocity)$/ } @chosen;
for my $section (@chosen)
{
	my $begun = time;

	say_now("\n== $section");
	$sections{$section}->($session, $size);
	say_now(sprintf '        (%d s)', time - $begun);
}
write_results($session) if defined $options{output};
say_now("\n", scalar(missed()), ' of ', scalar(grep { exists $_->{met} } @{ rows() }), ' bars missed');
exit 2 if $options{strict} && missed();
