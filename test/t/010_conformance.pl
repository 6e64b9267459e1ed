# Every conformance case, evaluated by the server.

use strict;
use warnings;

use File::Basename qw(basename);
use FindBin;
use lib "$FindBin::RealBin/../lib";

use NaiveEvaluator qw(decode_json encode_json same_verdict);
use PolicyNode qw(start_policy_node evaluate_all report);
use Test::More;

my $node = start_policy_node('conformance');

# The policies of a file: {policy, at, cases}, and where it came from.
sub read_policies
{
	my ($path) = @_;
	my @policies;

	open my $file, '<:encoding(UTF-8)', $path or die "$path: $!";
	while (my $line = <$file>)
	{
		push @policies, { %{ decode_json($line) }, line => $. };
	}
	close $file or die "$path: $!";
	return @policies;
}

sub check_policy
{
	my ($policy, $path, @verdicts) = @_;
	my @cases = @{ $policy->{cases} };
	my ($differ) =
	  grep { !same_verdict($cases[$_]{verdict}, $verdicts[$_]) } 0 .. $#cases;

	ok(!defined $differ, basename($path) . ":$policy->{line} is decided as it says");
	return if !defined $differ;
	report("case $differ\n  job      ",
		encode_json($cases[$differ]{job}),
		"\n  expected ",
		encode_json($cases[$differ]{verdict}),
		"\n  got      ",
		encode_json($verdicts[$differ]),
		"\n  policy   ",
		encode_json($policy->{policy}));
	return;
}

sub check_file
{
	my ($path) = @_;
	my @policies = read_policies($path);
	my (@cases, @verdicts);

	for my $number (0 .. $#policies)
	{
		push @cases, map { [ $number, encode_json($_->{job}), $policies[$number]{at} ] }
		  @{ $policies[$number]{cases} };
	}
	@verdicts = evaluate_all($node, [ map { encode_json($_->{policy}) } @policies ], \@cases);
	is(scalar @verdicts, scalar @cases, "every case of " . basename($path) . " has a verdict");
	check_policy($_, $path, splice @verdicts, 0, scalar @{ $_->{cases} }) for @policies;
	return;
}

check_file("$FindBin::RealBin/../conformance/verdicts.jsonl");
check_file($ENV{POLICY_CONFORMANCE}) if $ENV{POLICY_CONFORMANCE};

$node->stop;
done_testing();
