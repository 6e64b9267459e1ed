# Many clients at random on one queue, and the proof that nothing went wrong.
#
#	my $stress = PolicyStress->new($node, seed => 1);
#	$stress->run(60, sub { ... });	# the sub is called about once a second
#	$stress->prove;					# TAP
#
# Each client is a psql of its own login, which is fed statements as long as the
# run lasts.  It notes, in the same transactions, what it submitted, changed and
# voted on and what it was given to run, so that the proof (PolicyStressProof.pm)
# does not rest on the engine's word.

package PolicyStress;

use strict;
use warnings;

use Errno qw(EAGAIN EWOULDBLOCK);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use IO::Select;
use IPC::Open3 qw(open3);
use PolicyStressProof qw(promises);
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

# 40001 is asked for: some transactions are REPEATABLE READ or SERIALIZABLE.
my %isolated = map { $_ => 1 } qw(40001);

my $rules = <<'YAML';
  - {id: go, match: {topics: ['go.*', 'ask.*', 'double.*']}, decision: allow}
  - {id: again, match: {topics: ['go.again']}, decision: allow, constraints: {allow_timeout_retry: true}}
  - {id: slow, match: {topics: ['go.slow']}, decision: throttle, retry_after_sec: 1}
  - {id: never, match: {topics: ['no.*']}, decision: deny}
  - {id: big, match: {topics: ['go.*'], when: '$.payload.n > 90'}, decision: deny}
YAML
my @topics = ('go.now', 'go.slow', 'go.again', 'go.again', 'ask.me', 'ask.two', 'double.check', 'no.way');

# The versions of the policy between which the clients publish and roll back: what
# asks for how many votes, 0 of what is denied.  (Two rules ask for ask.two.)
my %asks = (
	one => { ask => 1, 'ask.two' => 1, double => 2 },
	two => { ask => 2, double => 2 },
	open => { double => 1 },
	closed => { ask => 1, double => 2, go => 1, 'go.again' => 0 });

# A rule that asks: its id, its topics as a pattern and as LIKE has them.
sub rule_of
{
	my ($asked) = @_;
	return $asked =~ /[.]/ ? ("ask-$asked", $asked, $asked) : ("ask-$asked", "$asked.*", "$asked.%");
}

sub document_of
{
	my ($asks) = @_;
	my $document = "version: v1\ndefaults: {constraints: {max_retries: 2, max_runtime_sec: 1}}\nrules:\n$rules";

	foreach my $asked (sort keys %$asks)
	{
		my ($id, $topics) = rule_of($asked);
		$document .= "  - {id: $id, match: {topics: ['$topics']}, decision: "
		  . ($asks->{$asked} ? "require_approval, approval: {min_approvals: $asks->{$asked}, expires_in_sec: 4}}\n" : "deny}\n");
	}
	return $document;
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
CREATE TABLE stress.asks (snapshot text, rule text, topics text, votes int);
CREATE TABLE stress.submitted (job_id bigint PRIMARY KEY, who text DEFAULT session_user);
CREATE TABLE stress.changed (job_id bigint, who text DEFAULT session_user, at timestamptz DEFAULT clock_timestamp());
CREATE INDEX ON stress.changed (job_id);
CREATE TABLE stress.votes (approval_id bigint, vote text, status text, counted boolean, who text DEFAULT session_user,
	at timestamptz DEFAULT clock_timestamp());
CREATE INDEX ON stress.votes (approval_id);
CREATE TABLE stress.runs (
	job_id bigint, attempt int, token uuid PRIMARY KEY, content jsonb, decision_id bigint, decided_at timestamptz, active bigint,
	run_after timestamptz, begun timestamptz, started timestamptz, deadline timestamptz, told timestamptz, ended timestamptz, outcome text);
CREATE INDEX ON stress.runs (job_id);
-- Some job, or approval, among the newest: where the others are, too.
CREATE FUNCTION stress.any_job(states text[]) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT job_id FROM (SELECT job_id FROM policy.jobs WHERE state = ANY (states) ORDER BY job_id DESC LIMIT 60) j ORDER BY random() LIMIT 1 $$;
CREATE FUNCTION stress.any_approval() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT approval_id FROM (SELECT approval_id FROM policy.approvals WHERE status = 'pending' ORDER BY approval_id DESC LIMIT 30) a
	ORDER BY random() LIMIT 1 $$;
-- The job of a row, in the words of this test.
CREATE FUNCTION stress.content(j policy.jobs) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('topic', j.topic, 'idempotency_key', j.idempotency_key, 'payload', j.payload)) $$;
GRANT USAGE ON SCHEMA stress TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA stress TO PUBLIC;
SQL
	for my $name (sort keys %asks)
	{
		my $document = document_of($asks{$name});

		$node->safe_psql('postgres', "SELECT policy_stage('$name', \$y\$$document\$y\$, NULL); SELECT policy_publish('$name', 'set up')");
		foreach my $asked (sort keys %{ $asks{$name} })
		{
			my ($id, $topics, $like) = rule_of($asked);
			$node->safe_psql('postgres', "INSERT INTO stress.asks VALUES ('$name', '$id', '$like', $asks{$name}{$asked})");
		}
	}
	for my $client (0 .. $clients - 1)
	{
		$node->safe_psql('postgres', "CREATE ROLE stress_$client LOGIN; "
			  . join('; ', map { "SELECT policy_grant('stress_$client', '$_')" }
				  qw(submit work approve operate release author)));
	}
	return;
}

sub any_job
{
	my (@states) = @_;
	return "(SELECT stress.any_job('{" . join(',', @states) . "}'))";
}

my @moving = qw(ready awaiting_approval throttled running);
my @stopped = qw(denied rejected expired);

# A transaction of one statement, now and then of another isolation level.
sub transaction
{
	my ($statement) = @_;
	my $dice = rand;

	return "$statement;\n" if $dice < 0.9;
	return 'BEGIN ISOLATION LEVEL ' . ($dice < 0.95 ? 'REPEATABLE READ' : 'SERIALIZABLE') . ";\n$statement;\nCOMMIT;\n";
}

# One random thing to do.
sub step
{
	my ($client) = @_;
	my $dice = rand;

	return submit($topics[ rand @topics ]) if $dice < 0.25;
	return run_one($client, rand) if $dice < 0.58;
	return end_kept() if $dice < 0.60;
	return vote('approve') if $dice < 0.80;
	return vote('reject') if $dice < 0.82;
	return change() if $dice < 0.90;
	return 'SELECT policy_cancel(' . any_job(@moving) . ", 'enough');\n" if $dice < 0.92;
	return "SELECT policy_redecide(jsonb_build_object('job_id', j), 'again') FROM stress.any_job('{" . join(',', @stopped)
	  . "}') j WHERE j IS NOT NULL;\n" if $dice < 0.95;
	# One that takes long, one at a time: many of them would be all that is done.
	return rand() < ($client < 2 ? 0.3 : 0.005) ? "SELECT * FROM policy_maintain();\n" : '' if $dice < 0.98;
	my $name = (sort keys %asks)[ rand keys %asks ];
	return "SELECT policy_" . ($dice < 0.99 ? 'publish' : 'rollback') . "('$name', 'chance');\n";
}

sub submit
{
	my ($topic) = @_;
	my $n = int rand 100;
	my $job = "{\"topic\": \"$topic\", \"payload\": {\"n\": $n}";

	if (rand() < 0.5)
	{
		return "BEGIN;\nWITH j AS (INSERT INTO policy.jobs (topic, payload) VALUES "
		  . "('$topic', '{\"n\": $n}'), ('$topic', NULL) RETURNING job_id) "
		  . "INSERT INTO stress.submitted SELECT job_id FROM j;\n"
		  . (rand() < 0.1 ? 'ROLLBACK' : 'COMMIT') . ";\n";
	}
	$job .= ", \"idempotency_key\": \"k" . int(rand 5000) . '"' if rand() < 0.2;
	return transaction("INSERT INTO stress.submitted SELECT job_id FROM policy_submit('$job}') ON CONFLICT DO NOTHING");
}

# A vote counts where it is on one that was still open.
sub vote
{
	my ($vote) = @_;
	my $counts = $vote eq 'approve' ? "('pending', 'approved')" : "('rejected')";

	return transaction("INSERT INTO stress.votes (approval_id, vote, status, counted) "
		  . "SELECT approval_id, '$vote', status, status IN $counts FROM policy_$vote((SELECT stress.any_approval()), 'chance')");
}

sub change
{
	my $n = int rand 100;

	# What changes nothing is no change.
	return transaction("WITH j AS (UPDATE policy.jobs SET payload = '{\"n\": $n}' WHERE job_id = " . any_job(@moving)
		  . " AND payload IS DISTINCT FROM '{\"n\": $n}'"
		  . ' RETURNING job_id) INSERT INTO stress.changed SELECT job_id FROM j');
}

# Ends an attempt by a verb, and notes how it ended, if it did.
sub end_by
{
	my ($verb) = @_;
	return "UPDATE stress.runs SET outcome = r.state, told = statement_timestamp(), ended = clock_timestamp() "
	  . "FROM $verb r WHERE token = :'token' AND r.state <> 'running';\n";
}

# Claims a job, notes what was given, and ends the attempt in one way or another, or
# keeps its token for later.
sub run_one
{
	my ($client, $dice) = @_;
	my $end =
	    $dice < 0.55 ? end_by("policy_complete(:job_id, :'token', '{}')")
	  : $dice < 0.80 ? end_by("policy_fail(:job_id, :'token', 'chance')")
	  :                end_by("policy_heartbeat(:job_id, :'token')") . "\\set kept_id :job_id\n\\set kept_token :token\n";

	# Under READ COMMITTED what the statement sees is in force, or what came after.
	return "\\unset job_id\nBEGIN" . (rand() < 0.1 ? ' ISOLATION LEVEL REPEATABLE READ' : '') . ";\n"
	  . "INSERT INTO stress.runs (job_id, attempt, token, content, decision_id, decided_at, active, run_after, begun, started, deadline) "
	  . "SELECT j.job_id, j.attempts, j.claim_token, stress.content(j), j.decision_id, j.decided_at, "
	  . "(SELECT a.release_id FROM policy.active a WHERE current_setting('transaction_isolation') = 'read committed'), "
	  . "j.run_after, statement_timestamp(), j.claimed_at, j.deadline FROM policy_claim('stress_$client') j RETURNING job_id, token \\gset\n"
	  . ($dice > 0.97 ? "ROLLBACK;\n" : "COMMIT;\n\\if :{?job_id}\n$end\\endif\n");
}

# Ends an attempt whose token was kept: late, or one that is over.
sub end_kept
{
	return "\\if :{?kept_id}\n\\set job_id :kept_id\n\\set token :kept_token\n"
	  . end_by(rand() < 0.5 ? "policy_complete(:job_id, :'token', '{}')" : "policy_fail(:job_id, :'token', 'late')") . "\\endif\n";
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

sub prove
{
	my ($self) = @_;
	my $node = $self->{node};
	my $met = $self->errors;
	my %unexpected = map { $_ => $met->{$_} }
	  grep { !$expected{$_} && !$isolated{$_} && !($self->{disrupted} && $disrupted{$_}) } keys %$met;

	note(join ' ', map { "$_: " . ($met->{$_}{ERROR} // $met->{$_}{FATAL} // $met->{$_}{PANIC}) } sort keys %$met);
	is_deeply(\%unexpected, {}, 'no client met an error that it should not');
	my $died = $self->{disrupted} ? qr/terminated by signal (?!9:)|PANIC:|TRAP:/ : qr/terminated by signal|PANIC:|TRAP:/;
	is(join('', grep { $_ =~ $died } split /^/, slurp_file($node->logfile)), '', 'no server process died that was not killed');
	note($node->safe_psql('postgres', "SELECT string_agg(format('%s %s', n, state), ', ') FROM "
			  . '(SELECT state, count(*) n FROM policy.jobs GROUP BY 1 ORDER BY 1) s'));
	ok($node->safe_psql('postgres', 'SELECT count(*) FROM stress.runs') > 20, 'jobs were run');
	ok($node->safe_psql('postgres', "SELECT count(*) FROM policy.approvals WHERE status = 'consumed'") > 0,
		'some of them by approval');
	$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM policy_seal()') or die 'nothing can be sealed';
	is($node->safe_psql('postgres', $_->[1]), '', $_->[0]) for promises($node);
	return;
}

1;
