#!/bin/sh
# Gives Debian's MPICH the name that programs built elsewhere look for, in the root filesystem given as the first
# argument.
set -eu
root="$1"
for library in "$root"/usr/lib/*/libmpich.so.12; do
    ln -s libmpich.so.12 "${library%libmpich.so.12}libmpi.so.12"
done
