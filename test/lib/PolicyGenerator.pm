# Random policies and jobs, meant to meet: few values, many spellings of each.
# The same srand gives the same policies and jobs on every machine.

package PolicyGenerator;

use strict;
use warnings;
use utf8;

use Encode ();
use Exporter 'import';
use JSON::PP ();
use NaiveEvaluator qw(encode_json normalize parse_time);

our @EXPORT_OK = qw(random_document random_job random_time document_text job_text predicates);

my %values = (
	topics => [
		'job.agent.exec', 'job.agent.read', 'job.mcp-bridge.write.update_ticket',
		'job.mcp-bridge.read.issue', 'office.fill.22', 'a*b', 'q?x', 'job' ],
	tenants => [ 'default', 'acme', 'globex', 't2', 'Ünal' ],
	capabilities => [ 'kubectl.apply', 'db.migrate', 'net.http' ],
	pack_ids => [ 'pack.one', 'office', 'x[1]', 'back\\slash' ],
	actor_ids => [ 'alice', 'svc-bot', 'café', 'a b' ],
	actor_types => [ 'human', 'agent', 'service' ],
	actor_roles => [ 'admin', 'ops', 'finance', 'risk team' ],
	risk_tags => [ 'prod', 'staging', 'write', 'destructive', 'data:pii', 'secrets', 'a*b' ],
	requires => [ 'gpu', 'net', 'disk2', 'x[1]' ],
	label => [ 'prod', 'dev', 'true', '1', '1.50', '100', 'yes', 'jira', 'café' ],
	server => [ 'jira', 'github' ],
	tool => [ 'search', 'delete_issue' ],
	resource => [ 'issue/42', 'repo' ],
	action => [ 'write', 'read' ]);

my @label_names = ('env', 'team', 'n', 'région', 'secrets_present',
	'mcp.server', 'mcp_server', 'mcpServer', 'mcp_tool', 'mcpAction', 'mcp.resource');

# Between them they give true, false and unknown on the payloads below.
my @predicates = (
	'$.payload.amount > 1000',
	'lax $.payload.amount > 1000',
	'strict $.payload.amount >= 10 && $.payload.amount < 1000',
	'$.payload.amount != 7 || $.payload.price > 1.5',
	'!($.payload.flag == true)',
	'$.payload.flag == false',
	'$.payload.kind == "refund"',
	'$.payload.kind == "REFUND" || $.payload.kind == "refund"',
	'$.payload.kind starts with "ref"',
	'exists($.payload.flag)',
	'lax exists($.payload.flag)',
	'lax exists($.payload.items[*])',
	'exists($.payload.items[*] ? (@ > 7))',
	'exists($.payload.**{1 to 2} ? (@ == 3))',
	'lax $.payload.items[*] > 5',
	'$.payload.items[*] == 3',
	'$.payload.items[0] == 3',
	'exists($.payload.items[*] ? (@ != 3))',
	'!exists($.payload.items[*] ? (@ != 3))',
	'$.payload.items.size() > 1',
	'$.payload.a.type() == "object"',
	'$.payload.amount.type() == "number"',
	'($.payload.amount > 10) is unknown',
	'$.payload.a.b == null',
	'$.payload.amount > 10 || $.payload.a == null',
	'$.payload.flag == null && $.payload.amount != 5',
	'$.payload.amount + 1 > 100',
	'$.risk_tags[0] == "prod"',
	'$.topic starts with "job."',
	'$.tenant_id == "acme"',
	'exists($.tenant_id)');

# Those of a document, each once.
sub predicates
{
	my ($document) = @_;
	my %found;

	for my $rule (@{ $document->{rules} })
	{
		$found{ $_->{match}{when} } = 1
		  for grep { exists $_->{match}{when} } $rule, @{ $rule->{exceptions} // [] };
	}
	return sort keys %found;
}

sub chance { return rand() < $_[0]; }
sub pick { return $_[ int rand @_ ]; }
sub several { return map { pick(@{ $_[1] }) } 1 .. $_[0]; }
sub number { return NaiveEvaluator::Number->new($_[0]); }
sub boolean { return chance(0.5) ? JSON::PP::true() : JSON::PP::false(); }

#
# Spellings
#

my @invisible = map { chr } 0x200b, 0xad, 0x2060, 0xfeff, 0x202e, 0x2066, 0xfe0f, 0x34f, 0x7,
  0x9, 0x85, 0x115f, 0x61c, 0xe0041, 0x180e;
my @blank = map { chr } 0x20, 0xa0, 0x3000, 0x2003, 0x2028, 0xa, 0x202f;
my %other_spelling = (
	k => "\x{212a}",
	s => "\x{17f}",
	'é' => "e\x{301}",
	'Ü' => "U\x{34f}\x{308}",
	2 => "\x{b2}",
	1 => "\x{2460}",
	a => "\x{1d41a}");

# Another spelling of one character, the same once normalised.
sub odd_character
{
	my ($character) = @_;

	return uc $character if $character =~ /[a-z]/ && chance(0.3);
	return chr(ord($character) + 0xfee0) if $character =~ /[!-~]/ && chance(0.3);
	return $other_spelling{$character} if exists $other_spelling{$character} && chance(0.5);
	return pick(@invisible) . $character if chance(0.4);
	return $character . pick(@invisible);
}

# Another spelling of a string, the same once normalised.
sub odd
{
	my ($string) = @_;

	return $string if chance(0.6);
	return uc $string if chance(0.2) && $string !~ /[^ -~]/;
	$string =~ s/fi/\x{fb01}/g if chance(0.2);
	$string = join '', map { chance(0.15) ? odd_character($_) : $_ } split //, $string;
	$string = pick(@blank) . $string if chance(0.1);
	$string .= pick(@blank, @invisible) if chance(0.1);
	return $string;
}

sub class_for
{
	my ($character) = @_;
	my $member = $character =~ /[\]\[\\!*?-]/ ? "\\$character" : $character;

	return '[' . pick('a-m', 'A-M') . pick('n-z', 'N-Z') . ']'
	  if $character =~ /[a-z]/ && chance(0.3);
	return pick('[0-9]', '[0-4]', "[\x{ff11}2]") if $character =~ /[0-9]/ && chance(0.5);
	return pick('[!a-c]', '[!0-9\\]]', '[!é ]', '[!\\-.]', '[!-x]', '[!0-9-]') if chance(0.4);
	return "[$member]" if chance(0.3);
	return "[xyz$member\\!" . pick('', 'é', "\x{ff21}") . ']';
}

# A pattern that often matches a value.
sub pattern
{
	my ($value) = @_;
	my $pattern = '';

	return pick('*', '**', '?*', '*?*', 'job.*', '*.read*', '*e*', 'p*d', "\x{ff0a}")
	  if chance(0.15);
	for my $character (split //, $value)
	{
		my $literal = $character =~ /[*?\[\\]/ ? "\\$character" : $character;

		$literal = "\\$character" if chance(0.02);
		$literal = odd_character($character) if $character !~ /[\\*?\[]/ && chance(0.06);
		$literal = chr(ord($character) + 0xfee0)
		  if $character =~ /[\\*?\[]/ && chance(0.3);
		$pattern .=
			chance(0.03) ? '?'
		  : chance(0.04) ? class_for($character)
		  : chance(0.03) ? '*'
		  : chance(0.02) ? "*$literal"
		  :   $literal;
		return "$pattern*" if chance(0.03);
	}
	$pattern = pick(@blank, @invisible) . $pattern if chance(0.03);
	$pattern .= pick(@blank, @invisible) if chance(0.03) && $pattern !~ /\\\z/;
	return $pattern;
}

#
# Match
#

# A pattern as a document may hold it, a bare scalar now and then.
sub pattern_value
{
	my ($values) = @_;

	return pick(number('1.50'), number('1'), number('1e2'), JSON::PP::true(), undef)
	  if $values == $values{label} && chance(0.1);
	return pattern(pick(@$values));
}

sub patterns
{
	my ($values, $most) = @_;

	return [ map { pattern_value($values) } 1 .. int rand($most + 1) ];
}

sub condition
{
	my ($values) = @_;
	my %lists;

	return patterns($values, 3) if chance(0.5);
	$lists{any} = patterns($values, 4) if chance(0.6);
	$lists{all} = patterns($values, 2) if chance(0.3);
	$lists{none} = patterns($values, 2) if chance(0.4);
	return \%lists;
}

sub label_conditions
{
	my %conditions;

	for my $name (several(1 + int rand 2, \@label_names))
	{
		my $spelled = odd($name);

		next if grep { normalize($_) eq normalize($name) } keys %conditions;
		$conditions{$spelled} =
		  chance(0.4) ? pattern_value($values{label}) : condition($values{label});
	}
	return \%conditions;
}

sub mcp_conditions
{
	my %conditions;

	for my $part (several(1 + int rand 2, [qw(server tool resource action)]))
	{
		$conditions{"${part}s"} = condition($values{$part});
	}
	return \%conditions;
}

sub random_match
{
	my ($least, $most) = @_;
	my %match;

	for (1 .. $least + int rand($most - $least + 1))
	{
		my $key = pick(
			qw(tenants topics topics topics capabilities pack_ids actor_ids actor_types
			  actor_roles risk_tags risk_tags requires labels labels mcp secrets_present when when));

		$match{$key} =
			$key eq 'labels' ? label_conditions()
		  : $key eq 'mcp' ? mcp_conditions()
		  : $key eq 'secrets_present' ? boolean()
		  : $key eq 'when' ? pick(@predicates)
		  :   condition($values{$key});
	}
	return \%match;
}

#
# Constraints
#

my @bound_keys =
  qw(max_runtime_sec max_retries minReplicas max_allowed_hosts MAXSize min.cpu max-blocked);

# Keys by the type that their values mostly have.
my %free_keys = (
	array => [qw(deny_paths blockedHosts forbid.tools Blocklist denied-allow-list
	  network_allowlist IPAllowList allowed-tools DENYlist denyList2 forbidden v2Allow cidr-denylist
	  maximum tags)],
	boolean => [qw(disallow_network allow_network toolsAllowed isolated allow_timeout_retry
	  disallowed-allow maxx)],
	number => [qw(max2Foo disallow2 level)],
	object => [qw(limits budgets allow.limits deny_rules)],
	string => [qw(note region)]);
my %key_kind = map {
	my $kind = $_;
	map { $_ => $kind } @{ $free_keys{$kind} }
} sort keys %free_keys;

# The few that a document uses, so that its rules meet.
my @document_keys;

my @numbers = qw(0 1 1.0 1e2 100 100.00 5E-1 0.5 7 60 1e30);

# Words that YAML 1.1 takes for something else, and strings here.
my @traps = qw(no on yes True NULL 1_000 60:00 0x10 01 +1 1. .5 ~ Null off);

sub free_scalar
{
	my $kind = int rand 6;

	return number(pick(@numbers, '-3', '-0.0')) if $kind == 0;
	return boolean() if $kind == 1;
	return undef if $kind == 2 && chance(0.5);
	return pick(@traps) if $kind == 3 && chance(0.5);
	return pick('a', 'b', 'c', 'true', 'null', '1', 'é', ' x ', "\x{200b}", 'two words');
}

sub free_value
{
	my ($kind, $depth) = @_;

	$kind = pick(qw(array boolean number object string)) if chance(0.2);
	return boolean() if $kind eq 'boolean';
	return number(pick(@numbers, '-3', '-0.0')) if $kind eq 'number';
	return free_scalar() if $kind eq 'string' || !$depth;
	return random_constraints($depth - 1, int rand 5) if $kind eq 'object';
	return [ map { chance(0.15) ? free_value('object', $depth - 1) : free_scalar() } 1 .. int rand 5 ];
}

sub random_constraints
{
	my ($depth, $count) = @_;
	my %constraints;

	for (1 .. $count)
	{
		my $key = pick(@document_keys);

		$constraints{$key} =
		  exists $key_kind{$key} ? free_value($key_kind{$key}, $depth) : number(pick(@numbers));
	}
	return \%constraints;
}

#
# Documents
#

my @times = (
	'2026-06-01T12:00:00Z', '2026-06-01T12:00:00.000001Z',
	'2026-06-01T11:59:59.999999Z', '2026-06-01T14:00:00+02:00',
	'2026-06-01T06:30:00-05:30', '2020-02-29T00:00:00Z',
	'2030-01-01T00:00:00.5+00:00', '2026-06-01T12:00:00.0000019Z', '1969-12-31T23:59:59.5Z');

sub random_time { return pick(@times[ 0 .. 3 ], @times); }

sub add_times
{
	my ($rule) = @_;

	$rule->{not_before} = random_time() if chance(0.15);
	$rule->{expires_at} = random_time() if chance(0.15);
	# A rule that could never be in force may be refused.
	delete $rule->{not_before}
	  if exists $rule->{not_before}
	  && exists $rule->{expires_at}
	  && parse_time($rule->{not_before}) >=
	  parse_time($rule->{expires_at});
	return;
}

sub random_exception
{
	my ($id) = @_;
	my %exception = (
		id => $id,
		match => random_match(0, 2),
		expires_at => chance(0.7) ? '2031-01-01T00:00:00Z' : random_time(),
		reason => 'agreed');

	$exception{match}{when} //= pick(@predicates) if chance(0.35);
	$exception{ticket} = 'OPS-1' if chance(0.3);
	return \%exception;
}

sub random_velocity
{
	return {
		max_requests => number(1 + int rand 100),
		window_seconds => number(pick(1, 60, 3600, 86400)),
		key => pick('tenant', 'tenant:actor_id', 'topic:labels.env:pack_id') };
}

sub add_decision
{
	my ($rule) = @_;
	my $decision = pick(
		qw(allow allow allow_with_constraints allow_with_constraints throttle require_approval
		  require_approval deny));

	$rule->{decision} = chance(0.2) ? uc $decision : $decision;
	$rule->{constraints} = random_constraints(2, int rand 6) if chance(0.6);
	$rule->{constraints} = { %{ $rule->{constraints} // {} }, note => 'bounded' }
	  if $decision eq 'allow_with_constraints' && !%{ $rule->{constraints} // {} };
	$rule->{velocity} = random_velocity() if chance(0.12);
	$rule->{retry_after_sec} = number(pick(1, 30, 86400))
	  if $decision eq 'throttle' && chance(0.6);
	$rule->{approval} = { min_approvals => number(2), allow_self => boolean() }
	  if $decision eq 'require_approval' && chance(0.3);
	return;
}

sub random_rule
{
	my ($number) = @_;
	my %rule = (id => chance(0.05) ? number("$number.50") : "r$number");

	$rule{match} = random_match(0, pick(1, 2, 3)) if chance(0.95);
	add_decision(\%rule);
	add_times(\%rule);
	$rule{reason} = pick("because $number", 'true', 'ünïcode', number("4.$number"))
	  if chance(0.5);
	$rule{description} = 'why' if chance(0.1);
	$rule{owner} = 'team' if chance(0.1);
	$rule{enabled} = boolean() if chance(0.1);
	$rule{mode} = pick('monitor', 'monitor', 'enforce') if chance(0.25);
	$rule{exceptions} = [ map { random_exception("x$_") } 1 .. 1 + int rand 2 ]
	  if chance(0.25);
	return \%rule;
}

sub random_defaults
{
	my %defaults;

	$defaults{decision} = pick(qw(allow ALLOW allow_with_constraints require_approval deny))
	  if chance(0.8);
	$defaults{reason} = 'by default' if chance(0.5);
	$defaults{constraints} = random_constraints(2, int rand 6) if chance(0.6);
	$defaults{constraints} = { max_retries => number('2'), %{ $defaults{constraints} // {} } }
	  if ($defaults{decision} // '') eq 'allow_with_constraints';
	return \%defaults;
}

# A document as decode_json would give it.
sub random_document
{
	my %document;

	@document_keys = several(4, [ @bound_keys, sort keys %key_kind ]);
	%document =
	  (version => 'v1', rules => [ map { random_rule($_) } 0 .. int rand 12 ]);

	$document{combine} = pick(qw(first_match first_match strictest)) if chance(0.5);
	$document{defaults} = random_defaults() if chance(0.7);
	return \%document;
}

#
# Jobs
#

# Strings of one fact that agree, but for a few.
sub fact
{
	my ($values) = @_;
	my $value = pick(@$values);

	return sub {
		return undef if chance(0.03);
		return pick('', ' ', "\x{200b}") if chance(0.02);
		return odd(chance(0.03) ? pick(@$values) : $value);
	};
}

sub string_set
{
	my ($values) = @_;
	my @set = map { odd(pick(@$values)) } 1 .. int rand 5;

	push @set, pick('', "\x{ad}", $set[0] // '') if chance(0.1);
	return \@set;
}

sub add_actor
{
	my ($job) = @_;
	my ($id, $type) = map { fact($values{$_}) } qw(actor_ids actor_types);
	my $roles = string_set($values{actor_roles});

	$job->{actor}{id} = $id->() if chance(0.4);
	$job->{actor}{type} = $type->() if chance(0.4);
	$job->{actor}{roles} = $roles if chance(0.4);
	$job->{actor}{shoe_size} = number('42') if exists $job->{actor} && chance(0.1);
	$job->{actor_id} = $id->() if chance(0.25);
	$job->{actor_type} = $type->() if chance(0.25);
	$job->{actor_roles} = [ reverse map { odd($_) } @$roles ] if chance(0.2);
	$job->{actor} = undef if !exists $job->{actor} && chance(0.05);
	return;
}

sub label_value
{
	return pick(
		number('1'), number('1.0'), number('1.50'), number('1e2'), number('-0'),
		number('15e-1'), undef, JSON::PP::true(), JSON::PP::false(), '')
	  if chance(0.35);
	return odd(pick(@{ $values{label} }));
}

sub add_labels_and_mcp
{
	my ($job) = @_;
	my %part = map { $_ => fact($values{$_}) } qw(server tool resource action);
	my %labels;

	for my $name (several(int rand 4, \@label_names))
	{
		my $part = $name =~ /\Amcp[._]?(.*)\z/ ? lc $1 : undef;

		$labels{ odd($name) } =
		  $part && chance(0.9) ? $part{$part}->() : label_value();
	}
	$job->{labels} = \%labels if %labels || chance(0.1);
	for my $part (sort keys %part)
	{
		$job->{mcp}{$part} = $part{$part}->() if chance(0.25);
	}
	return;
}

sub random_payload
{
	my %payload;

	$payload{amount} =
	  pick(number('5'), number('500'), number('5000'), number('1000.00'), '5000', undef, number('7'))
	  if chance(0.8);
	$payload{kind} = pick('refund', 'REFUND', 'payout', number('3')) if chance(0.6);
	$payload{flag} = pick(boolean(), boolean(), 'true', undef) if chance(0.6);
	$payload{items} =
	  pick([], [ map { number(pick(1, 3, 8)) } 1 .. int rand 4 ], [ number('9'), 'x' ], number('8'),
	[ undef, number('3') ], undef)
	  if chance(0.6);
	$payload{price} = number(pick('1.5', '1.51')) if chance(0.4);
	$payload{a} = pick({ b => undef }, { b => number('3') }, number('3'), undef) if chance(0.4);
	return pick(\%payload, \%payload, \%payload, \%payload, [], 'text', undef);
}

# Each makes nearly any job invalid, or nearly does.
my @spoilers = (
	sub { delete $_[0]{topic} },
	sub { $_[0]{topic} = pick(undef, '', ' ', "\x{200b}\x{a0}", number('5'), ['job'], {}) },
	sub { $_[0]{topic} = 'j' x pick(1024, 1025) },
	sub { $_[0]{topic} = 'é' x pick(512, 513) },
	sub { $_[0]{risk_tags} = pick('prod', {}, ['prod', undef], [ number('1') ], [ ['prod'] ], undef) },
	sub { $_[0]{requires} = pick('gpu', number('1'), [ boolean() ], undef, []) },
	sub { $_[0]{labels} = pick([], 'env', { env => [] }, { env => {} }, undef) },
	sub { $_[0]{labels} = { env => 'prod', ENV => pick('prod', 'Prod', 'dev', undef, '') } },
	sub { $_[0]{labels}{"l$_"} = 'x' for 1 .. pick(200, 256, 257) },
	sub { $_[0]{ pick(qw(risk_tags requires actor_roles)) } = [ map { "t$_" } 1 .. pick(256, 257) ] },
	sub { $_[0]{actor} = pick('alice', [], { id => number('7') }, { roles => 'admin' }, { roles => [undef] }) },
	sub { $_[0]{actor_id} = pick(number('7'), {}, undef) },
	sub { $_[0]{mcp} = pick('jira', [], { server => number('1') }, { server => undef }) },
	sub { $_[0]{secrets_present} = pick('true', number('1'), undef, []) },
	sub { $_[0]{tenant} = pick(number('1'), undef, {}) },
	sub { $_[0]{capability} = pick(number('1'), [], undef) },
	sub { $_[0]{pack_id} = pick(boolean(), undef) },
	sub { $_[0]{idempotency_key} = pick(number('1'), 'key', undef, {}) });

sub wrapped
{
	my ($job) = @_;
	my %request = (job => $job);

	$request{tenant_id} = pick(odd(pick(@{ $values{tenants} })), undef, '', number('1'), $job->{tenant_id})
	  if chance(0.7);
	$request{other} = 'x' if chance(0.05);
	$job->{ pick(qw(tenant tenant_id)) } = pick(undef, '', ' ') if chance(0.2);
	$request{job} = pick(undef, [], 'job', { job => $job }) if chance(0.05);
	return \%request;
}

# A job as decode_json would give it.
sub random_job
{
	my %job = (topic => odd(pick(@{ $values{topics} })));
	my $tenant = fact($values{tenants});

	return pick(undef, [], 'job', number('1'), boolean(), {}, [ \%job ]) if chance(0.01);
	$job{tenant_id} = $tenant->() if chance(0.4);
	$job{tenant} = $tenant->() if chance(0.4);
	$job{capability} = odd(pick(@{ $values{capabilities} })) if chance(0.5);
	$job{pack_id} = odd(pick(@{ $values{pack_ids} })) if chance(0.5);
	$job{risk_tags} = string_set($values{risk_tags}) if chance(0.8);
	$job{requires} = string_set($values{requires}) if chance(0.5);
	add_actor(\%job);
	add_labels_and_mcp(\%job);
	$job{secrets_present} = boolean() if chance(0.3);
	$job{payload} = random_payload() if chance(0.8);
	$job{priority} = number('3') if chance(0.1);
	pick(@spoilers)->(\%job) if chance(0.1);
	return wrapped(\%job) if chance(0.08);
	return \%job;
}

# A job's text; SQL's NULL and a key given twice, the last of which counts,
# now and then.
sub job_text
{
	my ($job) = @_;
	my $text = encode_json($job);

	return undef if !defined $job && chance(0.5);
	$text =~ s/\A\{/{"topic": "shadow", / if ref $job eq 'HASH' && exists $job->{topic} && chance(0.03);
	return $text;
}

#
# YAML
#

sub yaml_quoted
{
	my ($string) = @_;

	return "'" . ($string =~ s/'/''/gr) . "'" if $string =~ /\A[ -~\x{a1}-\x{ac}\p{L}]*\z/ && chance(0.5);
	$string =~ s/(["\\])/\\$1/g;
	$string =~ s/([^ -~\p{L}])/sprintf '\\U%08x', ord $1/ge;
	$string =~ s/([^ -~])/chance(0.3) ? sprintf '\\U%08x', ord $1 : $1/ge;
	return qq("$string");
}

# In free values a plain true, false, null or number is that; elsewhere every
# scalar is a string where a string is due.
sub yaml_string
{
	my ($string, $free) = @_;
	my $plain = $string =~ /\A[A-Za-z][A-Za-z0-9_]*(?:[.-][A-Za-z0-9_]+)*\z/
	  || grep { $_ eq $string } @traps;

	$plain = 0 if $free && $string =~ /\A(?:true|false|null)\z/;
	return $plain && chance(0.8) ? $string : yaml_quoted($string);
}

sub yaml_lines
{
	my ($value, $indent, $free) = @_;
	my $pad = ' ' x $indent;
	my @lines;

	if (ref $value eq 'HASH' && %$value && chance(0.9))
	{
		for my $key (sort keys %$value)
		{
			my $below = $free || $key eq 'constraints';

			push @lines, "$pad# a comment" if chance(0.03);
			push @lines, $pad . yaml_string($key, 0) . ':'
			  . yaml_below($value->{$key}, $indent + pick(1, 2, 4), $below);
		}
		return join "\n", @lines;
	}
	if (ref $value eq 'ARRAY' && @$value && chance(0.7))
	{
		for my $element (@$value)
		{
			my $text = yaml_lines($element, $indent + 2, $free);

			push @lines, "$pad- " . ($text =~ s/\A[ ]*(?:#[^\n]*\n[ ]*)?//r);
		}
		return join "\n", @lines;
	}
	return $pad . (ref $value || !defined $value ? encode_json($value) : yaml_string($value, $free));
}

sub yaml_below
{
	my ($value, $indent, $free) = @_;
	my $text = yaml_lines($value, $indent, $free);

	return "\n$text" if $text =~ /\n/ || $text =~ /\A *(?:- |[^\s"'\[{][^ ]*: |[^\s"'\[{]+:\z)/;
	return "\n$text" if ref $value eq 'HASH' && $text !~ /\A *\{/;
	return ' ' . ($text =~ s/\A +//r);
}

# Escapes for some characters, a pair of them for one beyond the first plane.
sub json_text
{
	my ($document) = @_;
	my $text = encode_json($document);

	$text =~ s/([^ -~])/chance(0.3) ? join('', map { sprintf '\\u%04x', $_ } unpack 'n*', Encode::encode('UTF-16BE', $1)) : $1/ge;
	return $text;
}

# A document as text: JSON or block-style YAML.
sub document_text
{
	my ($document) = @_;

	return json_text($document) if chance(0.5);
	return yaml_lines($document, 0, 0) . "\n";
}

1;
