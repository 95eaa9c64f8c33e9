#!/bin/sh
# Gives Debian's MPICH the name that programs built elsewhere look for, in the root filesystem given as the first
# argument.
set -eu
root="$1"
for library in "$root"/usr/lib/*/libmpich.so.12; do
    ln -s libmpich.so.12 "${library%libmpich.so.12}libmpi.so.12"
done

# mpirun waits for ever for a worker that ssh did not reach, so ssh waits until the worker's name is known.
cat > "$root/etc/ssh/ssh_config.d/mpich.conf" <<'END'
Match exec "for second in $(seq 120); do getent hosts %h && exit 0; sleep 1; done; exit 1"
END
