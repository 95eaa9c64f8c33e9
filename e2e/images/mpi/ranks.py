"""What the MPI programs share."""

import os
import sys

# Ranks started over ssh do not have the image's environment; numpy must not have threads for each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from mpi4py import MPI

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.Get_rank(), WORLD.Get_size()
HOST = MPI.Get_processor_name()


def say(line):
    """Print a line in one piece, so that lines of several ranks do not mix."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def introduce():
    say(f"rank {RANK} of {SIZE} on {HOST}")
