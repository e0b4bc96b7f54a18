"""What a user can rely on: the published figures come out (Nieto et al. 2024, Fig. 7), and the text's own numbers.

One program per preset plays every mix under each of the three one-place rules, 10 seeds of 20 devices each.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.baselines.rules import Rule
from offjax.evaluation.metrics import smooth
from offjax.evaluation.rollout import episode
from offjax.problems import nieto2024
from offjax.world import End

SEEDS, DEVICES = 10, 20
STEPS = 2000  # of the paper's episodes
SLOTS = 2400  # until every battery is empty where everything runs at home
MIXES = tuple(nieto2024.MIXES)
PLACES = ("local", "mec", "cloud")
ETA = -0.1

EXHAUSTED = {  # local only: steps until the battery is empty, mean of 20 devices
    "text": {"class1": 1909, "class2": 820, "class3": 143.4, "uniform": 343.3},
    "figures": {"class1": 1867, "class2": 801, "class3": 140.0, "uniform": 335.4},
}
LEFT = {  # always the edge server or always the cloud: J left at step 2000
    "text": {"class1": 3791.4, "class2": 3789.5, "class3": 3739.9, "uniform": 3773.5},
    "figures": {"class1": 3788.1, "class2": 3785.7, "class3": 3719.1, "uniform": 3764.3},
}
CASES = [(preset, mix) for preset in EXHAUSTED for mix in MIXES]


@pytest.fixture(scope="module")
def fig7():
    """Mix -> reward or battery -> place -> the drawn curve, every 10 steps."""
    return json.loads((Path(__file__).parents[1] / "data" / "nieto2024_fig7.json").read_text())


@jax.jit
def _play(policies, problems, keys):
    """Leaves [mix, place, seed, ...]."""

    def one(problem, policy, key):
        return episode(policy, problem, key, SLOTS)

    over_seeds = jax.vmap(one, in_axes=(None, None, 0))
    over_places = jax.vmap(over_seeds, in_axes=(None, 0, None))
    return jax.vmap(over_places, in_axes=(0, None, None))(problems, policies, keys)


@pytest.fixture(scope="module")
def played(key):
    """Preset -> mix -> place -> (episode of all seeds)."""
    keys = jax.random.split(key, SEEDS)
    everywhere = Rule(jnp.broadcast_to(jnp.arange(3, dtype=jnp.int8)[:, None], (3, 3)))
    episodes = {}
    for preset in EXHAUSTED:
        problems = [nieto2024.make(preset, "scenario1", mix) for mix in MIXES]
        batch = jax.device_get(_play(everywhere, jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems), keys))
        episodes[preset] = {
            mix: {place: jax.tree.map(lambda leaf, m=m, p=p: leaf[m, p], batch) for p, place in enumerate(PLACES)}
            for m, mix in enumerate(MIXES)
        }
    return episodes


def _rms(curve, drawn) -> float:
    return float(np.sqrt(np.mean((curve[: len(drawn)] - np.array(drawn)) ** 2)))


def _curve(values) -> np.ndarray:
    """Sums over devices [seeds, T] as the paper plots them."""
    return smooth(np.asarray(values, np.float64).mean(axis=0) / DEVICES)


@pytest.mark.parametrize(("preset", "mix"), CASES)
def test_local_only_empties_the_battery_when_the_paper_says(played, preset, mix):
    """A device without battery fails one task in each slot that is left."""
    local = played[preset][mix]["local"]
    assert (local.left == 0).all(), "the horizon is too short"
    empty = local.ends[:, End.BATTERY_EMPTY].sum(axis=(1, 2))
    steps = float((SLOTS - empty / DEVICES).mean())
    expected = EXHAUSTED[preset][mix]
    assert steps == pytest.approx(expected, rel=0.03), f"{steps:.1f} steps, published {expected}"


@pytest.mark.parametrize(("preset", "mix"), CASES)
@pytest.mark.parametrize("place", ["mec", "cloud"])
def test_offloading_leaves_what_the_paper_says(played, preset, mix, place):
    left = float(played[preset][mix][place].battery[:, STEPS - 1].mean() / DEVICES)
    expected = LEFT[preset][mix]
    assert left == pytest.approx(expected, abs=1.0), f"{left:.2f} J, published {expected}"


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize(("place", "limit"), [("mec", 0.002), ("cloud", 0.004)])
def test_the_drawn_reward_curves_come_out(played, fig7, mix, place, limit):
    """What is left of the difference is the noise of the paper's single run of 20 devices."""
    rms = _rms(_curve(played["figures"][mix][place].reward), fig7[mix]["reward"][place])
    assert rms <= limit, f"root mean square {rms:.5f}, allowed {limit}"


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("place", ["mec", "cloud"])
def test_the_drawn_battery_curves_come_out(played, fig7, mix, place):
    rms = _rms(_curve(played["figures"][mix][place].battery), fig7[mix]["battery"][place])
    assert rms <= 1.0, f"root mean square {rms:.3f} J, allowed 1 J"


@pytest.mark.parametrize("mix", ["class2", "class3", "uniform"])
def test_the_drawn_local_curves_show_the_remaining_battery(played, fig7, mix):
    """Fig. 7g: with 4000 J in equation (18) class 3 would be 0.008 away. Fig. 7a contradicts its own mix."""
    rms = _rms(_curve(played["figures"][mix]["local"].reward), fig7[mix]["reward"]["local"])
    assert rms <= 0.002, f"root mean square {rms:.5f}, allowed 0.002"


@pytest.mark.parametrize("preset", EXHAUSTED)
def test_a_dead_fleet_scores_eta_each_step(played, preset):
    for mix in MIXES:
        np.testing.assert_allclose(played[preset][mix]["local"].reward[:, -1], ETA * DEVICES, rtol=1e-6)
