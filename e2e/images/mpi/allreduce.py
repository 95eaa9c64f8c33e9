#!/usr/bin/env python3
"""Sum arrays over all ranks, check the sums, and tell how fast it went and on which hosts."""

import sys

from ranks import HOST, RANK, SIZE, WORLD, say

import numpy as np
from mpi4py import MPI

ROUNDS = 10


def main():
    length = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    mine = np.arange(length, dtype=np.float64) + RANK
    total = np.empty_like(mine)
    begun = MPI.Wtime()
    for _ in range(ROUNDS):
        WORLD.Allreduce(mine, total)
    seconds = (MPI.Wtime() - begun) / ROUNDS
    right = np.array_equal(total, np.arange(length) * float(SIZE) + SIZE * (SIZE - 1) / 2)
    hosts = WORLD.gather(HOST)
    all_right = WORLD.allreduce(right, op=MPI.LAND)
    if RANK == 0:
        say(f"hosts: {' '.join(hosts)}")
        say(f"allreduce of {mine.nbytes} bytes over {SIZE} ranks: {seconds * 1000:.1f} ms")
        say("all sums are right" if all_right else "a sum is wrong")
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
