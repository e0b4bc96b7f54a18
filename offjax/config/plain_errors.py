"""Validation whose every mistake ends in one plain line: the user's path, value and choices."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from offjax.errors import ConfigError

Tree = dict[str, Any]
_Model = TypeVar("_Model", bound=BaseModel)


def validate(model: type[_Model], tree: Tree, prefix: str = "") -> _Model:
    """The record of a tree; :class:`ConfigError` names the first wrong field, after ``prefix``."""
    try:
        return model.model_validate(tree)
    except ValidationError as errors:
        raise _plain_error(model, tree, errors.errors()[0], prefix) from None


def _plain_error(root: type[BaseModel], tree: Tree, error: ErrorDetails, prefix: str) -> ConfigError:
    """The user's path, value and choices."""
    kind = error["type"]
    path, value, entry = _locate(tree, error["loc"])
    if kind == "missing" and isinstance(value, dict):
        path, value = [*path, str(error["loc"][-1])], None
    _, parent = _field_at(root, path[:-1])
    field, group = _field_at(root, path)
    if kind == "extra_forbidden" and parent is not None:
        near = hint(path[-1], list(parent.model_fields))
        allowed = f"no such key{near}; allowed keys: {keys(parent)}"
    elif kind == "value_error":
        allowed = str(error["ctx"]["error"])
    elif group is not None and get_origin(field.annotation if field else None) is not dict:
        allowed = f"it must be a group of keys: {keys(group)}"
    elif field is not None:
        choices = _choices(field.annotation)
        allowed = f"it must be {field.description}{hint(entry, choices)}"
    else:
        allowed = error["msg"]
    return ConfigError((prefix + ".".join(path)).rstrip(": "), value, allowed)


def keys(group: type[BaseModel]) -> str:
    """The keys of a group, in words."""
    return ", ".join(group.model_fields)


def _locate(tree: Any, location: Sequence[str | int]) -> tuple[list[str], Any, Any]:
    """Path to the wrong field, its value, and the wrong entry in it where the value is a list."""
    path: list[str] = []
    value = entry = tree
    for part in location:
        if isinstance(entry, list | tuple) and isinstance(part, int) and part < len(entry):
            entry = entry[part]
        elif isinstance(entry, dict) and part in entry:
            path.append(str(part))
            value = entry = entry[part]
    return path, value, entry


def _field_at(root: type[BaseModel], path: Sequence[str]) -> tuple[FieldInfo | None, type[BaseModel] | None]:
    """The last field on ``path``, and the group of keys that it should hold (``None`` for a plain value)."""
    field: FieldInfo | None = None
    group: type[BaseModel] | None = root
    for part in path:
        if group is not None and part in group.model_fields:
            field = group.model_fields[part]
            group = _group(field.annotation)
    return field, group


def _group(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _group(arg))), None)


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for arg in get_args(annotation) for choice in _choices(arg)]


def hint(value: Any, choices: Sequence[str]) -> str:
    """The choice that was probably meant, in words; empty where none is near."""
    near = get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    near = near or [choice for choice in choices if value and choice.startswith(str(value))]
    return f" (did you mean {near[0]}?)" if near else ""
