"""What the JAX programs share: how processes meet, and where their arrays live.

The addresses come from the environment (COORDINATOR_ADDRESS, COORDINATOR_PORT, NUM_PROCESSES, PROCESS_ID, or
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID), as set by a JAXJob. JAX itself reads only the coordinator's
address, so the rest must be handed to it.
"""

import os

import process

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def coordinator():
    """Return the address at which process 0 listens."""
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    return address or f"{os.environ['COORDINATOR_ADDRESS']}:{os.environ['COORDINATOR_PORT']}"


def meet(seconds):
    """Wait for all processes; afterwards every one sees the devices of all."""
    jax.distributed.initialize(
        coordinator_address=coordinator(),
        num_processes=int(process.variable("JAX_NUM_PROCESSES", "NUM_PROCESSES")),
        process_id=int(process.variable("JAX_PROCESS_ID", "PROCESS_ID")),
        # Without this JAX looks for other kinds of clusters as well, and warns of Kubernetes.
        cluster_detection_method="deactivate",
        initialization_timeout=seconds,
        # How soon the others learn that one is gone.
        heartbeat_timeout_seconds=20,
    )
    devices = f"{jax.local_device_count()} of {jax.device_count()} devices"
    say(f"process {jax.process_index()} of {jax.process_count()} on {os.uname().nodename}, {devices}")


def say(message):
    process.say(f"process {jax.process_index()}", message)


def mesh():
    """Return all devices of all processes, in a row."""
    return Mesh(np.array(jax.devices()), ("replica",))


def split(places, own):
    """Return an array whose parts lie with the processes; this one's is `own`."""
    return jax.make_array_from_process_local_data(NamedSharding(places, PartitionSpec("replica")), np.asarray(own))


def everywhere(places, value):
    """Return an array of which every device has a copy."""
    return jax.make_array_from_process_local_data(NamedSharding(places, PartitionSpec()), np.asarray(value))


def local(array):
    """Return this process's copy of an array that is everywhere."""
    return np.asarray(array.addressable_data(0))
