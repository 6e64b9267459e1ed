# Replays of random policies over the jobs that they have decided: what was in force
# then flips nothing, says what was recorded, and every flip is what policy_evaluate says.
#
# POLICY_SEED chooses them (printed by every run), POLICY_CASES how many policies,
# POLICY_JOBS how many jobs each.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PolicyGenerator qw(random_document random_job document_text job_text);
use PolicyNode qw(start_policy_node load_rows query_rows);
use Test::More;

my $seed = $ENV{POLICY_SEED} // int rand 1_000_000;
my $documents = $ENV{POLICY_CASES} // 30;
my $jobs = $ENV{POLICY_JOBS} // 30;
my $node = start_policy_node('replays');
my (@texts, @jobs);

srand $seed;
diag "POLICY_SEED=$seed";
for my $number (1 .. $documents)
{
	my $document = random_document();

	$document->{evidence} = { mask => [ (map { "\$.payload.$_" } qw(amount kind)), '$.actor' ] } if rand() < 0.3;
	push @texts, [ $number, document_text($document) ];
	push @jobs, map { [ $number, $_, job_text(random_job()) ] } 1 .. $jobs;
}

$node->safe_psql('postgres', <<'SQL');
SET policy_engine.require_simulation = off;
CREATE TABLE texts (text_no integer, source text);
CREATE TABLE random_jobs (text_no integer, job_no integer, job jsonb);
CREATE FUNCTION submit(wanted integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
	given jsonb;
	submitted integer := 0;
BEGIN
	FOR given IN SELECT job FROM random_jobs WHERE text_no = wanted ORDER BY job_no LOOP
		BEGIN
			PERFORM policy_submit(given);
			submitted := submitted + 1;
		EXCEPTION WHEN SQLSTATE 'PE015' THEN
			NULL; -- an idempotency key that another has
		END;
	END LOOP;
	RETURN submitted;
END
$$;
CREATE FUNCTION document(name text) RETURNS policy_document LANGUAGE sql STABLE
	AS $$ SELECT document FROM policy.snapshots WHERE snapshot = name $$;
-- Flips that are not what each snapshot says of the recorded job at that moment.
CREATE FUNCTION wrong_flips(id bigint) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM policy.simulations s JOIN policy.simulation_flips f USING (simulation_id)
		JOIN policy.decisions d USING (decision_id),
		policy_evaluate(document(s.base_snapshot), d.job, f.evaluated_at) b,
		policy_evaluate(document(s.snapshot), d.job, f.evaluated_at) c
	WHERE s.simulation_id = id
		AND (b.decision, b.matched_rule, b.reason, b.constraints, c.decision, c.matched_rule, c.reason, c.constraints)
			IS DISTINCT FROM (f.from_decision, f.from_rule, f.from_reason, f.from_constraints,
				f.to_decision, f.to_rule, f.to_reason, f.to_constraints)
$$;
-- Jobs that two snapshots decide otherwise, at their own time or now, and that are no flips.
CREATE FUNCTION missed_flips(id bigint) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM policy.simulations s, policy.decisions d, unnest(ARRAY[d.decided_at, s.started_at]) at,
		policy_evaluate(document(s.base_snapshot), d.job, at) b,
		policy_evaluate(document(s.snapshot), d.job, at) c
	WHERE s.simulation_id = id AND d.topic IS NOT NULL AND (b.decision <> c.decision OR c.retry_after_sec < b.retry_after_sec)
		AND NOT EXISTS (SELECT FROM policy.simulation_flips f WHERE f.simulation_id = id AND f.decision_id = d.decision_id)
$$;
SQL
load_rows($node, 'texts', \@texts);
load_rows($node, 'random_jobs', \@jobs);
for my $number (1 .. $documents)
{
	$node->safe_psql('postgres', "SET policy_engine.require_simulation = off; "
		. "SELECT policy_stage('p$number', source::policy_document, NULL) FROM texts WHERE text_no = $number; SELECT policy_publish('p$number', NULL)");
	$node->safe_psql('postgres', "SELECT submit($number)");
}
my $submitted = $node->safe_psql('postgres', 'SELECT count(*) FROM policy.decisions');
ok($submitted > $documents * $jobs / 2, 'the jobs are recorded');

is_deeply([ query_rows($node, <<'SQL') ], [], 'a snapshot against itself flips nothing, over what any has decided');
SELECT to_jsonb(s) FROM generate_series(1, (SELECT max(text_no) FROM texts)) n, policy_replay('p' || n, base => 'p' || n) s
WHERE s.flips > 0 OR s.jobs <> (SELECT count(*) FROM policy.decisions)
SQL
is_deeply([ query_rows($node, <<'SQL') ], [], 'what was in force says now what was recorded then');
SELECT jsonb_build_object('snapshot', s.snapshot, 'then', s.matrix_then)
FROM (SELECT snapshot, min(decided_at) AS since, max(decided_at) + interval '1 microsecond' AS until FROM policy.decisions GROUP BY 1) w,
	policy_replay(w.snapshot, w.since, w.until, w.snapshot) s
WHERE document(w.snapshot)::text NOT LIKE '%velocity%'
	AND EXISTS (SELECT FROM jsonb_array_elements(s.matrix_then) m WHERE m -> 'from' <> m -> 'to')
SQL

# One snapshot against the next
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE pairs AS SELECT (policy_replay('p' || n + 1, base => 'p' || n)).*
FROM generate_series(1, (SELECT max(text_no) FROM texts) - 1) n
WHERE document('p' || n)::text || document('p' || n + 1)::text NOT LIKE '%velocity%';
SQL
cmp_ok($node->safe_psql('postgres', 'SELECT coalesce(sum(flips), 0) FROM pairs'), '>', 0, 'others flip jobs');
is_deeply([ query_rows($node, <<'SQL') ], [], 'each as policy_evaluate says');
SELECT jsonb_build_object('snapshot', snapshot, 'wrong', wrong_flips(simulation_id)) FROM pairs WHERE wrong_flips(simulation_id) > 0
SQL
is_deeply([ query_rows($node, <<'SQL') ], [], 'and none is missing where nothing is masked');
SELECT jsonb_build_object('snapshot', snapshot, 'missed', missed_flips(simulation_id)) FROM pairs
WHERE NOT unreplayable ? 'masked fact' AND missed_flips(simulation_id) > 0
SQL
is($node->safe_psql('postgres', q{SELECT count(*) FROM policy.simulations WHERE jobs <> replayed + (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(unreplayable))
	OR flips <> loosened + tightened OR flips <> (SELECT count(*) FROM policy.simulation_flips f WHERE f.simulation_id = simulations.simulation_id)}),
	'0', 'and every count adds up');

$node->stop;
done_testing();
