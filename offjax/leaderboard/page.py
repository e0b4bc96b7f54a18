"""What the leaderboard shows: the results in ``docs/leaderboard.md``, every trial in a table, and a figure."""

import csv
import io
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from offjax.config.leaderboard import LeaderboardConfig, load_leaderboard
from offjax.errors import ConfigError
from offjax.leaderboard.run import run
from offjax.runs.folder import write_bytes, write_json
from offjax.runs.provenance import device_name

CONFIG, PAGE, STORE = Path("configs/leaderboard.yaml"), Path("docs/leaderboard.md"), Path("runs/leaderboard")
GOAL = 0.95  # of the named reference
BEGIN, END = "<!-- results: written by `offjax figures leaderboard` -->", "<!-- end of the results -->"
REFERENCES = ("best_fixed_rule", "oracle", "best_response")  # untrained rows that the page shows beside the agents


def figures(folder: Path, redo: bool = False) -> None:
    """``offjax figures leaderboard``: do what is missing in a checkout, and write the page and what belongs to it.

    Args:
        folder: of the tables and the figure.
        redo: forget what is in the store.
    """
    if redo and STORE.exists():
        shutil.rmtree(STORE)
    board = load_leaderboard(CONFIG)
    write(run(CONFIG, STORE), board, PAGE, folder, device_name())


def write(found: Mapping[str, Any], board: LeaderboardConfig, page: Path, folder: Path, device: str) -> None:
    """Write everything.

    Args:
        found: what :func:`offjax.leaderboard.run.run` returns.
        board: its configuration.
        page: Markdown file; what stands between its two marks is replaced.
        folder: gets ``leaderboard.json``, ``trials.csv``, ``leaderboard.png`` and ``.pdf``.
        device: what trained, by name.

    Raises:
        ConfigError: a page without the marks.
    """
    text = replace_results(page.read_text(encoding="utf-8"), results(found, board, device), page)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "leaderboard.json", dict(found))
    write_bytes(folder / "trials.csv", trials_table(found).encode())
    draw(found, folder)
    write_bytes(page, text.encode())


def replace_results(text: str, fresh: str, page: Path) -> str:
    """The page with ``fresh`` between its marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError("page", str(page), f"it must hold the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{fresh}\n{END}{after}"


def results(found: Mapping[str, Any], board: LeaderboardConfig, device: str) -> str:
    """The tables, as Markdown."""
    steps = f"{board.device_steps:,.0f}"
    head = (
        f"In each setting: {board.trials} trials of {board.tuning_seeds} seeds, then {board.seeds} new seeds "
        f"with the hyper-parameters of the best trial; {steps} device-steps each, on {device}.\n"
    )
    return "\n".join(
        [head, *_overview(found, board), "", *[line for name in found for line in _setting(name, found[name])]]
    )


def _overview(found: Mapping[str, Any], board: LeaderboardConfig) -> Iterator[str]:
    """Agents by settings: interquartile means."""
    yield f"| setting | reference | best fixed rule | {' | '.join(board.agents)} |"
    yield "|" + "---|" * (3 + len(board.agents))
    for name, own in found.items():
        cells = [_reached(own["rows"][f"trained_{agent}"]) for agent in board.agents]
        rule = own["rows"]["best_fixed_rule"]["score"]["mean"]
        yield f"| `{name}` | `{own['reference']}` | {rule:.3f} | {' | '.join(cells)} |"


def _reached(row: Mapping[str, Any]) -> str:
    """A score, bold where it reaches the goal."""
    value = f"{row['iqm']['value']:.4f}"
    return f"**{value}**" if row["iqm"]["value"] >= GOAL else value


def _setting(name: str, own: Mapping[str, Any]) -> Iterator[str]:
    """All rows of a setting, best first."""
    yield f"### {name}, score against `{own['reference']}`\n"
    yield f"| policy | IQM [95 %] | mean score | regret per task | in time | reaches {GOAL:g} | chosen |"
    yield "|---|---|---|---|---|---|---|"
    shown = {key: row for key, row in own["rows"].items() if row["kind"] == "learned" or key in REFERENCES}
    for key, row in sorted(shown.items(), key=lambda pair: -pair[1]["score"]["mean"]):
        yield _line(key, row, own["agents"].get(key.removeprefix("trained_")))
    yield ""


def _line(key: str, row: Mapping[str, Any], agent: Mapping[str, Any] | None) -> str:
    score, regret = row["score"], row["regret"]
    middle, goal, chosen = "", "", ""
    if agent is not None:
        middle = "{value:.4f} [{low:.4f}, {high:.4f}]".format(**row["iqm"])
        goal = "yes" if row["iqm"]["value"] >= GOAL else "no"
        picked = agent["trials"][agent["chosen"]]
        chosen = ", ".join(f"{name} {value:g}" for name, value in picked.items() if name != "validation_reward")
    cells = (
        row["label"],
        middle,
        f"{score['mean']:.4f} ± {score['ci95']:.4f}",
        f"{regret['mean']:.1e} ± {regret['ci95']:.0e}",
        f"{100 * row['success']['mean']:.2f} %",
        goal,
        chosen,
    )
    return f"| {' | '.join(cells)} |"


def trials_table(found: Mapping[str, Any]) -> str:
    """Every trial that was made, as CSV in long form."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["setting", "agent", "trial", "chosen", "name", "value"])
    for setting, own in found.items():
        for agent, told in own["agents"].items():
            for number, trial in enumerate(told["trials"]):
                chosen = int(number == told["chosen"])
                rewards = trial["validation_reward"]
                numbers = {name: value for name, value in trial.items() if name != "validation_reward"}
                numbers |= {f"validation_reward_{index}": value for index, value in enumerate(rewards)}
                writer.writerows([setting, agent, number, chosen, *pair] for pair in numbers.items())
    return text.getvalue()


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Scores of every seed in every setting, beside the best fixed rule."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(16, 7), layout="constrained", squeeze=False)
    for axis, (name, own) in zip(axes.flat, found.items(), strict=False):
        _draw_setting(axis, name, own)
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    for suffix in ("png", "pdf"):
        figure.savefig(folder / f"leaderboard.{suffix}", dpi=150)
    pyplot.close(figure)


def _draw_setting(axis: Any, name: str, own: Mapping[str, Any]) -> None:
    agents = list(own["agents"])
    for place, agent in enumerate(agents):
        row = own["rows"][f"trained_{agent}"]
        middle = row["iqm"]
        axis.plot([place] * len(row["seeds"]), row["seeds"], "o", ms=3, alpha=0.5, color=f"C{place}")
        axis.vlines(place + 0.2, middle["low"], middle["high"], color=f"C{place}", lw=2)
        axis.plot(place + 0.2, middle["value"], "_", ms=12, color=f"C{place}")
    rule = own["rows"]["best_fixed_rule"]["score"]["mean"]
    axis.axhline(rule, color="0.5", ls="--", lw=1)
    axis.axhline(GOAL, color="0.2", ls=":", lw=1)
    axis.set_xticks(range(len(agents)), agents)
    axis.set_ylabel("score")
    axis.set_title(f"{name}\nbest fixed rule {rule:.2f} (- -), {GOAL:g} of {own['reference']} (· ·)", fontsize=9)
