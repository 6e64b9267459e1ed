# The policy language evaluated the slow and obvious way: every rule in turn,
# every pattern as a regular expression.  It was written from
# docs/policy-language.md alone and shares nothing with the engine, so that an
# agreement of the two says something.
#
# Documents are taken as right: what the engine refuses to parse never gets
# here.  A velocity is always unknown, as for a document that is not stored.

package NaiveEvaluator;

use strict;
use warnings;
use utf8;

use Encode ();
use Exporter 'import';
use JSON::PP ();
use Time::Local ();
use Unicode::Normalize ();

our @EXPORT_OK = qw(decode_json encode_json json_equal canonical normalize
  read_job evaluate parse_time same_verdict);

my %rank = (
	ALLOW => 0,
	ALLOW_WITH_CONSTRAINTS => 1,
	THROTTLE => 2,
	REQUIRE_APPROVAL => 3,
	DENY => 4);

#
# JSON.  Numbers stay objects that hold their text, since a label is compared
# as ->> gives it; null is undef, booleans are JSON::PP's.
#

package NaiveEvaluator::Number;

sub new
{
	my ($class, $raw) = @_;

	return bless { raw => $raw }, $class;
}

sub raw { return $_[0]{raw}; }

# The text that numeric's output function gives.
sub text
{
	my ($self) = @_;
	my ($sign, $int, $frac, $exp) =
	  $self->{raw} =~ /\A(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?\z/
	  or die "not a number: $self->{raw}";

	$frac //= '';
	$exp //= 0;
	if ($exp > 0)
	{
		$frac .= '0' x ($exp - length $frac) if $exp > length $frac;
		$int .= substr($frac, 0, $exp, '');
	}
	elsif ($exp < 0)
	{
		$int = ('0' x (1 - $exp - length $int)) . $int
		  if 1 - $exp > length $int;
		$frac = substr($int, $exp, -$exp, '') . $frac;
	}
	$int =~ s/\A0+(?=\d)//;
	$sign = '' if "$int$frac" !~ /[1-9]/;
	return $sign . $int . ($frac eq '' ? '' : ".$frac");
}

# One text for all spellings of a value.
sub value
{
	my ($self) = @_;
	my $text = $self->text;

	$text =~ s/0+\z// if $text =~ /\./;
	$text =~ s/\.\z//;
	return $text;
}

sub _magnitude_compare
{
	my ($x, $y) = @_;
	my ($xi, $xf) = split /\./, $x;
	my ($yi, $yf) = split /\./, $y;

	return length $xi <=> length $yi || $xi cmp $yi || ($xf // '') cmp ($yf // '');
}

sub compare
{
	my ($x, $y) = map { $_->value } @_;
	my $x_negative = $x =~ s/\A-//;
	my $y_negative = $y =~ s/\A-//;

	return $x_negative ? -1 : 1 if $x_negative != $y_negative;
	return $x_negative ? _magnitude_compare($y, $x) : _magnitude_compare($x, $y);
}

package NaiveEvaluator;

my %unescape = (
	'"' => '"',
	'\\' => '\\',
	'/' => '/',
	b => "\b",
	f => "\f",
	n => "\n",
	r => "\r",
	t => "\t");

sub _decode_string
{
	my ($text) = @_;
	my $out = '';

	$$text =~ /\G"/gc or die 'expected a string at ' . pos $$text;
	for (;;)
	{
		if ($$text =~ /\G([^"\\]+)/gc) { $out .= $1; }
		elsif ($$text =~ /\G\\u(d[89ab]..)\\u(d[c-f]..)/gci)
		{
			$out .= chr(0x10000 + ((hex($1) & 0x3ff) << 10) + (hex($2) & 0x3ff));
		}
		elsif ($$text =~ /\G\\u([0-9a-fA-F]{4})/gc) { $out .= chr hex $1; }
		elsif ($$text =~ m{\G\\(["\\/bfnrt])}gc) { $out .= $unescape{$1}; }
		elsif ($$text =~ /\G"/gc) { return $out; }
		else { die 'bad string at ' . pos $$text; }
	}
}

sub _decode_value
{
	my ($text) = @_;

	$$text =~ /\G\s+/gc;
	if ($$text =~ /\G\{\s*/gc)
	{
		my %object;

		return \%object if $$text =~ /\G\}/gc;
		for (;;)
		{
			my $key = _decode_string($text);

			$$text =~ /\G\s*:/gc or die 'expected : at ' . pos $$text;
			$object{$key} = _decode_value($text);
			return \%object if $$text =~ /\G\s*\}/gc;
			$$text =~ /\G\s*,\s*/gc or die 'expected , at ' . pos $$text;
		}
	}
	if ($$text =~ /\G\[\s*/gc)
	{
		my @array;

		return \@array if $$text =~ /\G\]/gc;
		for (;;)
		{
			push @array, _decode_value($text);
			return \@array if $$text =~ /\G\s*\]/gc;
			$$text =~ /\G\s*,/gc or die 'expected , at ' . pos $$text;
		}
	}
	return JSON::PP::true() if $$text =~ /\Gtrue\b/gc;
	return JSON::PP::false() if $$text =~ /\Gfalse\b/gc;
	return undef if $$text =~ /\Gnull\b/gc;
	return NaiveEvaluator::Number->new($1)
	  if $$text =~ /\G(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)/gc;
	return _decode_string($text);
}

# Text (characters, not bytes) to a value.
sub decode_json
{
	my ($text) = @_;
	my $value;

	pos($text) = 0;
	$value = _decode_value(\$text);
	$text =~ /\G\s*\z/gc or die 'garbage after JSON at ' . pos $text;
	return $value;
}

sub kind
{
	my ($value) = @_;

	return 'null' if !defined $value;
	return 'string' if !ref $value;
	return 'object' if ref $value eq 'HASH';
	return 'array' if ref $value eq 'ARRAY';
	return 'number' if ref $value eq 'NaiveEvaluator::Number';
	return 'boolean' if JSON::PP::is_bool($value);
	die 'no JSON value: ' . ref $value;
}

sub _encode_string
{
	my ($string) = @_;

	$string =~ s/(["\\])/\\$1/g;
	$string =~ s/([\x00-\x1f\x7f-\x9f\x{2028}\x{2029}\x{feff}])/sprintf '\\u%04x', ord $1/ge;
	return qq("$string");
}

# A value to text; keys sorted, numbers as they were written, or for
# canonical() as one spelling.
sub encode_json
{
	my ($value, $number) = @_;
	my $kind = kind($value);

	$number //= 'raw';
	return 'null' if $kind eq 'null';
	return _encode_string($value) if $kind eq 'string';
	return $value->$number if $kind eq 'number';
	return $value ? 'true' : 'false' if $kind eq 'boolean';
	return '[' . join(', ', map { encode_json($_, $number) } @$value) . ']'
	  if $kind eq 'array';
	return '{'
	  . join(', ',
		map { _encode_string($_) . ': ' . encode_json($value->{$_}, $number) }
		  sort keys %$value)
	  . '}';
}

# The same text for values that jsonb's = calls equal.
sub canonical { return encode_json($_[0], 'value'); }

sub json_equal { return canonical($_[0]) eq canonical($_[1]); }

#
# Normalisation and patterns
#

# Everything but the trimming, which is for the outer ends alone.
sub _fold
{
	my ($string) = @_;
	my $before;

	do
	{
		$before = $string;
		$string =~ s/[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Cc}]//g;
		$string = Unicode::Normalize::NFKC($string);
	} while ($string ne $before);
	$string =~ tr/A-Z/a-z/;
	return $string;
}

sub _trim_left { return $_[0] =~ s/\A\p{White_Space}+//r; }
sub _trim_right { return $_[0] =~ s/\p{White_Space}+\z//r; }

sub normalize { return _trim_left(_trim_right(_fold($_[0]))); }

sub _class_member
{
	my ($text) = @_;

	$$text =~ /\G\\?(.)/gcs or die 'bad class';
	return $1;
}

# After the opening bracket: what the class is as a regular expression.
sub _class_regex
{
	my ($text) = @_;
	my $negated = $$text =~ /\G!/gc ? '^' : '';
	my $members = '';

	until ($$text =~ /\G\]/gc)
	{
		my $first = _class_member($text);
		my $folded;

		if ($first =~ /[0-9A-Za-z]/ && $$text =~ /\G-(?!\])/gc)
		{
			$members .= lc($first) . '-' . lc(_class_member($text));
			next;
		}
		$folded = _fold($first);
		length $folded == 1 or die 'bad class member';
		$members .= sprintf '\\x{%x}', ord $folded;
	}
	return "[$negated$members]";
}

my %regex_cache;

sub _pattern_regex
{
	my ($pattern) = @_;
	my $text = $pattern;
	my (@parts, $regex);

	return $regex_cache{$pattern} if $regex_cache{$pattern};
	pos($text) = 0;
	while (pos $text < length $text)
	{
		if ($text =~ /\G\*/gc) { push @parts, { regex => '.*' }; }
		elsif ($text =~ /\G\?/gc) { push @parts, { regex => '.' }; }
		elsif ($text =~ /\G\[/gc) { push @parts, { regex => _class_regex(\$text) }; }
		elsif ($text =~ /\G\\?(.)/gcs)
		{
			push @parts, { literal => '' } if !@parts || !exists $parts[-1]{literal};
			$parts[-1]{literal} .= $1;
		}
	}
	exists $_->{literal} and $_->{literal} = _fold($_->{literal}) for @parts;
	$parts[0]{literal} = _trim_left($parts[0]{literal}) if exists $parts[0]{literal};
	$parts[-1]{literal} = _trim_right($parts[-1]{literal}) if exists $parts[-1]{literal};
	$regex = join '', map { $_->{regex} // quotemeta $_->{literal} } @parts;
	return $regex_cache{$pattern} = qr/\A$regex\z/s;
}

# Where a document's string is due every scalar is its text.
sub _scalar_text
{
	my ($value) = @_;
	my $kind = kind($value);

	return $value if $kind eq 'string';
	return $value->raw if $kind eq 'number';
	return 'null' if $kind eq 'null';
	return $value ? 'true' : 'false';
}

sub _pattern_matches
{
	my ($pattern, $value) = @_;

	return $value =~ _pattern_regex(_scalar_text($pattern));
}

#
# The job
#

sub _invalid { die { invalid => $_[0] }; }

# A string, normalised; undef where it is absent.
sub _string
{
	my ($value, $what) = @_;

	return undef if !defined $value;
	_invalid("$what is no string") if kind($value) ne 'string';
	$value = normalize($value);
	return $value eq '' ? undef : $value;
}

# An array of strings as a set, sorted; undef where it is absent.
sub _string_set
{
	my ($value, $what) = @_;
	my %set;

	return undef if !defined $value;
	_invalid("$what is no array") if kind($value) ne 'array';
	_invalid("$what has too many items") if @$value > 256;
	for my $element (@$value)
	{
		_invalid("$what has an element that is no string") if kind($element) ne 'string';
		$set{ normalize($element) } = 1;
	}
	delete $set{''};
	return %set ? [ sort keys %set ] : undef;
}

sub _object
{
	my ($value, $what) = @_;

	return {} if !defined $value;
	_invalid("$what is no object") if kind($value) ne 'object';
	return $value;
}

# What several spellings of one fact say.
sub _one_fact
{
	my ($what, @spellings) = @_;
	my %seen;

	@spellings = grep { defined } @spellings;
	$seen{ ref $_ ? join("\0", @$_) : $_ } = 1 for @spellings;
	_invalid("$what is given twice, differently") if keys %seen > 1;
	return $spellings[0];
}

sub _label_value
{
	my ($value) = @_;
	my $kind = kind($value);

	return undef if $kind eq 'null';
	_invalid('a label is no scalar') if $kind eq 'object' || $kind eq 'array';
	$value = $value->text if $kind eq 'number';
	$value = $value ? 'true' : 'false' if $kind eq 'boolean';
	$value = normalize($value);
	return $value eq '' ? undef : $value;
}

sub _read_labels
{
	my ($job) = @_;
	my $given = _object($job->{labels}, 'labels');
	my %labels;

	_invalid('too many labels') if keys %$given > 256;
	for my $name (sort keys %$given)
	{
		my $value = _label_value($given->{$name});
		my $folded = normalize($name);

		next if !defined $value;
		$labels{$folded} = _one_fact("label $folded", $labels{$folded}, $value);
	}
	return \%labels;
}

# The job itself and the tenant that the request around it names.  A predicate
# reads that tenant where the job has none.
sub _unwrap
{
	my ($given) = @_;
	my ($job, $tenant);

	_invalid('no object') if kind($given) ne 'object';
	return ($given, undef)
	  if !exists $given->{job} || grep { $_ ne 'job' && $_ ne 'tenant_id' } keys %$given;
	$job = $given->{job};
	_invalid('the job is no object') if kind($job) ne 'object';
	$tenant = _string($given->{tenant_id}, 'tenant_id');
	$job = { %$job, tenant_id => $given->{tenant_id} }
	  if defined $tenant
	  && !defined _string($job->{tenant_id}, 'tenant_id')
	  && !defined _string($job->{tenant}, 'tenant');
	return ($job, $tenant);
}

sub _read_mcp
{
	my ($job, $labels) = @_;
	my $mcp = _object($job->{mcp}, 'mcp');
	my %facts;

	for my $part (qw(server tool resource action))
	{
		$facts{$part} = _one_fact(
			"mcp.$part",
			_string($mcp->{$part}, "mcp.$part"),
			map { $labels->{$_} } "mcp.$part", "mcp_$part", "mcp$part");
	}
	return \%facts;
}

sub _read_secrets
{
	my ($job, $labels, $tags) = @_;
	my $field = $job->{secrets_present};

	_invalid('secrets_present is no boolean')
	  if defined $field && kind($field) ne 'boolean';
	return 1 if $field;
	return 1 if ($labels->{secrets_present} // '') =~ /\A(?:true|1|yes)\z/;
	return 1 if grep { $_ eq 'secrets' } @{ $tags // [] };
	return 0;
}

# The facts that conditions read.  Dies with {invalid => what}.
sub read_job
{
	my ($given) = @_;
	my ($job, $outer_tenant) = _unwrap($given);
	my $actor = _object($job->{actor}, 'actor');
	my $labels = _read_labels($job);
	my $topic = _string($job->{topic}, 'topic');
	my $tags = _string_set($job->{risk_tags}, 'risk_tags');

	_invalid('no topic') if !defined $topic;
	_invalid('topic too long') if length Encode::encode('UTF-8', $job->{topic}) > 1024;
	_string($job->{idempotency_key}, 'idempotency_key');
	return {
		job => $job,
		topics => $topic,
		tenants => _one_fact('tenant', $outer_tenant,
			_string($job->{tenant_id}, 'tenant_id'), _string($job->{tenant}, 'tenant'))
		  // 'default',
		capabilities => _string($job->{capability}, 'capability'),
		pack_ids => _string($job->{pack_id}, 'pack_id'),
		actor_ids => _one_fact('actor.id',
			_string($actor->{id}, 'actor.id'), _string($job->{actor_id}, 'actor_id')),
		actor_types => _one_fact('actor.type',
			_string($actor->{type}, 'actor.type'), _string($job->{actor_type}, 'actor_type')),
		actor_roles => _one_fact('actor.roles',
			_string_set($actor->{roles}, 'actor.roles'),
			_string_set($job->{actor_roles}, 'actor_roles')),
		risk_tags => $tags,
		requires => _string_set($job->{requires}, 'requires'),
		labels => $labels,
		mcp => _read_mcp($job, $labels),
		secrets_present => _read_secrets($job, $labels, $tags) };
}

#
# Match.  Truth is 'true', 'false' or 'unknown', which only a when gives.
#

sub _any
{
	my ($patterns, $values) = @_;

	for my $pattern (@$patterns)
	{
		return 1 if grep { _pattern_matches($pattern, $_) } @$values;
	}
	return 0;
}

sub _all
{
	my ($patterns, $values) = @_;

	for my $pattern (@$patterns)
	{
		return 0 if !grep { _pattern_matches($pattern, $_) } @$values;
	}
	return 1;
}

# A condition in list or map form against a value, a set or nothing.
sub _condition_holds
{
	my ($condition, $field, $plain) = @_;
	my $lists = kind($condition) eq 'array' ? { $plain => $condition } : $condition;
	my ($any, $all, $none) = map { $lists->{$_} // [] } qw(any all none);
	my $values = !defined $field ? [] : ref $field ? $field : [$field];

	return 0 if @$any && !_any($any, $values);
	return 0 if @$all && !_all($all, $values);
	return 0 if @$none && _any($none, $values);
	return 1;
}

sub _label_holds
{
	my ($condition, $value) = @_;
	my $kind = kind($condition);

	$condition = [$condition] if $kind ne 'array' && $kind ne 'object';
	return defined $value
	  if kind($condition) eq 'array'
	  ? !@$condition
	  : !grep { @$_ } values %$condition;
	return _condition_holds($condition, $value, 'any');
}

sub _labels_hold
{
	my ($conditions, $labels) = @_;

	for my $name (keys %$conditions)
	{
		return 0 if !_label_holds($conditions->{$name}, $labels->{ normalize($name) });
	}
	return 1;
}

sub _mcp_holds
{
	my ($conditions, $mcp) = @_;

	for my $key (keys %$conditions)
	{
		return 0 if !_condition_holds($conditions->{$key}, $mcp->{ $key =~ s/s\z//r }, 'any');
	}
	return 1;
}

sub _match
{
	my ($match, $facts, $when) = @_;

	for my $key (grep { $_ ne 'when' } keys %$match)
	{
		my $condition = $match->{$key};
		my $plain = $key eq 'risk_tags' || $key eq 'requires' ? 'all' : 'any';
		my $holds =
			$key eq 'labels' ? _labels_hold($condition, $facts->{labels})
		  : $key eq 'mcp' ? _mcp_holds($condition, $facts->{mcp})
		  : $key eq 'secrets_present' ? !$condition == !$facts->{secrets_present}
		  :   _condition_holds($condition, $facts->{$key}, $plain);

		return 'false' if !$holds;
	}
	return 'true' if !exists $match->{when};
	return $when->(_scalar_text($match->{when}), $facts->{job});
}

#
# Times
#

# RFC 3339 to microseconds since 1970.
sub parse_time
{
	my ($text) = @_;
	my ($year, $month, $day, $hour, $minute, $second, $fraction, $zone) = $text =~
	  /\A(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|z|[-+]\d\d:\d\d)\z/
	  or die "not a timestamp: $text";
	my $time = Time::Local::timegm_modern($second, $minute, $hour, $day, $month - 1, $year);

	if ($zone =~ /\A([-+])(\d\d):(\d\d)\z/)
	{
		my $offset = $2 * 3600 + $3 * 60;

		$time -= $1 eq '-' ? -$offset : $offset;
	}
	return $time * 1_000_000 + substr(($fraction // '') . '000000', 0, 6);
}

sub _within
{
	my ($thing, $at) = @_;

	return 0 if exists $thing->{not_before} && $at < parse_time($thing->{not_before});
	return 0 if exists $thing->{expires_at} && $at >= parse_time($thing->{expires_at});
	return 1;
}

#
# Rules
#

sub _decision_of
{
	my ($rule) = @_;
	my $decision = uc _scalar_text($rule->{decision});

	return 'ALLOW_WITH_CONSTRAINTS' if $decision eq 'ALLOW' && %{ $rule->{constraints} // {} };
	return $decision;
}

sub _excepted
{
	my ($rule, $facts, $at, $when) = @_;
	my $result = 'false';

	for my $exception (grep { _within($_, $at) } @{ $rule->{exceptions} // [] })
	{
		my $holds = _match($exception->{match}, $facts, $when);

		return 'true' if $holds eq 'true';
		$result = 'unknown' if $holds eq 'unknown';
	}
	return $result;
}

# Whether a rule applies: 'yes', 'no', 'unknown' (it does, because something
# was unknown), or 'maybe' (it permits, and its exception is unknown).
sub _applies
{
	my ($rule, $facts, $at, $when) = @_;
	my $restricts = $rank{ _decision_of($rule) } >= $rank{THROTTLE};
	my ($matches, $excepted);

	return 'no' if exists $rule->{enabled} && !$rule->{enabled};
	return 'no' if !_within($rule, $at);
	$matches = _match($rule->{match} // {}, $facts, $when);
	return 'no' if $matches eq 'false';
	$excepted = _excepted($rule, $facts, $at, $when);
	return 'no' if $excepted eq 'true';
	$matches = 'unknown' if $rule->{velocity};
	return 'yes' if $matches eq 'true' && $excepted eq 'false';
	return 'unknown' if $restricts;
	return $matches eq 'unknown' ? 'no' : 'maybe';
}

sub _wait_of
{
	my ($rule) = @_;

	return 0 + _scalar_text($rule->{velocity}{window_seconds}) if $rule->{velocity};
	return exists $rule->{retry_after_sec} ? 0 + _scalar_text($rule->{retry_after_sec}) : 5;
}

# What stands in a verdict for a rule, and below for the default.
sub _member
{
	my ($rule, $applies) = @_;
	my $id = _scalar_text($rule->{id});
	my $decision = _decision_of($rule);

	return {
		id => $id,
		applies => $applies,
		decision => $decision,
		reason => exists $rule->{reason} ? _scalar_text($rule->{reason}) : "matched rule $id",
		constraints => $rule->{constraints} // {},
		wait => $decision eq 'THROTTLE' ? _wait_of($rule) : 0 };
}

sub _default_member
{
	my ($policy) = @_;
	my $defaults = $policy->{defaults} // {};

	return {
		id => undef,
		decision => uc _scalar_text($defaults->{decision} // 'deny'),
		reason => exists $defaults->{reason} ? _scalar_text($defaults->{reason}) : 'no rule matched',
		constraints => $defaults->{constraints}
		  // {
			max_runtime_sec => NaiveEvaluator::Number->new('60'),
			max_retries => NaiveEvaluator::Number->new('1') },
		wait => 0 };
}

#
# Constraints
#

sub _words
{
	my ($key) = @_;

	$key =~ s/([a-z0-9])(?=[A-Z])/$1_/g;
	$key =~ s/([A-Z])(?=[A-Z][a-z])/$1_/g;
	return map { lc } split /[-_.]+/, $key =~ s/\A[-_.]+//r;
}

my %deny_word = map { $_ => 1 }
  qw(deny denied denylist disallow disallowed block blocked blocklist forbid forbidden);
my %allow_word = map { $_ => 1 } qw(allow allowed allowlist);

sub _distinct
{
	my %seen;

	return [ grep { !$seen{ canonical($_) }++ } @_ ];
}

# Two values of one key, the first of the higher standing.
sub _tighter
{
	my ($key, $high, $low) = @_;
	my $kind = kind($high);
	my @words = _words($key);
	my $denies = grep { $deny_word{$_} } @words;
	my $allows = !$denies && grep { $allow_word{$_} } @words;
	my $first = $words[0] // '';

	return $high if $kind ne kind($low);
	return merge_constraints($high, $low) if $kind eq 'object';
	if ($kind eq 'array' && $denies)
	{
		return _distinct(@$high, @$low);
	}
	if ($kind eq 'array' && $allows)
	{
		my %in_low = map { canonical($_) => 1 } @$low;

		return _distinct(grep { $in_low{ canonical($_) } } @$high);
	}
	if ($kind eq 'boolean')
	{
		return $high && $low ? $high : JSON::PP::false() if $allows;
		return $high || $low ? JSON::PP::true() : $high;
	}
	if ($kind eq 'number')
	{
		return $low if $first eq 'max' && $low->compare($high) < 0;
		return $low if $first eq 'min' && $low->compare($high) > 0;
	}
	return $high;
}

sub merge_constraints
{
	my ($high, $low) = @_;
	my %merged = %$high;

	for my $key (keys %$low)
	{
		$merged{$key} =
		  exists $high->{$key} ? _tighter($key, $high->{$key}, $low->{$key}) : $low->{$key};
	}
	return \%merged;
}

sub _fill
{
	my ($constraints, $defaults) = @_;
	my %filled = %$constraints;

	for my $key (keys %$defaults)
	{
		if (!exists $filled{$key}) { $filled{$key} = $defaults->{$key}; }
		elsif (kind($filled{$key}) eq 'object' && kind($defaults->{$key}) eq 'object')
		{
			$filled{$key} = _fill($filled{$key}, $defaults->{$key});
		}
	}
	return \%filled;
}

#
# Verdicts
#

# Members come in document order, the default last.
sub _by_standing
{
	my (@members) = @_;
	my @order =
	  sort { $rank{ $members[$b]{decision} } <=> $rank{ $members[$a]{decision} } || $a <=> $b }
	  0 .. $#members;

	return map { $members[$_] } @order;
}

sub _weigh
{
	my ($default, @members) = @_;
	my @standing = _by_standing(@members);
	my $winner = $standing[0];
	my $constraints = {};
	my ($wait) = sort { $b <=> $a } map { $_->{wait} } @members;

	$constraints = merge_constraints($constraints, $_->{constraints})
	  for grep { $_->{decision} ne 'DENY' } @standing;
	return {
		decision => $winner->{decision},
		reason => $winner->{reason},
		constraints => $winner->{decision} eq 'DENY'
		? {}
		: _fill($constraints, $default->{constraints}),
		matched_rule => $winner->{id},
		matched_rules => [ map { $_->{id} // () } @members ],
		retry_after_sec => $winner->{decision} eq 'THROTTLE' ? $wait : undef };
}

# The default counts too where nothing applies for certain.
sub _weigh_all
{
	my ($default, @members) = @_;
	my $certain = grep { $_->{applies} eq 'yes' } @members;

	return _weigh($default, @members, $certain ? () : $default);
}

sub _strictest
{
	my ($default, @members) = @_;
	my $without = _weigh_all($default, grep { $_->{applies} ne 'maybe' } @members);
	my $with = _weigh_all($default, @members);
	my $stricter = $rank{ $with->{decision} } <=> $rank{ $without->{decision} };
	my $merged;

	return $without if !grep { $_->{applies} eq 'maybe' } @members;
	return $with if $stricter > 0;
	return $without if $stricter < 0;
	$merged = merge_constraints($without->{constraints}, $with->{constraints});
	return $without if json_equal($merged, $without->{constraints});
	return { %$with, constraints => $merged };
}

sub _first_match
{
	my ($default, @members) = @_;
	my @chain;
	my $verdict;

	for my $member (@members, { %$default, applies => 'yes' })
	{
		push @chain, $member;
		last if $member->{applies} eq 'yes';
	}
	$verdict = _weigh($default, @chain);
	$verdict->{matched_rules} = [ $verdict->{matched_rule} // () ];
	return $verdict;
}

# The verdict on a job.
#
#	policy		a document, decoded by decode_json
#	job			decoded by decode_json; undef is NULL or JSON's null
#	at			microseconds, from parse_time
#	when		called with a predicate's text as the document has it and the
#				job, unwrapped; returns 'true', 'false' or 'unknown'
sub evaluate
{
	my ($policy, $job, $at, $when) = @_;
	my $default = _default_member($policy);
	my $facts = eval { read_job($job) };
	my $verdict;
	my (@members, @monitored);

	if (!$facts)
	{
		die $@ if ref $@ ne 'HASH';
		return {
			decision => 'DENY',
			reason => "invalid job: $@->{invalid}",
			constraints => {},
			matched_rule => undef,
			matched_rules => [],
			monitored_rules => [],
			retry_after_sec => undef };
	}
	for my $rule (@{ $policy->{rules} // [] })
	{
		my $applies = _applies($rule, $facts, $at, $when);
		my $monitor = _scalar_text($rule->{mode} // 'enforce') eq 'monitor';

		next if $applies eq 'no';
		if (!$monitor) { push @members, _member($rule, $applies); }
		elsif ($applies ne 'maybe') { push @monitored, _scalar_text($rule->{id}); }
	}
	$verdict =
	  ($policy->{combine} // 'strictest') eq 'first_match'
	  ? _first_match($default, @members)
	  : _strictest($default, @members);
	$verdict->{monitored_rules} = \@monitored;
	return $verdict;
}

# Whether two verdicts agree on the keys of the first.  A reason of
# "invalid job" stands for any that begins so.
sub same_verdict
{
	my ($expected, $got) = @_;

	for my $key (keys %$expected)
	{
		my ($x, $y) = ($expected->{$key}, $got->{$key});

		next
		  if $key eq 'reason'
		  && ($x // '') =~ /\Ainvalid job/
		  && ($y // '') =~ /\Ainvalid job: ./s;
		if ($key eq 'retry_after_sec')
		{
			$_ = defined $_ ? NaiveEvaluator::Number->new(ref $_ ? $_->raw : "$_") : undef
			  for $x, $y;
		}
		return 0 if !json_equal($x, $y);
	}
	return 1;
}

1;
