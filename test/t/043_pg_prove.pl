# pg_prove runs a snapshot's own tests, and believes what policy_test says of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_policy_node('pg_prove');

# A name that would have the test skipped, end the plan, or bail out, if it could.
my $hostile = "x # SKIP\n1..0\nBail out! # TODO";

# Stages a document with one test for each expected decision.
sub stage
{
	my ($snapshot, @expected) = @_;
	my $document = "version: v1\ntests:\n";
	my $name = $hostile =~ s/\n/\\n/gr;

	$document .= qq(  - {name: "$name", job: {topic: x}, expect: {decision: $_}}\n) for @expected;
	$node->safe_psql('postgres', "SELECT policy_stage('$snapshot', \$y\$$document\$y\$, NULL)");
	return;
}

# What pg_prove says of a file that runs a query.
sub prove
{
	my ($query) = @_;
	my $path = $node->basedir . '/test.sql';
	my ($out, $err);

	open my $file, '>', $path or die "$path: $!";
	print $file "$query;\n";
	close $file or die "$path: $!";
	my $passed = run_log(
		[ 'pg_prove', '--verbose', '--host', $node->host, '--port', $node->port, '--dbname', 'postgres', $path ],
		'>', \$out, '2>', \$err);
	return ($passed, $out . $err);
}

my ($passed, $output);

stage('good', 'deny', 'DENY');
($passed, $output) = prove(q{SELECT policy_test('good')});
ok($passed, 'tests that hold pass') or diag($output);
like($output, qr/^Files=1, Tests=2,/m, 'all of them were run, and none skipped');
like($output, qr/^Result: PASS$/m, 'the result is a pass');
unlike($output, qr/skipped|TODO passed/i, 'no name is a directive');
like($output, qr/^# touched by tests: 0 of 0 rules/m, 'what tests touch is shown');

stage('bad', 'deny', 'allow', 'deny');
($passed, $output) = prove(q{SELECT * FROM policy_test('bad')});
ok(!$passed, 'one that fails is a failure');
like($output, qr/Failed test:\s+2$/m, 'and is named by its number');
like($output, qr/^#   decision: expected allow, got DENY$/m, 'what differs is shown');

$node->safe_psql('postgres', q{SELECT policy_stage('none', 'version: v1', NULL)});
($passed, $output) = prove(q{SELECT policy_test('none')});
like($output, qr/skipped: the document has no tests/, 'a document without tests is skipped, and says so');

($passed, $output) = prove(q{SELECT policy_test('unknown')});
ok(!$passed, 'an unknown snapshot is a failure');

($passed, $output) = prove(q{SELECT policy_test_document(NULL)});
ok(!$passed, 'no document is a failure');

done_testing();
