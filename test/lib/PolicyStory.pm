# What several tests do with stored policies: stage some, decide some jobs, and
# say in one text all that has to survive.

package PolicyStory;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(stage state verdicts policy);

# The text of a policy whose only rule bears that name.
sub policy
{
	my ($rule, $decision) = @_;

	$decision //= 'allow';
	return "version: v1\nrules:\n  - id: $rule\n    decision: $decision\n";
}

sub stage
{
	my ($node, $snapshot, $source) = @_;

	$source =~ s/'/''/g;
	$node->safe_psql('postgres', "SELECT snapshot FROM policy_stage('$snapshot', '$source', 'note of $snapshot')");
	return;
}

# Everything that is stored, and that what is active, as text.
sub state
{
	my ($node) = @_;

	return $node->safe_psql('postgres', <<'SQL');
SELECT s.snapshot, md5(document::text), octet_length(document::text), encode(sha256, 'hex'),
	sha256 = sha256(convert_to(document::text, 'UTF8')), octet_length(tree), note, staged_by, extract(epoch FROM staged_at)
FROM policy.snapshots s ORDER BY s.snapshot;
SELECT release_id, action, snapshot, previous_snapshot, note, released_by, extract(epoch FROM released_at),
	simulation_id, override_reason, loosened
FROM policy.releases ORDER BY release_id;
SELECT release_id, snapshot, extract(epoch FROM since), note, released_by FROM policy.active;
SELECT snapshot, release_id, extract(epoch FROM since), fail_mode, warnings FROM policy_status();
SQL
}

# Verdicts of the active policy on some jobs, as text.
sub verdicts
{
	my ($node) = @_;

	return $node->safe_psql('postgres', <<'SQL');
SELECT n, v.* FROM (VALUES
	(1, '{"topic": "job.mcp-bridge.read.list"}'::jsonb),
	(2, '{"topic": "job.mcp-bridge.write.x", "risk_tags": ["prod", "write"]}'),
	(3, '{"topic": "job.agent.exec.x", "risk_tags": ["medium"]}'),
	(4, '{"topic": "job.agent.exec.x", "risk_tags": ["Destructive"]}'),
	(5, '{"topic": "other"}'),
	(6, '[]'),
	(7, NULL)) AS jobs (n, job), policy_evaluate(job) v
ORDER BY n;
SQL
}

1;
