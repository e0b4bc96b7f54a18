"""A problem behind other people's APIs; importing this room registers its ids with gymnax.

``nieto2024-v0`` is a native gymnax 1.0 environment, ``nieto2024-v0-legacy`` the same with the older 5-tuple.
"""

import difflib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnax

from offjax.envs.gymnax_env import EnvParams, EnvState, OffloadEnv
from offjax.envs.legacy import LegacyEnv
from offjax.errors import ConfigError
from offjax.problems import nieto2024
from offjax.problems.spec import Problem

__all__ = ["EnvParams", "EnvState", "LegacyEnv", "OffloadEnv", "ids", "make"]

_PROBLEMS: dict[str, Callable[..., Problem]] = {"nieto2024-v0": nieto2024.make}
_LEGACY = "-legacy"


def ids() -> tuple[str, ...]:
    """The ids that :func:`make` and ``gymnax.make`` know."""
    return tuple(name + suffix for name in _PROBLEMS for suffix in ("", _LEGACY))


def make(env_id: str, **problem_arguments: Any) -> tuple[OffloadEnv | LegacyEnv, EnvParams]:
    """An environment and its default parameters.

    Args:
      env_id: one of :func:`ids`.
      **problem_arguments: those of the problem's own ``make``, without numbers of devices (it is one):
        ``preset``, ``scenario``, ``mix`` and ``horizon`` (slots) for ``nieto2024-v0``.

    Raises:
      ConfigError: an unknown id, argument or value.
    """
    if env_id not in ids():
        raise ConfigError("env_id", env_id, _one_of(str(env_id), ids()))
    env = _build(env_id, **problem_arguments)
    return env, env.default_params


def _build(env_id: str, **problem_arguments: Any) -> OffloadEnv | LegacyEnv:
    make_problem = _PROBLEMS[env_id.removesuffix(_LEGACY)]
    allowed = tuple(name for name in inspect.signature(make_problem).parameters if "devices" not in name)
    for name in problem_arguments:
        if name not in allowed:
            raise ConfigError("argument", name, f"{env_id} takes {_one_of(name, allowed)}")
    horizon = problem_arguments.get("horizon", 1)
    if isinstance(horizon, bool) or not hasattr(horizon, "__index__"):
        raise ConfigError("horizon", horizon, "a whole number of slots from 1")
    env = OffloadEnv(make_problem(**problem_arguments, devices=1))
    return LegacyEnv(env) if env_id.endswith(_LEGACY) else env


def _one_of(name: str, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"one of {', '.join(allowed)}{hint}"


def _register() -> None:
    """Tell gymnax the ids; those that it knows already stay (the room may be imported again)."""
    for env_id in ids():
        if env_id not in gymnax.registered_envs:
            gymnax.register(env_id, partial(_build, env_id))


_register()
