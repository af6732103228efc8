# A server that forks for each client, reaps in its handler, restarts who dies, and ends with its group.
use strict;
use warnings;
use IO::Socket::UNIX;
use POSIX qw(:sys_wait_h :signal_h setpgid);

# Perl's smallest installation has no finer sleep.
sub nap { select undef, undef, undef, 0.01 }

my $directory = `mktemp -d /tmp/pod-script-XXXXXX`;
chomp $directory;
my $path = "$directory/socket";
my $owner = $$;
END { system 'rm', '-rf', $directory if $directory && $$ == $owner }
$SIG{ALRM} = sub { die "too slow" };
alarm 50;

my $server = fork // die;
if ($server == 0) {
  setpgid 0, 0;
  my $listener = IO::Socket::UNIX->new(Local => "$path.new", Listen => 16) or die $!;
  rename "$path.new", $path or die $!;
  my %children;
  my $reaped = 0;
  $SIG{CHLD} = sub {
    local ($!, $?);
    while ((my $pid = waitpid -1, WNOHANG) > 0) {
      $reaped++;
      delete $children{$pid} or $children{$pid} = 'early';
    }
  };
  $SIG{TERM} = sub { exit(keys %children ? 3 : $reaped) };
  while (1) {
    my $client = $listener->accept or next;
    my $pid = fork // die;
    if ($pid == 0) {
      $SIG{CHLD} = $SIG{TERM} = 'DEFAULT';
      my $line = <$client>;
      print $client "$$ ", getppid, " ", getpgrp, "\n";
      close $client;
      kill 'KILL', $$ if $line =~ /die/;
      exit 0;
    }
    if (($children{$pid} // '') eq 'early') { delete $children{$pid} } else { $children{$pid} = 1 }
    close $client;
  }
}
nap until -S $path;
sub ask {
  my $client = IO::Socket::UNIX->new(Peer => $path) or die $!;
  print $client "$_[0]\n";
  return <$client>;
}
my %seen;
for my $i (1 .. 30) {
  my ($pid, $parent, $group) = split ' ', ask($i % 5 ? 'live' : 'die');
  die "parent $parent" unless $parent == $server;
  die "group $group" unless $group == $server;
  die "number $pid" if $pid == $server || $pid == $$;
  $seen{$pid} = 1;
}
# All children are reaped before it is asked to end.
for my $pid (keys %seen) { nap while kill 0, $pid }
kill 'TERM', $server;
waitpid $server, 0;
die "the server ended with $?" unless $? == 30 << 8;

# Children that nobody waits for.
$SIG{CHLD} = 'IGNORE';
my @ignored = map { my $pid = fork // die; exec 'true' unless $pid; $pid } 1 .. 10;
die "waited for $?" unless waitpid(-1, 0) == -1;
kill(0, $_) && die "$_ is still there" for @ignored;
die "system: $?" unless system('true') == -1 || $? == -1;
$SIG{CHLD} = 'DEFAULT';

# A pipe from a child, and the sender's number in a signal's information.
open my $pipe, '-|', 'echo $PPID' or die;
die "a pipe's parent" unless <$pipe> == $$;
close $pipe or die;
my $sender;
sigaction SIGUSR1, POSIX::SigAction->new(sub { $sender = $_[1]{pid} }, POSIX::SigSet->new, POSIX::SA_SIGINFO);
my $child = fork // die;
if ($child == 0) { kill 'USR1', $owner; exit 0 }
nap until $sender;
die "sender $sender" unless $sender == $child;
waitpid $child, 0;
print "fine\n";
