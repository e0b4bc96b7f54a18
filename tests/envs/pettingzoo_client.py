"""PettingZoo's own test on an id (first argument), in a process that has PettingZoo; prints what a rollout scored."""

import json
import sys
import warnings

from pettingzoo.test import parallel_api_test, parallel_seed_test

from offjax.envs.pettingzoo_env import parallel_env

HORIZON, DEVICES, SEED, STEPS = 30, 4, 3, 8


def rollout(env):
    """Rewards [STEPS, DEVICES] under actions that go round the places."""
    env.reset(seed=SEED)
    places = env.action_space("device_0").n
    rewards = []
    for step in range(STEPS):
        told = env.step({agent: (step + number) % places for number, agent in enumerate(env.agents)})
        rewards.append(list(told[1].values()))
    return rewards


def main(env_id):
    def make():
        return parallel_env(env_id, devices=DEVICES, horizon=HORIZON)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(make(), num_cycles=3 * HORIZON)
        parallel_seed_test(make, num_cycles=HORIZON)
    print(json.dumps(rollout(make())))


main(sys.argv[1])
