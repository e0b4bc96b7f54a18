"""What a user can rely on: generators learn from the valid rows, in one program, to the same bits; CTGAN is CTGAN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from offjax.errors import ConfigError
from offjax.replay.codec import Column, Columns
from offjax.replay.conditions import draw_conditions, draw_rows, index_rows, no_conditions, vector_of
from offjax.replay.flow import Flow
from offjax.replay.gan import Gan
from offjax.replay.generator import _train, fit, sample

CAPACITY, N_VALID = 400, 300
DECISIONS = 3
COLUMNS = Columns(
    (
        Column("s", low=0.0, high=1.0),
        Column("decision", DECISIONS),
        Column("reward"),
        Column("next_s", minus="s", low=0.0, high=1.0),
        Column("terminated", 2),
    )
)
SHARES = (0.7, 0.25, 0.05)
STEPS = 200
# Rates for so few steps; those of the papers are the defaults.
GAN = Gan(COLUMNS, learning_rate=2e-3, batch_size=40, pac=4, latent=8, width=32)
FLOW = Flow(
    COLUMNS, ("reward",), learning_rate=3e-3, batch_size=64, width=32, blocks=2, solver_steps=6, sample_size=128
)
GENERATORS = {"gan": GAN, "flow": FLOW}


@pytest.fixture(scope="module")
def table():
    """[CAPACITY, 5]; the reward is -decision, and -5 in a fifth of the rows; what is not valid is trash."""
    random = np.random.default_rng(0)
    state = random.random(CAPACITY)
    decision = random.choice(DECISIONS, CAPACITY, p=SHARES)
    reward = np.where(random.random(CAPACITY) < 0.2, -5.0, -decision + 0.1 * random.normal(size=CAPACITY))
    following = np.clip(state + 0.2 * random.normal(size=CAPACITY), 0.0, 1.0)
    rows = np.stack([state, decision, reward, following, random.random(CAPACITY) < 0.1], axis=1).astype(np.float32)
    rows[N_VALID:] = np.nan
    return jnp.asarray(rows)


@pytest.fixture(scope="module")
def fresh(key):
    """Both, untrained."""
    return {name: jax.jit(record.init, static_argnums=1)(key, CAPACITY) for name, record in GENERATORS.items()}


@pytest.fixture(scope="module")
def trained(fresh, table, key):
    """Both, after two hundred steps."""
    return {name: fit(GENERATORS[name], state, table, N_VALID, key, STEPS) for name, state in fresh.items()}


# ---------------------------------------------------------------------------------------------- training by sampling


@pytest.fixture(scope="module")
def indexed(table):
    discrete = jnp.nan_to_num(table[:, jnp.array([1, 4])]).astype(jnp.int32)
    valid = jnp.arange(CAPACITY) < N_VALID
    return jax.jit(index_rows)(no_conditions(COLUMNS), discrete, valid), np.array(discrete)


@partial(jax.jit, static_argnames=("frequency", "n"))
def draw(conditions, rows, key, frequency, n=20_000):
    condition_key, row_key = jax.random.split(key)
    column, category = draw_conditions(conditions, condition_key, n, frequency)
    return column, category, draw_rows(conditions, rows, row_key, column, category)


def _drawn(indexed, key, frequency="log"):
    return tuple(map(np.array, draw(*indexed[0], key, frequency)))


@pytest.mark.parametrize("frequency", ["log", "true", "uniform"])
def test_categories_are_drawn_by_their_law(indexed, key, frequency):
    """CTGAN section 4.3: a column at random, then a category by the log of its count."""
    column, category, _ = _drawn(indexed, key, frequency)
    counts = np.bincount(indexed[1][:N_VALID, 0], minlength=DECISIONS)
    weight = {"log": np.log(counts + 1), "true": counts, "uniform": np.ones(DECISIONS)}[frequency]
    seen = np.bincount(category[column == 0], minlength=DECISIONS)
    assert chisquare(seen, seen.sum() * weight / weight.sum()).pvalue > 1e-3
    assert np.mean(column == 0) == pytest.approx(0.5, abs=0.02)


def test_rows_have_their_condition_and_are_valid_and_uniform(indexed, key):
    column, category, picked = _drawn(indexed, key)
    assert picked.max() < N_VALID
    np.testing.assert_array_equal(indexed[1][picked, column], category)
    of_first = picked[(column == 0) & (category == 0)]
    seen = np.bincount(of_first, minlength=N_VALID)[indexed[1][:N_VALID, 0] == 0]
    assert chisquare(seen).pvalue > 1e-3


def test_a_category_without_rows_is_never_drawn(key):
    indexed = jax.jit(index_rows)(no_conditions(COLUMNS), jnp.zeros((10, 2), jnp.int32), jnp.arange(10) < 5)
    for frequency in ("log", "true", "uniform"):
        _, category, rows = draw(*indexed, key, frequency)
        assert (int(category.max()), int(rows.max())) == (0, 4)


def test_a_conditional_vector_has_one_one():
    vector = vector_of(COLUMNS, jnp.array([0, 0, 1, 1]), jnp.array([0, 2, 0, 1]))
    np.testing.assert_array_equal(vector, np.eye(5)[[0, 2, 3, 4]])


# ------------------------------------------------------------------------------------------------------------- CTGAN


def test_the_gradient_penalty_is_that_of_finite_differences_in_what_is_in_use(fresh, trained, key):
    real_key, fake_key, mix_key, drop_key = jax.random.split(key, 4)
    critic, width = fresh["gan"].critic, _critic_inputs(fresh)
    real, fake = (jax.random.normal(own, (3, width)) for own in (real_key, fake_key))
    keep = jnp.repeat(GAN._keep(drop_key)[:, :1], 3, axis=1)
    share = np.array(jax.random.uniform(mix_key, (3, 1)))
    step = 1e-2 * np.eye(width, dtype=np.float32)
    score = jax.jit(lambda packs: GAN._score(critic, packs, jnp.repeat(keep[:, :1], width, axis=1)))
    between = share * np.array(real) + (1 - share) * np.array(fake)
    used = np.array(trained["gan"].mixtures.used)
    row = np.concatenate([np.insert(used, 0, True, axis=1).ravel(), np.ones(2 * (DECISIONS + 2), bool)])
    norms = [np.linalg.norm(((score(own + step) - score(own - step)) / 2e-2)[np.tile(row, 4)]) for own in between]
    inputs = GAN._inputs(trained["gan"].mixtures)
    found = float(jax.jit(GAN.gradient_penalty)(critic, real, fake, inputs, mix_key, keep))
    assert not row.all()
    assert found == pytest.approx(10.0 * np.mean((np.array(norms) - 1.0) ** 2), rel=2e-2)


def _critic_inputs(fresh):
    return fresh["gan"].critic["params"]["Dense_0"]["kernel"].shape[0]


def test_layers_start_as_torchs_do(fresh):
    """All uniform within 1 / sqrt(inputs)."""
    for layer in fresh["gan"].critic["params"].values():
        bound = layer["kernel"].shape[0] ** -0.5
        assert 0.8 * bound < np.abs(layer["kernel"]).max() <= bound
        assert np.abs(layer["bias"]).max() <= bound


def test_the_critic_starts_as_one_of_the_slots_that_are_in_use(fresh, table, key):
    """Slots that are not in use are no inputs: they neither narrow the first layer nor count in its slope."""
    encode = jax.jit(GAN.encode)
    state, _ = encode(fresh["gan"], jnp.nan_to_num(table), jnp.int32(N_VALID), key)
    inputs = 4 * (3 + np.array(state.mixtures.used).sum() + 2 * (DECISIONS + 2))
    kernel = np.array(state.critic["params"]["Dense_0"]["kernel"])
    assert 0.8 * inputs**-0.5 < np.abs(kernel).max() <= 1.0001 * inputs**-0.5
    assert inputs < kernel.shape[0]
    again, _ = encode(state, jnp.nan_to_num(table), jnp.int32(N_VALID), key)
    np.testing.assert_array_equal(again.critic["params"]["Dense_0"]["kernel"], kernel)


def test_the_critic_sees_packs_of_whole_rows_with_their_conditions(fresh):
    assert _critic_inputs(fresh) == 4 * (3 * (1 + 10 + 4) + 5 + 5)


def test_a_gan_learns_to_honour_conditions(trained, key):
    """Untrained it honours a third; the cross entropy of the conditions teaches it."""
    asked = jnp.arange(300) % DECISIONS
    rows = sample(GAN, trained["gan"], key, 300, asked)
    assert np.mean(np.array(rows[:, 1]) == np.array(asked)) > 0.6


# -------------------------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize("name", GENERATORS)
def test_rows_are_like_those_of_a_table(name, trained, key):
    rows = np.array(sample(GENERATORS[name], trained[name], key, 300))
    assert rows.shape == (300, 5)
    assert np.isfinite(rows).all()
    assert (rows[:, [0, 3]] >= 0).all()
    assert (rows[:, [0, 3]] <= 1).all()
    assert set(rows[:, 1]) <= {0.0, 1.0, 2.0}
    assert set(rows[:, 4]) <= {0.0, 1.0}
    assert 0.02 < np.mean(rows[:, 2] == -5.0) < 0.5  # the atom, exactly


def test_a_flow_learns_what_follows_from_a_decision(trained, table, key):
    asked = jnp.arange(300) % DECISIONS
    rows = np.array(sample(FLOW, trained["flow"], key, 300, asked))
    np.testing.assert_array_equal(rows[:, 1], asked)
    real = np.array(table[:N_VALID])
    for decision in (0, 1):
        own = [np.median(part[(part[:, 1] == decision) & (part[:, 2] > -4.0), 2]) for part in (real, rows)]
        assert own[0] == pytest.approx(own[1], abs=0.3)


def test_a_mark_is_a_condition(trained, table, key):
    """A fifth of the rows have the penalty: so have those that are made, and none comes near without being it."""
    rewards = np.array(sample(FLOW, trained["flow"], key, 300)[:, 2])
    assert np.mean(rewards == -5.0) == pytest.approx(np.mean(np.array(table)[:N_VALID, 2] == -5.0), abs=0.08)
    assert rewards[rewards != -5.0].min() > -3.0
    with pytest.raises(ConfigError, match="marked: 'next_s' is not allowed; of s, reward"):
        Flow(COLUMNS, ("next_s",)).init(key, CAPACITY)


def test_a_flow_draws_decisions_by_its_law(trained, table, key):
    counts = np.bincount(np.array(table[:N_VALID, 1], int), minlength=DECISIONS)
    seen = np.bincount(np.array(sample(FLOW, trained["flow"], key, 300)[:, 1], int), minlength=DECISIONS)
    assert chisquare(seen, 300 * counts / counts.sum()).pvalue > 1e-3


@pytest.mark.parametrize("name", [pytest.param("gan", marks=pytest.mark.slow), "flow"])
def test_one_scan_is_a_loop_of_steps(name, fresh, table, key):
    """XLA fuses the two differently, and Adam divides by what is nearly 0; a wrong key moves all by the whole rate."""
    record, state = GENERATORS[name].replace(learning_rate=1e-3), fresh[name]
    encode_key, scan_key = jax.random.split(key)
    scanned = fit(record, state, table, N_VALID, key, 2)
    state, encoded = jax.jit(record.encode)(state, jnp.nan_to_num(table), jnp.int32(N_VALID), encode_key)
    step, rates = jax.jit(record.step), [()] * 2 if name == "gan" else [(jnp.float32(1e-3),), (jnp.float32(5e-4),)]
    for own, rate in zip(jax.random.split(scan_key, 2), rates, strict=True):
        state = step(state, encoded, own, *rate)
    pairs = (jax.tree.leaves(one.replace(losses=None)) for one in (scanned, state))
    for left, right in zip(*pairs, strict=True):
        left, right = (np.nan_to_num(np.float32(leaf)) for leaf in (left, right))
        assert np.mean(np.abs(left - right)) < 0.1 * 1e-3


@pytest.mark.parametrize("name", GENERATORS)
def test_the_same_fit_gives_the_same_bits_and_another_goes_on_in_the_same_program(name, fresh, trained, table, key):
    compilations = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compilations.append(event) if event.endswith("backend_compile_duration") else None
    )
    record, count = GENERATORS[name], jnp.int32(N_VALID)
    grown, more = jnp.where(jnp.arange(CAPACITY)[:, None] < N_VALID, table, table[:1]), jnp.int32(CAPACITY)
    compilations.clear()
    same = _train(record, fresh[name], table, count, key, STEPS)
    again = _train(record, same, grown, more, key, STEPS)
    assert not compilations
    assert int(again.steps) == 2 * STEPS
    jax.tree.map(np.testing.assert_array_equal, same, trained[name])
    jax.jit(lambda one: one + 2)(count)
    assert compilations  # the listener hears


@pytest.mark.parametrize("name", GENERATORS)
def test_mistakes_end_in_one_line(name, fresh, trained, table, key):
    record, state, fresh = GENERATORS[name], trained[name], fresh[name]
    mistakes = [
        (
            lambda: fit(record, fresh, table, 20, key, 1),
            f"table: '20 rows' is not allowed; at least a batch of {record.batch_size}",
        ),
        (lambda: fit(record, fresh, table, N_VALID, key, 0), "steps: 0 is not allowed; at least 1"),
        (lambda: fit(record, fresh, table, CAPACITY, key, 1), "table.s: nan is not allowed; finite numbers (row 300)"),
        (lambda: sample(record, fresh, key, 1), "state: 'untrained' is not allowed; fit it first"),
        (lambda: sample(record, state, key, 0), "n: 0 is not allowed; at least 1"),
        (lambda: sample(record, state, key, 2, [0, 3]), "decisions: (2,) is not allowed; 2 whole numbers from 0 to 2"),
        (
            lambda: record.replace(sample_frequency="odd").init(key, 1),
            "sample_frequency: 'odd' is not allowed; of log, true, uniform",
        ),
    ]
    for make, words in mistakes:
        with pytest.raises(ConfigError) as error:
            make()
        assert str(error.value).startswith(words)


def test_a_batch_is_a_whole_number_of_packs(key):
    with pytest.raises(ConfigError, match="batch_size: 42 is not allowed; a multiple of pac, which is 4"):
        GAN.replace(batch_size=42).init(key, CAPACITY)
