# A server with the extension, and the way in bulk into it for tests that
# evaluate thousands of jobs.

package PolicyNode;

use strict;
use warnings;

use Encode ();
use Exporter 'import';
use NaiveEvaluator qw(decode_json);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More ();

our @EXPORT_OK = qw(start_policy_node load_rows evaluate_all query_rows report);

# A running node with the extension in database postgres.
sub start_policy_node
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', "fsync = off\nclient_encoding = utf8\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION policy_engine');
	return $node;
}

sub _copy_field
{
	my ($text) = @_;
	my %escape = ("\\" => '\\\\', "\n" => '\\n', "\r" => '\\r', "\t" => '\\t');

	return '\\N' if !defined $text;
	return $text =~ s/([\\\n\r\t])/$escape{$1}/gr;
}

# Copies rows, arrays of texts (undef is NULL), into a table that exists.
sub load_rows
{
	my ($node, $table, $rows) = @_;
	my $path = $node->basedir . "/$table.copy";

	open my $file, '>:encoding(UTF-8)', $path or die "$path: $!";
	print $file join("\t", map { _copy_field($_) } @$_), "\n" for @$rows;
	close $file or die "$path: $!";
	$node->safe_psql('postgres', "COPY $table FROM '$path' (ENCODING 'UTF8')");
	return;
}

# A query of one jsonb column to the list of its decoded values.
sub query_rows
{
	my ($node, $query) = @_;
	my $output = $node->safe_psql('postgres', $query);

	utf8::decode($output) or die 'the server sent no UTF-8';
	return map { decode_json($_) } split /\n/, $output;
}

# Verdicts of all cases, in their order.
#
#	documents	array of texts; each must be a valid document
#	cases		array of [document's index, job's text or undef, time]
sub evaluate_all
{
	my ($node, $documents, $cases) = @_;
	my $number = 0;

	$node->safe_psql('postgres', <<'SQL');
DROP TABLE IF EXISTS documents, cases;
CREATE TABLE documents (document_no integer PRIMARY KEY, document policy_document NOT NULL);
CREATE TABLE cases (case_no integer, document_no integer, job jsonb, at timestamptz);
SQL
	load_rows($node, 'documents', [ map { [ $number++, $_ ] } @$documents ]);
	$number = 0;
	load_rows($node, 'cases', [ map { [ $number++, @$_ ] } @$cases ]);
	return query_rows($node, <<'SQL');
SELECT to_jsonb(v)
FROM cases c
	JOIN documents d USING (document_no),
	policy_evaluate(d.document, c.job, c.at) v
ORDER BY c.case_no
SQL
}

# diag, of characters: the handles of a test take bytes.
sub report
{
	Test::More::diag(Encode::encode('UTF-8', join '', @_));
	return;
}

1;
