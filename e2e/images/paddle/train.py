#!/usr/bin/env python3
"""Train a small network on handwritten digits: every trainer on its part of each batch, gradients averaged over gloo.

Paddle's launcher starts this program (`python3 -m paddle.distributed.launch train.py`) and tells it who it is. The
launchers of a PaddleJob find each other by PADDLE_MASTER and PADDLE_NNODES.
"""

import argparse
import time

import process

import numpy as np
import paddle
import paddle.distributed as dist
from paddle import nn

import digits

BATCH = 64


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--epoch-seconds", type=float, default=0, help="make every epoch take at least this long")
    return parser.parse_args()


def say(message):
    process.say(f"rank {dist.get_rank()}", message)


def batches(data, epoch):
    """Return this trainer's part of each batch; parts are equal, or the trainers' steps would not match."""
    x, y = data
    rank, size = dist.get_rank(), dist.get_world_size()
    share = BATCH // size
    order = np.random.RandomState(digits.SEED + epoch).permutation(len(x))
    order = order[: len(x) - len(x) % (share * size)].reshape(-1, size, share)
    return [(paddle.to_tensor(x[rows]), paddle.to_tensor(y[rows])) for rows in order[:, rank]]


def train(args, network, data):
    model = paddle.DataParallel(network) if dist.get_world_size() > 1 else network
    optimizer = paddle.optimizer.Adam(2e-3, parameters=model.parameters())
    for epoch in range(args.epochs):
        begun = time.monotonic()
        losses = []
        for x, y in batches(data, epoch):
            loss = nn.functional.cross_entropy(model(x), y)
            # The gradients' all-reduce runs inside.
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(float(loss))
        say(f"epoch {epoch + 1}/{args.epochs} loss {np.mean(losses):.4f}")
        process.pace(begun, args.epoch_seconds)


def assert_same_everywhere(network):
    """Gradients are those of all trainers, so the networks must be equal although the batches are not."""
    found = sum(float(part.abs().sum()) for part in network.parameters())
    least, greatest = (paddle.to_tensor([found], dtype="float64") for _ in range(2))
    dist.all_reduce(least, op=dist.ReduceOp.MIN)
    dist.all_reduce(greatest, op=dist.ReduceOp.MAX)
    assert least.item() == greatest.item(), "the trainers have different networks"
    say(f"network {found:.6f}, the same on all {dist.get_world_size()}")


def main():
    args = arguments()
    dist.init_parallel_env()
    say(f"rank {dist.get_rank()} of {dist.get_world_size()}")
    # Not the same on each: to give all trainers the first one's network is DataParallel's work.
    paddle.seed(digits.SEED + dist.get_rank())
    train_part, test_part = digits.load()
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    train(args, network, train_part)
    if dist.get_world_size() > 1:
        assert_same_everywhere(network)
    if dist.get_rank() == 0:
        x, y = test_part
        accuracy = np.mean(network(paddle.to_tensor(x)).argmax(axis=1).numpy() == y)
        print(f"test accuracy: {accuracy:.3f}", flush=True)


if __name__ == "__main__":
    process.leave_on_sigterm()
    process.run(main)
