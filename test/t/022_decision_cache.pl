# Verdicts are the same with the decision cache and without it: random policies of
# many rules on few tags, random jobs and times, releases in between.
#
# POLICY_SEED chooses the run, POLICY_CASES how many policies.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use JSON::PP ();
use PolicySession;
use PostgreSQL::Test::Cluster;
use Test::More;

my $seed = $ENV{POLICY_SEED} // int rand 1_000_000_000;
my $cases = $ENV{POLICY_CASES} // 30;
my @tags = qw(prod write pii read net);
my @decisions = qw(allow deny require_approval throttle);
my @times = map { "2026-0$_-01T00:00:00Z" } 1 .. 9;
my $json = JSON::PP->new->canonical;

srand $seed;
diag "POLICY_SEED=$seed";

sub pick { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }

sub rule
{
	my ($number) = @_;
	my %rule = (id => "r$number", decision => pick(@decisions), match => {});

	$rule{match}{risk_tags} = [ chance(0.2) ? pick(@tags) . '*' : pick(@tags) ] if chance(0.95);
	$rule{match}{tenants} = [ pick(qw(a b)) ] if chance(0.1);
	$rule{match}{labels} = { env => pick(qw(x y)) } if chance(0.1);
	$rule{match}{when} = '$.payload.amount > ' . int rand 4 if chance(0.1);
	$rule{match}{secrets_present} = JSON::PP::true if chance(0.05);
	$rule{not_before} = pick(@times[ 0 .. 3 ]) if chance(0.1);
	$rule{expires_at} = pick(@times[ 5 .. 8 ]) if chance(0.1);
	$rule{mode} = 'monitor' if chance(0.1);
	$rule{reason} = "because of $number" if chance(0.5);
	$rule{constraints} = { max_runtime_sec => int rand 100, "key$number" => 'x' } if chance(0.3);
	$rule{retry_after_sec} = 1 + int rand 50 if $rule{decision} eq 'throttle';
	$rule{exceptions} = [ { id => 'e', match => { tenants => [ pick(qw(a b)) ] }, expires_at => pick(@times), reason => 'r' } ]
	  if chance(0.1);
	return \%rule;
}

# Most policies are ruled by one decision, or all their verdicts would be denials.
sub policy
{
	my @rules = map { rule($_) } 1 .. 40 + int rand 60;
	my $loose = pick(@decisions);

	for my $rule (@rules)
	{
		next if $rule->{decision} eq $loose || chance(0.05);
		delete $rule->{retry_after_sec};
		$rule->{decision} = $loose;
		$rule->{retry_after_sec} = 1 + int rand 50 if $loose eq 'throttle';
	}
	return $json->encode(
		{
			version => 'v1',
			combine => pick(qw(strictest strictest first_match)),
			defaults => { decision => pick(qw(allow deny)), constraints => chance(0.5) ? { max_retries => 3 } : {} },
			rules => \@rules
		});
}

sub job
{
	my %job = (topic => pick(qw(t u)), risk_tags => [ grep { chance(0.4) } @tags ]);

	$job{tenant_id} = pick(qw(a b c)) if chance(0.7);
	$job{labels} = { env => pick(qw(x y z)) } if chance(0.5);
	$job{payload} = { amount => chance(0.1) ? 'many' : int rand 5 } if chance(0.8);
	$job{secrets_present} = JSON::PP::true if chance(0.2);
	return $json->encode(\%job);
}

sub literal
{
	my ($text) = @_;

	$text =~ s/'/''/g;
	return "'$text'";
}

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
my $session = PolicySession->new($node);
$session->ask('CREATE EXTENSION policy_engine');
$session->ask('CREATE TABLE jobs AS SELECT job, at FROM (VALUES '
	  . join(', ', map { '(' . literal(job()) . "::jsonb)" } 1 .. 150)
	  . ') j(job), unnest(ARRAY[' . join(', ', map { "timestamptz '$_'" } @times[ 0, 4, 8 ]) . ']) t(at) ORDER BY random()');
$session->ask('LOAD \'policy_engine\'');
my ($exists) = $session->ask("SELECT count(*) FROM pg_settings WHERE name = 'policy_engine.require_simulation'");
$session->ask('SET policy_engine.require_simulation = off') if $exists;

my $verdicts = q{SELECT md5(string_agg(v::text, ',' ORDER BY j.job::text, j.at)) FROM jobs j, policy_evaluate(j.job, j.at) v};
my $kept = 0;
my $different = 0;
for my $case (1 .. $cases)
{
	my %answers;

	$session->ask("SELECT policy_stage('v$case', " . literal(policy()) . ", NULL)");
	$session->ask("SELECT policy_publish('v$case', 'a case', 'no history is replayed')");
	for my $size (0, 10000, 10000, 1, 7, 10000, 0)
	{
		$answers{ $session->ask("SET policy_engine.decision_cache_size = $size; $verdicts") } = 1;
	}
	if ($case > 1)
	{
		# Back to the policy before, whose entries are there as well.
		$session->ask('SELECT policy_rollback(\'v' . ($case - 1) . "', 'and back')");
		my %again = map { ($session->ask("SET policy_engine.decision_cache_size = $_; $verdicts") => 1) } 10000, 0, 10000;

		$different++ if keys %again != 1;
	}
	$different++, diag "case $case: " . join ' ', keys %answers if keys %answers != 1 || (keys %answers)[0] !~ /^[0-9a-f]{32}$/;
	$kept += $session->ask(q{SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'policy verdicts' AND used_bytes > 20000}) > 0;
}
is($different, 0, "the cache changes no verdict of $cases policies and 450 jobs and times");
cmp_ok($kept, '>=', $cases / 2, 'and was used');

like($session->ask('SET policy_engine.decision_cache_size = -1'), qr/22023/, 'a size below 0 is refused');

$session->finish;
$node->stop;
done_testing();
