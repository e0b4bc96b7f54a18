"""What a user can rely on: the same key gives the same bits, and the bits are the distributions they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from world_cases import make_params

from offjax import world as w
from offjax.workload import arrivals
from offjax.world.draws import Draw, kinds, normal, uniform

PARAMS = make_params()
EXTREME = np.array([0, 1, 255, 256, 2**31 - 1, 2**31, 2**32 - 256, 2**32 - 1], np.uint32)


def test_shapes():
    draws = w.draw(jax.random.key(0, impl="philox4x32"), PARAMS)
    assert draws.device.shape == (3, PARAMS.devices)
    assert draws.server.shape == (PARAMS.server_count, PARAMS.access_points)
    assert draws.device.dtype == draws.server.dtype == jnp.uint32


def test_a_world_draws_what_it_needs():
    assert kinds(PARAMS) == (Draw.CLASS, Draw.SIZE, Draw.SHADOWING)
    everything = make_params(come=arrivals.poisson(1.0), deadline="uniform", impaired=True)
    assert kinds(everything) == tuple(Draw)
    classes = np.zeros((6, 1), int)
    assert Draw.CLASS not in kinds(make_params(come=arrivals.given([[0.0]] * 6, 1.0, classes)))


def test_the_key_is_the_draw(key):
    one, two = jax.random.split(key)
    same = jax.tree.map(np.array_equal, w.draw(one, PARAMS), w.draw(one, PARAMS))
    other = jax.tree.map(np.array_equal, w.draw(one, PARAMS), w.draw(two, PARAMS))
    assert all(jax.tree.leaves(same))
    assert not any(jax.tree.leaves(other))


def test_no_bit_is_used_twice(key):
    draws = w.draw(key, make_params(devices=600))
    bits = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(draws)])
    assert len(np.unique(bits)) == bits.size, "1804 of 2^32: twice the same has a chance of 4e-4"


@pytest.mark.parametrize("function", [uniform, normal])
def test_extreme_bits_are_numbers(function):
    values = np.asarray(jax.jit(function)(EXTREME))
    assert np.isfinite(values).all()
    assert (np.diff(values) >= 0).all()
    np.testing.assert_array_equal(values, function(jnp.asarray(EXTREME)))


def test_uniform_stays_below_one():
    values = np.asarray(uniform(jnp.asarray(EXTREME)))
    assert values[0] == 0.0
    assert values[-1] == 1.0 - 2.0**-24


def test_normal_is_symmetric_and_reaches_far():
    values = np.asarray(normal(jnp.asarray(EXTREME)))
    np.testing.assert_allclose(values, -np.asarray(normal(jnp.asarray(~EXTREME))), rtol=1e-6)
    assert 5.0 < values[-1] < 5.5


def test_moments(key):
    bits = jax.random.bits(key, (1_000_000,))
    flat, bell = (np.asarray(function(bits), np.float64) for function in (uniform, normal))
    # Five standard errors of each moment at a million numbers.
    assert abs(flat.mean() - 1 / 2) < 5 * np.sqrt(1 / 12) / 1e3
    assert abs(flat.var() - 1 / 12) < 5 * np.sqrt(1 / 180) / 1e3
    assert abs(bell.mean()) < 5e-3
    assert abs(bell.var() - 1) < 5 * np.sqrt(2) / 1e3
    assert abs((bell**3).mean()) < 5 * np.sqrt(15) / 1e3
    assert abs((bell**4).mean() - 3) < 5 * np.sqrt(96) / 1e3
    quantiles = np.quantile(bell, [0.025, 0.5, 0.975])
    np.testing.assert_allclose(quantiles, [-1.959964, 0.0, 1.959964], atol=0.02)
