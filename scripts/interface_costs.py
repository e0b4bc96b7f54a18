#!/usr/bin/env python3
"""Measure what a step costs through each interface of a problem, and print the table of docs/environments.md.

python scripts/interface_costs.py nieto2024-v0            as a process of other people runs it
python scripts/interface_costs.py nieto2024-v0 --fused    with the flags of offjax/xla_flags.py
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from offjax.xla_flags import set_flags

if "--fused" in sys.argv:
    set_flags(os.environ)

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import offjax.envs
from offjax.envs import fleet_view, make_fleet, seed_key
from offjax.envs.pettingzoo_env import DevicesParallelEnv

REPEATS = 5  # the best is told: others only wait for the machine
HORIZON = 1_000_000  # no call in the timing ends an episode


def seconds_per_call(call: Callable[[], Any], calls: int) -> float:
    """The least mean of REPEATS series, after one that compiles."""
    means = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        for _ in range(calls):
            result = call()
        jax.block_until_ready(result)
        means.append((time.perf_counter() - start) / calls)
    return min(means[1:])


def gymnasium_rows(env_id: str) -> Iterator[tuple[str, float, int]]:
    """Name, seconds per call and device steps per call."""
    env = gymnasium.make(f"offjax/{env_id}", horizon=HORIZON)
    env.reset(seed=0)
    yield "Gymnasium, reset", seconds_per_call(env.reset, 1000), 1
    yield "Gymnasium, step", seconds_per_call(partial(env.step, 1), 1000), 1
    for count in (64, 1024, 16384):
        vector = gymnasium.make_vec(f"offjax/{env_id}", num_envs=count, horizon=HORIZON)
        vector.reset(seed=0)
        yield f"Gymnasium, {count} in a vector", seconds_per_call(partial(vector.step, np.ones(count, int)), 50), count


def pettingzoo_rows(env_id: str) -> Iterator[tuple[str, float, int]]:
    """The same for the agents of a fleet."""
    for devices in (20, 200):
        env = DevicesParallelEnv(fleet_view(make_fleet(env_id, devices=devices, horizon=HORIZON).problem), env_id)
        env.reset(seed=0)
        action = dict.fromkeys(env.agents, 1)
        yield f"PettingZoo, {devices} agents", seconds_per_call(partial(env.step, action), 200), devices


def native_rows(env_id: str) -> Iterator[tuple[str, float, int]]:
    """The same for scans inside one program: native environments under vmap, and the fleet view."""
    steps = 50
    env, params = offjax.make(env_id, horizon=HORIZON)
    key = seed_key(0)
    state = env.reset(key, params)[1]

    def step_from_python() -> Any:
        return env.step(key, state, 1, params)

    yield "native, a loop in Python", seconds_per_call(step_from_python, 200), 1

    @jax.jit
    def scan_native(keys: jax.Array) -> jax.Array:
        def step(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            _, state, reward, *_ = jax.vmap(env.step, in_axes=(0, 0, None, None))(
                jax.random.split(key, len(keys)), state, 1, params
            )
            return state, reward.mean()

        start = jax.vmap(env.reset, in_axes=(0, None))(keys, params)[1]
        return jax.lax.scan(step, start, jax.random.split(key, steps))[1].sum()

    for count in (1024, 16384):
        keys = jax.random.split(key, count)
        yield f"native, {count} under vmap", seconds_per_call(partial(scan_native, keys), 1) / steps, count

    @jax.jit
    def scan_fleet(view: Any, key: jax.Array) -> jax.Array:
        def step(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            _, state, reward, *_ = view.step(key, state, jnp.ones(view.devices, jnp.int32))
            return state, reward.mean()

        return jax.lax.scan(step, view.reset(key)[1], jax.random.split(key, steps))[1].sum()

    for count in (1000, 16000):
        view = make_fleet(env_id, devices=count, horizon=HORIZON)
        yield f"fleet view, {count} devices", seconds_per_call(partial(scan_fleet, view, key), 1) / steps, count


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("id", nargs="?", default="nieto2024-v0", help="of the problem")
    parser.add_argument("--fused", action="store_true", help="set the flags of offjax/xla_flags.py")
    given = parser.parse_args()
    env_id = given.id
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {env_id}, fused: {given.fused}")
    print("| interface | a call | a device step |\n|---|---|---|")
    for rows in (gymnasium_rows, pettingzoo_rows, native_rows):
        for name, seconds, devices in rows(env_id):
            print(f"| {name} | {1e3 * seconds:.3g} ms | {1e6 * seconds / devices:.3g} µs |", flush=True)


if __name__ == "__main__":
    main()
