# One psql that stays connected: for transactions that are held open, waits, and
# backends that are killed.
#
#	my $session = PolicySession->new($node);
#	my $output = $session->ask('BEGIN; SELECT 1');	# waits for the answer
#	$session->send('SELECT pg_advisory_lock(1)');	# does not
#	$output = $session->answer;						# ... until here
#	$session->finish;

package PolicySession;

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;

my $seconds = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180;

sub new
{
	my ($class, $node, $database) = @_;
	my $self = bless { in => '', out => '', err => '', asked => 0 }, $class;

	$self->{psql} = IPC::Run::start(
		[
			$node->installed_command('psql'), '-XAtq', '-v', 'VERBOSITY=verbose',
			'-d', $node->connstr($database // 'postgres'), '-f', '-'
		],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err},
		IPC::Run::timer($seconds));
	$self->{pid} = $self->ask('SELECT pg_backend_pid()');
	return $self;
}

# The backend's process id.
sub pid
{
	my ($self) = @_;
	return $self->{pid};
}

sub send
{
	my ($self, $sql) = @_;

	$self->{asked}++;
	$self->{in} .= "$sql;\n\\echo answer $self->{asked}\n\\warn answer $self->{asked}\n";
	$self->{psql}->pump_nb;
	return;
}

# What the statements sent last gave, errors after the rows.
sub answer
{
	my ($self) = @_;
	my $mark = qr/^answer $self->{asked}\n/m;

	$self->{psql}->pump until $self->{out} =~ $mark && $self->{err} =~ $mark;
	my $answer = join '', map { (split $mark, $_)[0] // '' } $self->{out}, $self->{err};
	$self->{out} = $self->{err} = '';
	chomp $answer;
	return $answer;
}

sub ask
{
	my ($self, $sql) = @_;

	$self->send($sql);
	return $self->answer;
}

# Ends, or finds that its backend has ended.
sub finish
{
	my ($self) = @_;

	$self->{in} .= "\\q\n";
	eval { $self->{psql}->finish; };
	return;
}

1;
