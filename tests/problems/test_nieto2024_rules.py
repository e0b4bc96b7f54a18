"""What a user can rely on: what is observed and rewarded in nieto2024, in which numbers the presets differ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax import world
from offjax.errors import ConfigError
from offjax.problems import nieto2024
from offjax.problems.nieto2024 import Scenario
from offjax.world import End, Kind

SLOTS, DEVICES = 500, 40
ETA, CAPACITY, IDLE = -0.1, 4000.0, 0.1
SCENARIO = Scenario(mec=((50, 70),), cloud=((80, 90),), link=((100, 130),), backhaul=((150, 160),))
BATTERY, SPEED, MEC, CLOUD, GAIN, CLASS = range(6)
PRESETS = ("text", "figures")


@jax.jit
def _play(problem, key, places):
    def body(state, x):
        place, slot_key = x
        decision = world.Decision(place)
        after, outcome = world.advance(state, decision, world.draw(slot_key, problem.params), problem.params)
        observation = problem.observe(state)
        return after, {
            "state": state,
            "outcome": outcome,
            "observation": observation,
            "scaled": problem.normalise(observation),
            "reward": problem.reward(outcome, state),
            "terminated": problem.terminated(after),
            "before": world.remaining(state.device, problem.params),
            "after": world.remaining(after.device, problem.params),
        }

    keys = jax.random.split(key, SLOTS + 1)
    return jax.lax.scan(body, world.init(keys[0], problem.params), (places, keys[1:]))[1]


def _problem(preset, battery=CAPACITY, slot_duration=1.0):
    problem = nieto2024.make(preset, SCENARIO, devices=DEVICES)
    fleet = problem.params.fleet.replace(battery=jnp.float32(battery))
    return problem.replace(params=problem.params.replace(fleet=fleet, slot_duration=jnp.float32(slot_duration)))


@pytest.fixture(scope="module")
def play(key):
    """Everything that happened, in NumPy, [slots, devices, ...]; ``place`` None = drawn."""

    def run(preset, place=None, **numbers):
        drawn = np.random.default_rng(7).integers(0, 3, (SLOTS, DEVICES))
        places = np.full((SLOTS, DEVICES), place) if place is not None else drawn
        return jax.device_get(_play(_problem(preset, **numbers), key, jnp.asarray(places, jnp.int8)))

    return run


@pytest.fixture(scope="module", params=PRESETS)
def drawn(request, play):
    return request.param, play(request.param)


# ------------------------------------------------------------------------------------------------ rewards


def test_reward_is_equation_18(drawn):
    preset, history = drawn
    outcome = history["outcome"]
    battery = CAPACITY if preset == "text" else np.maximum(history["before"], 1e-6)
    success = -outcome.energy / battery
    if preset == "figures":
        success = np.maximum(success, ETA)
    expected = np.where(outcome.result == End.IN_TIME, success, ETA)
    assert {End.IN_TIME, End.LATE, End.LINK_LOST, End.SERVER_LOST} <= set(np.unique(outcome.result))
    np.testing.assert_allclose(history["reward"], expected, rtol=2e-5, atol=1e-9)


def test_a_refused_arrival_costs_eta_and_a_busy_slot_nothing(play):
    """Slots of 0.1 s: local tasks of class 3 take several, and the arrivals pile up."""
    history = play("text", 0, slot_duration=0.1)
    outcome = history["outcome"]
    ended = np.where(outcome.result == End.IN_TIME, -outcome.energy / CAPACITY, ETA)
    ended = np.where(outcome.result == End.NONE, 0.0, ended)
    refused = outcome.refused != End.NONE
    assert refused.any()
    assert (outcome.result == End.NONE).any()
    np.testing.assert_allclose(history["reward"], ended + ETA * refused, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_dead_device_scores_eta_each_step_and_never_terminates(play, preset):
    history = play(preset, 0, battery=300.0)
    dead = history["before"] == 0
    assert dead[-1].all()
    assert not dead[0].any()
    assert (np.diff(dead.astype(int), axis=0) >= 0).all(), "nobody rises again"
    assert (history["outcome"].result[dead] == End.BATTERY_EMPTY).all()
    np.testing.assert_allclose(history["reward"][dead], ETA, rtol=1e-6)
    assert not history["terminated"].any()


def test_a_lost_offload_is_free_and_an_edge_outage_is_not(play):
    history = play("text", 1)
    spent, outcome = history["before"] - history["after"], history["outcome"]
    np.testing.assert_allclose(spent[100:130], IDLE, atol=3e-4)  # the battery itself is a float32 near 4000
    assert (outcome.energy[100:130] == 0).all()
    assert (outcome.result[100:130] == End.LINK_LOST).all()
    assert (outcome.result[50:70] == End.SERVER_LOST).all()
    rate = 5e6 * np.log2(1 + 10 ** (history["state"].device.gain[50:70].astype(np.float64) / 10) / 1e-13)
    upload = history["state"].job.left.uplink[50:70] / rate * 1.0  # 30 dBm
    np.testing.assert_allclose(outcome.energy[50:70], upload, rtol=1e-5)


# ------------------------------------------------------------------------------------------- observations


def test_the_observation_is_in_physical_units(drawn):
    _, history = drawn
    seen, state = history["observation"], history["state"]
    clock = state.clock
    np.testing.assert_array_equal(seen[..., BATTERY], history["before"])
    assert seen[0, 0, BATTERY] == CAPACITY
    assert (seen[..., SPEED] == 40e6).all()
    down = (clock >= 50) & (clock < 70)
    assert (seen[down, :, MEC] == 0).all()
    assert (seen[~down, :, MEC] >= 0.8e9).all()
    assert (seen[~down, :, MEC] <= 1e9).all()
    assert np.unique(seen[~down, :, MEC]).size > 100, "a new share in every slot"
    away = ((clock >= 80) & (clock < 90)) | ((clock >= 150) & (clock < 160))
    assert (seen[away, :, CLOUD] == 0).all()
    assert (seen[~away, :, CLOUD] == 10e9).all()
    np.testing.assert_array_equal(seen[..., CLASS], state.job.task_class + 1)
    assert set(np.unique(seen[..., CLASS])) == {1, 2, 3}


def test_a_lost_link_is_seen_as_the_lowest_gain(drawn):
    preset, history = drawn
    clock, gain = history["state"].clock, history["observation"][..., GAIN]
    lost = (clock >= 100) & (clock < 130)
    assert (gain[lost] == -130.0).all()
    expected = history["state"].device.gain.astype(np.float64)
    np.testing.assert_allclose(gain[~lost], np.clip(expected, -130, -40)[~lost], rtol=1e-5)
    shadowing = -(expected + history["state"].device.path_loss)
    assert np.std(shadowing) == pytest.approx(5.9, rel=0.05)
    if preset == "figures":
        loss = 32.4 + 23 * np.log10(np.tile(nieto2024.FIGURE_DISTANCES, 2)) + 20 * np.log10(3.5)
        np.testing.assert_allclose(history["state"].device.path_loss[0], loss, rtol=1e-5)


def test_normalised_is_between_0_and_1_and_linear(drawn):
    preset, history = drawn
    scaled, seen = history["scaled"], history["observation"]
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    features = _problem(preset).features
    assert [feature.unit for feature in features] == ["J", "cycles/s", "cycles/s", "cycles/s", "dB", "1"]
    low, high = (np.array([getattr(feature, end) for feature in features]) for end in ("low", "high"))
    np.testing.assert_allclose(scaled, (seen - low) / (high - low), atol=1e-6)
    assert (scaled[0, :, BATTERY] == 1).all()


def test_every_task_is_asked_about(drawn):
    _, history = drawn
    assert history["state"].job.asks.all()
    assert (history["state"].job.kind == Kind.TASK).all()


# ------------------------------------------------------------------------------------------------ presets


def _different(left, right) -> set[str]:
    """Paths of the leaves in which two problems differ, shapes included."""
    paths, _ = jax.tree.flatten_with_path(left)
    others = jax.tree.leaves(right)
    pairs = [(jax.tree_util.keystr(path), leaf, other) for (path, leaf), other in zip(paths, others, strict=True)]
    return {
        name.removeprefix(".params.")
        for name, leaf, other in pairs
        if leaf.shape != other.shape or not np.array_equal(leaf, other)
    }


BOTH = {
    "workload.bits_low",
    "workload.bits_high",
    "workload.deadline_per_bit",
    "radio.noise",
    "radio.distance",
}
DIFFERENCES = {
    "scenario1": BOTH | {"schedule.server.start", "schedule.server.stop"},
    "scenario2": BOTH | {"radio.shadowing", "schedule.link.stop"},
}


@pytest.mark.parametrize("scenario", DIFFERENCES)
def test_the_presets_differ_in_the_table_s_fields_only(scenario):
    text, figures = (nieto2024.make(preset, scenario) for preset in PRESETS)
    assert _different(text, figures) == DIFFERENCES[scenario]
    assert (text.remaining_battery, figures.remaining_battery) == (False, True)
    assert (text.params.placement, figures.params.placement) == ("uniform", "given")
    static = figures.params.replace(placement="uniform")
    assert jax.tree.structure(text.params) == jax.tree.structure(static)


def _spans(windows):
    return {(int(a), int(b)) for a, b in zip(windows.start.ravel(), windows.stop.ravel(), strict=True) if b > a}


@pytest.mark.parametrize(
    ("preset", "bits", "noise", "shadowing", "mec", "link"),
    [
        ("text", 8000, 1e-13, (5.9, 5.9), {(500, 750), (1250, 1500)}, {(500, 1000)}),
        ("figures", 8192, 1e-12, (5.9, 2.0), {(501, 751), (1251, 1501)}, {(500, 1001)}),
    ],
)
def test_the_table_of_presets(preset, bits, noise, shadowing, mec, link):
    first, second = (nieto2024.make(preset, scenario).params for scenario in ("scenario1", "scenario2"))
    np.testing.assert_array_equal(first.workload.bits_low, np.array([10, 20, 200]) * bits)
    np.testing.assert_array_equal(first.workload.bits_high, np.array([40, 50, 400]) * bits)
    np.testing.assert_allclose(first.workload.deadline_per_bit * bits, [0.5e-3, 1e-3, 2e-3], rtol=1e-6)
    np.testing.assert_allclose(first.radio.noise, noise, rtol=1e-6)
    np.testing.assert_allclose((first.radio.shadowing, second.radio.shadowing), shadowing, rtol=1e-6)
    assert (_spans(first.schedule.server), _spans(first.schedule.link)) == (mec, set())
    assert (_spans(second.schedule.server), _spans(second.schedule.link)) == (set(), link)


@pytest.mark.parametrize("mix", nieto2024.MIXES)
def test_mixes_and_scenarios_are_leaves(mix):
    """One compiled program serves them all."""
    first = nieto2024.make("text", "scenario1", "uniform")
    other = nieto2024.make("text", SCENARIO, mix, horizon=100)
    assert jax.tree.structure(first) == jax.tree.structure(other)
    assert [leaf.shape for leaf in jax.tree.leaves(first)] == [leaf.shape for leaf in jax.tree.leaves(other)]
    np.testing.assert_allclose(jnp.sum(other.params.workload.probability), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("preset", "txet", "one of text, figures"),
        ("scenario", "scenario3", "one of scenario1, scenario2"),
        ("mix", "class4", "one of class1, class2, class3, uniform"),
        ("devices", 30, "it must be a positive multiple of devices_per_cell = 20"),
        ("devices", 0, "it must be a positive multiple of devices_per_cell"),
    ],
)
def test_errors_name_field_value_and_what_is_allowed(field, value, allowed):
    with pytest.raises(ConfigError) as error:
        nieto2024.make(**{field: value})
    assert str(error.value).startswith(f"{field}: {value!r} is not allowed; ")
    assert allowed in str(error.value)


def test_devices_share_cells_of_twenty():
    params = nieto2024.make(devices=60).params
    assert params.access_points == 3
    assert nieto2024.make(devices=7).params.access_points == 1
    assert nieto2024.make(devices=60, devices_per_cell=5).params.access_points == 12
    assert float(params.radio.bandwidth) == float(nieto2024.make(devices=7).params.radio.bandwidth) == 5e6
