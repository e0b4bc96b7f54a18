"""From a configuration to its results.

``offjax.train`` and ``offjax.evaluate`` are these functions; the command line calls nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from offjax.building import build_agent, build_problem, make_scenario, trainer_of
from offjax.config import Nieto2024Config, RunConfig, config_hash, is_sweep, load_config, to_yaml
from offjax.errors import ConfigError
from offjax.evaluation import setting as evaluation
from offjax.evaluation.aggregate import aggregate
from offjax.evaluation.report import write_report
from offjax.evaluation.setting import Setting, Trained
from offjax.evaluation.statistics import learning_curve
from offjax.evaluation.summary import curves, summarise
from offjax.evaluation.table import render, render_aggregate
from offjax.evaluation.validation import Validator
from offjax.export.bundle import PolicySource, load_policy, record_parity, write_bundle
from offjax.export.parity import measure_parity, parity_observations
from offjax.learning.keys import Purpose, key_of, keys_of
from offjax.learning.unit import Unit, UnitState, load_unit, require_memory, train_unit
from offjax.problems import nieto2024
from offjax.problems.scenario import Scenario
from offjax.runs.folder import RunFolder, alone, create_run, json_text, open_run, write_json
from offjax.runs.log import combine_metrics, read_metrics
from offjax.runs.loggers import check_loggers
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import collect_provenance, describe_backend, describe_precision, device_name
from offjax.schema.manifest import ObservedQuantity, Output
from offjax.sweeps.run import Engine, resume_sweep
from offjax.sweeps.trials import make_plan

LABELS = {"ddqn": "DDQN", "dqn": "DQN", "ac": "Actor-critic", "a2c": "A2C", "ppo": "PPO"}
Q_VALUES, PROBABILITIES = Output("q_values", "reward"), Output("probabilities", "1")
OUTPUTS = {"ddqn": Q_VALUES, "dqn": Q_VALUES, "ac": PROBABILITIES, "a2c": PROBABILITIES, "ppo": PROBABILITIES}
CURVE_ROWS = (*(f"trained_{name}" for name in LABELS), "best_fixed_rule", "local", "mec", "edge", "cloud", "random")
SELFTEST_ROWS = 64


@dataclass(frozen=True)
class Task:
    """One unit of a run and where it came from."""

    agent_name: str
    scenario: str
    unit: Unit


# ------------------------------------------------------------------------------------------ records


def _check_worlds(config: RunConfig) -> None:
    """Build once what validation and evaluation will build after hours of training."""
    for mix, scenario in _settings(config):
        build_problem(config, scenario, config.evaluation.devices, mix)
    for scenario in config.problem.scenarios if config.training.validation_devices else ():
        build_problem(config, scenario, config.training.validation_devices)


def _settings(config: RunConfig) -> list[tuple[str, str]]:
    """Mix and scenario of every setting of the evaluation."""
    chosen = config.evaluation
    return [
        (mix, scenario)
        for scenario in chosen.scenarios or config.problem.scenarios
        for mix in chosen.mixes or (config.problem.usual_mix,)
    ]


def _setting_name(config: RunConfig, mix: str, scenario: str) -> str:
    return f"{config.problem.workload_name(mix)}/{Path(scenario).stem}"


def build_tasks(config: RunConfig) -> list[Task]:
    """Every unit of a run: each agent in each scenario, all training seeds together."""
    training = config.training
    seeds = tuple(range(training.seed, training.seed + training.seeds))
    plan = make_plan(config)
    tasks: list[Task] = []
    for scenario in config.problem.scenarios:
        problem = build_problem(config, scenario, config.problem.devices // training.worlds)
        for name, _ in config.agents.named():
            place = len(tasks)
            unit = Unit(
                name=f"{name}-{Path(scenario).stem}",
                agents=(build_agent(config, name, problem),) * len(seeds),
                problems=(problem,) * len(seeds),
                seeds=seeds,
                keys=tuple(jax.random.fold_in(key_of(seed, Purpose.TRAIN), place) for seed in seeds),
                plan=plan,
                rounds=training.rounds,
                checkpoint_rounds=training.checkpoint_rounds,
                trainer=trainer_of(config),
            )
            tasks.append(Task(name, scenario, unit))
    return tasks


# ----------------------------------------------------------------------------------------- training


def train_run(config: RunConfig, out: Path | str) -> RunFolder:
    """Train everything that a configuration names, compare it, export it and write the report.

    Args:
        config: the whole run.
        out: a new folder.

    Raises:
        ConfigError: ``out`` is not empty.
        MachineError: the disk refuses, or a logger is not installed.
    """
    check_loggers(config.training.loggers)
    tasks = build_tasks(config)  # before anything is written: what cannot be built leaves no folder
    _check_worlds(config)
    for task in tasks:
        require_memory(task.unit)
    run = create_run(out, to_yaml(config), collect_provenance())
    return _carry_out(config, run, tasks)


def resume_run(folder: Path | str, engine: Engine | None = None) -> RunFolder:
    """Continue a run or a sweep from its newest checkpoints; a finished one is left as it is."""
    run = open_run(folder)
    if is_sweep(run.config):
        return resume_sweep(run.path, engine)
    if engine is not None:
        raise ConfigError("RUN", str(folder), "Ray is for sweeps, and this is the run of one configuration")
    if run.summary.is_file():
        Console(stderr=True).print(f"{run.path} is finished; its results are in {run.summary}")
        return run
    config = load_config(run.config)
    check_loggers(config.training.loggers)
    return _carry_out(config, run, build_tasks(config))


def demo(out: Path | str = Path("runs/demo")) -> RunFolder:
    """``offjax demo``: the shipped configuration ``demo.yaml``."""
    with as_file(files("offjax.configs") / "demo.yaml") as path:
        config = load_config(path)
    return train_run(config, out)


def _carry_out(config: RunConfig, run: RunFolder, tasks: Sequence[Task]) -> RunFolder:
    with alone(run):
        states = {task.unit.name: _train(config, task, run) for task in tasks}
        return _finish(config, run, tasks, states)


def _finish(config: RunConfig, run: RunFolder, tasks: Sequence[Task], states: Mapping[str, UnitState]) -> RunFolder:
    """Compare, export and report what was trained."""
    combine_metrics(run.path)
    settings = evaluate_settings(config, _trained(config, tasks, states))
    task, state = tasks[0], states[tasks[0].unit.name]
    seed = _best_seed(run.path, task.unit)
    learnt = _one_learner(task.unit, _learnt(task.unit, state, seed, best=False), learner=None)
    parity = _export(config, task, seed, learnt, run.path, run.policy)
    summary = _summary(config, settings, {tasks[0].unit.name: parity})
    write_report(run.path, _report(config, run, settings, summary))
    write_json(run.summary, summary)  # last: its presence says that the run is finished
    _print(summary, Console())
    Console().print(f"\nreport: {run.report}\npolicy for a board: {run.policy}")
    return run


def _train(config: RunConfig, task: Task, run: RunFolder) -> UnitState:
    unit = task.unit
    with ProgressReport(f"train {unit.name}", unit.rounds) as progress:

        def report(round_: int, metrics: Mapping[str, float]) -> None:
            shown = {name: metrics[name] for name in ("reward", "validation_regret") if name in metrics}
            progress.advance(unit.round_steps, shown)

        return train_unit(unit, run.path, _validator(config, task), report, config.training.loggers)


def _validator(config: RunConfig, task: Task) -> Validator | None:
    devices = config.training.validation_devices
    if not devices:
        return None
    problem = build_problem(config, task.scenario, devices)
    keys = keys_of(config.training.seed, 1, Purpose.VALIDATE)
    return Validator((problem,) * task.unit.members, task.unit, keys)


# --------------------------------------------------------------------------------------- evaluation


def evaluate_settings(
    config: RunConfig, trained: Mapping[str, Mapping[str, Trained]] | None = None
) -> dict[str, Setting]:
    """Every setting of a configuration: ``mix/scenario`` -> all its rows.

    Args:
        config: its ``evaluation`` says which settings and seeds.
        trained: scenario -> name -> trained copies; a policy is compared where it was trained.
    """
    chosen = config.evaluation
    keys = keys_of(chosen.seed, chosen.seeds, Purpose.EVALUATE)
    pairs, settings = _settings(config), {}
    with ProgressReport("evaluate", len(pairs)) as progress:
        for mix, scenario in pairs:
            problem = build_problem(config, scenario, chosen.devices, mix)
            own = (trained or {}).get(scenario)
            rows = evaluation.evaluate(problem, keys, config.problem.slots, own)
            name = _setting_name(config, mix, scenario)
            settings[name] = evaluation.completed(rows)
            steps = chosen.seeds * chosen.devices * config.problem.slots * 30
            progress.advance(steps, name)
    return settings


def evaluate_run(
    config: RunConfig, out: Path | None = None, as_json: bool = False, run: Path | None = None
) -> dict[str, Any]:
    """Compare all policies of a configuration, and those of a run if one is given; print the table.

    Args:
        config: the settings.
        out: JSON file for the summary, which must not exist.
        as_json: print the summary as JSON instead of the table.
        run: run folder with trained policies.

    Returns:
        the summary.
    """
    if out is not None and out.exists():
        raise ConfigError("--out", str(out), "this file exists; choose a new one")
    trained = None
    if run is not None:
        of_run = load_config(run / "config.yaml")
        tasks = build_tasks(of_run)
        trained = _trained(config, tasks, {task.unit.name: _load(of_run, task, run) for task in tasks})
    settings = evaluate_settings(config, trained)
    summary = _summary(config, settings, {})
    if out is not None:
        write_json(out, summary)
    if as_json:
        print(json_text(summary))
    else:
        _print(summary, Console())
    return summary


def _load(config: RunConfig, task: Task, run: Path) -> UnitState:
    found = load_unit(task.unit, run, validated=config.training.validation_devices > 0)
    if found is None:
        raise ConfigError("RUN", str(run), f"it has no checkpoint of {task.unit.name} yet; resume it first")
    return found[0]


def _trained(
    config: RunConfig, tasks: Sequence[Task], states: Mapping[str, UnitState]
) -> dict[str, dict[str, Trained]]:
    """scenario -> row name -> all training seeds of an agent."""
    table: dict[str, dict[str, Trained]] = {}
    for task in tasks:
        unit = task.unit
        learnt = unit.learnt(states[unit.name])
        row = Trained(LABELS[task.agent_name], unit.algorithms[0], learnt, unit.plan.independent)
        table.setdefault(task.scenario, {})[f"trained_{task.agent_name}"] = row
    return table


def _summary(
    config: RunConfig, settings: Mapping[str, Setting], exports: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The first setting's policies on top, all settings below, what holds over all of them, the export, the machine."""
    details = {name: summarise(rows) for name, rows in settings.items()}
    first = next(iter(details))
    return {
        "config": config_hash(config),
        "setting": first,
        **details[first],
        "settings": details,
        "aggregate": aggregate(settings),
        "export": dict(next(iter(exports.values()), {})),
        "backend": describe_backend(),
        "precision": describe_precision(),
    }


def _print(summary: Mapping[str, Any], console: Console) -> None:
    if not console.is_terminal:
        console = Console(width=200)
    for name, details in summary["settings"].items():
        console.print(render(name, details))
    if summary["aggregate"]:
        console.print(render_aggregate(summary["aggregate"]))


# ------------------------------------------------------------------------------------------- export


def export_run(
    run: Path | str,
    out: Path | str,
    agent: str | None = None,
    scenario: str | None = None,
    best: bool = False,
    learner: int | None = None,
) -> dict[str, Any]:
    """Write the bundle of a trained policy: the training seed with the best validation, as it was at the end.

    Args:
        run: run folder.
        out: folder of the bundle; only an older bundle may be there.
        agent: name of the algorithm; the first one of the configuration if not given.
        scenario: where it was trained; the first one of the configuration if not given.
        best: as it was when it validated best, instead of at the end.
        learner: the device whose policy it is, where every device has a learner of its own; the first if not given.

    Returns:
        the parity of the bundle with JAX.

    Raises:
        ConfigError: the run has no such policy.
    """
    folder = open_run(run)
    config = load_config(folder.config)
    tasks = build_tasks(config)
    names, scenarios = [name for name, _ in config.agents.named()], config.problem.scenarios
    if agent is not None and agent not in names:
        raise ConfigError("--agent", agent, f"this run has {', '.join(names)}")
    if scenario is not None and scenario not in scenarios:
        raise ConfigError("--scenario", scenario, f"this run has {', '.join(scenarios)}")
    wanted = (agent or names[0], scenario or scenarios[0])
    task = next(task for task in tasks if (task.agent_name, task.scenario) == wanted)
    state = _load(config, task, folder.path)
    seed = _best_seed(folder.path, task.unit)
    if best:
        seed = _ever_best_seed(state, folder.path)
    learnt = _one_learner(task.unit, _learnt(task.unit, state, seed, best), learner)
    parity = _export(config, task, seed, learnt, folder.path, Path(out))
    Console().print(
        f"{out}: {task.unit.name}, agrees with JAX on {parity['observations']} observations "
        f"(largest difference {parity['max_abs_diff']:.1e}, "
        f"same decision {parity['decision_agreement']:.2%})",
        soft_wrap=True,
    )
    return parity


def _ever_best_seed(state: UnitState, run: Path) -> int:
    """Index of the training seed whose policy validated best at any time."""
    if state.best is None:
        raise ConfigError("--best", str(run), "this run had no validation (training.validation_devices: 0)")
    return int(np.argmax(np.asarray(state.best.reward)))


def _learnt(unit: Unit, state: UnitState, seed: int, best: bool) -> Any:
    """What a training seed has learnt, at the end or when it validated best."""
    if not best:
        return unit.member(state, seed).agent
    assert state.best is not None
    return jax.tree.map(lambda leaf: leaf[seed], state.best.learnt)


def _one_learner(unit: Unit, learnt: Any, learner: int | None) -> Any:
    """The learner of one device where each has its own."""
    devices = unit.problems[0].params.devices
    if learner is not None and not (unit.plan.independent and 0 <= learner < devices):
        allowed = f"devices 0 to {devices - 1}" if unit.plan.independent else "this run has one learner for all devices"
        raise ConfigError("--learner", learner, allowed)
    return jax.tree.map(lambda leaf: leaf[learner or 0], learnt) if unit.plan.independent else learnt


def _export(config: RunConfig, task: Task, seed: int, learnt: Any, run: Path, out: Path) -> dict[str, Any]:
    """Write the bundle of what a training seed has learnt, and measure its parity."""
    unit = task.unit
    problem, agent = unit.problems[seed], unit.algorithms[seed]
    low = np.asarray([feature.low for feature in problem.features], np.float32)
    high = np.asarray([feature.high for feature in problem.features], np.float32)

    @jax.jit
    def outputs(observation: jax.Array) -> jax.Array:
        return agent.outputs(learnt, problem.normalise(observation))

    observations = parity_observations(outputs, low, high, seed=unit.seeds[seed])
    source = PolicySource(
        layers=[(np.asarray(layer.kernel), np.asarray(layer.bias), layer.activation) for layer in agent.layers(learnt)],
        normaliser_shift=low,
        normaliser_scale=high - low,
        observation=[ObservedQuantity(f.name, f.unit, f.low, f.high) for f in problem.features],
        decisions=problem.decisions,
        algorithm=task.agent_name,
        output=OUTPUTS[task.agent_name],
        provenance=_origin(config, task, seed, run),
        selftest_observations=observations[:: len(observations) // SELFTEST_ROWS][:SELFTEST_ROWS],
    )
    write_bundle(out, source, overwrite=out.exists())
    parity = measure_parity(load_policy(out), outputs, observations)
    record_parity(out, parity)
    return parity


def _origin(config: RunConfig, task: Task, seed: int, run: Path) -> dict[str, Any]:
    """What a bundle says of where it came from."""
    known, chosen = json.loads((run / "provenance.json").read_text(encoding="utf-8")), config.problem
    return {
        "config": config_hash(config),
        "problem": f"{chosen.name}/{chosen.variant}/{chosen.workload_name(chosen.usual_mix)}",
        "scenario": task.scenario,
        "seed": task.unit.seeds[seed],
        "versions": known.get("versions"),
        "git": known.get("git"),
        "trained": known.get("started"),
    }


def _best_seed(run: Path, unit: Unit) -> int:
    """Index of the training seed with the best last validation; the first where there was none."""
    rows = read_metrics(run).to_pylist()
    values = {
        row["seed"]: (row["round"], row["value"])
        for row in sorted(rows, key=lambda row: row["round"])
        if row["run"] == unit.name and row["name"] == "validation_reward"
    }
    return max(range(len(unit.seeds)), key=lambda i: values.get(unit.seeds[i], (0, -np.inf))[1])


# ------------------------------------------------------------------------------------------- report


def _report(
    config: RunConfig, run: RunFolder, settings: Mapping[str, Setting], summary: Mapping[str, Any]
) -> dict[str, Any]:
    """What the report page shows."""
    provenance = json.loads(run.provenance.read_text(encoding="utf-8"))
    tasks = build_tasks(config)
    return {
        "title": f"{run.path.name}: {config.problem.name}",
        "subtitle": f"{config.problem.variant}, {config.problem.devices:,} devices in training, "
        f"{config.evaluation.seeds} held-out worlds of {config.evaluation.devices} devices",
        "provenance": {
            "started": str(provenance.get("started")),
            "versions": ", ".join(f"{name} {version}" for name, version in provenance["versions"].items()),
            "commit": str((provenance.get("git") or {}).get("commit", "not in a checkout")),
            "backend": _backend_line(provenance),
            "precision": _precision_line(provenance),
            "config": summary["config"],
        },
        "config_yaml": run.config.read_text(encoding="utf-8"),
        "settings": [_report_setting(config, name, rows, summary) for name, rows in settings.items()],
        "aggregate": summary["aggregate"],
        "decision_names": list(tasks[0].unit.problems[0].decisions),
        "training": [_report_training(config, task, run) for task in tasks],
        "export": {"policy": summary["export"]} if summary["export"] else {},
    }


def _backend_line(provenance: Mapping[str, Any]) -> str:
    backend = provenance["backend"]
    return f"{backend['name']}, {backend['devices']} x {device_name(backend)}, processes: {backend['processes']}"


def _precision_line(provenance: Mapping[str, Any]) -> str:
    precision = provenance["precision"]
    wide = "on" if precision["x64"] else "off"
    return f"{precision['parameters']}, matrix products: {precision['matmul']}, 64 bits: {wide}"


def _report_setting(config: RunConfig, name: str, rows: Setting, summary: Mapping[str, Any]) -> dict[str, Any]:
    mix, scenario = name.split("/", 1)
    details = summary["settings"][name]
    policies = {
        key: row | (curves(rows.results[key]) if key in (*CURVE_ROWS, rows.reference_row) else {})
        for key, row in details["policies"].items()
    }
    used = next(s for s in (*config.evaluation.scenarios, *config.problem.scenarios) if Path(s).stem == scenario)
    own = config.find_scenario(used)
    return {
        "key": name,
        "title": f"{_title(config.problem.workload_name(mix))}, {scenario}",
        "description": own.description if own else nieto2024.SCENARIO_NOTES[scenario],
        "reference": details["reference"],
        "reference_note": details["reference_note"],
        "windows": [
            {"label": label, "start": start, "stop": stop}
            for what in ("mec", "cloud", "link", "backhaul", "backup")
            for label, spans in _labelled(what, getattr(_outages(config, used), what))
            for start, stop in spans
        ],
        "policies": policies,
    }


def _title(workload: str) -> str:
    """What a setting's tasks are called in a heading."""
    return f"{workload} mix" if workload in nieto2024.MIXES else workload.replace("_", " ")


def _outages(config: RunConfig, scenario: str) -> Scenario:
    """What fails in a scenario, of a file or of the paper's."""
    own = config.find_scenario(scenario)
    if own is not None:
        return make_scenario(own)
    assert isinstance(config.problem, Nieto2024Config)  # the one with built-in scenarios
    return nieto2024.PRESETS[config.problem.preset].scenarios[scenario]


def _labelled(what: str, spans: Any) -> list[tuple[str, Any]]:
    """Outages of all cells, or of some, each with what it says in a chart."""
    if isinstance(spans, Mapping):
        return [(f"{what} down, cell {cell}", own) for cell, own in spans.items()]
    return [(f"{what} down", spans)]


def _report_training(config: RunConfig, task: Task, run: RunFolder) -> dict[str, Any]:
    """Learning curves over training seeds: interquartile mean and 95 % interval at every validation."""
    table = read_metrics(run.path).to_pylist()
    rows = [row for row in table if row["run"] == task.unit.name]
    slots = sorted({row["slot"] for row in rows if row["name"] == "validation_reward"})

    def band(name: str) -> dict[str, list[float]]:
        values = {(row["seed"], row["slot"]): row["value"] for row in rows if row["name"] == name}
        by_seed = [[values[seed, slot] for slot in slots] for seed in task.unit.seeds]
        return learning_curve(np.asarray(by_seed)).to_dict()

    return {
        "algorithm": f"trained_{task.agent_name}",
        "label": LABELS[task.agent_name],
        "setting": _setting_name(config, config.problem.usual_mix, task.scenario),
        "seeds": len(task.unit.seeds),
        "slot": slots,
        "reward": band("validation_reward"),
        "regret": band("validation_regret"),
    }


def train(config: RunConfig | str | Path, out: Path | str) -> RunFolder:
    """Train a configuration, or the YAML file of one, in the new folder ``out``; see :func:`train_run`."""
    return train_run(config if isinstance(config, RunConfig) else load_config(config), out)


def evaluate(policy: Any, problem: Any, *, seeds: int = 10, slots: int | None = None) -> dict[str, Any]:
    """Hold one policy against the baselines and the reference of a problem.

    Args:
        policy: anything with ``decide(problem, state, observation, key) -> places [D] int8``.
        problem: from ``offjax.problems``.
        seeds: held-out worlds.
        slots: length of an episode; the problem's horizon if not given.

    Returns:
        the summary; the policy's own row is ``policy``.
    """
    keys = keys_of(10_000, seeds, Purpose.EVALUATE)
    horizon = int(problem.horizon) if slots is None else slots
    rows = evaluation.evaluate(problem, keys, horizon, own={"policy": policy})
    return summarise(evaluation.completed(rows))
