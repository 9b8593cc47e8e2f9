#!/bin/sh
# Turns the test guest's root $1, set up, into one that is ready in half the
# time: its init is the SSH server, and it has a host key already. Most
# scenarios are about the host; those about the guest take the whole Debian.
set -eu
root=$1

ssh-keygen -q -t ed25519 -N '' -C '' -f "$root/etc/ssh/ssh_host_ed25519_key"
# Without a `reboot` program the agent itself ends the guest, at once and cleanly.
rm -f "$root/usr/sbin/init" "$root/usr/sbin/reboot"
cat > "$root/usr/sbin/init" <<'INIT'
#!/bin/sh
mkdir -p /run/sshd /dev/shm
mount -t tmpfs tmpfs /dev/shm
exec /usr/sbin/sshd -D
INIT
chmod 0755 "$root/usr/sbin/init"
