\ir common.psql
SELECT plan(91);

-- What lint says of a document with these rules, but for owners.
CREATE FUNCTION lint(rules text, head text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(format('%s %s', v.code, substring(v.message FROM '(?:rules?|exception|pattern) "([^"]+)"')), ', ' ORDER BY v.line, v.code COLLATE "C"), 'clean')
	FROM policy_validate(E'version: v1\n' || head || E'\nrules:' || rules) v
	WHERE v.code <> 'no_owner'
$$;
-- The hint of a code's first row.
CREATE FUNCTION hint_of(wanted text, rules text, head text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT v.hint FROM policy_validate(E'version: v1\n' || head || E'\nrules:' || rules) v WHERE v.code = wanted ORDER BY v.line LIMIT 1
$$;

--
-- A rule by itself
--
SELECT is(lint(rules), expected, what) FROM (VALUES
	('an expired rule is prunable', ' [{id: a, decision: deny, expires_at: 2020-01-01T00:00:00Z}]', 'expired_rule a'),
	('an expired exception is prunable', ' [{id: a, decision: deny, exceptions: [{id: e1, match: {}, expires_at: 2020-01-01T00:00:00Z, reason: x}]}]', 'expired_exception e1'),
	('a live exception is clean', ' [{id: a, decision: deny, exceptions: [{id: e1, match: {topics: [x]}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}]', 'clean'),
	('a rule is valid at no time', ' [{id: a, decision: deny, not_before: 2030-01-01T00:00:00Z, expires_at: 2030-01-01T00:00:00Z}]', 'never_valid a'),
	('a wait beside a velocity has no effect', ' [{id: a, decision: throttle, retry_after_sec: 5, velocity: {max_requests: 1, window_seconds: 1, key: tenant}}]', 'unused_retry_after a'),
	('a wait by itself is clean', ' [{id: a, decision: throttle, retry_after_sec: 5}]', 'clean'),
	('all of a field that has one value', ' [{id: a, match: {topics: {all: [x, y]}}, decision: deny}]', 'cannot_hold a'),
	('all of a set is clean', ' [{id: a, match: {risk_tags: {all: [x, y]}}, decision: deny}]', 'clean'),
	('all and none contradict', ' [{id: a, match: {risk_tags: {all: [x], none: ["?"]}}, decision: deny}]', 'cannot_hold a'),
	('any and none contradict', ' [{id: a, match: {topics: {any: ["job.x.*", "job.[xy].z"], none: ["job.[!a-w]*"]}}, decision: deny}]', 'cannot_hold a'),
	('any less none leaves something', ' [{id: a, match: {topics: {any: ["job.x.*"], none: ["job.x.?*"]}}, decision: deny}]', 'clean'),
	('two patterns with no value in common', ' [{id: a, match: {tenants: {all: ["a*b", "*c"]}}, decision: deny}]', 'cannot_hold a'),
	('a class and a literal with no value in common', ' [{id: a, match: {capabilities: {any: ["[a-f]x"], all: ["[g-z]?"]}}, decision: deny}]', 'cannot_hold a'),
	('a label that contradicts itself', ' [{id: a, match: {labels: {env: {any: [prod], none: ["p*"]}}}, decision: deny}]', 'cannot_hold a'),
	('no secrets, with the tag that says so', ' [{id: a, match: {secrets_present: false, risk_tags: [secrets]}, decision: deny}]', 'cannot_hold a'),
	('no secrets, with a tag that can be another', ' [{id: a, match: {secrets_present: false, risk_tags: ["secret?"]}, decision: deny}]', 'clean'),
	('no secrets, with the label that says so', ' [{id: a, match: {secrets_present: false, labels: {secrets_present: ["true", "1"]}}, decision: deny}]', 'cannot_hold a'),
	('a field and the label that means the same', ' [{id: a, match: {mcp: {servers: [jira]}, labels: {mcpServer: github}}, decision: deny}]', 'cannot_hold a'),
	('two labels that mean the same', ' [{id: a, match: {labels: {mcp.tool: a, mcp_tool: b}}, decision: deny}]', 'cannot_hold a'),
	('a pattern for a value that begins with white space', ' [{id: a, match: {topics: ["[ ]x"]}, decision: deny}]', 'cannot_hold a'),
	('the same beside another', ' [{id: a, match: {topics: [y, "[ ]x"]}, decision: deny}]', 'dead_pattern [ ]x'),
	('a pattern that ends in white space is trimmed', ' [{id: a, match: {topics: ["x "]}, decision: deny}]', 'clean'),
	('an upper-case class is a lower-case one', ' [{id: a, match: {topics: ["[A-Z]x"]}, decision: deny}]', 'clean'),
	('an exception that can match nothing', ' [{id: a, decision: deny, exceptions: [{id: e, match: {topics: {all: [x, y]}}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}]', 'cannot_hold e'),
	('an exception outside of its rule', ' [{id: a, match: {topics: [x]}, decision: deny, exceptions: [{id: e, match: {topics: [y]}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}]', 'cannot_hold e'),
	('a disabled rule is not looked at', ' [{id: a, enabled: false, match: {topics: {all: [x, y]}}, decision: deny}]', 'clean'),
	('an allow without a match', ' [{id: a, decision: allow}]', 'allows_everything a'),
	('an allow of every topic', ' [{id: a, match: {topics: ["*"], tenants: ["?*"]}, decision: allow}]', 'allows_everything a'),
	('an allow of two halves', ' [{id: a, match: {topics: ["job*", "[!j]*", "j", "j[!o]*", "jo", "jo[!b]*"]}, decision: allow}]', 'allows_everything a'),
	('an allow with constraints of everything', ' [{id: a, decision: allow_with_constraints, constraints: {x: 1}}]', 'allows_everything a'),
	('an allow that a tag narrows', ' [{id: a, match: {topics: ["*"], risk_tags: [read]}, decision: allow}]', 'allows_all_topics a'),
	('an allow that a tag narrows, without topics', ' [{id: a, match: {risk_tags: [read]}, decision: allow}]', 'clean'),
	('an allow of all topics in two halves, with constraints', ' [{id: a, match: {topics: ["a*", "[!a]*"], actor_roles: [dba]}, decision: allow_with_constraints, constraints: {x: 1}}]', 'allows_all_topics a'),
	('an allow of all topics that a predicate narrows', ' [{id: a, match: {topics: ["*"], when: "$.payload.x == 1"}, decision: allow}]', 'allows_all_topics a'),
	('an allow of all topics but one', ' [{id: a, match: {topics: {any: ["*"], none: [x]}, risk_tags: [read]}, decision: allow}]', 'clean'),
	('a deny of all topics, and an allow that only watches', ' [{id: a, match: {topics: ["*"], risk_tags: [read]}, decision: deny}, {id: b, mode: monitor, match: {topics: ["*"], tenants: [x]}, decision: allow}]', 'clean'),
	('an allow that a when narrows', E' [{id: a, match: {when: ''$.payload.x > 1''}, decision: allow}]', 'clean'),
	('an allow that an exception narrows', ' [{id: a, decision: allow, exceptions: [{id: e, match: {topics: [x]}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}]', 'clean'),
	('an allow that asks for a field to be there', ' [{id: a, match: {capabilities: ["*"]}, decision: allow}]', 'clean'),
	('a deny of everything', ' [{id: a, decision: deny}]', 'clean')
) AS t(what, rules, expected);

--
-- Rules beside each other
--
SELECT is(lint(rules, head), expected, what) FROM (VALUES
	('a looser rule inside of a stricter one', E'\n  - {id: a, match: {topics: ["job.*"]}, decision: deny}\n  - {id: b, match: {topics: ["job.x", "job.y?"]}, decision: allow}', '', 'never_wins b'),
	('order does not matter to strictness', E'\n  - {id: b, match: {topics: ["job.x"]}, decision: allow}\n  - {id: a, match: {topics: ["job.*"]}, decision: deny}', '', 'never_wins b'),
	('a stricter rule inside of a looser one wins', E'\n  - {id: a, match: {topics: ["job.*"]}, decision: allow}\n  - {id: b, match: {topics: ["job.x"]}, decision: deny}', '', 'clean'),
	('first_match: an earlier rule around it', E'\n  - {id: a, match: {topics: ["job.*"]}, decision: allow}\n  - {id: b, match: {topics: ["job.x"]}, decision: deny}', 'combine: first_match', 'never_wins b'),
	('first_match: a later rule around it', E'\n  - {id: b, match: {topics: ["job.x"]}, decision: allow}\n  - {id: a, match: {topics: ["job.*"]}, decision: deny}', 'combine: first_match', 'clean'),
	('equally strict: the first wins', E'\n  - {id: a, match: {topics: ["job.*"]}, decision: deny}\n  - {id: b, match: {topics: ["job.x"], risk_tags: [y]}, decision: deny}', '', 'never_wins b'),
	('not inside: one more topic', E'\n  - {id: a, match: {topics: ["job.*"]}, decision: deny}\n  - {id: b, match: {topics: ["job.x", "jo*"]}, decision: allow}', '', 'clean'),
	('not inside: a tag that need not be there', E'\n  - {id: a, match: {topics: ["job.*"], risk_tags: [x]}, decision: deny}\n  - {id: b, match: {topics: ["job.x"]}, decision: allow}', '', 'clean'),
	('inside of two patterns together', E'\n  - {id: a, match: {topics: ["job.[a-m]*", "job.[!a-m]*", job.]}, decision: deny}\n  - {id: b, match: {topics: ["job.*"]}, decision: allow}', '', 'never_wins b'),
	('a rule in monitor mode shadows nothing', E'\n  - {id: a, mode: monitor, decision: deny}\n  - {id: b, match: {topics: [x]}, decision: allow}', '', 'clean'),
	('nor is it shadowed', E'\n  - {id: a, decision: deny}\n  - {id: b, mode: monitor, match: {topics: [x]}, decision: allow}', '', 'clean'),
	('a disabled rule shadows nothing', E'\n  - {id: a, enabled: false, decision: deny}\n  - {id: b, match: {topics: [x]}, decision: allow}', '', 'clean'),
	('a rule that ends earlier shadows nothing for ever', E'\n  - {id: a, decision: deny, expires_at: 2999-01-01T00:00:00Z}\n  - {id: b, match: {topics: [x]}, decision: allow}', '', 'clean'),
	('one that began before now shadows', E'\n  - {id: a, decision: deny, not_before: 2020-01-01T00:00:00Z}\n  - {id: b, match: {topics: [x]}, decision: allow}', '', 'never_wins b'),
	('one that is yet to begin does not', E'\n  - {id: a, decision: deny, not_before: 2998-01-01T00:00:00Z}\n  - {id: b, match: {topics: [x]}, decision: allow}', '', 'clean'),
	('a velocity need not be exceeded', E'\n  - {id: a, decision: deny, velocity: {max_requests: 1, window_seconds: 1, key: tenant}}\n  - {id: b, match: {topics: [x]}, decision: allow}', '', 'clean'),
	('an exception that meets the rule', E'\n  - {id: a, decision: deny, exceptions: [{id: e, match: {risk_tags: [y]}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}\n  - {id: b, match: {topics: [x]}, decision: allow}', '', 'clean'),
	('an exception that does not', E'\n  - {id: a, decision: deny, exceptions: [{id: e, match: {topics: [y]}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}\n  - {id: b, match: {topics: [x]}, decision: allow}', '', 'never_wins b'),
	('an exception that both have', E'\n  - {id: a, decision: deny, exceptions: [{id: e, match: {topics: ["x*"], risk_tags: [y, z]}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}\n  - {id: b, match: {topics: ["x?"]}, decision: allow, exceptions: [{id: e, match: {risk_tags: [y]}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}', '', 'never_wins b'),
	('an exception that both have, the rule''s for less long', E'\n  - {id: a, decision: deny, exceptions: [{id: e, match: {topics: ["x*"], risk_tags: [y, z]}, expires_at: 2999-01-01T00:00:00Z, reason: x}]}\n  - {id: b, match: {topics: ["x?"]}, decision: allow, exceptions: [{id: e, match: {risk_tags: [y]}, expires_at: 2998-01-01T00:00:00Z, reason: x}]}', '', 'clean'),
	('a when of the outer rule', E'\n  - {id: a, match: {when: ''$.payload.x > 1''}, decision: deny}\n  - {id: b, match: {topics: [x]}, decision: allow}', '', 'clean'),
	('a when of the inner rule', E'\n  - {id: a, decision: deny}\n  - {id: b, match: {topics: [x], when: ''$.payload.x > 1''}, decision: allow}', '', 'never_wins b'),
	('the same when', E'\n  - {id: a, match: {when: ''$.payload.x > 1''}, decision: deny}\n  - {id: b, match: {topics: [x], when: ''$.payload.x > 1''}, decision: allow}', '', 'never_wins b'),
	('first_match: an unknown when lets a stricter one win', E'\n  - {id: a, match: {when: ''$.payload.x > 1''}, decision: throttle}\n  - {id: b, match: {topics: [x], when: ''$.payload.x > 1''}, decision: deny}', 'combine: first_match', 'clean'),
	('two that are the same, in other words', E'\n  - {id: a, match: {topics: ["x*", "[!x]*"], risk_tags: [p, q]}, decision: deny, reason: one}\n  - {id: b, match: {risk_tags: {all: [Q, P]}}, decision: deny, reason: two}', '', 'same_rule b'),
	('the same but for constraints', E'\n  - {id: a, match: {topics: [x]}, decision: allow, constraints: {max_x: 1}}\n  - {id: b, match: {topics: [x]}, decision: allow, constraints: {max_x: 2}}', '', 'never_wins b'),
	('the same with constraints that jsonb calls equal', E'\n  - {id: a, match: {topics: [x]}, decision: allow, constraints: {x: {b: [1], c: 2.0}}}\n  - {id: b, match: {topics: [x]}, decision: allow, constraints: {x: {c: 2, b: [1.0]}}}', '', 'same_rule b'),
	('two rules that set a key differently', E'\n  - {id: a, match: {topics: [x]}, decision: allow, constraints: {region: eu}}\n  - {id: b, match: {topics: [y]}, decision: allow, constraints: {region: us}}', '', 'constraint_conflict a'),
	('two rules that set a key alike, as jsonb says', E'\n  - {id: a, match: {topics: [x]}, decision: allow, constraints: {level: 1, tags: [{a: 1, b: 2}]}}\n  - {id: b, match: {topics: [y]}, decision: allow, constraints: {level: 1.0, tags: [{b: 2.0, a: 1}]}}', '', 'clean'),
	('two rules that set a bound differently', E'\n  - {id: a, match: {topics: [x]}, decision: allow, constraints: {max_x: 1, allow: [a], denied: [b]}}\n  - {id: b, match: {topics: [y]}, decision: allow, constraints: {max_x: 2, allow: [b], denied: [c]}}', '', 'clean')
) AS t(what, rules, head, expected);

--
-- Examples are proofs, and say what remains
--
SELECT is(hint_of('never_wins', E'\n  - {id: a, match: {topics: ["job.*"]}, decision: deny}\n  - {id: b, match: {topics: ["job.x"], risk_tags: [y]}, decision: allow}'),
	'All that remains of it is its name in matched_rules. Narrow "a", or remove this one. For example {"topic": "job.x", "risk_tags": ["y"]} is DENY by "a".',
	'an example shows who wins, and what remains');
SELECT matches(hint_of('never_wins', E'\n  - {id: a, match: {topics: ["job.*"]}, decision: require_approval}\n  - {id: b, match: {topics: ["job.x"]}, decision: require_approval, constraints: {x: 1}}'),
	'name in matched_rules, its constraints, an approval of its own', 'a rule that cannot win can still bound and ask');
SELECT is(array_agg(v.code ORDER BY v.line), '{no_owner}', 'a document without owners is told once')
	FROM policy_validate(E'version: v1\nrules:\n  - {id: a, decision: deny}\n  - {id: b, mode: monitor, match: {topics: [x]}, decision: allow}') v;
SELECT is(array_agg(format('%s:%s %s', v.line, v.code, v.message)), '{"4:no_owner rule \"b\" has no owner"}', 'a rule that nobody owns among others is named')
	FROM policy_validate(E'version: v1\nrules:\n  - {id: a, owner: x, decision: deny}\n  - {id: b, mode: monitor, match: {topics: [x]}, decision: allow}') v;
SELECT is((SELECT format('%s:%s', v.line, v.col) FROM policy_validate(E'version: v1\nrules:\n  - id: a\n    match:\n      risk_tags: {all: [x], none: [x]}\n    decision: deny\n') v
	WHERE v.code = 'cannot_hold'), '5:25', 'a condition that cannot hold is pointed at');
SELECT is((SELECT array_agg(code ORDER BY code COLLATE "C") FROM policy_validate('version: v1
rules: [' || (SELECT string_agg(format('{id: r%s, decision: allow}', i), ', ') FROM generate_series(1, 3000) i) || ']') v WHERE v.line IS NULL), '{too_many_warnings}',
	'more warnings than are listed are not hidden');
SELECT is((SELECT count(*) FROM policy_validate('version: v1
rules: [' || (SELECT string_agg(format('{id: r%s, decision: allow}', i), ', ') FROM generate_series(1, 3000) i) || ']')), 1000::bigint, 'a thousand rows at most');
SELECT is((SELECT count(*) FROM policy_validate('version: v1
rules: [{id: r, decision: deny, match: {topics: [' || (SELECT string_agg(format('"*%s*%s*"', i % 10, repeat('?', i % 23) || 'x'), ', ') FROM generate_series(1, 400) i) || ']}},
{id: s, decision: deny, match: {topics: {any: ["*0*???????????????????x*"], none: [' || (SELECT string_agg(format('"*%s*%s*"', i % 10, repeat('?', 5 + i % 20) || 'x'), ', ') FROM generate_series(1, 400) i) || ']}}}]') v
	WHERE v.severity = 'error'), 0::bigint, 'what is too intricate ends');

--
-- Conditions that many rules share are compared once, and all the same rightly
--
SELECT is(lint(rules, 'combine: first_match'), expected, what) FROM (VALUES
	('one condition that is alike, and one that is narrower', ' [{id: a, match: {labels: {env: [prod, "p*"], team: ["t*"]}}, decision: deny}, {id: b, match: {labels: {env: [prod, "p*"], team: [t1]}}, decision: deny}]', 'never_wins b'),
	('one that is alike, and one that is wider', ' [{id: a, match: {labels: {env: [prod, "p*"], team: [t1]}}, decision: deny}, {id: b, match: {labels: {env: [prod, "p*"], team: ["t*"]}}, decision: deny}]', 'clean'),
	('the same lists of another label', ' [{id: a, match: {labels: {env: [prod]}}, decision: deny}, {id: b, match: {labels: {team: [prod]}}, decision: deny}]', 'clean'),
	('the same lists of another field', ' [{id: a, match: {tenants: [x]}, decision: deny}, {id: b, match: {capabilities: [x]}, decision: deny}]', 'clean'),
	('the same lists where a value must be there, and where it need not', ' [{id: a, match: {tenants: {none: [x]}}, decision: deny}, {id: b, match: {tenants: {none: [x, y]}}, decision: deny}, {id: c, match: {capabilities: {none: [x]}}, decision: deny}, {id: d, match: {capabilities: {none: [x, y]}}, decision: deny}]', 'never_wins b, never_wins d'),
	('the same lists of a set and of a value', ' [{id: a, match: {tenants: {any: [x, y]}}, decision: deny}, {id: b, match: {tenants: {any: [x], none: [y]}}, decision: deny}, {id: c, match: {actor_roles: {any: [x], none: [y]}}, decision: deny}, {id: d, match: {actor_roles: {any: [x, y]}}, decision: deny}]', 'never_wins b'),
	('a label that must be there is inside of its presence', ' [{id: a, match: {labels: {team: {}}}, decision: deny}, {id: b, match: {labels: {team: [x]}}, decision: deny}]', 'never_wins b'),
	('one that need not be there is not', ' [{id: a, match: {labels: {team: {}}}, decision: deny}, {id: b, match: {labels: {team: {none: [x]}}}, decision: deny}]', 'clean'),
	('its presence is any value', ' [{id: a, match: {labels: {team: ["*"]}}, decision: deny}, {id: b, match: {labels: {team: {}}}, decision: deny}]', 'same_rule b'),
	('but not of none', ' [{id: a, match: {labels: {team: {none: [x]}}}, decision: deny}, {id: b, match: {labels: {team: {}}}, decision: deny}]', 'clean'),
	('a label that names an MCP field is inside of that field', ' [{id: a, match: {mcp: {servers: ["j*"]}}, decision: deny}, {id: b, match: {labels: {mcp_server: [jira]}}, decision: deny}]', 'never_wins b'),
	('the field is not inside of the label', ' [{id: a, match: {labels: {mcp_server: [jira]}}, decision: deny}, {id: b, match: {mcp: {servers: [jira]}}, decision: deny}]', 'clean'),
	('the tag of secrets is inside of secrets', ' [{id: a, match: {secrets_present: true}, decision: deny}, {id: b, match: {risk_tags: [secrets]}, decision: deny}]', 'never_wins b')) v(what, rules, expected);

SELECT * FROM finish();
ROLLBACK;
