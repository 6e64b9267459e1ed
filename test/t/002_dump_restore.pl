# A dump of snapshots and releases restores into an empty cluster, by every way
# that pg_dump offers: documents byte for byte, the same policy in force, and the
# next release takes the next number.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PolicyStory qw(stage state verdicts policy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $origin = start_policy_node('origin');
my $seed = slurp_file("$FindBin::RealBin/../seed/policy.yaml");

$origin->safe_psql('postgres', "CREATE ROLE approver_of_origin");
stage($origin, 'v41', $seed);
stage($origin, 'v42', policy('nothing', 'deny'));
$origin->safe_psql('postgres', <<'SQL');
SET policy_engine.max_document_bytes = '16MB';
SELECT policy_stage(E'odd "name\\', U&'\FEFF# caf\00E9 \+01F600\000A{version: v1, rules: []}  \000A\000A', E'a\tnote\nof two lines');
SELECT policy_stage('crlf', E'version: v1\r\nrules: []\r\n', NULL);
SELECT policy_stage('large', ('{version: v1, rules: []} #' || repeat('x', 5000000))::policy_document, NULL);
SELECT policy_stage('roles', 'version: v1
rules: [{id: r, decision: require_approval, approval: {approvers: [approver_of_origin]}}]', NULL);
SELECT policy_publish('v41', 'first');
SELECT policy_publish('v42', 'second', 'overridden');
SELECT policy_rollback('v41', 'back');
SQL
my $state = state($origin);
my $verdicts = verdicts($origin);
my $dir = $origin->basedir;

like($verdicts, qr/^4\|DENY\|matched rule deny-destructive\|/m, 'the policy decides');
$origin->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", $origin->connstr('postgres') ], 'pg_dump, custom format');
$origin->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/directory.dump", $origin->connstr('postgres') ],
	'pg_dump, directory format, two jobs');
$origin->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $origin->connstr('postgres') ], 'pg_dump, plain');
$origin->command_ok([ 'pg_dump', '--inserts', '-f', "$dir/inserts.sql", $origin->connstr('postgres') ],
	'pg_dump, as inserts');

# Lines that differ from dump to dump by design.
sub comparable
{
	my ($text) = @_;
	return join '', grep { !/^\\(un)?restrict / && !/^-- Dumped / } split /^/, $text;
}

sub restored
{
	my ($name, @command) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', "fsync = off\n");
	$node->start;
	$node->command_ok([ @command[0 .. $#command - 1], '-d', $node->connstr('postgres'), $command[-1] ],
		"$name: restored into an empty cluster, by @command[0 .. $#command - 1]");
	is(state($node), $state, "$name: everything is as it was, documents byte for byte");
	is(verdicts($node), $verdicts, "$name: verdicts are the same");
	is($node->safe_psql('postgres', "SELECT release_id, previous_snapshot FROM policy_publish('v42', 'after')"),
		'4|v41', "$name: the next publish takes the next number");
	is($node->safe_psql('postgres', q{SELECT matched_rule FROM policy_evaluate('{"topic": "a"}'::jsonb)}),
		'nothing', "$name: and is in force");
	my ($status, $out, $err) = $node->psql('postgres', 'DELETE FROM policy.releases');
	like($err, qr/append-only/, "$name: what was restored is append-only");
	$node->stop;
	$node->clean_node;
	return;
}

restored('custom', 'pg_restore', '--exit-on-error', "$dir/custom.dump");
restored('parallel', 'pg_restore', '--exit-on-error', '-j2', "$dir/custom.dump");
restored('directory', 'pg_restore', '--exit-on-error', '-j2', "$dir/directory.dump");
restored('single', 'pg_restore', '--exit-on-error', '--single-transaction', "$dir/custom.dump");
restored('plain', 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', "--file=$dir/plain.sql");
restored('inserts', 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', "--file=$dir/inserts.sql");

# Without triggers nothing makes the trees that lie beside the documents, and a dump has none.
sub data_without_triggers
{
	my $node = PostgreSQL::Test::Cluster->new('no_triggers');

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', "fsync = off\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION policy_engine');
	$origin->command_ok([ 'pg_dump', '--data-only', '--disable-triggers', '-f', "$dir/data.sql", $origin->connstr('postgres') ],
		'pg_dump, data only, triggers disabled');
	$node->command_ok([ 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), "--file=$dir/data.sql" ],
		'data without triggers: restored');
	is($node->safe_psql('postgres', 'SELECT DISTINCT coalesce(octet_length(tree), 0) FROM policy.snapshots'), '0',
		'data without triggers: no tree came with it');
	is(verdicts($node), $verdicts, 'data without triggers: verdicts are the same');
	my $warnings = q{SELECT array_to_string(warnings, '; ') FROM policy_status()};
	like($node->safe_psql('postgres', $warnings), qr/a trigger of the extension is disabled or gone: .*policy\.releases\.release_made/,
		'data without triggers: they are no more what they were, and it is said');
	$node->safe_psql('postgres', <<'SQL');
SELECT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', relation, name)
FROM policy.expected_triggers() WHERE enabled = 'A' \gexec
SQL
	is($node->safe_psql('postgres', $warnings), '', 'data without triggers: until they are put right');
	$node->stop;
	$node->clean_node;
	return;
}
data_without_triggers();

# The binary form goes through COPY, out of one table and into another.
$origin->safe_psql('postgres', "COPY (SELECT snapshot, document FROM policy.snapshots) TO '$dir/binary' (FORMAT binary)");
$origin->safe_psql('postgres', "CREATE TABLE copied (snapshot text, document policy_document)");
$origin->safe_psql('postgres', "COPY copied FROM '$dir/binary' (FORMAT binary)");
is($origin->safe_psql('postgres',
		'SELECT count(*) FROM copied c JOIN policy.snapshots s USING (snapshot) WHERE c.document = s.document'),
	'6', 'binary COPY keeps every document byte for byte');

# A database of the same cluster restores beside the first.
$origin->safe_psql('postgres', 'CREATE DATABASE beside');
$origin->command_ok([ 'pg_restore', '--exit-on-error', '-d', $origin->connstr('beside'), "$dir/custom.dump" ],
	'restored into another database of the cluster');
$origin->command_ok([ 'pg_dump', '-f', "$dir/again.sql", $origin->connstr('beside') ], 'and dumped again');
is(comparable(slurp_file("$dir/again.sql")), comparable(slurp_file("$dir/plain.sql")), 'the dump of a restored dump is the same');

$origin->stop;
done_testing();
