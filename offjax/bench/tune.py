"""Random search for the hyper-parameters of a racer: ``python -m offjax.bench.tune sb3_dqn --out FOLDER``.

Ten trials of one seed, for other people's trainers and for ours alike; the first one takes what ``configs/demo.yaml``
has in the racer's own terms, the others are drawn. The best three are run with further seeds, and the one with the
least mean time to the threshold is chosen. A peer's time is that of the processor, which other work on the machine
hardly moves, ours that of the wall, with compiled programs. No race goes on for long after the best one so far.
"""

import argparse
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from offjax.bench.race import THRESHOLD, Result
from offjax.bench.trainers import Sb3, own_of, own_run
from offjax.config import load_config
from offjax.config.peers import OWN, PEERS, OwnConfig, RacerConfig, Sb3A2cConfig, Sb3Config, Sb3DqnConfig
from offjax.config.yaml_text import dump_yaml
from offjax.runs.folder import write_json
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import collect_provenance

TRIALS, FINALISTS, FURTHER_SEEDS = 10, 3, (1, 2)
LIMIT = 60.0  # s of training of one trial
MARGIN = 2.0  # times the shortest race so far, after which another is stopped
LOOK_GROWTH = 1.1
JUDGE = {"worlds": 2, "devices": 40}  # 160,000 tasks: one failure is a regret of 6e-7
ENVS = (64, 8, 1)  # in turn, so that each is tried
WARM_UP = 1000  # seed of the race in which ours compile

Race = Callable[[Any, int, float], Result]  # a configuration, a seed, s of training

_COMMON: dict[str, Sequence[Any]] = {
    "hidden": ((32, 32), (64, 64), (128, 128)),
    "activation": ("tanh", "relu"),
    "gamma": (0.0, 0.0, 0.0, 0.9),
    "lr_decay_updates": (0, 0, 10_000),
    "reward_scale": (10.0, 100.0, 1000.0),
}
SPACES: dict[str, dict[str, Sequence[Any]]] = {
    "sb3_dqn": _COMMON
    | {
        "learning_rate": (5e-4, 1e-3, 2e-3, 4e-3),
        "batch_size": (64, 128, 256, 512),
        "train_freq": (1, 1, 4),
        "gradient_steps": (1, 2, 4, 8),
        "learning_starts": (200, 1000),
        "exploration_final": (0.05, 0.1, 0.3),
        "exploration_updates": (300, 1000, 3000),
        "target_update_interval": (1000, 10_000),
    },
    "sb3_a2c": _COMMON
    | {
        "learning_rate": (7e-4, 1e-3, 3e-3, 1e-2),
        "n_steps": (5, 16, 32, 64),
        "gae_lambda": (0.0, 0.95, 1.0),
        "ent_coef": (0.0, 1e-3, 1e-2),
        "vf_coef": (0.5, 1.0),
        "max_grad_norm": (0.5, 10.0),
        "use_rms_prop": (True, False),
        "normalize_advantage": (True, False),
    },
}
OWN_SPACES: dict[str, dict[str, Sequence[Any]]] = {
    "own_ddqn": {
        "learning_rate": (1e-3, 2e-3, 4e-3, 8e-3),
        "reward_scale": (10.0, 30.0, 100.0),
        "batch_size": (64, 128, 256, 512),
        "updates_per_step": (1, 2, 4),
        "lr_decay_updates": (0, 3000),
        "epsilon_final": (0.05, 0.1, 0.3),
        "epsilon_decay_updates": (100, 300, 1000),
    },
    "own_ac": {
        "gamma": (0.0, 0.9),
        "actor_learning_rate": (1e-3, 3e-3, 1e-2),
        "critic_learning_rate": (1e-3, 3e-3, 1e-2),
        "reward_scale": (10.0, 30.0, 100.0),
        "entropy_coefficient": (0.0, 0.001, 0.01),
    },
}
FLEETS = ((40, 2), (40, 10), (100, 2), (100, 20), (200, 2), (200, 10))  # worlds, and devices of each
DEMO_FLEETS = {"own_ddqn": (40, 2), "own_ac": (40, 20)}
DEMO: dict[str, Sb3Config] = {
    "sb3_dqn": Sb3DqnConfig(learning_rate=2e-3, lr_decay_updates=11_500),
    "sb3_a2c": Sb3A2cConfig(
        gamma=0.9, gae_lambda=0.0, learning_rate=1e-3, reward_scale=10.0, vf_coef=1.0, use_rms_prop=False
    ),
}


def candidates(racer: str, seed: int = 0) -> list[Any]:
    """The configurations to try, the demo's first."""
    generator, number = random.Random(seed), range(1, TRIALS)
    if racer in OWN:
        return [own_demo(racer), *(own_drawn(racer, generator) for _ in number)]
    space = SPACES[racer]
    drawn = [
        PEERS[racer](n_envs=ENVS[index % len(ENVS)], **{name: generator.choice(list(of)) for name, of in space.items()})
        for index in number
    ]
    return [DEMO[racer], *drawn]


def own_demo(racer: str) -> OwnConfig:
    """One of ours with the hyper-parameters of ``configs/demo.yaml``."""
    with as_file(files("offjax.configs") / "demo.yaml") as path:
        agents: Any = dict(load_config(path).agents.named())
    worlds, devices = DEMO_FLEETS[racer]
    return OWN[racer](worlds=worlds, devices=devices, agent=agents[racer.removeprefix("own_")])


def own_drawn(racer: str, generator: random.Random) -> OwnConfig:
    """The demo's with what is tuned drawn."""
    demo = own_demo(racer)
    drawn = {name: generator.choice(list(of)) for name, of in OWN_SPACES[racer].items()}
    worlds, devices = generator.choice(FLEETS)
    return demo.model_copy(update={"worlds": worlds, "devices": devices, "agent": demo.agent.model_copy(update=drawn)})


def score(runs: Sequence[Result]) -> tuple[bool, float]:
    """What is to be small: races that never came to the threshold, then the mean time, or the best regret."""
    if all(run.reached for run in runs):
        return False, sum(run.seconds for run in runs) / len(runs)
    return True, min(run.best_regret for run in runs)


def tune(
    racer: str,
    limit: float,
    run: Race,
    report: Callable[[Any], None] = lambda text: None,
) -> tuple[RacerConfig, list[dict[str, Any]]]:
    """Search, and choose.

    Args:
      racer: one of ``PEERS`` or ``OWN``.
      limit: s of a race.
      run: a race of a configuration with a seed and a limit.
      report: told of each race.

    Returns:
      the configuration chosen, and every trial with its runs.
    """
    trials: list[tuple[Any, list[Result]]] = [(config, []) for config in candidates(racer)]

    def race(trial: tuple[Any, list[Result]], seed: int) -> None:
        config, runs = trial
        load = os.getloadavg()[0]
        reached = [result.seconds for _, results in trials for result in results if result.reached]
        runs.append(run(config, seed, min([limit, *(MARGIN * seconds for seconds in reached)])))
        report({"seconds": runs[-1].seconds, "regret": runs[-1].best_regret, "load": load})

    for trial in trials:
        race(trial, 0)
    for trial in sorted(trials, key=lambda trial: score(trial[1]))[:FINALISTS]:
        for seed in FURTHER_SEEDS:
            race(trial, seed)
    finalists = [trial for trial in trials if len(trial[1]) > 1]
    chosen = min(finalists, key=lambda trial: score(trial[1]))[0]
    return chosen, [
        {"config": config.model_dump(mode="json"), "runs": [_short(result) for result in runs]}
        for config, runs in trials
    ]


def _short(result: Result) -> dict[str, Any]:
    """A result without its curve."""
    return {name: value for name, value in result.to_dict().items() if name != "curve"}


@contextmanager
def peer_race(peer: str, python: Path | None) -> Iterator[Race]:
    """Races of a trainer of Stable-Baselines3, all in one process."""
    with Sb3(judge=JUDGE, clock="cpu", look_growth=LOOK_GROWTH, python=python) as process:
        yield lambda config, seed, limit: Result.from_dict(process.race(peer, config, seed, limit))


@contextmanager
def own_race(racer: str, python: Path | None) -> Iterator[Race]:
    """Races of one of ours, each in a process that has compiled its programs."""
    yield lambda config, seed, limit: Result.from_dict(
        own_run(own_of(racer, config), [WARM_UP, seed], limit, judge=JUDGE)[1]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune one racer, and store what was tried and chosen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("racer", choices=sorted(PEERS | OWN))
    parser.add_argument("--out", type=Path, required=True, help="folder of the two files")
    parser.add_argument("--limit", type=float, default=LIMIT, help="s of training of one trial")
    parser.add_argument("--peers-python", type=Path, help="interpreter with the extra peers")
    given = parser.parse_args(arguments)
    races = TRIALS + FINALISTS * len(FURTHER_SEEDS)
    loads: list[float] = []
    kind = own_race if given.racer in OWN else peer_race
    with kind(given.racer, given.peers_python) as run, ProgressReport(f"tune {given.racer}", races) as progress:

        def report(row: dict[str, float]) -> None:
            loads.append(row["load"])
            progress.advance(0, row)

        chosen, trials = tune(given.racer, given.limit, run, report)
    origin = collect_provenance() | {"load_before_each_race": loads, "limit": given.limit, "threshold": THRESHOLD}
    origin |= {"clock": "wall" if given.racer in OWN else "processor time of the trainer", "judge": JUDGE}
    (given.out / f"{given.racer}.yaml").write_text(dump_yaml(chosen.model_dump(mode="json")), encoding="utf-8")
    write_json(given.out / f"{given.racer}_trials.json", {"peer": given.racer, "origin": origin, "trials": trials})


if __name__ == "__main__":
    main()
