"""The command line: small subcommands over ``offjax.pipeline``, and one formatter for every error.

jax, pydantic and the rooms are imported inside the commands, so that ``offjax --help`` answers at once.
"""

import argparse
import errno
import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from offjax import __version__
from offjax.errors import ConfigError, MachineError, OffjaxError
from offjax.jit_cache import keep_programs
from offjax.xla_flags import set_flags

if TYPE_CHECKING:
    from offjax.config import RunConfig, SweepConfig

# What jax tries for each --device; the CPU stays beside an accelerator for data that lives on the host.
PLATFORMS = {"cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}
MACHINE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
INTERRUPTED = 130
PIPE_CLOSED = 141


class Command(NamedTuple):
    """A subcommand: its line of help, an example, its arguments and what it does."""

    help: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    keeps_programs: bool = True  # between runs; not where the seconds of compilation are a result


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
      argv: the arguments after ``offjax``; by default those of the process.

    Returns:
      The exit code: 0 good, 2 configuration, 3 environment, 130 interrupted, 141 the reader went away. An
      unexpected exception keeps its traceback, because it is a bug of ours.
    """
    args = argparse.Namespace()
    try:
        make_parser().parse_args(argv, args)
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning
            _run(COMMANDS[args.command], args)
        sys.stdout.flush()  # a closed pipe must show here, not at the interpreter's exit
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0
    except OffjaxError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail_interrupted(args)
    except BrokenPipeError:
        _drop_stdout()
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in MACHINE_ERRNOS:
            raise
        place = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror}{place}", MachineError.exit_code)
    return 0


def _run(command: Command, args: argparse.Namespace) -> None:
    if command.keeps_programs:
        keep_programs(os.environ)
    command.run(args)


class _UsageError(OffjaxError):
    exit_code = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in the one-line form of all errors."""
        raise _UsageError(f"{message} (see: {self.prog} --help)")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands in :data:`COMMANDS`."""
    text = "Train task-offloading policies on simulated devices, compare them, and ship them to boards."
    parser = _Parser(prog="offjax", description=text, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"offjax {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
            epilog=f"example: {command.example}",
            allow_abbrev=False,
        )
        command.add_arguments(sub)
    return parser


def _fail(message: str, code: int) -> int:
    with suppress(OSError):  # if nobody reads standard error, the exit code still tells
        print(f"offjax: error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    """One line, without the place in the code."""
    with suppress(OSError):
        print(f"offjax: warning: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


def _fail_interrupted(args: argparse.Namespace) -> int:
    folder = getattr(args, "run_folder", None)
    hint = ""
    if folder is not None and (folder / "config.yaml").is_file():
        hint = f"; continue with: offjax resume {shlex.quote(str(folder))}"
    print(f"interrupted{hint}", file=sys.stderr)
    return INTERRUPTED


def _drop_stdout() -> None:
    """Point standard output at nothing, or the interpreter would complain about the pipe when it exits."""
    with suppress(OSError, ValueError):  # a standard output without a file needs nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def select_device(device: str | None) -> None:
    """Make jax compute on ``device`` (``cpu``, ``gpu``, ``tpu``; ``None`` leaves the choice to jax).

    Raises:
      MachineError: there is none; it names what is available.
    """
    if device is None:
        return
    before = os.environ.get("JAX_PLATFORMS", "")
    os.environ["JAX_PLATFORMS"] = PLATFORMS[device]
    import jax

    jax.config.update("jax_platforms", PLATFORMS[device])  # jax may have read the variable long ago
    try:
        backend = jax.default_backend()
    except (RuntimeError, AssertionError):  # jax asserts where a platform has no device
        backend = None
    if backend != device:
        os.environ["JAX_PLATFORMS"] = before
        jax.config.update("jax_platforms", before)
        raise MachineError(f"--device {device}: this machine has none; available: {_available_devices()}")


def _available_devices() -> str:
    """What jax finds when it may choose, asked in a fresh process because a backend cannot be unchosen."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return ", ".join(sorted({"cpu", *done.stdout.split()}))


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="override one value of the configuration, like agents.ac.gamma=0.9; may be given again",
    )
    parser.add_argument("--seed", metavar="N", help="first seed, a whole number from 0")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=sorted(PLATFORMS), help="where to compute (default: the fastest)")


def _load(path: Path, args: argparse.Namespace, seed_field: str) -> "RunConfig":
    from offjax.config import load_config

    seed = [] if args.seed is None else [f"{seed_field}={args.seed}"]
    return load_config(path, [*args.set, *seed])


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file of the run")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="new run folder (default: runs/NAME)")
    _add_config(parser)
    _add_device(parser)


def _train(args: argparse.Namespace) -> None:
    config = _load(args.config, args, "training.seed")
    args.run_folder = args.out or Path("runs") / args.config.stem
    _tune(config)
    select_device(args.device)
    _pipeline().train_run(config, args.run_folder)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")


def _add_resume(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_engine(parser)
    _add_device(parser)


def _resume(args: argparse.Namespace) -> None:
    from offjax.config import is_sweep, load_config, load_sweep

    args.run_folder = _run_folder(args.run)
    file = args.run_folder / "config.yaml"
    _tune(load_sweep(file) if is_sweep(file) else load_config(file))
    with _engine(args) as engine:
        _pipeline().resume_run(args.run_folder, engine)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file of the sweep")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="new run folder (default: runs/NAME)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="override one value, like base.training.seeds=3; may be given again",
    )
    _add_engine(parser)
    _add_device(parser)


def _sweep(args: argparse.Namespace) -> None:
    from offjax.config import load_sweep

    config = load_sweep(args.config, args.set)
    args.run_folder = args.out or Path("runs") / args.config.stem
    _tune(config)
    with _engine(args) as engine:
        import_module("offjax.sweeps.run").sweep_run(config, args.run_folder, engine)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="train a sweep in this process, or in those of Ray (default: local)",
    )
    parser.add_argument("--address", metavar="HOST:PORT", help="a running Ray cluster (default: one on this machine)")


@contextmanager
def _engine(args: argparse.Namespace) -> Iterator[Any]:
    """Where a sweep is trained, as its options say; none stands for this process."""
    if args.address is not None and args.engine != "ray":
        raise _UsageError("--address belongs to --engine ray")
    select_device(args.device)
    if args.engine == "local":
        yield None
        return
    ray = import_module("offjax.sweeps.ray_engine").Ray(args.address)
    try:
        yield ray
    finally:
        ray.close()


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", type=Path, metavar="CONFIG|RUN", help="YAML file, or a run folder")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the results to this file")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    _add_config(parser)
    _add_device(parser)


def _evaluate(args: argparse.Namespace) -> None:
    run = _run_folder(args.target) if args.target.is_dir() else None
    config = _load(args.target if run is None else run / "config.yaml", args, "evaluation.seed")
    set_flags(os.environ)
    select_device(args.device)
    of_run: dict[str, Any] = {} if run is None else {"run": run}
    _pipeline().evaluate_run(config, args.out, args.json, **of_run)


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the bundle (default: RUN/policy)")
    parser.add_argument("--agent", metavar="NAME", help="agent of the policy (default: the first of the run)")
    parser.add_argument("--scenario", metavar="NAME", help="scenario of its training (default: the first of the run)")
    parser.add_argument("--best", action="store_true", help="as it was when it validated best, not at the end")
    parser.add_argument("--learner", type=int, metavar="N", help="device, where each has a learner (default: 0)")


def _export(args: argparse.Namespace) -> None:
    run = _run_folder(args.run)
    out, named = args.out or run / "policy", {"agent": args.agent, "scenario": args.scenario}
    _pipeline().export_run(run, out, **named, best=args.best, learner=args.learner)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/demo"),
        metavar="FOLDER",
        help="new run folder (default: runs/demo)",
    )
    _add_device(parser)


def _demo(args: argparse.Namespace) -> None:
    args.run_folder = args.out
    set_flags(os.environ)
    select_device(args.device)
    _pipeline().demo(args.out)


def _add_check_env(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="id of an environment, like nieto2024-v0")


def _check_env(args: argparse.Namespace) -> None:
    from offjax.testing import check_env_id

    for check in check_env_id(args.id):
        print(f"ok  {check}")
    print(f"{args.id}: keeps the contract")


def _tune(config: "RunConfig | SweepConfig") -> None:
    """Compile the programs of a run or of a sweep for a CPU; before jax starts.

    Thousands of learners of one experience each are bound by memory, and fused further they are slower.
    """
    from offjax.config import SweepConfig

    run = config.run if isinstance(config, SweepConfig) else config
    if run.training.learners == "shared":
        set_flags(os.environ)


def _tune_for_worlds() -> None:
    """Compile and spread programs that only step worlds for a CPU; before jax starts."""
    set_flags(os.environ)
    import jax

    with suppress(RuntimeError):  # jax has started: the devices stay as they are
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=sorted(BENCHES), help="what to measure")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--quick", action="store_true", help="gan, sweep, train: fewer steps, agents and repeats")
    parser.add_argument("--widths", metavar="N,…", help="sweep: of the networks (default: 16,64,256)")
    parser.add_argument("--peers-python", type=Path, metavar="FILE", help="gan, train: Python with the extra peers")
    parser.add_argument("--clients-python", type=Path, metavar="FILE", help="train: Python with the extra clients")
    parser.add_argument("--devices", metavar="N,…", help="world: numbers of devices, like 1000,1e6 (default: 1 to 1e7)")
    parser.add_argument("--policies", metavar="NAME,…", help="world: random, mlp (default: both)")
    parser.add_argument("--generators", metavar="NAME,…", help="world: philox4x32, threefry2x32 (default: both)")
    _add_device(parser)


def _bench(args: argparse.Namespace) -> None:
    run, own = BENCHES[args.name]
    for option in {option for _, options in BENCHES.values() for option in options} - set(own):
        if getattr(args, option):
            names = ", ".join(name for name, (_, options) in BENCHES.items() if option in options)
            value = str(getattr(args, option))
            raise ConfigError(f"--{option.replace('_', '-')}", value, f"it belongs to offjax bench {names}")
    run(args)


def _bench_world(args: argparse.Namespace) -> None:
    _tune_for_worlds()
    select_device(args.device)
    import_module("offjax.bench.rows").print_bench(args.devices, args.policies, args.generators, args.json)


def _bench_gan(args: argparse.Namespace) -> None:
    select_device(args.device)
    import_module("offjax.bench.gan").print_bench(args.quick, args.peers_python, args.json)


def _bench_learners(args: argparse.Namespace) -> None:
    select_device(args.device)
    import_module("offjax.bench.learners").print_bench(args.json)


def _bench_sweep(args: argparse.Namespace) -> None:
    select_device(args.device)
    import_module("offjax.bench.sweep").print_bench(args.widths, args.quick, args.json)


def _bench_train(args: argparse.Namespace) -> None:
    select_device(args.device)
    import_module("offjax.bench.train").print_bench(args.quick, args.peers_python, args.clients_python, args.json)


# What each benchmark runs, and the options that belong to it.
BENCHES: dict[str, tuple[Callable[[argparse.Namespace], None], tuple[str, ...]]] = {
    "gan": (_bench_gan, ("quick", "peers_python")),
    "learners": (_bench_learners, ()),
    "sweep": (_bench_sweep, ("quick", "widths")),
    "train": (_bench_train, ("quick", "peers_python", "clients_python")),
    "world": (_bench_world, ("devices", "policies", "generators")),
}


def _add_validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the page here (default: print it)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--tasks", metavar="N", default="1e7", help="tasks behind each row (default: 1e7)")
    _add_device(parser)


def _validate(args: argparse.Namespace) -> None:
    _tune_for_worlds()
    select_device(args.device)
    from offjax.bench.validate import print_validation

    print_validation(args.tasks, args.out, args.json)


def _add_figures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=sorted(FIGURES), help="which figure")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="its folder (default: paper_figures/NAME)")
    parser.add_argument("--redo", action="store_true", help="measure or train again what is there")
    parser.add_argument("--quick", action="store_true", help="small numbers, for a look (paper-a)")
    _add_device(parser)


def _figures(args: argparse.Namespace) -> None:
    if args.quick and args.name != "paper-a":
        raise ConfigError("--quick", args.name, "only paper-a has it")
    FIGURES[args.name](args, args.out or Path("paper_figures") / args.name.replace("-", "_"))


def _figures_scalability(args: argparse.Namespace, folder: Path) -> None:
    _tune_for_worlds()
    select_device(args.device)
    from offjax.bench.scalability import run

    run(folder, redo=args.redo)


def _figures_leaderboard(args: argparse.Namespace, folder: Path) -> None:
    set_flags(os.environ)
    select_device(args.device)
    from offjax.leaderboard.page import figures

    figures(folder, redo=args.redo)


def _figures_online(args: argparse.Namespace, folder: Path) -> None:
    set_flags(os.environ)
    select_device(args.device)
    import_module("offjax.figures.online").figures(folder, redo=args.redo)


def _figures_paper_a(args: argparse.Namespace, folder: Path) -> None:
    keep_programs(os.environ)  # its settings share them
    set_flags(os.environ)
    select_device(args.device)
    import_module("offjax.paper_a.run").figures(args.out, redo=args.redo, quick=args.quick)


FIGURES = {
    "online": _figures_online,
    "scalability": _figures_scalability,
    "leaderboard": _figures_leaderboard,
    "paper-a": _figures_paper_a,
}


def _run_folder(folder: Path) -> Path:
    from offjax.runs.folder import open_run

    return open_run(folder).path


def _pipeline() -> Any:
    return import_module("offjax.pipeline")


COMMANDS = {
    "demo": Command(
        "train, compare and export a small policy in a few minutes",
        "offjax demo --out runs/demo",
        _add_demo,
        _demo,
    ),
    "train": Command(
        "train the agents of a configuration in a new run folder",
        "offjax train configs/demo.yaml --out runs/first --set agents.ac.gamma=0.9",
        _add_train,
        _train,
    ),
    "resume": Command(
        "continue an interrupted run from its newest checkpoint",
        "offjax resume runs/first",
        _add_resume,
        _resume,
    ),
    "sweep": Command(
        "train many agents at many settings, and compare them",
        "offjax sweep configs/sweeps/lr_seed_grid.yaml --set base.training.seeds=3",
        _add_sweep,
        _sweep,
    ),
    "evaluate": Command(
        "compare policies on held-out worlds",
        "offjax evaluate runs/first --set evaluation.seeds=20 --json",
        _add_evaluate,
        _evaluate,
    ),
    "export": Command(
        "write the bundle of a trained policy for the boards",
        "offjax export runs/first --agent ac --out policy",
        _add_export,
        _export,
    ),
    "validate": Command(
        "hold the simulator against queueing theory",
        "offjax validate --out docs/validity.md",
        _add_validate,
        _validate,
    ),
    "bench": Command(
        "measure how fast worlds step and agents learn, beside peers and the machine's limits",
        "offjax bench world --devices 1e3,1e6 --json",
        _add_bench,
        _bench,
        keeps_programs=False,
    ),
    "figures": Command(
        "measure what a figure needs and draw it",
        "offjax figures scalability",
        _add_figures,
        _figures,
        keeps_programs=False,
    ),
    "check-env": Command(
        "check that an environment keeps the contract",
        "offjax check-env nieto2024-v0",
        _add_check_env,
        _check_env,
    ),
}
