#!/usr/bin/env python3
"""Train a small network on scikit-learn's digits with DistributedDataParallel over gloo.

Everything it needs to know about its peers comes from the environment (MASTER_ADDR, MASTER_PORT, WORLD_SIZE,
RANK), as set by a PyTorchJob or by torchrun. The data is part of the image; nothing is downloaded.
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

CHECKPOINT = "checkpoint.pt"
MODEL = "model.pt"
BATCH = 32
SEED = 7


class PeerLost(Exception):
    """A collective failed: another replica is gone, this one did nothing wrong."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--checkpoint-dir", type=Path, help="where rank 0 saves after each epoch; shared by all ranks")
    parser.add_argument("--epoch-seconds", type=float, default=0, help="make every epoch take at least this long")
    parser.add_argument("--timeout", type=float, default=30, help="seconds after which a silent peer counts as lost")
    parser.add_argument("--join-timeout", type=float, default=300, help="seconds to wait for all peers at the start")
    parser.add_argument("--peer-lost-exit-code", type=int, default=138, help="128 and more mean: try again")
    return parser.parse_args()


def say(message):
    print(f"[rank {dist.get_rank()}] {message}", flush=True)


def together(operation, *args, **kwargs):
    """Call a collective, telling a lost peer from an error of our own."""
    try:
        return operation(*args, **kwargs)
    except RuntimeError as error:
        raise PeerLost(str(error).strip().splitlines()[0]) from error


def load_data():
    """Return the training and the test part, the same on every rank."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(SEED).permutation(len(images))
    x = torch.tensor(images[order] / 16.0, dtype=torch.float32)
    y = torch.tensor(labels[order], dtype=torch.int64)
    split = len(x) * 4 // 5
    return (x[:split], y[:split]), (x[split:], y[split:])


def shard(size, epoch, rank, world):
    """Return this rank's part of the epoch's order; parts are equal, or the ranks' steps would not match."""
    order = np.random.RandomState(SEED + epoch).permutation(size)
    return torch.from_numpy(order[: size - size % world][rank::world])


def resume(folder, model, optimizer, group):
    """Load the newest checkpoint, if there is one, and return the epoch to go on with.

    Rank 0 reads it and sends it to all: they must agree, and only rank 0 need see the folder.
    """
    saved = [None]
    if dist.get_rank() == 0 and folder and (folder / CHECKPOINT).exists():
        saved = [torch.load(folder / CHECKPOINT)]
    together(dist.broadcast_object_list, saved, src=0, group=group)
    if saved[0] is None:
        return 0
    model.load_state_dict(saved[0]["model"])
    optimizer.load_state_dict(saved[0]["optimizer"])
    say(f"resumed from epoch {saved[0]['epoch']}")
    return saved[0]["epoch"]


def save(folder, epoch, model, optimizer):
    """Write a checkpoint, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{CHECKPOINT}.{os.getpid()}"
    torch.save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, temporary)
    os.replace(temporary, folder / CHECKPOINT)


def finish(folder):
    """Turn the last checkpoint into the result: the next run begins anew."""
    if folder and (folder / CHECKPOINT).exists():
        os.replace(folder / CHECKPOINT, folder / MODEL)


def train_epoch(model, optimizer, data, epoch):
    rank, world = dist.get_rank(), dist.get_world_size()
    x, y = data
    total, steps = 0.0, 0
    for part in shard(len(x), epoch, rank, world).split(BATCH):
        optimizer.zero_grad()
        loss = cross_entropy(model(x[part]), y[part])
        # The gradients' all-reduce runs inside.
        together(loss.backward)
        optimizer.step()
        total, steps = total + loss.item(), steps + 1
    return total / max(steps, 1)


def train(args, group):
    torch.manual_seed(SEED)
    train_data, test_data = load_data()
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    first = resume(args.checkpoint_dir, network, optimizer, group)
    model = together(DistributedDataParallel, network, process_group=group)
    for epoch in range(first, args.epochs):
        begun = time.monotonic()
        loss = train_epoch(model, optimizer, train_data, epoch)
        say(f"epoch {epoch + 1}/{args.epochs} loss {loss:.4f}")
        if dist.get_rank() == 0 and args.checkpoint_dir:
            save(args.checkpoint_dir, epoch + 1, network, optimizer)
        time.sleep(max(0.0, args.epoch_seconds - (time.monotonic() - begun)))
    together(dist.barrier, group=group)
    if dist.get_rank() == 0:
        report(network, test_data, first, args)
        finish(args.checkpoint_dir)


def report(network, data, first, args):
    x, y = data
    with torch.no_grad():
        accuracy = (network(x).argmax(dim=1) == y).float().mean().item()
    print(f"test accuracy: {accuracy:.3f}", flush=True)
    summary = {
        "test_accuracy": round(accuracy, 4),
        "epochs": args.epochs,
        "first_epoch": first,
        "world_size": dist.get_world_size(),
    }
    print(json.dumps(summary, sort_keys=True), flush=True)


def join(args):
    """Meet the other replicas; return the group to work in."""
    host, deadline = os.environ["MASTER_ADDR"], time.monotonic() + args.join_timeout
    while True:
        try:
            socket.getaddrinfo(host, None)
            break
        except OSError as error:
            # The master's name appears together with its pod, which may be later than this one.
            if time.monotonic() > deadline:
                raise PeerLost(f"{host}: {error}") from error
            time.sleep(0.2)
    together(dist.init_process_group, "gloo", timeout=timedelta(seconds=args.join_timeout))
    # To wait long for the others' start is right; later, a peer that is silent for so long is lost.
    return together(dist.new_group, backend="gloo", timeout=timedelta(seconds=args.timeout))


def leave_on_sigterm():
    """End with 143 on SIGTERM, even as process 1 of a container and inside a collective.

    A Python handler would run only after the collective, so a thread waits for the signal.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait():
        signal.sigwait({signal.SIGTERM})
        os._exit(143)

    threading.Thread(target=wait, daemon=True).start()


def fail(code, message):
    """Leave at once: an orderly exit would wait for threads that hang in a collective."""
    print(message, file=sys.stderr, flush=True)
    try:
        Path("/dev/termination-log").write_text(message)
    except OSError:
        pass
    os._exit(code)


def main():
    args = arguments()
    leave_on_sigterm()
    # The replicas share the machine's processors.
    torch.set_num_threads(1)
    try:
        train(args, join(args))
        dist.destroy_process_group()
    except PeerLost as error:
        fail(args.peer_lost_exit_code, f"peer lost: {error}")
    except Exception as error:  # pylint: disable=broad-except; the pod's status shows this line
        fail(1, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
