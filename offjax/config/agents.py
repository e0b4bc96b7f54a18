"""The agents that learn; names and defaults are those of the agents' own records."""

from typing import Any, Literal

from pydantic import Field

from offjax.config.fields import Record, Width, positive, real, whole

WIDTHS = "a list of 1 to 8 whole numbers from 1 to 16,384 units: the hidden layers, first to last"


def _widths(*default: int) -> Any:
    return Field(default=default, min_length=1, max_length=8, description=WIDTHS)


def _rollout_slots(default: int, what: str) -> Any:
    return whole(default, 1, 1_000_000, f"slots: between two times of learning{what}")


class _AgentConfig(Record):
    """What all algorithms have; names and defaults are those of the agents' own records."""

    hidden: tuple[Width, ...] = _widths(256, 256)
    activation: Literal["tanh", "relu"] = Field(default="tanh", description="tanh or relu: the hidden layers'")
    gamma: float = real(0.99, 0.0, 1.0, "(no unit): the discount per decision")
    lr_decay_updates: int = whole(
        0, 0, 1_000_000_000, "updates: the linear decay of the learning rates (0 = they stay constant)"
    )
    lr_final_fraction: float = real(0.0, 0.0, 1.0, "(fraction): what is left of a learning rate after its decay")
    adam_eps: float = positive(1e-8, 1.0, "(no unit): Adam's epsilon")
    reward_scale: float = positive(1.0, 1e9, "(factor): rewards are multiplied by it inside the update")
    max_grad_norm: float = real(0.0, 0.0, 1e9, "(global norm): gradients are clipped to it (0 = no clipping)")
    normalise_observations: bool = Field(
        default=False, description="true or false: observations less their running mean, over their deviation"
    )


class _PolicyConfig(_AgentConfig):
    """A policy and a value."""

    adam_eps: float = positive(1e-5, 1.0, "(no unit): Adam's epsilon")
    entropy_coefficient: float = real(0.01, 0.0, 100.0, "(per nat): the entropy bonus in the policy's loss")
    networks: Literal["separate", "joint"] = Field(
        default="separate", description="separate or joint: the policy and the value share the hidden layers"
    )


class AcConfig(_PolicyConfig):
    """Actor and critic, one update per step."""

    adam_eps: float = positive(1e-7, 1.0, "(no unit): Adam's epsilon")
    entropy_coefficient: float = real(0.0, 0.0, 100.0, "(per nat): the entropy bonus in the policy's loss")
    actor_learning_rate: float = positive(1e-5, 1.0, "(per update): Adam's step size of the actor")
    critic_learning_rate: float = positive(1e-4, 1.0, "(per update): Adam's step size of the critic")
    joint_learning_rate: float = positive(1e-4, 1.0, "(per update): Adam's step size of a joint network")


class _RolloutConfig(_PolicyConfig):
    """Learns once per rollout."""

    max_grad_norm: float = real(0.5, 0.0, 1e9, "(global norm): gradients are clipped to it (0 = no clipping)")
    learning_rate: float = positive(3e-4, 1.0, "(per update): Adam's step size")
    value_coefficient: float = real(0.5, 0.0, 1e6, "(factor): the value's part of the loss")
    gae_lambda: float = real(0.95, 0.0, 1.0, "(per decision): the decay of later errors in an advantage")
    rollout_slots: int = _rollout_slots(25, "")


class A2cConfig(_RolloutConfig):
    """Actor and critic, one update per rollout."""

    learning_rate: float = positive(7e-4, 1.0, "(per update): Adam's step size")
    gae_lambda: float = real(1.0, 0.0, 1.0, "(per decision): the decay of later errors in an advantage")
    rollout_slots: int = _rollout_slots(5, "")


class PpoConfig(_RolloutConfig):
    """Actor and critic, some epochs of clipped updates per rollout."""

    clip_range: float = positive(0.2, 1e6, "(ratio): how far a decision's probability may move and still gain")
    epochs: int = whole(4, 1, 1000, "epochs: how often a rollout is gone through")
    minibatches: int = whole(4, 1, 1_000_000, "minibatches: the parts of a rollout, one update each")


class _QConfig(_AgentConfig):
    """A network of Q values."""

    hidden: tuple[Width, ...] = _widths(64, 64)
    activation: Literal["tanh", "relu"] = Field(default="relu", description="tanh or relu: the hidden layers'")
    learning_rate: float = positive(1e-3, 1.0, "(per update): Adam's step size")
    huber_delta: float = positive(1.0, 1e9, "(scaled reward): where the Huber loss turns linear")
    loss: Literal["huber", "squared"] = Field(default="huber", description="huber or squared: the loss of the error")
    epsilon_start: float = real(1.0, 0.0, 1.0, "(probability): random decisions at the start")
    epsilon_final: float = real(0.05, 0.0, 1.0, "(probability): random decisions after the decay")
    epsilon_decay_updates: int = whole(10_000, 1, 1_000_000_000, "updates: the linear decay of epsilon")
    target_update_period: int = whole(
        250, 0, 1_000_000_000, "updates: between two copies to the target network (0 = no target network)"
    )


class DqnConfig(_QConfig):
    """Q-learning from each experience as it is made, without a memory."""

    hidden: tuple[Width, ...] = _widths(256, 256, 256, 256)
    adam_eps: float = positive(1e-7, 1.0, "(no unit): Adam's epsilon")
    loss: Literal["huber", "squared"] = Field(default="squared", description="huber or squared: the loss of the error")
    epsilon_decay_updates: int = whole(1_000, 1, 1_000_000_000, "updates: the linear decay of epsilon")
    target_update_period: int = whole(
        0, 0, 1_000_000_000, "updates: between two copies to the target network (0 = no target network)"
    )


class DdqnConfig(_QConfig):
    """Double Q-learning with a replay memory and a target network."""

    dueling: bool = Field(default=False, description="true or false: the network has a value and an advantage stream")
    replay_capacity: int = whole(10_000, 1, 100_000_000, "experiences: what the replay memory holds")
    batch_size: int = whole(64, 1, 1_000_000, "experiences: one update's batch, at most replay_capacity")
    updates_per_step: int = whole(1, 1, 1000, "updates: how many follow each rollout")
    rollout_slots: int = _rollout_slots(1, ", at least n_steps")
    n_steps: int = whole(1, 1, 1000, "decisions: what an experience spans at most")
    prioritised: bool = Field(default=False, description="true or false: sample by the error instead of uniformly")
    priority_exponent: float = real(0.6, 0.0, 10.0, "(power): priority = (error + priority_floor) to this power")
    priority_correction: float = real(0.4, 0.0, 1.0, "(fraction): the sampling's bias that is undone at the start")
    priority_correction_updates: int = whole(100_000, 1, 1_000_000_000, "updates: until all of the bias is undone")
    priority_floor: float = positive(1e-6, 1e9, "(reward): added to every error")


AgentConfig = DdqnConfig | DqnConfig | AcConfig | A2cConfig | PpoConfig


class AgentsConfig(Record):
    """The agents to train, each by its name; the first one named here is the one that is exported."""

    ddqn: DdqnConfig | None = Field(
        default=None, description="double Q-learning, trained where this group is there ({} = all defaults)"
    )
    dqn: DqnConfig | None = Field(
        default=None, description="Q-learning without a memory, trained where this group is there ({} = all defaults)"
    )
    ac: AcConfig | None = Field(
        default=None, description="actor-critic, trained where this group is there ({} = all defaults)"
    )
    a2c: A2cConfig | None = Field(
        default=None,
        description="actor-critic over rollouts, trained where this group is there ({} = all defaults)",
    )
    ppo: PpoConfig | None = Field(
        default=None,
        description="proximal policy optimisation, trained where this group is there ({} = all defaults)",
    )

    def named(self) -> list[tuple[str, AgentConfig]]:
        """Name and configuration of each agent that is trained, in the order of the fields."""
        agents = [(name, getattr(self, name)) for name in type(self).model_fields]
        return [(name, agent) for name, agent in agents if agent is not None]
