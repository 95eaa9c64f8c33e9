#!/usr/bin/env python3
"""Train a small network on handwritten digits: each rank on its part of a batch, gradients averaged with MPI."""

import argparse
import time

from ranks import RANK, SIZE, WORLD, introduce, say

import numpy as np
from mpi4py import MPI

import digits

BATCH = 64
HIDDEN = 64


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--epoch-seconds", type=float, default=0, help="make every epoch take at least this long")
    parser.add_argument("--learning-rate", type=float, default=0.5)
    return parser.parse_args()


def network():
    """Return weights and biases of two layers, the same on every rank."""
    random = np.random.RandomState(digits.SEED)
    layers = [(64, HIDDEN), (HIDDEN, 10)]
    return [
        part
        for rows, columns in layers
        for part in (random.normal(0, np.sqrt(2 / rows), (rows, columns)), np.zeros(columns))
    ]


def forward(parts, x):
    w1, b1, w2, b2 = parts
    hidden = np.maximum(x @ w1 + b1, 0)
    return hidden, hidden @ w2 + b2


def gradients(parts, x, y):
    """Return the loss and its derivatives, summed over the samples."""
    hidden, logits = forward(parts, x)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = -np.log(odds[rows, y] + 1e-12).sum()
    odds[rows, y] -= 1
    back = (odds @ parts[2].T) * (hidden > 0)
    return loss, [x.T @ back, back.sum(axis=0), hidden.T @ odds, odds.sum(axis=0)]


def sum_over_ranks(loss, grads, samples):
    """Sum loss, gradients and number of samples over all ranks with one call."""
    flat = np.concatenate([[loss, samples], *(grad.ravel() for grad in grads)])
    WORLD.Allreduce(MPI.IN_PLACE, flat)
    ends = np.cumsum([grad.size for grad in grads])[:-1]
    parts = np.split(flat[2:], ends)
    return flat[0], [part.reshape(grad.shape) for part, grad in zip(parts, grads)], flat[1]


def train_epoch(parts, data, epoch, rate):
    x, y = data
    order = np.random.RandomState(digits.SEED + epoch).permutation(len(x))
    total = 0.0
    for begin in range(0, len(order), BATCH):
        mine = order[begin : begin + BATCH][RANK::SIZE]
        loss, grads, samples = sum_over_ranks(*gradients(parts, x[mine], y[mine]), len(mine))
        for part, grad in zip(parts, grads):
            part -= rate * grad / samples
        total += loss
    return total / len(order)


def main():
    args = arguments()
    introduce()
    train, test = digits.load()
    parts = network()
    for epoch in range(args.epochs):
        begun = time.monotonic()
        loss = train_epoch(parts, train, epoch, args.learning_rate)
        if RANK == 0:
            say(f"epoch {epoch + 1}/{args.epochs} loss {loss:.4f}")
        time.sleep(max(0.0, args.epoch_seconds - (time.monotonic() - begun)))
    if RANK == 0:
        accuracy = (forward(parts, test[0])[1].argmax(axis=1) == test[1]).mean()
        say(f"test accuracy: {accuracy:.3f}")


if __name__ == "__main__":
    main()
