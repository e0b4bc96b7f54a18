"""jaxnasium: PPO or DQN (second argument) on a native id (first argument), through ``jn.make("gymnax:<id>")``."""

import sys

import equinox as eqx
import jax
import jaxnasium as jn
from jaxnasium.algorithms import DQN, PPO
from task import TASKS, Task, report

EPISODES = 20
ALGORITHMS = {
    "ppo": PPO(total_timesteps=100_000, num_envs=16, learning_rate_start=1e-3, log_function=None),
    "dqn": DQN(total_timesteps=60_000, num_envs=8, learning_rate_start=1e-3, warmup_steps=1000, log_function=None),
}


def train(task: Task, name: str) -> tuple[float, float]:
    """Mean return before and after."""
    env = jn.make(f"gymnax:{task.native}", **task.arguments)
    init_key, train_key, test_key = jax.random.split(jax.random.key(0), 3)
    algorithm = ALGORITHMS[name]
    agent = algorithm.init_agent(init_key, env)
    # With the policy's own noise: an untrained greedy policy may be a good fixed rule by luck.
    evaluate = eqx.filter_jit(lambda agent: agent.evaluate(test_key, env, EPISODES, deterministic_policy=False).mean())
    before = float(evaluate(agent))
    agent, _ = algorithm.train(train_key, env, agent)
    return before, float(evaluate(agent))


report(f"jaxnasium {sys.argv[2]}", lambda: train(TASKS[sys.argv[1]], sys.argv[2]))
