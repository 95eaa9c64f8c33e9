#!/usr/bin/env python3
"""Train a small network on handwritten digits with Paddle's parameter servers: these hold the network, and each trainer
brings gradients and fetches weights without waiting for the others.

Paddle's launcher starts this program once or more (`python3 -m paddle.distributed.launch parameter_server.py`) and
tells each what it is. The launchers of a PaddleJob find each other by PADDLE_MASTER and PADDLE_NNODES. With
PADDLE_SERVER_NUM or PADDLE_TRAINER_NUM, and no matter which, every launcher starts one server and one trainer.
"""

import argparse
import os
import sys
import time

import process

import numpy as np
import paddle
from paddle.distributed import fleet

import digits

BATCH = 32
# The servers' table of all weights that are not sparse.
DENSE = 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--epoch-seconds", type=float, default=0, help="make every epoch take at least this long")
    return parser.parse_args()


def show_output():
    """Write to the launcher's output: of its processes it shows only the first one's, which is the server's."""
    sys.stdout = open(f"/proc/{os.getppid()}/fd/1", "a", buffering=1)  # pylint: disable=consider-using-with


def network():
    """Return the inputs, the loss and what the network takes each digit for."""
    x = paddle.static.data("x", [None, 64], "float32")
    y = paddle.static.data("y", [None, 1], "int64")
    logits = paddle.static.nn.fc(paddle.static.nn.fc(x, 64, activation="relu"), 10)
    loss = paddle.mean(paddle.nn.functional.cross_entropy(logits, y))
    return loss, paddle.argmax(logits, axis=1)


def batches(data, epoch):
    """Return this trainer's part of each batch."""
    x, y = data
    rank, size = fleet.worker_index(), fleet.worker_num()
    order = np.random.RandomState(digits.SEED + epoch).permutation(len(x))[rank::size]
    parts = np.array_split(order, max(1, len(order) // BATCH))
    return [{"x": x[rows], "y": y[rows, None]} for rows in parts]


def servers():
    """Return the connection to the servers; Paddle has no public way to do what follows."""
    return fleet.fleet._runtime_handle._worker  # pylint: disable=protected-access


def fetch_weights():
    """Fetch what the servers have by now; Paddle itself does so only for its own kinds of data sets."""
    names = [part.name for part in paddle.static.default_main_program().all_parameters()]
    servers().pull_dense_params(paddle.static.global_scope(), DENSE, names)


def sum_of_weights():
    scope, parts = paddle.static.global_scope(), paddle.static.default_main_program().all_parameters()
    return sum(np.abs(np.array(scope.find_var(part.name).get_tensor())).sum(dtype=np.float64) for part in parts)


def assert_same_everywhere(who):
    """Once all gradients have arrived, all must fetch the same weights although their batches were not the same."""
    servers().client_flush()
    fleet.barrier_worker()
    fetch_weights()
    found = np.array([sum_of_weights()])
    least, greatest = (fleet.util.all_reduce(found, mode=mode)[0] for mode in ("min", "max"))
    assert least == greatest, f"the trainers have different weights: {least} to {greatest}"
    process.say(who, f"weights {least:.6f}, the same on all {fleet.worker_num()}")


def serve():
    process.say(f"server {fleet.server_index()}", f"server {fleet.server_index()} of {fleet.server_num()}")
    fleet.init_server()
    fleet.run_server()
    process.say(f"server {fleet.server_index()}", "done")


def train(args, loss, found):
    show_output()
    who = f"trainer {fleet.worker_index()}"
    process.say(who, f"trainer {fleet.worker_index()} of {fleet.worker_num()} with {fleet.server_num()} servers")
    executor = paddle.static.Executor(paddle.CPUPlace())
    executor.run(paddle.static.default_startup_program())
    fleet.init_worker()
    data, (x, y) = digits.load()
    for epoch in range(args.epochs):
        begun = time.monotonic()
        losses = []
        for batch in batches(data, epoch):
            # The gradients go to the servers inside.
            losses.append(executor.run(feed=batch, fetch_list=[loss])[0])
            fetch_weights()
        process.say(who, f"epoch {epoch + 1}/{args.epochs} loss {np.mean(losses):.4f}")
        process.pace(begun, args.epoch_seconds)
    assert_same_everywhere(who)
    fleet.barrier_worker()
    if fleet.is_first_worker():
        program = paddle.static.default_main_program().clone(for_test=True)
        guess = executor.run(program, feed={"x": x, "y": y[:, None]}, fetch_list=[found])[0]
        process.say(who, f"test accuracy: {np.mean(guess == y):.3f}")
        # Paddle leaves it to others to end servers; here nobody else does, and a pod is done when all in it are.
        servers().stop_server()
    fleet.stop_worker()


def main():
    args = arguments()
    paddle.enable_static()
    fleet.init(is_collective=False)
    paddle.seed(digits.SEED)
    loss, found = network()
    strategy = fleet.DistributedStrategy()
    strategy.a_sync = True
    fleet.distributed_optimizer(paddle.optimizer.SGD(0.03), strategy).minimize(loss)
    if fleet.is_server():
        serve()
    else:
        train(args, loss, found)


if __name__ == "__main__":
    process.leave_on_sigterm()
    process.run(main)
