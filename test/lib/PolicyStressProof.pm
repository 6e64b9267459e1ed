# What must hold after a run of PolicyStress, whatever chance has done: each line a
# promise and a query for what breaks it.
#
# The clients' notes (schema stress) say who submitted and changed what, who voted
# on what, what was given to whom to run and how it ended.  stress.asks has the
# rules that ask for approval (or, 0 votes, deny), as PolicyStress wrote them.

package PolicyStressProof;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(promises);

# What a run's rules asked for, and the hash of what it was given.
my $views = <<'SQL';
CREATE VIEW stress.given AS
	SELECT r.*, sha256(convert_to(r.content::text, 'UTF8')) AS hash, d.snapshot, d.decision, d.job_hash, d.job_key
	FROM stress.runs r LEFT JOIN policy.decisions d USING (decision_id, decided_at);
CREATE VIEW stress.asked AS
	SELECT g.*, a.rule, a.votes FROM stress.given g JOIN stress.asks a ON a.snapshot = g.snapshot AND g.content ->> 'topic' LIKE a.topics;
ANALYZE;
SQL

my @promises = (
	[ 'no job was lost, and none that was rolled back is there', <<'SQL' ],
SELECT 'submitted, not there', job_id FROM stress.submitted s WHERE NOT EXISTS (SELECT FROM policy.jobs j WHERE j.job_id = s.job_id)
UNION ALL SELECT 'there, not submitted', job_id FROM policy.jobs j WHERE NOT EXISTS (SELECT FROM stress.submitted s WHERE s.job_id = j.job_id)
UNION ALL SELECT 'of another', job_id FROM policy.jobs j JOIN stress.submitted s USING (job_id) WHERE s.who <> j.submitted_by
SQL
	[ 'every attempt was given to one client, and to one client only', <<'SQL' ],
SELECT j.job_id, j.attempts, r.n, r.numbers FROM policy.jobs j
LEFT JOIN (SELECT job_id, count(*) n, count(DISTINCT attempt) numbers FROM stress.runs GROUP BY 1) r USING (job_id)
WHERE j.attempts <> coalesce(r.n, 0) OR r.n <> r.numbers
SQL
	[ 'no job ran twice at once', <<'SQL' ],
SELECT a.job_id, a.attempt, a.ended, a.deadline, b.started FROM stress.runs a JOIN stress.runs b ON b.job_id = a.job_id AND b.attempt > a.attempt
WHERE coalesce(least(a.ended, a.deadline), 'infinity') > b.started
SQL
	[ 'what has ended stays as it ended', <<'SQL' ],
SELECT j.job_id, j.state, r.attempt, r.outcome FROM policy.jobs j JOIN stress.runs r USING (job_id)
WHERE r.outcome IN ('succeeded', 'failed', 'timed_out') AND (j.state <> r.outcome OR j.attempts <> r.attempt)
SQL
	[ 'no attempt succeeded after its deadline', <<'SQL' ],
SELECT job_id, attempt, deadline, told FROM stress.runs WHERE outcome IN ('succeeded', 'failed') AND told > deadline
SQL
	[ 'no job was tried more often than it may be', 'SELECT job_id, attempt FROM stress.runs WHERE attempt > 3' ],
	[ 'nothing ran that a rule denies, known or unknown', <<'SQL' ],
SELECT job_id, attempt, content FROM stress.runs WHERE content ->> 'topic' LIKE 'no.%'
	OR (content ->> 'topic' LIKE 'go.%' AND coalesce((content #>> '{payload,n}')::int, 91) > 90)
UNION ALL SELECT job_id, attempt, content FROM stress.asked WHERE votes = 0
SQL
	[ 'nothing ran before its time', <<'SQL' ],
SELECT r.job_id, r.attempt, r.started, r.run_after FROM stress.runs r JOIN policy.jobs j USING (job_id)
WHERE r.run_after > r.started OR (r.content ->> 'topic' = 'go.slow' AND r.started < j.submitted_at + interval '1 second')
SQL
	[ 'every claim was decided by a policy in force', <<'SQL' ],
SELECT g.job_id, g.attempt, g.snapshot, g.active, g.started FROM stress.given g WHERE NOT EXISTS (
	SELECT FROM policy.releases r WHERE r.release_id >= coalesce(g.active, 0) AND r.snapshot = g.snapshot AND r.released_at < g.started)
SQL
	[ 'every attempt rests on a recorded ALLOW of the very content that ran', <<'SQL' ],
SELECT job_id, attempt, decision, content FROM stress.given
WHERE decision IS NULL OR decision NOT IN ('ALLOW', 'ALLOW_WITH_CONSTRAINTS') OR job_hash <> hash OR job_key <> job_id::text OR decided_at > started
SQL
	# Votes as the voters noted them, but for who was asking.
	[ 'where a rule asks, enough others had approved the very content that ran', <<'SQL' ],
SELECT k.job_id, k.attempt, k.rule, k.votes, k.begun, ARRAY(SELECT (a, v)::text FROM policy.approvals a LEFT JOIN stress.votes v USING (approval_id)
	WHERE a.job_key = k.job_id::text) FROM stress.asked k WHERE k.votes > 0 AND NOT EXISTS (
	SELECT FROM policy.approvals a JOIN stress.votes v USING (approval_id)
	WHERE a.job_key = k.job_id::text AND a.rule = k.rule AND a.job_hash = k.hash AND a.status = 'consumed' AND v.vote = 'approve' AND v.at < k.started
		AND NOT EXISTS (SELECT FROM stress.submitted s WHERE s.job_id = k.job_id AND s.who = v.who)
		AND NOT EXISTS (SELECT FROM stress.changed c WHERE c.job_id = k.job_id AND c.who = v.who AND c.at < v.at)
	GROUP BY a.approval_id, a.required, a.expires_at HAVING count(DISTINCT v.who) >= k.votes AND a.required = k.votes AND a.expires_at > k.begun)
SQL
	[ 'nothing ran that somebody had rejected', <<'SQL' ],
SELECT k.job_id, k.attempt, a.approval_id, v.who FROM stress.asked k JOIN policy.approvals a ON a.job_key = k.job_id::text AND a.rule = k.rule AND a.job_hash = k.hash
JOIN stress.votes v USING (approval_id) WHERE v.vote = 'reject' AND v.status = 'rejected' AND a.status IN ('approved', 'consumed')
SQL
	[ 'every attempt that a rule asks of used an approval up, and no approval was used beyond its attempts', <<'SQL' ],
SELECT coalesce(a.job_key, k.job_key), coalesce(a.rule, k.rule), a.used, k.n FROM
	(SELECT job_key, rule, sum(attempts) AS used FROM policy.approvals GROUP BY 1, 2) a
	FULL JOIN (SELECT job_id::text AS job_key, rule, count(*) AS n FROM stress.asked WHERE votes > 0 GROUP BY 1, 2) k USING (job_key, rule)
WHERE coalesce(a.used, 0) <> coalesce(k.n, 0)
UNION ALL
SELECT job_key, status, attempts, NULL FROM policy.approvals WHERE attempts > 3 OR (status = 'consumed') <> (attempts > 0)
SQL
	[ 'every vote that was returned is there, and no other', <<'SQL' ],
SELECT approval_id, who, n.vote, v.vote FROM (SELECT DISTINCT ON (approval_id, who) * FROM stress.votes WHERE counted ORDER BY approval_id, who, at DESC) n
FULL JOIN (SELECT approval_id, approver AS who, vote FROM policy.approval_votes) v USING (approval_id, who) WHERE n.vote IS DISTINCT FROM v.vote
SQL
	[ 'every job has evidence: of its submission once, and of where it is', <<'SQL' ],
SELECT j.job_id, j.state, d.decision, e.submissions FROM policy.jobs j
LEFT JOIN policy.decisions d ON d.decision_id = j.decision_id AND d.decided_at = j.decided_at AND d.job_key = j.job_id::text
LEFT JOIN (SELECT job_key, count(*) FILTER (WHERE source = 'submit') AS submissions, max(decision_id) AS newest FROM policy.decisions GROUP BY 1) e
	ON e.job_key = j.job_id::text
WHERE d.decision IS NULL OR e.submissions <> 1 OR e.newest <> d.decision_id OR d.job_hash <> sha256(convert_to(d.job::text, 'UTF8'))
	OR (j.state IN ('ready', 'running', 'succeeded', 'failed', 'timed_out') AND d.decision NOT IN ('ALLOW', 'ALLOW_WITH_CONSTRAINTS'))
	OR (j.state = 'awaiting_approval' AND d.decision <> 'REQUIRE_APPROVAL') OR (j.state = 'throttled' AND d.decision <> 'THROTTLE')
	OR (j.state = 'denied' AND d.decision <> 'DENY')
UNION ALL
SELECT NULL, job_key, decision, NULL FROM policy.decisions d WHERE NOT EXISTS (SELECT FROM policy.jobs j WHERE j.job_id = d.job_key::bigint)
SQL
	[ 'a job that waits for approval has an open one, and no other job has', <<'SQL' ],
SELECT j.job_id, j.state FROM policy.jobs j WHERE (j.state = 'awaiting_approval') <> EXISTS (
	SELECT FROM policy.approvals a WHERE a.job_key = j.job_id::text AND a.status = 'pending')
SQL
	[ 'releases count up without a gap, each after the one before', <<'SQL' ],
SELECT r.release_id, r.previous_snapshot, p.snapshot FROM policy.releases r LEFT JOIN policy.releases p ON p.release_id = r.release_id - 1
WHERE r.previous_snapshot IS DISTINCT FROM p.snapshot
SQL
	[ 'evidence is sealed, and nothing is wrong with it', <<'SQL' ],
SELECT problem, seal_id, decision_id, detail FROM policy_verify()
UNION ALL SELECT 'not sealed', NULL, decision_id, NULL FROM policy.decisions WHERE decision_id > (SELECT max(through_id) FROM policy.seals)
SQL
);

# The promises, after what they need is made.
sub promises
{
	my ($node) = @_;

	$node->safe_psql('postgres', $views);
	return @promises;
}

1;
