#!/usr/bin/env python3
"""Train on handwritten digits with ParameterServerStrategy: the chief hands steps to the workers, and the parameter
servers hold the variables. The chief ends the run; servers and workers serve until they are stopped. A worker that
is lost costs nothing but its step: the others take it over, and the worker is used again once it is back."""

import time

from replica import BATCH, Network, Replica, arguments, dataset, run, wait_for

import tensorflow as tf

import digits


def serve(me):
    """Do what the chief says, for ever."""
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=4)
    server = tf.distribute.Server(
        tf.train.ClusterSpec(me.cluster), job_name=me.type, task_index=me.index, protocol="grpc", config=config
    )
    me.say("serving")
    server.join()


def train(strategy, args, me, part):
    """Train, and return the network."""
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        network = Network()
    batches = iter(coordinator.create_per_worker_dataset(lambda: dataset(part)))

    def one_replica(x, y):
        loss, gradients = network.loss_and_gradients(x, y)
        for variable, gradient in zip(network.parts, gradients):
            variable.assign_sub(args.learning_rate * gradient)
        return loss

    @tf.function
    def step(iterator):
        losses = strategy.run(one_replica, args=next(iterator))
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    steps = len(part[0]) // BATCH
    for epoch in range(args.epochs):
        begun = time.monotonic()
        losses = [coordinator.schedule(step, args=(batches,)) for _ in range(steps)]
        coordinator.join()
        loss = sum(coordinator.fetch(losses)) / steps
        me.say(f"epoch {epoch + 1}/{args.epochs} loss {loss:.4f}")
        time.sleep(max(0.0, args.epoch_seconds - (time.monotonic() - begun)))
    return network


def main():
    args, me = arguments(__doc__), Replica()
    if me.type in ("ps", "worker"):
        serve(me)
        return
    wait_for(me.addresses("ps", "worker"), args.join_timeout, connect=True)
    strategy = tf.distribute.ParameterServerStrategy(tf.distribute.cluster_resolver.TFConfigClusterResolver())
    train_part, test_part = digits.load()
    network = train(strategy, args, me, train_part)
    print(f"test accuracy: {network.accuracy(test_part):.3f}", flush=True)


if __name__ == "__main__":
    run(main)
