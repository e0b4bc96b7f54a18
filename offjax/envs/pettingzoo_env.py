"""All devices of a problem as agents of PettingZoo's parallel API (optional: ``pip install offjax[clients]``)."""

from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces

from offjax.envs import make_fleet
from offjax.envs.actions import after_the_end, any_seeds, check_action, check_seed
from offjax.envs.fleet import FleetView
from offjax.envs.host import INFO, Player, Report
from offjax.errors import ConfigError, MachineError

try:
    from pettingzoo import ParallelEnv

    _MISSING = False
except ImportError:
    ParallelEnv, _MISSING = object, True


def parallel_env(env_id: str, devices: int = 20, **problem_arguments: Any) -> "DevicesParallelEnv":
    """The devices of a problem as agents ``device_0``, ``device_1``, ...

    Args:
      env_id: one of :func:`offjax.envs.native_ids`.
      devices: D.
      **problem_arguments: as of :func:`offjax.envs.make_fleet`.

    Raises:
      MachineError: PettingZoo is not installed.
      ConfigError: an unknown id, argument or value.
    """
    if _MISSING:
        raise MachineError("pettingzoo is not installed: pip install 'offjax[clients]', or pip install pettingzoo")
    return DevicesParallelEnv(make_fleet(env_id, devices=devices, **problem_arguments), env_id)


class DevicesParallelEnv(ParallelEnv):
    """Every device is an agent; one step is one decision of each.

    Observations are float32 [F] in 0..1, an action is the place of a task, ``infos`` are as of ``OffloadEnv``. An agent
    leaves when its device is terminated (an empty battery, where the problem says so); at the horizon all that are left
    are truncated. Seeds become keys as in Gymnasium, see :mod:`offjax.envs.host`.
    """

    def __init__(self, view: FleetView, name: str) -> None:
        """Show the devices of ``view``; ``name`` goes into the metadata."""
        self.metadata = {"name": name, "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.possible_agents = [f"device_{number}" for number in range(view.devices)]
        self.agents: list[str] = []
        self._decisions = view.problem.decisions
        self.observation_spaces = self._each(partial(spaces.Box, 0.0, 1.0, (view.observation_size,), np.float32))
        self.action_spaces = self._each(partial(spaces.Discrete, len(self._decisions)))
        self._player = Player(view)

    def observation_space(self, agent: str) -> spaces.Space:
        """Float32 [F] in 0..1."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """One action per place."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Another episode with all agents; without a seed from the next key of the chain. ``options`` are not used.

        Raises:
          ConfigError: a seed that is no whole number from 0.
        """
        if seed is None and self._player.started:
            observation = self._player.restart()
        else:
            start = any_seeds(np.random.default_rng(), 1)[0] if seed is None else check_seed(seed)
            observation = self._player.start(start)
        self.agents = self.possible_agents.copy()
        return dict(zip(self.agents, observation, strict=True)), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        """One decision of each agent that has not left.

        Returns:
          observations, rewards, terminations, truncations and infos of those agents.

        Raises:
          ConfigError: an agent without action, an action that is no place or of nobody here, or a step before a reset
            or after the last agent has left.
        """
        if not self.agents:
            raise after_the_end()
        report = self._player.read(self._player.step(self._places(actions)))
        told = [self._tell(report, agent) for agent in self.agents]
        result = tuple(dict(zip(self.agents, values, strict=True)) for values in zip(*told, strict=True))
        _, _, terminated, truncated, _ = result
        self.agents = [agent for agent in self.agents if not (terminated[agent] or truncated[agent])]
        return result  # type: ignore[return-value]

    def render(self) -> None:
        """There is nothing to render."""

    def close(self) -> None:
        """There is nothing to release."""

    def _places(self, actions: dict[str, int]) -> np.ndarray:
        """[D] int32; zero for those who have left."""
        for agent in actions:
            if agent not in self.agents:
                raise ConfigError("actions", agent, f"one of {', '.join(self.agents)}")
        places = np.zeros(len(self.possible_agents), np.int32)
        for agent in self.agents:
            if agent not in actions:
                raise ConfigError("actions", list(actions), f"an action of {agent} too")
            places[_number(agent)] = check_action(f"actions[{agent}]", actions[agent], self._decisions)
        return places

    def _tell(self, report: Report, agent: str) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        at = _number(agent)
        info = {name: kind(report.info[name][at]) for name, kind in INFO.items()}
        over = bool(report.terminated[at])
        return report.observation[at], float(report.reward[at]), over, bool(report.truncated), info

    def _each(self, make_space: Any) -> dict[str, spaces.Space]:
        return {agent: make_space() for agent in self.possible_agents}


def _number(agent: str) -> int:
    return int(agent.rpartition("_")[2])
