#!/usr/bin/env python3
"""Train on handwritten digits with MultiWorkerMirroredStrategy: every worker, and the chief if there is one, on its
part of the data, with the same variables everywhere."""

import time

from replica import BATCH, Network, Replica, arguments, dataset, run, wait_for, wait_until_gone

import tensorflow as tf

import digits


def train(strategy, args, me, part):
    """Train, and return the network."""
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        network = Network()
    batches = iter(
        strategy.distribute_datasets_from_function(
            lambda context: dataset(part, context.num_input_pipelines, context.input_pipeline_id)
        )
    )

    def one_replica(x, y):
        loss, gradients = network.loss_and_gradients(x, y)
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        for variable, gradient in zip(network.parts, gradients):
            variable.assign_sub(args.learning_rate * gradient)
        return loss

    @tf.function
    def step(batch):
        losses = strategy.run(one_replica, args=batch)
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    steps = len(part[0]) // (BATCH * replicas)
    for epoch in range(args.epochs):
        begun = time.monotonic()
        loss = sum(float(step(next(batches))) for _ in range(steps)) / steps
        me.say(f"epoch {epoch + 1}/{args.epochs} loss {loss:.4f}")
        time.sleep(max(0.0, args.epoch_seconds - (time.monotonic() - begun)))
    return network


def part_ways(strategy, leads, peers):
    """Leave in order: nobody while another still needs it, and the leader, who watches over all, as the last."""

    @tf.function
    def meet():
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.constant, args=(1,)), axis=None)

    meet()
    if leads:
        wait_until_gone(peers, 30)
    else:
        time.sleep(3)


def main():
    args, me = arguments(__doc__), Replica()
    peers = me.addresses("chief", "worker")
    # Pods' names appear with the pods. Their ports open only in the strategy, where all wait for all.
    wait_for(peers, args.join_timeout, connect=False)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    me.say(f"{strategy.num_replicas_in_sync} replicas")
    train_part, test_part = digits.load()
    network = train(strategy, args, me, train_part)
    leads = (me.type, me.index) == ("chief" if me.cluster.get("chief") else "worker", 0)
    if leads:
        print(f"test accuracy: {network.accuracy(test_part):.3f}", flush=True)
    part_ways(strategy, leads, peers)


if __name__ == "__main__":
    run(main)
