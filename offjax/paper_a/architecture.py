"""Fig. 1: devices, access points, servers and the agent with its memories, drawn from the configuration that runs.

Every number in it is read from the records that the experiments are made of, so that it cannot differ from them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offjax.config.paper_a import PaperAConfig
from offjax.paper_a import systems
from offjax.paper_a.claims import Claim
from offjax.paper_a.drawing import new_figure, save, write_table
from offjax.paper_a.store import Job, Result

BOXES = {  # x, y, width, height, colour
    "device": (0.2, 3.1, 3.0, 2.6, "#e8f1fa"),
    "access point": (4.6, 3.1, 2.6, 2.6, "#eef7e8"),
    "edge": (4.6, 0.3, 2.6, 1.7, "#fdf3e1"),
    "agent": (8.9, 1.35, 5.0, 4.35, "#f6ebf6"),
}
ARROWS = {  # from, to, where the text stands
    "tasks": ((3.2, 3.5), (4.6, 3.5), (3.9, 3.05)),
    "experiences": ((3.2, 5.2), (4.6, 5.2), (3.9, 5.9)),
    "weights": ((4.6, 4.4), (3.2, 4.4), (3.9, 4.62)),
    "to edge": ((5.9, 3.1), (5.9, 2.0), (6.0, 2.55)),
    "first link": ((7.2, 5.2), (8.9, 5.2), (8.05, 5.75)),
    "second link": ((7.2, 4.2), (8.9, 4.2), (8.05, 3.65)),
}


def jobs(config: PaperAConfig) -> list[Job]:
    """Nothing is computed."""
    return []


def numbers(config: PaperAConfig) -> dict[str, Any]:
    """What the diagram says, by name: read from the architecture and the problem that run."""
    own = systems.distributed(config.system)
    problem = systems.problem(config.system)
    params, agent = problem.params, own.learner.agent
    features, decisions = len(problem.features), len(problem.decisions)
    layers = [features, *agent.hidden, decisions]
    low, high = (float(edge) for edge in (params.workload.bits_low.min(), params.workload.bits_high.max()))
    return {
        "N": params.devices,
        "SAPs": params.access_points,
        "N per SAP": params.devices // params.access_points,
        "Z": params.server_count,
        "SF": own.sending_period,
        "T": own.learner.weights_period,
        "BS": agent.batch_size,
        "BRM": own.learner.brm_capacity,
        "ARM": own.learner.arm_capacity,
        "network": "–".join(map(str, layers)),
        "parameters": own.weights_bits(problem) // 32,
        "weights B": own.weights_bits(problem) // 8,
        "experience B": own.experience_bits(features) // 8,
        "task kB": (low / 8e3, high / 8e3),
        "link b/s": [float(rate) for rate in params.servers.backhaul_rate],
        "target": agent.target_update_period,
        "device unit/s": float(params.fleet.speed.max()),
        "server unit/s": [float(speed) for speed in params.servers.speed],
        "inference s": float(own.inference),
        "servers": problem.decisions[1:],
        "redundant": params.redundant,
    }


def texts(told: Mapping[str, Any]) -> dict[str, str]:
    """The words in the boxes and at the arrows."""
    cloud = len(told["servers"]) - 1
    small, large = told["task kB"]
    wire = [f"{rate / 1e9:g} Gb/s" for rate in told["link b/s"]]
    return {
        "device": (
            f"IoT device × {told['N']:,}\n\nlocal network {told['network']}\n(never trained here)\n"
            f"decides in {told['inference s'] * 1e3:g} ms\nexecutes {told['device unit/s'] / 1e6:g} M units/s\n"
            "or offloads; own reward R = -C"
        ),
        "access point": (
            f"Access point (SAP) × {told['SAPs']:,}\n{told['N per SAP']} devices each\n\ncarries tasks and results,\n"
            "experiences, weights;\ntells of resources\nand of nodes lost"
        ),
        "edge": f"Server 1: {told['servers'][0]}\n{told['server unit/s'][0] / 1e9:g} G units/s\none per SAP",
        "tasks": f"task, {small:.0f}–{large:.0f} kB",
        "experiences": f"(s, a, r, s'), {told['experience B']} B\none of SF = {told['SF']}",
        "weights": f"weights, {told['weights B'] / 1e3:.1f} kB",
        "to edge": wire[0],
        "first link": f"SAP–cloud link\n{wire[cloud]}",
        "second link": "redundant link\ntakes over" if told["redundant"] else "(none)",
        "cloud": f"Server {cloud + 1}: {told['servers'][cloud]}, {told['server unit/s'][cloud] / 1e9:g} G units/s",
        "brm": f"BRM: {told['BRM']:,}\nreal\nexperiences",
        "arm": f"ARM: {told['ARM']:,}\nreal and\ngenerated",
        "generator": "generator\n(tabular GAN)\nk-1 rows per row",
        "evaluation": f"evaluation network\n{told['network']}, {told['parameters']:,} weights",
        "target": f"target network\ncopied every {told['target']} trainings",
        "training": f"batch BS = {told['BS']};  every T = {told['T']} trainings the weights go down",
    }


INNER = {  # boxes inside the agent
    "brm": (9.15, 3.75, 1.35, 1.2, "#ffffff"),
    "generator": (10.75, 3.75, 1.45, 1.2, "#fff7d6"),
    "arm": (12.4, 3.75, 1.3, 1.2, "#ffffff"),
    "target": (9.15, 2.3, 2.2, 0.95, "#ffffff"),
    "evaluation": (11.5, 2.3, 2.2, 0.95, "#ffffff"),
}
FLOWS = (
    ((10.5, 4.35), (10.75, 4.35)),
    ((12.2, 4.35), (12.4, 4.35)),
    ((13.0, 3.75), (13.0, 3.25)),
    ((11.5, 2.78), (11.35, 2.78)),
)


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Path) -> list[Claim]:
    """``fig1``, and a table of the numbers in it."""
    told = numbers(config)
    words = texts(told)
    figure, axes = new_figure(1, 1, 14, 6.2)
    axis = axes[0, 0]
    for name, place in (BOXES | INNER).items():
        _box(axis, place, words.get(name, ""))
    axis.text(11.4, 5.42, "Agent in the cloud (algorithm 1)", ha="center", va="center", fontsize=10, weight="bold")
    axis.text(11.4, 5.13, words["cloud"], ha="center", va="center", fontsize=8)
    axis.text(11.4, 1.75, words["training"], ha="center", va="center", fontsize=8.5)
    for name, (start, stop, where) in ARROWS.items():
        _arrow(axis, start, stop, "<->" if "link" in name or name in ("to edge", "tasks") else "->", "second" in name)
        axis.text(*where, words[name], ha="left" if name == "to edge" else "center", va="center", fontsize=8)
    for start, stop in FLOWS:
        _arrow(axis, start, stop, "->", False)
    axis.set_xlim(0, 14.1)
    axis.set_ylim(0.1, 6.3)
    axis.axis("off")
    axis.set_title(
        "Fig. 1: the system as configured (guesses but for the structure: the paper prints no number)", fontsize=11
    )
    save(figure, folder, "fig1")
    write_table(folder, "fig1", ("name", "value"), [(name, str(value)) for name, value in told.items()])
    return []


def _box(axis: Any, place: tuple[float, float, float, float, str], text: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height, colour = place
    axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.02", fc=colour, ec="0.3", lw=1))
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8.5)


def _arrow(axis: Any, start: tuple[float, float], stop: tuple[float, float], style: str, dashed: bool) -> None:
    line = {"arrowstyle": style, "lw": 1.4, "color": "0.25", "ls": "--" if dashed else "-"}
    axis.annotate("", xy=stop, xytext=start, arrowprops=line)
