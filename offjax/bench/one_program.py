"""The peer of a sweep: one compiled program that trains agents one after the other; run as a process of its own."""

import sys

import jax

from offjax.agents import make_agent
from offjax.learning import train
from offjax.learning.train import GENERATOR, Plan
from offjax.problems import laas2022

DEVICES, SLOTS, WORLDS, ROUNDS = 80, 200, 4, 40
HYPER = {"entropy_coefficient": 0.8, "critic_learning_rate": 3e-3}
LOW, HIGH = 1e-4, 3e-2  # of the learning rates


def learning_rates(count: int) -> list[float]:
    """So many, evenly spaced by their ratio."""
    return [LOW * (HIGH / LOW) ** (index / max(count - 1, 1)) for index in range(count)]


def train_all(width: int, agents: int) -> list[float]:
    """The last training reward of each of ``agents`` agents with hidden layers of ``width``."""
    problem = laas2022.make(laas2022.CALM, devices=DEVICES // WORLDS, horizon=SLOTS)
    plan = Plan(horizon=SLOTS, worlds=WORLDS)
    rewards = []
    for index, rate in enumerate(learning_rates(agents)):
        agent = make_agent("ac", hidden=(width, width), actor_learning_rate=rate, **HYPER)
        start = train.init if index else train.begin
        state = start(jax.random.key(index, impl=GENERATOR), agent, problem, plan)
        for _ in range(ROUNDS):
            state, metrics = train.train_round(agent, problem, state, plan)
        _, last = jax.device_get((state.agent, metrics))
        rewards.append(float(last["reward"].mean()))
    return rewards


if __name__ == "__main__":
    print(train_all(int(sys.argv[1]), int(sys.argv[2])))
