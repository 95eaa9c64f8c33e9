#!/usr/bin/env python3
"""Compute pi on all ranks: the integral of 4 / (1 + x^2) from 0 to 1, each rank every N-th strip."""

import sys

from ranks import RANK, SIZE, WORLD, introduce, say

import numpy as np


def main():
    strips = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    introduce()
    x = (np.arange(RANK, strips, SIZE) + 0.5) / strips
    total = WORLD.reduce(float(np.sum(4 / (1 + x * x))) / strips)
    if RANK == 0:
        say(f"pi is approximately {total:.13f}")


if __name__ == "__main__":
    main()
