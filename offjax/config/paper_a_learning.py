"""The experiments on learning from generated experiences: Fig. 2, Fig. 3, and a table on fixed sets of real ones.

The paper prints none of the numbers: every default is a guess. List of k and criterion were fixed before any
generator was run, with pilot runs on thinned real data alone: there are few devices and a world with gaps, because
with 20 devices no thinning of the list is felt. The period of the gaps became prime after a first run
(docs/paper_a.md). The GAN is fitted for as many steps as CTGAN's 300 epochs have at 1/5.
"""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from offjax.config.fields import Record, increasing, positive, real, whole
from offjax.errors import ConfigError

Sparsity = Annotated[int, Field(strict=True, ge=2, le=10_000)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Sparsities = Annotated[tuple[Sparsity, ...], Field(min_length=1), AfterValidator(increasing)]


class GapsConfig(Record):
    """A world in which deciding is worth learning: the edge server fails often, and a task sent there then is lost."""

    battery_j: float = positive(1e6, 1e12, "J: a full battery; large, so that no run is cut short")
    edge_down_slots: int = whole(7, 0, 1_000_000, "slots: the edge server is down at a time")
    edge_period_slots: int = whole(23, 1, 1_000_000, "slots: from one failure of the edge server to the next")

    def check(self, group: str) -> None:
        """Raise ConfigError where two fields do not fit."""
        if self.edge_down_slots >= self.edge_period_slots:
            text = f"it must be below {group}.edge_period_slots = {self.edge_period_slots}: else it is never up"
            raise ConfigError(f"{group}.edge_down_slots", self.edge_down_slots, text)


class GeneratorsConfig(Record):
    """How generators of experiences are trained inside the agent, the same in all arms."""

    gan_batch: int = whole(200, 10, 100_000, "rows: of a step of the GAN, a multiple of 10 (CTGAN has 500)")
    flow_batch: int = whole(256, 1, 100_000, "rows: of a step of the flow")
    gan_steps: int = whole(100, 1, 1_000_000, "steps: of a fit of the GAN, which goes on from the one before")
    flow_steps: int = whole(100, 1, 1_000_000, "steps: of a fit of the flow, which goes on from the one before")
    fit_period: int = whole(150, 1, 1_000_000, "iterations: from one fit to the next")
    pool: int = whole(1000, 1, 1_000_000, "rows: made after a fit; iterations take theirs from it")
    rows: int = whole(64, 1, 1_000_000, "rows: of it that go into the augmented memory in an iteration")
    least_rows: int = whole(20, 1, 1_000_000, "experiences: that a fit needs; with fewer, batches are all real")
    noise: float = real(0.1, 0.0, 100.0, "(deviations): of the control that copies experiences with Gaussian noise")

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if self.gan_batch % 10:
            raise ValueError(f"gan_batch = {self.gan_batch} must be a multiple of 10, the rows that its critic packs")
        return self


class LearningCurvesConfig(Record):
    """Fig. 2 and Fig. 3: reward and error against iterations, of which one is a task of each device."""

    devices: int = whole(2, 1, 1_000_000, "devices: N; few, so that real experiences are scarce")
    iterations: int = whole(1500, 10, 10_000_000, "iterations: a multiple of generators.fit_period")
    learning_starts: int = whole(
        100, 0, 10_000_000, "iterations: before the first training, so that all curves make as many updates"
    )
    sparsities: Sparsities = Field(
        default=(2, 5, 10, 15, 20, 50),
        description="a list of rising whole numbers k from 2: of k experiences one is sent",
    )
    gamma: float = real(0.9, 0.0, 1.0, "(per decision): the discount")
    reward_scale: float = positive(0.5, 1e6, "(per reward): what the agent multiplies rewards by")
    brm_capacity: int = whole(2048, 1, 100_000_000, "experiences: of the basic memory; it holds all of a run for k > 1")
    arm_capacity: int = whole(8192, 1, 100_000_000, "experiences: of the augmented memory")
    seeds_per_job: int = whole(5, 1, 1_000, "seeds: of an arm with a generator that are one job")
    converged_score: float = real(
        0.9,
        0.0,
        1.0,
        "(score): what the lower end of the 95 % interval of the mean reward must reach, 0 being random decisions and "
        "1 the real data, seed by seed",
    )
    converged_share: float = real(
        0.1, 0.001, 1.0, "(share): of the iterations, the last ones, over which that is taken"
    )
    held_out: int = whole(512, 1, 1_000_000, "experiences: of another world under random decisions, for Fig. 3")


class SharesConfig(Record):
    """Fig. 2 at one k, with other shares of generated rows in a batch."""

    sparsity: Sparsity = Field(default=10, description="a whole number from 2, one of those of learning_curves")
    shares: Annotated[tuple[Share, ...], Field(min_length=1), AfterValidator(increasing)] = Field(
        default=(0.1, 0.25, 0.5, 0.9), description="a rising list of numbers from 0 to 1: shares of a batch"
    )


class TableConfig(Record):
    """The same learner on a fixed set of real experiences, trained offline and scored in the true world."""

    real_rows: int = whole(10_000, 100, 10_000_000, "experiences: the whole set, of which 1/k is shown")
    sparsities: Sparsities = Field(
        default=(5, 10, 20, 50), description="a list of rising whole numbers k from 2, for the arms without a generator"
    )
    generator_sparsities: Sparsities = Field(
        default=(5, 10, 20, 50), description="a list of rising whole numbers k from 2, for the arms with one"
    )
    behaviour: tuple[float, float, float] = Field(
        default=(0.6, 0.25, 0.15),
        description="a list of three numbers that sum to 1: how often the set's decisions are local, edge and cloud",
    )
    devices: int = whole(50, 1, 1_000_000, "devices: whose experiences the set has, and on which policies are scored")
    updates: int = whole(2500, 1, 10_000_000, "updates: of every policy")
    gan_steps: int = whole(3000, 1, 1_000_000, "steps: of the GAN's only fit")
    flow_steps: int = whole(3000, 1, 1_000_000, "steps: of the flow's only fit")
    head_steps: int = whole(2000, 1, 1_000_000, "steps: of the regressor of the learned reward")
    pool: int = whole(5000, 1, 1_000_000, "rows: made of a fitted generator")
    evaluation_slots: int = whole(
        200, 1, 1_000_000, "slots: of the held-out world, the same for all policies of a seed"
    )

    @model_validator(mode="after")
    def _check_behaviour(self) -> Self:
        if min(self.behaviour) < 0 or abs(sum(self.behaviour) - 1.0) > 1e-6:
            raise ValueError(f"behaviour must be three numbers from 0 that sum to 1, unlike {list(self.behaviour)}")
        return self
