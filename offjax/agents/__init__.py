"""Learning algorithms; they see observation and decision specs, never the world."""

import dataclasses
import importlib
from typing import Any

from offjax.errors import ConfigError

AGENTS = {
    "ddqn": ("offjax.agents.ddqn.agent", "DDQN"),
    "dqn": ("offjax.agents.dqn.agent", "DQN"),
    "ac": ("offjax.agents.ac.agent", "ActorCritic"),
    "a2c": ("offjax.agents.a2c.agent", "A2C"),
    "ppo": ("offjax.agents.ppo.agent", "PPO"),
}


def make_agent(name: str, **hyper: Any) -> Any:
    """The algorithm ``name`` (a key of ``AGENTS``) with some hyper-parameters changed (imports jax).

    Args:
        name: of the algorithm.
        hyper: fields of its record; numbers may be arrays (to be vmapped over), lists become tuples.

    Raises:
        ConfigError: an unknown name, hyper-parameter or structure; it names what is allowed.
    """
    if name not in AGENTS:
        raise ConfigError("agent", name, f"use one of {', '.join(AGENTS)}")
    module, class_name = AGENTS[name]
    agent_class = getattr(importlib.import_module(module), class_name)
    fields = {field.name: field for field in dataclasses.fields(agent_class)}
    for key, value in hyper.items():
        if key not in fields:
            raise ConfigError(f"agent.{key}", value, f"{name} has {', '.join(sorted(fields))}")
        if fields[key].metadata.get("pytree_node", True) and not _is_number(value):
            raise ConfigError(f"agent.{key}", value, "use a number")
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in hyper.items()}
    return agent_class(**frozen)


def _is_number(value: object) -> bool:
    """Arrays and tracers count; YAML reads ``1e-4`` as text, which must not reach a traced program."""
    return hasattr(value, "dtype") or (isinstance(value, int | float) and not isinstance(value, bool))
