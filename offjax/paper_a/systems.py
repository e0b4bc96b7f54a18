"""The system of the paper made from the configuration: agent, architectures, and the problem of all experiments."""

from typing import Any

import jax

from offjax.agents import make_agent
from offjax.config.paper_a import SystemConfig
from offjax.learning import system
from offjax.learning.access_point import Links
from offjax.learning.centralised import Centralised
from offjax.learning.cloud import Learner
from offjax.learning.distributed import Distributed
from offjax.learning.system import Architecture, Report
from offjax.problems import laas2022
from offjax.problems.spec import Problem

BATTERY = 1e9  # J: experiments last longer than the problem's 4000 J, and are about other things


def ddqn(config: SystemConfig, **changes: Any) -> Any:
    """The agent of the configuration, with some fields of its record changed."""
    fields: dict[str, Any] = {
        "hidden": config.hidden,
        "learning_rate": config.learning_rate,
        "gamma": config.gamma,
        "batch_size": config.batch_size,
        "epsilon_final": config.epsilon_final,
        "epsilon_decay_updates": config.epsilon_decay_updates,
        "target_update_period": config.target_update_period,
    }
    return make_agent("ddqn", **(fields | changes))


def learner(config: SystemConfig, agent: Any = None, **changes: Any) -> Learner:
    """Algorithm 1 with the numbers of the configuration."""
    fields: dict[str, Any] = {
        "weights_period": config.weights_period,
        "brm_capacity": config.brm_capacity,
        "arm_capacity": config.arm_capacity,
    }
    return Learner(ddqn(config) if agent is None else agent, **(fields | changes))


def distributed(config: SystemConfig, own: Learner | None = None, **changes: Any) -> Distributed:
    """Devices that decide by themselves."""
    fields: dict[str, Any] = {"sending_period": config.sending_period, "links": Links()}
    return Distributed(own or learner(config), **(fields | changes))


def centralised(config: SystemConfig, own: Learner | None = None, **changes: Any) -> Centralised:
    """The agent decides for all devices."""
    fields: dict[str, Any] = {"sending_period": config.sending_period, "links": Links()}
    return Centralised(own or learner(config), **(fields | changes))


def problem(config: SystemConfig, **changes: Any) -> Any:
    """The problem of the paper for the fleet of the configuration; ``changes`` as of ``laas2022.make``."""
    fields: dict[str, Any] = {
        "devices": config.devices,
        "devices_per_cell": config.devices_per_cell,
        "fleet": [laas2022.Device(battery=BATTERY)],
    }
    return laas2022.make(**(fields | changes))


def run(architecture: Architecture, problem: Problem, key: jax.Array, slots: int) -> Report:
    """A run from untrained networks: reports with leaves [slots, ...]; to be traced."""
    state = system.init(key, architecture, problem)
    return system.run(architecture, problem, state, slots)[1]
