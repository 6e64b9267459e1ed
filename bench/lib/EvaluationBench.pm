# Evaluating: speed against the floor, memory, the first decision, two processes,
# the decision cache, and what the time grows with.

package EvaluationBench;

use strict;
use warnings;

use POSIX ();

use BenchSession;
use Measure qw(interleaved keep_row keep_skipped keep_series median say_now);
use Verdicts qw(check_verdicts);
use Workload qw(realistic_policy adversarial_policy swept_policy policy_yaml jobs_sql
  adversarial_jobs_sql tags);

my %policies;

# Stages and publishes a policy under a name; it is then in force.
sub publish
{
	my ($session, $name, $policy) = @_;
	my $text = BenchSession::literal(policy_yaml($policy));

	$policies{$name} = $policy;
	$session->ask("SELECT NULL FROM policy_stage('$name', $text, 'for a benchmark')");
	$session->ask("SELECT NULL FROM policy_publish('$name', 'for a benchmark', 'a benchmark replays nothing')");
	return;
}

# Puts a published policy in force again, compiled in this session.
sub switch
{
	my ($session, $name) = @_;

	$session->ask("SELECT NULL FROM policy_rollback('$name', 'for a benchmark')");
	$session->ask("SELECT NULL FROM policy_evaluate('{\"topic\": \"job.warm\"}')");
	return;
}

sub _settings
{
	my ($session) = @_;

	$session->ask("LOAD 'policy_engine'");
	for my $setting ('max_document_bytes = \'64MB\'', 'timeout = \'60s\'', 'require_simulation = off')
	{
		my ($name) = split / /, $setting;
		my ($known) =
		  $session->ask("SELECT count(*) FROM pg_settings WHERE name = 'policy_engine.$name'");

		next if !$known;
		$session->ask("ALTER DATABASE postgres SET policy_engine.$setting");
		$session->ask("SET policy_engine.$setting");
	}
	return;
}

sub prepare
{
	my ($session, $size) = @_;

	say_now("Making $size->{jobs} jobs and the policies ...");
	$session->ask('CREATE EXTENSION policy_engine');
	_settings($session);
	$session->ask('CREATE SCHEMA bench');
	$session->ask("CREATE FUNCTION bench.floor(job jsonb, matched integer) RETURNS policy_verdict "
		  . "LANGUAGE C PARALLEL SAFE AS '$size->{floor}', 'bench_floor'");
	publish($session, "r$_", realistic_policy($_)) for 10, 100, 1_000, 10_000, 50_000;
	publish($session, 'adversarial', adversarial_policy(10_000));
	$session->ask('CREATE UNLOGGED TABLE bench.jobs AS ' . jobs_sql($size->{jobs}));
	$session->ask('CREATE UNLOGGED TABLE bench.adversarial_jobs AS '
		  . 'SELECT j.job_id, j.job, cardinality(v.matched_rules) AS matched FROM ('
		  . adversarial_jobs_sql(10_000) . ') j, policy_evaluate(j.job) v');
	$session->ask('VACUUM ANALYZE bench.jobs');
	$session->ask('VACUUM ANALYZE bench.adversarial_jobs');
	$session->ask('SELECT count(job) FROM bench.jobs');
	return;
}

# Times a query under a policy that is put in force first.
sub _under
{
	my ($session, $name, $query) = @_;

	return sub {
		switch($session, $name);
		return scalar $session->server_ms($query);
	};
}

sub _microseconds { return sprintf '%.3f us', $_[0]; }

# Milliseconds of each, for that many jobs, to microseconds a job without the scan.
sub _per_job
{
	my ($count, %ms) = @_;
	my $scan = delete $ms{scan};

	return map { $_ => ($ms{$_} - $scan) * 1000 / $count } keys %ms;
}

sub evaluation
{
	my ($session, $size) = @_;

	check_verdicts($session, $size, $_, $policies{$_}, $_ eq 'adversarial' ? 'adversarial_jobs' : 'jobs')
	  or die "verdicts differ from the naive evaluator's: nothing is measured\n"
	  for qw(r10 r1000 r10000 r50000 adversarial);
	_realistic($session, $size);
	_adversarial($session, $size);
	return;
}

sub _realistic
{
	my ($session, $size) = @_;
	my $evaluate = 'SELECT count(policy_evaluate(job)) FROM bench.jobs';
	my %us = _per_job($size->{jobs}, interleaved($size->{rounds},
		scan => sub { scalar $session->server_ms('SELECT count(job) FROM bench.jobs') },
		floor => sub { scalar $session->server_ms('SELECT count(bench.floor(job, 1)) FROM bench.jobs') },
		map { ($_ => _under($session, $_, $evaluate)) } qw(r10 r100 r1000 r10000 r50000)));
	my %detail = map { $_ => _microseconds($us{$_}) } keys %us;

	keep_row(what => 'evaluate at 1,000 rules : the floor', value => $us{r1000} / $us{floor},
		bar => 2, sense => '<=', detail => { map { $_ => $detail{$_} } qw(r1000 floor) });
	keep_row(what => '10,000 rules : 10 rules', value => $us{r10000} / $us{r10},
		bar => 1.3, sense => '<=', detail => { map { $_ => $detail{$_} } qw(r10000 r10) });
	keep_row(what => '50,000 rules : 10 rules', value => $us{r50000} / $us{r10},
		bar => 2, sense => '<=', detail => { map { $_ => $detail{$_} } qw(r50000 r10) });
	keep_series(name => 'rules', title => 'One decision by number of rules', x => 'rules', y => 'us',
		log => 1, lines => [
			[ 'policy_evaluate', [ map { [ $_, $us{"r$_"} ] } 10, 100, 1_000, 10_000, 50_000 ] ],
			[ 'the floor', [ map { [ $_, $us{floor} ] } 10, 50_000 ] ] ]);
	return;
}

sub _adversarial
{
	my ($session, $size) = @_;
	my ($count) = $session->ask('SELECT count(*) FROM bench.adversarial_jobs');
	my ($matched) = $session->ask('SELECT round(avg(matched)) FROM bench.adversarial_jobs');
	my %us = _per_job($count, interleaved($size->{rounds},
		scan => sub { scalar $session->server_ms('SELECT count(job) FROM bench.adversarial_jobs') },
		floor => sub {
			scalar $session->server_ms('SELECT count(bench.floor(job, matched)) FROM bench.adversarial_jobs');
		},
		adversarial => _under($session, 'adversarial',
			'SELECT count(policy_evaluate(job)) FROM bench.adversarial_jobs')));

	keep_row(what => 'adversarial, 10,000 rules on 20 tags : a floor with the same rules',
		value => $us{adversarial} / $us{floor}, bar => 4, sense => '<=',
		detail => { evaluate => _microseconds($us{adversarial}), floor => _microseconds($us{floor}),
			'rules a verdict' => $matched });
	return;
}

# Everything that a session's memory contexts hold.
sub _session_bytes
{
	my ($session) = @_;

	return ($session->ask('SELECT sum(total_bytes) FROM pg_backend_memory_contexts'))[0];
}

# What a session grows by when it decides under a policy for the first time, after
# it has decided under another one.
sub _growth
{
	my ($control, $name) = @_;
	my ($session, $before, $after);

	switch($control, 'r100');
	$session = BenchSession->new;
	$session->ask('SELECT NULL FROM (SELECT job FROM bench.jobs LIMIT 10) j, policy_evaluate(j.job)');
	_session_bytes($session);
	$before = _session_bytes($session);
	switch($control, $name);
	$session->ask('SELECT NULL FROM (SELECT job FROM bench.jobs LIMIT 10) j, policy_evaluate(j.job)');
	$after = _session_bytes($session);
	$session->finish;
	return $after - $before;
}

sub memory
{
	my ($session, $size) = @_;
	my $bytes = _growth($session, 'r10000') - _growth($session, 'r10');

	keep_row(what => 'memory of a compiled policy, a rule, at 10,000 rules', unit => 'bytes',
		value => $bytes / 9_990, bar => 1024, sense => '<=',
		detail => { 'more than with 10 rules' => sprintf '%.1f MB', $bytes / 1e6 });
	return;
}

# The first decision of a new session in the server, the library loaded.
sub _first
{
	my ($control, $name) = @_;

	return sub {
		my ($session, $ms);

		$control->ask("SELECT NULL FROM policy_rollback('$name', 'for a benchmark')");
		$session = BenchSession->new;
		$session->ask("LOAD 'policy_engine'");
		$ms = $session->server_ms("SELECT policy_evaluate('{\"topic\": \"job.team1.svc1.write\"}')");
		$session->finish;
		return $ms;
	};
}

# The same of a function that decides nothing: what the server takes to call any, and
# to get to know the type of its result.
sub _first_floor
{
	my ($size) = @_;

	return sub {
		my $session = BenchSession->new;
		my $ms;

		$session->ask("LOAD '$size->{floor}'");
		$ms = $session->server_ms("SELECT bench.floor('{\"topic\": \"job.team1.svc1.write\"}', 1)");
		$session->finish;
		return $ms;
	};
}

sub first_decision
{
	my ($session, $size) = @_;
	my %ms = interleaved(5 * $size->{rounds}, floor => _first_floor($size),
		map { ($_ => _first($session, $_)) } qw(r10 r100 r1000 r10000));

	keep_row(what => 'first decision of a new session, 100 rules', unit => 'ms',
		value => $ms{r100}, bar => 0.5, sense => '<=',
		detail => { 'the floor, called first' => "$ms{floor} ms" });
	keep_row(what => 'first decision of a new session, 10,000 rules', unit => 'ms',
		value => $ms{r10000}, bar => 20, sense => '<=',
		detail => { '10 rules' => "$ms{r10} ms", '1,000 rules' => "$ms{r1000} ms" });
	return;
}

# Starting the second process takes some 10 ms: with fewer jobs than this they would be
# what is measured.
my $parallel_jobs = 600_000;

# A table that two processes share: as many jobs as that takes, each several times.
sub _parallel_table
{
	my ($session, $size) = @_;
	my $table = 'bench.jobs';

	if ($size->{jobs} < $parallel_jobs)
	{
		$table = 'bench.parallel_jobs';
		$session->ask("CREATE UNLOGGED TABLE $table AS SELECT job FROM bench.jobs, generate_series(1, "
			  . POSIX::ceil($parallel_jobs / $size->{jobs}) . ')');
		$session->ask("VACUUM ANALYZE $table");
	}
	$session->ask("ALTER TABLE $table SET (parallel_workers = 1)");
	return $table;
}

sub parallel
{
	my ($session, $size) = @_;
	my $query = 'SELECT count(policy_evaluate(job)) FROM ' . _parallel_table($session, $size);
	my $with = sub {
		my ($workers) = @_;
		my ($ms, $plan);

		$session->ask("SET max_parallel_workers_per_gather = $workers");
		($ms, $plan) = $session->server_ms($query);
		$session->ask('SET max_parallel_workers_per_gather = 0');
		die "there was no second process:\n$plan\n" if $workers && $plan !~ /Workers Launched: $workers/;
		return $ms;
	};
	my %ms;

	$session->ask("SET $_ = 0") for qw(parallel_setup_cost parallel_tuple_cost min_parallel_table_scan_size);
	switch($session, 'r1000');
	%ms = interleaved($size->{rounds}, one => sub { $with->(0) }, two => sub { $with->(1) });
	keep_row(what => 'a parallel query on two processes : on one', unit => 'x as fast',
		value => $ms{one} / $ms{two}, bar => 1.7, sense => '>=',
		detail => { one => sprintf('%.0f ms', $ms{one}), two => sprintf('%.0f ms', $ms{two}) });
	return;
}

# Jobs of which a share has a set of tags that the cache has met: the rest goes
# round 1,140 sets, more than the cache is given room for.
sub _cache_jobs
{
	my ($session, $share) = @_;
	my $tags = 'ARRAY[' . join(', ', map { "'$_'" } tags()) . ']';

	$session->ask('DROP TABLE IF EXISTS bench.cache_jobs, bench.tag_sets');
	$session->ask("CREATE UNLOGGED TABLE bench.tag_sets AS SELECT row_number() OVER () - 1 AS set_no, "
		  . "jsonb_build_array(($tags)[a], ($tags)[b], ($tags)[c]) AS tags "
		  . 'FROM generate_series(1, 20) a, generate_series(a + 1, 20) b, generate_series(b + 1, 20) c');
	$session->ask("CREATE UNLOGGED TABLE bench.cache_jobs AS SELECT "
		  . "jsonb_build_object('topic', 'job.run', 'risk_tags', s.tags) AS job "
		  . 'FROM generate_series(1, 10000) n '
		  . "JOIN bench.tag_sets s ON s.set_no = CASE WHEN n % 100 < $share THEN 0 ELSE n % 1139 + 1 END "
		  . 'ORDER BY n');
	return;
}

sub cache
{
	my ($session, $size) = @_;
	my $query = 'SELECT count(policy_evaluate(job)) FROM bench.cache_jobs';
	my $equal = 'SELECT md5(string_agg(policy_evaluate(job)::text, chr(10))) FROM bench.cache_jobs';
	my ($known) = $session->ask(
		"SELECT count(*) FROM pg_settings WHERE name = 'policy_engine.decision_cache_size'");

	if (!$known)
	{
		keep_skipped('the decision cache', 'this build has no policy_engine.decision_cache_size');
		return;
	}
	switch($session, 'adversarial');
	for my $share (0, 50, 99)
	{
		my (%verdicts, %ms);
		my $with = sub {
			my ($entries, $what) = @_;

			$session->ask("SET policy_engine.decision_cache_size = $entries");
			return $what eq 'time' ? scalar $session->server_ms($query) : ($session->ask($equal))[0];
		};

		_cache_jobs($session, $share);
		$verdicts{ $with->($_, 'verdicts') } = 1 for 0, 100, 100;
		die "the decision cache changes verdicts\n" if keys %verdicts != 1;
		%ms = interleaved($size->{rounds},
			with => sub { $with->(100, 'time') }, without => sub { $with->(0, 'time') });
		keep_row(what => "the decision cache, $share% hits : without it", value => $ms{with} / $ms{without},
			detail => { map { $_ => _microseconds($ms{$_} / 10) } keys %ms });
	}
	$session->ask('RESET policy_engine.decision_cache_size');
	_cache_on_realistic($session, $size);
	return;
}

sub _cache_on_realistic
{
	my ($session, $size) = @_;
	my $query = 'SELECT count(policy_evaluate(job)) FROM bench.jobs';
	my %ms;

	switch($session, 'r1000');
	%ms = interleaved($size->{rounds},
		with => sub { scalar $session->server_ms($query) },
		without => sub {
			my $ms;

			$session->ask('SET policy_engine.decision_cache_size = 0');
			$ms = $session->server_ms($query);
			$session->ask('RESET policy_engine.decision_cache_size');
			return $ms;
		});
	keep_row(what => 'the decision cache, 1,000 realistic rules : without it',
		value => $ms{with} / $ms{without},
		detail => { map { $_ => _microseconds($ms{$_} * 1000 / $size->{jobs}) } keys %ms });
	return;
}

#
# Sweeps: what a user controls, from little to much
#

# Each sweep gives, for a size, the job (SQL over n) and the policy's matches.
my %sweeps = (
	'pattern length' => {
		unit => 'characters of a pattern of *a*a*a...*b*, on a topic of 1,000 as',
		sizes => [ 8, 32, 128, 512, 1024 ],
		job => sub { q{jsonb_build_object('topic', 'job.' || repeat('a', 1000) || n % 10)} },
		matches => sub { map { { topics => [ 'job.' . '*a' x (($_[0] - 6) / 2) . '*b*' ] } } 1 .. 10 } },
	'tag count' => {
		unit => 'tags of a job',
		sizes => [ 1, 4, 16, 64, 256 ],
		job => sub {
			"jsonb_build_object('topic', 'job.run', 'risk_tags', "
			  . "(SELECT jsonb_agg('tag' || n % 10 || 'x' || k) FROM generate_series(1, $_[0]) k))";
		},
		matches => sub { map { { risk_tags => ["tag${_}x1"] } } 1 .. 1_000 } },
	'label count' => {
		unit => 'labels of a job',
		sizes => [ 1, 4, 16, 64, 256 ],
		job => sub {
			"jsonb_build_object('topic', 'job.run', 'labels', "
			  . "(SELECT jsonb_object_agg('label' || k, 'v' || n % 10) FROM generate_series(1, $_[0]) k))";
		},
		matches => sub { map { { labels => { "label$_" => 'yes' } } } 1 .. 1_000 } },
	'topic length' => {
		unit => 'bytes of a topic, 1,000 prefixes of as many lengths in the policy',
		sizes => [ 16, 64, 256, 1024 ],
		job => sub { "jsonb_build_object('topic', repeat('ab', $_[0] / 2 - 1) || '.' || n % 10)" },
		matches => sub { map { { topics => [ ('ab' x $_) . 'c*' ] } } 1 .. 1_000 } });

sub _sweep_point
{
	my ($session, $name, $size, $rounds) = @_;
	my $sweep = $sweeps{$name};
	my $snapshot = "$name $size";
	my $count = 2_000;
	my %ms;

	publish($session, $snapshot, swept_policy($sweep->{matches}->($size)));
	$session->ask('DROP TABLE IF EXISTS bench.swept');
	$session->ask('CREATE UNLOGGED TABLE bench.swept AS SELECT ' . $sweep->{job}->($size)
		  . " AS job FROM generate_series(1, $count) n");
	switch($session, $snapshot);
	%ms = interleaved($rounds,
		scan => sub { scalar $session->server_ms('SELECT count(job) FROM bench.swept') },
		floor => sub { scalar $session->server_ms('SELECT count(bench.floor(job, 1)) FROM bench.swept') },
		evaluate => sub { scalar $session->server_ms('SELECT count(policy_evaluate(job)) FROM bench.swept') });
	return _per_job($count, %ms);
}

# At the sweep's end: how far from the floor, which reads as much.
sub _keep_last_ratio
{
	my ($name, %lines) = @_;
	my ($at, $evaluate) = @{ $lines{evaluate}[-1] };
	my $floor = $lines{floor}[-1][1];

	keep_row(what => "$name $at : the floor", value => $evaluate / $floor,
		detail => { evaluate => _microseconds($evaluate), floor => _microseconds($floor) });
	return;
}

sub sweeps
{
	my ($session, $size) = @_;

	for my $name (sort keys %sweeps)
	{
		my %lines;

		for my $at (@{ $sweeps{$name}{sizes} })
		{
			my %us = _sweep_point($session, $name, $at, $size->{rounds});

			push @{ $lines{$_} }, [ $at, $us{$_} ] for keys %us;
		}
		_keep_last_ratio($name, %lines);
		keep_series(name => $name =~ tr/ /-/r, title => "One decision by $name", x => $sweeps{$name}{unit},
			y => 'us', log => 1,
			lines => [ [ 'policy_evaluate', $lines{evaluate} ], [ 'the floor', $lines{floor} ] ]);
	}
	return;
}

1;
