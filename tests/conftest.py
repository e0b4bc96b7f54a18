"""One place for the switches of the suite: strict ranks, two fake devices, one compilation cache for all processes."""

import gc
import os
import tempfile
from pathlib import Path

from offjax.xla_flags import FLAGS

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Set before any worker or subprocess starts, so that all of them compile each program once.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="offjax-jit-"))
# As every command has them: worlds and learners compile a third faster.
os.environ.setdefault("XLA_FLAGS", " ".join(f"{name}={value}" for name, value in FLAGS.items()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 2)

GENERATOR = "philox4x32"
MAPS = Path("/proc/self/maps")
MOST_MAPS = 25_000


@pytest.fixture(scope="session")
def key():
    """A key of the generator that worlds use; split it, never use it twice."""
    return jax.random.key(20240613, impl=GENERATOR)


@pytest.fixture(scope="module", autouse=True)
def _dropped_programs():
    """Linux lets a process map 65,530 pieces of memory; programs take some each, and XLA crashes where none is left."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()
