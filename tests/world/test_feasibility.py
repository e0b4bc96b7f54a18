"""What a user can rely on: the table of who can do what in time, re-checked from Nieto et al. 2024 (text preset).

70 m from the base station, no shadowing, 1 KB = 8000 bit, all servers free: smallest, middle and largest task of
each class, at home, on the edge server and in the cloud; from the closed forms, and from the world itself.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax import world as w
from offjax.physics import compute, fibre, offload, radio
from offjax.problems import nieto2024
from offjax.problems.nieto2024 import Scenario
from offjax.world import End
from offjax.world.draws import Draw

# class, KB, deadline ms, latency ms (local, mec, cloud), in time?, local energy J
TABLE = (
    (1, 10, 5, (2, 1.17, 16.10), (True, True, False), 0.128),
    (1, 25, 12.5, (5, 2.92, 17.75), (True, True, False), 0.320),
    (1, 40, 20, (8, 4.67, 19.40), (True, True, True), 0.512),
    (2, 20, 20, (32, 3.46, 17.31), (False, True, True), 2.05),
    (2, 35, 35, (56, 6.05, 19.05), (False, True, True), 3.58),
    (2, 50, 50, (80, 8.64, 20.78), (False, True, True), 5.12),
    (3, 200, 400, (320, 34.6, 38.1), (True, True, True), 20.5),
    (3, 300, 600, (480, 51.8, 49.7), (True, True, True), 30.7),
    (3, 400, 800, (640, 69.1, 61.2), (True, True, True), 41.0),
)
MEC_MILLIJOULE = {10: 1.1, 25: 2.7, 40: 4.4}  # class 1
CLASS, KB, DEADLINE, LATENCY, IN_TIME, LOCAL_JOULE = (np.array(column) for column in zip(*TABLE, strict=True))
BITS = KB * 8000.0
CYCLES = BITS * np.where(CLASS == 1, 1, 8)
IDLE = 0.1


def _rounded(values, table):
    """Equal to the digits that the table has."""
    decimals = [len(str(float(entry)).split(".")[1]) for entry in np.ravel(table)]
    rounded = [round(float(value), digits) for value, digits in zip(np.ravel(values), decimals, strict=True)]
    np.testing.assert_array_equal(rounded, np.ravel(table))


def _line(cloud_distance: float = 1.4993e6) -> tuple[np.ndarray, np.ndarray]:
    """Latency [9, 3] s and device energy [9, 3] J in float64, written out."""
    loss = 32.4 + 23 * np.log10(70.0) + 20 * np.log10(3.5)
    rate = 100e6 / 20 * np.log2(1 + 1.0 * 10 ** (-loss / 10) / 1e-13)
    upload = BITS / rate
    fibre_rate = 100e9 / 4 * 0.9 * 0.8
    cloud = upload + CYCLES / 10e9 + BITS / fibre_rate + 2 * cloud_distance / 2e8
    latency = np.stack([CYCLES / 40e6, upload + CYCLES / 1e9, cloud], axis=1)
    return latency, np.stack([1e-21 * 40e6**2 * CYCLES, upload, upload], axis=1)


def test_the_line_is_the_table():
    """The table was made with the cloud at 1.5e6 m, 7 us further than Fig. 4 has it."""
    latency, energy = _line(cloud_distance=1.5e6)
    _rounded(1e3 * latency, LATENCY)
    _rounded(energy[:, 0], LOCAL_JOULE)
    _rounded(1e3 * energy[:3, 1], list(MEC_MILLIJOULE.values()))
    np.testing.assert_array_equal(1e3 * latency <= DEADLINE[:, None], IN_TIME)


def test_the_closed_forms_are_the_table():
    latency, energy = _line()
    gain = radio.channel_gain(radio.path_loss_inf_sh(np.float32(70.0), np.float32(3.5e9)), np.float32(0.0))
    watt = np.float32(radio.watt_from_dbm(30.0))
    rate = radio.shannon_rate(np.float32(5e6), watt, radio.from_db(gain), np.float32(radio.watt_from_dbm(-100.0)))
    bits, cycles = np.float32(BITS), np.float32(CYCLES)
    propagation = fibre.propagation_delay(1.4993e6, 2e8)
    fibre_rate = fibre.fibre_rate(100e9, 16.0, 0.10, 0.20)
    forms = [
        compute.execution_time(cycles, np.float32(40e6)),
        offload.edge_latency(bits, cycles, rate, np.float32(1e9)),
        offload.cloud_latency(bits, cycles, rate, np.float32(10e9), fibre_rate, propagation),
    ]
    np.testing.assert_allclose(np.stack(forms, axis=1), latency, rtol=1e-6)
    joules = radio.transmission_energy(watt, radio.transmission_time(bits, rate))
    np.testing.assert_allclose(joules, energy[:, 1], rtol=1e-6)
    local = compute.execution_energy(cycles, np.float32(40e6), np.float32(1e-21))
    np.testing.assert_allclose(local, energy[:, 0], rtol=1e-6)


# ------------------------------------------------------------------------------- the same in the world

# Windows beyond slot 10, each of one kind.
SCENARIO = Scenario(mec=((11, 12),), cloud=((12, 13),), link=((13, 14),), backhaul=((14, 15),))


@pytest.fixture(scope="module")
def problem():
    problem = nieto2024.make("text", SCENARIO, devices=len(TABLE))
    params = problem.params
    radio_ = params.radio.replace(distance=jnp.full(len(TABLE), 70.0), shadowing=jnp.float32(0.0))
    servers = params.servers.replace(share_low=jnp.ones(2))
    return problem.replace(params=params.replace(radio=radio_, servers=servers, placement="given"))


@pytest.fixture(scope="module")
def one_slot(problem, key):
    """The outcome of slot ``slot`` when every device holds its row of the table and goes to ``place``."""
    size = (BITS / 8000 - np.array([10, 20, 200])[CLASS - 1]) / np.array([30, 30, 200])[CLASS - 1]
    bits = np.zeros((len(Draw), len(TABLE)), np.uint32)
    bits[Draw.CLASS] = (CLASS - 0.5) / 3 * 2.0**32
    bits[Draw.SIZE] = np.minimum(size * 2.0**24, 2.0**24 - 1).astype(np.uint32) << 8
    drawn = w.draw(key, problem.params).replace(device=jnp.asarray(bits))
    jit_init, jit_advance = jax.jit(w.init), jax.jit(w.advance)

    def run(place: int, slot: int = 1, battery: float = 4000.0):
        params = problem.params.replace(fleet=problem.params.fleet.replace(battery=jnp.float32(battery)))
        decision = w.Decision(jnp.full(len(TABLE), place, jnp.int8))
        # The tasks of the slot before are not of the table: taken away.
        state = jit_init(key, params, jnp.int32(slot - 1)).replace(draws=drawn)
        state = state.replace(job=state.job.replace(kind=jnp.zeros(len(TABLE), jnp.int8)))
        before, _ = jit_advance(state, decision, drawn, params)
        after, outcome = jit_advance(before, decision, drawn, params)
        return jax.device_get((before, outcome, after))

    return run


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_world_is_the_table(one_slot, problem, place):
    latency, energy = _line()
    before, outcome, _ = one_slot(place)
    np.testing.assert_array_equal(outcome.task_class, CLASS - 1)
    np.testing.assert_allclose(outcome.deadline, DEADLINE * 1e-3, rtol=1e-6)
    np.testing.assert_allclose(outcome.latency, latency[:, place], rtol=1e-6)
    np.testing.assert_allclose(outcome.energy, energy[:, place], rtol=1e-6)
    np.testing.assert_array_equal(outcome.result, np.where(IN_TIME[:, place], End.IN_TIME, End.LATE))
    reward = np.where(IN_TIME[:, place], -energy[:, place] / 4000, -0.1)
    np.testing.assert_allclose(problem.reward(outcome, before), reward, rtol=1e-6)


@pytest.mark.parametrize(("slot", "place", "end"), [(11, 1, End.SERVER_LOST), (12, 2, End.SERVER_LOST)])
def test_in_a_server_outage_the_upload_is_still_paid(one_slot, slot, place, end):
    before, outcome, _ = one_slot(place, slot)
    assert (outcome.result == end).all()
    np.testing.assert_allclose(outcome.energy, _line()[1][:, place], rtol=1e-6)
    assert before.cell.told[0, place - 1] == 0.0, "seen before it is decided"


@pytest.mark.parametrize("place", [1, 2])
def test_a_lost_offload_costs_no_energy(one_slot, place):
    _, outcome, after = one_slot(place, 13)
    assert (outcome.result == End.LINK_LOST).all()
    np.testing.assert_array_equal(outcome.energy, 0.0)
    np.testing.assert_allclose(after.device.spent + after.device.spent_low, 2 * IDLE, rtol=1e-6)


def test_without_its_fibre_the_cloud_is_lost_after_the_upload(one_slot):
    before, outcome, _ = one_slot(2, 14)
    assert (outcome.result == End.LINK_LOST).all()
    np.testing.assert_allclose(outcome.energy, _line()[1][:, 2], rtol=1e-6)
    np.testing.assert_array_equal(before.cell.told, [[1e9, 0.0]])
    assert (one_slot(1, 14)[1].result == End.IN_TIME).all()


def test_more_energy_than_the_battery_holds(one_slot, problem):
    """The task fails, the battery is exactly empty (own rule: the paper is silent)."""
    battery = 3.0  # J: class 1 and the smallest of class 2 can be paid at home
    _, outcome, after = one_slot(0, battery=battery)
    energy = _line()[1][:, 0]
    fails = energy > battery - IDLE
    assert fails.sum() == 5
    np.testing.assert_array_equal(outcome.result == End.BATTERY_EMPTY, fails)
    params = problem.params.replace(fleet=problem.params.fleet.replace(battery=jnp.float32(battery)))
    left = np.asarray(w.remaining(after.device, params))
    np.testing.assert_array_equal(left[fails], 0.0)
    np.testing.assert_allclose(left[~fails], battery - 2 * IDLE - energy[~fails], rtol=1e-5)
    np.testing.assert_allclose(outcome.energy[fails], battery - IDLE, rtol=1e-6)
