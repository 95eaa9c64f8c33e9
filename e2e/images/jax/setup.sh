#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"
packages="$(echo "$root"/usr/local/lib/python3*/dist-packages)"

# What compilers need, and training does not.
rm -rf "$packages/jaxlib/include"

# Nothing that was removed may be missed.
chroot "$root/" python3 -c 'import jax, jax.distributed
assert jax.jit(lambda x: x @ x)(jax.numpy.eye(4)).sum() == 4'
