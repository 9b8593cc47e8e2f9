# internet.pl ADDRESS: the fake internet's DNS server.
use strict;
use warnings;
use IO::Socket::INET;

my %addresses = ('www.example' => '198.51.100.2', 'evil.example' => '127.0.0.1',
    'inside.example' => '172.30.0.2');
my $socket = IO::Socket::INET->new(LocalAddr => $ARGV[0], LocalPort => 53, Proto => 'udp')
    or die "no socket: $!\n";
while (defined $socket->recv(my $asked, 4096)) {
    my ($at, @labels) = (12);
    while ((my $length = ord substr($asked, $at, 1)) > 0) {
        push @labels, lc substr($asked, $at + 1, $length);
        $at += 1 + $length;
    }
    my $question = substr($asked, 12, $at + 5 - 12);
    my $address = $addresses{join('.', @labels)};
    my $wanted = defined $address && unpack('n', substr($asked, $at + 1, 2)) == 1;
    my $answer = substr($asked, 0, 2);
    $answer .= pack('n5', defined $address ? 0x8180 : 0x8183, 1, $wanted ? 1 : 0, 0, 0);
    $answer .= $question;
    $answer .= pack('nnnNnC4', 0xc00c, 1, 1, 60, 4, split(/\./, $address)) if $wanted;
    $socket->send($answer);
}
