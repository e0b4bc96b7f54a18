"""Races of Stable-Baselines3, in an interpreter that has it: JSON lines of jobs in, a JSON line for each out.

Started by ``offjax.bench.trainers``; torch runs in one thread, as networks this small want it.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from offjax.bench.race import SETTING, Judge, Network, Race, network
from offjax.config.peers import PEERS, Sb3A2cConfig, Sb3Config, Sb3DqnConfig
from offjax.envs import make
from offjax.envs.fleet import fleet_view
from offjax.envs.host import Player

STEPS = 10**9  # more than any race takes; schedules are fractions of it
FIRST_LOOK = 200  # environment steps
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class PlayerVecEnv(VecEnv):
    """Worlds of one device each, stepped by one compiled call, as Stable-Baselines3 wants them.

    The vectorised environment of :mod:`offjax.envs.gymnasium_env` without what nobody here reads.
    """

    def __init__(self, num_envs: int, seed: int, reward_scale: float, **problem_arguments: Any) -> None:
        """Worlds with the seeds ``seed + i``; rewards are multiplied by ``reward_scale``."""
        view = fleet_view(make("nieto2024-v0", **problem_arguments)[1].problem)
        self._player, self._first, self._scale = Player(view, rows=num_envs), seed, np.float32(reward_scale)
        observation = spaces.Box(0.0, 1.0, (view.observation_size,), np.float32)
        super().__init__(num_envs, observation, spaces.Discrete(len(view.problem.decisions)))
        self._quiet: list[dict[str, Any]] = [{} for _ in range(num_envs)]

    def reset(self) -> np.ndarray:
        """[num_envs, F]."""
        if self._player.started:
            return self._player.restart()[:, 0]
        return self._player.start(np.arange(self._first, self._first + self.num_envs, dtype=np.uint32))[:, 0]

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions [num_envs] for :meth:`step_wait`."""
        self._actions = np.asarray(actions, np.int32)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One decision in every world; a world that has come to its horizon starts again."""
        raw, shown = self._player.step_rows(self._actions)
        size = self._player.size
        final, reward = raw[:, :size].copy(), raw[:, size] * self._scale
        terminated, truncated = raw[:, size + 1].astype(bool), raw[:, -1].astype(bool)
        over = terminated | truncated
        if not over.any():
            return final, reward, over, self._quiet
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(over):
            infos[row] = {
                "terminal_observation": final[row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
            }
        return np.array(shown)[:, 0], reward, over, infos

    def close(self) -> None:
        """There is nothing to release."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same for all worlds; there is nothing to render."""
        return [None if attr_name == "render_mode" else getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Nothing of a world can be set."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """A world has no methods of its own."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Nothing is wrapped."""
        return [False] * self.num_envs


def schedule(start: float, decay_updates: int, steps_per_update: float) -> Callable[[float], float]:
    """A learning rate that falls to zero over ``decay_updates``, of the fraction of ``STEPS`` that is left."""

    def rate(remaining: float) -> float:
        done = (1.0 - remaining) * STEPS / steps_per_update
        return start * (max(1.0 - done / decay_updates, 0.0) if decay_updates else 1.0)

    return rate


def make_model(config: Sb3Config, env: VecEnv, seed: int) -> BaseAlgorithm:
    """The trainer that a configuration describes."""
    common: dict[str, Any] = {
        "learning_rate": schedule(config.learning_rate, config.lr_decay_updates, config.steps_per_update),
        "gamma": config.gamma,
        "max_grad_norm": config.max_grad_norm,
        "seed": seed,
        "device": "cpu",
    }
    structure = {"net_arch": list(config.hidden), "activation_fn": getattr(torch.nn, _ACTIVATIONS[config.activation])}
    if isinstance(config, Sb3DqnConfig):
        return DQN("MlpPolicy", env, policy_kwargs=structure, **_dqn(config), **common)
    return A2C("MlpPolicy", env, policy_kwargs=structure, **_a2c(config), **common)


_ACTIVATIONS = {"tanh": "Tanh", "relu": "ReLU"}


def _dqn(config: Sb3DqnConfig) -> dict[str, Any]:
    same = ("batch_size", "buffer_size", "learning_starts", "train_freq", "gradient_steps", "target_update_interval")
    return {
        **{name: getattr(config, name) for name in same},
        "exploration_final_eps": config.exploration_final,
        "exploration_fraction": config.exploration_updates * config.steps_per_update / STEPS,
    }


def _a2c(config: Sb3A2cConfig) -> dict[str, Any]:
    same = ("n_steps", "gae_lambda", "ent_coef", "vf_coef", "use_rms_prop", "normalize_advantage")
    return {name: getattr(config, name) for name in same}


def greedy(model: BaseAlgorithm, activation: str) -> Network:
    """The greedy policy of a trainer, for our simulator."""
    policy = model.policy
    if isinstance(model, DQN):
        modules = list(policy.q_net.q_net)
    else:
        modules = [*policy.mlp_extractor.policy_net, policy.action_net]
    return network([_layer(module) for module in modules if isinstance(module, torch.nn.Linear)], activation)


def _layer(module: torch.nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    return module.weight.detach().numpy().T.copy(), module.bias.detach().numpy().copy()


class Looks(BaseCallback):
    """Shows the policy to the race, at 200 environment steps and then again and again, ever more steps apart."""

    def __init__(self, race: Race, activation: str, growth: float) -> None:
        """Show it to ``race`` at multiples of ``growth``."""
        super().__init__()
        self._race, self._activation, self._growth, self._next = race, activation, growth, FIRST_LOOK

    def _on_step(self) -> bool:
        if self.num_timesteps < self._next:
            return True
        self._next = max(int(self.num_timesteps * self._growth), self.num_timesteps + 1)
        updates = int(self.model._n_updates)
        return self._race.goes_on(lambda: greedy(self.model, self._activation), self.num_timesteps, updates)


def run(job: dict[str, Any], judge: Judge) -> dict[str, Any]:
    """Carry out a job.

    Args:
      job: ``peer``, ``config``, ``seed``, ``threshold``, ``limit`` s, ``clock`` (wall, or cpu: that of this
        process), and ``look_growth``, the factor between the environment steps of two looks.
      judge: looks at the policy.
    """
    config = PEERS[job["peer"]].model_validate(job["config"])
    begun = time.perf_counter()
    env = PlayerVecEnv(config.n_envs, 1000 * job["seed"], config.reward_scale, **SETTING)
    env.reset()
    env.step(np.zeros(config.n_envs, np.int32))
    set_up = time.perf_counter() - begun  # s in which the environment compiled
    model = make_model(config, env, job["seed"])
    race = Race(judge, job["threshold"], job["limit"], CLOCKS[job["clock"]])
    callback = Looks(race, config.activation, job["look_growth"])
    race.start()
    race.goes_on(lambda: greedy(model, config.activation), 0, 0)  # compiles
    failure = None
    try:
        model.learn(STEPS, callback, log_interval=None)
    except ValueError as error:  # what torch says of a policy that is not a number any more
        failure = " ".join(str(error).split())[:200]
    return race.result().to_dict() | {"set_up_seconds": set_up, "failure": failure}


def main() -> None:
    """Read jobs from standard input, print their results; jobs of one judge share its worlds."""
    torch.set_num_threads(1)
    judges: dict[str, Judge] = {}
    for line in sys.stdin:
        job = json.loads(line)
        judge = judges.setdefault(json.dumps(job["judge"]), Judge(**job["judge"]))  # makes its worlds when asked
        print(json.dumps(run(job, judge)), flush=True)


if __name__ == "__main__":
    main()
