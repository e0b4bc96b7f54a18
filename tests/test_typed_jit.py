"""Records of different classes never share a program, whatever jax thinks of their structures."""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.typed_jit import compile_ahead, typed_jit


def make_class(index):
    """A class without fields, of its own name: one of many that hold the same nothing."""
    return type(f"Leafless{index}", (struct.PyTreeNode,), {"index": index})


def test_every_class_runs_its_own_program():
    """With ``jax.jit`` a few of these hundreds come out with another's number: their hashes meet."""

    @typed_jit(static_argnames=("shift",))
    def number(record, values, shift):
        return values + (record.index + shift)

    records = [make_class(index)() for index in range(300)]
    seen = [float(number(record, jnp.zeros(()), shift=1)) for record in records]
    assert seen == [index + 1 for index in range(300)]


def test_options_name_the_functions_own_arguments():
    @typed_jit(static_argnames=("count",), donate_argnames=("values",))
    def spread(values, count):
        return values + jnp.arange(count)

    assert spread(jnp.zeros(3), 3).tolist() == [0, 1, 2]
    assert spread(values=jnp.zeros(2), count=2).tolist() == [0, 1]
    assert jax.jit(lambda values: spread(values, 4))(jnp.ones(4)).tolist() == [1, 2, 3, 4]


def test_each_static_number_is_compiled_ahead_once():
    lengths = []

    @typed_jit(static_argnames=("count",))
    def spread(values, count):
        lengths.append(count)
        return values + jnp.arange(count)

    for count in (2, 3, 2):
        compile_ahead(spread, jnp.zeros(()), count)
    assert lengths == [2, 3]
