# Medians of interleaved runs, and what is kept of them.

package Measure;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(median interleaved paired keep_row keep_skipped keep_series rows series missed say_now);

my (@rows, @series);

sub rows { return \@rows; }
sub series { return \@series; }
sub missed { return grep { exists $_->{met} && !$_->{met} } @rows; }

sub say_now
{
	local $| = 1;
	print @_, "\n";
	return;
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	my $middle = int(@sorted / 2);

	die "no figure\n" if !@sorted;
	return @sorted % 2 ? $sorted[$middle] : ($sorted[ $middle - 1 ] + $sorted[$middle]) / 2;
}

# The median of each variant's figure over the rounds; who goes first changes from
# round to round, so that none always has the warm caches of the same neighbour.
#
#	variants	name => function, ...
sub interleaved
{
	my ($rounds, @variants) = @_;
	my (@order, %runs, %figures);

	while (my ($name, $run) = splice @variants, 0, 2)
	{
		push @order, $name;
		$figures{$name} = $run;
	}
	for (1 .. $rounds)
	{
		push @{ $runs{$_} }, $figures{$_}->() for @order;
		push @order, shift @order;
	}
	return map { $_ => median(@{ $runs{$_} }) } keys %runs;
}

# Two variants by turns, the pairs close together: the median of what each pair has of
# the first one's figure to the second's, and the figures' own.  What else the machine
# does for longer than a pair weighs on both of its figures.
#
#	variants	name => function, ... two of them
sub paired
{
	my ($rounds, @variants) = @_;
	my @names = @variants[ 0, 2 ];
	my %measure = @variants;
	my (@ratios, %figures);

	for my $round (1 .. $rounds)
	{
		my %pair = map { $_ => $measure{$_}->() } $round % 2 ? @names : reverse @names;

		push @ratios, $pair{ $names[0] } / $pair{ $names[1] };
		push @{ $figures{$_} }, $pair{$_} for @names;
	}
	return median(@ratios), map { $_ => median(@{ $figures{$_} }) } @names;
}

# One line of the result.
#
#	what	the sentence
#	value	the figure; unit: what it is of (ratio by default)
#	bar		what it must reach, and sense: '<=' or '>='; none: for information
#	detail	name => text, what the figure was made of
sub keep_row
{
	my (%row) = @_;

	if (defined $row{bar})
	{
		$row{met} = $row{sense} eq '<=' ? $row{value} <= $row{bar} : $row{value} >= $row{bar};
		$row{met} = $row{met} ? 1 : 0;
	}
	push @rows, \%row;
	say_now(
		sprintf '%-7s %-62s %9s %-9s %s',
		!defined $row{bar} ? '' : $row{met} ? 'ok' : 'MISSED',
		$row{what}, sprintf($row{value} >= 100 ? '%.0f' : '%.3g', $row{value}), $row{unit} // '',
		defined $row{bar} ? "bar $row{sense} $row{bar}" : '');
	say_now('        ' . join ', ', map { "$_ $row{detail}{$_}" } sort keys %{ $row{detail} })
	  if $row{detail};
	return;
}

# What could not be measured: never silently.
sub keep_skipped
{
	my ($what, $why) = @_;

	push @rows, { what => $what, skipped => $why };
	say_now("SKIPPED $what: $why");
	return;
}

# Points for a plot.
#
#	name, title, x, y	texts; lines: [name, [[x, y], ...]], ...
sub keep_series
{
	my (%series) = @_;

	push @series, \%series;
	say_now("        $series{title} ($series{y})");
	for my $line (@{ $series{lines} })
	{
		say_now('        ' . $line->[0] . ': ' . join ', ',
			map { sprintf '%s: %.3g', @$_ } @{ $line->[1] });
	}
	return;
}

1;
