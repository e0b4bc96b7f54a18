"""A bundle appears whole, says what it is, and reads back as it was written."""

import dataclasses
import errno
import hashlib
import json
import os

import numpy as np
import pytest

from offjax.device import policy as board
from offjax.errors import ConfigError, MachineError
from offjax.export import bundle
from offjax.export.bundle import PolicySource, load_policy, record_parity, write_bundle
from offjax.schema import manifest as writer
from offjax.schema.manifest import ObservedQuantity, Output

OBSERVATION = (
    ObservedQuantity("task", "bit", 1e6, 4e7),
    ObservedQuantity("server_speed", "cycles/s", 1e9, 1e10),
    ObservedQuantity("signal", "dBm", -110, -60),
)


def make_source(seed=0, **changes):
    rng = np.random.default_rng(seed)
    source = PolicySource(
        layers=[
            (rng.normal(size=(3, 8)), rng.normal(size=8), "tanh"),
            (rng.normal(size=(8, 3)), rng.normal(size=3), "softmax"),
        ],
        normaliser_shift=[1e6, 1e9, -110],
        normaliser_scale=[3.9e7, 9e9, 50],
        observation=OBSERVATION,
        decisions=("local", "mec", "cloud"),
        algorithm="actor_critic",
        output=Output("probabilities", "1"),
        provenance={"offjax": "0.1.0", "commit": "0" * 40, "seed": seed},
        selftest_observations=[[1e6, 1e9, -110], [4e7, 5e9, -70]],
    )
    return dataclasses.replace(source, **changes)


def test_what_is_written_is_what_is_read(tmp_path):
    source = make_source()
    folder = write_bundle(tmp_path / "new" / "policy", source)
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(bundle.BUNDLE_FILES)
    policy = load_policy(folder)
    assert [entry["name"] for entry in policy.observation] == ["task", "server_speed", "signal"]
    assert policy.decisions == source.decisions
    arrays = np.load(folder / "policy.npz", allow_pickle=False)
    for i, (kernel, bias, _) in enumerate(source.layers):
        np.testing.assert_array_equal(arrays[f"layer_{i}_kernel"], np.float32(kernel))
        np.testing.assert_array_equal(arrays[f"layer_{i}_bias"], np.float32(bias))


def test_the_reader_understands_the_writer(tmp_path):
    assert writer.SCHEMA_VERSION == board.SCHEMA_VERSION
    folder = write_bundle(tmp_path / "policy", make_source())
    read = board.read_manifest(str(folder))
    assert set(read) == {field.name for field in dataclasses.fields(writer.Manifest)} - {"parity"}
    for name, record in (("layers", writer.Layer), ("observation", ObservedQuantity)):
        assert all(set(entry) == {field.name for field in dataclasses.fields(record)} for entry in read[name])
    assert read["observation"] == [dataclasses.asdict(entry) for entry in OBSERVATION]
    assert set(read["normaliser"]) == {"shift", "scale"}
    assert read["output"] == {"kind": "probabilities", "unit": "1"}


def test_the_manifest_lists_every_other_file(tmp_path):
    folder = write_bundle(tmp_path / "policy", make_source())
    files = json.loads((folder / "manifest.json").read_text())["files"]
    assert set(files) == set(bundle.BUNDLE_FILES) - {"manifest.json"}
    for name, digest in files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_the_script_is_copied_as_it_is(tmp_path):
    folder = write_bundle(tmp_path / "policy", make_source())
    with open(board.__file__, "rb") as stream:
        assert (folder / "policy.py").read_bytes() == stream.read()


def test_the_same_source_gives_the_same_bytes(tmp_path):
    first, second = (write_bundle(tmp_path / name, make_source()) for name in ("first", "second"))
    for name in bundle.BUNDLE_FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_an_existing_folder_is_refused_and_left_alone(tmp_path):
    folder = write_bundle(tmp_path / "policy", make_source(seed=0))
    before = (folder / "policy.npz").read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        write_bundle(folder, make_source(seed=1))
    assert (folder / "policy.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["policy"]


@pytest.mark.parametrize("exchange_works", [True, False])
def test_overwrite_replaces_a_bundle(tmp_path, monkeypatch, exchange_works):
    if not exchange_works:
        monkeypatch.setattr(bundle, "_exchange", lambda first, second: False)
    folder = write_bundle(tmp_path / "policy", make_source(seed=0))
    write_bundle(folder, make_source(seed=1), overwrite=True)
    assert load_policy(folder).manifest["provenance"]["seed"] == 1
    assert os.listdir(tmp_path) == ["policy"]


@pytest.mark.parametrize("content", ["notes.txt", "bundle and notes"])
def test_overwrite_spares_what_is_no_bundle(tmp_path, content):
    folder = tmp_path / "policy"
    if content == "bundle and notes":
        write_bundle(folder, make_source())
    folder.mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="folder"):
        write_bundle(folder, make_source(), overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    older = write_bundle(tmp_path / "policy", make_source(seed=0))
    monkeypatch.setattr(bundle.os, "fsync", full)
    with pytest.raises(MachineError, match="No space left on device"):
        write_bundle(older, make_source(seed=1), overwrite=True)
    assert os.listdir(tmp_path) == ["policy"]
    assert load_policy(older).manifest["provenance"]["seed"] == 0


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written") as caught:
        write_bundle(tmp_path / "file" / "policy", make_source())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"layers": []}, "layers"),
        ({"layers": [(np.ones((3, 3)), np.ones(2), "softmax")]}, "layer_0_bias"),
        ({"layers": [(np.ones(3), np.ones(3), "softmax")]}, "layer_0_kernel"),
        ({"layers": [(np.full((3, 3), np.nan), np.ones(3), "softmax")]}, "layer_0_kernel"),
        ({"layers": [(np.ones((3, 3)), np.ones(3), "gelu")]}, r"layers\[0\].activation"),
        ({"layers": [(np.ones((3, 3)), np.ones(3), "linear")]}, "output.kind"),
        ({"normaliser_scale": [1, 0, 1]}, r"normaliser.scale\[1\]"),
        ({"normaliser_shift": [1, 2]}, "normaliser.shift"),
        ({"normaliser_shift": ["a", "b", "c"]}, "normaliser.shift"),
        ({"observation": OBSERVATION[:2]}, "observation"),
        ({"observation": (ObservedQuantity("task", "bit", 2, 1), *OBSERVATION[1:])}, r"observation\[0\].low"),
        ({"observation": (ObservedQuantity("task", "bit", None, 1), *OBSERVATION[1:])}, "observation task"),
        ({"decisions": ("local", "mec")}, "decisions"),
        ({"decisions": ("local", "mec", "mec")}, "decisions"),
        ({"output": Output("logits", "1")}, "output.kind"),
        ({"provenance": {"folder": object()}}, "provenance"),
        ({"provenance": {"score": float("nan")}}, "provenance"),
        ({"selftest_observations": np.ones((2, 4))}, "observation"),
        ({"selftest_observations": np.ones((0, 3))}, "selftest_observations"),
        ({"selftest_observations": [[1, 2, np.nan]]}, "observation signal"),
    ],
)
def test_a_wrong_source_names_the_field_and_writes_nothing(tmp_path, changes, field):
    with pytest.raises(ConfigError, match=f"^{field}") as caught:
        write_bundle(tmp_path / "policy", make_source(**changes))
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_load_policy_turns_damage_into_a_configuration_error(tmp_path):
    folder = write_bundle(tmp_path / "policy", make_source())
    (folder / "policy.npz").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"^policy\.npz") as caught:
        load_policy(folder)
    assert (caught.value.field, caught.value.exit_code) == ("policy.npz", 2)


def test_parity_is_added_and_the_bundle_stays_valid(tmp_path):
    folder = write_bundle(tmp_path / "policy", make_source())
    record_parity(folder, {"observations": 10, "max_abs_diff": 1e-7, "decision_agreement": 1.0})
    assert load_policy(folder).manifest["parity"]["max_abs_diff"] == 1e-7
    assert board.self_test(str(folder)) == []
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(bundle.BUNDLE_FILES)
    with pytest.raises(ConfigError, match=r"^parity"):
        record_parity(folder, {"max_abs_diff": float("nan")})
