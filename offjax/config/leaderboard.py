"""The leaderboard: how long agents train, what of them is tuned, and how often; the same for all settings."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field

from offjax.config.fields import Record, positive, whole
from offjax.config.plain_errors import validate
from offjax.config.sweep import RangeConfig
from offjax.config.yaml_text import read_tree


class ContestantConfig(Record):
    """One agent: what is fixed, and what is searched."""

    fixed: dict[str, Any] = Field(default_factory=dict, description="a group of hyper-parameters that all trials have")
    shares: dict[str, float] = Field(
        default_factory=dict,
        description="a group of hyper-parameters counted in updates, as shares of the updates of a training",
    )
    search: dict[str, RangeConfig] = Field(
        default_factory=dict, description="a group of ranges (low, high, scale) that trials are drawn from"
    )


class LeaderboardConfig(Record):
    """Everything about the leaderboard but its settings, which are files of their own."""

    settings: tuple[str, ...] = Field(
        default=(), description="a list of names of files in the folder leaderboard beside this file"
    )
    agents: dict[str, ContestantConfig] = Field(default_factory=dict, description="a group of agents by name")
    trials: int = whole(12, 1, 10_000, "trials: hyper-parameters drawn for each agent, the same in all settings")
    tuning_seeds: int = whole(2, 1, 1_000, "seeds: of each trial")
    tuning_seed: int = whole(5_000, 0, 2_000_000_000, "(no unit): the first seed of the tuning")
    seeds: int = whole(10, 2, 1_000, "seeds: trained anew with the best trial's hyper-parameters")
    devices: int = whole(320, 1, 10_000_000, "devices: of a training, over all its worlds")
    worlds: int = whole(8, 1, 1_000_000, "worlds: side by side; must divide the slots of every setting")
    device_steps: float = positive(1e6, 1e15, "(device-steps): the budget of one training")
    validation_devices: int = whole(40, 1, 10_000_000, "devices: the validation fleet")


def load_leaderboard(path: str | os.PathLike[str]) -> LeaderboardConfig:
    """Read a leaderboard's configuration from a YAML file.

    Raises:
        ConfigError: naming the first wrong field, its value and what is allowed.
    """
    return validate(LeaderboardConfig, read_tree(Path(path), "config", LeaderboardConfig))
