#!/usr/bin/env python3
"""Train a small network on handwritten digits: every process on its part of each batch, with the same network
everywhere. XLA adds up the gradients over all processes, since the batch lies with all of them."""

import argparse
import time

import process
from peers import everywhere, local, meet, mesh, say, split

import jax
import jax.numpy as jnp
import numpy as np

import digits

BATCH = 96
HIDDEN = 64


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--epoch-seconds", type=float, default=0, help="make every epoch take at least this long")
    parser.add_argument("--learning-rate", type=float, default=0.5)
    parser.add_argument("--join-timeout", type=int, default=300, help="seconds to wait for the others at the start")
    return parser.parse_args()


def network():
    """Return weights and biases of two layers, the same in every process."""
    random = np.random.RandomState(digits.SEED)
    layers = [(64, HIDDEN), (HIDDEN, 10)]
    weights = [random.normal(0, np.sqrt(2 / rows), (rows, columns)).astype(np.float32) for rows, columns in layers]
    return [part for weight in weights for part in (weight, np.zeros(weight.shape[1], dtype=np.float32))]


def forward(parts, x):
    w1, b1, w2, b2 = parts
    return jax.nn.relu(x @ w1 + b1) @ w2 + b2


def loss_of(parts, x, y):
    return -jnp.mean(jax.nn.log_softmax(forward(parts, x))[jnp.arange(len(y)), y])


@jax.jit
def step(parts, x, y, rate):
    loss, gradients = jax.value_and_grad(loss_of)(parts, x, y)
    return [part - rate * gradient for part, gradient in zip(parts, gradients)], loss


def batches(data, epoch):
    """Return this process's part of each batch; parts are equal, or the processes' steps would not match."""
    x, y = data
    mine, size = jax.process_index(), jax.process_count()
    share = BATCH // jax.device_count() * jax.local_device_count()
    order = np.random.RandomState(digits.SEED + epoch).permutation(len(x))
    order = order[: len(x) - len(x) % (share * size)].reshape(-1, size, share)
    return [(x[rows], y[rows]) for rows in order[:, mine]]


def train(args, data):
    places = mesh()
    parts = [everywhere(places, part) for part in network()]
    first = last = None
    for epoch in range(args.epochs):
        begun = time.monotonic()
        losses = []
        for x, y in batches(data, epoch):
            parts, loss = step(parts, split(places, x), split(places, y), args.learning_rate)
            losses.append(loss)
        last = float(np.mean([local(loss) for loss in losses]))
        first = last if first is None else first
        say(f"epoch {epoch + 1}/{args.epochs} loss {last:.4f}")
        process.pace(begun, args.epoch_seconds)
    assert args.epochs < 2 or last < first, f"the loss went from {first} to {last}"
    return [local(part) for part in parts]


def main():
    args = arguments()
    meet(args.join_timeout)
    train_part, test_part = digits.load()
    parts = train(args, train_part)
    if jax.process_index() == 0:
        x, y = test_part
        accuracy = np.mean(np.argmax(forward(parts, x), axis=1) == y)
        print(f"test accuracy: {accuracy:.3f}", flush=True)
    jax.distributed.shutdown()


if __name__ == "__main__":
    process.leave_on_sigterm()
    process.run(main, lost=jax.errors.JaxRuntimeError)
