"""One place for the switches of the suite: strict ranks, two fake devices, one compilation cache for all processes."""

import os
import tempfile

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


@pytest.fixture(scope="session")
def key():
    """A key of the generator that worlds use; split it, never use it twice."""
    return jax.random.key(20240613, impl=GENERATOR)
