#!/usr/bin/env python3
"""Train boosted trees on breast cancer data, each process on its part of the rows.

Everything it needs to know about the others comes from the environment (MASTER_ADDR, MASTER_PORT, WORLD_SIZE, RANK,
or XGBoost's names for them), as set by an XGBoostJob. XGBoost itself reads none of them. The process of rank 0 also
runs the tracker, at which all processes meet and which ends when all have left.

breast_cancer.csv.gz is scikit-learn's copy of "Breast Cancer Wisconsin (Diagnostic)" (W. Wolberg, O. Mangasarian,
N. Street and W. Street, UCI Machine Learning Repository, CC BY 4.0): a tumour a line, 30 measures and whether it is
benign.
"""

import argparse
import hashlib
import time
from pathlib import Path

import process

import numpy as np
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

DATA = Path(__file__).with_name("breast_cancer.csv.gz")
SEED = 7
PARAMETERS = {"objective": "binary:logistic", "eval_metric": "error", "max_depth": 3, "eta": 0.3, "nthread": 1}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--round-seconds", type=float, default=0, help="make every round take at least this long")
    parser.add_argument("--join-timeout", type=int, default=300, help="seconds to wait for the others at the start")
    return parser.parse_args()


class Replica:
    """Who this process is, and where the tracker is."""

    def __init__(self):
        self.host = process.variable("DMLC_TRACKER_URI", "MASTER_ADDR")
        self.port = int(process.variable("DMLC_TRACKER_PORT", "MASTER_PORT"))
        self.size = int(process.variable("DMLC_NUM_WORKER", "WORLD_SIZE"))
        self.rank = int(process.variable("DMLC_TASK_ID", "RANK"))

    def say(self, message):
        process.say(f"rank {self.rank}", message)


def start_tracker(me, seconds):
    """Listen. After a restart in the same pod the port is the old tracker's for another minute."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            tracker = RabitTracker(n_workers=me.size, host_ip="0.0.0.0", port=me.port, sortby="task")
            break
        except xgb.core.XGBoostError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
    tracker.start()
    return tracker


def meet(me, seconds):
    """Return the context in which the processes work together."""
    process.wait_for_name(me.host, seconds)
    # The second try is two seconds after the first, the third four after the second, and so on.
    tries = next(tries for tries in range(1, 1000) if tries * (tries - 1) >= seconds)
    return collective.CommunicatorContext(
        dmlc_tracker_uri=me.host,
        dmlc_tracker_port=me.port,
        # The tracker gives out ranks in the order of these words: without zeros, 10 would come before 2.
        dmlc_task_id=f"{me.rank:06}",
        dmlc_retry=tries,
    )


def load():
    """Return the training and the test part as (measures, benign), the same in every process."""
    rows = np.loadtxt(DATA, delimiter=",", dtype=np.float32)
    rows = rows[np.random.RandomState(SEED).permutation(len(rows))]
    split = len(rows) * 4 // 5
    return (rows[:split, :-1], rows[:split, -1]), (rows[split:, :-1], rows[split:, -1])


class Progress(xgb.callback.TrainingCallback):
    """Says how far it is, and takes its time."""

    def __init__(self, me, args):
        super().__init__()
        self.me, self.args, self.begun = me, args, 0.0

    def before_iteration(self, model, epoch, evals_log):
        self.begun = time.monotonic()
        return False

    def after_iteration(self, model, epoch, evals_log):
        error = evals_log["train"]["error"][-1]
        self.me.say(f"round {epoch + 1}/{self.args.rounds} error {error:.4f}")
        process.pace(self.begun, self.args.round_seconds)
        return False


def train(me, args, rows):
    """Train with the others, and return what came of it."""
    assert (collective.get_rank(), collective.get_world_size()) == (me.rank, me.size)
    me.say(f"rank {me.rank} of {me.size} on {collective.get_processor_name()}")
    x, y = rows
    mine = xgb.DMatrix(x[me.rank :: me.size], y[me.rank :: me.size])
    model = xgb.train(
        PARAMETERS,
        mine,
        args.rounds,
        evals=[(mine, "train")],
        verbose_eval=False,
        callbacks=[Progress(me, args)],
    )
    assert_same_everywhere(me, model)
    return model


def assert_same_everywhere(me, model):
    """The trees grew out of all processes' rows, so they must be equal although the rows are not."""
    digest = hashlib.sha256(model.save_raw("json")).digest()
    number = np.array([int.from_bytes(digest[:7], "big")], dtype=np.int64)
    least, greatest = (collective.allreduce(number, op)[0] for op in (collective.Op.MIN, collective.Op.MAX))
    assert least == greatest, "the processes have different models"
    me.say(f"model {digest.hex()[:12]}, the same on all {me.size}")


def report(model, test):
    x, y = test
    odds = model.predict(xgb.DMatrix(x))
    print(f"test accuracy: {np.mean((odds > 0.5) == y):.3f}", flush=True)


def main():
    args, me = arguments(), Replica()
    train_part, test_part = load()
    tracker = start_tracker(me, args.join_timeout) if me.rank == 0 else None
    with meet(me, args.join_timeout):
        model = train(me, args, train_part)
    # Among the others even a matrix is made by all together, so this is done alone.
    if me.rank == 0:
        report(model, test_part)
    if tracker:
        tracker.wait_for()


if __name__ == "__main__":
    process.leave_on_sigterm()
    process.run(main, lost=(xgb.core.XGBoostError, TimeoutError))
