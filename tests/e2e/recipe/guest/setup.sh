#!/bin/sh
# Turns the freshly installed root file system $1 into the test guest: no host
# keys, no machine id, no network configuration. Whoever boots it brings those.
set -eu
root=$1

rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost\n' > "$root/etc/hosts"
: > "$root/etc/fstab"
cat > "$root/etc/ssh/sshd_config.d/guest.conf" <<'EOF'
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
PrintMotd no
EOF

chroot "$root" systemctl --quiet enable ssh.service
# Nothing here may cost a boot second: the guest runs under two layers of
# software emulation.
chroot "$root" systemctl --quiet mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty@tty1.service serial-getty@ttyS0.service systemd-logind.service \
    systemd-networkd.service systemd-networkd-wait-online.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    systemd-pcrphase.service systemd-pcrphase-sysinit.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
    systemd-pstore.service systemd-binfmt.service networking.service \
    modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service \
    modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service
chroot "$root" systemctl set-default --quiet multi-user.target
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/var/cache/* "$root"/var/log/*.log
