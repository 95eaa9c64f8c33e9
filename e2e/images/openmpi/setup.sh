#!/bin/sh
# Finishes Open MPI in the root filesystem given as the first argument.
set -eu
root="$1"

# Ranks share the processors of a small cluster: one that waits busily holds the others up.
echo "mpi_yield_when_idle = 1" >> "$root/etc/openmpi/openmpi-mca-params.conf"

# AMD's graphics cards: more than 100 megabytes in Debian 13.
rm -f "$root"/usr/lib/*/ucx/*_rocm.* "$root"/usr/lib/*/libamdhip64.* "$root"/usr/lib/*/libamd_comgr.* \
    "$root"/usr/lib/*/libhsa-runtime64.* "$root"/usr/lib/*/libz3.*
