# helper.pl MAJOR MINOR [OPERATION]: what the helper answers to a daemon that
# speaks this version of the protocol, on one line.
use strict;
use warnings;
use IO::Socket::UNIX;

my ($major, $minor, $operation) = @ARGV;
my $socket = IO::Socket::UNIX->new(Peer => '/run/banger/helper.sock') or die "no helper: $!\n";
my @requests = qq({"op":"hello","version":{"major":$major,"minor":$minor}});
push @requests, qq({"op":"$operation"}) if defined $operation;
print $socket map { pack('N/a', $_) } @requests;
$socket->flush;
$socket->shutdown(1);
local $/;
(my $answers = <$socket>) =~ tr/ -~//cd;
print "$answers\n";
