# policy_report of a real simulation, in a browser: it is shown as it is styled, runs
# nothing, loads nothing, and axe-core finds no fault in it, light or dark or narrow.
#
# Needs Chromium, and for axe-core npm and its registry; what is out of reach is
# skipped, and said so.  CHROMIUM names the browser, AXE_CORE the file axe.min.js.
# The page and its screenshots are left in the test's directory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use IPC::Run;
use PolicyNode qw(start_policy_node);
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

my $node = start_policy_node('report');
my $place = $node->basedir . '/pages';
mkdir $place or die "$place: $!";

# Says what did not run where nobody overlooks it, and why.
sub skip_loudly
{
	my ($why, $tests) = @_;

	diag("SKIPPED: $why");
	skip($why, $tests);
	return;
}

sub program
{
	my @names = @_;

	for my $name (grep { defined } @names)
	{
		return $name if $name =~ m{/} && -x $name;
		for my $directory (split /:/, $ENV{PATH})
		{
			return "$directory/$name" if -x "$directory/$name";
		}
	}
	return;
}

sub write_page
{
	my ($name, $html) = @_;

	open my $file, '>:raw', "$place/$name.html" or die "$place/$name.html: $!";
	print $file $html;
	close $file or die "$place/$name.html: $!";
	return "file://$place/$name.html";
}

#
# A history with what is hostile in it, replayed
#
my $hostile = q{<script>document.title = 'owned'</script><img src=x onerror="document.title='owned'">};
$node->safe_psql('postgres', <<"SQL");
SELECT policy_stage('v41', 'version: v1
evidence: {mask: ["\$.payload.password"]}
defaults: {decision: deny}
rules:
  - {id: read, match: {topics: ["read.*"]}, decision: allow}
  - {id: write, match: {topics: ["write.*"]}, decision: deny, reason: "no writing"}', NULL);
SELECT policy_stage('v42', 'version: v1
evidence: {mask: ["\$.payload.password"]}
defaults: {decision: deny}
rules:
  - {id: read, match: {topics: ["read.*"]}, decision: require_approval}
  - {id: write, match: {topics: ["write.*"], when: "\$.payload.amount < 5"}, decision: allow}', NULL);
SELECT policy_publish('v41', NULL);
INSERT INTO policy.jobs (topic, tenant_id, actor_id, payload)
	SELECT t.topic, \$h\$acme $hostile\$h\$, E'b\\u202Eot',
		jsonb_build_object('amount', i, 'password', 'hunter2', 'evil', \$h\$</td></style>$hostile\$h\$)
	FROM generate_series(1, 60) i, (VALUES ('read.file'), (\$h\$write.$hostile\$h\$)) t(topic);
SELECT policy_replay('v42');
SQL

my $page = $node->safe_psql('postgres', 'SELECT policy_report(max(simulation_id)) FROM policy.simulations');
my $text = $node->safe_psql('postgres', 'SELECT policy_report_text(max(simulation_id)) FROM policy.simulations');

like($page, qr{</span> The gate fails: v42 must not be published as it is\.</p>}, 'a real simulation has its page, with the gate\'s verdict');
like($page, qr{payload\.amount: 1<.*payload\.password: \*\*\*<}s, 'with the jobs\' fields, masked');
unlike($page, qr/<script|<img/i, 'and no markup of a job\'s');
unlike("$page$text", qr/hunter2/, 'nor anything that is masked');
like($text, qr/^FAILED\. The gate fails/m, 'and its text');

#
# In a browser
#
my $browser = program($ENV{CHROMIUM}, 'chromium', 'chromium-browser', 'google-chrome');

# Runs the browser on a page; returns what it printed, and what it said besides.
sub browse
{
	my ($url, @options) = @_;
	my ($printed, $said) = ('', '');

	IPC::Run::run(
		[
			$browser, '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
			'--hide-scrollbars', "--user-data-dir=$place/browser", '--enable-logging=stderr',
			'--virtual-time-budget=20000', @options, $url
		],
		'<', \'', '>', \$printed, '2>', \$said, IPC::Run::timeout(180)) or die "$browser failed: $said";
	utf8::decode($printed);
	return ($printed, $said);
}

# How a page looks: a PNG's size.
sub screenshot
{
	my ($name, $url, $width, $height) = @_;
	my (undef, $said) = browse($url, "--screenshot=$place/$name.png", "--window-size=$width,$height");
	my $image = slurp_file("$place/$name.png");

	return ($said, unpack 'x16NN', $image);
}

sub refused { return scalar(() = $_[0] =~ /Content Security Policy|Refused to/g); }

SKIP:
{
	skip_loudly('there is no Chromium (Debian: apt-get install chromium): the report was not looked at in a browser', 5) if !$browser;
	local $ENV{HOME} = $place;
	my $url = write_page('impact', "$page\n");

	my ($said, $width, $height) = screenshot('impact', $url, 1280, 2400);
	is("${width}x$height", '1280x2400', "the page is drawn (see $place/impact.png)");
	is(refused($said), 0, 'its own style is let in by its own policy');

	# The checks would see what they look for: a page with more in it than there may be.
	my $worse = $page =~ s{</body>}{<script>document.title = 'owned'</script><style>p { color: red }</style></body>}r;
	(my $dom, $said) = browse(write_page('worse', $worse), '--dump-dom');
	cmp_ok(refused($said), '>=', 2, 'were a script or a style put into it, the browser would refuse both');
	unlike($dom, qr{<title>owned}, 'and not run it');

	($dom) = browse($url, '--dump-dom');
	like($dom, qr{<title>Impact of v42 on v41 \(release 1\)</title>}, 'what is hostile in it does not run');
}

#
# Accessible
#
sub axe_core
{
	return $ENV{AXE_CORE} if $ENV{AXE_CORE} && -r $ENV{AXE_CORE};
	my $npm = program('npm') or return;
	my ($said, $file) = ('', "$place/node_modules/axe-core/axe.min.js");

	# A registry that cannot be reached is given up soon.
	IPC::Run::run(
		[
			$npm, 'install', '--prefix', $place, '--cache', "$place/npm", '--ignore-scripts', '--no-audit', '--no-fund',
			'--fetch-retries=0', '--fetch-timeout=30000', 'axe-core@4.14.1'
		],
		'<', \'', '>&', \$said, IPC::Run::timeout(120));
	return -r $file ? $file : undef;
}

# What axe-core finds: a copy of the page in which it may run says it in its title.
# What it cannot tell counts as well, but on a narrow page, where it cannot tell the
# contrast of what is scrolled out of sight.
sub faults
{
	my ($name, $html, $axe, $width) = @_;
	my $check = q{<script>axe.run(document).then(r => { document.title = 'axe: ' + r.passes.length + ' passed; '
		+ r.violations.concat(r.incomplete.filter(v => innerWidth > 1000)).map(v => v.id + ' ' + v.nodes.map(n => n.target.join(' ')).slice(0, 3).join(', ')).join('; '); });</script>};

	$html =~ s{<meta http-equiv="Content-Security-Policy"[^>]*>}{} or die 'the page has no policy';
	$html =~ s{<details>}{<details open="open">}g;
	$html =~ s{</body>}{<script>$axe</script>$check</body>};
	my ($dom) = browse(write_page($name, $html), '--dump-dom', "--window-size=$width,2400");
	my ($found) = $dom =~ m{<title>axe: \d+ passed; (.*?)</title>}s;
	return $found // 'axe-core did not run';
}

SKIP:
{
	skip_loudly('there is no Chromium: the report\'s accessibility was not checked', 4) if !$browser;
	local $ENV{HOME} = $place;
	my $file = eval { axe_core() };
	skip_loudly('axe-core is out of reach (it is fetched with npm; AXE_CORE names a copy): the report\'s accessibility was not checked', 4) if !$file;
	my $axe = slurp_file($file);
	my $dark = $page =~ s{\@media \(prefers-color-scheme: dark\)}{\@media all}r;

	is(faults('light', $page, $axe, 1280), '', 'axe-core finds no fault in the page');
	is(faults('dark', $dark, $axe, 1280), '', 'nor in its dark form');
	is(faults('narrow', $page, $axe, 500), '', 'nor on a narrow screen');
	like(faults('faulty', $page =~ s{--ink: #1b1f24}{--ink: #d0d0d0}r =~ s{<html lang="en">}{<html>}r, $axe, 1280),
		qr/color-contrast.*html-has-lang|html-has-lang.*color-contrast/s, 'and would find some, were there any');
}

done_testing();
