\ir common.psql
SELECT plan(204);

--
-- Every refusal: the place (line:col, from 1, in characters), what offends, and
-- a hint, from policy_validate; PE001 from the type.
--

-- Documents as a whole
SELECT refused(what, place, offending, source)
FROM (VALUES
	('an empty document', '1:1', '', ''),
	('a document of white space', '1:1', '', E'  \n\n'),
	('a document of comments', '1:1', '', E'# nothing\n'),
	('a list at the top', '1:1', '', '- version: v1'),
	('a scalar at the top', '1:1', '', 'version'),
	('no version', '1:1', 'version', 'rules: []'),
	('another version', '1:10', 'v2', 'version: v2'),
	('a version that is a list', '1:10', '', 'version: [v1]'),
	('a second document', '2:1', '', E'version: v1\n---\nversion: v1\n'),
	('broken YAML', '3:1', '', E'version: v1\nrules: [\n'),
	('a tab for indentation', '3:1', '', E'version: v1\nrules:\n\t- id: r\n'),
	('an unknown anchor', '2:8', 'nowhere', E'version: v1\nrules: *nowhere\n'),
	('an unknown key', '2:1', 'rulez', E'version: v1\nrulez: []\n'),
	('a key that is a list', '2:3', '', E'version: v1\n? [a]\n: b\n'),
	('a merge key', '2:1', '<<', E'version: v1\n<<: {rules: []}\n'),
	('a duplicate key', '3:1', 'rules', E'version: v1\nrules: []\nrules: []\n'),
	('a duplicate key written otherwise', '3:1', 'rules', E'version: v1\nrules: []\n"rules": []\n'),
	('a tag on a value', '1:10', '!!str', E'version: !!str v1\nrules: []\n'),
	('a local tag', '2:8', '!x', E'version: v1\nrules: !x []\n'),
	('rules that are a mapping', '2:8', '', E'version: v1\nrules: {}\n'),
	('rules that are a scalar', '2:8', 'none', E'version: v1\nrules: none\n'),
	('combine', '2:10', 'loosest', E'version: v1\ncombine: loosest\n'),
	('evidence that is a list', '2:11', '', E'version: v1\nevidence: []\n'),
	('an unknown key of evidence', '2:12', 'masks', E'version: v1\nevidence: {masks: []}\n'),
	('tests that are a mapping', '2:8', '', E'version: v1\ntests: {}\n')
) AS t(what, place, offending, source);

-- An empty value where a list or a mapping is due
SELECT refused('an empty value of ' || key, place, '', source)
FROM (VALUES
	('rules', '2:7', E'version: v1\nrules:\n'),
	('defaults', '2:10', E'version: v1\ndefaults:\n'),
	('tests', '2:7', E'version: v1\ntests:\n'),
	('evidence', '2:10', E'version: v1\nevidence:\n'),
	('match', '5:11', E'version: v1\nrules:\n  - id: r\n    decision: deny\n    match:\n'),
	('topics', '6:14', E'version: v1\nrules:\n  - id: r\n    decision: deny\n    match:\n      topics:\n'),
	('labels', '6:14', E'version: v1\nrules:\n  - id: r\n    decision: deny\n    match:\n      labels:\n'),
	('mcp', '6:11', E'version: v1\nrules:\n  - id: r\n    decision: deny\n    match:\n      mcp:\n'),
	('constraints', '5:17', E'version: v1\nrules:\n  - id: r\n    decision: deny\n    constraints:\n'),
	('exceptions', '5:16', E'version: v1\nrules:\n  - id: r\n    decision: deny\n    exceptions:\n'),
	('a rule', '3:4', E'version: v1\nrules:\n  -\n')
) AS t(key, place, source);

-- defaults
SELECT refused(what, place, offending, E'version: v1\ndefaults:\n' || rest || E'rules: []\n')
FROM (VALUES
	('throttle by default', '3:13', 'throttle', E'  decision: throttle\n'),
	('THROTTLE by default', '3:13', 'throttle', E'  decision: THROTTLE\n'),
	('an unknown decision by default', '3:13', 'permit', E'  decision: permit\n'),
	('an unknown key of defaults', '3:3', 'reasons', E'  reasons: x\n'),
	('a list as reason', '3:11', '', E'  reason: [x]\n'),
	('a list as constraints', '3:16', '', E'  constraints: [x]\n'),
	('allow_with_constraints with none', '4:16', 'allow_with_constraints', E'  decision: allow_with_constraints\n  constraints: {}\n'),
	('a negative max_', '3:34', 'max_runtime_sec', E'  constraints: {max_runtime_sec: -1}\n'),
	('a string for a max_', '3:34', 'max_runtime_sec', E'  constraints: {max_runtime_sec: "60"}\n'),
	('a min_ that is a list, deep inside', '3:27', 'min', E'  constraints: {a: {minX: []}}\n')
) AS t(what, place, offending, rest);

-- Rules: each piece stands on line 5 of a rule that is valid without it.
SELECT refused(what, place, offending, E'version: v1\nrules:\n  - id: r\n    decision: deny\n' || rest)
FROM (VALUES
	('an unknown key of a rule', '5:5', 'desciption', E'    desciption: x\n'),
	('enabled: yes', '5:14', 'yes', E'    enabled: yes\n'),
	('enabled: 1', '5:14', '1', E'    enabled: 1\n'),
	('enabled: True', '5:14', 'True', E'    enabled: True\n'),
	('an unknown mode', '5:11', 'audit', E'    mode: audit\n'),
	('a reason that is a mapping', '5:13', '', E'    reason: {x: y}\n'),
	('a time with no zone', '5:17', '2026-11-01T00:00:00', E'    not_before: 2026-11-01T00:00:00\n'),
	('a date alone', '5:17', '2026-11-01', E'    expires_at: 2026-11-01\n'),
	('a day that is not', '5:17', '2026-02-30', E'    expires_at: 2026-02-30T00:00:00Z\n'),
	('an hour that is not', '5:17', '24:00', E'    expires_at: 2026-02-03T24:00:00Z\n'),
	('a time in words', '5:17', 'tomorrow', E'    not_before: tomorrow\n'),
	('infinity', '5:17', 'infinity', E'    expires_at: infinity\n'),
	('a time that is empty', '5:17', '', E'    expires_at: ""\n'),
	('constraints that are a list', '5:18', '', E'    constraints: [a]\n'),
	('constraints that are a scalar', '5:18', '', E'    constraints: none\n'),
	('a negative max_', '5:32', 'max_retries', E'    constraints: {max_retries: -1}\n'),
	('a maxX that is no number', '5:31', 'maxRetries', E'    constraints: {maxRetries: many}\n'),
	('a MIN_X that is a boolean', '5:26', 'MIN_X', E'    constraints: {MIN_X: true}\n'),
	('a max_ that is null', '5:26', 'max_x', E'    constraints: {max_x: null}\n'),
	('a duplicate key of constraints', '5:25', 'a', E'    constraints: {a: 1, a: 2}\n'),
	('retry_after_sec off a throttle rule', '5:22', 'retry_after_sec', E'    retry_after_sec: 5\n'),
	('approval on a rule that is not require_approval', '5:15', 'approval', E'    approval: {}\n'),
	('velocity that is a list', '5:15', '', E'    velocity: [1]\n'),
	('velocity with an unknown key', '5:52', 'per', E'    velocity: {max_requests: 1, window_seconds: 1, per: tenant}\n'),
	('velocity without max_requests', '5:15', 'max_requests', E'    velocity: {window_seconds: 60, key: tenant}\n'),
	('velocity without window_seconds', '5:15', 'window_seconds', E'    velocity: {max_requests: 60, key: tenant}\n'),
	('max_requests of 0', '5:30', '0', E'    velocity: {max_requests: 0, window_seconds: 60, key: tenant}\n'),
	('max_requests of a half', '5:30', '0.5', E'    velocity: {max_requests: 0.5, window_seconds: 60, key: tenant}\n'),
	('max_requests in words', '5:30', 'ten', E'    velocity: {max_requests: ten, window_seconds: 60, key: tenant}\n'),
	('window_seconds of 0', '5:49', '0', E'    velocity: {max_requests: 1, window_seconds: 0, key: tenant}\n'),
	('window_seconds of more than a day', '5:49', '86401', E'    velocity: {max_requests: 1, window_seconds: 86401, key: tenant}\n'),
	('a velocity key that is unknown', '5:58', 'user', E'    velocity: {max_requests: 1, window_seconds: 60, key: "tenant:user"}\n'),
	('a velocity key that is empty', '5:58', '', E'    velocity: {max_requests: 1, window_seconds: 60, key: ""}\n'),
	('a velocity key with an empty part', '5:58', '', E'    velocity: {max_requests: 1, window_seconds: 60, key: "tenant::topic"}\n'),
	('a velocity key of a label without a name', '5:58', 'labels.', E'    velocity: {max_requests: 1, window_seconds: 60, key: "labels."}\n'),
	('exceptions that are a mapping', '5:17', '', E'    exceptions: {}\n'),
	('an exception without id', '5:18', 'id', E'    exceptions: [{match: {}, expires_at: 2027-01-01T00:00:00Z, reason: x}]\n'),
	('an exception without match', '5:18', 'match', E'    exceptions: [{id: e, expires_at: 2027-01-01T00:00:00Z, reason: x}]\n'),
	('an exception without expires_at', '5:18', 'expires_at', E'    exceptions: [{id: e, match: {}, reason: x}]\n'),
	('an exception without reason', '5:18', 'reason', E'    exceptions: [{id: e, match: {}, expires_at: 2027-01-01T00:00:00Z}]\n'),
	('an exception with an unknown key', '5:82', 'tickets', E'    exceptions: [{id: e, match: {}, expires_at: 2027-01-01T00:00:00Z, reason: x, tickets: y}]\n'),
	('a bad pattern in an exception', '5:43', '[^a]', E'    exceptions: [{id: e, match: {topics: ["[^a]"]}, expires_at: 2027-01-01T00:00:00Z, reason: x}]\n'),
	('remediations that are a scalar', '5:19', '', E'    remediations: x\n'),
	('a remediation without id', '5:20', 'id', E'    remediations: [{title: x}]\n'),
	('a remediation with an unknown key', '5:28', 'topic', E'    remediations: [{id: m, topic: x}]\n'),
	('add_labels that is a list', '5:40', '', E'    remediations: [{id: m, add_labels: [a]}]\n'),
	('remove_labels that is a mapping', '5:43', '', E'    remediations: [{id: m, remove_labels: {a: b}}]\n')
) AS t(what, place, offending, rest);

-- Identity and decision
SELECT refused(what, place, offending, E'version: v1\nrules:\n' || rest)
FROM (VALUES
	('a rule that is a scalar', '3:5', '', E'  - r\n'),
	('a rule without id', '3:5', 'id', E'  - decision: deny\n'),
	('a rule without decision', '3:5', 'decision', E'  - id: r\n'),
	('an empty id', '3:9', '', E'  - id: ""\n    decision: deny\n'),
	('an id with a space', '3:9', 'a b', E'  - id: a b\n    decision: deny\n'),
	('an id with another letter', '3:9', 'café', E'  - id: café\n    decision: deny\n'),
	('an id of 129 characters', '3:9', 'xxxxxx', format(E'  - id: %s\n    decision: deny\n', repeat('x', 129))),
	('an id that is a list', '3:9', '', E'  - id: [r]\n    decision: deny\n'),
	('a duplicate rule id', '5:9', 'r', E'  - id: r\n    decision: deny\n  - id: r\n    decision: allow\n'),
	('an unknown decision', '4:15', 'alow', E'  - id: r\n    decision: alow\n'),
	('an empty decision', '4:14', '', E'  - id: r\n    decision:\n'),
	('allow_with_constraints without constraints', '4:15', 'allow_with_constraints', E'  - id: r\n    decision: allow_with_constraints\n'),
	('allow_with_constraints with empty constraints', '5:18', 'allow_with_constraints', E'  - id: r\n    decision: allow_with_constraints\n    constraints: {}\n'),
	('retry_after_sec of 0', '5:22', '0', E'  - id: r\n    decision: throttle\n    retry_after_sec: 0\n'),
	('retry_after_sec of more than a day', '5:22', '86401', E'  - id: r\n    decision: throttle\n    retry_after_sec: 86401\n'),
	('retry_after_sec in words', '5:22', 'soon', E'  - id: r\n    decision: throttle\n    retry_after_sec: soon\n'),
	('an unknown key of approval', '5:16', 'approver', E'  - id: r\n    decision: require_approval\n    approval: {approver: [a]}\n'),
	('approvers that are a scalar', '5:27', '', E'  - id: r\n    decision: require_approval\n    approval: {approvers: a}\n'),
	('min_approvals of 0', '5:31', '0', E'  - id: r\n    decision: require_approval\n    approval: {min_approvals: 0}\n'),
	('min_approvals of 101', '5:31', '101', E'  - id: r\n    decision: require_approval\n    approval: {min_approvals: 101}\n'),
	('expires_in_sec of 0', '5:32', '0', E'  - id: r\n    decision: require_approval\n    approval: {expires_in_sec: 0}\n'),
	('expires_in_sec of more than a year', '5:32', '31536001', E'  - id: r\n    decision: require_approval\n    approval: {expires_in_sec: 31536001}\n'),
	('allow_self: yes', '5:28', 'yes', E'  - id: r\n    decision: require_approval\n    approval: {allow_self: yes}\n'),
	('an immaterial path outside the payload', '5:29', '$.topic', E'  - id: r\n    decision: require_approval\n    approval: {immaterial: ["$.topic"]}\n'),
	('the payload itself as an immaterial path', '5:29', '$.payload', E'  - id: r\n    decision: require_approval\n    approval: {immaterial: ["$.payload"]}\n'),
	('an immaterial path with a filter', '5:29', '$.payload.a', E'  - id: r\n    decision: require_approval\n    approval: {immaterial: ["$.payload.a ? (@ > 1)"]}\n'),
	('an immaterial path with **', '5:29', '$.payload.**', E'  - id: r\n    decision: require_approval\n    approval: {immaterial: ["$.payload.**"]}\n'),
	('an immaterial path that is none', '5:29', 'trace_id', E'  - id: r\n    decision: require_approval\n    approval: {immaterial: ["trace_id"]}\n'),
	('an immaterial path that a when reads', '6:29', '$.payload.amount', E'  - id: r\n    decision: require_approval\n    match: {when: "$.payload.amount > 5"}\n    approval: {immaterial: ["$.payload.amount"]}\n'),
	('an immaterial path above one that a when reads', '6:29', '$.payload.a', E'  - id: r\n    decision: require_approval\n    match: {when: "$.payload.a.b > 5"}\n    approval: {immaterial: ["$.payload.a"]}\n'),
	('an immaterial path below one that a when reads', '6:29', '$.payload.a.b', E'  - id: r\n    decision: require_approval\n    match: {when: "exists($.payload.a)"}\n    approval: {immaterial: ["$.payload.a.b"]}\n'),
	('an immaterial path below a wildcard of a when', '6:29', '$.payload.a[2]', E'  - id: r\n    decision: require_approval\n    match: {when: "$.payload.a[*] == 5"}\n    approval: {immaterial: ["$.payload.a[2]"]}\n'),
	('an immaterial path that a when of another rule reads', '5:29', '$.payload.x', E'  - id: r\n    decision: require_approval\n    approval: {immaterial: ["$.payload.x"]}\n  - id: s\n    decision: deny\n    match: {when: "$.payload.x == 1"}\n'),
	('an immaterial path that a when of an exception reads', '5:29', '$.payload.x', E'  - id: r\n    decision: require_approval\n    approval: {immaterial: ["$.payload.x"]}\n    exceptions: [{id: e, match: {when: "$.payload.x == 1"}, expires_at: 2027-01-01T00:00:00Z, reason: x}]\n')
) AS t(what, place, offending, rest);

-- match: each stands on line 6
SELECT refused(what, place, offending, E'version: v1\nrules:\n  - id: r\n    decision: deny\n    match:\n' || rest)
FROM (VALUES
	('an unknown match key', '6:7', 'risk_tag', E'      risk_tag: [a]\n'),
	('a scalar for a list', '6:15', 'a', E'      topics: a\n'),
	('a list in a list', '6:16', '', E'      topics: [[a]]\n'),
	('a mapping in a list', '6:16', '', E'      topics: [{a: b}]\n'),
	('an unknown kind of list', '6:16', 'some', E'      topics: {some: [a]}\n'),
	('a kind of list that is a scalar', '6:21', 'a', E'      topics: {any: a}\n'),
	('an unknown key of mcp', '6:13', 'server', E'      mcp: {server: [a]}\n'),
	('mcp that is a list', '6:12', '', E'      mcp: [a]\n'),
	('labels that are a list', '6:15', '', E'      labels: [a]\n'),
	('a label with an empty name', '6:16', '', E'      labels: {"": a}\n'),
	('a label with an unknown kind of list', '6:22', 'not', E'      labels: {env: {not: [a]}}\n'),
	('two label names that are one once normalised', '6:26', 'ENV', E'      labels: {env: [a], ENV: [b]}\n'),
	('secrets_present that is a string', '6:24', 'maybe', E'      secrets_present: maybe\n'),
	('when that is a list', '6:13', '', E'      when: ["$.a > 1"]\n'),
	('an empty pattern', '6:16', '', E'      topics: [""]\n'),
	('a pattern that is empty once normalised', '6:16', '', E'      topics: ["\\u200b "]\n'),
	('[^', '6:16', '[^a]', E'      topics: ["[^a]"]\n'),
	('a trailing \', '6:16', 'a\', E'      topics: ["a\\\\"]\n'),
	('an unclosed class', '6:16', '[ab', E'      topics: ["[ab"]\n'),
	('an empty class', '6:16', '[]', E'      topics: ["[]"]\n'),
	('an empty negated class', '6:16', '[!]', E'      topics: ["[!]"]\n'),
	('a class that ends in \', '6:16', '[a\', E'      topics: ["[a\\\\"]\n'),
	('a range from digit to letter', '6:16', '[0-z]', E'      topics: ["[0-z]"]\n'),
	('a range from small letter to capital', '6:16', '[a-Z]', E'      topics: ["[a-Z]"]\n'),
	('a range from capital to small letter', '6:16', '[A-z]', E'      topics: ["[A-z]"]\n'),
	('a range that runs backwards', '6:16', '[z-a]', E'      topics: ["[z-a]"]\n'),
	('a range of other letters', '6:16', '[à-é]', E'      topics: ["[à-é]"]\n'),
	('a range of punctuation', '6:16', '[+--]', E'      topics: ["[+--]"]\n'),
	('a class member that normalises to two', '6:16', 'ﬁ', E'      topics: ["[ﬁ]"]\n'),
	('a class member that normalises to none', '6:16', '', E'      topics: ["[\\u200b]"]\n'),
	('a bad pattern of a label', '6:22', '[^a]', E'      labels: {env: ["[^a]"]}\n'),
	('a bad pattern among good ones', '7:18', '[x', E'      topics: ["a",\n                 "[x"]\n')
) AS t(what, place, offending, rest);
SELECT alike(hint, '%[!%', '[^ is refused with a hint at [!')
	FROM policy_validate(E'version: v1\nrules: [{id: r, decision: deny, match: {topics: ["[^a]"]}}]');

-- tests and masks
SELECT refused(what, place, offending, E'version: v1\nrules: [{id: r, decision: deny}]\n' || rest)
FROM (VALUES
	('a test that is a scalar', '3:9', '', E'tests: [x]\n'),
	('a test without name', '3:9', 'name', E'tests: [{job: {topic: a}, expect: {decision: deny}}]\n'),
	('a test without job', '3:9', 'job', E'tests: [{name: t, expect: {decision: deny}}]\n'),
	('a test without expect', '3:9', 'expect', E'tests: [{name: t, job: {topic: a}}]\n'),
	('an unknown key of a test', '3:54', 'when', E'tests: [{name: t, job: {}, expect: {decision: deny}, when: x}]\n'),
	('an unknown key of expect', '3:45', 'result', E'tests: [{name: t, job: {topic: a}, expect: {result: deny}}]\n'),
	('an unknown decision in expect', '3:55', 'maybe', E'tests: [{name: t, job: {topic: a}, expect: {decision: maybe}}]\n'),
	('a time of a test', '3:23', 'noon', E'tests: [{name: t, at: noon, job: {topic: a}, expect: {decision: deny}}]\n'),
	('a mask that is no path', '3:19', 'password', E'evidence: {mask: [password]}\n'),
	('a mask that is the whole job', '3:19', '$', E'evidence: {mask: [$]}\n'),
	('a mask with a method', '3:19', '$.payload.size()', E'evidence: {mask: ["$.payload.size()"]}\n'),
	('a mask with .*', '3:19', '$.payload.*', E'evidence: {mask: ["$.payload.*"]}\n'),
	('masks that are a scalar', '3:18', '$.a', E'evidence: {mask: "$.a"}\n')
) AS t(what, place, offending, rest);
SELECT refused('a test without at where a rule has times', '3:16', 'at',
	E'version: v1\nrules: [{id: r, decision: deny, expires_at: 2027-01-01T00:00:00Z}]\ntests: [{name: t, job: {topic: a}, expect: {decision: deny}}]\n');
SELECT refused('a test without at where an exception has a time', '3:16', 'at',
	E'version: v1\nrules: [{id: r, decision: deny, exceptions: [{id: e, match: {}, reason: x, expires_at: 2027-01-01T00:00:00Z}]}]\ntests: [{name: t, job: {topic: a}, expect: {decision: deny}}]\n');

-- Suggestions
SELECT alike(coalesce(v.hint, '') || v.message, '%' || suggestion || '%', format('"%s" brings the suggestion "%s"', wrong, suggestion))
FROM (VALUES ('risk_tag', 'risk_tags'), ('topic', 'topics'), ('capabilties', 'capabilities'), ('tenant', 'tenants'), ('label', 'labels')) AS t(wrong, suggestion),
	policy_validate(format(E'version: v1\nrules: [{id: r, decision: deny, match: {%s: [a]}}]', wrong)) v;
SELECT alike(coalesce(v.hint, '') || v.message, '%require_approval%', 'a misspelled decision brings the nearest')
FROM policy_validate(E'version: v1\nrules: [{id: r, decision: require_aproval}]') v;

-- Limits
SELECT is(document_sqlstate('version: v1
rules: []
defaults: {constraints: {x: ' || repeat('[', depth) || repeat(']', depth) || '}}'), state, format('nesting of %s', depth + 3))
FROM (VALUES (29, 'none'), (30, 'PE001'), (200, 'PE001'), (10000, 'PE001')) AS t(depth, state);
SELECT is((SELECT count(*) FROM policy_validate('version: v1
rules: []
defaults: {constraints: {x: ' || repeat('[', 10000) || repeat(']', 10000) || '}}') WHERE line = 3 AND col < 100), 1::bigint,
	'nesting 10,000 deep is one error, with the place where it got too deep');
SELECT is(document_sqlstate('version: v1
rules: []
defaults:
  constraints:
    a: &a [x, x, x, x, x, x, x, x, x, x]
' || (SELECT string_agg(format(E'    %s: &%s [%s]\n', chr(97 + i), chr(97 + i), repeat('*' || chr(96 + i) || ' , ', 9) || '*' || chr(96 + i)), '')
	FROM generate_series(1, 9) i)), 'PE001', 'a billion laughs are refused');
SELECT is(document_sqlstate('version: v1
rules: []
defaults:
  constraints:
    a: &a [x, x, x, x, x, x, x, x, x, x]
    b: [*a , *a , *a ]'), 'none', 'aliases that expand to little are accepted');

-- All at once, in order, without an end at the first
SELECT is((SELECT array_agg(format('%s:%s', line, col)) FROM policy_validate($$version: v9
combine: best
rules:
  - id: r
    decision: perhaps
    match: {topics: ["[a"], riskTags: [x], when: '$.a'}
  - id: r
    decision: allow
    retry_after_sec: 7
    enabled: yes
$$)), '{1:10,2:10,5:15,6:22,6:29,6:50,7:9,9:22,10:14}', 'all errors of a document are reported at once, in order');
SELECT is((SELECT count(*) FROM policy_validate($$version: v9
combine: best$$) WHERE severity <> 'error'), 0::bigint, 'a document with errors gets no warnings');
SELECT is((SELECT array_agg(col) FROM policy_validate(E'{version: v1, rules: [{id: r, reason: "éé😀", decision: x, x: y}]}')), '{56,59}',
	'columns count characters');
SELECT isnt_empty('SELECT * FROM policy_validate(NULL)', 'a NULL text is not clean');

--
-- What JSON writes otherwise than YAML: pairs of escapes, and NEL, LS and PS, which end a line in YAML alone
--
CREATE TEMP TABLE json_strings AS
	SELECT format('{"version": "v1",%s"rules": [{"id": "r", "decision": "allow", "constraints": {"a": "%s"}, %s}]}',
			between, E'p\u0085q \u2028 r\u2029\\ud83d\\ude00', behind) AS source, behind
	FROM (VALUES (' '), (E'\r\n\t')) AS b (between), (VALUES ('"reason": "x"'), ('"zzz": "x"')) AS k (behind);
SELECT is((decide(source, '{"topic": "a"}')).constraints->>'a', E'p\u0085q \u2028 r\u2029\U0001F600',
	'a string of a JSON document is what JSON says')
FROM json_strings WHERE behind ^@ '"reason"';
SELECT refused('an error behind such a string has its place', format('%s:%s', 1 + (strpos(source, E'\n') > 0)::integer,
		strpos(source, '"zzz"') - strpos(source, E'\n')), 'zzz', source)
FROM json_strings WHERE behind ^@ '"zzz"';

--
-- What is accepted
--
SELECT accepted(what, source)
FROM (VALUES
	('the least document', 'version: v1'),
	('JSON', '{"version": "v1", "rules": [{"id": "r", "decision": "DENY", "match": {"topics": ["a"]}}]}'),
	('aliases', E'version: v1\nrules:\n  - {id: r1, decision: deny, match: &m {topics: [a]}}\n  - {id: r2, decision: allow, match: *m }\n'),
	('an id of 128 characters', format('{version: v1, rules: [{id: %s, decision: deny}]}', repeat('x', 128))),
	('an id of every kind of character', '{version: v1, rules: [{id: A-z_0.9, decision: deny}]}'),
	('a rule id that is a number', '{version: v1, rules: [{id: 42, decision: deny}]}'),
	('a rule id null', '{version: v1, rules: [{id: null, decision: deny}]}'),
	('every key of a rule', $$
version: v1
combine: strictest
defaults: {decision: deny, reason: "no", constraints: {max_runtime_sec: 60}}
rules:
  - id: a
    description: d
    owner: o
    enabled: true
    not_before: 2026-11-01T00:00:00Z
    expires_at: 2027-01-01T00:00:00.5+02:00
    match:
      tenants: [a]
      topics: {any: [a], all: [b], none: [c]}
      capabilities: [a]
      pack_ids: [a]
      actor_ids: [a]
      actor_types: [a]
      actor_roles: [a]
      risk_tags: [a]
      requires: [a]
      labels: {env: prod, tier: [a, b], x: {none: [y]}, present: []}
      mcp: {servers: [a], tools: [a], resources: [a], actions: [a]}
      secrets_present: false
      when: '$.payload.amount > 1000'
    decision: require_approval
    reason: r
    constraints: {max_retries: 1.5, nested: {allow: [a, 1, null, true]}}
    velocity: {max_requests: 100, window_seconds: 86400, key: "tenant:topic:capability:pack_id:actor_id:actor_type:labels.env"}
    approval: {approvers: [a, b], min_approvals: 100, expires_in_sec: 31536000, allow_self: true, immaterial: ['$.payload.trace_id', '$.payload.a[0].b', '$.payload."x y"[*]']}
    exceptions: [{id: e, match: {topics: [z]}, expires_at: 2030-01-01T00:00:00Z, reason: r, ticket: T-1}]
    remediations: [{id: m, title: t, summary: s, replacement_topic: x, replacement_capability: y, add_labels: {a: b, c: 1}, remove_labels: [d]}]
    mode: enforce
  - id: b
    decision: throttle
    retry_after_sec: 86400
    mode: monitor
tests:
  - name: t
    job: {topic: a, payload: {amount: 1}}
    at: 2026-12-01T00:00:00Z
    expect: {decision: deny, matched_rule: null, matched_rules: [], reason: "no", constraints: {}}
evidence:
  mask: ['$.payload.password', '$.payload.cards[*].number']
$$)
) AS t(what, source);

SELECT * FROM finish();
ROLLBACK;
