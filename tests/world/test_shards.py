"""What a user can rely on: a world cut over two machines' devices is the same world, and draws are what they were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coupled_cases import DEVICES, bandwidth_for, make_coupled
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from world_cases import CELLS, SLOTS, begin, go_on, make_decisions, make_params

from offjax import world as w

LIVELY = {
    "slot_duration": 0.4,
    "probability": (0.3, 0.4, 0.3),
    "bits_low": (2e5, 1e5, 1e6),
    "bits_high": (2e6, 4e5, 2e6),
    "cycles_per_bit": (1e3, 2e3, 5e2),
    "shadowing": 5.9,
    "cell_rate": 3e6,
    "bandwidth": bandwidth_for(2e6),
    "server_speed": (2e9, 1e10),
    "share_low": (0.5, 0.2),
    "battery": 40.0,
    "link": {0: [(9, 12)]},
    "server": {0: [(20, 25)]},
    "load": {0: [(40, 0.5)]},
}


@pytest.fixture(scope="module")
def mesh():
    assert len(jax.devices()) == 2
    return Mesh(np.array(jax.devices()), ("shard",))


def _cut(tree, mesh, devices):
    """Every array cut in two along its devices, else along its cells; what has neither is on both."""

    def place(leaf):
        shape = jnp.shape(leaf)
        axis = shape.index(devices) if devices in shape else shape.index(CELLS) if CELLS in shape else None
        names = [None if number != axis else "shard" for number in range(len(shape))]
        return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*names)))

    return jax.tree.map(place, tree)


def _world(coupling):
    """Params and decisions: nothing coupled, or a structure of coupled_cases.py."""
    devices = 6 if coupling == "none" else DEVICES
    rng = np.random.default_rng(4)
    decisions = make_decisions(rng.integers(-1, 3, (SLOTS, devices)), devices=devices)
    if coupling == "none":
        return make_params(**LIVELY), decisions, devices
    times = np.sort(rng.uniform(0.0, 0.8 * SLOTS * 0.4, (devices, 12)))
    numbers = {name: value for name, value in LIVELY.items() if name != "slot_duration"}
    params = make_coupled(coupling, times, 0.4, rng.integers(0, 3, times.shape), **numbers)
    return params, decisions.replace(update=None), devices


@pytest.mark.parametrize("coupling", ["none", "slot ps", "exact fifo"])
def test_two_shards_are_one(key, mesh, coupling):
    """Integers and names are the same, numbers to 1e-6."""
    params, decisions, devices = _world(coupling)
    state, draws = begin(key, params)
    whole = go_on(state, draws, params, decisions)
    cut = [_cut(tree, mesh, devices) for tree in (state, draws, params, decisions)]
    assert len(cut[0].job.left.uplink.sharding.device_set) == 2
    assert not cut[0].job.left.uplink.sharding.is_fully_replicated
    halves = go_on(*cut)
    jax.tree.map(_close, _comparable(whole), _comparable(halves))
    assert len(np.unique(whole.outcome.result)) >= 4, "the run is worth comparing"


def _comparable(history):
    """All that a run leaves; what was drawn from a battery in one number, for its small half alone is all rounding."""

    def whole(state):
        spent = np.float64(state.device.spent) + state.device.spent_low
        return state.replace(device=state.device.replace(spent=spent, spent_low=0.0 * spent))

    return history.outcome, whole(history.before), whole(history.last)


def _close(one, other):
    if np.issubdtype(one.dtype, np.floating):
        scale = np.abs(one[np.isfinite(one)]).max(
            initial=LIVELY["slot_duration"]
        )  # times are differences to the slot's
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6 * scale)
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("generator", ["philox4x32", "threefry2x32"])
def test_the_same_key_is_the_same_draw_wherever_it_is_made(mesh, generator):
    """In one program or operation by operation, on either device; a world takes both generators."""
    key, params = jax.random.key(5, impl=generator), make_params()
    made = jax.jit(lambda key: w.draw(key, params))
    whole = w.draw(key, params)
    for other in (w.draw(key, params), made(key), made(jax.device_put(key, jax.devices()[1]))):
        jax.tree.map(np.testing.assert_array_equal, whole, other)
    assert whole.device.shape == (3, params.devices)
    assert whole.server.shape == (2, CELLS)
    assert whole.device.dtype == whole.server.dtype == jnp.uint32


def test_a_draw_in_two_halves(mesh):
    """Of threefry; jax 0.10.2 cannot compile philox4x32 for two devices: draw on one, then cut."""
    key, params = jax.random.key(5, impl="threefry2x32"), make_params()
    half = NamedSharding(mesh, PartitionSpec(None, "shard"))
    halves = jax.jit(lambda key: w.draw(key, params), out_shardings=w.Draws(device=half, server=half))(key)
    jax.tree.map(np.testing.assert_array_equal, w.draw(key, params), halves)


def test_the_same_key_is_the_same_world(key):
    """And another key is another."""
    params, decisions, _ = _world("exact fifo")
    runs = [go_on(*begin(each, params), params, decisions) for each in (key, key, jax.random.fold_in(key, 1))]
    jax.tree.map(np.testing.assert_array_equal, (runs[0].outcome, runs[0].last), (runs[1].outcome, runs[1].last))
    assert not np.array_equal(runs[0].outcome.latency, runs[2].outcome.latency)
