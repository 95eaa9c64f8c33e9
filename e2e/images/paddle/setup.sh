#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"
packages="$(echo "$root"/usr/local/lib/python3*/dist-packages)"

# What compilers need, and training does not; of OpenVINO, which is for inference, only what is linked.
rm -rf "$packages/paddle/include" "$packages/paddle/libs/libopenvino_intel_cpu_plugin.so"

# Nothing that was removed may be missed.
chroot "$root/" python3 -c 'import paddle, paddle.distributed.launch.main
model = paddle.nn.Linear(4, 4)
model(paddle.ones([4, 4])).sum().backward()'
