#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"
packages="$(echo "$root"/usr/local/lib/python3*/dist-packages)"

# What compilers and tests need, and training does not; of OpenVINO, which is for inference, only what is linked.
rm -rf "$packages/bin" "$packages/paddle/include" "$packages/paddle/libs/libopenvino_intel_cpu_plugin.so"
find "$packages" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
find "$packages" \( -name '*.a' -o -name '*.pyi' -o -name '*.h' \) -delete
# Without these each start would take longer by seconds.
chroot "$root/" python3 -m compileall -q --invalidation-mode unchecked-hash /usr/local/lib

# Nothing of that may be missed.
chroot "$root/" python3 -c 'import paddle, paddle.distributed.launch.main
model = paddle.nn.Linear(4, 4)
model(paddle.ones([4, 4])).sum().backward()'
