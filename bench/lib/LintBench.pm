# What policy_validate takes for large documents whose rules are alike: the same
# topics' prefixes at three depths, few tenants, tags that many share.

package LintBench;

use strict;
use warnings;

use BenchSession;
use Measure qw(interleaved keep_row);
use Workload qw(realistic_policy adversarial_policy policy_yaml);

my @tags = qw(prod staging write read pii finance destructive external);

# Stricter the deeper, so that most of what is inside of another rule wins all the
# same: each pair has to be looked at, and few warnings end the search.
sub _rule
{
	my ($number) = @_;
	my $team = 'job.team-' . int($number / 50);
	my $service = 'svc-' . $number % 20;
	my ($topics, $decision) = @{ (
			[ [ "$team.*" ], 'allow' ],
			[ [ "$team.$service.*", "$team.*.$service" ], 'throttle' ],
			[ [ "$team.$service.op-[0-9]", "$team.$service.op-?.*" ], 'require_approval' ],
			[ [ "$team.$service.op-" . $number % 7 ], 'deny' ])[ $number % 4 ] };
	my @shared = map { $tags[ ($number * $_ + $number / 8) % @tags ] } 1, 3;

	return {
		id => "r$number",
		owner => 'team-' . $number % 9,
		match => {
			topics => $topics,
			risk_tags => $number % 3 ? \@shared : { any => \@shared, none => [ $tags[ $number % 5 ] ] },
			$number % 2 ? (tenants => [ 't' . $number % 6 . '*' ]) : (labels => { env => [ 'prod', 'p?e*' ] }) },
		decision => $decision };
}

sub _policy { return { defaults => { decision => 'deny' }, rules => [@_] }; }

sub _similar_policy { return _policy(map { _rule($_) } 1 .. $_[0]); }

# What is the hardest: no rule is inside of another, and nothing shows it but to
# compare them all, or to run the patterns' automata.
sub _excluding_policy
{
	return _policy(map { { id => "r$_", owner => 'x', match => { topics => { none => ["t$_"] } }, decision => 'deny' } } 1 .. $_[0]);
}

# Every pair is alike in most, and there are only so many values: what was found of
# two conditions has to serve for all rules that share them.
sub _labelled_policy
{
	my @names = qw(env team region tier app owner cost zone kind stage repo branch);
	my @values = qw(prod p* *d stag?ng [a-m]* eu-* us-* *-west a*b*c *x* v[0-9]* blue);
	my $rule = sub {
		my ($n) = @_;
		my %labels = map {
			my $at = ($n * (2 * $_ + 1) + int $n / (7 * $_ + 5)) % 12;
			($names[$at] => { none => [ $values[ ($n + $_) % 12 ], $values[ ($n / ($_ + 1) + $_) % 12 ] ] })
		} 0 .. 4;

		return { id => "r$n", owner => 'x', match => { labels => \%labels }, decision => 'deny' };
	};

	return _policy(map { $rule->($_) } 1 .. $_[0]);
}

sub _intricate_policy
{
	my @middles = map { '?' x $_ } 0 .. 5;
	my @words = qw(ab cd ef gh ij kl mn op qr st uv wx yz);
	my $pattern = sub {
		my ($n) = @_;

		return "*$words[$n % 13]*$words[$n / 13 % 13]$middles[$n / 169 % 6]$words[$n / 1014 % 13]*";
	};

	return _policy(
		map { { id => "r$_", owner => 'x', match => { topics => [ map { $pattern->($_) } $_, $_ * 7, $_ * 11 ] }, decision => 'deny' } }
		  1 .. $_[0]);
}

# Milliseconds of one policy_validate, whose rows are kept in bench_found.
sub _time
{
	my ($session, $name) = @_;

	$session->ask('TRUNCATE bench_found');
	return scalar $session->server_ms("INSERT INTO bench_found SELECT v.* FROM bench_lint, policy_validate(source) v WHERE name = '$name'");
}

# The median of some runs, the last of which is looked at, and its warnings.
sub _time_complete
{
	my ($session, $name, $runs) = @_;
	my ($ms, $incomplete, $warnings);

	$ms = { interleaved($runs, lint => sub { _time($session, $name) }) }->{lint};
	($incomplete, $warnings) = split /\|/, ($session->ask(
			"SELECT count(*) FILTER (WHERE code = 'lint_incomplete' OR severity = 'error'), count(*) FROM bench_found"))[0];
	die "the document $name was not linted to its end\n" if $incomplete;
	return ($ms, $warnings);
}

sub lint
{
	my ($session, $size) = @_;
	my %policies = (
		similar => \&_similar_policy,
		realistic => \&realistic_policy,
		adversarial => \&adversarial_policy,
		excluding => \&_excluding_policy,
		labelled => \&_labelled_policy,
		intricate => \&_intricate_policy);
	my %bars = (1_000 => 2, 10_000 => 60);

	$session->ask($_)
	  for 'CREATE EXTENSION IF NOT EXISTS policy_engine', 'CREATE TEMP TABLE bench_lint (name text, source text)',
	  q(CREATE TEMP TABLE bench_found AS SELECT * FROM policy_validate('version: v1') WITH NO DATA);
	for my $rules (sort { $a <=> $b } keys %bars)
	{
		my (%ms, %detail, $worst);

		for my $kind (sort keys %policies)
		{
			my $text = BenchSession::literal(policy_yaml($policies{$kind}->($rules)));
			my $warnings;

			$session->ask("INSERT INTO bench_lint VALUES ('$kind $rules', $text)");
			($ms{$kind}, $warnings) = _time_complete($session, "$kind $rules", $rules > 1_000 ? 1 : $size->{rounds});
			$detail{$kind} = sprintf '%.0f ms, %d warnings', $ms{$kind}, $warnings;
		}
		($worst) = sort { $b <=> $a } values %ms;
		keep_row(what => "lint of $rules rules", unit => 's', value => $worst / 1000,
			bar => $bars{$rules}, sense => '<=', detail => \%detail);
	}
	return;
}

1;
