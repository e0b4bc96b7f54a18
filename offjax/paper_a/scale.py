"""Ten to a million devices: what an access point and the cloud have to carry, what is dropped, and how fast it runs."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from offjax.config.paper_a import PaperAConfig
from offjax.learning.access_point import Links
from offjax.learning.distributed import Distributed
from offjax.paper_a import members, systems
from offjax.paper_a.claims import Claim
from offjax.paper_a.drawing import draw_band, interval, mean_over_seeds, new_figure, save, write_table
from offjax.paper_a.store import Job, Result
from offjax.problems.laas2022 import Laas2022
from offjax.problems.parts import Sharing
from offjax.world.records import DROPS

CELL = 10
MOST = 0.01
"""Share of tasks dropped up to which a fleet works: those that random decisions send over a bad link take long."""
RUN = 5  # purpose of keys


def problem_of(config: PaperAConfig, devices: int) -> Laas2022:
    """Cells of ten devices, of which nobody gets in another's way."""
    return systems.problem(config.system, devices=devices, devices_per_cell=CELL, sharing=Sharing())


def architecture_of(config: PaperAConfig) -> Distributed:
    """The paper's, with one message of a device under way at a time."""
    return systems.distributed(config.system, links=Links(places=1))


def slots_of(config: PaperAConfig, devices: int) -> int:
    """As many as the budget of device-slots allows."""
    chosen = config.scale
    return min(max(chosen.device_slots // devices, chosen.slots_least), chosen.slots_most)


def run_fleet(config: PaperAConfig, devices: int) -> Result:
    """Totals of every seed [S], and the seconds that all seeds took together without compilation.

    Seeds follow each other, so that what is timed is one system of so many devices.
    """
    architecture, problem, slots = architecture_of(config), problem_of(config, devices), slots_of(config, devices)

    def one(problem: Laas2022, key: jax.Array) -> dict[str, jax.Array]:
        report = systems.run(architecture, problem, key, slots)
        drops = (report.ends + report.refused)[:, list(DROPS)]
        return {
            "experiences": jnp.sum(report.experiences.sent),
            "weights": jnp.sum(report.weights.sent),
            "broadcasts": jnp.sum(report.broadcasts),
            "arrived": jnp.sum(report.arrived),
            "drops": jnp.sum(drops),
            "trained": jnp.sum(report.trained),
        }

    keys = members.keys(config.seed, config.seeds, RUN)
    all_seeds = jax.jit(lambda problem, keys: jax.lax.map(partial(one, problem), keys))
    program = all_seeds.lower(problem, keys).compile()
    start = time.perf_counter()
    found = jax.device_get(program(problem, keys))
    return found | {"seconds": np.asarray(time.perf_counter() - start), "slots": np.asarray(slots)}


def jobs(config: PaperAConfig) -> list[Job]:
    """One for each size."""
    found = []
    common = {"seeds": config.seeds, "seed": config.seed, "system": config.system.model_dump(mode="json")}
    for devices in config.scale.devices:
        slots = slots_of(config, devices)
        cost = 20.0 + config.seeds * slots * (3e-4 + 2e-6 * devices)
        depends = {**common, "devices": devices, "slots": slots}
        found.append(Job("scale", f"devices-{devices}", depends, cost, partial(run_fleet, config, devices)))
    return found


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Path) -> list[Claim]:
    """``scale``: bytes of an access point and of the cloud, drops and rate against the number of devices."""
    sizes = np.asarray(config.scale.devices)
    rows = [results[f"devices-{devices}"] for devices in sizes]
    own, problem = architecture_of(config), problem_of(config, CELL)
    up = own.experience_bits(len(problem.features)) // 8
    tasks = np.array([sizes[index] * found["slots"] for index, found in enumerate(rows)], float)[:, None]
    sent = np.stack([found["experiences"] for found in rows]) * float(up)
    down = np.stack([found["weights"] for found in rows]) * float(own.weights_bits(problem) // 8)
    down[down == 0] = np.nan  # a run that was too short for a broadcast says nothing of them
    slots = np.array([int(found["slots"]) for found in rows])[:, None]
    cells = (sizes // CELL)[:, None]
    drops = np.stack([found["drops"] for found in rows]) / np.stack([found["arrived"] for found in rows])
    rate = tasks[:, 0] * config.seeds / np.array([float(found["seconds"]) for found in rows])

    figure, axes = new_figure(1, 3, 15, 4)
    draw_band(axes[0, 0], sizes, (sent / slots / 1e3).T, "experiences to the cloud", marker="o")
    draw_band(axes[0, 0], sizes, (sent / slots / cells / 1e3).T, "experiences of one access point", marker="o")
    draw_band(axes[0, 0], sizes, (down / slots / cells / 1e3).T, "weights of one access point", marker="o")
    axes[0, 0].set(ylabel="kB per slot", yscale="log", title="traffic of learning")
    axes[0, 0].legend(fontsize=8)
    draw_band(axes[0, 1], sizes, drops.T, marker="o", color="C3")
    axes[0, 1].set(ylabel="share of tasks dropped, all causes", ylim=(-0.01, 1), title="dropped tasks")
    axes[0, 2].plot(sizes, rate, "o-")
    axes[0, 2].set(ylabel="device-steps per second", yscale="log", title="rate of the whole system, learning included")
    for axis in axes[0]:
        axis.set(xscale="log", xlabel="devices")
        axis.grid(alpha=0.3)
    figure.suptitle(f"Ten devices to a million, {CELL} for each access point, {config.seeds} seeds")
    save(figure, folder, "scale")
    header = ("devices", "slots", "experience_bytes_per_slot", "per_access_point", "weight_bytes_per_access_point")
    columns = (sent / slots, sent / slots / cells, down / slots / cells, drops)
    table = [
        [int(size), int(slots[index, 0]), *(float(own[index].mean()) for own in columns), float(rate[index])]
        for index, size in enumerate(sizes)
    ]
    write_table(folder, "scale", (*header, "share_dropped", "device_steps_per_s"), table)
    return [claim_49(config, (sent / slots / cells), drops, rate)]


def claim_49(config: PaperAConfig, per_cell: np.ndarray, drops: np.ndarray, rate: np.ndarray) -> Claim:
    """Scalability: an access point carries as much in a large system as in a small one.

    Args:
        config: the experiments.
        per_cell: [sizes, S] bytes per slot of experiences at one access point.
        drops: [sizes, S] share of tasks.
        rate: [sizes] device-steps per second.
    """
    growth = per_cell[-1] / per_cell[0]
    band, most = mean_over_seeds(growth), float(drops.max())
    holds = bool(abs(growth.mean() - 1) < 0.05 and most < MOST)
    reason = (
        f"bytes of an access point among {config.scale.devices[-1]:,} devices over those of one among "
        f"{config.scale.devices[0]}; share of tasks dropped at most {most:.3g}; {rate[-1]:.3g} device-steps/s there; "
        "devices decide alone, and nothing is shared between cells but the agent, with one batch per slot"
    )
    return Claim(
        49, float(band.value), "ratio", interval(band), growth.size, holds, "construction", reason, "scale.png"
    )
