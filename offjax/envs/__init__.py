"""A problem behind other people's APIs; importing this room registers its ids with gymnax and Gymnasium.

``ID`` is a native gymnax 1.0 environment, ``ID-legacy`` the same with the older 5-tuple, ``offjax/ID`` the same in
Gymnasium, one or many (``gymnasium.make``, ``gymnasium.make_vec``). :func:`make_fleet` shows all devices of a problem
at once, ``offjax.envs.pettingzoo_env`` the same as agents of PettingZoo.
"""

import difflib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import gymnax

from offjax.envs.fleet import FleetState, FleetView, fleet_view
from offjax.envs.gymnax_env import EnvParams, EnvState, OffloadEnv
from offjax.envs.host import seed_key
from offjax.envs.legacy import LegacyEnv
from offjax.errors import ConfigError
from offjax.problems import laas2022, nieto2024
from offjax.problems.spec import Problem

__all__ = [
    "EnvParams",
    "EnvState",
    "FleetState",
    "FleetView",
    "LegacyEnv",
    "OffloadEnv",
    "fleet_view",
    "ids",
    "make",
    "make_fleet",
    "native_ids",
    "seed_key",
]

_PROBLEMS: dict[str, Callable[..., Problem]] = {"nieto2024-v0": nieto2024.make, "laas2022-v0": laas2022.make}
_LEGACY = "-legacy"
_GYMNASIUM = "offjax/"  # Gymnasium's namespace


def native_ids() -> tuple[str, ...]:
    """The ids of the problems, without those of the 5-tuple."""
    return tuple(_PROBLEMS)


def ids() -> tuple[str, ...]:
    """The ids that :func:`make` and ``gymnax.make`` know."""
    return tuple(name + suffix for name in _PROBLEMS for suffix in ("", _LEGACY))


def make(env_id: str, **problem_arguments: Any) -> tuple[OffloadEnv | LegacyEnv, EnvParams]:
    """An environment and its default parameters.

    Args:
      env_id: one of :func:`ids`.
      **problem_arguments: those of the problem's own ``make``, without numbers of devices (it is one):
        ``preset``, ``scenario``, ``mix`` and ``horizon`` (slots) for ``nieto2024-v0``, for example.

    Raises:
      ConfigError: an unknown id, argument or value.
    """
    if env_id not in ids():
        raise ConfigError("env_id", env_id, _one_of(str(env_id), ids()))
    env = _build(env_id, **problem_arguments)
    return env, env.default_params


def make_fleet(env_id: str, *, slots_per_decision: int = 1, **problem_arguments: Any) -> FleetView:
    """All devices of a problem at once.

    Args:
      env_id: one of :func:`native_ids`.
      slots_per_decision: slots of each step.
      **problem_arguments: those of the problem's own ``make``, ``devices`` among them.

    Raises:
      ConfigError: an unknown id, argument or value.
    """
    if env_id not in _PROBLEMS:
        raise ConfigError("env_id", env_id, _one_of(str(env_id), native_ids()))
    allowed = tuple(inspect.signature(_PROBLEMS[env_id]).parameters)
    return fleet_view(_make_problem(env_id, allowed, problem_arguments), slots_per_decision)


def _build(env_id: str, **problem_arguments: Any) -> OffloadEnv | LegacyEnv:
    problem_id = env_id.removesuffix(_LEGACY)
    names = inspect.signature(_PROBLEMS[problem_id]).parameters
    allowed = tuple(name for name in names if "devices" not in name)
    env = OffloadEnv(_make_problem(problem_id, allowed, problem_arguments, devices=1))
    return LegacyEnv(env) if env_id.endswith(_LEGACY) else env


def _make_problem(env_id: str, allowed: tuple[str, ...], arguments: dict[str, Any], **fixed: Any) -> Problem:
    for name in arguments:
        if name not in allowed:
            raise ConfigError("argument", name, f"{env_id} takes {_one_of(name, allowed)}")
    for name, what in (("horizon", "slots"), ("devices", "devices")):
        value = arguments.get(name, 1)
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise ConfigError(name, value, f"a whole number of {what} from 1")
    return _PROBLEMS[env_id](**arguments, **fixed)


def _one_of(name: str, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"one of {', '.join(allowed)}{hint}"


def _register() -> None:
    """Tell gymnax and Gymnasium the ids; those that they know already stay (the room may be imported again)."""
    for env_id in ids():
        if env_id not in gymnax.registered_envs:
            gymnax.register(env_id, partial(_build, env_id))
    for env_id in native_ids():
        if _GYMNASIUM + env_id not in gymnasium.registry:
            gymnasium.register(
                id=_GYMNASIUM + env_id,
                entry_point="offjax.envs.gymnasium_env:make_env",
                vector_entry_point="offjax.envs.gymnasium_env:make_vector_env",
                order_enforce=False,  # its own words for a step before the reset
                kwargs={"env_id": env_id},
            )


_register()
