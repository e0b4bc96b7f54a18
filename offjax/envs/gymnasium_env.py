"""One device of a problem in Gymnasium: alone, or in many worlds side by side.

``gymnasium.make("offjax/ID")`` and ``gymnasium.make_vec("offjax/ID", num_envs=N)``, after ``import offjax.envs``. A
step of one environment is one call of a compiled program; a loop in Python over many of them wastes what this simulator
is for: use ``make_vec``, or scan over the native environment. How seeds become keys is said in :mod:`offjax.envs.host`.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from offjax.envs import fleet_view, make
from offjax.envs.actions import after_the_end, any_seeds, check_action, check_actions, check_seed
from offjax.envs.fleet import FleetView
from offjax.envs.host import INFO, Player
from offjax.errors import ConfigError


def make_env(env_id: str, render_mode: None = None, **problem_arguments: Any) -> "GymnasiumEnv":
    """What ``gymnasium.make`` calls; arguments and errors of :func:`offjax.make`."""
    return GymnasiumEnv(_view(env_id, **problem_arguments), render_mode)


def make_vector_env(
    env_id: str, num_envs: int = 1, render_mode: None = None, **problem_arguments: Any
) -> "GymnasiumVectorEnv":
    """What ``gymnasium.make_vec`` calls; arguments and errors of :func:`offjax.make`."""
    return GymnasiumVectorEnv(_view(env_id, **problem_arguments), num_envs, render_mode)


class GymnasiumEnv(gymnasium.Env[np.ndarray, int]):
    """One device: observation float32 [F] in 0..1, action = the place of its task, ``info`` as of ``OffloadEnv``.

    Terminated as the problem says, truncated at its horizon. ``reset()`` without a seed goes on with the chain of keys
    of the last seed, so that a seed fixes all episodes that follow.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's)

    def __init__(self, view: FleetView, render_mode: None = None) -> None:
        """Show the one device of ``view``.

        Raises:
          ConfigError: more than one device, or a way to render.
        """
        _check_view(view, render_mode)
        self.render_mode = None
        self.observation_space, self.action_space = _spaces(view)
        self._player, self._decisions = Player(view), view.problem.decisions
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Another episode; ``options`` are not used.

        Raises:
          ConfigError: a seed that is no whole number from 0.
        """
        start = None if seed is None else check_seed(seed)
        super().reset(seed=None if seed is None else int(seed))
        if start is None and self._player.started:
            observation = self._player.restart()
        else:
            observation = self._player.start(any_seeds(self.np_random, 1)[0] if start is None else start)
        self._over = False
        return observation[0], {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One decision.

        Raises:
          ConfigError: an action that is no place, or a step before a reset or after the end of an episode.
        """
        place = check_action("action", action, self._decisions)
        if self._over:
            raise after_the_end()
        report = self._player.step(np.int32(place))
        size = self._player.size
        reward, terminated, *rest, truncated = report[size:].tolist()
        info = {name: kind(value) for (name, kind), value in zip(INFO.items(), rest, strict=True)}
        self._over = bool(terminated or truncated)
        return report[:size], reward, bool(terminated), bool(truncated), info


class GymnasiumVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """``num_envs`` worlds of one device each, stepped by one call.

    Row i is the environment alone with seed ``seed + i``, action for action and episode after episode. Auto-reset is
    Gymnasium's ``SAME_STEP``: the step that ends an episode shows the first observation of the next one, and the last
    of the old one in ``info["final_obs"]`` (rows where ``info["_final_obs"]``), its info in ``info["final_info"]``.
    """

    def __init__(self, view: FleetView, num_envs: int, render_mode: None = None) -> None:
        """Show the one device of ``view`` in ``num_envs`` worlds.

        Raises:
          ConfigError: more than one device, no world, or a way to render.
        """
        _check_view(view, render_mode)
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ConfigError("num_envs", num_envs, "a whole number from 1")
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}
        self.render_mode, self.num_envs = None, num_envs
        self.single_observation_space, self.single_action_space = _spaces(view)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._player, self._decisions = Player(view, rows=num_envs), view.problem.decisions

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Another episode in every row, from ``seed + i``, seeds of their own, or the rows' chains of keys.

        Raises:
          ConfigError: a seed that is no whole number from 0, another number of seeds, or ``options["reset_mask"]``
            (rows reset themselves).
        """
        if options and "reset_mask" in options:
            raise ConfigError("reset_mask", "a mask", "rows reset themselves in the step in which they end")
        seeds = None if seed is None else self._seeds(seed)
        super().reset(seed=None if seeds is None else int(seeds[0]))
        if seeds is None and self._player.started:
            return self._player.restart()[:, 0], {}
        if seeds is None:
            seeds = any_seeds(self.np_random, self.num_envs)
        return self._player.start(seeds)[:, 0], {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One decision in every row.

        Raises:
          ConfigError: actions of another shape or kind, one that is no place, or a step before a reset.
        """
        places = check_actions(actions, self.num_envs, self._decisions)
        if not self._player.started:
            raise after_the_end()
        raw, shown = self._player.step_rows(places)
        final, reward, terminated, truncated, info = self._player.read(raw)
        terminated, info = terminated[:, 0], {name: value[:, 0] for name, value in info.items()}
        over = terminated | truncated
        observation = np.array(shown)[:, 0] if over.any() else final[:, 0].copy()
        told = _masked(info, ~over)
        if over.any():
            told |= {"final_obs": _objects(final[:, 0], over), "final_info": _masked(info, over)}
            told |= {"_final_obs": over, "_final_info": over.copy()}
        return observation, reward[:, 0].astype(np.float64), terminated, truncated, told

    def _seeds(self, seed: int | Sequence[int]) -> np.ndarray:
        """[num_envs] uint32, the lower bits of the seeds."""
        if not isinstance(seed, Sequence | np.ndarray):
            return check_seed(seed) + np.arange(self.num_envs, dtype=np.uint32)
        if len(seed) != self.num_envs:
            raise ConfigError("seed", list(seed), f"one for each of {self.num_envs} rows")
        return np.asarray([check_seed(each) for each in seed], np.uint32)


def _view(env_id: str, **problem_arguments: Any) -> FleetView:
    return fleet_view(make(env_id, **problem_arguments)[1].problem)


def _check_view(view: FleetView, render_mode: Any) -> None:
    if view.devices != 1:
        raise ConfigError("devices", view.devices, "an environment shows one device: 1")
    if render_mode is not None:
        raise ConfigError("render_mode", render_mode, "None: there is nothing to render")


def _spaces(view: FleetView) -> tuple[spaces.Box, spaces.Discrete]:
    return spaces.Box(0.0, 1.0, (view.observation_size,), np.float32), spaces.Discrete(len(view.problem.decisions))


def _masked(info: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, Any]:
    """Gymnasium's way to say which rows an array of info speaks of; the others hold zero."""
    values = {name: np.where(rows, value, np.zeros_like(value)) for name, value in info.items()}
    return values | {f"_{name}": rows.copy() for name in info}


def _objects(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[num_envs] of arrays, None in the rows that are not meant."""
    objects = np.full(len(values), None, dtype=object)
    for row in np.flatnonzero(rows):
        objects[row] = values[row]
    return objects
