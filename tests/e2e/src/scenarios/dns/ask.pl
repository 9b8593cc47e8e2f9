# ask.pl SERVER NAME TYPE: prints the code and the addresses of the answer.
use strict;
use warnings;
use IO::Socket::INET;

my ($server, $name, $type) = @ARGV;
my %types = (A => 1, SOA => 6, PTR => 12, AAAA => 28);
my %codes = (0 => 'NOERROR', 2 => 'SERVFAIL', 3 => 'NXDOMAIN', 5 => 'REFUSED');
my $socket = IO::Socket::INET->new(PeerAddr => $server, PeerPort => 53, Proto => 'udp')
    or die "no socket: $!\n";
my $question = join('', map { pack('C/a', $_) } split(/\./, $name));
$question .= "\0" . pack('nn', $types{$type}, 1);
$socket->send(pack('n6', 4711, 0x0100, 1, 0, 0, 0) . $question) or die "not sent: $!\n";
local $SIG{ALRM} = sub { die "no answer\n" };
alarm 6;
defined $socket->recv(my $answer, 4096) or die "no answer: $!\n";
my (undef, $flags, undef, $answers) = unpack('n4', $answer);
my @found = $codes{$flags & 15} // $flags & 15;
my $at = 12 + length $question;
for (1 .. $answers) {
    while ((my $length = ord substr($answer, $at, 1)) > 0) {
        if ($length >= 0xc0) { $at++; last }
        $at += 1 + $length;
    }
    my ($kind, undef, undef, $length) = unpack('nnNn', substr($answer, ++$at, 10));
    push @found, join('.', unpack('C4', substr($answer, $at + 10, 4))) if $kind == 1;
    $at += 10 + $length;
}
print "@found\n";
