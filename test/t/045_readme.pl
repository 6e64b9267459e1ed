# README.md, top to bottom: each block of SQL prints what the block after it says.

use strict;
use warnings;

use FindBin;
use Cwd qw(abs_path);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = abs_path("$FindBin::RealBin/../..");
my $script = "\\pset null '(null)'\n\\set SHOW_CONTEXT never\nSET timezone = 'UTC';\n";
my (@blocks, @examples, %printed, $part);

# What differs from one run to the next, and what an editor takes away, is the same.
sub comparable
{
	my ($text) = @_;

	$text =~ s/process with PID \d+/process with PID 0/g;
	return join "\n", grep { length } map { s/\s+$//r } split /\n/, $text;
}

sub readme_blocks
{
	my $text = slurp_file("$root/README.md");

	push @blocks, { language => $1, text => $2, line => 1 + (substr($text, 0, $-[0]) =~ tr/\n//) }
		while $text =~ /^```(\w*)\n(.*?)^```$/gms;
	return;
}

readme_blocks();
for my $number (0 .. $#blocks)
{
	my ($block, $after) = @blocks[ $number, $number + 1 ];

	# Other extensions' functions, and the taste at the top, ahead of any policy, are to be read.
	next if $block->{language} ne 'sql' || $block->{text} =~ /\bcron\./ || $block->{line} < 30;
	$script .= "\\echo <$block->{line}>\n$block->{text}";
	push @examples, [ $block->{line}, $after->{text} ] if $after && $after->{language} eq '';
}

my $node = PostgreSQL::Test::Cluster->new('readme');
my $out;

$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', 'policy_engine.require_simulation = on');
$node->start;
chdir $root or die "$root: $!";
ok( run_log([ 'psql', '-X', '-q', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$out, '2>&1'),
	'psql runs the examples to their end');

(undef, my @parts) = split /^<(\d+)>\n/m, $out;
%printed = @parts;
cmp_ok(scalar @examples, '>', 40, 'the examples were found');
for my $example (@examples)
{
	my ($line, $expected) = @$example;

	is(comparable($printed{$line} // ''), comparable($expected), "line $line prints what it says");
}

$node->stop;
done_testing();
