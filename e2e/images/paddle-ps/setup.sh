#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"
packages="$(echo "$root"/usr/local/lib/python3*/dist-packages)"

# What compilers need, and training does not.
rm -rf "$packages/paddle/include"

# Nothing that was removed may be missed.
chroot "$root/" python3 -c 'import paddle, paddle.distributed.launch.main
paddle.base.core.DistFleetWrapper
model = paddle.nn.Linear(4, 4)
model(paddle.ones([4, 4])).sum().backward()'
