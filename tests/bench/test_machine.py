"""What a user can rely on: limits that are numbers, memory as the machine says it, and one clear line of refusal."""

import jax
import numpy as np
import pytest

from offjax.bench import machine
from offjax.errors import MachineError

SIZE, WIDTH, BUDGET = 1 << 16, 64, 0.02


@pytest.mark.parametrize(
    "rate",
    [
        lambda: machine.copy_rate(BUDGET, size=SIZE),
        lambda: machine.copy_rate(BUDGET, in_place=True, size=SIZE),
        lambda: machine.numpy_copy_rate(BUDGET, size=SIZE),
        lambda: machine.matmul_rate(BUDGET, width=WIDTH),
    ],
)
def test_rates_are_positive_and_finite(rate):
    assert 0 < rate() < np.inf


def test_arrays_are_cut_over_all_devices():
    array = machine.spread((len(jax.devices()), 3), 2.0)
    assert len(array.sharding.device_set) == len(jax.devices()) > 1
    np.testing.assert_array_equal(array, np.full((len(jax.devices()), 3), 2.0, np.float32))


def test_a_call_is_repeated_until_it_gets_no_faster():
    calls = []
    seconds = machine.best_time(lambda: calls.append(None), budget=60.0)
    assert seconds >= 0
    assert len(calls) > machine.PATIENCE


def test_a_slow_call_is_timed_once_at_least():
    calls = []
    assert machine.best_time(lambda: calls.append(None), budget=0.0) >= 0
    assert len(calls) == 2


def test_names_and_versions():
    about = machine.describe()
    assert {"processor", "processors", "device", "devices", "python", "jax", "jaxlib", "numpy"} <= set(about)
    assert about["devices"] == len(jax.devices())


def test_memory_is_some_of_what_the_machine_has():
    assert 0 < machine.available_memory() == pytest.approx(machine.host_memory(), rel=0.2)


def test_memory_of_an_accelerator():
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 1000, "bytes_in_use": 400}

    assert machine.available_memory(Device()) == 600


@pytest.mark.parametrize("folder", ["", "memory"])
def test_a_container_may_have_less(tmp_path, folder):
    """64 bytes, 40 used, of which 10 are files that can go: 34 are left; in both versions of control groups."""
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if folder else ("memory.max", "memory.current")
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, text in zip((*names, "memory.stat"), ("64\n", "40\n", "anon 30\ninactive_file 10\n"), strict=True):
        (tmp_path / folder / name).write_text(text)
    assert min(machine._left_in_containers(tmp_path)) == 34


def test_a_container_without_a_limit(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("40\n")
    assert min(machine._left_in_containers(tmp_path)) > 1e18
    assert min(machine._left_in_containers(tmp_path / "nothing")) > 1e18


def test_what_does_not_fit_is_refused_with_the_numbers():
    machine.check_fits(9.0e9, "--devices", available=10_000_000_000)
    with pytest.raises(MachineError) as refusal:
        machine.check_fits(16.0e9, "--devices 10000000 to 6000000", available=10_000_000_000)
    line = str(refusal.value)
    assert line == (
        "not enough memory: 16.00 GB are needed and 9.50 GB can be had; lower --devices 10000000 to 6000000"
    )
    assert refusal.value.exit_code == 3
