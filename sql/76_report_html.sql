--
-- policy_report: one page that a reviewer reads in a minute.  A job's content is
-- hostile: every value goes through policy.html, and the page may load and run nothing.
--

CREATE FUNCTION policy.html(value text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT replace(replace(replace(replace(replace(
		policy.visible(coalesce(policy.clipped(value, 2000), '')),
		'&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;')
$$;
COMMENT ON FUNCTION policy.html(text) IS
	'The text as HTML or XML content, or a quoted attribute: escaped, unseen characters shown, at most 2,000 characters and how many it has. NULL: nothing.';

CREATE FUNCTION policy.report_style() RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT '
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #8c959f; --panel: #f3f5f7;
--focus: #0550ae; --good: #116329; --bad: #a40e26; --same: #e6e9ec;
--loose1: #ffe9d6; --loose2: #ffd3ad; --loose3: #ffbb80; --loose4: #ffa352;
--tight1: #e0efff; --tight2: #c2dfff; --tight3: #a1cdff; --tight4: #7fbaff;
--gained: #0550ae; --lost: #953800; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1318; --ink: #e8ecf0; --soft: #aeb7c0; --line: #6e7781; --panel: #1a2027;
--focus: #79c0ff; --good: #6fdd8b; --bad: #ff9492; --same: #262d35;
--loose1: #3a2413; --loose2: #51300f; --loose3: #683c0c; --loose4: #7f4808;
--tight1: #12283f; --tight2: #14365a; --tight3: #164475; --tight4: #175390;
--gained: #79c0ff; --lost: #ffb77c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page); color: var(--ink);
font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
p { margin: .5rem 0; }
a { color: var(--focus); }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 1rem; padding: .5rem; background: var(--page); }
.badge { display: inline-block; padding: 0 .6rem; border: 2px solid; border-radius: .25rem; margin-right: .5rem; }
.passed .badge { color: var(--good); } .failed .badge, .acknowledged .badge { color: var(--bad); }
.verdict { margin: 1rem 0; border: 2px solid var(--line); border-left-width: .75rem; padding: .5rem 1rem; background: var(--panel); }
.verdict p:first-child { font-size: 1.2rem; font-weight: 700; }
.passed { border-color: var(--good); }
.failed, .acknowledged { border-color: var(--bad); }
.fails { color: var(--bad); font-weight: 700; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.facts div { background: var(--panel); padding: .5rem .75rem; }
.figures dd { font-size: 1.75rem; line-height: 1.2; } .figures small { display: block; font-size: .875rem; font-weight: 400; color: var(--soft); }
.facts dt, .soft { color: var(--soft); }
.facts dd { margin: 0; font-weight: 700; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
caption { text-align: left; color: var(--soft); padding: .25rem 0; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; overflow-wrap: normal; }
.text, .jobs th, .jobs td { overflow-wrap: anywhere; } .text { min-width: 12rem; }
th { background: var(--panel); font-weight: 600; }
.count { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.matrix { table-layout: fixed; width: 100%; min-width: 52rem; }
.cell, .matrix thead th + th { text-align: right; }
.cell b { display: block; font-size: 1.15rem; }
.key { display: inline-block; width: .9rem; height: .9rem; margin-left: .75rem; border: 1px solid var(--line); vertical-align: -.1rem; }
p .key:first-child { margin-left: 0; }
.same { background: var(--same); }
.loose1 { background: var(--loose1); } .loose2 { background: var(--loose2); } .loose3 { background: var(--loose3); } .loose4 { background: var(--loose4); }
.tight1 { background: var(--tight1); } .tight2 { background: var(--tight2); } .tight3 { background: var(--tight3); } .tight4 { background: var(--tight4); }
.bar { border-left-style: hidden; padding-left: 0; }
svg { display: block; width: 12rem; height: .9rem; margin-top: .3rem; }
.gained { fill: var(--gained); } .lost { fill: var(--lost); }
.jobs { width: 100%; min-width: 56rem; table-layout: fixed; }
.soft { font-weight: 400; }
.jobs ul { margin: 0; padding-left: 1.1rem; }
.jobs code, pre { font: .875rem/1.45 ui-monospace, monospace; }
pre { white-space: pre-wrap; background: var(--panel); padding: .5rem; }
@page { size: landscape; margin: 12mm; }
@media print { :root { font-size: 9pt; } body { max-width: none; padding: 0; } h2 { break-after: avoid; } p { orphans: 3; }
.matrix { break-inside: avoid; } .jobs li { display: inline; } .jobs li + li { margin-left: .5em; } .jobs li + li::before { content: "| "; } .jobs ul { padding: 0; } .skip { display: none; } .scroll { overflow: visible; }
.jobs { min-width: 0; } tr, .verdict, .facts div { break-inside: avoid; } thead { display: table-header-group; }
.cell, .key, .verdict, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
' $$;
COMMENT ON FUNCTION policy.report_style() IS
	'The style sheet of policy_report''s page, which its Content-Security-Policy names by hash: no other is used.';

CREATE FUNCTION policy.report_head(title text) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT concat_ws(E'\n',
		'<!DOCTYPE html>', '<html lang="en">', '<head>', '<meta charset="utf-8" />',
		format('<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; style-src &#39;sha256-%s&#39;; base-uri &#39;none&#39;; form-action &#39;none&#39;" />',
			encode(sha256(convert_to(policy.report_style(), 'UTF8')), 'base64')),
		'<meta name="viewport" content="width=device-width, initial-scale=1" />',
		'<meta name="referrer" content="no-referrer" />',
		format('<title>%s</title>', policy.html(title)),
		format('<style>%s</style>', policy.report_style()), '</head>')
$$;
COMMENT ON FUNCTION policy.report_head(text) IS
	'The page''s head, with a policy that lets it load and run nothing.';

CREATE FUNCTION policy.report_html_verdict(simulation policy.simulations) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT concat_ws(E'\n',
		format('<section class="verdict %s" aria-label="Verdict"><p><span class="badge">%s</span> %s</p>', v.state, upper(v.state), policy.html(v.verdict)),
		(SELECT string_agg(format('<p>%s</p>', policy.html(r.remark)), E'\n' ORDER BY r.place)
			FROM unnest(v.remarks) WITH ORDINALITY r(remark, place)),
		'</section>',
		format('<dl class="facts figures">%s</dl>', (SELECT string_agg(format('<div><dt>%s</dt><dd%s>%s <small>%s</small></dd></div>',
			policy.html(f.fact), CASE WHEN f.fact = 'Loosened' AND simulation.loosened > 0 THEN ' class="fails"' ELSE '' END,
			policy.html(f.value), policy.html(f.detail)), '') FROM policy.report_facts(simulation) f)),
		'<section aria-labelledby="gate"><h2 id="gate">The gate</h2>',
		'<div class="scroll" role="region" aria-label="Checks of the gate" tabindex="0"><table>',
		'<caption>Each check; those that fail come first</caption>',
		'<thead><tr><th scope="col">Check</th><th scope="col">Result</th><th scope="col">Value</th>'
			'<th scope="col">Limit</th><th scope="col">Meaning</th></tr></thead><tbody>',
		(SELECT string_agg(format('<tr><th scope="row">%s</th><td%s>%s</td><td class="count">%s</td><td class="count">%s</td><td class="text">%s</td></tr>',
			policy.html(c.name), CASE WHEN c.result <> 'passes' THEN ' class="fails"' ELSE '' END, policy.html(c.result),
			policy.html(c.value), policy.html(c.bound), policy.html(c.detail)), E'\n')
			FROM policy.report_checks(simulation) c),
		'</tbody></table></div></section>')
	FROM policy.report_verdict(simulation) v
$$;
COMMENT ON FUNCTION policy.report_html_verdict(policy.simulations) IS
	'Of the page: the gate''s verdict in words, the figures that matter, and each check.';

CREATE FUNCTION policy.report_html_matrix(matrix jsonb, caption text) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT concat_ws(E'\n',
		format('<div class="scroll" role="region" aria-label="%s" tabindex="0"><table class="matrix">', policy.html(caption)),
		format('<caption>%s</caption>', policy.html(caption)),
		format('<thead><tr><th scope="col">From \ to</th>%s</tr></thead><tbody>',
			(SELECT string_agg(format('<th scope="col">%s</th>', replace(policy.html(d.decision), '_', '_<wbr />')), '' ORDER BY d.place)
				FROM unnest(policy.report_decisions()) WITH ORDINALITY d(decision, place))),
		(SELECT string_agg(r.line, E'\n' ORDER BY r.place) FROM (
			SELECT format('<tr><th scope="row">%s</th>%s</tr>', replace(policy.html(m.from_decision), '_', '_<wbr />'),
					string_agg(CASE WHEN m.jobs = 0 THEN '<td class="cell soft">0</td>'
						ELSE format('<td class="cell %s"><b>%s</b> %s</td>', CASE m.meaning WHEN 'looser' THEN 'loose' || m.heat
							WHEN 'stricter' THEN 'tight' || m.heat ELSE 'same' END, policy.number(m.jobs), m.meaning) END, ''
						ORDER BY array_position(policy.report_decisions(), m.to_decision))) AS line,
				array_position(policy.report_decisions(), m.from_decision) AS place
			FROM policy.report_matrix(matrix) m GROUP BY m.from_decision) r),
		'</tbody></table></div>',
		'<p class="soft"><span class="key loose3"></span> looser <span class="key tight3"></span> stricter <span class="key same"></span> the same decision. '
			'The stronger the colour, the more jobs, by orders of magnitude.</p>')
$$;
COMMENT ON FUNCTION policy.report_html_matrix(jsonb, text) IS
	'Of the page: a matrix of decisions as a table, each cell with its count, its meaning and its heat.';

CREATE FUNCTION policy.report_bar(class text, jobs numeric, most numeric, label text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT format('<td class="count">%s</td><td class="bar"><svg role="img" viewBox="0 0 100 6" preserveAspectRatio="none"><title>%s</title>'
			'<rect class="%s" width="%s" height="6" /></svg></td>',
		policy.number(jobs), policy.html(label), class,
		CASE WHEN jobs = 0 THEN 0 ELSE greatest(1, round(100 * jobs / most)) END)
$$;
COMMENT ON FUNCTION policy.report_bar(text, numeric, numeric, text) IS
	'Of the page: two cells, a count and its bar, as long as its share of the most.';

CREATE FUNCTION policy.report_html_rules(simulation policy.simulations) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH rules AS MATERIALIZED (
		SELECT r.*, row_number() OVER () AS place FROM policy.report_rules(simulation) r
	)
	SELECT CASE WHEN NOT EXISTS (SELECT FROM rules) THEN '<p>No rule gains or loses a job.</p>' ELSE concat_ws(E'\n',
		'<div class="scroll" role="region" aria-label="Jobs by rule" tabindex="0"><table>',
		'<caption>Jobs that each rule newly decides (gained) or no longer decides (lost)</caption>',
		'<thead><tr><th scope="col">Rule</th><th scope="colgroup" colspan="2">Gained</th>'
			'<th scope="colgroup" colspan="2">Lost</th></tr></thead><tbody>',
		(SELECT string_agg(format('<tr><th scope="row" class="text">%s</th>%s%s</tr>', policy.html(r.rule),
				policy.report_bar('gained', r.gained, r.most, format('%s gains %s jobs', r.rule, policy.number(r.gained))),
				policy.report_bar('lost', r.lost, r.most, format('%s loses %s jobs', r.rule, policy.number(r.lost)))),
				E'\n' ORDER BY r.place)
			FROM rules r WHERE r.place <= 30),
		'</tbody></table></div>',
		(SELECT format('<p>%s more rules with fewer jobs are left out.</p>', policy.number(count(*)))
			FROM rules r WHERE r.place > 30 HAVING count(*) > 0)) END
$$;
COMMENT ON FUNCTION policy.report_html_rules(policy.simulations) IS
	'Of the page: the rules with the most jobs gained and lost, with bars.';

CREATE FUNCTION policy.report_side(decision text, decided_by text, reason text, bounds text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT format('<td><b>%s</b> by %s%s%s</td>', policy.html(decision), policy.html(decided_by),
		CASE WHEN reason IS NULL THEN '' ELSE '<br />' || policy.html(reason) END, CASE WHEN bounds IS NULL THEN '' ELSE '<br /><code>' || policy.html(bounds) || '</code>' END)
$$;
COMMENT ON FUNCTION policy.report_side(text, text, text, text) IS
	'Of the page: a cell with what one policy says of a job.';

CREATE FUNCTION policy.report_html_flips(simulation policy.simulations, rows integer) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH words AS MATERIALIZED (SELECT policy.report_words(simulation) AS known),
	flips AS MATERIALIZED (SELECT f.* FROM policy.report_flips(simulation.simulation_id, rows) f)
	SELECT CASE WHEN NOT EXISTS (SELECT FROM flips) THEN '<p>No job is decided otherwise.</p>' ELSE concat_ws(E'\n',
		'<div class="scroll" role="region" aria-label="Table of jobs decided otherwise" tabindex="0"><table class="jobs">',
		'<caption>Loosened jobs first, and of each kind of change one before the next of any</caption>',
		'<thead><tr><th scope="col">Job</th><th scope="col">Base says</th><th scope="col">Candidate says</th>'
			'<th scope="col">Its fields</th></tr></thead><tbody>',
		(SELECT string_agg(format('<tr><th scope="row"><span class="%s">%s</span> <span class="soft">(%s)</span><br />topic %s<br />'
					'<span class="soft">tenant %s, actor %s<br />%s, at %s</span></th>%s%s<td>%s</td></tr>',
				CASE f.kind WHEN 'loosened' THEN 'fails' ELSE 'soft' END, policy.html(f.kind), policy.html(f.why),
				policy.html(coalesce(f.topic, 'unknown')), policy.html(coalesce(f.tenant_id, 'unknown')),
				policy.html(coalesce(f.actor_id, 'unknown')), policy.html(f.source), policy.moment(f.evaluated_at),
				policy.report_side(f.from_decision, f.from_by, f.from_reason, f.from_bounds),
				policy.report_side(f.to_decision, f.to_by, f.to_reason, f.to_bounds),
				CASE WHEN f.gone THEN 'Its evidence is gone.' ELSE coalesce((
					SELECT format('<ul>%s</ul>', string_agg(format('<li><code>%s: %s</code></li>',
						policy.html(p.field), policy.html(p.value)), ''))
					FROM words w CROSS JOIN LATERAL policy.report_fields(f.job, w.known) p HAVING count(*) > 0),
					'No others.') END), E'\n' ORDER BY f.place)
			FROM flips f),
		'</tbody></table></div>',
		(SELECT format('<p>%s more flips are left out: SELECT * FROM policy.simulation_flips WHERE simulation_id = %s</p>',
				policy.number(simulation.flips - count(*)), simulation.simulation_id)
			FROM flips HAVING simulation.flips > count(*))) END
$$;
COMMENT ON FUNCTION policy.report_html_flips(policy.simulations, integer) IS
	'Of the page: so many of the jobs that are decided otherwise, and how many are left out.';

CREATE FUNCTION policy.report_html_coverage(simulation policy.simulations) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT concat_ws(E'\n',
		format('<p>%s of %s jobs were replayed. %s</p>', policy.number(simulation.replayed), policy.number(simulation.jobs),
			CASE WHEN simulation.jobs > simulation.replayed
				THEN 'Nothing is said of the others: what cannot be known is not guessed.' ELSE 'None was left out.' END),
		(SELECT format('<table><caption>Jobs that could not be replayed</caption><thead><tr><th scope="col">Why</th>'
				'<th scope="col">Jobs</th></tr></thead><tbody>%s</tbody></table>',
				string_agg(format('<tr><th scope="row" class="text">%s</th><td class="count">%s</td></tr>',
					policy.html(u.reason), policy.number(u.jobs)), ''))
			FROM policy.report_uncovered(simulation) u HAVING count(*) > 0))
$$;
COMMENT ON FUNCTION policy.report_html_coverage(policy.simulations) IS
	'Of the page: how many jobs were replayed, and why others were not.';

CREATE FUNCTION policy_report(simulation_id bigint) RETURNS text
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	simulation policy.simulations := policy.reported(policy_report.simulation_id);
	title text := format('Impact of %s on %s', policy.clipped(simulation.snapshot, 100), policy.report_base(simulation));
BEGIN
	RETURN concat_ws(E'\n',
		policy.report_head(title),
		'<body>', '<a class="skip" href="#content">Skip to the verdict</a>',
		format('<header><h1>%s</h1><p class="soft">%s</p></header>', policy.html(title), policy.html(policy.report_summary(simulation))),
		'<main id="content" tabindex="-1">',
		policy.report_html_verdict(simulation),
		'<section aria-labelledby="changes"><h2 id="changes">From what to what</h2>',
		policy.report_html_matrix(simulation.matrix, 'Jobs by what the base says now (rows) and what the candidate says (columns)'),
		'<details><summary>Compared with what was decided then</summary>',
		policy.report_html_matrix(simulation.matrix_then, 'Jobs by what was recorded then (rows) and what the candidate says (columns)'),
		'</details></section>',
		'<section aria-labelledby="rules"><h2 id="rules">By rule</h2>', policy.report_html_rules(simulation), '</section>',
		'<section aria-labelledby="jobs"><h2 id="jobs">Jobs decided otherwise</h2>', policy.report_html_flips(simulation, 200), '</section>',
		'<section aria-labelledby="coverage"><h2 id="coverage">Coverage</h2>', policy.report_html_coverage(simulation), '</section>',
		'</main>',
		'<footer><h2>What was replayed</h2>',
		(SELECT format('<dl class="facts">%s</dl>', string_agg(format('<div><dt>%s</dt><dd>%s</dd></div>',
			policy.html(o.fact), policy.html(o.value)), '')) FROM policy.report_origin(simulation) o),
		format('<p class="soft">Made by policy_engine at %s. Evidence masks apply.</p></footer>', policy.moment(statement_timestamp())),
		'</body>', '</html>');
END
$$;
COMMENT ON FUNCTION policy_report(bigint) IS
	'A simulation as one self-contained HTML page, which loads and runs nothing: verdict, matrix, rules, at most 200 flips (loosened first), coverage. Jobs are shown as evidence has them, masked. Raises invalid_parameter_value for NULL, no_data_found for an unknown simulation.';
