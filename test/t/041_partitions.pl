# Partitions of evidence: made beside who writes, kept and given up by month, and
# what DROP EXTENSION takes with it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyNode qw(start_policy_node);
use PolicySession;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_policy_node('partitions');

sub ask { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub refused
{
	my ($sql, $pattern, $name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql);

	like($err, $pattern, $name);
	return;
}

# Everything is sealed: nobody else writes.
sub seal { return ask('SELECT coalesce(sum(cardinality(decision_ids)), 0) FROM policy_seal()'); }

sub problems { return ask("SELECT coalesce(string_agg(DISTINCT problem, ', '), 'none') FROM policy_verify()"); }

ask(<<'SQL');
SELECT policy_stage('v1', 'version: v1
rules: [{id: all, decision: allow}]', NULL);
SELECT policy_publish('v1', NULL);
SQL

# A writer that stays open holds nobody up but itself.
my $writer = PolicySession->new($node);
$writer->ask("BEGIN; INSERT INTO policy.jobs (topic) VALUES ('slow')");
my $maintainer = PolicySession->new($node);
my $other = PolicySession->new($node);
$maintainer->send('SELECT partitions FROM policy_maintain()');
is($other->ask("INSERT INTO policy.jobs (topic) VALUES ('quick') RETURNING state"), 'ready', 'others submit while maintenance would make a partition');
is($maintainer->answer, '0', 'which it leaves to a later call where somebody writes');
is(ask('SELECT partitions, sealed FROM policy_maintain()'), '0|0', 'as often as that is so');
$writer->ask('COMMIT');
is(ask('SELECT partitions FROM policy_maintain()'), '3', 'and makes when nobody does: this month is the default partition\'s now');
is(ask("SELECT count(*) FROM policy.decisions WHERE tableoid = 'policy.decisions_default'::regclass"), '2', 'whose rows stay where they are');
$_->finish foreach $writer, $maintainer, $other;

# A month of its own, long ago.
is(ask("SELECT policy.make_partition('2020-02-01')"), '1', 'a month can be made');
is(ask("SELECT policy.make_partition('2020-02-01')"), '0', 'once');
ask(<<'SQL');
INSERT INTO policy.decisions (decision_id, decided_at, source, job_table, job_key, job_hash, decision, reason, matched_rules,
	monitored_rules, constraints, role, session_role)
SELECT nextval('policy.decision_id_seq'), t, 'submit', 'policy.jobs', '0', '\x', 'DENY', 'x', '{}', '{}', '{}', 'x', 'x'
FROM unnest('{2020-02-01 00:00+00, 2020-02-29 23:59:59.999999+00}'::timestamptz[]) t
SQL
is(ask("SELECT count(*) FROM policy.decisions_2020_02"), '2', 'with all of its month, by UTC');
seal();
ask("INSERT INTO policy.jobs (topic) VALUES ('next')");
seal();
is(problems(), 'none', 'evidence of several months is intact');
foreach my $statement ('UPDATE %s SET reason = NULL', 'DELETE FROM %s', 'TRUNCATE %s')
{
	refused(sprintf($statement, 'policy.decisions_2020_02'), qr/append-only/, "refused of a month: $statement");
}

# Retention
ask('ALTER TABLE policy.decisions DETACH PARTITION policy.decisions_2020_02');
is(problems(), 'removed', 'a month that is detached is missed');
is(ask('SELECT count(*) FROM policy_verify() v WHERE v.decision_id IN (SELECT decision_id FROM policy.decisions)'), '0', 'and nothing else');
ask("ALTER TABLE policy.decisions ATTACH PARTITION policy.decisions_2020_02 FOR VALUES FROM ('2020-02-01 00:00+00') TO ('2020-03-01 00:00+00')");
is(problems(), 'none', 'until it is attached again');
refused('DELETE FROM policy.decisions_2020_02', qr/append-only/, 'where it is append-only again');
ask('ALTER TABLE policy.decisions DETACH PARTITION policy.decisions_2020_02');
ask("INSERT INTO policy.jobs (topic) VALUES ('after')");
is(seal(), '1', 'sealing goes on');
is(ask('SELECT warnings FROM policy_status()'), '{}', 'with nothing to warn of');

# A table in the way of a month
my $month = ask("SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month', '\"decisions_\"YYYY_MM')");
ask("DROP TABLE policy.$month; CREATE TABLE policy.$month (i int)");
is(ask('SELECT partitions FROM policy_maintain()'), '0', 'a month whose name is taken is left out');
ask("DROP TABLE policy.$month");
is(ask('SELECT partitions FROM policy_maintain()'), '1', 'until it is free');

# DROP EXTENSION
refused('DROP EXTENSION policy_engine', qr/depend.*decisions_2020_02/s, 'a detached month in the schema is not dropped unasked');
ask('CREATE SCHEMA archive; ALTER TABLE policy.decisions_2020_02 SET SCHEMA archive');
refused('DROP EXTENSION policy_engine', qr/depend.*decisions_2020_02/s, 'nor in another schema, since it uses the extension\'s type');
ask('CREATE TABLE archive.decisions AS SELECT to_jsonb(d) AS decision FROM archive.decisions_2020_02 d; DROP TABLE archive.decisions_2020_02');
ask('DROP EXTENSION policy_engine');
is(ask("SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relname LIKE 'decisions%' AND relkind IN ('r', 'p')"),
	'archive.decisions', 'what was copied away is kept, all other evidence is gone with the extension');
is(ask("SELECT count(*) FROM archive.decisions WHERE decision ->> 'decision' = 'DENY'"), '2', 'and can be read without it');

# Maintained before its first job, no month is the default partition's.
ask('CREATE EXTENSION policy_engine');
is(ask('SELECT partitions FROM policy_maintain()'), '4', 'a new extension makes this month and three more');
ask("INSERT INTO policy.jobs (topic) VALUES ('first')");
is(ask('SELECT count(*) FROM ONLY policy.decisions_default'), '0', 'and evidence goes to its month');

$node->stop;
done_testing();
