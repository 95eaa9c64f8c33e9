#!/usr/bin/env python3
"""Compute pi on all ranks: the integral of 4 / (1 + x^2) from 0 to 1, each rank every N-th strip."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from mpi4py import MPI


def main():
    strips = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    print(f"rank {rank} of {size} on {MPI.Get_processor_name()}", flush=True)
    x = (np.arange(rank, strips, size) + 0.5) / strips
    total = world.reduce(float(np.sum(4 / (1 + x * x))) / strips)
    if rank == 0:
        print(f"pi is approximately {total:.13f}", flush=True)


if __name__ == "__main__":
    main()
