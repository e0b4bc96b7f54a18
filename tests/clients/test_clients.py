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

HERE = Path(__file__).parent
CLIENTS = HERE.parents[1] / ".venv-clients"
PYTHON = CLIENTS / "bin" / "python"

pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(not (CLIENTS / ".ready").exists(), reason="no .venv-clients: make .venv-clients/.ready"),
]


@pytest.fixture(scope="module")
def best_fixed_place():
    """Mean return of the best of the three rules that always choose the same place."""
    env, params = offjax.make(task.NATIVE, **task.ARGUMENTS)

    def episode(key, place):
        def step(state, key):
            _, state, reward, *_ = env.step(key, state, place, params)
            return state, reward

        return jax.lax.scan(step, env.reset(key, params)[1], jax.random.split(key, task.HORIZON))[1].sum()

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
def test_a_foreign_trainer_learns(script, arguments, best_fixed_place):
    """It loses less than half of what it lost untrained, and by gradients less than the best fixed place."""
    done = subprocess.run(
        [PYTHON, HERE / script, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = json.loads(done.stdout.splitlines()[-1])
    print(line, f"best fixed place {best_fixed_place:.3f}")
    assert line["after"] > 0.5 * line["before"]
    if script != "evosax_es.py":  # a short evolution comes to a fixed place with some seeds
        assert line["after"] > best_fixed_place
