"""Trainers in processes of their own: other people's, each in the interpreter that has it, and ours.

Every process starts with an empty folder for compiled programs: what has to compile is seen, and no run helps another.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from offjax.bench.race import THRESHOLD
from offjax.config.peers import OwnConfig, Sb3Config
from offjax.errors import MachineError
from offjax.xla_flags import set_flags

CELL = 20  # devices of the largest cell
ROOT = Path(__file__).resolve().parents[2]  # of a checkout: the package comes from where this file is


def interpreter(name: str, given: Path | None = None) -> Path:
    """The Python that has somebody's trainers.

    Args:
      name: ``peers`` or ``clients``, the extra and the target of the Makefile.
      given: where it is, if not in ``.venv-NAME`` of the checkout.

    Raises:
      MachineError: there is none; it says how to make it.
    """
    python = given or ROOT / f".venv-{name}" / "bin" / "python"
    if not python.is_file():
        raise MachineError(f"{python}: no such interpreter; make .venv-{name}/.ready, or give --{name}-python PATH")
    return python


class Sb3:
    """Stable-Baselines3 on a CPU in a process of its own, for many races; use as a context manager."""

    def __init__(
        self,
        *,
        threshold: float = THRESHOLD,
        judge: Mapping[str, Any] | None = None,
        clock: str = "wall",
        look_growth: float = 1.05,
        python: Path | None = None,
    ) -> None:
        """Start the process.

        Args:
          threshold: regret at which a race ends.
          judge: arguments of :class:`offjax.bench.race.Judge`.
          clock: ``wall``, or ``cpu``, which other work on the machine hardly moves.
          look_growth: factor between the environment steps of two looks at the policy.
          python: interpreter with the extra ``peers``.

        Raises:
          MachineError: no such interpreter.
        """
        self._job = {"threshold": threshold, "judge": dict(judge or {}), "clock": clock, "look_growth": look_growth}
        self._worker = Worker(interpreter("peers", python), "sb3_worker", JAX_PLATFORMS="cpu")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._worker.close()

    def race(self, peer: str, config: Sb3Config, seed: int, limit: float) -> dict[str, Any]:
        """One race.

        Args:
          peer: ``sb3_dqn`` or ``sb3_a2c``.
          config: its hyper-parameters.
          seed: of networks, exploration and worlds.
          limit: s of training after which it is stopped.

        Returns:
          the fields of :class:`offjax.bench.race.Result`; ``set_up_seconds``, in which the environment compiled if this
          is the first race of the process; ``failure``, torch's words if the policy ceased to be a number.

        Raises:
          MachineError: the process failed.
        """
        own = {"peer": peer, "config": config.model_dump(mode="json"), "seed": seed, "limit": limit}
        self._worker.send(self._job | own)
        return self._worker.read()


def sb3_run(peer: str, config: Sb3Config, seed: int, limit: float, **options: Any) -> dict[str, Any]:
    """One race in a fresh process: :meth:`Sb3.race` of :class:`Sb3` with these ``options``."""
    with Sb3(**options) as process:
        return process.race(peer, config, seed, limit)


def rejax_run(
    algorithm: str,
    steps: int,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    *,
    python: Path | None = None,
) -> list[dict[str, Any]]:
    """A fixed number of steps of rejax on ``nieto2024-v0-legacy``, without its evaluations.

    Args:
      algorithm: ``dqn`` (its networks are 64, 64) or ``ppo``.
      steps: of environments; rejax rounds them up to whole iterations.
      settings: of rejax, networks in ``agent_kwargs``.
      seeds: one run each, the first of them with compilation.
      python: interpreter with the extra ``clients``.

    Returns:
      a record for each seed: ``cold`` (compilation included), ``seconds``, ``steps``, ``steps_per_s``.

    Raises:
      MachineError: no such interpreter, or the process failed.
    """
    job = {"algorithm": algorithm, "steps": steps, "settings": dict(settings), "seeds": list(seeds)}
    return _lines(interpreter("clients", python), "rejax_worker", job, len(seeds), XLA_FLAGS="")  # ours are not for it


@dataclass(frozen=True)
class Own:
    """One of our agents, and the fleet that it trains on."""

    agent: str  # a name of offjax.agents
    hyper: Mapping[str, Any]
    worlds: int
    devices: int  # of each world
    devices_per_cell: int = 20

    def job(self, seeds: Sequence[int]) -> dict[str, Any]:
        """What ``own_worker`` is told of it."""
        return asdict(self) | {"hyper": dict(self.hyper), "seeds": list(seeds)}


def own_of(racer: str, config: OwnConfig) -> Own:
    """One of ``OWN`` on its fleet."""
    hyper = config.agent.model_dump()
    return Own(racer.removeprefix("own_"), hyper, config.worlds, config.devices, min(config.devices, CELL))


def own_run(
    own: Own,
    seeds: Sequence[int],
    limit: float,
    *,
    threshold: float = THRESHOLD,
    judge: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Races of one of our agents in one fresh process, the first with an empty cache of compiled programs.

    Args:
      own: the agent and its fleet.
      seeds: one race each.
      limit: s of training after which a race is stopped.
      threshold: regret at which it is stopped.
      judge: arguments of :class:`offjax.bench.race.Judge`.

    Returns:
      for each seed the fields of :class:`offjax.bench.race.Result`, and ``cold``.

    Raises:
      MachineError: the process failed.
    """
    job = own.job(seeds) | {"threshold": threshold, "limit": limit, "judge": dict(judge or {})}
    return _lines(Path(sys.executable), "own_worker", job, len(seeds), **own_flags())


def own_work(own: Own, seeds: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """A fixed number of rounds of one of our agents, without a look at its policy; otherwise as :func:`own_run`.

    Returns:
      for each seed ``cold``, ``seconds``, ``steps`` of devices, ``updates``.

    Raises:
      MachineError: the process failed.
    """
    return _lines(Path(sys.executable), "own_worker", own.job(seeds) | {"rounds": rounds}, len(seeds), **own_flags())


def own_flags() -> dict[str, str]:
    """Variables of the environment of our trainers: the flags of the command line."""
    environment = dict(os.environ)
    set_flags(environment)
    return {"XLA_FLAGS": environment["XLA_FLAGS"]}


class Worker:
    """``python -m offjax.bench.MODULE`` with this very package: JSON lines in, JSON lines out."""

    def __init__(self, python: Path, module: str, **environment: str) -> None:
        """Start the process, with an empty folder for compiled programs and these variables of its environment."""
        self._name, self._folder = module, tempfile.TemporaryDirectory(prefix="offjax-")
        place = Path(self._folder.name)
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(place / "programs"), **environment}
        if (ROOT / "pyproject.toml").is_file():  # elsewhere it would bring a whole environment along
            environment["PYTHONPATH"] = str(ROOT)
        self._complaints = (place / "complaints").open("w+")
        self._process = subprocess.Popen(
            [str(python), "-m", f"offjax.bench.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            env=environment,
        )

    def send(self, job: Mapping[str, Any]) -> None:
        """Give it a job."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer that does not come tells
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """Its next line.

        Raises:
          MachineError: it ended without one.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        code = self._process.wait()
        self._complaints.seek(0)
        last = (self._complaints.read().strip().splitlines() or ["no word"])[-1]
        raise MachineError(f"{self._name} ended with code {code}: {last}")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._complaints.close()
        self._folder.cleanup()


def _lines(python: Path, module: str, job: Mapping[str, Any], count: int, **environment: str) -> list[dict[str, Any]]:
    """What a worker answers to one job, as so many lines."""
    worker = Worker(python, module, **environment)
    try:
        worker.send(job)
        return [worker.read() for _ in range(count)]
    finally:
        worker.close()
