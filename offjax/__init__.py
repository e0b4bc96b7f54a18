"""Train task-offloading policies on thousands of simulated IoT devices, and ship them to real boards.

The public names below are imported on first use (PEP 562), so that ``import offjax`` stays free of jax.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "make": "offjax.envs",
    "train": "offjax.pipeline",
    "evaluate": "offjax.pipeline",
    "load_policy": "offjax.export.bundle",
    "OffjaxError": "offjax.errors",
    "ConfigError": "offjax.errors",
    "MachineError": "offjax.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'offjax' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
