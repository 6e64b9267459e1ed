\ir common.psql
SELECT plan(115);

-- Everything is allowed but what a rule stops: each trick tries to pass one.
CREATE TABLE policies (name text PRIMARY KEY, document text);
INSERT INTO policies VALUES ('stop', $$
version: v1
defaults: {decision: allow}
rules:
  - {id: tag, decision: deny, match: {risk_tags: [destructive]}}
  - {id: topic, decision: deny, match: {topics: ["job.pay.*"]}}
  - {id: tenant, decision: deny, match: {tenants: [acme]}}
  - {id: untrusted, decision: deny, match: {labels: {trusted: {none: ["yes"]}}, topics: ["job.admin"]}}
  - {id: unreviewed, decision: deny, match: {risk_tags: {none: [reviewed]}, topics: ["job.deploy"]}}
  - {id: no-actor, decision: deny, match: {actor_ids: {none: ["?*"]}, topics: ["job.admin"]}}
  - {id: strangers, decision: deny, match: {tenants: {none: [globex]}, topics: ["job.globex"]}}
  - {id: label, decision: deny, match: {labels: {env: prod}}}
  - {id: level, decision: deny, match: {labels: {level: "5"}}}
  - {id: mcp, decision: deny, match: {mcp: {servers: [jira]}}}
  - {id: actor, decision: deny, match: {actor_ids: [mallory]}}
  - {id: role, decision: deny, match: {actor_roles: [intern]}}
  - {id: capability, decision: deny, match: {capabilities: [fs.delete]}}
  - {id: secrets, decision: deny, match: {secrets_present: true}}
  - {id: amount, decision: deny, match: {topics: ["job.transfer"], when: "$.payload.amount > 1000"}}
$$);

SELECT is((decide(document, '{"topic": "job.read"}')).decision, 'ALLOW', 'what no rule stops is allowed') FROM policies;
SELECT is((decide(document, '{"topic": "job.transfer", "payload": {"amount": 10}}')).decision, 'ALLOW',
	'a small amount is allowed') FROM policies;
SELECT is((decide(document, '{"topic": "job.admin", "actor_id": "root", "labels": {"trusted": "yes"}}')).decision, 'ALLOW',
	'whoever is trusted and named is allowed') FROM policies;
SELECT is((decide(document, '{"topic": "job.deploy", "risk_tags": ["reviewed"]}')).decision, 'ALLOW',
	'what is reviewed is allowed') FROM policies;
SELECT is((decide(document, '{"topic": "job.globex", "tenant_id": "globex"}')).decision, 'ALLOW',
	'the tenant of a topic is allowed') FROM policies;

-- The tag "destructive", spelled otherwise.
SELECT is((decide(document, jsonb_build_object('topic', 'job.read', 'risk_tags', jsonb_build_array(tag)))).matched_rule,
	'tag', 'a tag does not pass by ' || trick)
FROM policies, (VALUES
	('upper case', 'DESTRUCTIVE'),
	('mixed case', 'DeStRuCtIvE'),
	('full-width letters', U&'\FF44\FF45\FF53\FF54\FF52\FF55\FF43\FF54\FF49\FF56\FF45'),
	('full-width capitals', U&'\FF24\FF25\FF33\FF34\FF32\FF35\FF23\FF34\FF29\FF36\FF25'),
	('a mathematical letter', U&'\+01D41Destructive'),
	('a circled letter', U&'\24D3estructive'),
	('a long s', U&'de\017Ftructive'),
	('a superscript', U&'destruct\2071ve'),
	('a ligature', U&'de\FB06ructive'),
	('a roman numeral', U&'destruct\2170ve'),
	('a zero-width space', U&'des\200Btructive'),
	('a zero-width non-joiner', U&'des\200Ctructive'),
	('a zero-width joiner', U&'des\200Dtructive'),
	('a word joiner', U&'des\2060tructive'),
	('a byte order mark', U&'\FEFFdestructive'),
	('a soft hyphen', U&'destruc\00ADtive'),
	('a combining grapheme joiner', U&'destruc\034Ftive'),
	('a variation selector', U&'destruc\FE0Ftive'),
	('an ideographic variation selector', U&'destruc\+0E0100tive'),
	('a tag character', U&'destruc\+0E0061tive'),
	('a Hangul filler', U&'destruc\3164tive'),
	('a half-width Hangul filler, ignorable only once folded', U&'destruc\FFA0tive'),
	('a Mongolian vowel separator', U&'destruc\180Etive'),
	('a right-to-left override', U&'\202Edestructive'),
	('a left-to-right mark', U&'destructive\200E'),
	('a bidirectional isolate', U&'\2066destructive\2069'),
	('an Arabic letter mark', U&'destructive\061C'),
	('a control character', U&'des\0001tructive'),
	('a tab inside', U&'des\0009tructive'),
	('a delete character', U&'destructive\007F'),
	('a C1 control character', U&'des\0085tructive'),
	('spaces around', '  destructive '),
	('a line end', U&'destructive\000A'),
	('a no-break space', U&'\00A0destructive\00A0'),
	('an ideographic space', U&'\3000destructive'),
	('a space behind a zero-width space', U&'\200B destructive \200B'),
	('an em space', U&'destructive\2003'),
	('a line separator', U&'destructive\2028'),
	('many invisible characters', repeat(U&'\200B', 500) || 'destructive')
) AS t(trick, tag);

-- Other fields, other ways.
SELECT is((decide(document, job::jsonb)).decision, 'DENY', trick || ' does not loosen the verdict')
FROM policies, (VALUES
	('a topic in capitals', '{"topic": "JOB.PAY.x"}'),
	('a topic in full-width letters', '{"topic": "ｊｏｂ.ｐａｙ.x"}'),
	('a full-width full stop in a topic', '{"topic": "job．pay．x"}'),
	('a zero-width space in a topic', '{"topic": "job.\u200bpay.x"}'),
	('a space before a topic', '{"topic": " job.pay.x"}'),
	('a tenant in capitals', '{"topic": "job.read", "tenant_id": "ACME"}'),
	('a tenant with a soft hyphen', '{"topic": "job.read", "tenant_id": "ac\u00adme"}'),
	('the other name of tenant_id', '{"topic": "job.read", "tenant": "acme"}'),
	('two tenants', '{"topic": "job.read", "tenant": "acme", "tenant_id": "globex"}'),
	('two tenants, the other way round', '{"topic": "job.read", "tenant": "globex", "tenant_id": "acme"}'),
	('a tenant in the request and another in the job', '{"tenant_id": "globex", "job": {"topic": "job.read", "tenant": "acme"}}'),
	('the request around a job', '{"tenant_id": "acme", "job": {"topic": "job.read"}}'),
	('a tenant left out', '{"topic": "job.globex"}'),
	('an empty tenant', '{"topic": "job.globex", "tenant_id": ""}'),
	('a null tenant', '{"topic": "job.globex", "tenant_id": null}'),
	('a label left out that must not be anything else', '{"topic": "job.admin", "actor_id": "root"}'),
	('a null label', '{"topic": "job.admin", "actor_id": "root", "labels": {"trusted": null}}'),
	('an empty label', '{"topic": "job.admin", "actor_id": "root", "labels": {"trusted": "\u200b"}}'),
	('an actor left out', '{"topic": "job.admin", "labels": {"trusted": "yes"}}'),
	('an actor of spaces', '{"topic": "job.admin", "labels": {"trusted": "yes"}, "actor_id": "  "}'),
	('an invisible actor', '{"topic": "job.admin", "labels": {"trusted": "yes"}, "actor_id": "\u200b"}'),
	('tags left out', '{"topic": "job.deploy"}'),
	('empty tags', '{"topic": "job.deploy", "risk_tags": []}'),
	('tags of nothing', '{"topic": "job.deploy", "risk_tags": [""]}'),
	('a label in capitals', '{"topic": "job.read", "labels": {"ENV": "PROD"}}'),
	('a label name with a zero-width space', '{"topic": "job.read", "labels": {"e\u200bnv": "prod"}}'),
	('a label name in full-width letters', '{"topic": "job.read", "labels": {"ｅｎｖ": "prod"}}'),
	('a label name with a space', '{"topic": "job.read", "labels": {" env ": "prod"}}'),
	('two labels with one normalised name', '{"topic": "job.read", "labels": {"env": "dev", "ENV": "prod"}}'),
	('two labels with one normalised name, the other way round', '{"topic": "job.read", "labels": {"env": "prod", "ENV": "dev"}}'),
	('a number for a label''s string', '{"topic": "job.read", "labels": {"level": 5}}'),
	('a string for a label''s number', '{"topic": "job.read", "labels": {"level": "5"}}'),
	('full-width digits', '{"topic": "job.read", "labels": {"level": "５"}}'),
	('mcp by the field', '{"topic": "job.read", "mcp": {"server": "Jira"}}'),
	('mcp by the label mcp.server', '{"topic": "job.read", "labels": {"mcp.server": "jira"}}'),
	('mcp by the label mcp_server', '{"topic": "job.read", "labels": {"mcp_server": "jira"}}'),
	('mcp by the label mcpServer', '{"topic": "job.read", "labels": {"mcpServer": "jira"}}'),
	('mcp by the label MCP.Server', '{"topic": "job.read", "labels": {"MCP.Server": "jira"}}'),
	('mcp by a label and another by the field', '{"topic": "job.read", "mcp": {"server": "slack"}, "labels": {"mcp.server": "jira"}}'),
	('mcp by two labels', '{"topic": "job.read", "labels": {"mcp.server": "slack", "mcp_server": "jira"}}'),
	('an actor by actor.id', '{"topic": "job.read", "actor": {"id": "Mallory"}}'),
	('an actor by actor_id', '{"topic": "job.read", "actor_id": "mallory"}'),
	('two actors', '{"topic": "job.read", "actor": {"id": "alice"}, "actor_id": "mallory"}'),
	('a role among others', '{"topic": "job.read", "actor": {"roles": ["admin", "INTERN"]}}'),
	('two lists of roles', '{"topic": "job.read", "actor": {"roles": ["admin"]}, "actor_roles": ["intern"]}'),
	('a capability in capitals', '{"topic": "job.read", "capability": "FS.Delete"}'),
	('secrets by tag alone', '{"topic": "job.read", "risk_tags": ["secrets"], "secrets_present": false}'),
	('secrets by an odd spelling of the tag', '{"topic": "job.read", "risk_tags": ["S\u200becrets"]}'),
	('secrets by label alone', '{"topic": "job.read", "labels": {"SECRETS_PRESENT": "Yes"}, "secrets_present": false}'),
	('secrets as a string', '{"topic": "job.read", "secrets_present": "false"}'),
	('an amount as a string', '{"topic": "job.transfer", "payload": {"amount": "5000"}}'),
	('an amount in an array', '{"topic": "job.transfer", "payload": {"amount": [5000]}}'),
	('an amount in an object', '{"topic": "job.transfer", "payload": {"amount": {"value": 5000}}}'),
	('an amount that is true', '{"topic": "job.transfer", "payload": {"amount": true}}'),
	('an amount left out', '{"topic": "job.transfer", "payload": {}}'),
	('an amount in capitals', '{"topic": "job.transfer", "payload": {"Amount": 10}}'),
	('a null amount', '{"topic": "job.transfer", "payload": {"amount": null}}'),
	('a payload left out', '{"topic": "job.transfer"}'),
	('a null payload', '{"topic": "job.transfer", "payload": null}'),
	('a payload that is an array', '{"topic": "job.transfer", "payload": [{"amount": 10}]}'),
	('an amount in scientific notation', '{"topic": "job.transfer", "payload": {"amount": 5e3}}')
) AS t(trick, job);

-- Both sides: a policy that is spelled oddly stops the plain spelling.
SELECT is(holds(match, job::jsonb), expected, what)
FROM (VALUES
	('a pattern in capitals', '{risk_tags: [PROD]}', '{"topic": "a", "risk_tags": ["prod"]}', true),
	('a pattern with an invisible character', U&'{risk_tags: ["pr\200Bod"]}', '{"topic": "a", "risk_tags": ["prod"]}', true),
	('a pattern in full-width letters', U&'{risk_tags: ["\FF50\FF52\FF4F\FF44"]}', '{"topic": "a", "risk_tags": ["prod"]}', true),
	('a label name in capitals', '{labels: {ENV: prod}}', '{"topic": "a", "labels": {"env": "prod"}}', true),
	('composed and decomposed letters', U&'{topics: ["caf\00E9"]}', U&'{"topic": "cafe\0301"}', true),
	('only ASCII letters are lowered', U&'{topics: ["caf\00E9"]}', U&'{"topic": "CAF\00C9"}', false),
	('the Kelvin sign is a K once folded, and lowered', '{topics: [k]}', U&'{"topic": "\212A"}', true),
	('look-alike letters of other scripts stay different', '{topics: [prod]}', U&'{"topic": "pr\043Ed"}', false),
	('white space inside stays', '{topics: ["a b"]}', '{"topic": "ab"}', false),
	('another white space inside stays white space', '{topics: ["a b"]}', U&'{"topic": "a\00A0b"}', true)
) AS t(what, match, job, expected);

SELECT * FROM finish();
ROLLBACK;
