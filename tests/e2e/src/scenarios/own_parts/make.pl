#!/usr/bin/perl
# make.pl DIRECTORY VMLINUX: makes the parts of an image of one's own.
#
# VMLINUX is the host's own kernel, an ELF. What is made of it says that it is
# another one (6.1.0-1-owner-amd64), so that it is known by its name in a guest:
#
#   vmlinux, vmlinuz   the kernel as an ELF, and as a bzImage
#   modules            what banger needs of that kernel's modules, and one more
#   initrd             says on the console what kernel it runs on, and stays
use strict;
use warnings;
use File::Basename;
use File::Path;

my ($own, $unpacked) = @ARGV;
chomp(my $release = `uname -r`);
(my $named = $release) =~ s/-cloud-/-owner-/ or die "the host's kernel is $release\n";

sub content {
    my ($path) = @_;
    local $/;
    open my $file, '<:raw', $path or die "$path: $!\n";
    return scalar <$file>;
}

sub put {
    my ($path, $content) = @_;
    mkpath(dirname($path));
    open my $file, '>:raw', $path or die "$path: $!\n";
    print $file $content or die "$path: $!\n";
    close $file or die "$path: $!\n";
}

# Both names have the same length, so that nothing moves.
sub named {
    my ($path, $content) = @_;
    $content =~ s/\Q$release\E/$named/g or die "$path doesn't say $release\n";
    return $content;
}

put("$own/vmlinux", named($unpacked, content($unpacked)));

# A boot sector that says where the compressed kernel is and how long
# (Documentation/arch/x86/boot.rst), and that kernel; gzip ends with the length
# of what it holds.
my $image = content("/boot/vmlinuz-$release");
my $sectors = (ord(substr $image, 0x1f1, 1) || 4) + 1;
my $head = substr $image, 0, $sectors * 512 + unpack 'V', substr $image, 0x248, 4;
my $packed = `gzip -1 < $own/vmlinux`;
substr($head, 0x24c, 4) = pack 'V', length $packed;
put("$own/vmlinuz", named('the boot sector', $head) . $packed);

my $from = "/lib/modules/$release";
my (%line, %path);
for (split /\n/, content("$from/modules.dep")) {
    my ($path, $needs) = /^(.*?):\s*(.*)$/ or next;
    my $name = basename($path, '.ko') =~ tr/-/_/r;
    ($path{$name}, $line{$name}) = ($path, $needs);
}
my @wanted = qw(virtio_mmio virtio_blk virtio_net vmw_vsock_virtio_transport ext4 crc32c_generic);
my %taken;
my $dep = '';
for my $name (grep { $path{$_} } @wanted) {
    # Nobody needs ts_kmp: it is loaded for the sake of this line alone.
    $line{$name} .= " $path{ts_kmp}" if $name eq 'virtio_blk';
    $dep .= "$path{$name}: $line{$name}\n";
    $taken{$_} = 1 for $path{$name}, split ' ', $line{$name};
}
for my $path (keys %taken) {
    my $module = named($path, content("$from/$path"));
    # A signature is of other bytes now, and the kernel takes none before a wrong one
    # (Documentation/admin-guide/module-signing.rst).
    my $mark = "~Module signature appended~\n";
    if (substr($module, -length $mark) eq $mark) {
        my $length = unpack 'N', substr $module, -4 - length $mark, 4;
        substr($module, -$length - 12 - length $mark) = '';
    }
    put("$own/modules/$path", $module);
}
put("$own/modules/modules.dep", $dep);
put("$own/modules/modules.builtin", content("$from/modules.builtin"));

put("$own/tree/busybox", content('/bin/busybox'));
put("$own/tree/init", <<'INIT');
#!/busybox sh
/busybox mkdir -p /dev
/busybox mount -t devtmpfs dev /dev
echo "initrd of the owner on $(/busybox uname -r)" > /dev/console
exec /busybox sleep 1000000
INIT
chmod 0755, "$own/tree/busybox", "$own/tree/init";
system("cd $own/tree && find . | busybox cpio -o -H newc > ../initrd") == 0
    or die "the initrd can't be packed\n";
rmtree("$own/tree");
