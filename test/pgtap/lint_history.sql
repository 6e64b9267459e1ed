\ir common.psql
SELECT plan(12);

CREATE FUNCTION quiet(snapshot text, since timestamptz DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(substring(l.message FROM 'rule "([^"]+)" \(looked at: .*\)'), ', ' ORDER BY l.line), 'none')
	FROM policy_lint(snapshot, since) l WHERE l.code = 'no_hits'
$$;
CREATE FUNCTION submit(topic text) RETURNS void LANGUAGE sql AS $$
	SELECT FROM policy_submit(jsonb_build_object('topic', topic))
$$;
SELECT policy_stage('v1', 'version: v1
rules:
  - {id: used, owner: x, match: {topics: [used]}, decision: deny}
  - {id: watched, owner: x, mode: monitor, match: {topics: [used]}, decision: deny}
  - {id: idle, owner: x, match: {topics: [idle]}, decision: deny}
  - {id: off, owner: x, enabled: false, match: {topics: [off]}, decision: deny}
  - {id: over, owner: x, match: {topics: [over]}, decision: deny, expires_at: 2020-01-01T00:00:00Z}
  - {id: later, owner: x, match: {topics: [later]}, decision: deny, not_before: 2999-01-01T00:00:00Z}', NULL) \g /dev/null
SELECT is(quiet('v1'), 'none', 'with nothing recorded nothing is said');
SELECT policy_publish('v1', NULL) \g /dev/null
SELECT submit('used'), submit('other') \g /dev/null
SELECT is(quiet('v1'), 'idle', 'a rule that no decision lists is named, one in monitor mode that one lists is not, nor one that could not apply');
SELECT is((SELECT format('%s:%s %s %s', line, col, severity, message ~ '^no decision since .* lists rule "idle" \(looked at: 2\)$') FROM policy_lint('v1') WHERE code = 'no_hits'),
	'5:10 warning t', 'with its place, and how many decisions were looked at');
SELECT is(quiet('v1', now() + interval '1 day'), 'none', 'a window without decisions says nothing');
SELECT is((SELECT array_agg(code ORDER BY line) FROM policy_lint('v1') WHERE code <> 'no_hits'), '{expired_rule}', 'policy_lint gives what policy_validate does, too');
SELECT is((SELECT count(*) FROM (SELECT line, col, severity, code, message, hint FROM policy_lint('v1') WHERE code <> 'no_hits'
	EXCEPT SELECT * FROM policy_validate((SELECT document::text FROM policy.snapshots WHERE snapshot = 'v1'))) d), 0::bigint, 'the same rows');

-- A rule is not blamed for what was decided before it was there.
SELECT policy_stage('v2', 'version: v1
rules:
  - {id: used, owner: x, match: {topics: [nowhere]}, decision: deny}
  - {id: idle, owner: x, match: {topics: [idle]}, decision: deny}
  - {id: new, owner: x, match: {topics: [new]}, decision: deny}', NULL) \g /dev/null
SELECT is(quiet('v2'), 'idle', 'a rule that no decision was made under is not named');
SELECT policy_publish('v2', NULL) \g /dev/null
SELECT submit('used') \g /dev/null
SELECT is(quiet('v2'), 'idle, new', 'once one was, it is');
SELECT is((SELECT array_agg(substring(message FROM 'looked at: (\d+)') ORDER BY line) FROM policy_lint('v2') WHERE code = 'no_hits'), '{3,1}', 'each by its own decisions');
SELECT submit('new') \g /dev/null
SELECT is(quiet('v2'), 'idle', 'a hit ends it');
SELECT is(sqlstate_of($$SELECT policy_lint('v3')$$), 'PE002', 'an unknown snapshot is an error');
SELECT is(sqlstate_of($$SELECT policy_lint(NULL)$$), 'PE002', 'so is none');

SELECT * FROM finish();
ROLLBACK;
