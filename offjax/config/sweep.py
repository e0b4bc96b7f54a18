"""The configuration of a sweep: a run, and what is varied in it."""

import copy
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from offjax.config.fields import Name, Record, whole
from offjax.config.plain_errors import Tree, hint, validate
from offjax.config.reading import apply_override, parse_config, parse_override, with_scenarios
from offjax.config.run import RunConfig
from offjax.config.yaml_text import read_tree
from offjax.errors import ConfigError

MOST_SETTINGS = 10_000
MOST_TRIALS = 100_000
OWN_AXES = {
    "problem.scenarios": "every scenario of base.problem.scenarios is trained anyway: list them there",
    "training.seeds": "seeds are an axis anyway: set base.training.seeds",
    "training.seed": "seeds are an axis anyway: set base.training.seeds and base.training.seed",
}
SWEPT = ("agents", "architecture", "problem", "training", "scenarios")
Measure = Literal["validation_reward", "validation_regret", "reward", "success"]
Point = dict[str, Any]  # path of each axis -> value


class RangeConfig(Record):
    """Values of an axis, evenly spaced."""

    low: float = Field(default=..., strict=True, description="a number: the first value")
    high: float = Field(default=..., strict=True, description="a number above low: the last value")
    points: int = whole(5, 2, MOST_SETTINGS, "values: how many (a search draws from the whole range)")
    scale: Literal["linear", "log"] = Field(
        default="linear", description="linear or log: the same difference, or the same ratio, between neighbours"
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g} must be below high = {self.high:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"on a log scale low must be above 0, unlike {self.low:g}")
        return self

    def values(self) -> list[float]:
        """All points, both ends included."""
        if self.scale == "linear":
            step = (self.high - self.low) / (self.points - 1)
            inner = [self.low + index * step for index in range(1, self.points - 1)]
        else:
            ratio = math.log(self.high / self.low) / (self.points - 1)
            inner = [self.low * math.exp(index * ratio) for index in range(1, self.points - 1)]
        return [self.low, *(float(f"{value:.6g}") for value in inner), self.high]


class SearchConfig(Record):
    """Settings that Optuna proposes batch by batch, instead of a grid of all axes."""

    trials: int = whole(64, 1, MOST_SETTINGS, "settings: how many in all")
    batch: int = whole(16, 1, MOST_SETTINGS, "settings: proposed and trained at once")
    sampler: Literal["tpe", "random"] = Field(default="tpe", description="tpe or random: how settings are proposed")
    seed: int = whole(0, 0, 2_000_000_000, "(no unit): seed of the sampler")


Values = Annotated[list[Any] | RangeConfig, Field(description="a list of values, or low, high, points and scale")]


class SweepConfig(Record):
    """Everything that a sweep depends on."""

    base: Name | Tree = Field(
        default=...,
        description="a group of the keys of a run, or the name of its YAML file (beside that of the sweep): "
        "what holds at every setting; each of its agents is trained in each of its scenarios with all its seeds",
    )
    axes: dict[Name, Values] = Field(
        default_factory=dict,
        description="a group of paths like agents.ac.gamma, each with a list of values or with low, high, points "
        "and scale (linear or log)",
    )
    search: SearchConfig | None = Field(
        default=None, description="a group of keys trials, batch, sampler, seed: search with Optuna (none: a grid)"
    )
    measure: Measure | None = Field(
        default=None,
        description="validation_reward, validation_regret, reward or success: what settings are ranked by "
        "(none: validation_reward where there is a validation, else reward)",
    )
    chunk: int = whole(0, 0, 1_000_000, "agents: that one program trains at once (0 = a short probe chooses)")

    @field_validator("axes", mode="before")
    @classmethod
    def _check_axes(cls, axes: Any) -> Any:
        """Say it here, because a union of types says it badly."""
        for path, values in axes.items() if isinstance(axes, dict) else ():
            if isinstance(values, list) and not values:
                raise ConfigError(f"axes.{path}", values, "it must hold a value at least")
            if isinstance(values, dict):
                validate(RangeConfig, values, prefix=f"axes.{path}: ")
            elif not isinstance(values, list | RangeConfig):
                raise ConfigError(f"axes.{path}", values, "it must be a list of values, or low, high, points and scale")
        return axes

    @property
    def run(self) -> RunConfig:
        """The run that is varied."""
        assert isinstance(self.base, dict)
        return parse_config(self.base)

    @property
    def ranked_by(self) -> Measure:
        """What settings are compared by; of a regret less is better."""
        if self.measure is not None:
            return self.measure
        return "validation_reward" if self.run.training.validation_devices else "reward"

    def values(self, path: str) -> list[Any]:
        """The values of an axis."""
        own = self.axes[path]
        if isinstance(own, list):
            return own
        values = own.values()
        return list(dict.fromkeys(round(value) for value in values)) if self.whole_numbers(path) else list(values)

    def whole_numbers(self, path: str) -> bool:
        """Whether an axis is one of whole numbers, as the value of the base is."""
        return isinstance(find(self.base, path), int)

    def grid(self) -> Iterator[Point]:
        """Every setting of the grid, the last axis running fastest."""
        for values in itertools.product(*(self.values(path) for path in self.axes)):
            yield dict(zip(self.axes, values, strict=True))

    def at(self, point: Mapping[str, Any]) -> RunConfig:
        """The run at a setting.

        Raises:
            ConfigError: a value that is not allowed there; it names its path.
        """
        tree = copy.deepcopy(_tree(self.run))
        for path, value in point.items():
            apply_override(tree, path.split("."), value, f"axes.{path}")
        try:
            return parse_config(tree)
        except ConfigError as error:
            where = ", ".join(f"{path} = {value}" for path, value in point.items() if path != error.field)
            at = f" (at {where})" if where else ""
            raise ConfigError(f"axes: {error.field}", error.value, error.allowed + at) from None


def _tree(config: RunConfig) -> Tree:
    return config.model_dump(mode="json")


def find(tree: Any, path: str) -> Any:
    """The value at a path.

    Raises:
        ConfigError: there is no such path.
    """
    node, passed = tree, ""
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            known = sorted(node) if isinstance(node, dict) else []
            place = f"base.{passed}" if passed else "base"
            text = f"{place} has {', '.join(known)}" if known else f"{place} is there without keys: set it in base"
            raise ConfigError("axes", path, f"no such key {part}{hint(part, known)}; {text}")
        node, passed = node[part], f"{passed}.{part}".lstrip(".")
    return node


def is_sweep(path: Path) -> bool:
    """Whether a YAML file is the configuration of a sweep, and not of a run."""
    return "base" in read_tree(path, "config", SweepConfig)


def load_sweep(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> SweepConfig:
    """Read the configuration of a sweep from a YAML file, and that of its run.

    Args:
      path: the YAML file.
      overrides: texts ``base.training.seeds=3`` or ``axes.agents.ac.gamma=[0, 0.9]`` that win over the file.

    Raises:
      ConfigError: naming the first wrong field, its value and what is allowed.
    """
    path = Path(path)
    tree = read_tree(path, "config", SweepConfig)
    if isinstance(tree.get("base"), str):
        file = next((file for file in (path.parent / tree["base"], Path(tree["base"])) if file.is_file()), None)
        if file is None:
            raise ConfigError("base", tree["base"], f"no such file in {path.parent} or the working directory")
        tree["base"] = read_tree(file, "base", RunConfig)
    for text in overrides:
        own, value = parse_override(text)
        if own[0] == "axes" and len(own) > 1:  # an axis is one key with dots in it
            own = ["axes", ".".join(own[1:])]
        apply_override(tree, own, value, text)
    return parse_sweep(tree, path.parent)


def parse_sweep(tree: Mapping[str, Any], folder: Path = Path()) -> SweepConfig:
    """A checked sweep from a tree of plain values; ``ConfigError`` names the first wrong field."""
    sweep = validate(SweepConfig, dict(tree))
    if isinstance(sweep.base, str):
        raise ConfigError("base", sweep.base, "it must be a group of the keys of a run")
    try:
        run = with_scenarios(sweep.base, folder)
    except ConfigError as error:
        raise ConfigError(f"base.{error.field}", error.value, error.allowed) from None
    sweep = sweep.model_copy(update={"base": _tree(run)})
    _check(sweep, run)
    return sweep


def _check(sweep: SweepConfig, run: RunConfig) -> None:
    tree = _tree(run)
    for path in sweep.axes:
        if path in OWN_AXES:
            raise ConfigError("axes", path, OWN_AXES[path])
        if path.split(".")[0] not in SWEPT:
            raise ConfigError("axes", path, f"a path that changes the training: one in {', '.join(SWEPT)}")
        find(tree, path)
    _check_size(sweep, run)
    if sweep.ranked_by.startswith("validation") and not run.training.validation_devices:
        text = "base.training.validation_devices is 0, so that nothing is validated: use reward or success"
        raise ConfigError("measure", sweep.measure, text)
    if sweep.search is not None:
        _check_search(sweep)
        return
    for point in sweep.grid():
        sweep.at(point)


def _check_size(sweep: SweepConfig, run: RunConfig) -> None:
    """Refuse what nobody means, before anything of that size is made."""
    sizes = {path: len(values) if isinstance(values, list) else values.points for path, values in sweep.axes.items()}
    settings = math.prod(sizes.values()) if sweep.search is None else sweep.search.trials
    if settings > MOST_SETTINGS:
        text = f"the grid may have {MOST_SETTINGS:,} settings at most, not {settings:,}; use fewer values, or search"
        raise ConfigError("axes", " x ".join(map(str, sizes.values())), text)
    each = len(run.agents.named()) * len(run.problem.scenarios) * run.training.seeds
    if settings * each > MOST_TRIALS:
        text = f"{settings:,} settings with {each:,} agents each are {settings * each:,}: {MOST_TRIALS:,} at most"
        raise ConfigError("base.training.seeds", run.training.seeds, text)


def _check_search(sweep: SweepConfig) -> None:
    """Both ends of every range must be allowed, and every value of a list."""
    if not sweep.axes:
        raise ConfigError("axes", {}, "a search needs an axis at least")
    for path, own in sweep.axes.items():
        for value in sweep.values(path) if isinstance(own, list) else sweep.values(path)[:: own.points - 1]:
            sweep.at({path: value})
        if isinstance(own, list) and not all(isinstance(value, str | int | float | None) for value in own):
            raise ConfigError(f"axes.{path}", own, "a search takes numbers, texts, true and false")
