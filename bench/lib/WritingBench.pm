# The write path: inserting, submitting and claiming jobs, against the same writes
# to tables that nothing guards.
#
# The unguarded tables have the columns, constraints and indexes of policy.jobs and
# of the partition that evidence goes to, and are given the rows that the guarded
# ones were.

package WritingBench;

use strict;
use warnings;

use BenchSession;
use Measure qw(interleaved keep_row keep_skipped median say_now);
use Workload qw(realistic_policy policy_yaml jobs_sql);

my $snapshot = 'writing';
my $clients = 8;

my @submitted = qw(tenant_id topic capability pack_id actor_id actor_type secrets_present
  risk_tags requires actor_roles labels mcp payload);

# Of policy.jobs' columns, from a job.
my %from_job = (
	(map { $_ => "job->>'$_'" } qw(tenant_id topic capability pack_id)),
	(map { $_ => "job->'$_'" } qw(risk_tags requires labels mcp payload)),
	actor_id => "job->'actor'->>'id'",
	actor_type => "job->'actor'->>'type'",
	actor_roles => "job->'actor'->'roles'",
	secrets_present => "(job->>'secrets_present')::boolean");

# 1,000 rules by which most jobs may run and nothing waits for anybody, but what
# the label hold says.
sub policy
{
	my $policy = realistic_policy(1_000);

	for my $rule (@{ $policy->{rules} })
	{
		$rule->{decision} = 'allow' if $rule->{decision} eq 'require_approval';
	}
	$policy->{defaults}{decision} = 'allow';
	push @{ $policy->{rules} },
	  { id => 'hold', match => { labels => { hold => 'yes' } }, decision => 'require_approval' };
	return $policy;
}

sub _make_database
{
	my ($control, $name) = @_;
	my $text = BenchSession::literal(policy_yaml(policy()));
	my $session;

	$control->ask("CREATE DATABASE $name");
	$session = BenchSession->new($name);
	$session->ask($_)
	  for 'CREATE EXTENSION policy_engine',
	  "LOAD 'policy_engine'",
	  "DO \$\$ BEGIN IF EXISTS (SELECT FROM pg_settings WHERE name = 'policy_engine.require_simulation') "
	  . "THEN SET policy_engine.require_simulation = off; END IF; END \$\$",
	  "SELECT NULL FROM policy_stage('$snapshot', $text, 'for a benchmark')",
	  "SELECT NULL FROM policy_publish('$snapshot', 'for a benchmark', 'a benchmark replays nothing')",
	  'CREATE SCHEMA plain',
	  'CREATE SEQUENCE plain.job_id_seq',
	  'CREATE SEQUENCE plain.decision_id_seq',
	  'CREATE TABLE plain.jobs (LIKE policy.jobs INCLUDING ALL)',
	  'CREATE TABLE plain.decisions (LIKE policy.decisions_default INCLUDING ALL)';
	return $session;
}

sub insert_sql
{
	my ($source) = @_;

	return 'INSERT INTO policy.jobs (' . join(', ', @submitted) . ') SELECT '
	  . join(', ', map { $from_job{$_} } @submitted) . " FROM $source";
}

# Empties evidence, and other tables with it.  It refuses: its triggers go for a moment.
sub empty_evidence
{
	my ($session, @others) = @_;

	$session->ask($_)
	  for 'ALTER TABLE policy.decisions_default DISABLE TRIGGER USER',
	  'TRUNCATE ' . join(', ', 'policy.decisions_default', @others),
	  'ALTER TABLE policy.decisions_default ENABLE ALWAYS TRIGGER refuse_truncate',
	  'CHECKPOINT';
	return;
}

# Empties both pairs of tables.
sub _empty
{
	my ($session) = @_;

	$session->ask('TRUNCATE policy.approvals CASCADE');
	empty_evidence($session, 'policy.jobs', 'plain.jobs', 'plain.decisions');
	return;
}

# The columns of a table.
sub _columns
{
	my ($session, $table) = @_;

	return $session->ask("SELECT quote_ident(attname) FROM pg_attribute "
		  . "WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum");
}

# What to select for new rows of a plain table, numbered by its sequence, as whoever
# inserts has to number them.
sub _numbered
{
	my ($session, $table, $id) = @_;

	return join ', ', map { $_ eq $id ? "nextval('plain.${id}_seq')" : $_ } _columns($session, "plain.$table");
}

# The jobs, and the rows that the guard makes of them: saved.jobs and
# saved.decisions, numbered alike.
sub _prepare_rows
{
	my ($session, $count) = @_;

	$session->ask($_)
	  for 'CREATE SCHEMA saved',
	  'CREATE UNLOGGED TABLE saved.given AS ' . jobs_sql($count),
	  'ALTER TABLE saved.given ADD PRIMARY KEY (job_id)',
	  insert_sql('saved.given ORDER BY job_id'),
	  'CREATE UNLOGGED TABLE saved.jobs AS SELECT row_number() OVER (ORDER BY job_id) AS n, j.* FROM policy.jobs j',
	  'CREATE UNLOGGED TABLE saved.decisions AS SELECT j.n, d.* FROM saved.jobs j '
	  . 'JOIN policy.decisions d ON d.job_table = \'policy.jobs\' AND d.job_key = j.job_id::text',
	  'ALTER TABLE saved.jobs ADD PRIMARY KEY (n)',
	  'ALTER TABLE saved.decisions ADD PRIMARY KEY (n)',
	  'VACUUM ANALYZE saved.given', 'VACUUM ANALYZE saved.jobs', 'VACUUM ANALYZE saved.decisions';
	for my $table (qw(jobs decisions))
	{
		my ($rows) = $session->ask("SELECT count(*) FROM saved.$table");

		die "$count jobs made $rows rows in policy.$table\n" if $rows != $count;
	}
	return;
}

sub _bulk
{
	my ($session, $size) = @_;
	my $jobs = _numbered($session, 'jobs', 'job_id');
	my $decisions = _numbered($session, 'decisions', 'decision_id');
	my $submitted = join ', ', @submitted;
	my $fresh = sub {
		my (@statements) = @_;
		my $ms = 0;

		_empty($session);
		$ms += $session->client_ms($_) for @statements;
		return $ms;
	};
	my %ms = interleaved($size->{rounds},
		guarded => sub { $fresh->("INSERT INTO policy.jobs ($submitted) SELECT $submitted FROM saved.jobs ORDER BY n") },
		unguarded => sub {
			$fresh->("INSERT INTO plain.jobs SELECT $jobs FROM saved.jobs ORDER BY n",
				"INSERT INTO plain.decisions SELECT $decisions FROM saved.decisions ORDER BY n");
		});

	keep_row(what => 'bulk INSERT, guarded with evidence : two unguarded tables',
		value => $ms{guarded} / $ms{unguarded}, bar => 1.5, sense => '<=',
		detail => { map { $_ => sprintf '%.2f us a row', $ms{$_} * 1000 / $size->{inserted} } keys %ms });
	return;
}

# The two inserts that policy_submit makes, as one statement, so that both sides
# have one round trip.
sub _unguarded_script
{
	my ($session) = @_;
	my $values = sub {
		my ($table, %other) = @_;

		return join ', ', map { $other{$_} // "s.$_" } _columns($session, "plain.$table");
	};
	my $decision = $values->('decisions', decision_id => "nextval('plain.decision_id_seq')",
		decided_at => 'clock_timestamp()');
	my $job = $values->('jobs', job_id => "nextval('plain.job_id_seq')",
		decision_id => 'd.decision_id', decided_at => 'd.decided_at');

	return <<"SQL";
WITH d AS (
	INSERT INTO plain.decisions SELECT $decision FROM saved.decisions s WHERE s.n = :n
	RETURNING decision_id, decided_at)
INSERT INTO plain.jobs SELECT $job FROM saved.jobs s, d WHERE s.n = :n RETURNING job_id;
SQL
}

# Transactions a second of a pgbench script.
sub _pgbench
{
	my ($session, $size, $name, $script) = @_;
	my $path = "$ENV{TMPDIR}/$name.pgbench";
	my $output;

	open my $file, '>', $path or die "$path: $!\n";
	print $file "\\set n random(1, $size->{inserted})\n$script";
	close $file or die "$path: $!\n";
	_empty($session);
	$output = qx(pgbench -n -M prepared -c $clients -j 2 -T $size->{seconds} -f $path bench_write 2>&1);
	$output =~ /^tps = ([\d.]+)/m && $output =~ /number of failed transactions: 0 / or die "pgbench failed:\n$output\n";
	return $1 if $output =~ /^tps = ([\d.]+)/m;
}

sub _submits
{
	my ($session, $size) = @_;
	my $unguarded = _unguarded_script($session);
	my %tps = interleaved($size->{rounds},
		guarded => sub { _pgbench($session, $size, 'guarded', "SELECT (policy_submit(s.job)).job_id FROM saved.given s WHERE s.job_id = :n;\n") },
		unguarded => sub { _pgbench($session, $size, 'unguarded', $unguarded) });

	keep_row(what => "durable single-row submits, $clients clients : the same two inserts unguarded",
		unit => 'of its rate', value => $tps{guarded} / $tps{unguarded}, bar => 0.85, sense => '>=',
		detail => { map { $_ => sprintf '%.0f a second', $tps{$_} } keys %tps });
	return;
}

my $claim = q{SELECT count(*) FROM policy_claim('worker', 100)};

# What policy_claim does to 100 rows, and nothing else; in the order of the queue's
# index, which begins with halt_id, so that this finds them by it too.
my $bare_claim = <<'SQL';
WITH claimed AS (
	UPDATE plain.jobs j SET state = 'running', attempts = attempts + 1, claimed_by = 'worker',
		claimed_at = clock_timestamp(), claim_token = gen_random_uuid(),
		deadline = clock_timestamp() + interval '60 seconds'
	WHERE j.job_id = ANY (ARRAY(
		SELECT q.job_id FROM plain.jobs q
		WHERE q.halt_id IS NULL AND q.state IN ('ready', 'throttled') AND coalesce(q.run_after, q.submitted_at) <= now()
		ORDER BY q.halt_id, coalesce(q.run_after, q.submitted_at), q.job_id
		LIMIT 100 FOR UPDATE SKIP LOCKED))
	RETURNING j.*)
SELECT count(*) FROM claimed
SQL

# One claim of 100 that found them.  Its commit is not waited for, on either side:
# the disk's own time is that of the submits.
sub _claim_ms
{
	my ($session, $query) = @_;
	my @lines = $session->commands("SET synchronous_commit = off;\n\\timing on\n$query;\n\\timing off");

	$lines[0] eq '100' && $lines[1] =~ /^Time: ([\d.]+) ms/ or die "a claim gave: @lines\n";
	return $1;
}

# As many ready jobs as the claims will take, in both pairs of tables.
sub _fill_queue
{
	my ($session, $count) = @_;

	$session->ask(insert_sql("(SELECT job_id, job FROM saved.given WHERE job_id <= $count "
		  . 'ORDER BY job_id) given'));
	$session->ask('INSERT INTO plain.jobs SELECT * FROM policy.jobs ORDER BY job_id');
	$session->ask("VACUUM ANALYZE $_") for 'policy.jobs', 'plain.jobs', 'policy.decisions_default';
	return;
}

sub _claims
{
	my ($session, $size) = @_;
	my $claims = 10 * $size->{rounds};
	my %ms;

	_empty($session);
	_fill_queue($session, 150 * $claims);
	%ms = interleaved($claims,
		policy_claim => sub { _claim_ms($session, $claim) },
		bare => sub { _claim_ms($session, $bare_claim) });
	keep_row(what => 'policy_claim of 100 : the bare SKIP LOCKED update of 100',
		value => $ms{policy_claim} / $ms{bare}, bar => 2, sense => '<=',
		detail => { map { $_ => sprintf '%.2f ms', $ms{$_} } keys %ms });
	return;
}

# A second database, the queue of which begins with jobs that wait for approval.
sub _held
{
	my ($control, $session, $size) = @_;
	my $held = 200_000;
	my $claims = 10 * $size->{rounds};
	my $other = _make_database($control, 'bench_held');
	my %ms;

	$other->ask(insert_sql(
		"(SELECT jsonb_build_object('topic', 'job.held' || n, 'labels', jsonb_build_object('hold', 'yes')) AS job "
		  . "FROM generate_series(1, $held) n) given"));
	_prepare_queue($_, $claims) for $session, $other;
	my ($waiting) = $other->ask(q{SELECT count(*) FROM policy.jobs WHERE state = 'awaiting_approval'});
	die "$waiting jobs are held, not $held\n" if $waiting != $held;
	BenchSession::share_processor($session, $other);
	%ms = interleaved($claims,
		held => sub { _claim_ms($other, $claim) },
		'none held' => sub { _claim_ms($session, $claim) });
	keep_row(what => '200,000 jobs held for approval : none held, claim of 100',
		value => $ms{held} / $ms{'none held'}, bar => 1.2, sense => '<=',
		detail => { map { $_ => sprintf '%.2f ms', $ms{$_} } keys %ms });
	$other->finish;
	return;
}

# Ready jobs alone, the same in each database.
sub _prepare_queue
{
	my ($session, $claims) = @_;
	my $count = 150 * $claims;

	if (($session->ask("SELECT to_regclass('saved.given')"))[0])
	{
		_empty($session);
	}
	$session->ask(insert_sql("(SELECT jsonb_build_object('topic', 'job.ready' || n, 'tenant_id', 'tenant-1') AS job "
		  . "FROM generate_series(1, $count) n) given"));
	$session->ask("VACUUM ANALYZE $_") for 'policy.jobs', 'policy.decisions_default', 'policy.approvals';
	return;
}

sub writing
{
	my ($control, $size) = @_;
	my ($known) = $control->ask("SELECT to_regprocedure('policy_submit(jsonb)')");
	my $session;

	if (!$known)
	{
		keep_skipped('the write path', 'this build has no policy_submit');
		return;
	}
	say_now("Making $size->{inserted} jobs to write ...");
	$session = _make_database($control, 'bench_write');
	_prepare_rows($session, $size->{inserted});
	_bulk($session, $size);
	_submits($session, $size);
	_claims($session, $size);
	_held($control, $session, $size);
	$session->finish;
	return;
}

1;
