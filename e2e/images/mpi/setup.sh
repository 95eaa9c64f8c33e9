#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"

find "$root"/usr/lib/python3/dist-packages -type d -name tests -prune -exec rm -rf {} +
chroot "$root/" python3 -m compileall -q --invalidation-mode unchecked-hash /usr/local/lib

# Nothing that was removed may be missed.
chroot "$root/" python3 -c 'import mpi4py, numpy; mpi4py.rc.initialize = False; import mpi4py.MPI'
chroot "$root/" sh -c 'command -v mpirun'
