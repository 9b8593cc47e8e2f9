#!/bin/sh
# Turns the test guest's root $1, set up, into one that is ready in half the
# time: its init is a small SSH server, and it has a host key already. Most
# scenarios are about the host; those about the guest take the whole Debian.
set -eu
root=$1
key=/etc/ssh/ssh_host_ed25519_key

# One key in both forms: OpenSSH's is what the agent tells the host.
ssh-keygen -q -t ed25519 -N '' -C '' -f "$root$key"
chroot "$root" dropbearconvert openssh dropbear "$key" /etc/ssh/dropbear 2>/dev/null
# Without a `reboot` program the agent itself ends the guest, at once and cleanly.
rm -f "$root/usr/sbin/init" "$root/usr/sbin/reboot"
# OpenSSH's server takes three seconds of software emulation to start, this one
# a tenth of that.
cat > "$root/usr/sbin/init" <<'INIT'
#!/bin/sh
# QEMU's translations then serve the next process too; see tests/e2e/src/qemu.rs.
echo 0 > /proc/sys/kernel/randomize_va_space
mkdir /dev/shm
mount -t tmpfs tmpfs /dev/shm
exec /usr/sbin/dropbear -F -E -s -r /etc/ssh/dropbear -p 22
INIT
chmod 0755 "$root/usr/sbin/init"
