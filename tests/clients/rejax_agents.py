"""rejax: PPO or DQN (second argument) on the legacy id of a problem (first argument), made by its name."""

import sys

import jax
from rejax import get_algo
from task import TASKS, Task, report

SETTINGS = {
    "ppo": {
        "total_timesteps": 163_840,
        "eval_freq": 163_840,
        "num_envs": 32,
        "num_steps": 64,
        "num_minibatches": 8,
        "num_epochs": 4,
        "learning_rate": 1e-3,
        "agent_kwargs": {"hidden_layer_sizes": [32, 32]},
    },
    "dqn": {
        "total_timesteps": 40_000,
        "eval_freq": 40_000,
        "num_envs": 8,
        "fill_buffer": 1000,
        "learning_rate": 1e-3,
        "exploration_fraction": 0.5,
    },
}


def train(task: Task, name: str) -> tuple[float, float]:
    """Mean return over rejax's own 128 episodes before and after."""
    algorithm = get_algo(name).create(env=task.legacy, env_params=task.arguments, **SETTINGS[name])
    _, (_, returns) = jax.jit(algorithm.train)(jax.random.key(0))
    return float(returns[0].mean()), float(returns[-1].mean())


report(f"rejax {sys.argv[2]}", lambda: train(TASKS[sys.argv[1]], sys.argv[2]))
