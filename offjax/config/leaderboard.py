"""The leaderboard: how long agents train, what of them is tuned, and how often; the same for all settings."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from offjax.config.fields import Record, positive, real, whole
from offjax.config.plain_errors import validate
from offjax.config.yaml_text import read_tree
from offjax.errors import ConfigError


class RangeConfig(Record):
    """Where a number is searched."""

    low: float = real(0.0, -1e12, 1e12, "(unit of the number): the least value")
    high: float = real(1.0, -1e12, 1e12, "(unit of the number): the greatest value")
    log: bool = Field(default=False, description="true or false: drawn uniformly in the logarithm")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.high < self.low or (self.log and self.low <= 0):
            raise ConfigError("low", self.low, f"it must not exceed high = {self.high:g}, and be above 0 with log")
        return self


class ContestantConfig(Record):
    """One agent: what is fixed, and what is searched."""

    fixed: dict[str, Any] = Field(default_factory=dict, description="hyper-parameters that every trial has")
    shares: dict[str, float] = Field(
        default_factory=dict, description="hyper-parameters counted in updates, as shares of all updates of a training"
    )
    search: dict[str, RangeConfig] = Field(default_factory=dict, description="numbers that are drawn for each trial")


class LeaderboardConfig(Record):
    """Everything about the leaderboard but its settings, which are files of their own."""

    settings: tuple[str, ...] = Field(
        min_length=1, description="a list of names of files in the folder leaderboard beside this one"
    )
    agents: dict[str, ContestantConfig] = Field(min_length=1, description="a group of agents by name")
    trials: int = whole(12, 1, 10_000, "trials: hyper-parameters drawn for each agent, the same in all settings")
    tuning_seeds: int = whole(2, 1, 1_000, "seeds: of each trial")
    tuning_seed: int = whole(5_000, 0, 2_000_000_000, "(no unit): the first seed of the tuning")
    seeds: int = whole(10, 2, 1_000, "seeds: trained anew with the best trial's hyper-parameters")
    devices: int = whole(320, 1, 10_000_000, "devices: of a training, over all its worlds")
    worlds: int = whole(8, 1, 1_000_000, "worlds: side by side; must divide the slots of every setting")
    device_steps: float = positive(1e6, 1e15, "(device-steps): the budget of one training")
    validation_devices: int = whole(40, 1, 10_000_000, "devices: the validation fleet")


def load_leaderboard(path: Path) -> LeaderboardConfig:
    """Read ``leaderboard.yaml``.

    Raises:
        ConfigError: naming the first wrong field.
    """
    return validate(LeaderboardConfig, read_tree(path, "config", LeaderboardConfig))
