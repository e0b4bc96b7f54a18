"""Fig. 2 and Fig. 3: reward and error while the agent learns, from real experiences and from what is made of fewer.

Devices send one of k experiences (SF = k); a share of 1 - 1/k of every batch is generated. An iteration is one task of
each device, and every curve makes as many updates of the same batch size.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.config.paper_a import PaperAConfig
from offjax.evaluation.statistics import REPLICATES, Bounded
from offjax.learning import system
from offjax.learning.cloud import Learner
from offjax.learning.collect import real_rows
from offjax.learning.distributed import Distributed
from offjax.paper_a import arms, systems
from offjax.paper_a.arms import FIDELITY, GENERATORS, LABELS
from offjax.paper_a.claims import Claim
from offjax.paper_a.drawing import draw_band, interval, mean_over_seeds, new_figure, save, write_table
from offjax.paper_a.members import each, keys
from offjax.paper_a.store import Job, Result
from offjax.problems.spec import Problem
from offjax.replay.experience import Experience
from offjax.replay.ring import make_ring, unpack

NAME = "learning_curves"
RUN, HELD_OUT = 11, 12  # purposes of keys
LANE = 40  # devices that a lane counts as: it is mostly learning, and ten lanes are enough for a CPU's cache
ALONE = 400  # the same with a generator: on a CPU one after the other, as products of single matrices are quicker
POINTS = 300  # of a curve that are drawn
SMOOTH = 0.05  # of the iterations: window of what is drawn and of when 90 % are reached

Numbers = dict[str, np.ndarray]


# ----------------------------------------------------------------------------------------------- what is computed


def jobs(config: PaperAConfig) -> list[Job]:
    """Real, random and thinned data in one job, the controls in one each, the generators in blocks of seeds."""
    found = [make_job(config, arm, 0, config.seeds) for arm in LABELS if arm not in GENERATORS]
    size = config.learning_curves.seeds_per_job
    for arm in GENERATORS:
        for first in range(0, config.seeds, size):
            found.append(make_job(config, arm, first, min(size, config.seeds - first)))
    return found


def make_job(config: PaperAConfig, arm: str, first: int, seeds: int) -> Job:
    """The job of an arm for ``seeds`` seeds from ``first`` on (of those of the configuration)."""
    own = config.learning_curves
    depends = {
        "arm": arm,
        "first": config.seed + first,
        "seeds": seeds,
        **{name: getattr(config, name).model_dump(mode="json") for name in ("system", "gaps", "generators")},
        "learning_curves": own.model_dump(mode="json", exclude={"converged_score", "converged_share", "seeds_per_job"}),
    }
    lanes = len(settings(config, arm)) * seeds
    cost = lanes * own.iterations * (3e-4 + _fit_seconds(config, arm) / config.generators.fit_period)
    name = f"{arm}-{first}" if arm in GENERATORS else arm
    return Job(NAME, name, depends, cost, partial(compute, config, arm, config.seed + first, seeds))


def _fit_seconds(config: PaperAConfig, arm: str) -> float:
    """Roughly, with the rows that are made after it, on two cores."""
    own = config.generators
    if arm not in GENERATORS:
        return 0.0
    return 0.4 + 1.6e-2 * own.gan_steps if arm == "gan" else 2e-4 * own.pool + 9e-3 * own.flow_steps


def settings(config: PaperAConfig, arm: str) -> list[tuple[int, bool]]:
    """(k, are decisions random?) of an arm; the thinned one has the two references before its own."""
    own = [(k, False) for k in config.learning_curves.sparsities]
    return [(1, True), (1, False), *own] if arm == "thinned" else own


def compute(config: PaperAConfig, arm: str, first: int, seeds: int) -> Result:
    """Curves of an arm: leaves [settings, seeds, ...]."""
    own, chosen = config.learning_curves, settings(config, arm)
    problem = arms.problem_with_gaps(config, own.devices, own.iterations)
    held_out = held_out_rows(config)
    numbers = [(jnp.float32(k), jnp.float32(random)) for k, random in chosen]
    return dict(
        each(
            partial(lane, config, problem, arm, held_out),
            ALONE if arm in GENERATORS else LANE,
            numbers,
            keys(first, seeds, RUN),
        )
    )


def held_out_rows(config: PaperAConfig) -> Experience:
    """Real experiences of another seed's world under random decisions, which nobody learns from."""
    own = config.learning_curves
    problem = arms.problem_with_gaps(config, 64, own.iterations)
    rows = jnp.asarray(real_rows(problem, keys(config.seed, 1, HELD_OUT)[0], own.held_out))
    return unpack(make_ring(1, len(problem.features)), rows, jnp.ones(len(rows), bool))


def architecture(
    config: PaperAConfig, problem: Problem, arm: str, k: Any, random: Any, share: Any = None
) -> Distributed:
    """The system of an arm: one of ``k`` experiences is sent; with ``random`` decisions it learns nothing.

    Args:
        config: the experiments.
        problem: of the run.
        arm: of ``arms.LABELS``.
        k: a number.
        random: 0 or 1.
        share: of a batch that is generated; 1 - 1/k if not given.
    """
    own = config.learning_curves
    agent = systems.ddqn(
        config.system,
        gamma=own.gamma,
        reward_scale=own.reward_scale,
        learning_rate=config.system.learning_rate * (1.0 - random),
        epsilon_final=jnp.maximum(config.system.epsilon_final, random),
    )
    learner = Learner(
        agent,
        augment=arms.augment(config, problem, arm),
        weights_period=config.system.weights_period,
        generated_share=1.0 - 1.0 / k if share is None else share,
        learning_starts=own.learning_starts,
        brm_capacity=own.brm_capacity,
        arm_capacity=own.arm_capacity,
        fit_period=config.generators.fit_period,
    )
    return Distributed(learner, sending_period=k)


def lane(
    config: PaperAConfig, problem: Problem, arm: str, held_out: Experience, numbers: tuple[Any, ...], key: jax.Array
) -> dict[str, jax.Array]:
    """One run, to be traced: reward and error of every iteration, held-out error of every period.

    Args:
        config: the experiments.
        problem: of the run.
        arm: of ``arms.LABELS``.
        held_out: experiences that nobody learns from.
        numbers: from k on, those of :func:`architecture`.
        key: typed random key.
    """
    own, period, k = config.learning_curves, config.generators.fit_period, numbers[0]
    made = architecture(config, problem, arm, *numbers)
    state = system.init(key, made, problem)
    # Devices do not send in step: their counters start evenly spread over the k tasks.
    spread = 1 + jnp.floor(jnp.arange(own.devices) * k / own.devices).astype(jnp.int32)
    state = state.replace(counter=spread)

    def one(state: Any, _: None) -> tuple[Any, tuple[Any, jax.Array]]:
        state, report = system.run(made, problem, state, period)
        error = jnp.mean(jnp.abs(made.learner.agent.error(state.learner.learnt, held_out)))
        return state, (report, error)

    state, (report, error) = jax.lax.scan(one, state, length=own.iterations // period)
    found = {
        "reward": report.reward.reshape(-1) / own.devices,
        "td_error": report.td_error.reshape(-1),
        "held_out": error,
        "updates": jnp.sum(report.trained),
        "sent": jnp.sum(report.experiences.arrived).astype(jnp.float32),
        "spoilt": jnp.sum(report.spoilt).astype(jnp.float32),
    }
    if arm in GENERATORS:
        brm, generated = state.learner.brm, state.learner.generator
        assert brm is not None
        places = jnp.arange(config.generators.pool) % jnp.maximum(brm.size, 1)
        likeness = arms.fidelity(problem, brm.table[places], generated.pool)
        found["fidelity"] = jnp.where(generated.fits > 0, likeness, jnp.nan)  # nothing was made without a fit
        found["fits"] = generated.fits.astype(jnp.float32)
    return found


# ------------------------------------------------------------------------------------------------- what is drawn


def gather(config: PaperAConfig, results: Mapping[str, Result]) -> dict[str, Numbers]:
    """Results by arm, seeds together: leaves [settings, seeds, ...]."""
    found: dict[str, Numbers] = {}
    for arm in LABELS:
        parts = [results[job.name] for job in jobs(config) if job.name.split("-")[0] == arm]
        found[arm] = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    thinned = found["thinned"]
    found["random"], found["real"] = (
        {name: own[place : place + 1] for name, own in thinned.items()} for place in (0, 1)
    )
    found["thinned"] = {name: own[2:] for name, own in thinned.items()}
    return found


def tail(config: PaperAConfig, curves: np.ndarray, end: int = 0) -> np.ndarray:
    """Mean [...] of curves [..., iterations] over the last share, or the one that ends ``end`` shares before."""
    count = curves.shape[-1]
    size = max(round(config.learning_curves.converged_share * count), 1)
    return curves[..., count - size * (end + 1) : count - size * end].mean(axis=-1)


def scores(config: PaperAConfig, found: Mapping[str, Numbers], arm: str) -> np.ndarray:
    """[k, seeds] of an arm's last iterations: 0 = random decisions, 1 = the real data, seed by seed."""
    low, high, own = (tail(config, found[name]["reward"]) for name in ("random", "real", arm))
    return (own - low) / (high - low)


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Any) -> list[Claim]:
    """Fig. 2, its scores, Fig. 3, and fidelity beside the outcome."""
    found = gather(config, results)
    _draw_rewards(config, found, folder)
    _draw_scores(config, found, folder)
    _draw_errors(config, found, folder)
    _draw_fidelity(config, found, folder)
    return claims(config, found)


def smooth(config: PaperAConfig, curves: np.ndarray) -> np.ndarray:
    """Running means [..., iterations - window + 1] of curves [..., iterations]."""
    window = max(round(SMOOTH * curves.shape[-1]), 1)
    total = np.cumsum(np.concatenate([np.zeros_like(curves[..., :1]), curves], axis=-1), axis=-1)
    return (total[..., window:] - total[..., :-window]) / window


def _some(x: np.ndarray, curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every so many points of curves [..., points] over ``x`` [points], the last among them: enough for a figure."""
    step = max(len(x) // POINTS, 1)
    return x[::-step][::-1], curves[..., ::-step][..., ::-1]


def _draw_rewards(config: PaperAConfig, found: Mapping[str, Numbers], folder: Any) -> None:
    """Fig. 2: an axis for each arm, cumulative sums above, the reward of an iteration below."""
    ks = config.learning_curves.sparsities
    figure, axes = new_figure(2, len(LABELS), 3.1 * len(LABELS), 7.2, sharex=True, sharey="row")
    rows: list[list[Any]] = []
    for column, (arm, label) in enumerate(LABELS.items()):
        lines = [("real data", "black", found["real"]["reward"][0]), ("random", "0.6", found["random"]["reward"][0])]
        lines += [(f"1/{k}", f"C{place}", found[arm]["reward"][place]) for place, k in enumerate(ks)]
        for name, colour, reward in lines:
            running, places = smooth(config, reward), np.arange(1, reward.shape[-1] + 1)
            x, sums = _some(places, np.cumsum(reward, axis=-1))
            band = draw_band(axes[0, column], x, sums, name, color=colour)
            draw_band(axes[1, column], *_some(places[-running.shape[-1] :], running), name, color=colour)
            rows += [[arm, name, *row] for row in _table_of(x, band)]
        axes[0, column].set_title(label, fontsize=9)
        axes[1, column].set_xlabel("iteration")
        for axis in axes[:, column]:
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("sum of rewards of a device")
    axes[1, 0].set_ylabel("reward of a task, running mean")
    axes[0, 0].legend(fontsize=7)
    text = f"one of k experiences is sent; {config.seeds} seeds, 95 % bands"
    figure.suptitle(f"Fig. 2: reward while learning; {text}")
    save(figure, folder, "fig2")
    write_table(folder, "fig2", ["arm", "data", "iteration", "sum", "low", "high"], rows)


def _table_of(x: np.ndarray, band: Bounded) -> list[list[Any]]:
    """[iteration, value, low, high] of about fifty points of a band."""
    places = range(len(x) - 1, -1, -max(len(x) // 50, 1))
    return [[int(x[place]), *(float(part[place]) for part in band)] for place in reversed(places)]


def _draw_scores(config: PaperAConfig, found: Mapping[str, Numbers], folder: Any) -> None:
    """Score of the last iterations against k: every arm with its interval, in the table also above thinned data."""
    own = config.learning_curves
    figure, axes = new_figure(1, 1, 7.0, 4.5)
    axis, rows, thinned = axes[0, 0], list[list[Any]](), scores(config, found, "thinned")
    for place, (arm, label) in enumerate(LABELS.items()):
        score = scores(config, found, arm)
        band, above = mean_over_seeds(score.T), mean_over_seeds((score - thinned).T)
        shift = np.asarray(own.sparsities) * (1.0 + 0.02 * (place - 2.5))
        error = [band.value - band.low, band.high - band.value]
        axis.errorbar(shift, band.value, error, marker="o", ms=3, lw=1.2, capsize=2, label=label)
        for k, *numbers in zip(own.sparsities, *band, *above, strict=True):
            rows.append([arm, k, *numbers, int(numbers[1] >= own.converged_score)])
    axis.axhline(own.converged_score, color="black", lw=0.8, ls="--")
    axis.axhline(1.0, color="black", lw=0.8)
    axis.set_xscale("log")
    axis.set_xticks(own.sparsities, [f"1/{k}" for k in own.sparsities])
    axis.minorticks_off()
    axis.set_xlabel("share of the experiences that is sent")
    axis.set_ylabel("score (0 random, 1 real data)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    axis.set_title(f"Reward of the last {own.converged_share:.0%} of the iterations, {config.seeds} seeds", fontsize=10)
    save(figure, folder, "fig2_scores")
    header = ["arm", "k", "score", "low", "high", "above thinned data", "above_low", "above_high"]
    write_table(folder, "fig2_scores", [*header, "converged"], rows)


def _draw_errors(config: PaperAConfig, found: Mapping[str, Numbers], folder: Any) -> None:
    """Fig. 3: TD error of the batches, and of real experiences that nobody learnt from."""
    own, rows = config.learning_curves, list[list[Any]]()
    figure, axes = new_figure(1, 2, 11.0, 4.2, sharey=True)
    lines = [("real data", "black", found["real"], 0)]
    lines += [(f"GAN 1/{k}", f"C{place}", found["gan"], place) for place, k in enumerate(own.sparsities)]
    for name, colour, numbers, place in lines:
        training = smooth(config, numbers["td_error"][place][:, own.learning_starts :])
        start = own.iterations - training.shape[-1] + 1
        held_out = numbers["held_out"][place]
        periods = np.arange(1, held_out.shape[-1] + 1) * config.generators.fit_period
        for axis, x, curves, kind in (
            (axes[0, 0], np.arange(start, own.iterations + 1), training, "batch"),
            (axes[0, 1], periods, held_out, "held out"),
        ):
            shown = _some(x, curves)
            band = draw_band(axis, *shown, name, color=colour)
            rows += [[kind, name, *row] for row in _table_of(shown[0], band)]
    for axis, title in zip(axes[0], ("batches that are learnt from", "held-out real experiences"), strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("iteration")
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=0.0)
    axes[0, 0].set_ylabel("mean size of the TD error (reward)")
    axes[0, 1].legend(fontsize=8, loc="lower left", ncols=2)
    figure.suptitle(f"Fig. 3: error during learning, {config.seeds} seeds, 95 % bands", fontsize=11)
    save(figure, folder, "fig3")
    write_table(folder, "fig3", ["error", "data", "iteration", "td_error", "low", "high"], rows)


def _draw_fidelity(config: PaperAConfig, found: Mapping[str, Numbers], folder: Any) -> None:
    """Every run whose generator was fitted: how like the memory its last pool was, and what its agent came to."""
    titles = ("likeness of columns", "likeness of correlations", "error of the reward", "wrong penalties (share)")
    figure, axes = new_figure(1, len(FIDELITY), 13.0, 3.6, sharey=True)
    rows: list[list[Any]] = []
    for colour, arm in enumerate(GENERATORS):
        score, fidelity, fitted = scores(config, found, arm), found[arm]["fidelity"], found[arm]["fits"] > 0
        for column, title in enumerate(titles):
            axis = axes[0, column]
            axis.scatter(
                fidelity[fitted][:, column], score[fitted], s=9, alpha=0.7, color=f"C{3 + colour}", label=LABELS[arm]
            )
            axis.set_xlabel(title)
            axis.grid(alpha=0.3)
        for place, k in enumerate(config.learning_curves.sparsities):
            for seed in np.flatnonzero(fitted[place]):
                rows.append([arm, k, int(seed), *fidelity[place, seed].tolist(), float(score[place, seed])])
    axes[0, 0].set_ylabel("score (0 random, 1 real data)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    figure.suptitle("Fidelity of the generator against the outcome of learning, one point per run", fontsize=11)
    save(figure, folder, "fidelity")
    write_table(folder, "fidelity", ["arm", "k", "seed", *FIDELITY, "score"], rows)


# -------------------------------------------------------------------------------------------------------- claims


def claims(config: PaperAConfig, found: Mapping[str, Numbers]) -> list[Claim]:
    """Rows 36 to 43 and 50."""
    return [
        *_claims_of_figures(config, found),
        _claim_of_plateau(config, found),
        _claim_of_speed(config, found),
        *_claims_of_sparsity(config, found),
        _claim_of_error(config, found),
        _claim_of_compensation(config, found),
    ]


def _claims_of_figures(config: PaperAConfig, found: Mapping[str, Numbers]) -> list[Claim]:
    """36 and 37: the curves are there, and they are comparable."""
    updates = np.stack([found[arm]["updates"] for arm in ("gan", "flow", "thinned", "noise", "relabel")])
    least, most = float(updates.min()), float(found["real"]["updates"].max())
    equal = bool((updates == most).all())
    text = f"every curve makes {most:.0f} updates" if equal else f"between {least:.0f} and {most:.0f} updates"
    own = (float(len(config.learning_curves.sparsities)), "curves of the GAN")
    return [
        Claim(36, *own, (np.nan, np.nan), config.seeds, equal, "construction", text, "fig2.png"),
        Claim(37, *own, (np.nan, np.nan), config.seeds, equal, "construction", text, "fig3.png"),
    ]


def _claim_of_plateau(config: PaperAConfig, found: Mapping[str, Numbers]) -> Claim:
    """39: with real data the reward rises and then stays; in units of the whole rise."""
    reward = found["real"]["reward"][0]
    start = reward[:, : config.learning_curves.learning_starts].mean(axis=-1)
    before, last = tail(config, reward, 1), tail(config, reward)
    rise, drift = mean_over_seeds(last - start), mean_over_seeds((last - before) / (last - start))
    holds = float(rise.low) > 0 and max(abs(bound) for bound in interval(drift)) < 0.1
    text = (
        f"the reward of a task rises by {float(rise.value):.2f}; from the last but one to the last tenth it changes by "
        f"{float(drift.value):.3f} of that. The sum of negative costs has no maximum: its slope settles"
    )
    return Claim(
        39, float(drift.value), "of the rise", interval(drift), config.seeds, holds, "emergent", text, "fig2.png"
    )


def speed(config: PaperAConfig, found: Mapping[str, Numbers], arm: str) -> np.ndarray:
    """[settings, seeds] iterations until the running mean has come to the score of convergence; all if never."""
    reward = smooth(config, found[arm]["reward"])
    low, high = (tail(config, found[name]["reward"])[..., None] for name in ("random", "real"))
    reached = (reward - low) / (high - low) >= config.learning_curves.converged_score
    first = np.where(reached.any(axis=-1), reached.argmax(axis=-1), reward.shape[-1])
    return first + config.learning_curves.iterations - reward.shape[-1]


def _claim_of_speed(config: PaperAConfig, found: Mapping[str, Numbers]) -> Claim:
    """40: real data against every GAN curve, seed by seed."""
    real, gan = speed(config, found, "real")[0], speed(config, found, "gan")
    delays = [mean_over_seeds(own - real) for own in gan]
    later = [float(band.low) > 0 for band in delays]
    sooner = [k for k, band in zip(config.learning_curves.sparsities, delays, strict=True) if float(band.high) < 0]
    mean = mean_over_seeds((gan - real[None]).mean(axis=0))
    text = (
        f"real data take {real.mean():.0f} iterations to a score of {config.learning_curves.converged_score:g} (a run "
        f"that never gets there counts all); "
        f"the GAN takes longer beyond the interval at {sum(later)} of {len(later)} k"
        + (f", and less at k = {', '.join(map(str, sooner))}" if sooner else "")
    )
    holds = not sooner and float(mean.low) > 0
    return Claim(
        40, float(mean.value), "iterations more", interval(mean), config.seeds, holds, "emergent", text, "fig2.png"
    )


def _claims_of_sparsity(config: PaperAConfig, found: Mapping[str, Numbers]) -> list[Claim]:
    """41 and 42: where the GAN's agent still converges."""
    own = config.learning_curves
    band = mean_over_seeds(scores(config, found, "gan").T)
    good = band.low >= own.converged_score
    five = own.sparsities.index(5) if 5 in own.sparsities else 0
    most = own.iterations // config.generators.fit_period * config.generators.gan_steps
    told = (
        f"lower end of the 95 % interval of the score against {own.converged_score:g}; at most {most} steps of the GAN"
    )
    at_five = (float(band.low[five]), float(band.high[five]))
    reached = bool(good[five])
    rows = [
        Claim(
            41,
            float(band.value[five]),
            f"score at 1/{own.sparsities[five]}",
            at_five,
            config.seeds,
            reached,
            "emergent",
            told,
            "fig2_scores.png",
        )
    ]
    broken = [k for k, is_good in zip(own.sparsities, good, strict=True) if not is_good]
    first = broken[0] if broken else None
    thinned = mean_over_seeds(scores(config, found, "thinned").T).low >= own.converged_score
    without = [k for k, is_good in zip(own.sparsities, thinned, strict=True) if not is_good]
    text = (
        f"the GAN's agent first fails to converge at 1/{first}"
        if first
        else "the GAN's agent converges at every k of the list"
    ) + (f", thinned data alone at 1/{without[0]}" if without else ", and so it does on thinned data alone")
    holds = first is not None and first > 10
    value = float(first) if first else float("nan")
    spread = break_interval(config, scores(config, found, "gan"))
    rows.append(Claim(42, value, "k", spread, config.seeds, holds, "emergent", text, "fig2_scores.png"))
    return rows


def break_interval(config: PaperAConfig, score: np.ndarray) -> tuple[float, float]:
    """95 % interval of the first k that does not converge, from means of resampled seeds less the width of the bands.

    Args:
        config: the experiments.
        score: [k, seeds].

    Returns:
        two values of the list of k, or NaN for an end where every k converges.
    """
    own, seeds, band = config.learning_curves, score.shape[1], mean_over_seeds(score.T)
    drawn = np.random.default_rng(config.seed).integers(seeds, size=(REPLICATES, seeds))
    low = score[:, drawn].mean(axis=-1) - (band.value - band.low)[:, None]  # [k, replicates]
    broken = low < own.converged_score
    first = np.where(broken.any(axis=0), np.asarray(own.sparsities)[broken.argmax(axis=0)], np.inf)
    ends = [float(np.quantile(first, share, method="nearest")) for share in (0.025, 0.975)]
    low_end, high_end = (end if np.isfinite(end) else float("nan") for end in ends)
    return low_end, high_end


def _claim_of_error(config: PaperAConfig, found: Mapping[str, Numbers]) -> Claim:
    """43: batch and held-out error at the end against the start, real data and GAN at the densest k."""
    falls = {}
    for arm in ("real", "gan"):
        own = found[arm]
        training = own["td_error"][0][:, config.learning_curves.learning_starts :]
        early = training[:, : max(training.shape[-1] // 10, 1)].mean(axis=-1)
        falls[f"{arm}, batches"] = 1.0 - tail(config, training) / early
        falls[f"{arm}, held out"] = 1.0 - own["held_out"][0][:, -1] / own["held_out"][0][:, 0]
    bands = {name: mean_over_seeds(values) for name, values in falls.items()}
    text = "; ".join(f"{name} {float(band.value):+.2f}" for name, band in bands.items())
    holds = all(float(band.low) > 0 for band in bands.values())
    main = bands["real, held out"]
    reason = f"share by which the TD error falls: {text}"
    return Claim(43, float(main.value), "share", interval(main), config.seeds, holds, "emergent", reason, "fig3.png")


def _claim_of_compensation(config: PaperAConfig, found: Mapping[str, Numbers]) -> Claim:
    """50: GAN less no GAN at the same k, mean over k; the other arms beside it."""
    thinned = scores(config, found, "thinned")
    gains = {
        arm: mean_over_seeds((scores(config, found, arm) - thinned).mean(axis=0)) for arm in LABELS if arm != "thinned"
    }
    text = "; ".join(f"{LABELS[arm]} {float(band.value):+.3f}" for arm, band in gains.items())
    main = gains["gan"]
    reason = f"score above thinned data at the same k, mean over k: {text}"
    return Claim(
        50,
        float(main.value),
        "score",
        interval(main),
        config.seeds,
        float(main.low) > 0,
        "emergent",
        reason,
        "fig2_scores.png",
    )
