#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"
packages="$(echo "$root"/usr/local/lib/python3*/dist-packages)"

# What compilers and tests need, and training does not.
rm -rf "$packages/bin" "$packages/mxnet/include" "$packages/mxnet/src" "$packages/mxnet/tools"
find "$packages" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
find "$packages" \( -name '*.a' -o -name '*.pyi' -o -name '*.h' \) -delete
# Without these each start would take longer by seconds.
chroot "$root/" python3 -m compileall -q --invalidation-mode unchecked-hash /usr/local/lib

# Nothing of that may be missed.
chroot "$root/" python3 -c 'import mxnet
assert mxnet.runtime.Features().is_enabled("DIST_KVSTORE")
assert mxnet.nd.dot(mxnet.nd.ones((4, 4)), mxnet.nd.ones((4, 4))).sum().asscalar() == 64'
