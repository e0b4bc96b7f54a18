"""What a user can rely on: a world cut over two machines' devices is the same world, and draws are what they were."""

import pickle
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coupled_cases import DEVICES, bandwidth_for, make_coupled
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from world_cases import CELLS, SLOTS, begin, cut_in, go_on, make_decisions, make_params

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
PATIENCE = 120  # s for two processes


@pytest.fixture(scope="module")
def mesh():
    assert len(jax.devices()) == 2
    return Mesh(np.array(jax.devices()), ("shard",))


def _cut(tree, mesh, devices):
    """Every array where it belongs."""
    return jax.tree.map(lambda leaf: jax.device_put(leaf, NamedSharding(mesh, cut_in(leaf, devices))), tree)


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


@pytest.mark.ci
def test_two_processes_are_one(key, tmp_path):
    """Each has one device and one cell, and they talk over the network; single slots of a run, all else given."""
    params, decisions, devices = _world("exact fifo")
    state, draws = begin(key, params)
    whole = go_on(state, draws, params, decisions)
    slots = (5, 40, 80)
    given = [jax.tree.map(lambda leaf, t=t: np.asarray(leaf[t]), (whole.before, decisions, draws)) for t in slots]
    processes, here, found = _advance_in_two_processes(tmp_path, devices, jax.device_get(params), given)
    assert (processes, here) == (2, 1)
    for t, (after, outcome, ended) in zip(slots, found, strict=True):
        expected = jax.tree.map(lambda leaf, t=t: leaf[t], whole.outcome)
        following = jax.tree.map(lambda leaf, t=t: leaf[t + 1], whole.before)
        jax.tree.map(_close, (expected, _with_whole(following)), (outcome, _with_whole(after)))
        assert ended == (expected.result != w.End.NONE).sum()
    assert sum(int(ended) for _, _, ended in found) > 0, "the slots are worth comparing"


def _advance_in_two_processes(folder, *given):
    """What ``one_of_two.py`` finds; nothing that it started is left behind."""
    (folder / "given.pickle").write_bytes(pickle.dumps(given))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    script = Path(__file__).with_name("one_of_two.py")
    commands = [[sys.executable, str(script), address, str(index), str(folder)] for index in range(2)]
    with ExitStack() as stack:
        children = [_start(stack, command) for command in commands]
        said = [child.communicate(timeout=PATIENCE)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0], "\n".join(said)
    return pickle.loads((folder / "found.pickle").read_bytes())


def _start(stack, command):
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stack.enter_context(child)
    stack.callback(child.kill)  # before the wait for it; of no effect where it has ended
    return child


def _comparable(history):
    """All that a run leaves."""
    return history.outcome, _with_whole(history.before), _with_whole(history.last)


def _with_whole(state):
    """What was drawn from a battery in one number, for its small half alone is all rounding."""
    spent = np.float64(state.device.spent) + state.device.spent_low
    return state.replace(device=state.device.replace(spent=spent, spent_low=0.0 * spent))


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
