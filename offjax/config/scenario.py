"""What fails and when: the content of a scenario file, and where such a file is found."""

import os
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from offjax.config.fields import (
    CELL_OUTAGES,
    CHANGES,
    OUTAGES,
    Amounts,
    CellOutages,
    Outages,
    Record,
    Shares,
    optional,
    positive,
    real,
    switch,
    whole,
)
from offjax.config.plain_errors import hint, validate
from offjax.config.yaml_text import read_tree
from offjax.errors import ConfigError

BUILTIN_SCENARIOS = ("scenario1", "scenario2")
"""Scenarios of the papers; their outages come with the problem's preset and need no file."""


class ServerOutages(Record):
    """When each kind of server answers nothing."""

    mec: Outages = Field(default=(), description=OUTAGES.format("the MEC server is down"))
    cloud: Outages = Field(default=(), description=OUTAGES.format("the cloud server is down"))


class ServerLoad(Record):
    """What others take of each kind of server."""

    mec: Shares = Field(default=(), description=CHANGES.format(1, "the share of the MEC server that others take"))
    cloud: Shares = Field(default=(), description=CHANGES.format(1, "the share of the cloud server that others take"))


class RedundantLink(Record):
    """The second link between access points and cloud."""

    rate_mbps: float | None = optional(1e9, "Mb/s: its rate (none: that of the first link)")
    delay_ms: float | None = Field(
        default=None,
        strict=True,
        ge=0.0,
        le=1e6,
        description="a number from 0 to 1e+06 ms: its delay, both ways together (none: that of the first link)",
    )


class ScenarioConfig(Record):
    """What fails and when, in slots of the horizon; the content of one scenario file."""

    description: str = Field(min_length=1, description="one sentence that says what fails and when")
    server_outages: ServerOutages = Field(default=ServerOutages(), description="the outages of each kind of server")
    link_outages: CellOutages = Field(default=(), description=CELL_OUTAGES.format("the radio link is down"))
    backhaul_outages: CellOutages = Field(default=(), description=CELL_OUTAGES.format("the backhaul is down"))
    backup_outages: CellOutages = Field(
        default=(), description=CELL_OUTAGES.format("the redundant link to the cloud is down")
    )
    redundant_link: Annotated[RedundantLink | None, BeforeValidator(switch)] = Field(
        default=None,
        description="true, false or a group of keys rate_mbps, delay_ms: a second link between access points and cloud",
    )
    failover_slots: int = whole(0, 0, 10_000_000, "slots: from a backhaul outage until the redundant link takes over")
    outage: Literal["drop", "stall"] = Field(
        default="drop", description="drop or stall: what becomes of a task whose next phase is down"
    )
    timeout_s: float = positive(10.0, 1e6, "s: how long a task may stand still in outages, where outage is stall")
    server_load: ServerLoad = Field(default=ServerLoad(), description="the load that others put on each kind of server")
    traffic: Amounts = Field(
        default=(), description=CHANGES.format(1e6, "the virtual UEs with background traffic in every cell")
    )
    traffic_rate_mbps: float = positive(10.0, 1e6, "Mb/s: the traffic of each virtual UE")
    delay_ms: Amounts = Field(
        default=(), description=CHANGES.format(1e6, "the mean extra delay in ms of each offloaded task")
    )
    jitter_ms: Amounts = Field(
        default=(), description=CHANGES.format(1e6, "the standard deviation in ms of that delay")
    )
    delay_correlation: float = real(0.0, 0.0, 1.0, "(no unit): the correlation of a device's delays, task to task")

    @model_validator(mode="after")
    def _check_backup(self) -> Self:
        if self.redundant_link is None and (self.backup_outages or self.failover_slots):
            field = "backup_outages" if self.backup_outages else "failover_slots"
            raise ValueError(f"{field} needs a redundant link: add redundant_link: true")
        return self

    def outages(self) -> dict[str, list[tuple[tuple[int, int], ...]]]:
        """Key -> the lists of outages under it, one for each cell that has its own."""
        groups = {
            "server_outages.mec": self.server_outages.mec,
            "server_outages.cloud": self.server_outages.cloud,
            "link_outages": self.link_outages,
            "backhaul_outages": self.backhaul_outages,
            "backup_outages": self.backup_outages,
        }
        return {name: list(spans.values()) if isinstance(spans, dict) else [spans] for name, spans in groups.items()}

    def changes(self) -> dict[str, tuple[tuple[int, float], ...]]:
        """Key -> the changes under it."""
        return {
            "server_load.mec": self.server_load.mec,
            "server_load.cloud": self.server_load.cloud,
            "traffic": self.traffic,
            "delay_ms": self.delay_ms,
            "jitter_ms": self.jitter_ms,
        }

    def check_horizon(self, slots: int, field: str) -> None:
        """Raise :class:`ConfigError` where something is scheduled for after the horizon of ``slots`` slots."""
        for name, lists in self.outages().items():
            late = next((outage for outages in lists for outage in outages if outage[1] > slots), None)
            if late is not None:
                text = f"outages must stop within the horizon, problem.slots = {slots}"
                raise ConfigError(f"{field}: {name}", list(late), text)
        for name, changes in self.changes().items():
            if changes and changes[-1][0] >= slots:
                text = f"changes must come before the end of the horizon, problem.slots = {slots}"
                raise ConfigError(f"{field}: {name}", list(changes[-1]), text)

    def check_cells(self, cells: int, field: str) -> None:
        """Raise :class:`ConfigError` where an outage belongs to a cell that a fleet of so many cells does not have."""
        for name in ("link_outages", "backhaul_outages", "backup_outages"):
            spans = getattr(self, name)
            if isinstance(spans, dict) and spans and max(spans) >= cells:
                text = f"a world of this configuration has cells 0 to {cells - 1} (training.worlds share the devices)"
                raise ConfigError(f"{field}: {name}", max(spans), text)


def load_scenario(
    name_or_path: str, folder: str | os.PathLike[str] = ".", field: str = "problem.scenarios"
) -> ScenarioConfig:
    """Read a scenario file: a path from the working directory, else from ``folder``, else a shipped name.

    Raises:
      ConfigError: no such file, a wrong key or value, or a built-in scenario (it has no file: its outages
        come with the preset of the problem).
    """
    if name_or_path in BUILTIN_SCENARIOS:
        raise ConfigError(field, name_or_path, "a built-in scenario has no file; the problem's preset holds it")
    shipped = _shipped_scenarios()
    file = _find_file([Path(name_or_path), Path(folder) / name_or_path], shipped.get(name_or_path))
    if file is None:
        names = [*BUILTIN_SCENARIOS, *shipped]
        allowed = f"no such file; it must be {', '.join(names)} or the path of a scenario file"
        raise ConfigError(field, name_or_path, allowed + hint(name_or_path, names))
    return validate(ScenarioConfig, read_tree(file, field, ScenarioConfig), prefix=f"{name_or_path}: ")


def _shipped_scenarios() -> dict[str, Traversable]:
    """The scenario files that come with offjax, by name."""
    try:
        found = list((resources.files("offjax.configs") / "scenarios").iterdir())
    except (ImportError, OSError):  # only an installation maps the folder configs/ to this package
        return {}
    files = {file.name: file for file in found if file.name.endswith(".yaml")}
    return {name.removesuffix(".yaml"): files[name] for name in sorted(files)}


def _find_file(places: Sequence[Path], shipped: Traversable | None) -> Path | Traversable | None:
    """The first file; a folder hides no shipped file of the same name, but is better than nothing."""
    try:
        file = next((place for place in places if place.is_file()), None)
        return file or shipped or next((place for place in places if place.exists()), None)
    except (OSError, ValueError):  # too long, or with a NUL: no name of a file
        return None
