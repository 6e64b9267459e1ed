\ir common.psql
SELECT plan(78);

-- The constraints of two applying rules: the first is of the higher standing.
CREATE FUNCTION merged(high jsonb, low jsonb, defaults jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT (decide(jsonb_build_object(
		'version', 'v1', 'defaults', jsonb_build_object('constraints', defaults),
		'rules', jsonb_build_array(
			jsonb_build_object('id', 'low', 'decision', 'throttle', 'constraints', low),
			jsonb_build_object('id', 'high', 'decision', 'require_approval', 'constraints', high)))::text,
		'{"topic": "a"}')).constraints
$$;

SELECT is(merged(high::jsonb, low::jsonb), expected::jsonb, format('%s: %s over %s', what, high, low))
FROM (VALUES
	-- any of deny, denied, ...
	('deny: union', '{"denied_hosts": ["a", "b"]}', '{"denied_hosts": ["b", "c"]}', '{"denied_hosts": ["a", "b", "c"]}'),
	('deny: union', '{"deny_paths": ["x"]}', '{"deny_paths": ["y"]}', '{"deny_paths": ["x", "y"]}'),
	('denylist: union', '{"network_denylist": ["x"]}', '{"network_denylist": ["y"]}', '{"network_denylist": ["x", "y"]}'),
	('disallow: union', '{"disallow": ["x"]}', '{"disallow": ["y"]}', '{"disallow": ["x", "y"]}'),
	('disallowed: union', '{"disallowed-tools": ["x"]}', '{"disallowed-tools": ["y"]}', '{"disallowed-tools": ["x", "y"]}'),
	('block: union', '{"block": ["x"]}', '{"block": ["y"]}', '{"block": ["x", "y"]}'),
	('blocked: union', '{"hosts.blocked": ["x"]}', '{"hosts.blocked": ["y"]}', '{"hosts.blocked": ["x", "y"]}'),
	('blocklist: union', '{"ip_blocklist": ["x"]}', '{"ip_blocklist": ["y"]}', '{"ip_blocklist": ["x", "y"]}'),
	('forbid: union', '{"forbid": ["x"]}', '{"forbid": ["y"]}', '{"forbid": ["x", "y"]}'),
	('forbidden: union', '{"forbiddenCalls": ["x"]}', '{"forbiddenCalls": ["y"]}', '{"forbiddenCalls": ["x", "y"]}'),
	('deny: true wins', '{"deny_network": false}', '{"deny_network": true}', '{"deny_network": true}'),
	('deny: true wins', '{"blocked": true}', '{"blocked": false}', '{"blocked": true}'),
	('deny before allow', '{"deny_allowed": ["x"]}', '{"deny_allowed": ["y"]}', '{"deny_allowed": ["x", "y"]}'),
	('deny before allow', '{"allow_denied": false}', '{"allow_denied": true}', '{"allow_denied": true}'),
	('deny: numbers are of the higher standing', '{"deny_level": 1}', '{"deny_level": 9}', '{"deny_level": 1}'),
	-- any of allow, allowed, allowlist
	('allow: intersection', '{"network_allowlist": ["a", "b", "c"]}', '{"network_allowlist": ["c", "b", "d"]}', '{"network_allowlist": ["b", "c"]}'),
	('allow: intersection', '{"allowed_tools": ["a"]}', '{"allowed_tools": ["b"]}', '{"allowed_tools": []}'),
	('allow: intersection', '{"allow": ["a", "b"]}', '{"allow": ["b"]}', '{"allow": ["b"]}'),
	('allow: false wins', '{"allow_network": true}', '{"allow_network": false}', '{"allow_network": false}'),
	('allow: false wins', '{"allow_timeout_retry": false}', '{"allow_timeout_retry": true}', '{"allow_timeout_retry": false}'),
	('allow: numbers are of the higher standing', '{"allowed_ports": 5}', '{"allowed_ports": 9}', '{"allowed_ports": 5}'),
	-- first word max or min
	('max: the least', '{"max_runtime_sec": 60}', '{"max_runtime_sec": 30}', '{"max_runtime_sec": 30}'),
	('max: the least', '{"max_runtime_sec": 30}', '{"max_runtime_sec": 60}', '{"max_runtime_sec": 30}'),
	('max: the least', '{"maxRetries": 3}', '{"maxRetries": 0.5}', '{"maxRetries": 0.5}'),
	('max: numbers are compared as numbers', '{"max_x": 10}', '{"max_x": 9}', '{"max_x": 9}'),
	('max: huge numbers', '{"max_x": 1e40}', '{"max_x": 123456789012345678901234567890}', '{"max_x": 123456789012345678901234567890}'),
	('max whatever the others', '{"max_denied_calls": 3}', '{"max_denied_calls": 2}', '{"max_denied_calls": 2}'),
	('max whatever the others', '{"max-allowed-hosts": 3}', '{"max-allowed-hosts": 2}', '{"max-allowed-hosts": 2}'),
	('min: the greatest', '{"min_replicas": 2}', '{"min_replicas": 3}', '{"min_replicas": 3}'),
	('min: the greatest', '{"minTlsVersion": 1.3}', '{"minTlsVersion": 1.2}', '{"minTlsVersion": 1.3}'),
	('max that is not the first word is any other', '{"cpu_max": 9}', '{"cpu_max": 3}', '{"cpu_max": 9}'),
	('a word that begins with max is any other', '{"maximum": 9}', '{"maximum": 3}', '{"maximum": 9}'),
	-- any other
	('other: arrays are of the higher standing', '{"regions": ["a"]}', '{"regions": ["b"]}', '{"regions": ["a"]}'),
	('other: true wins', '{"isolated": false}', '{"isolated": true}', '{"isolated": true}'),
	('other: true wins', '{"isolated": true}', '{"isolated": false}', '{"isolated": true}'),
	('other: numbers are of the higher standing', '{"timeout": 60}', '{"timeout": 30}', '{"timeout": 60}'),
	('other: strings are of the higher standing', '{"sandbox": "strict"}', '{"sandbox": "loose"}', '{"sandbox": "strict"}'),
	('strings are of the higher standing, whatever the key', '{"allow_mode": "a", "deny_mode": "b"}', '{"allow_mode": "x", "deny_mode": "y"}', '{"allow_mode": "a", "deny_mode": "b"}'),
	('null is a value', '{"x": null}', '{"x": 1}', '{"x": null}'),
	('types that differ: of the higher standing', '{"allow_x": ["a"]}', '{"allow_x": false}', '{"allow_x": ["a"]}'),
	('types that differ: of the higher standing', '{"x": {"y": 1}}', '{"x": true}', '{"x": {"y": 1}}'),
	-- keys of one rule alone
	('keys of either rule', '{"a": 1}', '{"b": 2}', '{"a": 1, "b": 2}'),
	-- objects, recursively
	('objects are merged', '{"net": {"allow": ["a", "b"], "x": 1}}', '{"net": {"allow": ["b"], "y": 2}}', '{"net": {"allow": ["b"], "x": 1, "y": 2}}'),
	('each key of an object counts for itself', '{"limits": {"max_cpu": 4}}', '{"limits": {"max_cpu": 2}}', '{"limits": {"max_cpu": 2}}'),
	('an object below a key with allow', '{"allow": {"regions": ["a"]}}', '{"allow": {"regions": ["b"]}}', '{"allow": {"regions": ["a"]}}'),
	('three levels', '{"a": {"b": {"max_c": 3}}}', '{"a": {"b": {"max_c": 1, "d": 2}}}', '{"a": {"b": {"max_c": 1, "d": 2}}}'),
	-- words
	('IPAllowList: ip, allow, list', '{"IPAllowList": ["a", "b"]}', '{"IPAllowList": ["b"]}', '{"IPAllowList": ["b"]}'),
	('from small letter to capital', '{"networkAllowlist": ["a", "b"]}', '{"networkAllowlist": ["b"]}', '{"networkAllowlist": ["b"]}'),
	('from digit to capital', '{"v2Allow": ["a", "b"]}', '{"v2Allow": ["b"]}', '{"v2Allow": ["b"]}'),
	('capitals alone are one word', '{"ALLOW": ["a", "b"]}', '{"ALLOW": ["b"]}', '{"ALLOW": ["b"]}'),
	('capitals with _', '{"MAX_RETRIES": 3}', '{"MAX_RETRIES": 2}', '{"MAX_RETRIES": 2}'),
	('a part of a word is none', '{"shallow": ["a"]}', '{"shallow": ["b"]}', '{"shallow": ["a"]}'),
	('a part of a word is none', '{"allowance": ["a"]}', '{"allowance": ["b"]}', '{"allowance": ["a"]}'),
	('a part of a word is none', '{"blocks": ["a"]}', '{"blocks": ["b"]}', '{"blocks": ["a"]}'),
	('a space splits nothing', '{"the allow": ["a"]}', '{"the allow": ["b"]}', '{"the allow": ["a"]}'),
	-- equality and order
	('unions have no duplicates', '{"deny": ["a", "a", "b"]}', '{"deny": ["b", "b", "c", "c"]}', '{"deny": ["a", "b", "c"]}'),
	('intersections have no duplicates', '{"allow": ["a", "a", "b"]}', '{"allow": ["a", "a"]}', '{"allow": ["a"]}'),
	('two values are equal where jsonb says so', '{"allow": [1.0, "1", {"x": 1, "y": 2}]}', '{"allow": [{"y": 2.0, "x": 1.00}, 1]}', '{"allow": [1.0, {"x": 1, "y": 2}]}'),
	('case is kept and counts', '{"allow": ["a"]}', '{"allow": ["A"]}', '{"allow": []}')
) AS t(what, high, low, expected);

SELECT is(merged('{"max_x": 1.50}', '{"max_x": 2}')::text, '{"max_x": 1.50}', 'a number keeps its scale');

-- defaults
SELECT is(merged(high::jsonb, low::jsonb, defaults::jsonb), expected::jsonb, what)
FROM (VALUES
	('what no rule set is filled from the defaults', '{"a": 1}', '{}', '{"b": 2, "max_c": 3}', '{"a": 1, "b": 2, "max_c": 3}'),
	('a rule may widen a default', '{"max_runtime_sec": 600}', '{}', '{"max_runtime_sec": 60}', '{"max_runtime_sec": 600}'),
	('but never another rule', '{"max_runtime_sec": 600}', '{"max_runtime_sec": 300}', '{"max_runtime_sec": 60}', '{"max_runtime_sec": 300}'),
	('recursively', '{"net": {"allow": ["a"]}}', '{"net": {"x": 1}}', '{"net": {"allow": ["b"], "deny": ["c"]}}', '{"net": {"allow": ["a"], "x": 1, "deny": ["c"]}}'),
	('an array that a rule emptied stays empty', '{"allow": ["a"]}', '{"allow": ["b"]}', '{"allow": ["c"]}', '{"allow": []}'),
	('a null that a rule set stays', '{"x": null}', '{}', '{"x": 5}', '{"x": null}'),
	('an object does not fill a scalar', '{"x": 1}', '{}', '{"x": {"y": 2}}', '{"x": 1}')
) AS t(what, high, low, defaults, expected);

-- order of standing: strictest first, then document order, whatever the document's order
SELECT is((decide($$
version: v1
defaults: {constraints: {}}
rules:
  - {id: r1, decision: allow, constraints: {x: allow, y: allow, z: allow, w: first}}
  - {id: r2, decision: allow_with_constraints, constraints: {x: second, y: second, z: second, w: second}}
  - {id: r3, decision: require_approval, constraints: {x: approval}}
  - {id: r4, decision: throttle, constraints: {x: throttle, y: throttle}}
$$, '{"topic": "a"}')).constraints, '{"x": "approval", "y": "throttle", "z": "allow", "w": "first"}',
	'standing is by decision, then by document order (allow with constraints is allow_with_constraints)');
SELECT is((decide($$
version: v1
defaults: {constraints: {}}
rules:
  - {id: r1, decision: allow, constraints: {deny: [c, a]}}
  - {id: r2, decision: require_approval, constraints: {deny: [b]}}
  - {id: r3, decision: throttle, constraints: {deny: [d, b]}}
$$, '{"topic": "a"}')).constraints, '{"deny": ["b", "d", "c", "a"]}', 'a union of three keeps the order of standing');

-- what a verdict's constraints are
SELECT is((v.decision::text, v.constraints)::text, (t.decision, t.constraints::jsonb)::text, what)
FROM (VALUES
	('DENY has none', 'DENY', '{}', $$
version: v1
defaults: {constraints: {max_retries: 1}}
rules:
  - {id: r1, decision: deny, constraints: {x: 1}}
  - {id: r2, decision: allow, constraints: {y: 1}}
$$),
	('the built-in defaults', 'ALLOW', '{"max_runtime_sec": 60, "max_retries": 1}', $$
version: v1
rules:
  - {id: r, decision: allow}
$$),
	('a default decision has the default constraints', 'ALLOW', '{"max_retries": 7}', $$
version: v1
defaults: {decision: allow, constraints: {max_retries: 7}}
rules: []
$$),
	('defaults without constraints keep the built-in ones', 'ALLOW', '{"max_runtime_sec": 60, "max_retries": 1}', $$
version: v1
defaults: {decision: allow}
rules: []
$$),
	('{} lifts them', 'ALLOW', '{}', $$
version: v1
defaults: {decision: allow, constraints: {}}
rules: []
$$),
	('a default decision allow with constraints stays ALLOW', 'ALLOW', '{"x": 1}', $$
version: v1
defaults: {decision: allow, constraints: {x: 1}}
rules: []
$$),
	('a monitored rule bounds nothing', 'ALLOW', '{}', $$
version: v1
defaults: {constraints: {}}
rules:
  - {id: r1, decision: allow}
  - {id: r2, decision: allow, mode: monitor, constraints: {max_x: 1}}
$$),
	('first_match: the winner''s constraints alone', 'ALLOW_WITH_CONSTRAINTS', '{"max_x": 5}', $$
version: v1
combine: first_match
defaults: {constraints: {}}
rules:
  - {id: r1, decision: allow, constraints: {max_x: 5}}
  - {id: r2, decision: allow, constraints: {max_x: 1, y: 2}}
$$),
	('free values follow JSON', 'ALLOW_WITH_CONSTRAINTS',
	 '{"a": true, "b": false, "c": null, "d": 1.50, "e": "no", "f": "1_000", "g": "60:00", "h": "true", "i": "0x10", "j": -1e2, "k": "01", "l": "yes", "m": "on", "n": ".5", "o": "", "p": "~", "q": "True", "r": "+1"}', $$
version: v1
defaults: {constraints: {}}
rules:
  - id: r
    decision: allow
    constraints: {a: true, b: false, c: null, d: 1.50, e: no, f: 1_000, g: 60:00, h: "true", i: 0x10, j: -1e2,
                  k: 01, l: yes, m: on, n: .5, o: "", p: ~, q: True, r: +1}
$$)
) AS t(what, decision, constraints, document), decide(document, '{"topic": "a"}') v;

SELECT * FROM finish();
ROLLBACK;
