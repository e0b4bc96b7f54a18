"""Fig. 2, Fig. 3 and table 2c: scores are what the page says, and claims follow the curves, whichever way they go."""

from pathlib import Path

import numpy as np
import pytest

from offjax.config.paper_a import PaperAConfig, load_paper_a
from offjax.errors import ConfigError
from offjax.paper_a import learning_curves, shares, table_2c
from offjax.paper_a.arms import FIDELITY, GENERATORS, LABELS

CONFIG = load_paper_a(Path(__file__).parents[2] / "configs/paper_a.yaml")
CURVES = CONFIG.learning_curves
KS, SEEDS = CURVES.sparsities, CONFIG.seeds


def _curves(levels, rng, delay=0):
    """Rewards [settings, SEEDS, iterations] that rise from -3 to each level a hundred iterations after the start."""
    rise = np.clip((np.arange(CURVES.iterations) - 200 - delay) / 100, 0, 1)
    noise = 0.02 * rng.normal(size=(len(levels), SEEDS, CURVES.iterations))
    return -3 + (np.array(levels)[:, None, None] + 3) * rise + noise


def _numbers(levels, rng, generated=False, updates=1400.0, delay=0):
    reward = _curves(levels, rng, delay)
    shape, periods = reward.shape[:2], CURVES.iterations // CONFIG.generators.fit_period
    fall = np.exp(-np.arange(CURVES.iterations) / 300)
    found = {
        "reward": reward,
        "td_error": np.broadcast_to(0.5 + fall, reward.shape),
        "held_out": np.broadcast_to(0.5 + fall[:: CONFIG.generators.fit_period], (*shape, periods)),
        "updates": np.full(shape, updates),
    }
    made = {"fidelity": np.full((*shape, len(FIDELITY)), 0.9), "fits": np.ones(shape)}
    return found | (made if generated else {})


def _results(gan, thinned, **changes):
    """What the jobs come to where real data earn -1, random decisions -3, and arms what is given for each k."""
    rng = np.random.default_rng(0)
    results = {}
    for job in learning_curves.jobs(CONFIG):
        arm = job.name.split("-")[0]
        levels = [-3.0, -1.0, *thinned] if arm == "thinned" else gan if arm == "gan" else [-1.5] * len(KS)
        own = _numbers(levels, rng, arm in GENERATORS, **(changes if arm == "gan" else {}))
        count = CURVES.seeds_per_job if arm in GENERATORS else SEEDS
        results[job.name] = {name: values[:, :count] for name, values in own.items()}
    return results


def _claims(*args, **changes):
    found = learning_curves.gather(CONFIG, _results(*args, **changes))
    return {claim.claim: claim for claim in learning_curves.claims(CONFIG, found)}


GOOD, BAD = -1.02, -2.0  # scores of 0.99 and of 0.5


def test_claims_follow_the_curves():
    claims = _claims([GOOD] * 3 + [BAD] * 3, [GOOD] * 2 + [BAD] * 4, delay=50)
    assert all(claims[row].holds for row in (36, 37, 39, 40, 41, 42, 43, 50))
    assert claims[42].measured == 15
    assert claims[42].ci95 == (15, 15)
    assert "first fails to converge at 1/15, thinned data alone at 1/10" in claims[42].reason
    np.testing.assert_allclose(claims[41].measured, 0.99, atol=0.01)
    np.testing.assert_allclose(claims[50].measured, 0.49 / 6, atol=0.01)
    np.testing.assert_allclose(_claims([GOOD] * len(KS), [GOOD] * len(KS), delay=50)[40].measured, 50, atol=8)


def test_claims_fail_where_the_curves_do():
    claims = _claims([BAD] * len(KS), [GOOD] * len(KS), updates=1399.0)
    assert not any(claims[row].holds for row in (36, 37, 41, 42, 50))
    assert claims[42].measured == KS[0]
    assert claims[50].measured < -0.4
    claims = _claims([GOOD] * len(KS), [GOOD] * len(KS), delay=-50)
    assert not claims[40].holds, "real data are not the fastest"
    assert not claims[42].holds, "it converges at every k of the list"


def test_a_score_is_the_way_from_random_decisions_to_real_data():
    found = learning_curves.gather(CONFIG, _results([-3.0, -2.0, -1.0, 0.0, -1.0, -1.0], [-1.0] * len(KS)))
    scores = learning_curves.scores(CONFIG, found, "gan")
    assert scores.shape == (len(KS), SEEDS)
    np.testing.assert_allclose(scores.mean(axis=1), [0, 0.5, 1, 1.5, 1, 1], atol=0.01)


def test_the_break_point_has_an_interval():
    """Seeds that disagree at one k widen it to the next; where everything converges it has no end."""
    steady, split = np.full(SEEDS, 0.99), np.where(np.arange(SEEDS) < 1, 0.7, 1.0)
    score = np.stack([steady, split, steady, np.full(SEEDS, 0.2), steady, steady])
    low, high = learning_curves.break_interval(CONFIG, score)
    assert (low, high) == (KS[1], KS[3])
    assert np.isnan(learning_curves.break_interval(CONFIG, np.full((len(KS), SEEDS), 0.99))).all()


def test_the_figures_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("offjax.paper_a.drawing.REPLICATES", 20)
    results = _results([GOOD] * len(KS), [GOOD] * len(KS))
    learning_curves.draw(CONFIG, results, tmp_path)
    for name in ("fig2", "fig2_scores", "fig3", "fidelity"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        assert len((tmp_path / f"{name}.csv").read_text().splitlines()) > 10
    header, *rows = (tmp_path / "fig2_scores.csv").read_text().splitlines()
    assert header == "arm,k,score,low,high,above thinned data,above_low,above_high,converged"
    cells = [row.split(",") for row in rows]
    assert [row[:2] for row in cells] == [[arm, str(k)] for arm in LABELS for k in KS]
    thinned = {row[1]: float(row[2]) for row in cells if row[0] == "thinned"}
    for row in cells:
        assert float(row[5]) == pytest.approx(float(row[2]) - thinned[row[1]], abs=1e-5)


def test_every_arm_has_its_jobs_and_names_what_it_depends_on():
    jobs = learning_curves.jobs(CONFIG)
    assert [job.name for job in jobs[:4]] == ["thinned", "noise", "relabel", "gan-0"]
    assert len({job.key for job in jobs}) == len(jobs)
    other = CONFIG.model_copy(update={"learning_curves": CURVES.model_copy(update={"converged_score": 0.8})})
    assert [job.key for job in learning_curves.jobs(other)] == [job.key for job in jobs], "a criterion computes nothing"


def _table_results(gan):
    """Rewards of the table: real rows alone -2, what is made -2 but for the GAN's own, and a bit of noise."""
    own, rng = CONFIG.table_2c, np.random.default_rng(0)
    noise = 0.01 * rng.normal(size=SEEDS)
    results = {"references": dict.fromkeys(table_2c.REFERENCES, -3 + noise)}
    for arm in table_2c.PLAIN:
        results[arm] = {"score": np.full((len(own.sparsities) + 1, SEEDS), -2.0) + noise}
    for kind in table_2c.MADE:
        score = np.full((len(own.generator_sparsities), SEEDS, len(table_2c.OPTIONS)), -2.0) + noise[:, None] ** 2
        if kind == "gan":
            score[..., 0] = gan + noise
        shape = (len(own.generator_sparsities), SEEDS)
        results[kind] = {"score": score, "fidelity": np.ones((*shape, 4)), "bias": np.zeros((*shape, 3))}
    return results


@pytest.mark.parametrize(("gan", "holds"), [(-1.5, True), (-2.5, False)])
def test_the_table_says_what_helps(tmp_path, monkeypatch, gan, holds):
    monkeypatch.setattr("offjax.paper_a.drawing.REPLICATES", 50)
    (claim,) = table_2c.draw(CONFIG, _table_results(gan), tmp_path)
    assert (claim.claim, claim.holds) == (50, holds)
    np.testing.assert_allclose(claim.measured, gan + 2.0, atol=0.01)
    lines = (tmp_path / "table_2c.md").read_text().splitlines()
    assert lines[0] == "| what is learnt from | all | 1/5 | 1/10 | 1/20 | 1/50 |"
    (row,) = [line for line in lines if line.startswith("| GAN, generated reward, policy decisions")]
    assert ("**-1.499" in row) == holds
    assert (tmp_path / "table_2c.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ({"gaps": {"edge_down_slots": 23}}, r"gaps\.edge_down_slots: 23 .* below gaps\.edge_period_slots = 23"),
        (
            {"learning_curves": {"iterations": 1550}},
            r"learning_curves\.iterations: 1550 .* multiple of generators\.fit_period = 150",
        ),
        ({"shares": {"sparsity": 7}}, r"shares\.sparsity: 7 .*one of learning_curves\.sparsities = \[2, 5, 10"),
        ({"learning_curves": {"arm_capacity": 63}}, r"learning_curves\.arm_capacity: 63 .*batch_size = 64"),
    ],
)
def test_numbers_that_contradict_each_other(text, line):
    with pytest.raises(ConfigError, match=line):
        PaperAConfig(**text)


def test_shares_are_held_against_the_thinned_data_of_the_same_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr("offjax.paper_a.drawing.REPLICATES", 20)
    levels, rng = np.array([-2.0, -1.5, -1.0, -0.5]), np.random.default_rng(0)
    results = _results([GOOD] * len(KS), [-1.5] * len(KS))
    for job in shares.jobs(CONFIG)[1:]:
        results[job.name] = {"reward": _curves(levels, rng)[:, : CURVES.seeds_per_job]}
    found = shares.scores(CONFIG, results)
    np.testing.assert_allclose(found["thinned"].mean(), 0.75, atol=0.01)
    np.testing.assert_allclose(found["gan"].mean(axis=1), [0.5, 0.75, 1, 1.25], atol=0.01)
    assert shares.draw(CONFIG, results, tmp_path) == []
    rows = [line.split(",") for line in (tmp_path / "shares.csv").read_text().splitlines()[1:]]
    assert len(rows) == len(shares.ARMS) * len(CONFIG.shares.shares)
    np.testing.assert_allclose(float(rows[0][5]), -0.25, atol=0.02)
    assert (tmp_path / "shares.png").stat().st_size > 10_000


def test_a_job_that_serves_two_modules_is_one_job():
    own, other = learning_curves.jobs(CONFIG), shares.jobs(CONFIG)
    assert {job.key for job in own} & {job.key for job in other} == {own[0].key}
