"""What a user can rely on: a table comes back from its encoding, atoms exactly, and nothing else is ever looked at."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_tables import modal

from offjax.errors import ConfigError
from offjax.replay import mixture, quantile
from offjax.replay.codec import Column, Columns, check_table, merge, ring_columns, split
from offjax.replay.experience import Experience
from offjax.replay.ring import add, make_ring, unpack

GOLDEN = json.loads((Path(__file__).parents[1] / "data/sdmetrics.json").read_text())["mixture"]
ROWS = 1000
fit_mixture, encode_mixture = jax.jit(mixture.fit), jax.jit(mixture.encode)
fit_ranks, to_ranks, from_ranks = map(jax.jit, (quantile.fit, quantile.encode, quantile.decode))


@pytest.fixture(scope="module")
def values():
    """[ROWS, 3]: three modes, a column with atoms at both ends, a constant one."""
    random = np.random.default_rng(0)
    clipped = np.clip(random.normal(0.4, 0.5, ROWS), 0.0, 1.0)
    return jnp.asarray(np.stack([modal()[:ROWS], clipped, np.full(ROWS, 0.3)], axis=1), jnp.float32)


@pytest.fixture(scope="module")
def fitted(values):
    return fit_mixture(mixture.no_mixtures(3), values, jnp.ones(ROWS, bool))


def test_a_mixture_gives_values_back(values, fitted, key):
    scalars, slots = encode_mixture(fitted, values, key)
    back = np.array(mixture.decode(fitted, scalars, slots))
    cut = np.abs(scalars) >= mixture.EDGE
    assert cut.mean() < 0.01
    np.testing.assert_allclose(back[~cut], np.array(values)[~cut], atol=1e-5)
    assert np.array(fitted.used)[np.arange(3)[None], slots].all()


def test_atoms_are_exact_and_a_constant_column_is_one(values, fitted, key):
    assert set(np.array(fitted.atoms[1])[np.array(fitted.is_atom[1])]) == {0.0, 1.0}
    assert not fitted.is_atom[0].any()
    assert (int(fitted.is_atom[2].sum()), int(fitted.kept[2].sum())) == (1, 0)
    back = np.array(mixture.decode(fitted, *encode_mixture(fitted, values, key)))
    ends = np.isin(np.array(values[:, 1]), [0.0, 1.0])
    assert ends.mean() > 0.2
    np.testing.assert_array_equal(back[ends, 1], np.array(values)[ends, 1])
    np.testing.assert_array_equal(back[:, 2], np.array(values)[:, 2])


def test_the_modes_are_as_good_as_scikit_learns():
    column = jnp.asarray(modal())[:, None]
    found = fit_mixture(mixture.no_mixtures(1), column, jnp.ones(2000, bool))
    assert abs(int(found.kept.sum()) - GOLDEN["modes"]) <= 2
    found = jax.device_get(found)
    distance = (np.array(column) - found.means) / found.deviations
    density = found.weights / found.deviations * np.exp(-0.5 * distance**2) / np.sqrt(2 * np.pi)
    found_likelihood = float(np.mean(np.log(np.sum(density, axis=1))))
    assert found_likelihood == pytest.approx(GOLDEN["log_likelihood"], rel=0.01)


def test_rows_that_do_not_count_have_no_weight(values, key):
    valid = jnp.arange(ROWS) < 600
    zeros, trash = (jnp.where(valid[:, None], values, other) for other in (0.0, 1e3))
    left, right = (fit_mixture(mixture.no_mixtures(3), own, valid) for own in (zeros, trash))
    jax.tree.map(np.testing.assert_array_equal, left, right)
    each = jnp.broadcast_to(valid[:, None], values.shape)
    jax.tree.map(np.testing.assert_array_equal, fit_ranks(zeros, each), fit_ranks(trash, each))


def test_atoms_that_stay_keep_their_slots(values, fitted):
    """Another atom comes before them in order and in number: it takes a free slot."""
    with_third = values.at[:400, 1].set(-1.0)
    again = fit_mixture(fitted, with_third, jnp.ones(ROWS, bool))
    was, now = np.array(fitted.is_atom[1]), np.array(again.is_atom[1])
    assert (was.sum(), now.sum()) == (2, 3)
    np.testing.assert_array_equal(np.array(again.atoms[1])[was], np.array(fitted.atoms[1])[was])
    assert np.array(again.atoms[1])[now & ~was] == -1.0


def test_ranks_give_values_back_and_are_gaussian_whatever_the_ties(values, key):
    quantiles = fit_ranks(values, jnp.ones(values.shape, bool))
    normal = to_ranks(quantiles, values, key)
    back = np.array(from_ranks(quantiles, normal))
    np.testing.assert_allclose(back, values, atol=1e-4)
    tied = np.isin(np.array(values), [0.0, 1.0, 0.3])
    np.testing.assert_array_equal(back[tied], np.array(values)[tied])
    expected = jax.scipy.special.ndtri((np.arange(ROWS) + 0.5) / ROWS)
    parts = [0.1, 0.5, 0.9]
    np.testing.assert_allclose(np.quantile(normal[:, 1], parts), np.quantile(expected, parts), atol=0.1)


def test_noise_decodes_to_atoms_as_often_as_the_table_has_them(values, key):
    quantiles = fit_ranks(values, jnp.ones(values.shape, bool))
    back = np.array(from_ranks(quantiles, jax.random.normal(key, (20_000, 3))))
    for end in (0.0, 1.0):
        assert np.mean(back[:, 1] == end) == pytest.approx(np.mean(np.array(values)[:, 1] == end), abs=0.01)
    assert np.isfinite(back).all()
    assert (back >= np.array(values).min(axis=0)).all()
    assert (back <= np.array(values).max(axis=0)).all()


COLUMNS = Columns(
    (
        Column("s", low=0.0, high=1.0),
        Column("decision", 3),
        Column("next_s", minus="s", low=0.0, high=1.0),
        Column("reward"),
    )
)


def test_differences_are_taken_and_undone():
    table = jnp.array([[0.25, 2.0, 0.5, -1.0], [0.75, 0.0, 0.0, -5.0]])
    values, discrete = split(COLUMNS, table)
    np.testing.assert_array_equal(values, [[0.25, 0.25, -1.0], [0.75, -0.75, -5.0]])
    np.testing.assert_array_equal(discrete, [[2], [0]])
    np.testing.assert_array_equal(merge(COLUMNS, values, discrete), table)


def test_bounds_hold_for_values_and_for_sums():
    back = merge(COLUMNS, jnp.array([[2.0, -0.5, -9.0], [-1.0, 3.0, 4.0]]), jnp.zeros((2, 1), jnp.int32))
    np.testing.assert_array_equal(back, [[1.0, 0.0, 0.5, -9.0], [0.0, 0.0, 1.0, 4.0]])


def test_the_rows_of_a_ring_are_a_table():
    batch = Experience(
        observation=jnp.array([[0.1, 0.2], [0.3, 0.4]]),
        decision=jnp.array([2, 1]),
        reward=jnp.array([-1.0, -5.0]),
        next_observation=jnp.array([[0.5, 0.6], [0.7, 0.8]]),
        terminated=jnp.array([False, True]),
        valid=jnp.ones(2, bool),
    )
    ring, columns = add(make_ring(4, 2), batch), ring_columns(2, 3, differences=(1,))
    check_table(columns, ring.rows, int(ring.size), 2)
    again = unpack(ring, merge(columns, *split(columns, ring.rows[:2])), jnp.ones(2, bool))
    jax.tree.map(lambda left, right: np.testing.assert_allclose(left, right, atol=1e-6), again, batch)


GOOD = np.array([[0.25, 2.0, 0.5, -1.0], [0.75, 0.0, 0.0, -5.0]], np.float32)


def _with(row, column, value):
    table = GOOD.copy()
    table[row, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "n_valid", "words"),
    [
        (_with(1, 3, np.nan), 2, "table.reward: nan is not allowed; finite numbers (row 1)"),
        (_with(0, 0, np.inf), 2, "table.s: inf is not allowed; finite numbers (row 0)"),
        (_with(0, 1, 3.0), 2, "table.decision: 3.0 is not allowed; whole numbers from 0 to 2"),
        (_with(0, 1, 0.5), 2, "table.decision: 0.5 is not allowed; whole numbers from 0 to 2"),
        (GOOD, 1, "table: '1 rows' is not allowed; at least a batch of 2, at most its 2"),
        (GOOD, 3, "table: '3 rows' is not allowed; at least a batch of 2, at most its 2"),
        (GOOD[:, :3], 2, "table: (2, 3) is not allowed; a matrix of 4 columns"),
    ],
)
def test_a_table_that_teaches_nothing_is_refused_in_one_line(table, n_valid, words):
    with pytest.raises(ConfigError) as error:
        check_table(COLUMNS, table, n_valid, 2)
    assert str(error.value) == words


def test_what_is_beyond_the_valid_rows_is_not_looked_at():
    check_table(COLUMNS, np.concatenate([GOOD, np.full((2, 4), np.nan, np.float32)]), 2, 2)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ((Column("s"),), "columns: ['s'] is not allowed; at least one continuous and one discrete"),
        ((Column("a", 2), Column("s"), Column("n", minus="t")), "columns.n.minus: 't' is not allowed; of s"),
        (
            (Column("a", 2), Column("s", low=2.0, high=1.0)),
            "columns.s.low: 2.0 is not allowed; at most high, which is 1.0",
        ),
    ],
)
def test_columns_that_do_not_fit_are_refused_in_one_line(columns, words):
    with pytest.raises(ConfigError) as error:
        Columns(columns)
    assert str(error.value) == words
