#!/bin/sh
# Removes what compilers, screens and Perl beyond its base need, and programs do not, from the root filesystem given
# as the first argument.
set -eu
root="$1"
rm -rf "$root"/usr/include "$root"/usr/lib/gcc "$root"/usr/bin/*-lto-dump-* "$root"/var/cache/apt/* \
    "$root"/var/lib/apt/lists/* "$root"/usr/lib/*/dri "$root"/usr/lib/*/libLLVM* "$root"/usr/lib/*/gconv \
    "$root"/usr/lib/*/perl "$root"/usr/lib/*/libperl.so.* "$root"/usr/share/perl
find "$root/usr/lib" -name '*.a' -delete
