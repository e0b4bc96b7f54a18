"""Right input reaches the pipeline; wrong input ends in one line and the right exit code."""

import errno
import os
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from offjax import __version__
from offjax.cli import COMMANDS, main
from offjax.config import ScenarioConfig
from offjax.errors import ConfigError, MachineError
from offjax.runs.folder import alone, create_run, open_run


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text("training: {seeds: 2}\n")
    return path


@pytest.fixture
def run(tmp_path) -> Path:
    return create_run(tmp_path / "run", "training: {seeds: 3}\n", {}).path


@pytest.fixture
def calls(monkeypatch) -> list:
    """A pipeline that only remembers how it was called."""
    calls: list = []

    def record(name, result=None):
        return lambda *args, **kwargs: calls.append((name, args, kwargs)) or result

    names = ("train_run", "resume_run", "evaluate_run", "export_run", "demo")
    monkeypatch.setitem(sys.modules, "offjax.pipeline", SimpleNamespace(**{n: record(n) for n in names}))
    monkeypatch.setitem(sys.modules, "offjax.sweeps.run", SimpleNamespace(sweep_run=record("sweep_run")))
    check_env_id = record("check_env_id", ["identity", "time limit"])
    monkeypatch.setitem(sys.modules, "offjax.testing", SimpleNamespace(check_env_id=check_env_id))
    monkeypatch.setattr("offjax.cli._tune_for_worlds", lambda: None)  # this process has started jax as tests want it
    for module, name in (
        ("rows", "print_bench"),
        ("train", "print_bench"),
        ("validate", "print_validation"),
        ("scalability", "run"),
    ):
        monkeypatch.setitem(sys.modules, f"offjax.bench.{module}", SimpleNamespace(**{name: record(name)}))
    return calls


def fail_with(monkeypatch, error: BaseException) -> None:
    def fail(*_, **__):
        raise error

    monkeypatch.setitem(sys.modules, "offjax.pipeline", SimpleNamespace(train_run=fail, resume_run=fail))


def error_line(capsys) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("offjax: error: ")
    return lines[0]


def test_train_passes_the_checked_configuration(calls, config, tmp_path):
    arguments = ["--out", str(tmp_path / "out"), "--set", "problem.devices=320", "--seed", "7"]
    assert main(["train", str(config), *arguments]) == 0
    ((name, (found, out), _),) = calls
    assert (name, out) == ("train_run", tmp_path / "out")
    assert (found.training.seeds, found.problem.devices, found.training.seed) == (2, 320, 7)


def test_train_names_its_folder_after_the_configuration(calls, config):
    assert main(["train", str(config)]) == 0
    assert calls[0][1][1] == Path("runs/small")


@pytest.mark.parametrize("out", [[], ["--out", "runs/small"]])
def test_train_refuses_a_folder_that_exists(monkeypatch, config, tmp_path, capsys, out):
    """The folder that takes its name from the configuration is no more ours than one given with --out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/small").mkdir(parents=True)
    (tmp_path / "runs/small/notes.txt").write_text("mine")

    def train_run(_, folder):
        create_run(folder, "{}", {})

    monkeypatch.setitem(sys.modules, "offjax.pipeline", SimpleNamespace(train_run=train_run))
    assert main(["train", str(config), *out]) == 2
    assert "--out: 'runs/small' is not allowed; this folder is not empty" in error_line(capsys)
    assert [path.name for path in (tmp_path / "runs/small").iterdir()] == ["notes.txt"]


def test_evaluate_takes_a_configuration_or_a_run(calls, config, run, tmp_path):
    assert main(["evaluate", str(config), "--json", "--seed", "123"]) == 0
    assert main(["evaluate", str(run), "--out", str(tmp_path / "x.json")]) == 0
    (_, (first, no_file, as_json), no_run), (_, (second, out, plain), with_run) = calls
    assert (first.evaluation.seed, no_file, as_json, no_run) == (123, None, True, {})
    assert (second.training.seeds, out, plain, with_run) == (3, tmp_path / "x.json", False, {"run": run})


def test_the_other_commands_pass_their_folders(calls, run, tmp_path, capsys):
    assert main(["resume", str(run)]) == 0
    assert main(["export", str(run)]) == 0
    assert main(["export", str(run), "--out", "board", "--agent", "ac", "--scenario", "alternating"]) == 0
    assert main(["demo", "--out", str(tmp_path / "d")]) == 0
    assert main(["check-env", "nieto2024-v0"]) == 0
    assert calls == [
        ("resume_run", (run, None), {}),
        ("export_run", (run, run / "policy"), {"agent": None, "scenario": None, "best": False, "learner": None}),
        (
            "export_run",
            (run, Path("board")),
            {"agent": "ac", "scenario": "alternating", "best": False, "learner": None},
        ),
        ("demo", (tmp_path / "d",), {}),
        ("check_env_id", ("nieto2024-v0",), {}),
    ]
    assert capsys.readouterr().out == "ok  identity\nok  time limit\nnieto2024-v0: keeps the contract\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["trian"], "'trian'"),
        (["train"], "CONFIG"),
        (["train", "nope.yaml"], "nope.yaml"),
        (["train", "CONFIG", "--nope"], "--nope"),
        (["train", "CONFIG", "--dev", "cpu"], "--dev"),
        (["train", "CONFIG", "--device", "quantum"], "quantum"),
        (["train", "CONFIG", "--set", "training.seeds=x"], "training.seeds: 'x'"),
        (["train", "CONFIG", "--set", "training.seeds"], "path=value"),
        (["train", "CONFIG", "--set", "trainng.seeds=1"], "did you mean training?"),
        (["train", "CONFIG", "--set", "agents={}"], "at least one of ddqn, dqn, ac"),
        (["train", "CONFIG", "--seed", "x"], "training.seed: 'x'"),
        (["evaluate", "CONFIG", "--seed", "1"], "evaluation.seed: 1"),
        (["evaluate", "nope"], "nope"),
        (["evaluate", "FOLDER"], "must be a run folder"),
        (["resume", "nope"], "must be a run folder"),
        (["resume", "CONFIG"], "must be a run folder"),
        (["export", "FOLDER"], "must be a run folder"),
        (["export", "FOLDER", "--agent"], "--agent"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(calls, config, tmp_path, capsys, arguments, words):
    places = {"CONFIG": str(config), "FOLDER": str(tmp_path)}
    before = sorted(tmp_path.rglob("*"))
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    assert words in error_line(capsys)
    assert calls == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a.b", 3, "it must\nbe 4"), 2),
        (MachineError("cannot write x:\nNo space left"), 3),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 3),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 3),
        (OSError(errno.EROFS, "Read-only file system"), 3),
    ],
)
def test_expected_errors_are_one_line(monkeypatch, config, capsys, error, code):
    fail_with(monkeypatch, error)
    assert main(["train", str(config)]) == code
    assert error_line(capsys)


def test_a_warning_is_one_line_and_no_error(monkeypatch, config, capsys):
    def warn(*_, **__):
        warnings.warn("slot_duration: 1 s is long\nagainst 0.1 s", stacklevel=1)

    monkeypatch.setitem(sys.modules, "offjax.pipeline", SimpleNamespace(evaluate_run=warn))
    shown = warnings.showwarning
    assert main(["evaluate", str(config)]) == 0
    assert capsys.readouterr().err == "offjax: warning: slot_duration: 1 s is long against 0.1 s\n"
    assert warnings.showwarning is shown


@pytest.mark.parametrize("error", [ValueError("bug"), KeyError("bug"), OSError(errno.EBADF, "bug")])
def test_a_bug_keeps_its_traceback(monkeypatch, config, error):
    fail_with(monkeypatch, error)
    with pytest.raises(type(error), match="bug"):
        main(["train", str(config)])


def test_an_interrupt_says_how_to_continue(monkeypatch, config, run, tmp_path, capsys):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert main(["resume", str(run)]) == 130
    assert capsys.readouterr().err == f"interrupted; continue with: offjax resume {run}\n"
    assert main(["train", str(config), "--out", str(tmp_path / "never made")]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_quotes_a_folder_with_spaces(monkeypatch, tmp_path, capsys):
    run = create_run(tmp_path / "my run", "{}", {}).path
    fail_with(monkeypatch, KeyboardInterrupt())
    assert main(["resume", str(run)]) == 130
    assert f"offjax resume '{run}'" in capsys.readouterr().err


def test_two_processes_never_train_in_one_folder(run, capsys):
    code = "import sys; from offjax.runs.folder import alone, open_run\n"
    code += "with alone(open_run(sys.argv[1])):\n    print('held', flush=True)\n    input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, str(run)], stdin=pipe, stdout=pipe) as other:
        assert other.stdout.readline() == b"held\n"
        assert main(["resume", str(run)]) == 3
        assert error_line(capsys).endswith(f"{run}: another process is training in this folder")
        other.kill()
    with alone(open_run(run)):
        pass  # a killed process leaves no lock


def test_a_reader_that_goes_away_is_no_noise(monkeypatch, config, capsys):
    fail_with(monkeypatch, BrokenPipeError())
    monkeypatch.setattr("offjax.cli._drop_stdout", lambda: None)
    assert main(["train", str(config)]) == 141
    assert capsys.readouterr().err == ""


def test_help_names_every_command_and_an_example(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in text
        assert main([name, "--help"]) == 0
        page = " ".join(capsys.readouterr().out.split())
        assert f"example: {command.example}" in page


def test_the_examples_run_as_they_stand(calls, monkeypatch, tmp_path):
    (tmp_path / "configs").symlink_to(Path(__file__).parents[1] / "configs")
    monkeypatch.chdir(tmp_path)
    create_run("runs/first", "{}", {})
    monkeypatch.setattr("offjax.config.reading.load_scenario", lambda *_: ScenarioConfig(description="x"))
    for command in COMMANDS.values():
        program, *arguments = shlex.split(command.example)
        assert (program, main(arguments)) == ("offjax", 0), command.example
    by_name = {name: args for name, args, _ in calls}
    assert by_name["train_run"][0].agents.ac.gamma == 0.9
    assert by_name["print_bench"] == ("1e3,1e6", None, None, True)
    assert by_name["print_validation"] == ("1e7", Path("docs/validity.md"), False)
    assert by_name["sweep_run"][0].run.training.seeds == 3
    assert by_name["sweep_run"][1:] == (Path("runs/lr_seed_grid"), None)
    assert by_name["run"] == (Path("paper_figures/scalability"),)
    assert len(calls) == len(COMMANDS)


BAD_OPTIONS = {
    "bench sweep --widths wide": "--widths: 'wide' is not allowed; whole numbers from 1, like 1000 or 1e6",
    "bench sweep --devices 20": "--devices: '20' is not allowed; it belongs to offjax bench world",
    "bench world --devices many": "--devices: 'many' is not allowed; whole numbers from 1, like 1000 or 1e6",
    "bench world --devices 1010": "--devices: 1010 is not allowed; 1 to 20, or a multiple of 20",
    "bench world --policies best": "--policies: 'best' is not allowed; of random, mlp",
    "bench world --generators rbg": "--generators: 'rbg' is not allowed; of philox4x32, threefry2x32",
    "bench world --quick": "--quick: 'True' is not allowed; it belongs to offjax bench gan, sweep, train",
    "bench train --devices 10": "--devices: '10' is not allowed; it belongs to offjax bench world",
    "validate --tasks -1": "--tasks: '-1' is not allowed; whole numbers from 1, like 1000 or 1e6",
    "validate --out nowhere/page.md": "--out: 'nowhere/page.md' is not allowed; its folder must exist",
}


@pytest.mark.parametrize("command", BAD_OPTIONS)
def test_bad_options_of_measurements(command, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("offjax.cli._tune_for_worlds", lambda: None)
    assert main(shlex.split(command)) == 2
    assert error_line(capsys) == f"offjax: error: {BAD_OPTIONS[command]}"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"offjax {__version__}\n"


def offjax(*arguments: object, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "offjax", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


@pytest.mark.parametrize("module", ["offjax", "offjax.cli"])
def test_importing_is_light(module):
    code = (
        "import sys, time; start = time.perf_counter()\n"
        f"import {module}\n"
        "print(time.perf_counter() - start)\n"
        "heavy = ('jax', 'numpy', 'pydantic', 'yaml', 'rich', 'pyarrow')\n"
        "print(*[name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.splitlines()
    print(f"note: import {module} took {float(seconds) * 1000:.0f} ms")
    assert modules == ""


def test_config_imports_no_jax():
    code = "import sys, offjax.config; print('jax' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_process_ends_with_one_line_and_code_2(config):
    done = offjax("train", config, "--set", "agents.ddqnn.gamma=0.9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "offjax: error: agents.ddqnn: {'gamma': 0.9} is not allowed; "
        "no such key (did you mean ddqn?); allowed keys: ddqn, dqn, ac, a2c, ppo\n"
    )


def test_a_missing_device_is_named_with_what_there_is(config):
    """jax alone would quietly take the CPU where it finds no GPU."""
    import jax

    missing = "tpu" if jax.default_backend() != "tpu" else "gpu"
    done = offjax("train", config, "--device", missing)
    assert done.returncode == 3
    assert done.stderr.startswith(f"offjax: error: --device {missing}: this machine has none; available: ")
    assert "cpu" in done.stderr.splitlines()[-1]


def test_the_cpu_can_be_chosen(calls, config, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", os.environ.get("JAX_PLATFORMS", "cpu"))
    assert main(["train", str(config), "--device", "cpu"]) in (0, 3)  # 3: this process runs on a GPU already
    import jax

    assert len(calls) == (jax.default_backend() == "cpu")


def test_help_into_a_closed_pipe_is_quiet():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "offjax", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""


def test_ctrl_c_in_a_process_ends_with_130(run, tmp_path):
    code = (
        "import signal, sys, time, types; from offjax.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it\n"
        "def wait(*_): print('go', flush=True); time.sleep(60)\n"
        "sys.modules['offjax.pipeline'] = types.SimpleNamespace(resume_run=wait)\n"
        f"sys.exit(main(['resume', {str(run)!r}]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == f"interrupted; continue with: offjax resume {run}\n"
