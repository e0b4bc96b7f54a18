"""The figure of one online run: three agents, shared and independent learners, and what it says of their order."""

from pathlib import Path

import numpy as np

from offjax.agents import make_agent
from offjax.config import load_config
from offjax.figures.online import AGENTS, LEARNERS, compare, table, variant
from offjax.pipeline import build_tasks


def _config():
    return load_config(Path(__file__).parents[2] / "configs/online.yaml")


def test_the_protocol_is_that_of_the_paper():
    config = _config()
    assert (config.problem.devices, config.problem.slots, config.problem.devices_per_cell) == (20, 2000, 20)
    assert config.problem.scenarios == ("scenario1",)
    assert (config.training.worlds, config.training.rounds) == (1, 1)
    assert config.training.seeds >= 10
    names = {agent: variant(config, agent, "independent") for agent in AGENTS}
    assert names["joint"].agents.ac.networks == "joint"
    assert names["separate"].agents.ac.networks == "separate"
    assert names["d3qn"].agents.ddqn.dueling
    assert all(own.training.learners == "independent" and len(own.agents.named()) == 1 for own in names.values())
    defaults = make_agent("ac")
    separate = build_tasks(names["separate"])[0].unit.agents[0]
    assert (separate.actor_learning_rate, separate.hidden) == (defaults.actor_learning_rate, defaults.hidden)


def test_the_order_is_what_the_rewards_say():
    seeds = np.arange(10.0)[:, None]
    rewards = {"separate": seeds + 20, "joint": seeds + 20, "d3qn": seeds}
    found = {
        (learners, agent): {"reward": own * np.ones((1, 4)), "success": own * np.ones((1, 4))}
        for learners in LEARNERS
        for agent, own in rewards.items()
    }
    told = compare(found)
    better = told["probability_of_improvement"]
    assert better["shared joint over d3qn"]["value"] == 1
    assert better["shared separate over joint"]["value"] == 0.5
    assert told["reward_per_task"]["independent d3qn"]["value"] == 4.5
    lines = table(found, np.array([5, 10, 15, 20])).splitlines()
    assert lines[0] == "learners,agent,quantity,slot,iqm,low,high"
    assert len(lines) == 1 + 2 * 3 * 2 * 4
