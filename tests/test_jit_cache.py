"""What a user can rely on: the command line keeps programs where caches belong, and nothing about that fails a run."""

import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from offjax import jit_cache
from offjax.cli import COMMANDS, main
from offjax.jit_cache import FOLDER, cache_folder, keep_programs, tidy

HOUR = 3600.0


def test_where_programs_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kind = cache_folder({}).name
    assert cache_folder({}) == tmp_path / "home/.cache/offjax/jit" / kind
    assert cache_folder({"XDG_CACHE_HOME": "relative"}) == cache_folder({})
    assert cache_folder({"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/offjax/jit") / kind
    assert cache_folder({"XDG_CACHE_HOME": "/xdg", "OFFJAX_CACHE_DIR": "/own"}) == Path("/own/jit") / kind
    assert cache_folder({"XDG_CACHE_HOME": "/xdg", "OFFJAX_CACHE_DIR": ""}) is None


def test_jax_is_told_the_folder(tmp_path):
    environment = {"OFFJAX_CACHE_DIR": str(tmp_path / "deep/er")}
    keep_programs(environment)
    folder = Path(environment[FOLDER])
    assert folder.is_relative_to(tmp_path / "deep/er")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert 0 < float(environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]) < 1


@pytest.mark.parametrize("chosen", [{FOLDER: "/chosen"}, {FOLDER: ""}, {"OFFJAX_CACHE_DIR": ""}])
def test_a_choice_of_the_user_stays(chosen):
    environment = {"OFFJAX_CACHE_DIR": "/nowhere", **chosen}
    before = dict(environment)
    keep_programs(environment)
    assert environment == before


@pytest.mark.parametrize("why", ["a file is in the way", "no permission"])
def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, why):
    environment = {"OFFJAX_CACHE_DIR": str(tmp_path / "own")}
    if why == "no permission":  # the superuser, who may run this, has every permission
        monkeypatch.setattr(os, "access", lambda *_: False)
    else:
        (tmp_path / "own").write_text("")
    with pytest.warns(UserWarning, match="compiled programs are not kept: .*own.*; OFFJAX_CACHE_DIR names another"):
        keep_programs(environment)
    assert FOLDER not in environment


def entry(folder: Path, name: str, content: bytes, age: float) -> Path:
    path = folder / f"{name}-cache"
    path.write_bytes(content)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_what_was_left_half_written_goes(tmp_path):
    """But not what another process may be writing; and each entry is looked at once."""
    whole = zlib.compress(os.urandom(10_000))
    good, cut, empty, fresh = [
        entry(tmp_path, name, content, age)
        for name, content, age in (
            ("good", whole, HOUR),
            ("cut", whole[:5000], HOUR),
            ("empty", b"", HOUR),
            ("fresh", whole[:5000], 0.0),
        )
    ]
    other = tmp_path / "not-an-entry"
    other.write_bytes(b"")
    tidy(tmp_path)
    assert [path.exists() for path in (good, cut, empty, fresh, other)] == [True, False, False, True, True]
    cut = entry(tmp_path, "cut", whole[:5000], HOUR)  # older than the last look
    os.utime(fresh, (time.time() - 0.5 * jit_cache.WRITING,) * 2)
    tidy(tmp_path)
    assert cut.exists()
    assert fresh.exists()


def test_the_least_used_go_when_there_are_too_many(tmp_path):
    content = zlib.compress(os.urandom(1000))
    entries = [entry(tmp_path, str(age), content, HOUR * age) for age in (3, 1, 2)]
    tidy(tmp_path, limit=2 * len(content))
    assert [path.exists() for path in entries] == [False, True, True]


def test_a_command_keeps_its_programs(monkeypatch):
    """Before anything of it starts; a benchmark does not."""
    heard = []
    monkeypatch.setattr("offjax.cli.keep_programs", lambda environment: heard.append("keep"))
    for name, expected in (("export", ["keep", "export"]), ("bench", ["bench"])):
        command = COMMANDS[name]._replace(run=lambda args: heard.append(args.command))
        monkeypatch.setitem(COMMANDS, name, command)
        assert main([name, "world"]) == 0
        assert heard == expected
        heard.clear()


TINY = """
import json, os
from offjax.jit_cache import keep_programs
keep_programs(os.environ)
import jax
from offjax import world
from offjax.problems import nieto2024

params = nieto2024.make("text", "scenario1", "uniform", devices=20).params
state = jax.jit(world.init)(jax.random.key(3, impl="philox4x32"), params)
print(json.dumps([*state.job.left.service.tolist(), *state.device.gain.tolist()]))
"""


@pytest.mark.ci
def test_a_second_run_finds_the_programs_and_says_the_same(tmp_path):
    """And a third, from entries that something broke, too."""
    said = [run_tiny(tmp_path)]
    (folder,) = (tmp_path / "offjax/jit").iterdir()
    entries = {path: path.stat().st_mtime_ns for path in folder.glob("*-cache")}
    assert len(entries) >= 1
    said.append(run_tiny(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*-cache")} == entries, "nothing was compiled"
    for path in entries:
        path.write_bytes(path.read_bytes()[:-10])
    said.append(run_tiny(tmp_path, warned=True))
    assert said[0] == said[1] == said[2]
    assert len(set(said[0])) > 10


def run_tiny(cache: Path, warned: bool = False) -> list[float]:
    environment = {name: value for name, value in os.environ.items() if name not in (FOLDER, "OFFJAX_CACHE_DIR")}
    environment |= {"XDG_CACHE_HOME": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-c", TINY]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert ("Error reading persistent compilation cache" in done.stderr) == warned
    return json.loads(done.stdout)
