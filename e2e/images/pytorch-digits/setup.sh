#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"
packages="$root/usr/lib/python3/dist-packages"

# torch 1.13 looks for the value 0 among the members of a flag, where Python 3.11 no longer lists it, and torchrun
# fails on its own defaults ("'NoneType' object has no attribute 'get'"); torch 2 has this mended.
sed -i '/^        def to_std(v):$/,/^$/c\        def to_std(v):\n            return Std(int(v))\n' \
    "$packages/torch/distributed/elastic/multiprocessing/api.py"
rm -f "$packages"/torch/distributed/elastic/multiprocessing/__pycache__/api.*

# What compilers, screens and tests need, and training does not.
rm -rf "$root"/usr/include "$root"/usr/lib/gcc "$root"/usr/bin/*-lto-dump-* "$root"/usr/lib/*/dri \
    "$root"/usr/lib/*/mfx "$root"/usr/lib/*/libLLVM* "$root"/usr/lib/libtorch-test "$root"/usr/share/proj \
    "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
find "$root/usr/lib" -name '*.a' -delete
find "$packages/torch/bin" -type f ! -name torch_shm_manager -delete
find "$packages" -type d -name tests -prune -exec rm -rf {} +

# Nothing of that may be missed.
chroot "$root/" python3 -c 'import torch.distributed.run, sklearn.datasets; sklearn.datasets.load_digits()'
