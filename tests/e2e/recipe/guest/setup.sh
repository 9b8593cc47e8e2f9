#!/bin/sh
# Turns the freshly installed root file system $1 into the test guest: no host
# keys, no machine id, no network configuration. Whoever boots it brings those.
set -eu
root=$1

rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost\n' > "$root/etc/hosts"
rm -f "$root/etc/fstab"
cat > "$root/etc/ssh/sshd_config.d/guest.conf" <<'EOF'
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
PrintMotd no
UsePAM no
# The post-quantum default takes two seconds of software emulation at each login.
KexAlgorithms curve25519-sha256
EOF

# Debian tests the configuration at each start, which starts sshd twice.
mkdir -p "$root/etc/systemd/system/ssh.service.d"
printf '[Service]\nExecStartPre=\n' > "$root/etc/systemd/system/ssh.service.d/no-test.conf"

chroot "$root" systemctl --quiet enable ssh.service
# Nothing here may cost a boot second: the guest runs under two layers of
# software emulation, where each program that starts costs a tenth of one.
# What is missing: logins on terminals, logind, udev (the kernel
# makes the device nodes), a journal that outlives the boot.
chroot "$root" systemctl --quiet mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty.target getty-static.service getty@tty1.service serial-getty@ttyS0.service \
    systemd-logind.service systemd-user-sessions.service \
    systemd-networkd.service systemd-networkd-wait-online.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    systemd-pcrphase.service systemd-pcrphase-sysinit.service \
    systemd-pstore.service systemd-binfmt.service networking.service \
    systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
    systemd-udev-trigger.service systemd-remount-fs.service systemd-sysusers.service \
    systemd-sysctl.service systemd-random-seed.service systemd-journal-flush.service \
    systemd-modules-load.service systemd-tmpfiles-setup-dev.service \
    systemd-journald-audit.socket systemd-initctl.socket \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount \
    kmod-static-nodes.service modprobe@configfs.service modprobe@dm_mod.service \
    modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service \
    modprobe@loop.service
chroot "$root" systemctl set-default --quiet multi-user.target
# Without systemd-user-sessions nobody would take the ban on logins away.
ln -s /dev/null "$root/etc/tmpfiles.d/systemd-nologin.conf"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\n' > "$root/etc/systemd/journald.conf.d/volatile.conf"

# Generators, each a program that would run first of all.
mkdir -p "$root/etc/systemd/system-generators"
for generator in "$root"/lib/systemd/system-generators/*; do
    case $generator in
    */systemd-fstab-generator) ;;
    *) ln -s /dev/null "$root/etc/systemd/system-generators/${generator##*/}" ;;
    esac
done
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/var/cache/* "$root"/var/log/*.log
