# Many clients at random on one queue, and the proof that nothing went wrong.
#
#	my $stress = PolicyStress->new($node, seed => 1);
#	$stress->run(60, sub { ... });	# the sub is called about once a second
#	$stress->prove;					# TAP
#
# Each client is a psql of its own login, which is fed statements as long as the
# run lasts.  It notes, in the same transactions, what it submitted and what it was
# given to run, so that the proof does not rest on the engine's word alone.

package PolicyStress;

use strict;
use warnings;

use Errno qw(EAGAIN EWOULDBLOCK);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use IO::Select;
use IPC::Open3 qw(open3);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $clients = 16;

# Linux's; elsewhere the pipe stays as it is.
use constant F_SETPIPE_SZ => 1031;

# What a client may meet: somebody else was faster, or a rule says no.
my %expected = map { $_ => 1 } qw(PE008 PE009 PE010 PE013 PE015 PE016);

# Met too where backends are killed and the server is restarted.
my %disrupted = map { $_ => 1 } qw(57P01 57P02 57P03 08006 08003 08001 08000);

my $rules = <<'YAML';
  - {id: go, match: {topics: ['go.*']}, decision: allow}
  - {id: slow, match: {topics: ['go.slow']}, decision: throttle, retry_after_sec: 1}
  - {id: never, match: {topics: ['no.*']}, decision: deny}
  - {id: big, match: {topics: ['go.*'], when: '$.payload.n > 90'}, decision: deny}
YAML

# The versions of the policy between which the clients publish and roll back.
my %policies = (
	one => ask('ask', 1) . ask('double', 2),
	two => ask('ask', 2) . ask('double', 2),
	open => ask('double', 1),
	closed => ask('ask', 1) . ask('double', 2) . ask('go', 1, 'asked-of-all'));

sub ask
{
	my ($topic, $votes, $id) = @_;
	$id //= "ask-$topic";

	return "  - {id: $id, match: {topics: ['$topic.*']}, decision: require_approval, "
	  . "approval: {min_approvals: $votes, expires_in_sec: 20}}\n";
}

sub new
{
	my ($class, $node, %options) = @_;
	my $self = bless { node => $node, seed => $options{seed} // time, clients => [] }, $class;

	srand($self->{seed});
	note("seed $self->{seed} (POLICY_SEED)");
	$self->set_up;
	return $self;
}

sub set_up
{
	my ($self) = @_;
	my $node = $self->{node};

	$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA stress;
CREATE TABLE stress.submitted (job_id bigint PRIMARY KEY);
CREATE TABLE stress.runs (
	run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	job_id bigint, attempt int, token uuid UNIQUE, hash bytea, decision_id bigint, decided_at timestamptz,
	max_retries numeric, started timestamptz, deadline timestamptz, ended timestamptz, outcome text);
CREATE FUNCTION stress.hash(j policy.jobs) RETURNS bytea LANGUAGE sql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT policy.job_hash(policy.job(j)) $$;
CREATE FUNCTION stress.any_job(states text[]) RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT job_id FROM policy.jobs WHERE state = ANY (states) ORDER BY random() LIMIT 1 $$;
CREATE FUNCTION stress.any_approval() RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT approval_id FROM policy.approvals WHERE status = 'pending' ORDER BY random() LIMIT 1 $$;
GRANT USAGE ON SCHEMA stress TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA stress TO PUBLIC;
SQL
	for my $name (sort keys %policies)
	{
		my $body = $policies{$name};
		# The rules that others share: only these apply to their topics.
		$body .= "  - {id: yes-ask, match: {topics: ['ask.*', 'double.*']}, decision: allow}\n";
		$node->safe_psql('postgres',
			"SELECT policy_stage('$name', \$y\$version: v1\ndefaults: {constraints: {max_retries: 2, max_runtime_sec: 1}}\n"
			  . "rules:\n$rules$body\$y\$, NULL); SELECT policy_publish('$name', 'set up')");
	}
	for my $client (0 .. $clients - 1)
	{
		$node->safe_psql('postgres', "CREATE ROLE stress_$client LOGIN; "
			  . join('; ', map { "SELECT policy_grant('stress_$client', '$_')" }
				  qw(submit work approve operate release author)));
	}
	return;
}

# One random thing to do.
sub step
{
	my ($client) = @_;
	my $topic = ('go.now', 'go.slow', 'ask.me', 'ask.me', 'double.check', 'no.way')[ rand 6 ];
	my $n = int rand 100;
	my $dice = rand;

	return submit($topic, $n) if $dice < 0.25;
	return run_one($client, rand) if $dice < 0.60;
	return "SELECT policy_approve(stress.any_approval(), 'yes');\n" if $dice < 0.80;
	return "SELECT policy_reject(stress.any_approval(), 'no');\n" if $dice < 0.82;
	return "UPDATE policy.jobs SET payload = '{\"n\": $n}' WHERE job_id = "
	  . "stress.any_job('{ready,awaiting_approval,throttled,running}') AND submitted_by = session_user;\n"
	  if $dice < 0.90;
	return "SELECT policy_cancel(stress.any_job('{ready,awaiting_approval,throttled,running}'), 'enough');\n"
	  if $dice < 0.92;
	return "SELECT policy_redecide(format('{\"job_id\": %s}', stress.any_job('{denied,rejected,expired}'))::jsonb, 'again')"
	  . " WHERE stress.any_job('{denied,rejected,expired}') IS NOT NULL;\n" if $dice < 0.94;
	return "SELECT * FROM policy_maintain();\n" if $dice < 0.97;
	my $name = (sort keys %policies)[ rand keys %policies ];
	return "SELECT policy_" . ($dice < 0.985 ? 'publish' : 'rollback') . "('$name', 'chance');\n";
}

sub submit
{
	my ($topic, $n) = @_;
	my $job = "{\"topic\": \"$topic\", \"payload\": {\"n\": $n}";

	if (rand() < 0.5)
	{
		return "BEGIN;\nWITH j AS (INSERT INTO policy.jobs (topic, payload) VALUES "
		  . "('$topic', '{\"n\": $n}'), ('$topic', NULL) RETURNING job_id) "
		  . "INSERT INTO stress.submitted SELECT job_id FROM j;\n"
		  . (rand() < 0.1 ? 'ROLLBACK' : 'COMMIT') . ";\n";
	}
	$job .= ", \"idempotency_key\": \"k$n\"" if rand() < 0.2;
	return "INSERT INTO stress.submitted SELECT job_id FROM policy_submit('$job}') ON CONFLICT DO NOTHING;\n";
}

# Claims a job, notes what was given, and ends the attempt in one way or another.
sub run_one
{
	my ($client, $dice) = @_;
	my $end =
	    $dice < 0.55 ? "policy_complete(:job_id, :'token', '{}')"
	  : $dice < 0.80 ? "policy_fail(:job_id, :'token', 'chance')"
	  :                "policy_heartbeat(:job_id, :'token')";

	return "\\unset job_id\nBEGIN;\n"
	  . "INSERT INTO stress.runs (job_id, attempt, token, hash, decision_id, decided_at, max_retries, started, deadline) "
	  . "SELECT j.job_id, j.attempts, j.claim_token, stress.hash(j), j.decision_id, j.decided_at, "
	  . "(j.constraints ->> 'max_retries')::numeric, j.claimed_at, j.deadline "
	  . "FROM policy_claim('stress_$client') j RETURNING job_id, token \\gset\n"
	  . ($dice > 0.97 ? "ROLLBACK;\n" : "COMMIT;\n\\if :{?job_id}\nBEGIN;\n"
		  . "UPDATE stress.runs SET outcome = r.state, ended = clock_timestamp() FROM $end r WHERE token = :'token' "
		  . "AND r.state <> 'running';\nCOMMIT;\n\\endif\n");
}

sub start_client
{
	my ($self, $number) = @_;
	my $node = $self->{node};
	my $log = $node->logfile . ".stress_$number";
	my $in;

	open my $err, '>>', $log or die "$log: $!";
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGUSER} = "stress_$number";
	my $pid = open3($in, '>&' . fileno($self->{null} //= null()), '>&' . fileno($err),
		$node->installed_command('psql'), '-XAtq', '-v', 'VERBOSITY=verbose', 'postgres');
	fcntl($in, F_SETFL, fcntl($in, F_GETFL, 0) | O_NONBLOCK) or die "fcntl: $!";
	# A short pipe: what it holds is still run when the time is over.
	fcntl($in, F_SETPIPE_SZ, 4096);
	return { number => $number, pid => $pid, in => $in, queue => '', log => $log };
}

sub null
{
	open my $null, '>', '/dev/null' or die "/dev/null: $!";
	return $null;
}

# Feeds what the pipe takes.  A client whose psql is gone (its server was killed) is
# started again.
sub feed
{
	my ($self, $client) = @_;

	$client->{queue} .= step($client->{number}) while length $client->{queue} < 1024;
	local $SIG{PIPE} = 'IGNORE';
	my $written = syswrite $client->{in}, $client->{queue};
	if (defined $written)
	{
		substr($client->{queue}, 0, $written) = '';
		return;
	}
	return if $! == EAGAIN || $! == EWOULDBLOCK;
	waitpid $client->{pid}, 0;
	%$client = %{ $self->start_client($client->{number}) };
	return;
}

# Runs for so many seconds; disrupt, if given, is called about once a second.
sub run
{
	my ($self, $seconds, $disrupt) = @_;
	my $end = time + $seconds;
	my $next = time + 1;

	$self->{disrupted} = defined $disrupt;
	$self->{clients} = [ map { $self->start_client($_) } 0 .. $clients - 1 ];
	while (time < $end)
	{
		my %by_handle = map { fileno($_->{in}) => $_ } @{ $self->{clients} };
		my @ready = IO::Select->new(map { $_->{in} } @{ $self->{clients} })->can_write(0.1);

		$self->feed($by_handle{ fileno $_ }) for @ready;
		if ($disrupt && time > $next)
		{
			$disrupt->();
			$next = time + 1;
		}
	}
	$self->finish($_) for @{ $self->{clients} };
	return;
}

# Lets a client come to the end of what it was given.
sub finish
{
	my ($self, $client) = @_;
	my $in = $client->{in};

	local $SIG{PIPE} = 'IGNORE';
	fcntl($in, F_SETFL, fcntl($in, F_GETFL, 0) & ~O_NONBLOCK) or die "fcntl: $!";
	print {$in} $client->{queue};
	close $in;
	waitpid $client->{pid}, 0;
	return;
}

# The SQLSTATEs that the clients met, with how often.
sub errors
{
	my ($self) = @_;
	my %met;

	for my $client (@{ $self->{clients} })
	{
		open my $log, '<', $client->{log} or die "$client->{log}: $!";
		while (my $line = <$log>)
		{
			$met{$2}{$1}++ if $line =~ /(ERROR|FATAL|PANIC):  ([0-9A-Z]{5}):/;
		}
	}
	return \%met;
}

# Each line is a promise and a query for what breaks it.
my @promises = (
	[ 'no job was lost', <<'SQL' ],
SELECT 'submitted, not there', job_id FROM stress.submitted s WHERE NOT EXISTS (SELECT FROM policy.jobs j WHERE j.job_id = s.job_id)
UNION ALL SELECT 'there, not submitted', job_id FROM policy.jobs j WHERE NOT EXISTS (SELECT FROM stress.submitted s WHERE s.job_id = j.job_id)
SQL
	[ 'every attempt was given to one client, and to one client only', <<'SQL' ],
SELECT j.job_id, j.attempts, r.n, r.distinct_n FROM policy.jobs j
LEFT JOIN (SELECT job_id, count(*) n, count(DISTINCT attempt) distinct_n FROM stress.runs GROUP BY 1) r USING (job_id)
WHERE j.attempts <> coalesce(r.n, 0) OR r.n <> r.distinct_n
SQL
	[ 'no job ran twice at once', <<'SQL' ],
SELECT a.job_id, a.attempt, a.ended, a.deadline, b.started FROM stress.runs a JOIN stress.runs b ON b.job_id = a.job_id AND b.attempt = a.attempt + 1
WHERE least(a.ended, a.deadline) > b.started
SQL
	[ 'every attempt rests on a recorded ALLOW of the very content that ran', <<'SQL' ],
SELECT r.job_id, r.attempt, d.decision, d.job_hash = r.hash FROM stress.runs r
LEFT JOIN policy.decisions d USING (decision_id, decided_at)
WHERE d.decision IS NULL OR d.decision NOT IN ('ALLOW', 'ALLOW_WITH_CONSTRAINTS') OR d.job_hash <> r.hash OR d.job_key <> r.job_id::text
	OR d.decided_at > r.started
SQL
	[ 'where a rule asks, the very content that ran was approved before it ran', <<'SQL' ],
SELECT r.job_id, r.attempt, x.rule FROM stress.runs r JOIN policy.decisions d USING (decision_id, decided_at)
CROSS JOIN LATERAL unnest(d.matched_rules) x(rule)
WHERE x.rule LIKE 'ask%' AND NOT EXISTS (
	SELECT FROM policy.approvals a WHERE a.job_key = r.job_id::text AND a.rule = x.rule AND a.job_hash = r.hash AND a.status = 'consumed'
		AND a.required <= (SELECT count(*) FROM policy.approval_votes v JOIN policy.jobs j ON j.job_id = r.job_id
			WHERE v.approval_id = a.approval_id AND v.vote = 'approve' AND v.voted_at <= r.started AND v.approver <> j.submitted_by))
SQL
	[ 'no approval was used beyond its attempts', <<'SQL' ],
SELECT a.approval_id, a.attempts FROM policy.approvals a WHERE a.attempts > 3 OR (a.status = 'consumed') <> (a.attempts > 0)
UNION ALL
SELECT a.job_key::bigint, sum(a.attempts) FROM policy.approvals a GROUP BY a.job_key, a.rule HAVING sum(a.attempts) >
	(SELECT count(*) FROM stress.runs r WHERE r.job_id = a.job_key::bigint)
SQL
	[ 'no job was tried more often than its constraints say', <<'SQL' ],
SELECT job_id, attempt, max_retries FROM stress.runs WHERE attempt > 1 + max_retries
SQL
	[ 'every job has the evidence of where it is', <<'SQL' ],
SELECT j.job_id, j.state, d.decision FROM policy.jobs j LEFT JOIN policy.decisions d USING (decision_id, decided_at)
WHERE d.decision IS NULL OR d.job_key <> j.job_id::text
	OR (j.state IN ('ready', 'running', 'succeeded', 'failed', 'timed_out') AND d.decision NOT IN ('ALLOW', 'ALLOW_WITH_CONSTRAINTS')
		AND j.state <> 'ready')
	OR (j.state = 'awaiting_approval' AND d.decision <> 'REQUIRE_APPROVAL') OR (j.state = 'throttled' AND d.decision <> 'THROTTLE')
	OR (j.state = 'denied' AND d.decision <> 'DENY')
SQL
	[ 'a job that waits for approval has an open one, and no other job has', <<'SQL' ],
SELECT j.job_id, j.state FROM policy.jobs j WHERE (j.state = 'awaiting_approval') <> EXISTS (
	SELECT FROM policy.approvals a WHERE a.job_key = j.job_id::text AND a.status = 'pending')
SQL
	[ 'nobody approved what he asked for', <<'SQL' ],
SELECT v.approval_id, v.approver FROM policy.approval_votes v JOIN policy.approvals a USING (approval_id)
WHERE v.approver IN (a.requested_by, a.requested_via)
SQL
	[ 'releases count up without a gap, each after the one before', <<'SQL' ],
SELECT r.release_id, r.previous_snapshot, p.snapshot FROM policy.releases r LEFT JOIN policy.releases p ON p.release_id = r.release_id - 1
WHERE r.previous_snapshot IS DISTINCT FROM p.snapshot
SQL
	[ 'evidence is sealed, and nothing is wrong with it', 'SELECT * FROM policy_verify()' ],
);

sub prove
{
	my ($self) = @_;
	my $node = $self->{node};
	my $met = $self->errors;
	my %unexpected = map { $_ => $met->{$_} }
	  grep { !$expected{$_} && !($self->{disrupted} && $disrupted{$_}) } keys %$met;

	note(join ' ', map { "$_: " . ($met->{$_}{ERROR} // $met->{$_}{FATAL} // $met->{$_}{PANIC}) } sort keys %$met);
	is_deeply(\%unexpected, {}, 'no client met an error that it should not');
	note($node->safe_psql('postgres', "SELECT string_agg(format('%s %s', n, state), ', ') FROM "
			  . '(SELECT state, count(*) n FROM policy.jobs GROUP BY 1 ORDER BY 1) s'));
	ok($node->safe_psql('postgres', 'SELECT count(*) FROM stress.runs') > 20, 'jobs were run');
	ok($node->safe_psql('postgres', "SELECT count(*) FROM policy.approvals WHERE status = 'consumed'") > 0,
		'some of them by approval');
	$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM policy_seal()') or die 'nothing can be sealed';
	is($node->safe_psql('postgres', $_->[1]), '', $_->[0]) for @promises;
	return;
}

1;
