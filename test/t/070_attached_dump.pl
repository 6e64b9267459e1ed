# A database with attached tables goes through a dump: the tables, their triggers, what
# waits and the presets that an admin has made; and a held row goes on there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $origin = start_policy_node('origin');
my $dir = $origin->basedir;

$origin->safe_psql('postgres', <<'SQL');
CREATE ROLE operator;
SELECT policy_stage('v1', 'version: v1
defaults: {decision: allow}
rules:
  - {id: ask, match: {topics: ["ask.*"]}, decision: require_approval, approval: {allow_self: true}}
  - {id: deny, match: {topics: ["deny.*"]}, decision: deny}
  - {id: wait, match: {topics: ["wait.*"]}, decision: throttle, retry_after_sec: 3600}', NULL);
SELECT policy_publish('v1', NULL);
SELECT policy_grant('operator', 'operate');
CREATE TABLE "odd ""table" (id int PRIMARY KEY, topic text, payload jsonb, status text DEFAULT 'pending', run_at timestamptz DEFAULT '2026-01-01 00:00:00+00');
CREATE TABLE parts (id int, topic text, payload jsonb, status text DEFAULT 'pending', run_at timestamptz DEFAULT now(), PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (100);
INSERT INTO policy.attach_presets (preset, job, hold, deny, throttle, starts) VALUES
	('mine', 'jsonb_build_object(''topic'', topic)', '{"status": "''held''"}', '{"status": "''denied''"}', '{"run_at": "retry_at"}', 'new.status = ''running'' AND old.status <> ''running''');
GRANT SELECT, UPDATE, TRIGGER ON "odd ""table" TO operator;
SET SESSION AUTHORIZATION operator;
SELECT policy_attach('"odd ""table"', 'mine');
RESET SESSION AUTHORIZATION;
SELECT policy_attach('parts');
INSERT INTO "odd ""table" VALUES (1, 'ask.a'), (2, 'deny.a'), (3, 'wait.a'), (4, 'free.a');
INSERT INTO parts VALUES (1, 'ask.a'), (2, 'free.a');
SQL

# All that can be asked of the guards.
sub state_of
{
	my ($node) = @_;
	return $node->safe_psql('postgres', <<'SQL');
SELECT job_table, preset, attached_by, partitions, present, enabled, current, warnings FROM policy_attachments ORDER BY 1;
SELECT * FROM policy.guarded_jobs ORDER BY job_table, job_key;
SELECT preset, built_in, job FROM policy.attach_presets ORDER BY 1;
SELECT * FROM "odd ""table" ORDER BY id;
SELECT id, topic, status FROM parts ORDER BY id;
SELECT approval_id, job_table, job_key, status FROM policy.approvals ORDER BY 1;
SELECT decision_id, job_table, job_key, decision, source FROM policy.decisions ORDER BY 1;
SQL
}

my $state = state_of($origin);
like($state, qr/^public\."odd ""table"\|mine\|operator\|0\|t\|t\|t\|\{\}$/m, 'the guards are there');
$origin->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", $origin->connstr('postgres') ], 'pg_dump, custom format');
$origin->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $origin->connstr('postgres') ], 'pg_dump, plain');

sub restored
{
	my ($name, @command) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', "fsync = off\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE ROLE operator');
	$node->command_ok([ @command, '-d', $node->connstr('postgres') ], "$name: it restores");
	return $node;
}

for my $case ([ 'custom', 'pg_restore', '--exit-on-error', "$dir/custom.dump" ],
	[ 'parallel', 'pg_restore', '--exit-on-error', '-j4', "$dir/custom.dump" ],
	[ 'plain', 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql" ])
{
	my ($name, @command) = @$case;
	my $node = restored($name, @command);

	is(state_of($node), $state, "$name: all is as it was, and nothing was decided again");
	is($node->safe_psql('postgres', q{SELECT (policy_approve(approval_id)).status FROM policy.approvals WHERE status = 'pending' ORDER BY 1}),
		"approved\napproved", "$name: what waited is approved");
	is($node->safe_psql('postgres', q{SELECT status FROM "odd ""table" WHERE id = 1 UNION ALL SELECT status FROM parts WHERE id = 1}),
		"pending\npending", "$name: and goes on, in the name of who attached it");
	is($node->safe_psql('postgres', q{INSERT INTO "odd ""table" VALUES (9, 'deny.b') RETURNING status}), 'denied', "$name: what comes in is decided");
	is($node->safe_psql('postgres', q{UPDATE "odd ""table" SET status = 'running' WHERE id = 2 RETURNING id}), '', "$name: what was denied does not start");
	is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT outcome, ', ') FROM policy_reattach_all()}), 'nothing to do', "$name: nothing is to be put right");
	$node->stop;
}

# A table that is made again, as a client's migration or a partial restore does.
$origin->safe_psql('postgres', q{
	DROP TABLE parts;
	CREATE TABLE parts (id int PRIMARY KEY, topic text, payload jsonb, status text DEFAULT 'pending', run_at timestamptz DEFAULT now())});
like($origin->safe_psql('postgres', q{SELECT present, warnings FROM policy_attachments WHERE job_table = 'public.parts'}), qr/^f\|\{"the table is gone: /,
	'a table that was made again is not guarded, which is shown');
is($origin->safe_psql('postgres', q{SELECT outcome FROM policy_reattach_all() WHERE job_table = 'public.parts'}), 'attached again', 'policy_reattach_all guards it');
is($origin->safe_psql('postgres', q{INSERT INTO parts VALUES (7, 'deny.a') RETURNING status}), 'denied', 'as before');

# The extension goes, and comes back: triggers went with it.
$origin->safe_psql('postgres', 'DROP EXTENSION policy_engine CASCADE');
is($origin->safe_psql('postgres', q{INSERT INTO parts VALUES (8, 'deny.a') RETURNING status}), 'pending', 'without the extension nothing is guarded, and nothing breaks');

$origin->stop;
done_testing();
