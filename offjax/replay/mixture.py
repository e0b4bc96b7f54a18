"""Continuous columns as mixtures of Gaussians with exact values beside them: the encoding of a tabular GAN.

Xu et al. 2019 (CTGAN), section 4.2, mode-specific normalisation: a value is the mode that it came from and its distance
to the mode's mean, over four deviations. A value that more than a share of the rows have exactly (a penalty, a bound)
is an *atom* with a slot of its own beside the modes, as in Zhao et al. 2022 (CTAB-GAN+); a Gaussian would smear it.
A column that is constant is one atom. There are always as many slots: a mask says which are in use, so that a fit to
other rows changes no shape. Modes and atoms that stay keep their slots from fit to fit.

The fit is variational EM of a Dirichlet process truncated at the number of modes (Blei and Jordan 2006), with the
priors of scikit-learn's BayesianGaussianMixture, for all columns at once.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.special import digamma

ITERATIONS = 60  # of the EM
LLOYD = 10  # iterations of k-means before it
CONCENTRATION = 1e-3  # of the Dirichlet process: modes that are not needed die
KEPT = 0.005  # weight above which a mode is used
JITTER = 1e-6  # added to the variance of a mode, in variances of the column
SPAN = 4.0  # deviations that are 1 after the normalisation
EDGE = 0.99  # what is farther is cut
LEAK = 1e-6  # added to the chance of every mode when one is drawn


class Mixtures(struct.PyTreeNode):
    """One mixture for each of C columns: K modes and A atoms."""

    means: jax.Array  # [C, K] unit of the column
    deviations: jax.Array  # [C, K] unit of the column
    weights: jax.Array  # [C, K] of the modes among values that are no atoms, sum 1
    kept: jax.Array  # [C, K] bool
    atoms: jax.Array  # [C, A] exact values
    is_atom: jax.Array  # [C, A] bool
    fitted: jax.Array  # [] bool

    @property
    def slots(self) -> int:
        """Modes and atoms of a column, in use or not (static)."""
        return self.means.shape[1] + self.atoms.shape[1]

    @property
    def used(self) -> jax.Array:
        """[C, slots] bool."""
        return jnp.concatenate([self.kept, self.is_atom], axis=1)


def no_mixtures(columns: int, modes: int = 10, atoms: int = 4) -> Mixtures:
    """Mixtures that were not fitted yet, of static sizes; at least one atom, for a column that is constant."""
    assert modes >= 1
    assert atoms >= 1
    return Mixtures(
        means=jnp.zeros((columns, modes)),
        deviations=jnp.ones((columns, modes)),
        weights=jnp.zeros((columns, modes)),
        kept=jnp.zeros((columns, modes), bool),
        atoms=jnp.zeros((columns, atoms)),
        is_atom=jnp.zeros((columns, atoms), bool),
        fitted=jnp.zeros((), bool),
    )


def fit(previous: Mixtures, values: jax.Array, valid: jax.Array, share: float | jax.Array = 0.01) -> Mixtures:
    """The mixtures of ``values`` [N, C], of which the rows ``valid`` [N] count.

    Args:
        previous: from where to start if they were fitted; else from quantiles.
        values: finite where valid.
        valid: bool.
        share: of the rows above which a value is an atom.
    """

    def column(means: jax.Array, atoms: jax.Array, is_atom: jax.Array, given: jax.Array) -> tuple[jax.Array, ...]:
        atoms, is_atom = _keep_slots(atoms, is_atom, *find_atoms(given, valid, share, atoms.size))
        weight = (valid & ~_matches(given, atoms, is_atom).any(axis=1)).astype(given.dtype)
        return (*_fit_modes(means, previous.fitted, given, weight), atoms, is_atom)

    parts = jax.vmap(column)(previous.means, previous.atoms, previous.is_atom, values.T)
    means, deviations, weights, kept, atoms, is_atom = parts
    return Mixtures(means, deviations, weights, kept, atoms, is_atom, jnp.ones((), bool))


def find_atoms(values: jax.Array, valid: jax.Array, share: float | jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """The ``most`` (static) values [A] that occur most often, and whether each has more than ``share`` of the rows."""
    ordered = jnp.sort(jnp.where(valid, values, jnp.inf))
    first = jnp.searchsorted(ordered, ordered, side="left", method="sort")
    after = jnp.searchsorted(ordered, ordered, side="right", method="sort")
    starts = (first == jnp.arange(ordered.size)) & jnp.isfinite(ordered)
    counts, places = jax.lax.top_k(jnp.where(starts, after - first, 0), min(most, ordered.size))
    found = counts > jnp.maximum(share * jnp.sum(valid), 1.0)
    pad = most - counts.size
    return jnp.pad(jnp.where(found, ordered[places], 0.0), (0, pad)), jnp.pad(found, (0, pad))


def _keep_slots(
    old: jax.Array, was_atom: jax.Array, found: jax.Array, is_found: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The atoms ``found`` [A], those that were there before in their old slots."""
    same = (old[:, None] == found[None]) & was_atom[:, None] & is_found[None]
    stays = same.any(axis=1)
    fresh = is_found & ~same.any(axis=0)
    free = jnp.argsort(stays, stable=True)  # free slots first
    slot = jnp.where(fresh, free[jnp.cumsum(fresh) - 1], old.size)  # one past the end is dropped
    return jnp.where(stays, old, 0.0).at[slot].set(found, mode="drop"), stays.at[slot].set(True, mode="drop")


def _matches(values: jax.Array, atoms: jax.Array, is_atom: jax.Array) -> jax.Array:
    """[N, A] bool: which atom a value is."""
    return (values[:, None] == atoms[None]) & is_atom[None]


class _Posterior(NamedTuple):
    """Of the modes of one column in units of its deviation, all [K]."""

    taken: jax.Array  # first parameter of the beta that breaks the stick
    left: jax.Array  # second
    precision: jax.Array  # of the mean, in observations
    mean: jax.Array
    freedom: jax.Array
    variance: jax.Array


def _fit_modes(
    previous: jax.Array, warm: jax.Array, values: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Means, deviations, weights and which are kept [K], of one column with ``weight`` [N] 0 or 1."""
    total = jnp.sum(weight)
    centre = jnp.sum(weight * values) / jnp.maximum(total, 1.0)
    variance = jnp.sum(weight * (values - centre) ** 2) / jnp.maximum(total - 1.0, 1.0)
    scale = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
    scaled = jnp.where(weight > 0, (values - centre) / scale, 0.0)
    centres = jnp.where(warm, (previous - centre) / scale, _quantiles(scaled, weight, previous.size))
    start = _posterior(scaled, weight[:, None] * _nearest(scaled, _k_means(scaled, weight, centres)))

    def step(posterior: _Posterior, _: None) -> tuple[_Posterior, None]:
        return _posterior(scaled, weight[:, None] * jax.nn.softmax(_log_chance(scaled, posterior))), None

    posterior, _ = jax.lax.scan(step, start, length=ITERATIONS)
    stick = posterior.taken / (posterior.taken + posterior.left)
    rest = jnp.concatenate([jnp.ones(1), jnp.cumprod(1.0 - stick)[:-1]])
    weights = stick * rest / jnp.sum(stick * rest)
    kept = (weights > KEPT) & (total > 0)
    return centre + scale * posterior.mean, scale * jnp.sqrt(posterior.variance), weights, kept


def _quantiles(values: jax.Array, weight: jax.Array, count: int) -> jax.Array:
    ordered = jnp.sort(jnp.where(weight > 0, values, jnp.inf))
    places = (jnp.arange(count) + 0.5) / count * jnp.sum(weight)
    found = ordered[places.astype(jnp.int32)]
    return jnp.where(jnp.isfinite(found), found, 0.0)


def _nearest(values: jax.Array, centres: jax.Array) -> jax.Array:
    """[N, K] one-hot."""
    return jax.nn.one_hot(jnp.argmin(jnp.abs(values[:, None] - centres[None]), axis=1), centres.size)


def _k_means(values: jax.Array, weight: jax.Array, centres: jax.Array) -> jax.Array:
    def step(centres: jax.Array, _: None) -> tuple[jax.Array, None]:
        belongs = weight[:, None] * _nearest(values, centres)
        count = jnp.sum(belongs, axis=0)
        return jnp.where(count > 0, values @ belongs / jnp.maximum(count, 1.0), centres), None

    return jax.lax.scan(step, centres, length=LLOYD)[0]


def _posterior(values: jax.Array, belongs: jax.Array) -> _Posterior:
    """What the modes are if ``belongs`` [N, K] says which values are theirs; the priors are N(0, 1) and variance 1."""
    count = jnp.sum(belongs, axis=0) + 1e-6
    mean = values @ belongs / count
    variance = jnp.sum(belongs * (values[:, None] - mean[None]) ** 2, axis=0) / count + JITTER
    precision, freedom = 1.0 + count, 1.0 + count
    after = jnp.cumsum(count[::-1])[::-1] - count
    spread = 1.0 + count * variance + count / precision * mean**2
    return _Posterior(
        1.0 + count, CONCENTRATION + after, precision, count * mean / precision, freedom, spread / freedom
    )


def _log_chance(values: jax.Array, posterior: _Posterior) -> jax.Array:
    """[N, K] expected log of weight times density; Bishop (2006), (10.46), (10.64), (10.65)."""
    both = digamma(posterior.taken + posterior.left)
    passed = jnp.cumsum(digamma(posterior.left) - both)
    log_weight = digamma(posterior.taken) - both + jnp.concatenate([jnp.zeros(1), passed[:-1]])
    distance = (values[:, None] - posterior.mean[None]) ** 2 / posterior.variance[None]
    log_precision = digamma(0.5 * posterior.freedom) - jnp.log(posterior.freedom) - jnp.log(posterior.variance)
    return (log_weight + 0.5 * (log_precision - 1.0 / posterior.precision))[None] - 0.5 * distance


def encode(mixtures: Mixtures, values: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The normalised values and the slots [N, C] int32 of ``values`` [N, C]; an atom's value is 0."""

    def column(own: Mixtures, given: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        distance = (given[:, None] - own.means[None]) / own.deviations[None]
        log_chance = jnp.log(own.weights / own.deviations)[None] - 0.5 * distance**2
        log_chance = jnp.where(own.kept[None], log_chance, -jnp.inf)
        chance = jax.nn.softmax(jnp.where(own.kept.any(), log_chance, 0.0)) + LEAK
        mode = jax.random.categorical(key, jnp.where(own.kept[None], jnp.log(chance), -1e9))
        scalar = jnp.take_along_axis(distance, mode[:, None], axis=1)[:, 0] / SPAN
        match = _matches(given, own.atoms, own.is_atom)
        slot = jnp.where(match.any(axis=1), own.means.size + jnp.argmax(match, axis=1), mode)
        return jnp.where(match.any(axis=1), 0.0, jnp.clip(scalar, -EDGE, EDGE)), slot.astype(jnp.int32)

    keys = jax.random.split(key, values.shape[1])
    axes = mixtures.replace(fitted=None, **dict.fromkeys(_PER_COLUMN, 0))
    return jax.vmap(column, in_axes=(axes, 1, 0), out_axes=1)(mixtures, values, keys)


_PER_COLUMN = ("means", "deviations", "weights", "kept", "atoms", "is_atom")


def decode(mixtures: Mixtures, scalars: jax.Array, slots: jax.Array) -> jax.Array:
    """Values [N, C] of normalised values, cut to -1 ... 1, and slots [N, C]."""
    means = jnp.concatenate([mixtures.means, mixtures.atoms], axis=1)
    spans = jnp.concatenate([SPAN * mixtures.deviations, jnp.zeros_like(mixtures.atoms)], axis=1)
    column = jnp.arange(slots.shape[1])[None]
    return means[column, slots] + spans[column, slots] * jnp.clip(scalars, -1.0, 1.0)
