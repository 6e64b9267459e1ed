# Line plots as SVG, both axes logarithmic.

package Plot;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(plot);

my ($width, $height) = (760, 440);
my %margin = (left => 70, right => 190, top => 44, bottom => 56);
my @colours = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#555555');

sub _escape
{
	my ($text) = @_;

	$text =~ s/&/&amp;/g;
	$text =~ s/</&lt;/g;
	return $text;
}

sub _log { return log($_[0]) / log(10); }

sub _floor { return int($_[0]) - ($_[0] < int($_[0]) ? 1 : 0); }

# The powers of ten around values, as exponents.
sub _decades
{
	my (@values) = @_;
	my @sorted = sort { $a <=> $b } @values;
	my $low = _floor(_log($sorted[0]));
	my $high = -_floor(-_log($sorted[-1]));

	return ($low, $high > $low ? $high : $low + 1);
}

# A function from a value to a place between two pixels.
sub _scale
{
	my ($low, $high, $from, $to) = @_;

	return sub { return $from + (_log($_[0]) - $low) / ($high - $low) * ($to - $from); };
}

sub _label
{
	my ($value) = @_;

	return $value >= 1 ? ($value =~ s/(?<=\d)(?=(\d{3})+\z)/,/gr) : $value;
}

sub _text
{
	my ($x, $y, $anchor, $text, $more) = @_;

	return sprintf qq(<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>\n),
	  $x, $y, $anchor, $more // '', _escape($text);
}

sub _grid
{
	my ($x, $y, $xs, $ys) = @_;
	my $bottom = $height - $margin{bottom};
	my $right = $width - $margin{right};
	my $svg = '';

	for my $value (@$xs)
	{
		my $at = $x->($value);

		$svg .= sprintf qq(<path d="M%.1f %d V%d" class="grid"/>\n), $at, $margin{top}, $bottom;
		$svg .= _text($at, $bottom + 18, 'middle', _label($value));
	}
	for my $value (@$ys)
	{
		my $at = $y->($value);

		$svg .= sprintf qq(<path d="M%d %.1f H%d" class="grid"/>\n), $margin{left}, $at, $right;
		$svg .= _text($margin{left} - 8, $at + 4, 'end', _label($value));
	}
	return $svg;
}

# The lines' names stand at their ends, apart from each other.
sub _names
{
	my (@ends) = @_;
	my $svg = '';
	my $last = 0;

	for my $end (sort { $a->{y} <=> $b->{y} } @ends)
	{
		my $y = $end->{y} + 4;

		$y = $last + 15 if $y < $last + 15;
		$last = $y;
		$svg .= _text($end->{x} + 9, $y, 'start', $end->{name}, qq( fill="$end->{colour}"));
	}
	return $svg;
}

# One SVG.
#
#	title, x, y		texts
#	lines			[name, [[x, y], ...]], ...
sub plot
{
	my (%plot) = @_;
	my @points = map { @{ $_->[1] } } @{ $plot{lines} };
	my ($xlow, $xhigh) = map { _log($_) } (sort { $a <=> $b } map { $_->[0] } @points)[ 0, -1 ];
	my ($ylow, $yhigh) = _decades(map { $_->[1] } @points);
	my $x = _scale($xlow, $xhigh, $margin{left}, $width - $margin{right});
	my $y = _scale($ylow, $yhigh, $height - $margin{bottom}, $margin{top});
	my %xs = map { $_->[0] => 1 } @points;
	my ($svg, @ends, @palette) = ('');

	$svg .= qq(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $width $height" font-family="sans-serif" font-size="12">\n);
	$svg .= qq(<style>.grid { stroke: #ddd }</style>\n);
	$svg .= qq(<rect width="$width" height="$height" fill="#fff"/>\n);
	$svg .= _text($margin{left}, 24, 'start', $plot{title}, ' font-size="15" font-weight="bold"');
	$svg .= _grid($x, $y, [ sort { $a <=> $b } keys %xs ], [ map { 10**$_ } $ylow .. $yhigh ]);
	$svg .= _text(($margin{left} + $width - $margin{right}) / 2, $height - 14, 'middle', $plot{x});
	$svg .= _text(16, $height / 2, 'middle', $plot{y}, sprintf ' transform="rotate(-90 16 %d)"', $height / 2);
	@palette = @colours;
	for my $line (@{ $plot{lines} })
	{
		my $colour = shift @palette;
		my @at = map { [ $x->($_->[0]), $y->($_->[1]) ] } @{ $line->[1] };

		push @palette, $colour;
		$svg .= sprintf qq(<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>\n),
		  join(' ', map { sprintf '%.1f,%.1f', @$_ } @at), $colour;
		$svg .= sprintf qq(<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>\n), @$_, $colour for @at;
		push @ends, { x => $at[-1][0], y => $at[-1][1], name => $line->[0], colour => $colour };
	}
	return $svg . _names(@ends) . "</svg>\n";
}

1;
