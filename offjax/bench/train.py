"""``offjax bench train``: how soon trainers come to a regret of 1e-5, ours beside other people's, in one run.

Repeats of the peer and of ours take turns, so that a machine that slows down slows both. Every process of ours starts
with an empty cache of compiled programs: its first race is the cold one, its second the warm one.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from offjax.bench.trainers import CELL, Own, interpreter, own_of, own_run, own_work, rejax_run, sb3_run
from offjax.config.peers import Sb3A2cConfig, Sb3Config, Sb3DqnConfig, load_own, load_peer
from offjax.evaluation.statistics import Estimate, estimate
from offjax.runs.progress import ProgressReport

REPEATS, QUICK_REPEATS = 5, 2
SEED = 100  # first of the measured races; tuning took those from 0
LIMIT = 300.0  # s of training of a race
OWN_OF = {"sb3_dqn": "ddqn", "sb3_a2c": "ac"}  # which of our agents a peer is held against
HORIZON = 2000  # slots of an episode
WORK_WORLDS = 8  # at identical gradient work, where they divide the peer's environments
REJAX_STEPS = 128_000
REJAX: dict[str, dict[str, Any]] = {
    "dqn": {"num_envs": 64, "batch_size": 512, "num_epochs": 4, "buffer_size": 102_400, "fill_buffer": 1024}
    | {"agent_kwargs": {"activation": "tanh"}},  # its networks are 64, 64
    "ppo": {
        "num_envs": 64,
        "num_steps": 25,  # ours are whole parts of a round
        "num_minibatches": 4,
        "num_epochs": 4,
        "agent_kwargs": {"hidden_layer_sizes": [64, 64], "activation": "tanh"},
    },
}


@dataclass(frozen=True)
class Sample:
    """Seconds of one side, repeat by repeat."""

    seconds: tuple[float, ...]
    reached: int  # of them came to the threshold; the others were stopped

    @property
    def estimate(self) -> Estimate:
        """Mean and interval."""
        return estimate(np.asarray(self.seconds))

    @property
    def complete(self) -> bool:
        """Did every repeat come to the threshold?"""
        return self.reached == len(self.seconds)


def sample(lines: Sequence[Mapping[str, Any]]) -> Sample:
    """The seconds of some runs; work that has no threshold is always done."""
    return Sample(tuple(line["seconds"] for line in lines), sum(line.get("reached", True) for line in lines))


def row(what: Mapping[str, Any], own: Sample, peer: Sample) -> dict[str, Any]:
    """One row: ours, the peer's, and how many times sooner ours is.

    Args:
      what: names of the row.
      own: ours.
      peer: the peer's; where a side was stopped before the threshold the ratio is a bound, and says so.
    """
    ours, theirs = own.estimate, peer.estimate
    ratio = theirs.mean / ours.mean
    relative = math.hypot(ours.ci95 / ours.mean, theirs.ci95 / theirs.mean)
    bound = {
        (True, True): "measured",
        (True, False): "at least",
        (False, True): "at most",
        (False, False): "unknown",
    }[own.complete, peer.complete]
    return {
        "bench": "train",
        **what,
        "value": ours.mean,
        "unit": "s",
        "ci95": ours.ci95,
        "repeats": len(own.seconds),
        "reached": own.reached,
        "peer_value": theirs.mean,
        "peer_ci95": theirs.ci95,
        "peer_reached": peer.reached,
        "ratio": ratio,
        "ratio_ci95": ratio * relative,
        "ratio_is": bound,
    }


def own_trainer(agent: str) -> Own:
    """One of our agents as it was tuned for this race."""
    return own_of(f"own_{agent}", load_own(f"own_{agent}"))


def same_work(config: Sb3Config) -> Own:
    """Ours with the networks, batches and environment steps for each update of a peer."""
    shared = {name: getattr(config, name) for name in ("hidden", "activation", "gamma", "reward_scale")}
    shared |= {"max_grad_norm": config.max_grad_norm, "lr_decay_updates": config.lr_decay_updates}
    if isinstance(config, Sb3A2cConfig):
        hyper = shared | {f"{net}_learning_rate": config.learning_rate for net in ("actor", "critic")}
        return _fleet("ac", hyper | {"entropy_coefficient": config.ent_coef}, config.n_envs * config.n_steps)
    # What the peer collects in several calls between two bouts of updates, ours collects in one slot of more devices.
    common = math.gcd(config.train_freq, config.gradient_steps)
    hyper = shared | _ddqn(config) | {"updates_per_step": config.gradient_steps // common}
    return _fleet("ddqn", hyper, config.n_envs * config.train_freq // common)


def _ddqn(config: Sb3DqnConfig) -> dict[str, Any]:
    return {
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "replay_capacity": config.buffer_size,
        "epsilon_final": config.exploration_final,
        "epsilon_decay_updates": config.exploration_updates,
    }


def _fleet(agent: str, hyper: dict[str, Any], devices: int) -> Own:
    """A fleet of ``devices`` in all; nothing couples them, so that the size of a cell does not matter."""
    worlds = math.gcd(devices, WORK_WORLDS)
    each = devices // worlds
    cell = max(size for size in range(1, CELL + 1) if each % size == 0)
    return Own(agent, hyper, worlds, each, cell)


def sb3_rows(peer: str, repeats: int, python: Path | None, progress: ProgressReport) -> list[dict[str, Any]]:
    """Ours against a trainer of Stable-Baselines3: warm, cold, and at identical gradient work."""
    config, own = load_peer(peer), own_trainer(OWN_OF[peer])
    theirs, cold, warm = [], [], []
    for repeat in range(repeats):
        theirs.append(sb3_run(peer, config, SEED + repeat, LIMIT, python=python))
        progress.advance(0, f"{peer}: {theirs[-1]['seconds']:.1f} s")
        first, second = own_run(own, [SEED + 2 * repeat, SEED + 2 * repeat + 1], LIMIT)
        cold.append(first)
        warm.append(second)
        progress.advance(0, f"{own.agent}: {first['seconds']:.1f} s, warm {second['seconds']:.1f} s")
    names = {"peer": peer, "agent": own.agent}
    set_up = estimate(np.asarray([line["set_up_seconds"] for line in theirs]))
    rows = [
        row(names | {"measure": "time to regret", "cache": "warm"}, sample(warm), sample(theirs)),
        row(names | {"measure": "time to regret", "cache": "empty"}, sample(cold), sample(theirs))
        | {"peer_set_up_s": set_up.mean},
    ]
    return rows + work_rows(names, config, theirs, repeats, progress)


def work_rows(
    names: dict[str, str],
    config: Sb3Config,
    theirs: Sequence[Mapping[str, Any]],
    repeats: int,
    progress: ProgressReport,
) -> list[dict[str, Any]]:
    """Seconds per update at identical gradient work, times the updates that the peer made; warm."""
    own = same_work(config)
    updates = float(np.mean([line["updates"] for line in theirs]))
    per_round = HORIZON // own.worlds * own.hyper.get("updates_per_step", 1)
    _, *runs = own_work(own, range(SEED, SEED + repeats + 1), max(round(updates / per_round), 1))
    progress.advance(0, f"{own.agent}: {runs[0]['seconds'] / runs[0]['updates'] * 1e3:.2f} ms per update")
    scaled = [{"seconds": updates * run["seconds"] / run["updates"]} for run in runs]
    peers = [{"seconds": updates * line["seconds"] / line["updates"]} for line in theirs]
    what = names | {"measure": "gradient work", "cache": "warm", "updates": updates}
    return [row(what, sample(scaled), sample(peers))]


def rejax_rows(algorithm: str, repeats: int, python: Path | None, progress: ProgressReport) -> list[dict[str, Any]]:
    """A fixed number of steps of rejax, and of ours where we have the algorithm: with an empty cache, and warm."""
    own, theirs, ours = rejax_counterpart(algorithm), [], []
    for repeat in range(repeats):
        seeds = [SEED + 2 * repeat, SEED + 2 * repeat + 1]
        theirs.append(rejax_run(algorithm, REJAX_STEPS, REJAX[algorithm], seeds, python=python))
        ours.append(own_work(own, seeds, REJAX_STEPS // (own.devices * HORIZON)))
        progress.advance(0, f"rejax {algorithm}: " + ", ".join(f"{line['seconds']:.1f} s" for line in theirs[-1]))
    what = {"peer": f"rejax_{algorithm}", "agent": own.agent, "measure": "fixed steps", "steps": REJAX_STEPS}
    return [
        row(what | {"cache": cache}, sample([run[index] for run in ours]), sample([run[index] for run in theirs]))
        for index, cache in ((1, "warm"), (0, "empty"))
    ]


def rejax_counterpart(algorithm: str) -> Own:
    """Ours with the networks, batches and updates of the settings in ``REJAX``."""
    settings = REJAX[algorithm]
    hyper: dict[str, Any] = {"hidden": (64, 64), "activation": "tanh"}
    if algorithm == "ppo":
        hyper |= {"rollout_slots": settings["num_steps"], "epochs": settings["num_epochs"]}
        hyper |= {"minibatches": settings["num_minibatches"]}
        return _fleet("ppo", hyper, settings["num_envs"])
    hyper |= {"batch_size": settings["batch_size"], "replay_capacity": settings["buffer_size"]}
    return _fleet("ddqn", hyper | {"updates_per_step": settings["num_epochs"]}, settings["num_envs"])


def bench_train(
    quick: bool = False, peers_python: Path | None = None, clients_python: Path | None = None
) -> list[dict[str, Any]]:
    """All rows, with a progress bar.

    Args:
      quick: two repeats in place of five.
      peers_python: interpreter with Stable-Baselines3, if not ``.venv-peers`` of the checkout.
      clients_python: interpreter with rejax, if not ``.venv-clients`` of the checkout.

    Raises:
      MachineError: one of them is missing, before anything is measured.
    """
    repeats = QUICK_REPEATS if quick else REPEATS
    peers, clients = interpreter("peers", peers_python), interpreter("clients", clients_python)
    load = os.getloadavg()[0]
    rows: list[dict[str, Any]] = []
    with ProgressReport("bench train", len(OWN_OF) * (2 * repeats + 1) + len(REJAX) * repeats) as progress:
        for peer in OWN_OF:
            rows += sb3_rows(peer, repeats, peers, progress)
        for algorithm in REJAX:
            rows += rejax_rows(algorithm, repeats, clients, progress)
    return [{"bench": "machine", "load": load, "processors": os.cpu_count()}, *rows]


def print_bench(quick: bool, peers_python: Path | None, clients_python: Path | None, as_json: bool) -> None:
    """``offjax bench train``: measure and print.

    Args:
      quick: two repeats in place of five.
      peers_python: interpreter with Stable-Baselines3.
      clients_python: interpreter with rejax.
      as_json: JSON instead of a table.
    """
    rows = bench_train(quick, peers_python, clients_python)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("peer", "measure", "cache", "ours s", "peer s", "times sooner", "", title="Training")
    for line in rows[1:]:
        ratio = f"{line['ratio']:.2f} ± {line['ratio_ci95']:.2f}" if line["ratio"] is not None else ""
        ours = f"{line['value']:.2f}" if line["value"] is not None else ""
        cells = [line["peer"], line["measure"], line["cache"], ours, f"{line['peer_value']:.2f}", ratio]
        table.add_row(*cells, line.get("ratio_is", ""))
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)
