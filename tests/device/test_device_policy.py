"""The file that boards run: its sums, its one-line errors, its self-test, and the Pythons that it meets."""

import ast
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offjax.device import policy as board
from offjax.device.policy import Policy, PolicyError
from offjax.export.bundle import PolicySource, write_bundle
from offjax.schema.manifest import ObservedQuantity, Output

OBSERVATION = ["4e7", "-85.5", "1"]


def make_source():
    rng = np.random.default_rng(7)
    return PolicySource(
        layers=[
            (rng.normal(size=(3, 16)), rng.normal(size=16), "relu"),
            (rng.normal(size=(16, 3)), rng.normal(size=3), "softmax"),
        ],
        normaliser_shift=[1e6, -110, 0],
        normaliser_scale=[3.9e7, 50, 1],
        observation=[
            ObservedQuantity("task", "bit", 1e6, 4e7),
            ObservedQuantity("signal", "dBm", -110, -60),
            ObservedQuantity("wait", "µs", 0, 1),
        ],
        decisions=("local", "mec", "cloud"),
        algorithm="actor_critic",
        output=Output("probabilities", "1"),
        provenance={"offjax": "0.1.0", "seed": 7},
        selftest_observations=rng.uniform([1e6, -110, 0], [4e7, -60, 1], size=(32, 3)),
    )


@pytest.fixture
def folder(tmp_path):
    return write_bundle(tmp_path / "policy", make_source())


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    manifest = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in manifest.items() if value is not None}))


def rewrite(folder, name, content):
    """Replace a file and its hash, so that only what it holds is wrong."""
    (folder / name).write_bytes(content)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit_manifest(folder, files={**files, name: hashlib.sha256(content).hexdigest()})


def rewrite_arrays(folder, name, edit):
    with np.load(folder / name, allow_pickle=False) as archive:
        arrays = dict(archive)
    edit(arrays)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    rewrite(folder, name, stream.getvalue())


def flip_byte(path, position=-300):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_outputs_follow_the_manifest(folder):
    source, observation = make_source(), np.array([2e7, -80, 0.25])
    values = (observation - source.normaliser_shift) / source.normaliser_scale
    (kernel, bias, _), (last_kernel, last_bias, _) = source.layers
    scores = np.maximum(values @ kernel + bias, 0) @ last_kernel + last_bias
    expected = np.exp(scores) / np.exp(scores).sum()
    policy = Policy.load(folder)
    np.testing.assert_allclose(policy.outputs(observation), expected, atol=1e-6)
    assert policy.outputs(observation).dtype == np.float32
    assert policy.outputs([observation] * 4).shape == (4, 3)
    assert policy.decide(observation) == expected.argmax()


def test_the_first_of_equal_decisions_wins(folder):
    def equal(arrays):
        arrays["layer_1_kernel"][:] = 0
        arrays["layer_1_bias"][:] = 1

    rewrite_arrays(folder, "policy.npz", equal)
    assert Policy.load(folder).decide([2e7, -80, 0.5]) == 0


def test_the_script_prints_name_index_and_outputs(folder, capsys):
    assert board.main(["--folder", str(folder), "--observation", *OBSERVATION]) == 0
    place = Policy.load(folder).decide([float(text) for text in OBSERVATION])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"decision: {('local', 'mec', 'cloud')[place]} (index {place})"
    assert re.fullmatch(r"probabilities: local \S+, mec \S+, cloud \S+", lines[1])


def test_negative_exponents_are_numbers_and_no_options(folder, capsys):
    assert board.main(["--folder", str(folder), "--observation", "4e7", "-8.5e1", "-1E-3"]) == 0
    note = capsys.readouterr().err
    assert note == "note: wait -0.001 lies outside 0 .. 1 \N{MICRO SIGN}s, the range of training\n"


def test_info_names_units_ranges_decisions_and_origin(folder, capsys):
    assert board.main(["--folder", str(folder), "--info"]) == 0
    text = capsys.readouterr().out
    for part in ("signal", "[dBm]", "-110 .. -60", "1 = mec", "seed = 7", "115 parameters", "policy.npz"):
        assert part in text


DAMAGE = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json"),
    "no weights": (lambda f: (f / "policy.npz").unlink(), "policy.npz"),
    "no folder": (shutil.rmtree, "manifest.json"),
    "manifest is a folder": (
        lambda f: [(f / "manifest.json").unlink(), (f / "manifest.json").mkdir()],
        "manifest.json",
    ),
    "flipped byte": (lambda f: flip_byte(f / "policy.npz"), "policy.npz: 'sha256"),
    "truncated weights": (lambda f: os.truncate(f / "policy.npz", 200), "policy.npz: 'sha256"),
    "truncated weights, right hash": (
        lambda f: rewrite(f, "policy.npz", (f / "policy.npz").read_bytes()[:200]),
        "policy.npz",
    ),
    "weights are no npz": (lambda f: rewrite(f, "policy.npz", b"weights"), "policy.npz"),
    "NaN weight": (
        lambda f: rewrite_arrays(f, "policy.npz", lambda a: a["layer_0_bias"].fill(np.nan)),
        "layer_0_bias in policy.npz",
    ),
    "wrong shape": (
        lambda f: rewrite_arrays(f, "policy.npz", lambda a: a.update(layer_0_bias=np.zeros(3, np.float32))),
        "layer_0_bias in policy.npz: 'shape (3,)'",
    ),
    "wrong type": (
        lambda f: rewrite_arrays(f, "policy.npz", lambda a: a.update(layer_0_bias=np.zeros(16))),
        "layer_0_bias in policy.npz: 'float64'",
    ),
    "missing array": (
        lambda f: rewrite_arrays(f, "policy.npz", lambda a: a.pop("layer_1_bias")),
        "policy.npz",
    ),
    "pickled array": (
        lambda f: rewrite_arrays(f, "policy.npz", lambda a: a.update(layer_0_bias=np.array([None] * 16))),
        "policy.npz",
    ),
    "manifest is no JSON": (lambda f: (f / "manifest.json").write_text('{"kind":\n'), "manifest.json"),
    "manifest is no text": (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe\x00"), "manifest.json"),
    "manifest is deep": (lambda f: (f / "manifest.json").write_text("[" * 100_000), "manifest.json"),
    "later version": (lambda f: edit_manifest(f, schema_version=2), "schema_version: 2"),
    "no version": (lambda f: edit_manifest(f, schema_version=None), "schema_version: None"),
    "other kind": (lambda f: edit_manifest(f, kind="tree"), "kind: 'tree'"),
    "no decisions": (lambda f: edit_manifest(f, decisions=None), "decisions: None"),
    "path in files": (
        lambda f: edit_manifest(f, files={"../policy.npz": "0" * 64}),
        "files: '../policy.npz'",
    ),
}


@pytest.mark.parametrize("mode", [["--observation", *OBSERVATION], ["--info"]], ids=lambda mode: mode[0])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_clear_line_and_exit_2(folder, capsys, damage, mode):
    apply, start = DAMAGE[damage]
    apply(folder)
    assert board.main(["--folder", str(folder), *mode]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("policy.py: " + start)
    assert "is not allowed; " in said.err


@pytest.mark.parametrize(
    ("observation", "start"),
    [
        ([], "observation: '0 numbers'"),
        (["1", "2"], "observation: '2 numbers'"),
        (["1", "2", "3", "4"], "observation: '4 numbers'"),
        (["1", "nan", "3"], "observation signal: nan"),
        (["1", "-inf", "3"], "observation signal: -inf"),
        (["1e39", "2", "3"], "observation task: inf"),
        (["1", "two", "3"], "observation: 'two'"),
    ],
)
def test_a_wrong_observation_is_one_clear_line_and_exit_2(folder, capsys, observation, start):
    assert board.main(["--folder", str(folder), "--observation", *observation]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("policy.py: " + start)


@pytest.mark.parametrize("observation", [None, "text", [1, 2], [[[1, 2, 3]]], [1, 2, float("nan")], [1, 2, 10**400]])
def test_the_module_refuses_wrong_observations(folder, observation):
    with pytest.raises(PolicyError, match="observation"):
        Policy.load(folder).outputs(observation)


def test_decide_takes_one_observation(folder):
    with pytest.raises(PolicyError, match="one observation"):
        Policy.load(folder).decide([[1e7, -80, 0.5]])


@pytest.mark.parametrize("arguments", [[], ["--nonsense"], ["--info", "--self-test"]])
def test_wrong_arguments_are_one_clear_line_and_exit_2(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        board.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_self_test_of_an_intact_bundle_is_good(folder, capsys):
    assert board.main(["--folder", str(folder), "--self-test"]) == 0
    assert capsys.readouterr().out.startswith("ok")


def flip_weight(arrays):
    arrays["layer_1_bias"][0] *= -1  # one that no silent relu hides


SELF_TEST_DAMAGE = {
    "flipped byte": (lambda f: flip_byte(f / "policy.npz"), "policy.npz: 'sha256"),
    "edited readme": (lambda f: (f / "README.txt").write_text("hi"), "README.txt: 'sha256"),
    "missing vectors": (lambda f: (f / "selftest.npz").unlink(), "selftest.npz: 'missing'"),
    "flipped weight, right hash": (lambda f: rewrite_arrays(f, "policy.npz", flip_weight), "outputs of"),
    "shifted decisions": (
        lambda f: rewrite_arrays(f, "selftest.npz", lambda a: a.update(decisions=(a["decisions"] + 1) % 3)),
        "decisions of 32 of 32",
    ),
}


@pytest.mark.parametrize("damage", SELF_TEST_DAMAGE)
def test_the_self_test_says_what_differs(folder, capsys, damage):
    apply, start = SELF_TEST_DAMAGE[damage]
    apply(folder)
    assert board.main(["--folder", str(folder), "--self-test"]) == 1
    assert capsys.readouterr().out.startswith("differs: " + start)


@pytest.mark.parametrize("name", ["observations", "outputs", "decisions"])
def test_unusable_test_vectors_are_exit_2(folder, capsys, name):
    rewrite_arrays(folder, "selftest.npz", lambda arrays: arrays.pop(name))
    assert board.main(["--folder", str(folder), "--self-test"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_terminal_without_unicode_is_no_problem(folder):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, str(folder / "policy.py"), "--info"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "[\\xb5s]" in result.stdout


JUNK = (None, True, -1, 0, 2**70, 10**400, 1e300, float("nan"), "", "x", [], [[]], {}, {"a": 1})


def one_line_or_none(function):
    """What a PolicyError says, or None; any other exception is the failure of the test."""
    try:
        function()
    except PolicyError as error:
        return str(error)
    return None


def places(value, path=()):
    """The paths of everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*path, key)
        yield from places(inner, (*path, key))


def test_any_field_replaced_by_junk_is_a_policy_error_or_harmless(folder):
    text = (folder / "manifest.json").read_text()
    refused = 0
    for path in list(places(json.loads(text))):
        for junk in JUNK:
            inner = manifest = json.loads(text)
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = junk
            (folder / "manifest.json").write_text(json.dumps(manifest))
            line = one_line_or_none(lambda: Policy.load(folder).outputs([2e7, -80, 0.5]))
            refused += line is not None
            assert "\n" not in (line or "")
    assert refused > 300


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 2000), value=st.integers(0, 255), length=st.integers(1, 2500))
def test_any_damaged_npz_is_a_policy_error_or_harmless(folder, position, value, length):
    damaged = bytearray((folder / "policy.npz").read_bytes())
    damaged[position % len(damaged)] = value
    manifest = board.read_manifest(folder)
    line = one_line_or_none(lambda: Policy(manifest, board._arrays("policy.npz", bytes(damaged[:length]))))
    assert "\n" not in (line or "")


def test_the_file_imports_only_numpy_and_the_standard_library():
    imported = set()
    for node in ast.walk(ast.parse(Path(board.__file__).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.split(".")[0])
    assert imported - {"numpy"} <= set(sys.stdlib_module_names)
    assert "dataclasses" not in imported  # Python 3.6 has none


def find_python(version):
    """An interpreter of pyenv or of the path, or None."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return str(found[-1]) if found else shutil.which(f"python{version}")


@pytest.fixture(scope="module", params=["3.6", "3.9"])
def old_python(request, tmp_path_factory):
    """The interpreter of a fresh environment with NumPy, as on a board of JetPack 4.6 or Pi OS 11."""
    interpreter = find_python(request.param)
    if interpreter is None:
        pytest.skip(f"Python {request.param} is not installed")
    environment = tmp_path_factory.mktemp(f"python{request.param}")
    python = str(environment / "bin" / "python")
    install = ["-m", "pip", "install", "-q", "--retries", "0", "--only-binary", ":all:", "numpy"]
    for command in ([interpreter, "-m", "venv", str(environment)], [python, *install]):
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"Python {request.param} cannot have NumPy here: {error}")
    return python


def run_old(python, folder, *arguments):
    command = [python, str(folder / "policy.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_old_boards_decide_alike(old_python, folder, capsys):
    assert run_old(old_python, folder, "--self-test").stdout.startswith("ok")
    assert run_old(old_python, folder, "--info").returncode == 0
    decided = run_old(old_python, folder, "--observation", *OBSERVATION)
    board.main(["--folder", str(folder), "--observation", *OBSERVATION])
    assert decided.stdout.splitlines()[0] == capsys.readouterr().out.splitlines()[0]


def test_old_boards_name_the_problem_in_one_line(old_python, folder):
    wrong = run_old(old_python, folder, "--observation", "1", "-1e5")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    flip_byte(folder / "policy.npz")
    damaged = run_old(old_python, folder, "--observation", *OBSERVATION)
    assert (damaged.returncode, damaged.stderr.count("\n")) == (2, 1)
    assert run_old(old_python, folder, "--self-test").returncode == 1


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9"])
def test_old_interpreters_compile_the_file(tmp_path, version):
    interpreter = find_python(version)
    if interpreter is None:
        pytest.skip(f"Python {version} is not installed")
    copy = shutil.copy(board.__file__, tmp_path)
    subprocess.run([interpreter, "-m", "py_compile", copy], check=True, capture_output=True)


def test_a_board_without_numpy_is_told_what_to_install(folder):
    result = subprocess.run(
        [sys.executable, "-S", "-I", str(folder / "policy.py"), "--info"], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "requirements-board.txt" in result.stderr
