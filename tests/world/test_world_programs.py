"""What a user can rely on: the world does not depend on the order of devices, on jit, on vmap, or on luck."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coupled_cases import DEVICES as CROWD
from coupled_cases import EVERYTHING, STRUCTURES, make_coupled, make_everything
from world_cases import DEVICES, begin, go_on, make_decisions, make_params, play

from offjax import world as w
from offjax.errors import ConfigError
from offjax.problems import nieto2024
from offjax.problems.nieto2024 import Scenario

FIVE = {"devices": 5, "cells": 1}
MIXED = {
    "probability": (0.3, 0.4, 0.3),
    "bits_high": (2e6, 4e5, 5e6),
    "slot_duration": 0.3,
    "shadowing": 5.9,
    "share_low": (0.5, 0.2),
    "battery": 30.0,
}


def _decisions(seed, devices, slots):
    """Anything that may be decided: undecided, late, with updates on the device and on servers."""
    rng, shape = np.random.default_rng(seed), (slots, devices)
    update = {
        "place": rng.integers(-1, 3, shape),
        "hold": rng.random(shape),
        "bits": 1e6 * rng.random(shape),
        "cycles": 1e9 * rng.random(shape),
        "result_bits": 1e6 * rng.random(shape),
    }
    delay = np.where(rng.random(shape) < 0.3, rng.random(shape), 0.0)
    return make_decisions(rng.integers(-1, 3, shape), delay, update, devices, slots)


def _at(records, slot):
    return jax.device_put(jax.tree.map(lambda leaf: leaf[slot], records))


def _assert_close(left, right):
    """1e-6 for numbers, equal for everything that counts or names."""

    def close(a, b):
        a, b = np.asarray(a), np.asarray(b)
        if np.issubdtype(a.dtype, np.floating):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b[np.isfinite(b)]).max(initial=0.0))
        else:
            np.testing.assert_array_equal(a, b)

    jax.tree.map(close, left, right)


def test_the_order_of_devices_in_a_cell_changes_nothing(key):
    """Bit by bit; only the sum over a cell may round differently."""
    order = np.array([2, 0, 1, 5, 3, 4])
    values = {
        "period": np.array([1, 2, 3, 1, 4, 2]),
        "phase": np.array([0, 1, 0, 2, 0, 1]),
        "battery": np.array([5.0, 30.0, 4000.0, 7.0, 20.0, 100.0]),
        "speed": np.array([1e9, 2e9, 3e9, 5e9, 1e10, 2e8]),
        "transmit_power": np.array([0.2, 0.5, 1.5, 1.0, 0.1, 2.0]),
        "distance": np.array([10.0, 70.0, 200.0, 33.0, 135.0, 1.0]),
    }

    def permute(tree):
        return jax.tree.map(
            lambda leaf: leaf[..., order] if np.ndim(leaf) and leaf.shape[-1] == DEVICES else leaf,
            jax.device_get(tree),
        )

    numbers = {**MIXED, **values, "link": {0: [(9, 12)]}, "server": {0: [(20, 25)], 1: [(40, 44)]}}
    params, decisions = make_params(**numbers), _decisions(1, DEVICES, 120)
    shuffled = make_params(**{**numbers, **{name: value[order] for name, value in values.items()}})
    state, draws = begin(key, params)
    one = go_on(state, draws, params, decisions)
    two = go_on(permute(state), permute(draws), shuffled, permute(decisions))

    def per_device(history):
        return history.outcome, history.before.job, history.before.pending, history.before.device

    jax.tree.map(np.testing.assert_array_equal, permute(per_device(one)), per_device(two))
    _assert_close(one.before.cell, two.before.cell)
    assert len(np.unique(one.outcome.result)) >= 4, "the run is worth comparing"


def test_the_same_key_gives_the_same_bits(key):
    params, decisions = make_params(**MIXED), _decisions(2, DEVICES, 120)
    one, same, other = (play(k, params, decisions) for k in (key, key, jax.random.fold_in(key, 1)))
    jax.tree.map(np.testing.assert_array_equal, (one.outcome, one.last), (same.outcome, same.last))
    assert not np.array_equal(one.outcome.latency, other.outcome.latency)


@pytest.fixture(scope="module")
def step():
    return jax.jit(w.advance)


def test_jit_changes_nothing(key, step):
    params, decisions = make_params(**FIVE, **MIXED), _decisions(3, 5, 2)
    keys = jax.random.split(key, 3)
    plain = fast = w.init(keys[0], params)
    for slot in range(2):
        draws = w.draw(keys[slot + 1], params)
        fast, fast_outcome = step(fast, _at(decisions, slot), draws, params)
        with jax.disable_jit():
            plain, plain_outcome = w.advance(plain, _at(decisions, slot), draws, params)
        _assert_close((fast, fast_outcome), (plain, plain_outcome))


def test_many_worlds_at_once_are_each_of_them(key, step):
    """Worlds of different numbers under ``vmap``, and the same worlds one after the other."""
    slots, worlds = 4, range(3)
    several = [
        make_params(**FIVE, **{**MIXED, "slot_duration": 0.3 * (n + 1), "period": n + 1, "server": {n % 2: [(1, 3)]}})
        for n in worlds
    ]
    decisions = [_decisions(n, 5, slots) for n in worlds]
    keys = jax.random.split(key, (3, slots + 1))
    draws = [[w.draw(keys[n, slot + 1], several[n]) for slot in range(slots)] for n in worlds]

    def stack(trees):
        return jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(trees))

    together = jax.jit(jax.vmap(w.advance))
    states = [w.init(keys[n, 0], several[n]) for n in worlds]
    stacked = stack(states)
    for slot in range(slots):
        now = [(_at(decisions[n], slot), draws[n][slot], several[n]) for n in worlds]
        stacked, outcomes = together(stacked, *stack(now))
        each = [step(state, *args) for state, args in zip(states, now, strict=True)]
        states = [state for state, _ in each]
        _assert_close((stacked, outcomes), stack(each))


@pytest.mark.parametrize("buffer", [0, 1, 3])
def test_types_are_what_they_are_said_to_be(key, buffer):
    """Strict promotion: no integer becomes a float, no int8 an int32, in passing."""
    params = make_params(buffer=buffer)
    decision = _at(_decisions(4, DEVICES, 1), 0)

    def two_slots(key, params):
        state = w.init(key, params)
        after, outcome = w.advance(state, decision, w.draw(key, params), params)
        w.advance(after, w.Decision(decision.place, decision.delay), w.draw(key, params), params)
        return state, after, outcome

    with jax.numpy_dtype_promotion("strict"):
        state, after, _ = jax.eval_shape(two_slots, key, params)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), after
    )


@pytest.mark.parametrize("structure", [*STRUCTURES, *EVERYTHING])
def test_types_of_worlds_that_couple(key, structure):
    """Under strict promotion too, with every switch; what comes out of a slot is what went in."""
    if structure in STRUCTURES:
        params, devices = make_coupled(structure, [[0.5]], 1.0), CROWD
    else:
        params, devices = make_everything(structure), DEVICES
    place, delay = jnp.zeros(devices, jnp.int8), jnp.zeros(devices, jnp.float32)

    def slot(key, params):
        state = w.init(key, params)
        return state, w.advance(state, w.Decision(place, delay), w.draw(key, params), params)[0]

    with jax.numpy_dtype_promotion("strict"):
        state, after = jax.eval_shape(slot, key, params)
    types = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (state, after)]
    assert types[0] == types[1]


@pytest.mark.parametrize("preset", ["text", "figures"])
@pytest.mark.parametrize("devices", [5, 40])
def test_types_of_the_problem(key, preset, devices):
    """Observations and rewards of nieto2024, under strict promotion too; scalars of params as well as arrays."""
    problem = nieto2024.make(preset, Scenario(mec=((1, 2),), backhaul=((0, 3),)), devices=devices)
    decision = w.Decision(jnp.zeros(devices, jnp.int8))

    def slot(key, problem):
        state = w.init(key, problem.params)
        after, outcome = w.advance(state, decision, w.draw(key, problem.params), problem.params)
        seen = problem.normalise(problem.observe(after))
        return seen, problem.reward(outcome, state), problem.terminated(after)

    with jax.numpy_dtype_promotion("strict"):
        seen, reward, terminated = jax.eval_shape(slot, key, problem)
    assert (seen.shape, seen.dtype) == ((devices, len(problem.features)), jnp.float32)
    assert (reward.shape, reward.dtype) == ((devices,), jnp.float32)
    assert (terminated.shape, terminated.dtype) == ((devices,), bool)


def test_messages_of_wrong_use():
    params = make_params(updates=False)
    decision = _at(_decisions(5, DEVICES, 1), 0)
    key = jax.random.key(0, impl="philox4x32")
    with pytest.raises(ValueError, match="updates=True"):
        jax.eval_shape(lambda: w.advance(w.init(key, params), decision, w.draw(key, params), params))
    with pytest.raises(ConfigError, match="coupling: 'often' is not allowed; one of none, slot, exact"):
        w.init(key, params.replace(coupling="often"))
