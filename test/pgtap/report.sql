\ir common.psql
SELECT plan(104);
GRANT USAGE ON SCHEMA helper TO PUBLIC;

--
-- What is hostile, or not seen
--
SELECT is(policy.html(given), wanted, 'policy.html: ' || what) FROM (VALUES
	('markup', '<script>alert("x")</script>', '&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;'),
	('an attribute''s end', '" onload=''x''', '&quot; onload=&#39;x&#39;'),
	('what is escaped already is escaped again', '&lt;&amp;', '&amp;lt;&amp;amp;'),
	('the end of a style sheet or a comment', '</style>-->]]>', '&lt;/style&gt;--&gt;]]&gt;'),
	('controls are shown', E'a\x01b\x1b[31m\x7f\r\n\t', 'a[U+0001]b[U+001B][31m[U+007F][U+000D][U+000A][U+0009]'),
	('C1 controls are shown', E'\u0085\u009b', '[U+0085][U+009B]'),
	('what turns the direction of writing is shown', E'\u202Egpj.exe\u2066\u200F\u061C', '[U+202E]gpj.exe[U+2066][U+200F][U+061C]'),
	('what has no width is shown', E'ad\u200Bmin\uFEFF\u00AD', 'ad[U+200B]min[U+FEFF][U+00AD]'),
	('spaces that are none are shown', E'a\u00A0b\u2003\u3000', 'a[U+00A0]b[U+2003][U+3000]'),
	('tags and variation selectors are shown', E'\U000E0041\uFE0F', '[U+E0041][U+FE0F]'),
	('what XML forbids is shown', E'\uFFFE\uFFFF', '[U+FFFE][U+FFFF]'),
	('letters of every script are left alone', E'\u00e4\u4e2d\u0430\U0001F600', E'\u00e4\u4e2d\u0430\U0001F600'),
	('nothing is nothing', NULL, '')) v(what, given, wanted);
SELECT is(policy.html(repeat('<', 2001)), repeat('&lt;', 2000) || '... (2,001 characters)', 'policy.html clips what is long, and says how long it was');
SELECT is(policy.html(repeat('<', 2000)), repeat('&lt;', 2000), 'and not before that');
SELECT is(policy.visible(c), format('[U+%s]', lpad(upper(to_hex(n)), 4, '0')), 'the control is shown')
	FROM generate_series(1, 8) n, chr(n) c;
SELECT is(policy.number(n), wanted, 'numbers are written to be read: ' || wanted) FROM (VALUES
	(0::numeric, '0'), (1234567, '1,234,567'), (2.5, '2.5'), (-1234.567, '-1,234.57'), (NULL, 'unknown')) v(n, wanted);

--
-- A simulation in which every text is hostile
--
CREATE FUNCTION hostile(what text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s <script>alert(1)</script><img src=x onerror="x">&amp;'' ]]> </style> ', what) || E'\u202E\x01\x1b[2J' || repeat('x', 3000)
$$;
CREATE FUNCTION snapshot_name(number integer) RETURNS text LANGUAGE sql AS $$ SELECT format('v%s <b>&"''', number) $$;
SELECT policy_stage('v1', 'version: v1
defaults: {decision: allow}
evidence: {mask: ["$.payload.password"]}
rules:
  - {id: costly, match: {when: "$.payload.zz_amount > 3"}, decision: deny}', NULL) \g /dev/null
SELECT policy_publish('v1', NULL) \g /dev/null
SELECT policy_submit(jsonb_build_object('topic', 'pay.out', 'tenant_id', 'acme', 'payload', jsonb_build_object(
	'password', 'hunter2', 'zz_amount', 7, 'evil', hostile('payload'), '<script>key', 1, 'c', 1, 'd', 1, 'e', 1, 'f', 1, 'g', 1, 'h', 1, 'i', 1))) \g /dev/null

-- As policy_replay would have stored it.
CREATE FUNCTION simulate(id bigint, passed boolean, flips bigint, candidate text DEFAULT 'v1', base text DEFAULT 'v1', source text DEFAULT 'decisions',
	acknowledged_by text DEFAULT NULL, failing text DEFAULT 'loosened', finished_at timestamptz DEFAULT now()) RETURNS void LANGUAGE sql AS $$
	INSERT INTO policy.simulations (simulation_id, snapshot, sha256, base_snapshot, base_release_id, source, query, since, until, covers_history,
			run_by, started_at, finished_at, jobs, replayed, unreplayable, matrix, matrix_then, flips, loosened, tightened, newly_approval,
			approvals_per_day, rules, gate, acknowledged_by, acknowledged_at, acknowledge_note)
		SELECT simulate.id, simulate.candidate, sha256('x'), simulate.base, NULL, simulate.source, CASE simulate.source WHEN 'query' THEN hostile('query') END,
			'2026-06-01T00:00Z', 'infinity', false, hostile('runner'), now(), simulate.finished_at, 123456, 123400,
			jsonb_build_object('masked fact', 50, hostile('reason'), 6, 'invalid job', 0),
			'[{"from": "DENY", "to": "ALLOW", "jobs": 20000}, {"from": "ALLOW", "to": "ALLOW", "jobs": 123000}, {"from": "ALLOW", "to": "REQUIRE_APPROVAL", "jobs": 1}]',
			'[{"from": "THROTTLE", "to": "DENY", "jobs": 77}]', simulate.flips, 3, 4, 5, 2.5,
			jsonb_build_array(jsonb_build_object('rule', hostile('rule'), 'gained', 7, 'lost', 0), '{"rule": null, "gained": 0, "lost": 3}'::jsonb,
				'{"rule": "unmoved", "gained": 0, "lost": 0}'::jsonb)
				|| coalesce((SELECT jsonb_agg(jsonb_build_object('rule', 'small' || n, 'gained', 1, 'lost', 0)) FROM generate_series(1, 30) n), '[]'),
			jsonb_build_object('passed', simulate.passed, 'checks', jsonb_build_array('{"check": "window", "passed": true, "value": "9 days", "limit": "7 days"}'::jsonb,
				jsonb_build_object('check', simulate.failing, 'passed', simulate.passed, 'value', 3, 'limit', '0', 'detail', hostile('check')))),
			simulate.acknowledged_by, CASE WHEN simulate.acknowledged_by IS NOT NULL THEN now() END, CASE WHEN simulate.acknowledged_by IS NOT NULL THEN hostile('note') END
$$;
CREATE FUNCTION flip(simulation_id bigint, flip bigint, kind text, decision_id bigint, job jsonb, topic text DEFAULT 't', from_rule text DEFAULT NULL)
	RETURNS void LANGUAGE sql AS $$
	INSERT INTO policy.simulation_flips (simulation_id, flip, decision_id, decided_at, job_table, job_key, tenant_id, actor_id, topic, job, evaluated_at, kind,
			why, from_decision, to_decision, from_rule, to_rule, from_reason, to_reason, from_constraints, to_constraints)
		SELECT flip.simulation_id, flip.flip, flip.decision_id, (SELECT d.decided_at FROM policy.decisions d WHERE d.decision_id = flip.decision_id),
			'policy.jobs', flip.flip::text, hostile('tenant'), hostile('actor'), flip.topic, flip.job, now(), flip.kind, ARRAY['decision', hostile('why')],
			'DENY', 'ALLOW', flip.from_rule, hostile('winner'), hostile('because'), 'default', '{}', jsonb_build_object(hostile('constraint'), 5)
$$;
SELECT simulate(1, false, 250, hostile('candidate')) \g /dev/null
SELECT flip(1, 1, 'tightened', NULL, '{"payload": {"seen": "in a query"}}', 'first.tightened') \g /dev/null
SELECT flip(1, n, 'loosened', NULL, '{"topic": "x"}', 'common' || n, 'common') FROM generate_series(2, 201) n \g /dev/null
SELECT flip(1, 202, 'loosened', max(decision_id), NULL, hostile('topic'), 'rare') FROM policy.decisions \g /dev/null
SELECT flip(1, 203, 'loosened', 1e9::bigint, NULL, 'lost.evidence', 'gone') \g /dev/null
SELECT flip(1, 204, 'loosened', NULL, '["no", "object"]', 'odd', 'odd') \g /dev/null
CREATE TEMP TABLE page AS SELECT policy_report(1) AS html, policy_report_text(1) AS text;

-- NULL where PostgreSQL was built without libxml.
CREATE FUNCTION found(html text, path text) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
	RETURN xpath(path, xmlparse(DOCUMENT html))::text[];
EXCEPTION WHEN feature_not_supported THEN
	RETURN NULL;
END
$$;
CREATE FUNCTION counts(path text, wanted integer, promise text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN f.found IS NULL THEN skip('PostgreSQL was built without libxml: ' || promise)
		ELSE is(cardinality(f.found), wanted, promise) END
	FROM page, LATERAL (SELECT found(html, path)) f(found)
$$;
SELECT counts('/html/body', 1, 'the page is well-formed whatever a job holds');
SELECT counts('//script | //img | //iframe | //link | //object | //embed | //form | //base', 0, 'nothing of it runs or loads anything');
SELECT counts('//@src | //@style | //@*[starts-with(name(), "on")] | //@href[not(starts-with(., "#"))]', 0, 'nor does an attribute');
SELECT counts('//meta[@http-equiv="Content-Security-Policy"][contains(@content, "default-src ''none'';")][not(contains(@content, "unsafe"))]', 1,
	'its Content-Security-Policy allows nothing');
SELECT ok(html LIKE '%style-src &#39;sha256-' || encode(sha256(convert_to(substring(html FROM '<style>(.*?)</style>'), 'UTF8')), 'base64') || '&#39;;%',
	'but its own style sheet, by hash') FROM page;
SELECT ok(html !~ E'[\\x01-\\x09\\x0b-\\x1f\\x7f\\u202e]', 'it has no control character of a job''s') FROM page;
SELECT ok(strpos(html, '&lt;script&gt;alert(1)&lt;/script&gt;') > 0 AND strpos(html, '<script') = 0, 'what is hostile is shown as text') FROM page;
SELECT ok(length(html) < 2000000, 'and clipped') FROM page;
SELECT counts('/html[@lang="en"]/head[title and meta[@name="viewport"]]', 1, 'it has a language, a title and a viewport');
SELECT counts('//body/a[@class="skip"][@href="#content"]', 1, 'a skip link comes first');
SELECT counts('//body/header | //body/main[@id="content"] | //body/footer', 3, 'it has landmarks');
SELECT counts('//h1', 1, 'one first heading');
SELECT counts('//h3 | //h4', 0, 'and none that skips a level');
SELECT counts('//*[@id][@id = following::*/@id]', 0, 'no id is there twice');
SELECT counts('//section[@aria-labelledby][not(@aria-labelledby = .//@id)]', 0, 'every section has the name that it says');
SELECT counts('//table[not(caption)] | //th[not(@scope)] | //table[not(.//th[@scope="col"])] | //table[not(.//th[@scope="row"])]', 0, 'every table has a caption, and headers with a scope');
SELECT counts('//svg[not(title)] | //svg[not(@role="img")]', 0, 'every bar says in words what it shows');
SELECT counts('//div[@class="scroll"][not(@tabindex="0") or not(@aria-label) or not(@role="region")]', 0, 'what scrolls has a name, and can be scrolled by keyboard');
SELECT ok(html LIKE '%@media (prefers-color-scheme: dark)%' AND html LIKE '%@media print%' AND html LIKE '%:focus-visible%', 'there is a dark form, one for print, and a visible focus') FROM page;

-- What it says
SELECT ok(substring(html FROM '<main.*') ~ '^<main[^>]*>\n<section class="verdict failed" aria-label="Verdict"><p><span class="badge">FAILED</span> The gate fails: ', 'the verdict comes first, in words') FROM page;
SELECT counts('//tr[th="loosened"]/td[.="FAILS"]', 1, 'a check that fails says so');
SELECT ok(strpos(html, '>FAILS<') < strpos(html, '>passes<'), 'and comes before those that pass') FROM page;
SELECT counts('(//table)[2]//td', 25, 'the matrix has every decision by every decision');
SELECT counts('(//table)[2]//tr[th="DENY"]/td[1][@class="cell loose4"][b="20,000"][contains(., "looser")]', 1, 'a loosened cell says so, and is hot');
SELECT counts('(//table)[2]//tr[th="ALLOW"]/td[4][@class="cell tight1"][b="1"][contains(., "stricter")]', 1, 'a single job is seen beside thousands');
SELECT counts('(//table)[3]//tr[th="THROTTLE"]/td[5][b="77"]', 1, 'what was recorded then is there as well');
SELECT counts('//th[.="(default)"]/following-sibling::td[.="3"]', 1, 'rules have their counts as text, the default too');
SELECT counts('//tr[.//rect]', 30, 'at most thirty rules have bars, those that move no job none');
SELECT ok(html LIKE '%<p>2 more rules with fewer jobs are left out.</p>%', 'and it says how many are left out') FROM page;
SELECT counts('//table[@class="jobs"]/tbody/tr', 200, 'at most 200 jobs are shown');
SELECT ok(html LIKE '%<p>50 more flips are left out: %', 'and it says how many are left out') FROM page;
SELECT counts(format('//table[@class="jobs"]/tbody/tr[%s][contains(., "%s")]', place, what), 1, 'each kind of change is shown before the second of any: ' || what)
	FROM (VALUES (1, 'topic common2'), (2, 'payload.zz_amount: 7'), (3, 'Its evidence is gone.'), (4, 'topic odd'), (5, 'topic common3')) v(place, what);
SELECT counts('//table[@class="jobs"]/tbody/tr[contains(th, "tightened")]', 0, 'loosened jobs come first');
SELECT counts('//li[contains(., "payload.password: ***")]', 1, 'what evidence masks is masked');
SELECT ok(strpos(html || text, 'hunter2') = 0, 'and not to be found') FROM page;
SELECT counts('//ul[li[1][contains(., "payload.zz_amount: 7")]][li[2][contains(., "payload.password: ***")]]', 1, 'the fields that a policy names come first, those that say something before what is masked');
SELECT counts('//ul[count(li) = 9][li[9][contains(., "left out: 3 more fields")]]', 1, 'of many fields, eight are shown');
SELECT ok(html LIKE '%<dd>+2.5 <small>approvals a day</small></dd>%' AND html LIKE '%<dd>99.95% <small>of the jobs replayed, 123,400 of 123,456</small></dd>%', 'queue growth and coverage are there') FROM page;
SELECT counts('//tr[th="masked fact"]/td[.="50"]', 1, 'and why jobs were not replayed');
SELECT counts('//tr[th="invalid job"]', 0, 'but not what did not happen');
SELECT ok(html LIKE '%<dd>from 2026-06-01 00:00:00 UTC, before the end</dd>%', 'the window is there') FROM page;

-- For a terminal
SELECT is((SELECT max(length(l)) <= 80 FROM page, regexp_split_to_table(text, E'\n') l), true, 'the text fits 80 columns');
SELECT ok(text !~ E'[\\x01-\\x09\\x0b-\\x1f\\x7f\\u0080-\\u009f\\u202e]', 'no control character of a job''s gets to a terminal') FROM page;
SELECT ok(text ~ '\nFAILED\. The gate fails: ' AND text ~ '-20000' AND text ~ 'Queue growth +\+2\.5' AND text ~ 'masked fact: 50'
	AND text ~ '\n154 more flips are left out' IS FALSE AND text ~ '\n200 more flips are left out', 'it says the same') FROM page;

-- The verdict
CREATE FUNCTION verdict(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s; %s', v.state, array_to_string(v.remarks, '; ')) FROM policy.simulations s, policy.report_verdict(s) v WHERE s.simulation_id = id
$$;
SELECT simulate(10, true, 0), simulate(11, false, 9, acknowledged_by => 'bob'), simulate(12, false, 9, acknowledged_by => 'bob', failing => 'window'),
	simulate(13, true, 0, source => 'query'), simulate(14, true, 0, base => NULL), simulate(15, true, 0, finished_at => now() - interval '25 hours') \g /dev/null
SELECT is(verdict(10), 'passed; ', 'a gate that passed');
SELECT ok(verdict(11) LIKE 'acknowledged; It fails: loosened 3 (limit 0).; Acknowledged by bob at %: note <script>%', 'flips that were acknowledged');
SELECT ok(verdict(12) LIKE 'failed; It fails: window 3 (limit 0).; Acknowledged by bob%', 'an acknowledgement excuses flips alone');
SELECT ok(verdict(13) LIKE 'passed; Jobs of a query were replayed%', 'a query''s jobs let nothing be published');
SELECT ok(verdict(14) ~ '^passed; What is active now \(v1, release \d+\) is not what this was compared with', 'another base than the active one is remarked');
SELECT is(verdict(15), 'passed; This is older than 24 hours: replay it again before publishing.', 'and what is old');
SELECT is((SELECT policy.report_base(s) FROM policy.simulations s WHERE s.simulation_id = 14), 'no active policy', 'a base that was not released has no release, as where there was no policy');
SELECT ok(policy_report(1) ~ '<h1>Impact of candidate .{90,250}[.]{3} [(]3,[0-9]{3} characters[)] on v1</h1>', 'the title is short, however long the names');
SELECT ok(verdict(1) LIKE 'failed; It fails: loosened 3 (limit 0).;%Adjust it and replay again; or %: SELECT policy_acknowledge(1, ''why'');', 'a verdict says by what it fails, and what to do next');
SELECT simulate(16, false, 9, failing => 'unreplayable') \g /dev/null
SELECT ok(verdict(16) LIKE 'failed; It fails: unreplayable 300% (limit 0%).; Adjust what it fails by and replay again:%', 'but no acknowledgement where none would help');
SELECT is((SELECT array_to_string(r.remarks, '; ') FROM policy.simulations s, policy.report_verdict(jsonb_populate_record(s, '{"jobs": 0, "replayed": 0}')) r WHERE s.simulation_id = 10),
	'No job was replayed: this says nothing of what would change.', 'nor is nothing taken for a pass without a word');
SELECT is(policy.share(part, whole), wanted, 'shares are written to be read: ' || wanted) FROM (VALUES
	(1, 3, '33.33%'), (1, 1000000, 'below 0.01%'), (0, 7, '0%'), (7, 7, '100%'), (999999, 1000000, 'above 99.99%'), (0, 0, NULL)) v(part, whole, wanted);
SELECT counts('//table[@class="jobs"]/tbody/tr[3]/td[1][b="DENY"][contains(., "by rule gone")]', 1, 'a decision stands out, with its rule');
SELECT counts('//th[@class="text"][.="small1"]', 1, 'long names break on a narrow screen, short words do not');
SELECT ok(policy_report(10) LIKE '%<p><span class="badge">PASSED</span> The gate passes: %' AND policy_report(10) LIKE '%<p>No job is decided otherwise.</p>%'
	AND policy_report_text(10) LIKE '%No job is decided otherwise.%', 'a report without flips says so');

-- Jobs of a query: nobody has masked them before.
SELECT policy_stage('v2', 'version: v1
defaults: {decision: deny}
evidence: {mask: ["$.tenant", "$.actor", "$.payload.token"]}', NULL) \g /dev/null
SELECT setval('policy.simulation_id_seq', 1000) \g /dev/null
CREATE TEMP TABLE queried AS SELECT simulation_id FROM policy_replay_query('v2', $$SELECT '{"topic": "pay.in", "tenant": "secret-tenant",
	"actor": {"id": "secret-actor"}, "payload": {"token": "secret-token", "password": "secret-password", "open": "seen"}}'::jsonb$$);
SELECT is((SELECT (f.tenant_id, f.actor_id, f.topic, f.job)::text FROM policy.simulation_flips f JOIN queried USING (simulation_id)),
	('***'::text, NULL::text, 'pay.in'::text, '{"topic": "pay.in", "tenant": "***", "actor": "***", "payload": {"token": "***", "password": "***", "open": "seen"}}'::jsonb)::text,
	'what either policy masks is masked in the flips of a query');
SELECT ok(r.page LIKE '%payload.open: seen%' AND r.page NOT LIKE '%secret-actor%', 'and in its report')
	FROM queried, regexp_replace(policy_report(simulation_id) || policy_report_text(simulation_id), '<dt>Query</dt>.*?</dd>|Query:.*', '', 'g') r(page);

-- Errors
SELECT throws_ok(format('SELECT %s(NULL)', f), '22023', 'the simulation''s id is NULL', f || ' of NULL') FROM unnest('{policy_report,policy_report_text}'::text[]) f;
SELECT throws_ok(format('SELECT %s(404)', f), 'P0002', 'simulation 404 does not exist', f || ' of what is not there') FROM unnest('{policy_report,policy_report_text}'::text[]) f;

-- Who
CREATE ROLE report_author LOGIN;
SELECT policy_grant('report_author', 'author') \g /dev/null
SET LOCAL SESSION AUTHORIZATION report_author;
SELECT ok(policy_report(1) LIKE '%payload.password: ***%', 'who may report reads no table for it, and sees what is masked as masked');
SELECT is(sqlstate_of('SELECT job FROM policy.decisions'), '42501', 'and gets no right on evidence by it');
SET LOCAL SESSION AUTHORIZATION postgres;
SELECT * FROM finish();
ROLLBACK;
