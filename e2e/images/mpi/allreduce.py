#!/usr/bin/env python3
"""Sum arrays over all ranks, check the sums, and tell how fast it went and on which hosts."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from mpi4py import MPI

ROUNDS = 10


def main():
    length = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    mine = np.arange(length, dtype=np.float64) + rank
    total = np.empty_like(mine)
    begun = MPI.Wtime()
    for _ in range(ROUNDS):
        world.Allreduce(mine, total)
    seconds = (MPI.Wtime() - begun) / ROUNDS
    right = np.array_equal(total, np.arange(length) * float(size) + size * (size - 1) / 2)
    hosts = world.gather(MPI.Get_processor_name())
    all_right = world.allreduce(right, op=MPI.LAND)
    if rank == 0:
        print(f"hosts: {' '.join(hosts)}", flush=True)
        print(f"allreduce of {mine.nbytes} bytes over {size} ranks: {seconds * 1000:.1f} ms", flush=True)
        print("all sums are right" if all_right else "a sum is wrong", flush=True)
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
