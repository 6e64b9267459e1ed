# Whatever a document or a job holds: no crash, nothing half-written, and every
# error with an SQLSTATE of its own, never internal_error.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PolicyStory qw(state);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_policy_node('bad_input');

$node->append_conf('postgresql.conf', "log_error_verbosity = verbose\nlog_min_messages = warning\n");
$node->restart;
my $postmaster = slurp_file($node->data_dir . '/postmaster.pid');

# The SQLSTATE that a statement ends with ('00000': none), and its rows.
sub outcome
{
	my ($sql) = @_;
	my ($status, $out, $err) =
	  $node->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	return ('no server', $out) if $status == 2;
	return ($err =~ /^.*?(?:ERROR|FATAL|PANIC):\s+(\w{5}):/s ? $1 : '00000', $out);
}

# An SQL expression of a text that repeats one.
sub repeated
{
	my ($text, $times) = @_;

	$text =~ s/'/''/g;
	return "repeat('$text', $times)";
}

my $rules = "E'version: v1\\nrules: []\\n'";
my $laughs = join '',
  "version: v1\nrules: []\ndefaults:\n  constraints:\n    a: &a [x, x, x, x, x, x, x, x, x, x]\n",
  map { my $next = chr(ord($_) + 1); "    $next: &$next [" . join(', ', ("*$_ ") x 10) . "]\n" } 'a' .. 'i';

# Each: what, an SQL expression of type text, what the type makes of it.
my @documents = (
	[ 'empty', "''", 'PE001' ],
	[ 'white space', repeated(' ', 100000), 'PE001' ],
	[ 'not UTF-8', q{convert_from('\xff76'::bytea, 'UTF8')}, '22021' ],
	[ 'with a NUL', q{convert_from('\x7600'::bytea, 'UTF8')}, '22021' ],
	[ 'a control character', q{E'version: v1\nrules: []\n# \x01'}, 'PE001' ],
	[ 'an escape for NUL', q{'{"version": "v1", "rules": [{"id": "r", "decision": "deny", "reason": "\u0000"}]}'}, 'PE001' ],
	[ 'half a surrogate pair', q{'{"version": "v1", "rules": [{"id": "r", "decision": "deny", "reason": "\ud83d"}]}'}, 'PE001' ],
	[ '5 MB', "$rules || '#' || " . repeated('x', 5_000_000), '00000' ],
	[ '5 MB of a list at the top', repeated("- x\n", 1_250_000), 'PE001' ],
	[ '63 MB', "$rules || '#' || " . repeated('x', 63 * 1024 * 1024), '00000' ],
	[ 'over 64 MB', "$rules || '#' || " . repeated('x', 64 * 1024 * 1024), 'PE001' ],
	[ '200 MB', "$rules || '#' || " . repeated('x', 200_000_000), 'PE001' ],
	[ 'flow lists nested 10,000 deep', repeated('[', 10000) . ' || ' . repeated(']', 10000), 'PE001' ],
	[ 'flow lists nested 10,000 deep, not closed', repeated('[', 10000), 'PE001' ],
	[ 'flow mappings nested 10,000 deep', repeated('{a: ', 10000) . ' || ' . repeated('}', 10000), 'PE001' ],
	[ 'flow mappings as keys nested 10,000 deep', repeated('{', 10000), 'PE001' ],
	[ 'block lists nested 10,000 deep', repeated('- ', 10000), 'PE001' ],
	[ 'block keys nested 10,000 deep', repeated('? ', 10000), 'PE001' ],
	[ 'lists nested a million deep', repeated('[', 1_000_000), 'PE001' ],
	[ 'block lists nested a million deep', repeated('- ', 1_000_000), 'PE001' ],
	[ 'closing brackets alone', repeated(']', 1_000_000), 'PE001' ],
	[ 'a billion laughs', '$doc$' . $laughs . '$doc$', 'PE001' ],
	[ 'an alias of itself', q{E'version: v1\nrules: &a [*a ]\n'}, 'PE001' ],
	[ 'a million anchors', "$rules || E'defaults:\\n  constraints: {x: [' || (SELECT string_agg('&a' || i || ' x', ', ') FROM generate_series(1, 300000) i) || ']}'", '00000' ],
	[ 'two documents', q{E'version: v1\nrules: []\n---\nversion: v1\nrules: []\n'}, 'PE001' ],
	[ 'many documents', repeated("---\n", 1_000_000), 'PE001' ],
	[ 'duplicate keys', q{E'version: v1\nrules: []\nrules: []\n'}, 'PE001' ],
	[ 'a million duplicate keys', repeated("a: b\n", 1_000_000), 'PE001' ],
	[ 'unknown keys', q{E'version: v1\nrules: []\nrulez: []\n'}, 'PE001' ],
	[ '100,000 unknown keys', "(SELECT string_agg('k' || i || E': x\\n', '') FROM generate_series(1, 100000) i)", 'PE001' ],
	[ 'a key of a megabyte', repeated('k', 1_000_000) . q{ || ': x'}, 'PE001' ],
	[ 'a scalar of 5 MB', q{'version: ' || } . repeated('x', 5_000_000), 'PE001' ],
	[ 'a quoted scalar of 5 MB', q{'version: "' || } . repeated('x\n', 1_700_000) . q{ || '"'}, 'PE001' ],
	[ 'a block scalar of 5 MB', q{E'version: |\n' || } . repeated("  x\n", 1_250_000), 'PE001' ],
	[ '100,000 errors', "E'version: v1\\nrules:\\n' || " . repeated("  - x\n", 100_000), 'PE001' ],
	[ '20,000 rules', "E'version: v1\\nrules:\\n' || (SELECT string_agg(format(E'  - {id: r%s, decision: deny}\\n', i), '') FROM generate_series(1, 20000) i)", '00000' ],
	[ 'a rule id of 5 MB', "E'version: v1\\nrules:\\n  - decision: deny\\n    id: ' || " . repeated('x', 5_000_000), 'PE001' ],
	[ 'a tag of a megabyte', q{'version: !' || } . repeated('x', 1_000_000) . q{ || ' v1'}, 'PE001' ],
	[ 'a directive', q{E'%YAML 1.1\n%TAG ! tag:x,2000:\n---\nversion: v1\nrules: []\n'}, 'PE001' ],
	[ 'a pattern of a megabyte', "E'version: v1\\nrules: [{id: r, decision: deny, match: {topics: [\"' || " . repeated('*a?', 333_333) . q( || '"]}}]'), '00000' ],
	[ 'combining characters, a megabyte of them', "E'version: v1\\nrules: [{id: r, decision: deny, match: {topics: [\"a' || " . q{repeat(U&'\0301\0327', 250000)} . q( || '"]}}]'), 'PE001' ],
	map({ [ "$_->[0], as a when", 'jsonb_build_object(\'version\', \'v1\', \'rules\', jsonb_build_array(jsonb_build_object(\'id\', \'r\', \'decision\', \'deny\', \'match\', jsonb_build_object(\'when\', ' . $_->[1] . '))))::text', 'PE001' ] }
		[ 'a runaway jsonpath', q{'$.** == $.**'} ],
		[ 'a jsonpath of a megabyte', q{'$' || } . repeated('.a', 500_000) ],
		[ '100,000 brackets', repeated('(', 100_000) . q{ || '$.a == 1' || } . repeated(')', 100_000) ],
		[ '100,000 nots', repeated('!(', 100_000) . q{ || '$.a == 1' || } . repeated(')', 100_000) ],
		[ '100,000 filters', q{'exists($' || } . repeated('?(exists(@', 100_000) . q{ || } . repeated('))', 100_000) . q{ || ')'} ],
		[ '100,000 signs', repeated('-', 100_000) . q{ || '$.a == 1 && $.b'} ],
		[ 'a huge subscript', q{'$.a[99999999999999999999] == 1 && $.b'} ],
		[ 'a huge number', q{'$.a == 1e999999999 && $.b'} ],
		[ 'a string that is not closed', q{'$.a == "x'} ]),
);

for my $case (@documents)
{
	my ($what, $expression, $expected) = @$case;
	my ($state) = outcome("SELECT octet_length(($expression)::policy_document::text)");
	is($state, $expected, "a document: $what");

	# policy_validate raises nothing for what a text holds.
	($state, my $out) = outcome("SELECT count(*) > 0 FROM policy_validate($expression)");
	is($state, $expected eq '22021' ? '22021' : '00000', "policy_validate raises nothing: $what");
	is($out, 't', "and has something to say: $what") if $expected eq 'PE001';
}

# Over the setting, staging and validation refuse what the type takes.
my $large = "($rules || '#' || " . repeated('x', 5_000_000) . ')';
is((outcome("SELECT policy_stage('large', $large\::policy_document, NULL)"))[0], 'PE001', '5 MB cannot be staged');
is((outcome("SELECT code, severity FROM policy_validate($large)"))[1], 'too_large|error', 'nor validated');
is((outcome('SELECT count(*) FROM policy.snapshots'))[1], '0', 'and nothing is half-written');
is((outcome("SET policy_engine.max_document_bytes = '16MB'; SELECT snapshot FROM policy_stage('large', $large\::policy_document, NULL)"))[1],
	'large', 'but where the setting allows it');
is((outcome("SELECT policy_publish('large', NULL); SELECT reason FROM policy_evaluate('{\"topic\": \"a\"}'::jsonb)"))[1] =~ /no rule matched/ ? 1 : 0,
	1, 'and it decides');

# Raw bytes: a client that sends no UTF-8, and a binary COPY of it.
my $raw = $node->basedir . '/raw.sql';
append_to_file($raw, "SELECT 'version: v1 # \xff\xfe'::policy_document;\n");
is((outcome("\\i $raw"))[0], '22021', 'bytes that are no UTF-8 from a client');
$node->safe_psql('postgres', 'CREATE TABLE received (document policy_document)');
my %sent = (
	'no policy' => [ 'version: v2', 'PE001' ],
	'not UTF-8' => [ "version: v1\nrules: []\n# \xff", '22021' ],
	'a NUL' => [ "version: v1\nrules: []\n# \0", '22021' ],
	'nothing' => [ '', 'PE001' ],
);
for my $what (sort keys %sent)
{
	my ($bytes, $expected) = @{ $sent{$what} };
	my $file = $node->basedir . "/$what.copy";
	append_to_file($file, "PGCOPY\n\xff\r\n\0" . pack('NNnN', 0, 0, 1, length $bytes) . $bytes . pack('n', 0xffff));
	is((outcome("COPY received FROM '$file' (FORMAT binary)"))[0], $expected, "received in binary: $what");
}

# Jobs.  Everything is denied by default; what is asked is only that it is
# decided, under every kind of condition.
my $policy = <<'YAML';
version: v1
rules:
  - id: everything
    decision: allow
    match:
      topics: ["*a*b*", "[!x]*"]
      risk_tags: {none: ["*x?y*z*"]}
      labels: {"*": {none: ["?*[a-z]?*"]}, env: {none: [prod]}}
      when: '!(exists($.payload.** ? (@ == 5)))'
YAML
my @jobs = (
	[ 'NULL', 'NULL', 'DENY' ],
	[ 'an array', q{'[]'}, 'DENY' ],
	[ 'a scalar', q{'5'}, 'DENY' ],
	[ 'several MB of payload', q{jsonb_build_object('topic', 'ab', 'payload', } . repeated('x', 8_000_000) . ')', 'DENY' ],
	[ '100 MB of payload', q{jsonb_build_object('topic', 'ab', 'payload', } . repeated('x', 100_000_000) . ')', 'DENY' ],
	[ 'a million small values', q{jsonb_build_object('topic', 'ab', 'payload', (SELECT jsonb_agg(i) FROM generate_series(1, 1000000) i))}, 'DENY' ],
	[ 'a million keys', q{(SELECT jsonb_object_agg('k' || i, i) FROM generate_series(1, 1000000) i)}, 'DENY' ],
	[ '10,000 tags', q{jsonb_build_object('topic', 'ab', 'risk_tags', (SELECT jsonb_agg('t' || i) FROM generate_series(1, 10000) i))}, 'DENY' ],
	[ '10,000 labels', q{jsonb_build_object('topic', 'ab', 'labels', (SELECT jsonb_object_agg('l' || i, i) FROM generate_series(1, 10000) i))}, 'DENY' ],
	[ '256 tags of 3,000 bytes', q{jsonb_build_object('topic', 'ab', 'risk_tags', (SELECT jsonb_agg(repeat('xay', 1000) || i) FROM generate_series(1, 256) i))}, undef ],
	[ '256 labels of 3,000 bytes', q{jsonb_build_object('topic', 'ab', 'labels', (SELECT jsonb_object_agg('l' || i, repeat('Xay', 1000)) FROM generate_series(1, 256) i))}, undef ],
	[ 'combining characters, 900 kB of them', q{jsonb_build_object('topic', 'ab', 'capability', 'a' || repeat(U&'\0301\0327', 225000))}, 'DENY' ],
	[ 'letters that fold to many', q{jsonb_build_object('topic', 'ab', 'capability', repeat(U&'\FDFA', 300000))}, undef ],
	[ 'invisible characters alone, 900 kB of them', q{jsonb_build_object('topic', 'ab', 'capability', repeat(U&'\200B', 300000))}, undef ],
	[ 'Hangul that composes', q{jsonb_build_object('topic', 'ab', 'capability', repeat(U&'\1112\1161\11AB', 100000))}, undef ],
	[ 'a payload nested as deep as jsonb allows', q{jsonb_build_object('topic', 'ab', 'payload', (repeat('[', 6000) || repeat(']', 6000))::jsonb)}, undef ],
	[ 'objects nested deep', q(jsonb_build_object('topic', 'ab', 'payload', (repeat('{"a":', 6000) || '1' || repeat('}', 6000))::jsonb)), undef ],
	[ 'requests nested deep', q((repeat('{"job":', 6000) || '{"topic": "ab"}' || repeat('}', 6000))::jsonb), 'DENY' ],
	[ 'tags nested deep', q{jsonb_build_object('topic', 'ab', 'risk_tags', (repeat('[', 6000) || repeat(']', 6000))::jsonb)}, 'DENY' ],
	[ 'a huge number', q{jsonb_build_object('topic', 'ab', 'labels', jsonb_build_object('env', 1e131000))}, undef ],
	[ 'a topic of a megabyte', q{jsonb_build_object('topic', } . repeated('a', 1_000_000) . ')', 'DENY' ],
);
$node->safe_psql('postgres', "SELECT policy_stage('all', \$doc\$$policy\$doc\$, NULL); SELECT policy_publish('all', NULL)");
for my $case (@jobs)
{
	my ($what, $job, $expected) = @$case;

	for my $call ("policy_evaluate($job\::jsonb)", "policy_evaluate(\$doc\$$policy\$doc\$, $job, now())")
	{
		my ($state, $out) = outcome("SELECT decision FROM $call");
		is($state, '00000', "a job: $what");
		if (defined $expected)
		{
			is($out, $expected, "$what is $expected");
		}
		else
		{
			like($out, qr/^[A-Z_]+$/, "$what is decided");
		}
	}
	my ($state) = outcome("SELECT policy_simulate($job, 'all')");
	is($state, '00000', "a request: $what");
}

# One evaluation, however long, can be cancelled.
my $heavy = <<'SQL';
SELECT decision FROM policy_evaluate((SELECT (E'version: v1\nrules:\n' || string_agg(format(
		E'  - {id: r%s, decision: deny, match: {risk_tags: {any: [%s]}}}\n', r, patterns), ''))::policy_document
	FROM generate_series(1, 2000) r, (SELECT string_agg(format('"*x?y*%s"', p), ', ') AS patterns FROM generate_series(1, 50) p) s),
	(SELECT jsonb_build_object('topic', 'a', 'risk_tags', jsonb_agg(repeat('x', 2000) || t)) FROM generate_series(1, 256) t), now())
SQL
is((outcome("SET statement_timeout = '3s'; $heavy"))[0], '57014', 'an evaluation of minutes is cancelled by statement_timeout');

# What was asked of all of them.
is(slurp_file($node->data_dir . '/postmaster.pid'), $postmaster, 'the server was never restarted');
my $log = slurp_file($node->logfile);
unlike($log, qr/XX\d\d\d:/, 'no internal error in the log');
unlike($log, qr/was terminated by signal|PANIC:/, 'no crash in the log');
is($node->safe_psql('postgres', 'SELECT string_agg(snapshot, $$ $$ ORDER BY snapshot) FROM policy.snapshots'), 'all large',
	'nothing was stored but what was meant to be');

$node->stop;
done_testing();
