"""Many agents in one program learn what each would learn alone; a sweep that was stopped ends with the same tables."""

import json
import shutil

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from offjax.cli import main
from offjax.config import parse_sweep, to_yaml
from offjax.learning import sweep as probing
from offjax.learning.sweep import candidates, choose_chunk, differ, group, make_unit, slices
from offjax.learning.unit import load_unit, train_unit
from offjax.runs.progress import ProgressReport
from offjax.sweeps.ray_engine import work
from offjax.sweeps.results import rank, read_curves
from offjax.sweeps.trials import make_trials

BASE = {
    "problem": {"devices": 40, "slots": 40},
    "agents": {"ac": {"hidden": [4]}},
    "training": {"seeds": 1, "worlds": 2, "rounds": 4, "checkpoint_rounds": 2, "validation_devices": 0},
}
AXES = {"agents.ac.gamma": [0.0, 0.5, 0.9], "problem.servers.mec_speed_mhz": [500.0, 1000.0]}


def sweep(base=(), **changes):
    return parse_sweep({"base": {**BASE, **dict(base)}, "axes": AXES, "chunk": 4, **changes})


def trials_of(config):
    return make_trials(config, config.grid())


def groups_of(config):
    return group([trial.member for trial in trials_of(config)])


# ------------------------------------------------------------------------------------------ grouping


def test_numbers_share_a_program():
    """Seeds, an agent's number, one of a problem that moves what is observed, and scenarios of one shape."""
    base = {
        "training": {**BASE["training"], "seeds": 3},
        "problem": {**BASE["problem"], "scenarios": ["scenario1", "scenario2"]},
    }
    assert [len(members) for members in groups_of(sweep(base))] == [3 * 6 * 2]


def test_structure_fans_out():
    agents = {"ac": {"hidden": [4]}, "ddqn": {"hidden": [4], "replay_capacity": 400, "batch_size": 16}}
    config = sweep({"agents": agents}, axes={"agents.ac.hidden": [[4], [8]], "agents.ddqn.gamma": [0.0, 0.5]})
    trials = trials_of(config)
    # Neither algorithm is trained twice because of an axis that only the other one has.
    assert [(trial.agent, len(trials)) for trial in trials].count(("ac", 4)) == 2
    assert {tuple(trial.point.items()) for trial in trials if trial.agent == "ddqn"} == {
        (("agents.ac.hidden", None), ("agents.ddqn.gamma", 0.0)),
        (("agents.ac.hidden", None), ("agents.ddqn.gamma", 0.5)),
    }
    assert sorted(len(members) for members in group([trial.member for trial in trials])) == [1, 1, 2]


def test_a_seed_starts_from_the_same_key_everywhere():
    training = {**BASE["training"], "seeds": 2, "seed": 7}
    keys = {}
    for trial in trials_of(sweep({"training": training})):
        keys.setdefault(trial.seed, set()).add(tuple(np.asarray(jax.random.key_data(trial.member.key)).tolist()))
    assert {seed: len(found) for seed, found in keys.items()} == {7: 1, 8: 1}
    assert keys[7] != keys[8]


def test_slices_are_whole_chunks():
    members = list(range(11))
    assert [list(part) for part in slices(members, 4, 2)] == [list(range(8)), [8, 9, 10]]
    assert slices(members, 4, 1) == [members]
    assert [len(part) for part in slices(members, 4, 9)] == [4, 4, 3]


def test_wide_networks_try_smaller_chunks():
    def sizes(width):
        config = sweep({"agents": {"ac": {"hidden": [width]}}, "training": {**BASE["training"], "seeds": 100}})
        members = groups_of(config)[0]
        return candidates(make_unit("unit", members, 1, differ(members)))

    assert sizes(16)[0] > sizes(64)[0] > sizes(512)[0] == 1
    assert all(-(-600 // size) * size - 600 < 10 for size in sizes(16))  # few copies fill the last chunk up


@pytest.mark.parametrize(("compiling", "tried"), [(1e-3, 3), (1e9, 1)])
def test_the_probe_tries_what_may_pay(monkeypatch, compiling, tried):
    """Of sizes that all take some seconds it keeps the fastest, and a short sweep compiles none in vain."""
    config = sweep({"training": {**BASE["training"], "seeds": 100}})
    members = groups_of(config)[0]
    unit, seen = make_unit("unit", members, 1, differ(members)), []

    def measure(unit):
        seen.append(unit.chunk)
        return compiling, 1.0 / unit.chunk

    monkeypatch.setattr(probing, "measure", measure)
    assert choose_chunk(unit) == max(seen)
    assert seen == candidates(unit)[:tried]


# ------------------------------------------------------------------------------------------ training


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A sweep of six agents, four at a time, through the command line."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "sweep.yaml").write_text(to_yaml(sweep()))
    assert main(["sweep", str(folder / "sweep.yaml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def table(folder, name="results"):
    """A table without the seconds, which differ."""
    found = pq.read_table(folder / f"{name}.parquet")
    return found.drop(["seconds"]) if "seconds" in found.column_names else found


def test_the_table_has_every_trial_once(run):
    rows = table(run).to_pylist()
    assert [row["trial"] for row in rows] == list(range(6))
    points = {(row["agents.ac.gamma"], row["problem.servers.mec_speed_mhz"]) for row in rows}
    assert points == {(gamma, speed) for gamma in (0.0, 0.5, 0.9) for speed in (500.0, 1000.0)}
    assert all(np.isfinite(row["reward"]) and row["validation_reward"] is None for row in rows)
    curves = [row for row in table(run, "curves").to_pylist() if row["name"] == "reward"]
    assert [(row["trial"], row["slot"]) for row in curves] == [(t, s) for t in range(6) for s in (20, 40, 60, 80)]
    assert [row["reward"] for row in rows] == [row["value"] for row in curves if row["slot"] == 80]


def test_the_folder_explains_itself(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["best"] == summary["ranking"][0]
    assert (summary["trials"], summary["measure"]) == (6, "reward")
    page = (run / "report.html").read_text()
    assert all(word in page for word in ("Parallel coordinates", "gamma", "Ranking", "agents.ac.gamma"))
    means = [row["mean"] for row in summary["ranking"]]
    assert means == sorted(table(run)["reward"].to_pylist(), reverse=True)
    assert means == [row["mean"] for row in rank(table(run), "reward")]


def _plain(tree):
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    return [np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in jax.tree.leaves(tree)]


def test_members_learn_what_they_would_learn_alone(run, tmp_path):
    """Four at a time, the last chunk filled up with copies, against one after the other."""
    members = [trial.member for trial in trials_of(sweep())]
    together, alone = (make_unit("000-000-00", members, chunk, True) for chunk in (4, 1))
    state, rounds = load_unit(together, run, validated=False)
    assert (rounds, together.groups) == (4, ((0, 1, 2, 3), (4, 5, 5, 5)))
    expected = train_unit(alone, tmp_path)
    for index in range(6):
        pairs = zip(*map(_plain, (together.member(state, index), alone.member(expected, index))), strict=True)
        for left, right in pairs:
            if np.issubdtype(right.dtype, np.floating):
                np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)
            else:
                np.testing.assert_array_equal(left, right)


def test_a_worker_without_the_run_folder_brings_its_files_back(run, tmp_path):
    """As on a cluster whose machines share no disk."""
    row = json.loads((run / "parts/000.json").read_text())["parts"][0]
    config = sweep()
    files = work(config.model_dump(mode="json"), list(config.grid()), 0, str(tmp_path / "nowhere"), row)
    assert not (tmp_path / "nowhere").exists()
    assert {"finished/000-000-00.json", "metrics/000-000-00/round-00000003.parquet"} <= set(files)
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert read_curves(tmp_path, ["000-000-00"]).equals(table(run, "curves"))
    members = [trial.member for trial in trials_of(config)]
    states = [
        load_unit(make_unit("000-000-00", members, 4, True), place, validated=False)[0] for place in (run, tmp_path)
    ]
    for left, right in zip(*map(_plain, states), strict=True):
        np.testing.assert_array_equal(left, right)


def test_an_interrupted_sweep_ends_with_the_same_tables(run, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(ProgressReport, "advance", _stop_at(3))
        assert main(["sweep", str(run.parent / "sweep.yaml"), "--out", str(tmp_path / "run")]) == 130
    assert "offjax resume" in capsys.readouterr().err
    assert not (tmp_path / "run/results.parquet").exists()
    assert main(["resume", str(tmp_path / "run")]) == 0
    for name in ("results", "curves"):
        assert table(tmp_path / "run", name).equals(table(run, name))
    before = (run / "summary.json").read_bytes()
    assert main(["resume", str(run)]) == 0  # finished: left as it is
    assert (run / "summary.json").read_bytes() == before


def _stop_at(round_):
    seen = []

    def advance(self, *_):
        seen.append(1)
        if len(seen) == round_:
            raise KeyboardInterrupt

    return advance


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "axes.agents.ac.gama=[0.5]"], 2, "did you mean gamma?"),
        (["--engine", "local", "--address", "here:1"], 2, "--address belongs to --engine ray"),
        (["--out", "RUN"], 2, "--out"),
    ],
)
def test_wrong_input_ends_in_one_line(run, tmp_path, capsys, arguments, code, words):
    arguments = [str(run) if argument == "RUN" else argument for argument in arguments]
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "new")]
    before = sorted(path.name for path in run.iterdir())
    assert main(["sweep", str(run.parent / "sweep.yaml"), *arguments, *out]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert not (tmp_path / "new").exists()
    assert sorted(path.name for path in run.iterdir()) == before


def _changed(folder):
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("hidden: [4]", "hidden: [8]"))


def _of_another_version(folder):
    (folder / "parts/000.json").write_text('[{"name": "000"}]')


@pytest.mark.parametrize(
    ("harm", "words"),
    [(_changed, "its config.yaml, or offjax itself, has changed"), (_of_another_version, "another version of offjax")],
)
def test_a_sweep_of_something_else_is_refused_and_stays_as_it_is(run, tmp_path, capsys, harm, words):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    for name in ("summary.json", "finished/000-000-00.json"):
        (copy / name).unlink()
    harm(copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert main(["resume", str(copy)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
