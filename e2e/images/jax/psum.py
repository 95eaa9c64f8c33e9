#!/usr/bin/env python3
"""Add up numbers of all processes with a psum, and see that the sum is right on each."""

import process
from peers import local, meet, mesh, say, split

import jax
import numpy as np
from jax.sharding import PartitionSpec


def main():
    meet(300)
    places = mesh()

    @jax.jit
    @jax.shard_map(mesh=places, in_specs=PartitionSpec("replica"), out_specs=PartitionSpec())
    def total(x):
        return jax.lax.psum(x.sum(), "replica")

    # Process p has p + 1 on each of its devices.
    own = np.full(jax.local_device_count(), jax.process_index() + 1.0, dtype=np.float32)
    found = float(local(total(split(places, own))))
    expected = sum((device.process_index + 1.0) for device in jax.devices())
    assert found == expected, f"psum is {found} and not {expected}"
    say(f"psum {found:g}")
    jax.distributed.shutdown()


if __name__ == "__main__":
    process.leave_on_sigterm()
    process.run(main, lost=jax.errors.JaxRuntimeError)
