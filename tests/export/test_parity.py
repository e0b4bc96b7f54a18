"""The board's sums equal JAX's, also where the decision changes and for decisions that are rare."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.errors import ConfigError
from offjax.export.bundle import PolicySource, load_policy, write_bundle
from offjax.export.parity import measure_parity, parity_observations
from offjax.schema.manifest import ObservedQuantity, Output

NAMES = ("task", "cycles", "edge_load", "cloud_load", "signal", "asked")
LOW = np.array([1e3, 1e6, 1e8, 1e9, -110.0, 0.0])
HIGH = np.array([4e4, 4e7, 9e8, 1e10, -60.0, 1.0])
DECISIONS = ("local", "mec", "cloud")


class Network(nn.Module):
    hidden: str
    last: str

    functions: ClassVar = {"tanh": nn.tanh, "relu": nn.relu, "softmax": nn.softmax, "linear": lambda x: x}

    @nn.compact
    def __call__(self, values):
        for width in (64, 64):
            values = self.functions[self.hidden](nn.Dense(width)(values))
        return self.functions[self.last](nn.Dense(len(DECISIONS))(values))


def exported(tmp_path, hidden, last, bias=(0.0, 0.0, 0.0)):
    """A random network as JAX computes it and as a board does."""
    network = Network(hidden, last)
    parameters = network.init(jax.random.key(3), jnp.zeros((1, len(NAMES))))["params"]
    parameters["Dense_2"]["bias"] = jnp.asarray(bias)
    shift, scale = np.float32(LOW), np.float32(HIGH - LOW)

    @jax.jit
    def outputs_fn(observations):
        return network.apply({"params": parameters}, (observations - shift[None, :]) / scale[None, :])

    names = (hidden, hidden, last)
    kind = "probabilities" if last == "softmax" else "q_values"
    source = PolicySource(
        layers=[(parameters[f"Dense_{i}"]["kernel"], parameters[f"Dense_{i}"]["bias"], names[i]) for i in range(3)],
        normaliser_shift=shift,
        normaliser_scale=scale,
        observation=[ObservedQuantity(n, "1", a, b) for n, a, b in zip(NAMES, LOW, HIGH, strict=True)],
        decisions=DECISIONS,
        algorithm="random",
        output=Output(kind, "1"),
        provenance={"seed": 3},
        selftest_observations=np.stack([LOW, HIGH]),
    )
    return outputs_fn, load_policy(write_bundle(tmp_path / "policy", source))


@pytest.mark.parametrize(("hidden", "last"), [("tanh", "softmax"), ("relu", "linear")])
def test_ten_thousand_observations_agree_with_jax(tmp_path, hidden, last):
    outputs_fn, policy = exported(tmp_path, hidden, last)
    observations = parity_observations(outputs_fn, LOW, HIGH)
    assert observations.shape == (10_000, 6)
    assert observations.dtype == np.float32
    assert (np.float32(LOW) <= observations).all()
    assert (observations <= np.float32(HIGH)).all()
    result = measure_parity(policy, outputs_fn, observations)
    assert result["observations"] == 10_000
    assert result["max_abs_diff"] <= 1e-5
    assert result["decision_agreement"] == 1.0
    assert min(result["decision_shares"].values()) >= 0.1
    assert result["absent_decisions"] == []
    assert result["near_boundary"] >= 1_000


def linear_outputs(observations, threshold):
    """'mec' above the threshold of the first of two entries in 0 .. 1, never 'cloud'."""
    x = np.asarray(observations, dtype=np.float64)[:, 0]
    return np.stack([np.zeros_like(x), x - threshold, np.full_like(x, -9.0)], axis=1)


def corner_outputs(observations, size):
    """'mec' in one corner of the box only."""
    nearest = 1 - np.asarray(observations, dtype=np.float64).sum(axis=1) / size
    return np.stack([np.zeros(len(nearest)), nearest, np.full(len(nearest), -9.0)], axis=1)


@pytest.mark.parametrize("size", [1e-2, 1e-4])
def test_a_rare_decision_is_searched_for(size):
    observations = parity_observations(lambda x: corner_outputs(x, size), [0] * 4, [1] * 4, 2_000, 200)
    rare = corner_outputs(observations, size).argmax(axis=1) == 1
    assert rare.mean() >= 0.1
    assert len(np.unique(observations[rare], axis=0)) >= 200


def test_a_decision_that_never_occurs_is_named(tmp_path):
    outputs_fn, policy = exported(tmp_path, "relu", "linear", bias=(0.0, 0.0, -1e3))
    observations = parity_observations(outputs_fn, LOW, HIGH, count=1_000, near_boundary=100)
    result = measure_parity(policy, outputs_fn, observations)
    assert len(observations) == 1_000
    assert result["absent_decisions"] == ["cloud"]
    assert result["decision_shares"]["cloud"] == 0.0


def test_one_decision_only_has_no_boundary():
    observations = parity_observations(lambda x: np.ones((len(x), 1)), [0], [1], 500, 100)
    assert observations.shape == (500, 1)


def test_pairs_lie_on_both_sides_of_the_boundary():
    observations = parity_observations(lambda x: linear_outputs(x, 0.3), [0, 5], [1, 5], 1_000, 400)
    pairs = observations[:400].reshape(200, 2, 2)
    sides = linear_outputs(pairs.reshape(400, 2), 0.3).argmax(axis=1).reshape(200, 2)
    assert (sides[:, 0] != sides[:, 1]).all()
    assert np.abs(pairs[:, :, 0] - 0.3).max() < 1e-5
    assert (observations[:, 1] == 5).all()


def test_the_same_seed_gives_the_same_observations():
    first, second, other = (
        parity_observations(lambda x: linear_outputs(x, 0.5), [0, 0], [1, 1], 500, 50, seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_a_wrong_export_is_seen_and_not_excused_as_ties(tmp_path):
    _, policy = exported(tmp_path, "tanh", "softmax")
    observations = np.float32(LOW + np.random.default_rng(0).random((500, 6)) * (HIGH - LOW))
    permuted = lambda x: policy.outputs(x)[:, ::-1]  # noqa: E731
    result = measure_parity(policy, permuted, observations)
    assert result["max_abs_diff"] > 0.01
    assert result["decision_agreement"] < 0.9


def test_a_swap_within_twice_the_difference_counts_as_equal(tmp_path):
    """Both outputs moved by 1e-7 towards each other: the gap is 1.5e-7 on one side, and 5e-8 on the other."""
    _, policy = exported(tmp_path, "tanh", "softmax")
    one, other = [[0.5 + 1e-7, 0.5 + 5e-8, 0.0]], [[0.5, 0.5 + 1.5e-7, 0.0]]
    for ours, theirs in ((one, other), (other, one)):
        result = measure_parity(PolicyOf(ours, policy), lambda x, rows=theirs: np.array(rows), np.float32(LOW)[None])
        assert result["decision_agreement"] == 1.0


def test_a_tie_counts_as_equal(tmp_path):
    _, policy = exported(tmp_path, "tanh", "softmax")
    tied = PolicyOf([[0.5, 0.5, 0.0]], policy)
    result = measure_parity(tied, lambda x: np.array([[0.5 - 1e-7, 0.5, 0.0]]), np.float32(LOW)[None])
    assert result["decision_agreement"] == 1.0


class PolicyOf:
    """A policy of fixed outputs over another one's box."""

    def __init__(self, outputs, box):
        self._outputs = np.array(outputs)
        self.observation, self.decisions = box.observation, box.decisions

    def outputs(self, observations):
        return self._outputs


@pytest.mark.parametrize(
    ("low", "high", "count", "near", "outputs", "field"),
    [
        ([0, 1], [1], 10, 1, 3, "high"),
        ([2.0], [1.0], 10, 1, 3, "low"),
        ([0.0], [np.inf], 10, 1, 3, "low"),
        ([0.0], [1.0], 10, 11, 3, "near_boundary"),
        ([0.0], [1.0], 10, 1, np.nan, "outputs_fn"),
    ],
)
def test_an_impossible_request_names_the_field(low, high, count, near, outputs, field):
    with pytest.raises(ConfigError, match=f"^{field}"):
        parity_observations(lambda x: np.full((len(x), 3), outputs), low, high, count, near)


def test_outputs_of_another_shape_are_refused(tmp_path):
    _, policy = exported(tmp_path, "tanh", "softmax")
    with pytest.raises(ConfigError, match=r"^outputs_fn"):
        measure_parity(policy, lambda x: np.zeros((len(x), 4)), np.float32(LOW)[None])
