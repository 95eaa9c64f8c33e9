#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"
packages="$(echo "$root"/usr/local/lib/python3*/dist-packages)"

# What compilers need, and training does not.
rm -rf "$packages/mxnet/include" "$packages/mxnet/src" "$packages/mxnet/tools"

# Nothing that was removed may be missed.
chroot "$root/" python3 -c 'import mxnet
assert mxnet.runtime.Features().is_enabled("DIST_KVSTORE")
assert mxnet.nd.dot(mxnet.nd.ones((4, 4)), mxnet.nd.ones((4, 4))).sum().asscalar() == 64'
