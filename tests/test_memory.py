"""What a user can rely on: memory as the machine says it, one clear line of refusal, and batches that fit."""

import jax
import jax.numpy as jnp
import pytest

from offjax import memory
from offjax.errors import MachineError


def test_memory_is_some_of_what_the_machine_has():
    assert 0 < memory.available_bytes() == pytest.approx(memory.host_bytes(), rel=0.2)


def test_memory_of_an_accelerator():
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 1000, "bytes_in_use": 400}

    assert memory.available_bytes(Device()) == 600


@pytest.mark.parametrize("folder", ["", "memory"])
def test_a_container_may_have_less(tmp_path, folder):
    """64 bytes, 40 used, of which 10 are files that can go: 34 are left; in both versions of control groups."""
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if folder else ("memory.max", "memory.current")
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, text in zip((*names, "memory.stat"), ("64\n", "40\n", "anon 30\ninactive_file 10\n"), strict=True):
        (tmp_path / folder / name).write_text(text)
    assert min(memory._left_in_containers(tmp_path)) == 34


def test_a_container_without_a_limit(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("40\n")
    assert min(memory._left_in_containers(tmp_path)) > 1e18
    assert min(memory._left_in_containers(tmp_path / "nothing")) > 1e18


def test_bytes_are_those_of_every_leaf():
    """Of arrays that are there, of those that are not, of keys and of plain numbers."""
    key = jax.random.key(0, impl="philox4x32")

    def make(key):
        return {"keys": jax.random.split(key, 3), "weights": jnp.zeros((5, 2)), "flags": jnp.ones(7, bool)}

    assert memory.bytes_of(make(key)) == memory.bytes_of(jax.eval_shape(make, key)) == 3 * 8 + 5 * 2 * 4 + 7
    assert memory.bytes_of((1.0, None)) == 8


def test_what_does_not_fit_is_refused_with_the_numbers():
    memory.require_fits("10 devices", 9.0e9, available=10_000_000_000)
    with pytest.raises(MachineError) as refusal:
        memory.require_fits("10,000,000 devices", 16.0e9, available=10_000_000_000)
    line = "not enough memory for 10,000,000 devices: 16.00 GB are needed and 9.50 GB can be had"
    assert str(refusal.value) == line
    assert refusal.value.exit_code == 3


@pytest.mark.parametrize(("each", "count"), [(950, 1), (400, 2), (95, 10), (0, 950)])
def test_as_many_as_fit(each, count):
    assert memory.most_at_once("an agent", each, available=1000) == count


def test_at_least_one_must_fit():
    with pytest.raises(MachineError, match=r"an agent: 2[.]00 GB are needed and 0[.]95 GB can be had"):
        memory.most_at_once("an agent", 2e9, available=10**9)
