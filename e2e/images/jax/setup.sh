#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"
packages="$(echo "$root"/usr/local/lib/python3*/dist-packages)"

# What compilers and tests need, and training does not.
rm -rf "$packages/bin" "$packages/jaxlib/include"
find "$packages" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
find "$packages" \( -name '*.a' -o -name '*.pyi' -o -name '*.h' \) -delete
# Without these each start would take longer by seconds.
chroot "$root/" python3 -m compileall -q --invalidation-mode unchecked-hash /usr/local/lib

# Nothing of that may be missed.
chroot "$root/" python3 -c 'import jax, jax.distributed
assert jax.jit(lambda x: x @ x)(jax.numpy.eye(4)).sum() == 4'
