#!/usr/bin/env python3
"""Train Stable-Baselines3's DQN on a problem of offjax, through Gymnasium, and print what it learnt as a JSON line.

Needs ``pip install 'offjax[peers]'``:  python scripts/train_sb3.py nieto2024-v0 --timesteps 20000 --seed 0
"""

import argparse
import json
import sys
import time
from typing import Any

import gymnasium

import offjax.envs
from offjax.errors import ConfigError, MachineError, OffjaxError

EPISODES = 5  # of each evaluation
SETTINGS: dict[str, Any] = {
    "learning_starts": 500,
    "target_update_interval": 500,
    "train_freq": 4,
    "exploration_fraction": 0.5,
    "policy_kwargs": {"net_arch": [32, 32]},
}


def train(env_id: str, timesteps: int, seed: int, **problem_arguments: Any) -> dict[str, Any]:
    """Mean return of the greedy policy before and after ``timesteps`` steps, and what they cost.

    Raises:
      MachineError: Stable-Baselines3 is not installed.
      ConfigError: an unknown id, or a value that is not allowed.
    """
    algorithm, evaluate_policy = _stable_baselines()
    if timesteps < 1:
        raise ConfigError("timesteps", timesteps, "a whole number from 1")
    offjax.envs.make(env_id, **problem_arguments)  # its own words for a mistake
    env, test_env = (gymnasium.make(f"offjax/{env_id}", **problem_arguments) for _ in range(2))

    def mean_return() -> float:
        test_env.reset(seed=seed + 1)
        return float(evaluate_policy(model, test_env, EPISODES, warn=False)[0])

    model = algorithm("MlpPolicy", env, seed=seed, device="cpu", **SETTINGS)
    before, start = mean_return(), time.monotonic()
    model.learn(timesteps)
    seconds = time.monotonic() - start
    cost = {"seconds": seconds, "ms_per_step": 1e3 * seconds / timesteps}
    return {"env": env_id, "timesteps": timesteps, "before": before, "after": mean_return(), **cost}


def _stable_baselines() -> tuple[Any, Any]:
    try:
        import torch
        from stable_baselines3 import DQN
        from stable_baselines3.common.evaluation import evaluate_policy
    except ImportError:
        raise MachineError("stable-baselines3 is not installed: pip install 'offjax[peers]'") from None
    torch.set_num_threads(1)  # networks this small lose by more
    return DQN, evaluate_policy


def main() -> int:
    """Read the command line, train, print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("id", help=f"one of {', '.join(offjax.envs.native_ids())}")
    parser.add_argument("--timesteps", type=int, default=20_000, help="steps of training (default: 20000)")
    parser.add_argument("--seed", type=int, default=0, help="of the learner and of the worlds (default: 0)")
    parser.add_argument("--horizon", type=int, help="slots of an episode (default: the problem's own)")
    given = parser.parse_args()
    arguments = {} if given.horizon is None else {"horizon": given.horizon}
    try:
        print(json.dumps(train(given.id, given.timesteps, given.seed, **arguments)))
    except OffjaxError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
