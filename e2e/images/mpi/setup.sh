#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"

# What compilers, screens, tests and Perl beyond its base need, and programs do not.
rm -rf "$root"/usr/include "$root"/usr/lib/gcc "$root"/usr/bin/*-lto-dump-* "$root"/var/cache/apt/* \
    "$root"/var/lib/apt/lists/* "$root"/usr/lib/*/dri "$root"/usr/lib/*/libLLVM* "$root"/usr/lib/*/gconv \
    "$root"/usr/lib/*/perl "$root"/usr/lib/*/libperl.so.* "$root"/usr/share/perl
find "$root/usr/lib" -name '*.a' -delete
find "$root"/usr/lib/python3/dist-packages -type d -name tests -prune -exec rm -rf {} +
chroot "$root/" python3 -m compileall -q --invalidation-mode unchecked-hash /usr/local/lib

# Nothing of that may be missed.
chroot "$root/" python3 -c 'import mpi4py, numpy; mpi4py.rc.initialize = False; import mpi4py.MPI'
chroot "$root/" sh -c 'command -v mpirun'
