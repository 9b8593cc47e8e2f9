#!/bin/sh
# Turns the freshly installed root file system $1 into the disposable host.
# Beside this script lies files/, a tree that is copied over the root.
set -eu
root=$1
here=$(dirname "$0")

cp -r "$here/files/." "$root/"
chmod 0755 "$root"/usr/local/lib/banger-e2e/* "$root/srv/internet/cgi-bin/source"

echo test-host > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 test-host\n::1 localhost\n' > "$root/etc/hosts"
printf '/dev/vda / ext4 rw 0 0\n' > "$root/etc/fstab"
# Both disks are always there: the host is up when they are mounted, and a slow
# machine may need minutes to find them.
printf '/dev/vdb /images ext4 ro,x-systemd.device-timeout=300s 0 0\n' >> "$root/etc/fstab"
printf '/dev/vdc /payload ext4 ro,x-systemd.device-timeout=300s 0 0\n' >> "$root/etc/fstab"
mkdir -p "$root/images" "$root/payload"

chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash owner
chroot "$root" useradd --create-home --uid 1001 --shell /bin/bash stranger
# The owner's user services start with the host and outlive a login.
mkdir -p "$root/var/lib/systemd/linger"
touch "$root/var/lib/systemd/linger/owner"

# The others get no session: starting their services would make each first login
# of theirs take three seconds.
sed -i '/pam_systemd.so/i session [success=1 default=ignore] pam_succeed_if.so quiet user != owner' \
    "$root/etc/pam.d/common-session"

# One host key is enough, and the quickest kind.
rm -f "$root"/etc/ssh/ssh_host_rsa_key* "$root"/etc/ssh/ssh_host_ecdsa_key*

chroot "$root" systemctl --quiet enable \
    banger-e2e-network.service banger-e2e-internet.service banger-e2e-ready.service \
    systemd-resolved.service ssh.service
# What a disposable host doesn't need and software emulation makes slow.
chroot "$root" systemctl --quiet mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty@tty1.service serial-getty@ttyS0.service \
    systemd-networkd.service systemd-networkd-wait-online.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    systemd-pcrphase.service systemd-pcrphase-sysinit.service \
    dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service \
    modprobe@fuse.service systemd-sysusers.service systemd-random-seed.service \
    systemd-pstore.service networking.service keyboard-setup.service console-setup.service \
    sys-fs-fuse-connections.mount systemd-timesyncd.service
mkdir -p "$root/etc/systemd/system-generators"
for generator in "$root"/lib/systemd/system-generators/*; do
    case $generator in
    */systemd-fstab-generator) ;;
    *) ln -s /dev/null "$root/etc/systemd/system-generators/${generator##*/}" ;;
    esac
done
chroot "$root" systemctl set-default --quiet multi-user.target

# A machine id of its own at each first boot, a resolver that is resolved.
: > "$root/etc/machine-id"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
touch "$root/etc/default/locale"
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/var/cache/* "$root"/var/log/*.log
