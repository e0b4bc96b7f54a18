"""YAML as people write it: plain values by the core schema of YAML 1.2, mistakes in one line."""

import re
import sys
from collections.abc import Hashable
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from offjax.config.plain_errors import Tree, keys
from offjax.errors import ConfigError, MachineError


class _Loader(yaml.SafeLoader):
    """Plain values only; a key that appears twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are text and appear once (PyYAML would keep the last without a word).

        Whole numbers become text: the cells of a scenario are numbered.
        """
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = f"line {key_node.start_mark.line + 1}"
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise ConfigError(line, key, "keys must be text")
            if str(key) in seen:
                raise ConfigError(line, key, "each key may appear once in its group")
            seen.add(str(key))
        return {str(key): value for key, value in super().construct_mapping(node, deep).items()}


class _Dumper(yaml.SafeDumper):
    """What :class:`_Loader` reads back equal."""


# The core schema of YAML 1.2, because PyYAML's 1.1 reads 1e-5 as text, off as false and 1:30 as 90.
_EXPONENT = r"[eE][-+]?[0-9]+"
_FLOAT = (
    rf"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:{_EXPONENT})?|\.[0-9][0-9_]*(?:{_EXPONENT})?"
    rf"|[0-9][0-9_]*{_EXPONENT}|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    "float": (_FLOAT, "-+.0123456789"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}
for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}
    for _tag, (_pattern, _first) in _SCALARS.items():
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text; what cannot be read becomes one line that names ``source`` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except ConfigError as error:
        raise ConfigError(f"{source} {error.field}", error.value, error.allowed) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        number = mark.line if mark else 0
        line = (text.splitlines() or [""])[min(number, max(len(text.splitlines()) - 1, 0))].strip()
        raise ConfigError(f"{source} line {number + 1}", line, f"it must be YAML ({error.problem})") from None
    except yaml.YAMLError as error:
        raise ConfigError(source, text[:40], f"it must be YAML ({_one_line(error)})") from None
    except (ValueError, LookupError, RecursionError, TypeError) as error:
        raise ConfigError(source, text[:40], f"it must be YAML with plain values ({_one_line(error)})") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def dump_yaml(tree: Tree) -> str:
    """The tree as YAML that :func:`parse_yaml` reads back equal."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)


def read_tree(path: Path | Traversable, field: str, root: type[BaseModel]) -> Tree:
    """The mapping in a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(field, str(path), "no such file; it must be the path of a YAML file") from None
    except IsADirectoryError:
        raise ConfigError(field, str(path), "this is a folder; it must be the path of a YAML file") from None
    except UnicodeDecodeError:
        raise ConfigError(field, str(path), "this is no text in UTF-8; it must be a YAML file") from None
    except ValueError as error:  # a NUL in the path
        raise ConfigError(field, str(path), f"{error}; it must be the path of a YAML file") from None
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}") from error
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        what = "an empty file" if tree is None else tree
        raise ConfigError(str(path), what, f"the file must have keys; allowed keys: {keys(root)}")
    return tree
