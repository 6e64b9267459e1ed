# Verdicts of the engine against those of the naive evaluator, on a sample of jobs.

package Verdicts;

use strict;
use warnings;

use Exporter 'import';
use POSIX ();
use NaiveEvaluator qw(decode_json encode_json evaluate parse_time same_verdict);
use Workload qw(policy_json);

use Measure qw(say_now);

our @EXPORT_OK = qw(check_verdicts);

# The workload's only predicate, of a number that every job has.
sub _when
{
	my ($predicate, $job) = @_;
	my ($limit) = $predicate =~ /\A\$\.payload\.amount > (\d+)\z/ or die "a new predicate: $predicate\n";

	return $job->{payload}{amount}->value > $limit ? 'true' : 'false';
}

# Compares every second pair, from the given one on; exits with how many differ.
sub _compare
{
	my ($policy, $first, @pairs) = @_;
	my $at = parse_time('2026-01-01T00:00:00Z');
	my $differ = 0;

	for (my $i = $first; $i < @pairs; $i += 2)
	{
		my ($job, $got) = map { decode_json($_) } @{ $pairs[$i] };
		my $expected = evaluate($policy, $job, $at, \&_when);

		next if same_verdict($expected, $got);
		print "a verdict differs\n  job      $pairs[$i][0]\n  got      $pairs[$i][1]\n  expected ",
		  encode_json({ %$expected, retry_after_sec => undef }), "\n"
		  if !$differ++;
	}
	return $differ;
}

# Whether all verdicts of a sample are the same; two processes share the work.
sub check_verdicts
{
	my ($session, $size, $snapshot, $policy, $table) = @_;
	my $rules = @{ $policy->{rules} };
	my $sample = int($size->{looks} / $rules);
	my (@pairs, $child, $differ);

	$sample = $size->{sample} if $sample > $size->{sample};
	$session->ask("SELECT NULL FROM policy_rollback('$snapshot', 'for a benchmark')");
	@pairs = map { [ split /\t/ ] } $session->ask(
		"SELECT j.job::text || chr(9) || to_jsonb(v) FROM (SELECT job FROM bench.$table "
		  . "ORDER BY hashint8(job_id) LIMIT $sample) j, policy_evaluate(j.job) v");
	die "there are no verdicts to compare\n" if @pairs != $sample;
	$policy = decode_json(policy_json($policy));
	$child = fork // die "fork: $!\n";
	if (!$child)
	{
		$differ = _compare($policy, 0, @pairs);
		close STDOUT;
		POSIX::_exit($differ ? 1 : 0);
	}
	$differ = _compare($policy, 1, @pairs);
	waitpid $child, 0;
	$differ ||= $?;
	say_now(sprintf '%-7s %d verdicts under %s are those of the naive evaluator', $differ ? 'DIFFER' : 'ok',
		$sample, $snapshot);
	return !$differ;
}

1;
