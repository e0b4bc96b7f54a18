"""Trainers that nobody here wrote learn on our ids, unmodified, each in a process and an environment of its own."""

import json
import os
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import task

import offjax
import offjax.envs

HERE = Path(__file__).parent
CLIENTS = HERE.parents[1] / ".venv-clients"
PYTHON = CLIENTS / "bin" / "python"

pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(not (CLIENTS / ".ready").exists(), reason="no .venv-clients: make .venv-clients/.ready"),
]


def test_every_problem_is_tried():
    assert set(task.TASKS) == set(offjax.envs.native_ids())


@pytest.fixture(scope="module", params=task.TASKS)
def problem(request):
    return task.TASKS[request.param]


@pytest.fixture(scope="module")
def best_fixed_place(problem):
    """Mean return of the best of the rules that always choose the same place."""
    env, params = offjax.make(problem.native, **problem.arguments)

    def episode(key, place):
        def step(carry, key):
            state, over = carry
            _, state, reward, terminated, truncated, _ = env.step(key, state, place, params)
            return (state, over | terminated | truncated), jnp.where(over, 0.0, reward)

        start = (env.reset(key, params)[1], jnp.zeros((), bool))
        return jax.lax.scan(step, start, jax.random.split(key, problem.horizon))[1].sum()

    over_places = jax.vmap(jax.vmap(episode, in_axes=(0, None)), in_axes=(None, 0))
    returns = jax.jit(over_places)(jax.random.split(jax.random.key(0), 64), jnp.arange(env.num_actions))
    return float(returns.mean(axis=1).max())


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("evosax_es.py", []),
        ("jaxnasium_agents.py", ["ppo"]),
        ("jaxnasium_agents.py", ["dqn"]),
        ("rejax_agents.py", ["ppo"]),
        ("rejax_agents.py", ["dqn"]),
    ],
)
def test_a_foreign_trainer_learns(script, arguments, problem, best_fixed_place):
    """It misses the bound by less than half of what it did untrained, and by gradients by less than any fixed place."""
    done = subprocess.run(
        [PYTHON, HERE / script, problem.native, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},  # ours are not for every program
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = json.loads(done.stdout.splitlines()[-1])
    print(line, f"best fixed place {best_fixed_place:.3f}")
    assert line["after"] - line["before"] > 0.5 * (problem.bound - line["before"])
    if script != "evosax_es.py":  # a short evolution comes to a fixed place with some seeds
        assert line["after"] > best_fixed_place
