#!/bin/sh
# Prepares ssh among the pods of a job, for root and for the user 1000, in the root filesystem given as the first
# argument. The job's key is mounted at .ssh in the home of who runs the container; nothing else is secret, and no host
# is known before.
set -eu
root="$1"
homes=/home
user=mpiuser

mkdir -p "$root/run/sshd"

# Debian makes host keys at installation. In an image they would be everybody's: the job's own key stands in for them.
rm -f "$root"/etc/ssh/ssh_host_*
cat > "$root/etc/ssh/sshd_config.d/mpi.conf" <<END
Port 2222
HostKey /root/.ssh/id_rsa
# The key may belong to another user: volumes do.
StrictModes no
# Nothing to ask: keys only, and the sessions are those of the job.
UsePAM no
PasswordAuthentication no
END
cat > "$root/etc/ssh/ssh_config.d/mpi.conf" <<END
Host *
    Port 2222
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
END

# Written by hand, as the tools would write today's date.
echo "$user:x:1000:1000:MPI:$homes/$user:/bin/bash" >> "$root/etc/passwd"
echo "$user:x:1000:" >> "$root/etc/group"
echo "$user:*:19000:0:99999:7:::" >> "$root/etc/shadow"
install -d -m 755 "$root$homes/$user" "$root$homes/$user/.ssh"
# Without rights to change the user, sshd serves this user only: sshd -De -f .sshd_config
cat > "$root$homes/$user/.sshd_config" <<END
Port 2222
HostKey $homes/$user/.ssh/id_rsa
StrictModes no
PidFile none
END
chown -R 1000:1000 "$root$homes/$user"
