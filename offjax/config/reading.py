"""From files and texts to checked configurations, and back."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, create_model

from offjax.config.plain_errors import Tree, validate
from offjax.config.problem import PROBLEMS, BaseProblemConfig
from offjax.config.run import RunConfig
from offjax.config.scenario import BUILTIN_SCENARIOS, load_scenario
from offjax.config.yaml_text import dump_yaml, parse_yaml, read_tree
from offjax.errors import ConfigError


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run's configuration from a YAML file.

    Args:
      path: the YAML file; keys that it leaves out keep their defaults.
      overrides: texts ``a.b.c=value`` that win over the file, in order; values are YAML.

    Returns:
      The checked configuration, with the content of each scenario file that it names in ``scenarios``.

    Raises:
      ConfigError: naming the first wrong field, its value and what is allowed.
    """
    path = Path(path)
    tree = read_tree(path, "config", RunConfig)
    for text in overrides:
        apply_override(tree, *parse_override(text), text)
    return with_scenarios(tree, path.parent)


def with_scenarios(tree: Tree, folder: Path) -> RunConfig:
    """A checked configuration with the content of the scenario files that it names, looked for in ``folder`` too."""
    config = parse_config(tree)
    used = {f"problem.scenarios.{i}": name for i, name in enumerate(config.problem.scenarios)}
    used |= {f"evaluation.scenarios.{i}": name for i, name in enumerate(config.evaluation.scenarios)}
    files: Tree = {}
    for field, name in used.items():
        if name not in BUILTIN_SCENARIOS:
            found = config.scenarios.get(name) or load_scenario(name, folder, field)
            found.check_horizon(config.problem.slots, name)
            files[name] = found.model_dump()
    return parse_config({**tree, "scenarios": files})


def parse_config(tree: Mapping[str, Any]) -> RunConfig:
    """A checked configuration from a tree of plain values; ``ConfigError`` names the first wrong field."""
    return validate(run_model(tree), dict(tree))


def run_model(tree: Mapping[str, Any]) -> type[RunConfig]:
    """The run configuration whose ``problem`` is the one that ``tree`` names, that of :class:`RunConfig` if none.

    For a name that is not known it is one that refuses that name and lists those of all problems.
    """
    problem = tree.get("problem")
    if not isinstance(problem, Mapping) or "name" not in problem:
        return RunConfig
    name = problem["name"]
    return _run_of(PROBLEMS.get(name, BaseProblemConfig) if isinstance(name, str) else BaseProblemConfig)


@cache  # one class for each problem, so that equal configurations are equal
def _run_of(problem: type[BaseProblemConfig]) -> type[RunConfig]:
    own = RunConfig.model_fields["problem"]
    if own.annotation is problem:
        return RunConfig
    field: Any = (problem, Field(default_factory=problem, description=own.description))
    return create_model(f"RunOf{problem.__name__}", __base__=RunConfig, __doc__=RunConfig.__doc__, problem=field)


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split ``a.b.c=value`` into its path and its value, which is read as YAML."""
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(re.fullmatch(r"\w+", part) for part in path):
        raise ConfigError("--set", text, "it must read path=value, like training.seeds=3")
    return path, parse_yaml(value, f"--set {key.strip()}")


def apply_override(tree: Tree, path: Sequence[str], value: Any, text: str) -> None:
    """Put a value into a tree; ``text`` is what the user wrote."""
    node = tree
    for depth, part in enumerate(path[:-1]):
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            raise ConfigError("--set", text, f"{'.'.join(path[: depth + 1])} is a value and has no keys")
    node[path[-1]] = value


def config_hash(config: BaseModel) -> str:
    """The first 12 hex characters of the SHA-256 of the configuration as canonical JSON."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def to_yaml(config: BaseModel) -> str:
    """The whole configuration, defaults included, as YAML that :func:`load_config` reads back equal."""
    return dump_yaml(config.model_dump(mode="json"))
