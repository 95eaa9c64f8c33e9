"""What the TensorFlow programs share: who they are, their peers, the data, and how they leave."""

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

# Replicas share the machine's processors. The second: calls to a lost peer fail instead of waiting for it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")

import numpy as np
import tensorflow as tf

import digits

BATCH = 32
HIDDEN = 64


class Replica:
    """This replica, as TF_CONFIG tells; alone without it."""

    def __init__(self):
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        self.cluster = config.get("cluster", {})
        task = config.get("task", {})
        self.type, self.index = task.get("type", "worker"), int(task.get("index", 0))

    def addresses(self, *types):
        """All replicas of these types, this one left out."""
        own = (self.type, self.index)
        tasks = [(kind, index) for kind in types for index in range(len(self.cluster.get(kind, [])))]
        return [self.cluster[kind][index] for kind, index in tasks if (kind, index) != own]

    def say(self, message):
        print(f"[{self.type} {self.index}] {message}", flush=True)


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--epoch-seconds", type=float, default=0, help="make every epoch take at least this long")
    parser.add_argument("--learning-rate", type=float, default=0.3)
    parser.add_argument("--join-timeout", type=float, default=600, help="seconds to wait for the others at the start")
    return parser.parse_args()


def wait_for(addresses, seconds, connect):
    """Wait until all names are known and, if `connect`, all ports are open."""
    deadline = time.monotonic() + seconds
    for address in addresses:
        host, port = address.rsplit(":", 1)
        while True:
            try:
                if connect:
                    socket.create_connection((host, int(port)), timeout=5).close()
                else:
                    socket.getaddrinfo(host, port)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{address}: {error}") from error
                time.sleep(0.5)


def wait_until_gone(addresses, seconds):
    """Wait until no port is open, or for so long at most."""
    deadline = time.monotonic() + seconds
    for address in addresses:
        host, port = address.rsplit(":", 1)
        try:
            while time.monotonic() < deadline:
                socket.create_connection((host, int(port)), timeout=1).close()
                time.sleep(0.2)
        except OSError:
            pass


def limit_threads():
    """One thread to compute, but several to wait in: with too few, replicas wait for each other for ever."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(4)


def dataset(part, replicas=1, index=0):
    """An endless, shuffled dataset of every `replicas`-th sample."""
    x, y = part
    samples = tf.data.Dataset.from_tensor_slices((x[index::replicas], y[index::replicas]))
    return samples.shuffle(len(x), seed=digits.SEED + index).repeat().batch(BATCH, drop_remainder=True)


class Network(tf.Module):
    """Two layers; made in the scope of a strategy, which places the variables."""

    def __init__(self):
        super().__init__()
        random = np.random.RandomState(digits.SEED)
        self.parts = []
        for rows, columns in [(64, HIDDEN), (HIDDEN, 10)]:
            weights = random.normal(0, np.sqrt(2 / rows), (rows, columns)).astype(np.float32)
            self.parts += [tf.Variable(weights), tf.Variable(tf.zeros(columns))]

    def __call__(self, x):
        w1, b1, w2, b2 = self.parts
        return tf.nn.relu(x @ w1 + b1) @ w2 + b2

    def loss_and_gradients(self, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, self(x)))
        return loss, tape.gradient(loss, self.parts)

    def accuracy(self, part):
        x, y = part
        return float(np.mean(np.argmax(self(tf.constant(x)).numpy(), axis=1) == y))


def leave_on_sigterm():
    """End with 143 on SIGTERM, even as process 1 of a container and inside a call that never returns."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait():
        signal.sigwait({signal.SIGTERM})
        os._exit(143)

    threading.Thread(target=wait, daemon=True).start()


def leave(code):
    """Leave at once: an orderly exit would wait for threads that wait for other replicas."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(program):
    """Run a program to its end, and leave with its verdict."""
    leave_on_sigterm()
    try:
        limit_threads()
        program()
    except Exception as error:  # pylint: disable=broad-except; the pod's status shows this line
        message = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        print(message, file=sys.stderr, flush=True)
        try:
            Path("/dev/termination-log").write_text(message)
        except OSError:
            pass
        leave(1)
    leave(0)
