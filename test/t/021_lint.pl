# No claim of lint is ever contradicted: random documents, made so that their rules
# meet, and random jobs under policy_evaluate.
#
# POLICY_SEED chooses them (printed by every run), POLICY_CASES how many
# documents, POLICY_JOBS how many jobs each, POLICY_ONLY one document alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use NaiveEvaluator qw(encode_json);
use PolicyGenerator qw(random_document random_job document_text job_text);
use PolicyNode qw(start_policy_node load_rows query_rows evaluate_all report);
use Storable qw(dclone);
use Test::More;

my $seed = $ENV{POLICY_SEED} // int rand 1_000_000;
my $documents = $ENV{POLICY_CASES} // 1_200;
my $jobs = $ENV{POLICY_JOBS} // 30;
my @numbers = exists $ENV{POLICY_ONLY} ? $ENV{POLICY_ONLY} : 0 .. $documents - 1;
my $node = start_policy_node('lint');

# Lint looks from now on; the documents' own times end in 2030.
my @times = ('2029-12-31T23:59:59Z', '2030-01-01T00:00:00.5Z', '2030-06-01T00:00:00Z', '2031-06-01T00:00:00Z');

sub chance { return rand() < $_[0]; }
sub pick { return $_[ int rand @_ ]; }

# Some are numbers.
sub id_of { return ref $_[0]{id} ? $_[0]{id}->raw : $_[0]{id}; }

# A copy of a rule that is often inside of it.
sub relative
{
	my ($rule, $other, $number) = @_;
	my $copy = dclone($rule);

	$copy->{id} = "c$number";
	$copy->{match} = { %{ $other->{match} // {} }, %{ $copy->{match} // {} } } if chance(0.5);
	delete $copy->{exceptions} if chance(0.2);
	delete @$copy{qw(not_before expires_at)} if chance(0.4);
	if (chance(0.4))
	{
		delete @$copy{qw(approval retry_after_sec)};
		$copy->{decision} = pick(qw(allow throttle require_approval deny));
	}
	delete $copy->{velocity} if chance(0.5);
	return $copy;
}

sub generate
{
	my ($number) = @_;
	my %generated = (number => $number);
	my ($document, @rules);

	srand($seed * 10_000 + $number);
	$document = random_document();
	@rules = @{ $document->{rules} };
	delete $_->{mode} for grep { chance(0.7) } @rules;
	push @rules, relative(pick(@rules), pick(@rules), $_) for @rules ? 1 .. 2 + int rand 5 : ();
	$document->{rules} = chance(0.5) ? \@rules : [ reverse @rules ];
	$generated{text} = document_text($document);
	$generated{document} = $document;
	$generated{rules} = { map { id_of($_) => $_ } @rules };
	$generated{first_match} = ($document->{combine} // '') eq 'first_match';
	for (1 .. $jobs)
	{
		push @{ $generated{cases} }, { text => job_text(random_job()), at => pick(@times) };
	}
	return \%generated;
}

sub reproduce
{
	my ($generated) = @_;

	return "again: POLICY_SEED=$seed POLICY_JOBS=$jobs POLICY_ONLY=$generated->{number} "
	  . 'prove test/t/021_lint.pl';
}

my %claims;

sub ids_of
{
	my ($message) = @_;

	return $message =~ /rule "([^"]+)"/g;
}

# Whether a verdict contradicts a claim.
sub contradicts
{
	my ($generated, $claim, $verdict) = @_;
	my ($id, $other) = ids_of($claim->{message});
	my %listed = map { $_ => 1 } @{ $verdict->{matched_rules} }, @{ $verdict->{monitored_rules} };
	my $won = defined $verdict->{matched_rule} && $verdict->{matched_rule} eq $id;
	my $code = $claim->{code};

	return $won if $code eq 'never_wins';
	return $won || $listed{$id} if $code eq 'cannot_hold' && $claim->{message} =~ /\Arule/;
	return 0 if $verdict->{reason} =~ /\Ainvalid job/;
	return ($listed{$id} // 0) != ($listed{$other} // 0) if $code eq 'same_rule' && !$generated->{first_match};
	return 0 if $code ne 'allows_everything' || $generated->{first_match};
	return !$listed{$id} && !grep { exists $generated->{rules}{$id}{$_} } qw(not_before expires_at);
}

sub check_document
{
	my ($generated, $lint, @verdicts) = @_;
	my $wrong = 0;

	for my $claim (@$lint)
	{
		$claims{ $claim->{code} }++;
		for my $index (0 .. $#verdicts)
		{
			my $case = $generated->{cases}[$index];

			next if !contradicts($generated, $claim, $verdicts[$index]) || $wrong++;
			report("document $generated->{number}:\n$generated->{text}\n", "claim $claim->{message}\n",
				'job   ', $case->{text} // 'NULL', "\nat    $case->{at}\n",
				'got   ', encode_json($verdicts[$index]), "\n", reproduce($generated));
		}
	}
	return $wrong;
}

# A document without what lint says has no effect, and what may differ then: the
# rule's name among the matched ones, where that is all that is said to remain.
sub without
{
	my ($generated, $claim) = @_;
	my $document = dclone($generated->{document});
	my ($exception, $id) = $claim->{message} =~ /\Aexception "([^"]+)" of rule "([^"]+)"/;

	if (defined $exception)
	{
		for my $rule (grep { id_of($_) eq $id } @{ $document->{rules} })
		{
			$rule->{exceptions} = [ grep { $_->{id} ne $exception } @{ $rule->{exceptions} } ];
			delete $rule->{exceptions} if !@{ $rule->{exceptions} };
		}
		return { text => document_text($document) };
	}
	($id) = ids_of($claim->{message});
	if ($claim->{code} eq 'allows_all_topics')
	{
		delete $_->{match}{topics} for grep { id_of($_) eq $id } @{ $document->{rules} };
		return { text => document_text($document) };
	}
	return if $claim->{code} eq 'never_wins' && $claim->{hint} !~ /\A(?:It has no effect|All that remains)/;
	return if $claim->{code} !~ /\A(?:never_wins|cannot_hold)\z/;
	$document->{rules} = [ grep { id_of($_) ne $id } @{ $document->{rules} } ];
	return { text => document_text($document), id => $id };
}

# Whether a verdict is another one without what has no effect.
sub differs
{
	my ($variant, $with, $without) = @_;
	my %with = %$with;

	$with{matched_rules} = [ grep { $_ ne ($variant->{id} // '') } @{ $with{matched_rules} } ];
	return encode_json(\%with) ne encode_json($without);
}

note("POLICY_SEED=$seed POLICY_CASES=$documents POLICY_JOBS=$jobs");

my @generated = map { generate($_) } @numbers;
my (@cases, @verdicts, @lint, $number);

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE texts (text_no integer, source text);
SQL
$number = 0;
load_rows($node, 'texts', [ map { [ $number++, $_->{text} ] } @generated ]);
@lint = query_rows($node, <<'SQL');
SELECT coalesce((SELECT jsonb_agg(to_jsonb(v)) FROM policy_validate(source) v), '[]')
FROM texts ORDER BY text_no
SQL
is(scalar @lint, scalar @generated, 'every document is linted');
is(scalar(grep { $_->{severity} ne 'warning' } map { @$_ } @lint), 0, 'and none is refused');

# The example in a hint is a job like any other.
for my $index (0 .. $#generated)
{
	for my $claim (@{ $lint[$index] })
	{
		push @{ $generated[$index]{cases} }, map { { text => $1, at => $_ } } @times
		  if $claim->{hint} =~ /(?:example|apply to) (\{.*\})(?:\.| is )/;
	}
	push @cases, map { [ $index, $_->{text}, $_->{at} ] } @{ $generated[$index]{cases} };
}
@verdicts = evaluate_all($node, [ map { $_->{text} } @generated ], \@cases);
is(scalar @verdicts, scalar @cases, 'every job has a verdict');
for my $index (0 .. $#generated)
{
	my $generated = $generated[$index];

	$generated->{verdicts} = [ splice @verdicts, 0, scalar @{ $generated->{cases} } ];
	is(check_document($generated, $lint[$index], @{ $generated->{verdicts} }),
		0, "nothing contradicts what lint says of document $generated->{number}");
}

# One claim of each document, by turns: without what it is about all is as it was.
my @variants;

@cases = ();
for my $index (0 .. $#generated)
{
	my $generated = $generated[$index];
	my @claims = grep { defined } map { without($generated, $_) } @{ $lint[$index] };

	next if !@claims;
	push @variants, { %{ $claims[ $generated->{number} % @claims ] }, generated => $generated };
	push @cases, map { [ $#variants, $_->{text}, $_->{at} ] } @{ $generated->{cases} };
}
@verdicts = evaluate_all($node, [ map { $_->{text} } @variants ], \@cases);
cmp_ok(scalar @variants, '>=', $documents / 10, 'there are documents with something that has no effect')
  if !exists $ENV{POLICY_ONLY};
for my $variant (@variants)
{
	my $generated = $variant->{generated};
	my @without = splice @verdicts, 0, scalar @{ $generated->{cases} };
	my @differ = grep { differs($variant, $generated->{verdicts}[$_], $without[$_]) } 0 .. $#without;

	is(scalar @differ, 0, "what has no effect in document $generated->{number} has none");
	report("document:\n$generated->{text}\nwithout:\n$variant->{text}\n",
		'job   ', $generated->{cases}[ $differ[0] ]{text} // 'NULL', "\n",
		'with    ', encode_json($generated->{verdicts}[ $differ[0] ]), "\n",
		'without ', encode_json($without[ $differ[0] ]), "\n", reproduce($generated))
	  if @differ;
}
if (!exists $ENV{POLICY_ONLY})
{
	note(join ', ', map { "$_: $claims{$_}" } sort keys %claims);
	cmp_ok($claims{$_} // 0, '>=', $documents / 60, "$_ was claimed often enough")
	  for qw(never_wins cannot_hold same_rule allows_everything);
}

$node->stop;
done_testing();
