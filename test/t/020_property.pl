# The engine against the naive evaluator, on random documents and jobs.
#
# POLICY_SEED chooses them (printed by every run), POLICY_CASES how many
# documents, POLICY_JOBS how many jobs each, POLICY_ONLY one document alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use NaiveEvaluator qw(decode_json encode_json read_job evaluate parse_time same_verdict);
use PolicyGenerator qw(random_document random_job random_time document_text job_text predicates);
use PolicyNode qw(start_policy_node load_rows query_rows evaluate_all report);
use Test::More;

my $seed = $ENV{POLICY_SEED} // int rand 1_000_000;
my $documents = $ENV{POLICY_CASES} // 300;
my $jobs = $ENV{POLICY_JOBS} // 40;
my @numbers = exists $ENV{POLICY_ONLY} ? $ENV{POLICY_ONLY} : 0 .. $documents - 1;
my $node = start_policy_node('property');

# Every document has a seed of its own, so that one can be run alone.
sub generate
{
	my ($number) = @_;
	my %generated;

	srand($seed * 10_000 + $number);
	$generated{number} = $number;
	$generated{document} = random_document();
	$generated{text} = document_text($generated{document});
	for (1 .. $jobs)
	{
		my $job = random_job();

		push @{ $generated{cases} }, { job => $job, text => job_text($job), at => random_time() };
	}
	return \%generated;
}

# Those that the server takes; it must take all.
sub accepted
{
	my (@generated) = @_;
	my (@answers, @accepted);
	my $number = 0;

	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE texts (text_no integer, source text);
CREATE FUNCTION refusal(source text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	more text;
BEGIN
	PERFORM source::policy_document;
	RETURN '';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS more = PG_EXCEPTION_DETAIL;
	RETURN sqlerrm || E'\n' || more;
END
$$;
SQL
	load_rows($node, 'texts', [ map { [ $number++, $_->{text} ] } @generated ]);
	@answers = query_rows($node, 'SELECT to_jsonb(refusal(source)) FROM texts ORDER BY text_no');
	is(scalar @answers, scalar @generated, 'the server reads every document');
	for my $generated (@generated)
	{
		my $refusal = shift @answers;

		push @accepted, $generated if $refusal eq '';
		next if $refusal eq '';
		fail("document $generated->{number} is accepted");
		report("$refusal\n$generated->{text}\n", reproduce($generated));
	}
	return @accepted;
}

# A job with an empty object, which compares with nothing, in every null's place
# but for those that are kept: a hash of dotted keys from the job's root.
sub without_nulls
{
	my ($value, $kept, $place) = @_;

	return $kept->{$place} ? undef : {} if !defined $value;
	return [ map { without_nulls($_, $kept, "$place\[]") } @$value ] if ref $value eq 'ARRAY';
	return { map { $_ => without_nulls($value->{$_}, $kept, "$place.$_") } keys %$value }
	  if ref $value eq 'HASH';
	return $value;
}

# The places that a predicate compares with null: plain paths, in the generator's.
sub null_places
{
	my ($predicate) = @_;

	return { map { $_ => 1 } $predicate =~ /(\$[\w.]+) == null/g };
}

# What PostgreSQL itself says of every predicate on every job.  Where a strict
# predicate answers otherwise because of a null that it does not ask for, that is
# unknown, as for what is absent: "amount": null slips past nothing.  So is one that
# answers otherwise where a filter keeps what it cannot judge.
sub ask_predicates
{
	my (@generated) = @_;
	my (@asked, @rows, @answers);

	for my $generated (@generated)
	{
		for my $case (@{ $generated->{cases} })
		{
			my $facts = eval { read_job($case->{job}) } or next;
			my $given = encode_json($facts->{job});

			for my $predicate (predicates($generated->{document}))
			{
				my $path = $predicate =~ /\A(?:lax|strict) / ? $predicate : "strict $predicate";

				push @asked, [ $case, $predicate ];
				push @rows,
				  [
					scalar @rows,
					$path,
					$path =~ s/\? \(([^()]*)\)/? ($1 || ($1) is unknown)/gr,
					$given, $predicate =~ /\A\s*lax\b/ ? $given :
					  encode_json(without_nulls($facts->{job}, null_places($predicate), '$')) ];
			}
		}
	}
	$node->safe_psql('postgres',
		'CREATE TABLE predicates (predicate_no integer, path jsonpath, keeping jsonpath, given jsonb, without jsonb)');
	load_rows($node, 'predicates', \@rows);
	@answers = query_rows($node, <<'SQL');
SELECT to_jsonb(CASE WHEN count(*) FILTER (WHERE truth) = 4 THEN 'true'
	WHEN count(*) FILTER (WHERE NOT truth) = 4 THEN 'false' ELSE 'unknown' END)
FROM predicates, unnest(ARRAY[given, without]) job, unnest(ARRAY[path, keeping]) asked,
	jsonb_path_match(job, asked, '{}', true) truth
GROUP BY predicate_no
ORDER BY predicate_no
SQL
	is(scalar @answers, scalar @rows, 'PostgreSQL answers every predicate');
	$_->[0]{when}{ $_->[1] } = shift @answers for @asked;
	return;
}

sub reproduce
{
	my ($generated) = @_;

	return "again: POLICY_SEED=$seed POLICY_JOBS=$jobs POLICY_ONLY=$generated->{number} "
	  . 'prove test/t/020_property.pl';
}

# A verdict's wait is a number of Perl's in one, a JSON number in the other.
sub show
{
	my ($verdict) = @_;
	my $wait = $verdict->{retry_after_sec};

	return encode_json({ %$verdict, defined $wait && !ref $wait
		? (retry_after_sec => NaiveEvaluator::Number->new($wait)) : () });
}

my $shown = 0;

# Explanations that say otherwise than the verdict, which policy_explain does not take
# from the index as policy_evaluate does: who applies, who wins, and a row for each rule.
sub contradicted_explanations
{
	return query_rows($node, <<'SQL');
SELECT jsonb_build_object('document', c.document_no, 'job', c.job, 'at', c.at, 'verdict', to_jsonb(v),
	'explained', to_jsonb(e))
FROM cases c
	JOIN documents d USING (document_no)
	CROSS JOIN LATERAL policy_evaluate(d.document, c.job, c.at) v
	CROSS JOIN LATERAL (
		SELECT coalesce(array_agg(x.rule ORDER BY x.rule COLLATE "C") FILTER (WHERE x.applies AND x.rule IS NOT NULL), '{}') AS applying,
			bool_and(x.applies = (x.failed_on IS NULL) OR x.rule IS NULL) AS told,
			count(DISTINCT x.rule) = count(x.rule) AS once,
			count(x.rule) AS rules,
			(array_agg(x.rule))[1] AS first, (array_agg(x.decision))[1] AS decision
		FROM policy.explain(d.document, c.job, c.at) x) e
WHERE NOT (e.told AND e.once)
	OR e.first IS DISTINCT FROM v.matched_rule OR e.decision <> v.decision
	OR e.rules <> CASE WHEN v.reason ^@ 'invalid job: ' THEN 0 ELSE d.rules END
	OR e.applying <> ARRAY(SELECT m COLLATE "C" FROM unnest(v.matched_rules || v.monitored_rules) m ORDER BY 1)
SQL
}

# Returns how many of a document's verdicts differ, showing the first, for the
# first few documents.
sub check_document
{
	my ($generated, @verdicts) = @_;
	my $differ = 0;

	for my $case (@{ $generated->{cases} })
	{
		my $got = shift @verdicts;
		my $expected = evaluate($generated->{document}, $case->{job}, parse_time($case->{at}),
			sub { $case->{when}{ $_[0] } // die "nobody asked $_[0]" });

		next if same_verdict($expected, $got);
		next if $differ++ || $shown++ >= 5;
		report("document $generated->{number}:\n$generated->{text}\n",
			'job      ', $case->{text} // 'NULL', "\n",
			"at       $case->{at}\n",
			'when     ', encode_json($case->{when} // {}), "\n",
			'expected ', show($expected), "\n",
			'got      ', show($got), "\n",
			reproduce($generated));
	}
	return $differ;
}

note("POLICY_SEED=$seed POLICY_CASES=$documents POLICY_JOBS=$jobs");

my @generated = accepted(map { generate($_) } @numbers);
my (@cases, @verdicts);

ask_predicates(@generated);
for my $index (0 .. $#generated)
{
	push @cases, map { [ $index, $_->{text}, $_->{at} ] } @{ $generated[$index]{cases} };
}
@verdicts = evaluate_all($node, [ map { $_->{text} } @generated ], \@cases);
is(scalar @verdicts, scalar @cases, 'every job has a verdict');
for my $generated (@generated)
{
	is(check_document($generated, splice @verdicts, 0, $jobs),
		0, "document $generated->{number} is decided as the naive evaluator does");
}


$node->safe_psql('postgres', 'ALTER TABLE documents ADD rules integer');
$node->safe_psql('postgres', "UPDATE documents SET rules = $_->[1] WHERE document_no = $_->[0]")
  for map { [ $_, scalar @{ $generated[$_]{document}{rules} // [] } ] } 0 .. $#generated;
my @contradicted = contradicted_explanations();

is(scalar @contradicted, 0, 'policy_explain says of every job and rule what policy_evaluate does');
report(map { encode_json($_) . "\n" } splice @contradicted, 0, 3) if @contradicted;

$node->stop;
done_testing();
