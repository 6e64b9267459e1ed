# One psql that stays connected, and what it measures.  An error of the server's
# ends everything: no figure is worth anything after it.

package BenchSession;

use strict;
use warnings;

use IPC::Open2 ();

my $mark = 'end of answer';

sub new
{
	my ($class, $database) = @_;
	my $self = bless { database => $database // 'postgres' }, $class;

	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
	$self->{pid} = IPC::Open2::open2($self->{out}, $self->{in},
		'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $self->{database}, '-f', '-');
	binmode $self->{$_}, ':encoding(UTF-8)' for qw(in out);
	$self->{in}->autoflush(1);
	return $self;
}

# What psql prints for commands of its own and statements that end in semicolons.
sub commands
{
	my ($self, $commands) = @_;
	my @lines;

	print { $self->{in} } "$commands\n\\echo $mark\n";
	while (defined(my $line = readline $self->{out}))
	{
		chomp $line;
		return @lines if $line eq $mark;
		push @lines, $line;
	}
	die "psql has ended, asked: " . substr($commands, 0, 300) . "\n";
}

# The rows of the last statement, as psql prints them unaligned.
sub ask
{
	my ($self, $sql) = @_;

	return $self->commands("$sql;");
}

# Milliseconds that one statement took, as the client sees it.
sub client_ms
{
	my ($self, $sql) = @_;
	my @lines = $self->commands("\\timing on\n$sql;\n\\timing off");

	$lines[-1] =~ /^Time: ([\d.]+) ms/ or die "no time in: $lines[-1]\n";
	return $1;
}

# Milliseconds of a query's execution in the server, and its plan.
sub server_ms
{
	my ($self, $sql) = @_;
	my $plan = join "\n", $self->ask("EXPLAIN (ANALYZE, TIMING OFF) $sql");

	$plan =~ /^Execution Time: ([\d.]+) ms/m or die "no time in: $plan\n";
	return wantarray ? ($1, $plan) : $1;
}

sub finish
{
	my ($self) = @_;

	close $self->{in};
	waitpid $self->{pid}, 0;
	return;
}

# The first of the processors that may be used.
sub _processor
{
	open my $status, '<', '/proc/self/status' or die "/proc/self/status: $!\n";
	my ($first) = map { /^Cpus_allowed_list:\s*(\d+)/ ? $1 : () } <$status>;
	return $first;
}

# Has the servers of sessions that are compared run on one processor: what disturbs it
# meets them alike, and a slower one none alone.
sub share_processor
{
	my $processor = _processor();

	for my $session (@_)
	{
		my ($pid) = $session->ask('SELECT pg_backend_pid()');

		`taskset -cp $processor $pid`;
		die "taskset failed\n" if $?;
	}
	return;
}

# A text as a literal of SQL.
sub literal
{
	my ($text) = @_;

	return "'" . ($text =~ s/'/''/gr) . "'";
}

1;
