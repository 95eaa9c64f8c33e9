#!/usr/bin/env python3
"""Train a small network on handwritten digits with a distributed key-value store: servers hold the network, workers add
up their gradients there, and all go on when all have done so (dist_sync).

Who a process is comes from the environment (DMLC_ROLE, DMLC_PS_ROOT_URI and so on), as set by an MXJob. The scheduler
and the servers do their work while mxnet is imported, and leave when the workers have.
"""

import argparse
import os
import time

import process

# The import below does not return in a scheduler or a server.
process.leave_on_sigterm()

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

import digits

BATCH = 64


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--epoch-seconds", type=float, default=0, help="make every epoch take at least this long")
    return parser.parse_args()


class Worker:
    """This worker and the store that it shares with the others. Ranks are given by the scheduler, in no order that
    the job knows."""

    def __init__(self):
        self.store = mx.kv.create("dist_sync")
        self.rank, self.size = self.store.rank, self.store.num_workers
        self.say(f"rank {self.rank} of {self.size}, DMLC_WORKER_ID {os.environ.get('DMLC_WORKER_ID')}")

    def say(self, message):
        process.say(f"worker {self.rank}", message)

    def assert_sum(self):
        """Add up a number of each worker on the servers; the keys are spread over all of these."""
        found = mx.nd.zeros((4, 3))
        # Far from the trainer's keys, which are numbers from 0 on.
        for key in range(1000, 1008):
            self.store.init(key, mx.nd.zeros(found.shape))
            self.store.push(key, mx.nd.full(found.shape, self.rank + 1))
            self.store.pull(key, out=found)
            expected = self.size * (self.size + 1) // 2
            assert (found.asnumpy() == expected).all(), f"the sum is {found.asnumpy()} and not {expected}"
        self.say(f"sum {expected} on {os.environ['DMLC_NUM_SERVER']} servers")


def batches(data, epoch, rank, size):
    """Return this worker's part of each batch; parts are equal, or the workers' steps would not match."""
    x, y = data
    share = BATCH // size
    order = np.random.RandomState(digits.SEED + epoch).permutation(len(x))
    order = order[: len(x) - len(x) % (share * size)].reshape(-1, size, share)
    return [(mx.nd.array(x[rows]), mx.nd.array(y[rows])) for rows in order[:, rank]]


def train(args, worker, network, data):
    # The servers apply the gradients; the network of the first worker is that of all.
    trainer = gluon.Trainer(network.collect_params(), "adam", {"learning_rate": 2e-3}, kvstore=worker.store)
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    for epoch in range(args.epochs):
        begun = time.monotonic()
        losses = []
        for x, y in batches(data, epoch, worker.rank, worker.size):
            with autograd.record():
                loss = loss_of(network(x), y)
            loss.backward()
            trainer.step(len(x) * worker.size)
            losses.append(loss.mean().asscalar())
        worker.say(f"epoch {epoch + 1}/{args.epochs} loss {np.mean(losses):.4f}")
        process.pace(begun, args.epoch_seconds)


def main():
    args, worker = arguments(), Worker()
    worker.assert_sum()
    mx.random.seed(digits.SEED + worker.rank)
    network = gluon.nn.HybridSequential()
    network.add(gluon.nn.Dense(64, activation="relu", in_units=64), gluon.nn.Dense(10, in_units=64))
    network.initialize(mx.init.Xavier())
    train_part, test_part = digits.load()
    train(args, worker, network, train_part)
    x, y = test_part
    accuracy = np.mean(network(mx.nd.array(x)).asnumpy().argmax(axis=1) == y)
    worker.say(f"test accuracy: {accuracy:.3f}")


if __name__ == "__main__":
    process.run(main)
