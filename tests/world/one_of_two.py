"""One of two processes that advance one world together: ``one_of_two.py ADDRESS INDEX FOLDER``.

Reads ``given.pickle`` from the folder: (devices, params, [(state, decision, draws)]) of NumPy arrays. The first process
writes ``found.pickle``: (devices of the program, of which here, [(state, outcome, tasks that ended)]).
"""

import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh, NamedSharding
from world_cases import cut_in

from offjax import world

SECONDS = 60  # that the other process may take to come


@jax.jit
def advance(state, decision, draws, params):
    """The last number is a sum over both processes."""
    after, outcome = world.advance(state, decision, draws, params)
    return after, outcome, jnp.sum(outcome.result != world.End.NONE, dtype=jnp.int32)


def main(address: str, index: str, folder: str) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, 2, int(index), initialization_timeout=SECONDS)
    devices, params, given = pickle.loads(Path(folder, "given.pickle").read_bytes())
    mesh = Mesh(np.array(jax.devices()), ("shard",))

    def place(leaf):
        leaf = np.asarray(leaf)
        sharding = NamedSharding(mesh, cut_in(leaf, devices))
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

    params = jax.tree.map(place, params)
    found = [advance(*jax.tree.map(place, slot), params) for slot in given]
    found = [process_allgather(results, tiled=True) for results in found]
    if jax.process_index() == 0:
        counts = len(jax.devices()), len(jax.local_devices())
        Path(folder, "found.pickle").write_bytes(pickle.dumps((*counts, found)))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
