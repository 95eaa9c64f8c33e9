#!/bin/sh
# Removes what compilers and tests need, and programs do not, from the Python packages that pip has installed into the
# root filesystem given as the first argument.
set -eu
root="$1"
packages="$(echo "$root"/usr/local/lib/python3*/dist-packages)"
rm -rf "$packages/bin"
find "$packages" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
find "$packages" \( -name '*.a' -o -name '*.pyi' -o -name '*.h' \) -delete
# Without these each start would take longer by seconds.
chroot "$root/" python3 -m compileall -q --invalidation-mode unchecked-hash /usr/local/lib
