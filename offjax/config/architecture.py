"""Who learns where: the group ``architecture`` of a run, in which one agent in the cloud learns for all devices.

Names and defaults are those of the records in ``offjax.learning``; paper A has symbols for most of these numbers and
no value, so that all of them are guesses.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from offjax.config.fields import Record, real, whole
from offjax.errors import ConfigError

Kind = Literal["distributed", "centralised"]
OWN: dict[str, tuple[str, ...]] = {
    "distributed": ("order", "versions"),
    "centralised": ("observe_ms", "over_links"),
}  # what one kind alone has


class LinksConfig(Record):
    """How the links treat messages."""

    air_loss: float = real(0.0, 0.0, 1.0, "(chance): that a message is lost on the radio link")
    wire_loss: float = real(0.0, 0.0, 1.0, "(chance): that a message is lost between access point and cloud")
    loop_latency_s: float = real(0.0, 0.0, 1e9, "s: of the loop on top of what the links take, half of it each way")
    jitter_s: float = real(0.0, 0.0, 1e9, "s: mean of an exponential extra delay of every message")
    duplicates: float = real(0.0, 0.0, 1.0, "(chance): that weights reach a device twice")
    waits: bool = Field(
        default=True, description="true or false: a message waits at a link that is down; else it is lost"
    )
    places: int = whole(4, 1, 1_000, "messages: K, of a device that may be under way in each direction")


class LearnerConfig(Record):
    """The agent in the cloud, algorithm 1."""

    weights_period: int = whole(10, 1, 1_000_000_000, "trainings: T, from one transfer of the weights to the next")
    learning_starts: int = whole(0, 0, 1_000_000_000, "iterations: before the first training")
    iterations: int = whole(1, 1, 1_000, "passes: through lines 9 to 25 of algorithm 1 in a slot")
    brm_capacity: int = whole(10_000, 1, 100_000_000, "experiences: what the basic replay memory holds")
    arm_capacity: int = whole(
        50_000, 1, 100_000_000, "experiences: what the augmented replay memory holds, at least a batch"
    )


class GeneratorConfig(Record):
    """What makes further experiences out of those that came, for the augmented replay memory."""

    kind: Literal["none", "noise", "relabel", "gan", "flow"] = Field(
        default="none",
        description="none, noise (copies with Gaussian noise), relabel (counterfactual decisions, exact reward), gan "
        "(CTGAN, the paper's) or flow (a rectified flow)",
    )
    reward: Literal["generated", "exact", "learned"] = Field(
        default="generated", description="generated, exact or learned: the reward of a row of gan or flow"
    )
    decisions: Literal["policy", "uniform", "log-frequency"] = Field(
        default="policy", description="policy, uniform or log-frequency: which decisions rows of gan or flow have"
    )
    share: float | None = Field(
        default=None,
        strict=True,
        ge=0.0,
        le=1.0,
        description="a number from 0 to 1 (share): of a batch that is generated (none: as rows come, uniformly)",
    )
    age_limit: int = whole(0, 0, 1_000_000_000, "iterations: after which a row is not learnt from (0 = no limit)")
    least_rows: int = whole(100, 1, 100_000_000, "experiences: that a fit of gan or flow needs")
    fit_period: int = whole(
        100, 1, 1_000_000_000, "slots: from one fit of gan or flow to the next, a divisor of problem.slots"
    )
    steps: int = whole(100, 1, 10_000_000, "steps: of a fit of gan or flow, which goes on from the one before")
    batch_size: int = whole(200, 10, 1_000_000, "rows: of such a step, a multiple of 10")
    pool: int = whole(1_000, 1, 100_000_000, "rows: made after a fit of gan or flow; iterations take theirs from it")
    rows: int = whole(64, 1, 1_000_000, "rows: of it that go into the augmented memory in an iteration")
    noise: float = real(0.1, 0.0, 100.0, "(deviations): standard deviation of noise over that of its column")

    @property
    def fits(self) -> bool:
        """Does it learn from the memory?"""
        return self.kind in ("gan", "flow")

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if self.batch_size % 10:
            raise ValueError(f"batch_size = {self.batch_size} must be a multiple of 10, the rows that a critic packs")
        return self


class ArchitectureConfig(Record):
    """Paper A's system, or the one that it compares with: one agent in the cloud for all devices of one world."""

    kind: Kind = Field(
        default="distributed",
        description="distributed (devices decide with the weights that they were sent) or centralised (the agent "
        "decides, a device waits)",
    )
    sending_period: int = whole(1, 1, 1_000_000, "tasks: SF, from one experience that a device sends to the next")
    counter_start: int = whole(
        1,
        0,
        1,
        "(tasks): 0 sends one experience of SF + 1, as algorithm 2 is printed, and 1 one of SF, as its text says",
    )
    resources: Literal["arrival", "send"] = Field(
        default="arrival",
        description="arrival or send: when a device takes over what the access point tells of the resources",
    )
    inference_ms: float | None = Field(
        default=None,
        strict=True,
        ge=0.0,
        le=1e9,
        description="a number from 0 to 1e9 ms: a decision takes (none: 1 on a device, 0.1 in the cloud)",
    )
    observe_ms: float = real(0.0, 0.0, 1e9, "ms: that a device takes to observe (centralised)")
    over_links: bool = Field(
        default=True, description="true or false: asking takes the time of the world's links (centralised)"
    )
    order: Literal["newest", "as_they_come"] = Field(
        default="newest", description="newest or as_they_come: which of late or repeated weights stay (distributed)"
    )
    versions: int = whole(4, 2, 1_000, "networks: the last ones broadcast that are kept for devices (distributed)")
    links: LinksConfig = Field(default=LinksConfig(), description="a group of numbers of the links")
    learner: LearnerConfig = Field(default=LearnerConfig(), description="a group of numbers of the agent")
    generator: GeneratorConfig = Field(default=GeneratorConfig(), description="a group: what makes experiences up")

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        for kind, names in OWN.items():
            for name in names if kind != self.kind else ():
                value = getattr(self, name)
                if value != type(self).model_fields[name].default:
                    raise ConfigError(f"architecture.{name}", value, f"only with kind: {kind}; leave it out")
        return self
