"""The trainers that race: those of Stable-Baselines3 and ours, what is tuned of each and what came of it."""

from importlib import resources
from typing import Literal, TypeVar

from pydantic import Field

from offjax.config.agents import AcConfig, DdqnConfig
from offjax.config.fields import Record, Width, positive, real, whole
from offjax.config.plain_errors import validate
from offjax.config.yaml_text import read_tree


class _Sb3Config(Record):
    """What both trainers have; names are those of Stable-Baselines3 where it has them."""

    n_envs: Literal[1, 8, 64] = Field(default=64, description="1, 8 or 64: environments stepped by one call")
    hidden: tuple[Width, ...] = Field(
        default=(64, 64), min_length=1, max_length=8, description="a list of 1 to 8 whole numbers: the hidden layers"
    )
    activation: Literal["tanh", "relu"] = Field(default="tanh", description="tanh or relu: the hidden layers'")
    gamma: float = real(0.0, 0.0, 1.0, "(no unit): the discount per decision")
    learning_rate: float = positive(1e-3, 1.0, "(per update): the optimiser's step size at the start")
    lr_decay_updates: int = whole(0, 0, 1_000_000_000, "updates: its linear decay to zero (0 = it stays constant)")
    reward_scale: float = positive(100.0, 1e9, "(factor): rewards are multiplied by it in the environment")
    max_grad_norm: float = positive(10.0, 1e9, "(global norm): gradients are clipped to it")


class Sb3DqnConfig(_Sb3Config):
    """Stable-Baselines3's DQN."""

    batch_size: int = whole(512, 1, 1_000_000, "experiences: one update's batch")
    buffer_size: int = whole(100_000, 1, 100_000_000, "experiences: what the replay memory holds")
    learning_starts: int = whole(1000, 0, 1_000_000_000, "environment steps before the first update")
    train_freq: int = whole(1, 1, 1_000_000, "calls of the environments between two bouts of updates")
    gradient_steps: int = whole(4, 1, 1_000_000, "updates of one bout")
    exploration_final: float = real(0.1, 0.0, 1.0, "(probability): random decisions after the decay")
    exploration_updates: int = whole(3000, 1, 1_000_000_000, "updates: the linear decay of exploration from 1")
    target_update_interval: int = whole(10_000, 1, 1_000_000_000, "environment steps between two target copies")

    @property
    def steps_per_update(self) -> float:
        """Environment steps for each update."""
        return self.n_envs * self.train_freq / self.gradient_steps


class Sb3A2cConfig(_Sb3Config):
    """Stable-Baselines3's A2C."""

    n_steps: int = whole(32, 1, 1_000_000, "calls of the environments in one update's rollout")
    gae_lambda: float = real(1.0, 0.0, 1.0, "(no unit): of generalised advantage estimation")
    ent_coef: float = real(0.0, 0.0, 100.0, "(per nat): the entropy bonus")
    vf_coef: float = positive(0.5, 1e6, "(no unit): the weight of the critic's loss")
    use_rms_prop: bool = Field(default=True, description="true: RMSprop as in the original; false: Adam")
    normalize_advantage: bool = Field(default=False, description="true: advantages of mean 0 and deviation 1")

    @property
    def steps_per_update(self) -> float:
        """Environment steps for each update."""
        return float(self.n_envs * self.n_steps)


Sb3Config = Sb3DqnConfig | Sb3A2cConfig
PEERS: dict[str, type[Sb3Config]] = {"sb3_dqn": Sb3DqnConfig, "sb3_a2c": Sb3A2cConfig}


class _OwnConfig(Record):
    """The fleet that one of our agents trains on; its worlds start all over the horizon."""

    worlds: int = whole(40, 1, 1000, "worlds: side by side, a divisor of the horizon")
    devices: int = whole(2, 1, 1_000_000, "devices: of each world, whole cells of 20 where they are more")


class OwnDdqnConfig(_OwnConfig):
    """Our DDQN."""

    agent: DdqnConfig = Field(default=DdqnConfig(), description="a group of keys: as agents.ddqn of a run")


class OwnAcConfig(_OwnConfig):
    """Our actor-critic."""

    agent: AcConfig = Field(default=AcConfig(), description="a group of keys: as agents.ac of a run")


OwnConfig = OwnDdqnConfig | OwnAcConfig
OWN: dict[str, type[OwnConfig]] = {"own_ddqn": OwnDdqnConfig, "own_ac": OwnAcConfig}
RacerConfig = Sb3Config | OwnConfig


def load_peer(name: str) -> Sb3Config:
    """The tuned configuration of one of ``PEERS`` that ships with the package."""
    return _load(name, PEERS[name])


def load_own(name: str) -> OwnConfig:
    """The tuned configuration of one of ``OWN`` that ships with the package."""
    return _load(name, OWN[name])


Racer = TypeVar("Racer", bound=RacerConfig)


def _load(name: str, model: type[Racer]) -> Racer:
    return validate(model, read_tree(resources.files("offjax.configs") / "peers" / f"{name}.yaml", name, model))
