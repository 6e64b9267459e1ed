# A dump of a system that is at work restores into an empty cluster with its
# triggers on, and goes on from there: what waits, runs or is half voted as it was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyLive qw(bring_to_life contents go_on);
use PolicyNode qw(start_policy_node);
use PolicySession;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @psql = ('psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1');

sub empty_cluster
{
	my ($name, $roles) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', "fsync = off\n");
	$node->start;
	# What initdb has made is there already.
	my $sql = join '', grep { !/^(CREATE|ALTER) ROLE postgres\b/ && !/^\\(un)?restrict / } split /^/, slurp_file($roles);
	$node->safe_psql('postgres', $sql);
	return $node;
}

# Lines that differ from dump to dump by design.
sub comparable
{
	my ($path) = @_;
	return join '', grep { !/^\\(un)?restrict / && !/^-- Dumped / } split /^/, slurp_file($path);
}

# Restores by a command, asks whether all is as it was, and goes on.
sub restored
{
	my ($origin, $name, @command) = @_;
	my $dir = $origin->basedir;
	my $node = empty_cluster($name, "$dir/roles.sql");

	$node->command_ok([ @command[0 .. $#command - 1], '-d', $node->connstr('postgres'), $command[-1] ], "$name: restored");
	is_deeply([ contents($node) ], [ contents($origin) ], "$name: everything is as it was, and nothing was decided or recorded");
	$node->command_ok([ 'pg_dump', '-f', "$dir/again.sql", $node->connstr('postgres') ], "$name: dumped again");
	is(comparable("$dir/again.sql"), comparable("$dir/plain.sql"), "$name: which gives the same dump");
	go_on($node, $name);
	$node->stop;
	$node->clean_node;
	return;
}

sub dumped
{
	my ($origin) = @_;
	my $dir = $origin->basedir;
	my $database = $origin->connstr('postgres');

	# Somebody is in the middle of something: of that there is nothing in a dump.
	my $writer = PolicySession->new($origin);
	$writer->ask("BEGIN; INSERT INTO policy.jobs (topic) VALUES ('read.open'), ('write.open')");
	$origin->command_ok([ 'pg_dumpall', '--roles-only', '-f', "$dir/roles.sql", '-d', $database ], 'the roles');
	$origin->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $database ], 'pg_dump, plain');
	$origin->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", $database ], 'pg_dump, custom format');
	$origin->command_ok([ 'pg_dump', '--inserts', '-f', "$dir/inserts.sql", $database ], 'pg_dump, as inserts');
	$origin->command_ok([ 'pg_dump', '--data-only', '--load-via-partition-root', '-f', "$dir/data.sql", $database ], 'pg_dump, data only');
	$writer->ask('ROLLBACK');
	$writer->finish;
	return $dir;
}

# Maintained from the first: evidence is in its month, and what is older in the default partition.
my $origin = start_policy_node('maintained');
bring_to_life($origin, maintained => 1);
my $dir = dumped($origin);
restored($origin, 'plain', @psql, "--file=$dir/plain.sql");
restored($origin, 'parallel', 'pg_restore', '--exit-on-error', '-j2', "$dir/custom.dump");
restored($origin, 'inserts', @psql, "--file=$dir/inserts.sql");

# The data alone: rights are of the definitions, so duties are given again.
my $node = empty_cluster('data_only', "$dir/roles.sql");
$node->safe_psql('postgres', 'CREATE EXTENSION policy_engine');
$node->command_ok([ @psql, '-d', $node->connstr('postgres'), "--file=$dir/data.sql" ], 'data only: restored into a new extension');
my $evidence = q{SELECT count(*), md5(string_agg(d::text, '' ORDER BY decision_id)) FROM policy.decisions d};
is($node->safe_psql('postgres', $evidence), $origin->safe_psql('postgres', $evidence), 'data only: nothing was decided or recorded');
$node->safe_psql('postgres', 'SELECT policy_grant(role, duty, identity) FROM policy.duties');
go_on($node, 'data only');
$node->stop;

# Maintained too late: the default partition has this month, and keeps it.
my $origin_late = start_policy_node('maintained_late');
bring_to_life($origin_late);
$dir = dumped($origin_late);
restored($origin_late, 'late', 'pg_restore', '--exit-on-error', '-j2', "$dir/custom.dump");
restored($origin_late, 'late_single', 'pg_restore', '--exit-on-error', '--single-transaction', "$dir/custom.dump");

$origin->stop;
$origin_late->stop;
done_testing();
