"""What a user can rely on: in a mixed fleet every device fares as it would in a fleet of its own kind."""

import jax
import numpy as np
import pytest
from world_cases import DEVICES, SLOTS, make_decisions, make_params, play

from offjax import world as w
from offjax.workload import arrivals

# Three kinds of device; every number that can differ from device to device does.
KINDS = {
    "period": (1, 3, 2),
    "phase": (0, 2, 1),
    "speed": (1e9, 2e8, 5e9),
    "energy_coefficient": (1e-27, 3e-27, 2e-29),
    "battery": (20.0, 60.0, 4000.0),
    "idle_power": (0.1, 0.02, 0.3),
    "transmit_power": (1.5, 0.2, 0.8),
    "receive_power": (0.4, 0.1, 0.0),
    "update_power": (2.5, 0.5, 1.0),
    "profile": (0, 1, 2),
    "bandwidth": (5e6, 1e6, 2e7),
    "downlink_rate": (2e7, 1e6, 5e6),
    "distance": (70.0, 20.0, 135.0),
}
PROFILES = np.array([0, 1, 2, 2, 0, 1])
WORLD = {
    "probability": (0.3, 0.4, 0.3),
    "bits_high": (2e6, 4e5, 5e6),
    "shadowing": 5.9,
    "share_low": (0.5, 0.2),
    "slot_duration": 0.7,
    "link": {0: [(9, 12)]},
    "server": {1: [(40, 44)]},
}


@pytest.fixture(scope="module")
def decisions():
    rng, shape = np.random.default_rng(1), (SLOTS, DEVICES)
    update = {
        "place": rng.integers(-1, 3, shape),
        "hold": rng.random(shape),
        "bits": 1e6 * rng.random(shape),
        "cycles": 1e9 * rng.random(shape),
        "result_bits": 1e6 * rng.random(shape),
    }
    return make_decisions(rng.integers(0, 3, shape), np.where(rng.random(shape) < 0.3, 0.4, 0.0), update)


@pytest.fixture(scope="module")
def mixed(key, decisions):
    numbers = {name: np.array(values)[PROFILES] for name, values in KINDS.items()}
    return play(key, make_params(**WORLD, **numbers), decisions)


@pytest.mark.parametrize("profile", [0, 1, 2])
def test_a_device_is_as_in_a_fleet_of_its_kind(key, mixed, decisions, profile):
    """Bit by bit, where nothing couples: outcomes, jobs, batteries and channels of all slots."""
    own = play(key, make_params(**WORLD, **{name: values[profile] for name, values in KINDS.items()}), decisions)
    here = profile == PROFILES

    def parts(history):
        return history.outcome, history.before.job, history.before.pending, history.before.update, history.before.device

    jax.tree.map(
        lambda one, other: np.testing.assert_array_equal(one[..., here], other[..., here]), parts(mixed), parts(own)
    )
    assert len(np.unique(own.outcome.result[:, here])) >= 3, "the run is worth comparing"


def test_the_kinds_differ(mixed):
    for field in ("energy", "latency", "drawn_idle"):
        values = getattr(mixed.outcome, field)
        assert not np.array_equal(values[:, 0], values[:, 1])
        assert not np.array_equal(values[:, 0], values[:, 2])


def test_a_number_for_all_is_that_number_for_each(key):
    """Scalars and [D] make the same types, and the same world."""
    each, one = make_params(**WORLD), make_params(**WORLD)
    alone = ("speed", "energy_coefficient", "battery", "idle_power", "transmit_power", "receive_power", "update_power")
    fleet = one.fleet.replace(**{name: getattr(one.fleet, name)[0] for name in (*alone, "profile")})
    radio = one.radio.replace(
        **{name: getattr(one.radio, name)[0] for name in ("bandwidth", "downlink_rate", "distance")}
    )
    workload = one.workload.replace(arrivals=arrivals.periodic(1, 0))
    one = one.replace(fleet=fleet, radio=radio, workload=workload)
    decision = w.Decision(np.ones(DEVICES, np.int8), np.zeros(DEVICES, np.float32))

    def slot(key, params):
        return w.advance(w.init(key, params), decision, w.draw(key, params), params)

    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), jax.eval_shape(slot, key, p)) for p in (each, one)]
    assert shapes[0] == shapes[1]
