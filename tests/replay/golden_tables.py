"""The tables of tests/data/sdmetrics.json, the same for who makes the scores and for who tests ours."""

import numpy as np

PLAIN, KINDS = ("a", "b", "c"), ("k", "m")
CATEGORIES = (3, 2)


def table(seed, rows, slope):
    """[rows, 5] float32: two columns that go together, one with atoms at its bounds, two discrete ones."""
    random = np.random.default_rng(seed)
    a = random.normal(size=rows)
    kind = random.integers(3, size=rows)
    other = random.random(rows) < 0.2 + 0.2 * kind * slope
    c = np.clip(0.5 + 0.4 * random.normal(size=rows) + 0.1 * kind, 0.0, 1.0)
    return np.stack([a, slope * a + random.normal(size=rows), c, kind, other], axis=1).astype(np.float32)


def tables():
    """Real, synthetic, and rows of which two fifths are copies of real ones."""
    real, synthetic = table(0, 500, 1.0), table(1, 400, 0.6)
    return real, synthetic, np.concatenate([synthetic[:60], real[:40]])


def modal():
    """[2000] values of three modes."""
    random = np.random.default_rng(2)
    return (random.choice([-3.0, 0.0, 4.0], 2000) + random.normal(size=2000) * 0.5).astype(np.float32)
