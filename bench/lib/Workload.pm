# The policies and jobs that everything in bench/ measures: the same ones, in the
# same order, at every run.
#
# There are 50,000 services.  Rule number i is about service i, and so are its
# topic, the tenants that use it and its team; a policy of n rules knows the first
# n services.  A job is about service number 50,001^u - 1 for a u that is spread
# evenly over [0, 1), so that some services are asked for far more often than
# others, and one job in ten about none.

package Workload;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();

our @EXPORT_OK = qw(realistic_policy adversarial_policy swept_policy policy_yaml
  policy_json jobs_sql adversarial_jobs_sql services tags);

use constant services => 50_000;

my @tags = qw(prod destructive write read pii external internal finance network exec
  bulk export customer billing infra deploy schema urgent nightly sandbox);
my @verbs = qw(read write deploy delete apply);
my @environments = qw(prod staging dev);
my @regions = qw(eu-west eu-north us-east us-west ap-south sa-east);
my @roles = qw(operator builder reader reviewer oncall);
my @decisions = (('allow') x 4, ('allow_with_constraints') x 2, 'throttle',
	('require_approval') x 2, 'deny');

sub tags { return @tags; }

sub _pick { return $_[ int rand @_ ]; }
sub _chance { return rand() < $_[0]; }

# A rule's topic: two thirds name one, a third are patterns of four shapes.
sub _topic
{
	my ($i) = @_;
	my $stem = 'job.team' . ($i % 97) . ".svc$i";
	my $shape = int($i / 3) % 4;

	return "$stem." . $verbs[ $i % @verbs ] if $i % 3;
	return "$stem.*.apply" if $shape == 2;
	return "$stem.v[0-9].run" if $shape == 3;
	return "$stem.*";
}

sub _service_match
{
	my ($i) = @_;
	my %match = (topics => [ _topic($i) ]);

	$match{risk_tags} = [ _pick(@tags) ] if _chance(0.3);
	$match{risk_tags} = { any => [ _pick(@tags), _pick(@tags) ], none => ['sandbox'] }
	  if _chance(0.1);
	$match{tenants} = [ map { 'tenant-' . (($i * 7 + $_) % 200) } 0, 1 ] if _chance(0.3);
	$match{labels} = { env => _pick(@environments) } if _chance(0.2);
	$match{labels} = { team => 'team-' . ($i % 97), region => [ _pick(@regions), _pick(@regions) ] }
	  if _chance(0.1);
	$match{actor_types} = ['agent'] if _chance(0.15);
	$match{actor_ids} = [ 'agent-' . int(rand 10) . '*' ] if _chance(0.05);
	$match{when} = '$.payload.amount > ' . 100 * int(1 + rand 90) if $i % 100 == 50;
	return \%match;
}

sub _rule
{
	my ($i, $match) = @_;
	my $decision = _pick(@decisions);
	my %rule = (
		id => sprintf('rule-%05d', $i),
		owner => 'team-' . ($i % 97),
		description => "Agreed with the owners of service ; see its runbook before a change",
		match => $match,
		decision => $decision);

	$rule{reason} = "service $i is bound by rule $i" if _chance(0.5);
	$rule{constraints} =
	  { max_runtime_sec => 30 * int(1 + rand 20), network_allowlist => [ 'api.internal', "svc$i.internal" ] }
	  if $decision eq 'allow_with_constraints';
	return \%rule;
}

sub _policy
{
	my (@rules) = @_;

	return {
		version => 'v1',
		defaults => {
			decision => 'deny',
			reason => 'no rule matched',
			constraints => { max_runtime_sec => 60, max_retries => 1 } },
		rules => \@rules };
}

# Unique topics, a third of them patterns; tags, tenants, labels and actors mixed;
# one in a hundred with a `when`; and, whatever the number of rules, two that name
# no topic.
sub realistic_policy
{
	my ($count) = @_;
	my @broad = (
		{ id => 'broad-destructive', match => { risk_tags => [ 'destructive', 'prod' ] }, decision => 'deny' },
		{
			id => 'broad-finance',
			match => { risk_tags => ['finance'], actor_types => ['agent'], labels => { env => 'prod' } },
			decision => 'require_approval' });

	srand(4);
	return _policy(@broad, map { _rule($_, _service_match($_)) } 0 .. $count - @broad - 1);
}

# Rules that only broad patterns and tags select: 20 tags, no topic.
sub adversarial_policy
{
	my ($count) = @_;
	my $match = sub {
		my ($i) = @_;
		my $tag = $tags[ $i % @tags ];

		return { risk_tags => [ $i % 4 ? $tag : substr($tag, 0, 4) . '*' ] };
	};

	srand(4);
	return _policy(map { _rule($_, $match->($_)) } 0 .. $count - 1);
}

# A policy of the given matches, each allowing.
sub swept_policy
{
	my (@matches) = @_;
	my $i = 0;

	return _policy(map { { id => 'rule-' . $i++, match => $_, decision => 'allow' } } @matches);
}

sub policy_json { return JSON::PP->new->canonical->encode($_[0]); }

sub _flow
{
	my ($value) = @_;

	return '[' . join(', ', map { _flow($_) } @$value) . ']' if ref $value eq 'ARRAY';
	return '{' . join(', ', map { "$_: " . _flow($value->{$_}) } sort keys %$value) . '}'
	  if ref $value eq 'HASH';
	return $value if $value =~ /\A[\w.-]+\z/;
	return "'$value'";
}

# As somebody would write it: a key a line, short lists in one.
sub policy_yaml
{
	my ($policy) = @_;
	my $text = "version: v1\ndefaults:\n";

	$text .= "  $_: " . _flow($policy->{defaults}{$_}) . "\n" for sort keys %{ $policy->{defaults} };
	$text .= "rules:\n";
	for my $rule (@{ $policy->{rules} })
	{
		my %rest = %$rule;

		$text .= "  - id: $rule->{id}\n    match:\n";
		$text .= "      $_: " . _flow($rule->{match}{$_}) . "\n" for sort keys %{ $rule->{match} };
		delete @rest{qw(id match)};
		$text .= "    $_: " . _flow($rest{$_}) . "\n" for sort keys %rest;
	}
	return $text;
}

sub _sql_array { return 'ARRAY[' . join(', ', map { "'$_'" } @_) . ']'; }

# A query of $count jobs: job_id, job.  To be run where nothing is parallel.
sub jobs_sql
{
	my ($count) = @_;
	my $services = services;
	my $verbs = _sql_array(@verbs);
	my $tags = _sql_array(@tags);
	my $environments = _sql_array(@environments);
	my $regions = _sql_array(@regions);
	my $roles = _sql_array(@roles);

	return <<"SQL";
SELECT n AS job_id, jsonb_strip_nulls(jsonb_build_object(
	'topic', CASE
		WHEN r[1] < 0.1 THEN 'job.other' || n
		WHEN service % 3 > 0 THEN stem || ($verbs)[service % 5 + 1]
		WHEN service / 3 % 4 = 2 THEN stem || 'step' || n % 7 || '.apply'
		WHEN service / 3 % 4 = 3 THEN stem || 'v' || n % 10 || '.run'
		ELSE stem || ($verbs)[n % 5 + 1] END,
	'tenant_id', 'tenant-' || (service * 7 + floor(r[3] * 3)::integer) % 200,
	'risk_tags', to_jsonb(($tags)[1 + floor(r[4] * 17)::integer : floor(r[4] * 17)::integer + floor(r[5] * 4)::integer]),
	'capability', CASE WHEN r[6] < 0.5 THEN 'cap-' || n % 40 END,
	'requires', CASE WHEN r[7] < 0.2 THEN jsonb_build_array('tool-' || n % 15) END,
	'actor', jsonb_build_object(
		'id', 'agent-' || floor(r[8] * 1000)::integer,
		'type', CASE WHEN r[9] < 0.7 THEN 'agent' WHEN r[9] < 0.9 THEN 'service' ELSE 'human' END,
		'roles', jsonb_build_array(($roles)[n % 5 + 1])),
	'labels', jsonb_build_object(
		'env', ($environments)[1 + floor(r[10] * 3)::integer],
		'team', 'team-' || service % 97,
		'region', ($regions)[1 + floor(r[11] * 6)::integer]),
	'mcp', CASE WHEN r[12] < 0.3 THEN
		jsonb_build_object('server', 'bridge-' || n % 12, 'tool', 'tool-' || n % 60) END,
	'payload', jsonb_build_object(
		'amount', n::bigint * 7919 % 10000,
		'trace_id', md5(n::text),
		'note', repeat('work to be done ', 1 + n % 5)))) AS job
FROM (
	SELECT n, r, floor(power($services + 1, r[2]))::integer - 1 AS service,
		'job.team' || (floor(power($services + 1, r[2]))::integer - 1) % 97
			|| '.svc' || floor(power($services + 1, r[2]))::integer - 1 || '.' AS stem
	FROM (
		SELECT n, ARRAY[random(), random(), random(), random(), random(), random(),
			random(), random(), random(), random(), random(), random()] AS r
		FROM (SELECT setseed(0.4)) seed, generate_series(1, $count) n
		OFFSET 0) numbers
	OFFSET 0) jobs
SQL
}

# Jobs for the adversarial policy: one to four tags each.
sub adversarial_jobs_sql
{
	my ($count) = @_;
	my $tags = _sql_array(@tags);

	return <<"SQL";
SELECT n AS job_id, jsonb_build_object(
	'topic', 'job.team' || n % 97 || '.run',
	'tenant_id', 'tenant-' || n % 200,
	'risk_tags', to_jsonb(ARRAY(
		SELECT DISTINCT ($tags)[(n * 7 + k * (1 + n / 20 % 19)) % 20 + 1]
		FROM generate_series(1, 1 + n % 4) k ORDER BY 1))) AS job
FROM generate_series(1, $count) n
SQL
}

1;
