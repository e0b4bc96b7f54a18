"""Fig. 4: the worlds are those that are named, and claims follow what was counted."""

from pathlib import Path

import numpy as np
import pytest

from offjax.config.paper_a import FleetConfig, load_paper_a
from offjax.paper_a import resilience
from offjax.world import End

CONFIG = load_paper_a(Path(__file__).parents[2] / "configs/paper_a.yaml")
FLEET = FleetConfig(tasks=30, before=4, latencies=(0.0, 1.5, 20.0), failures=(2.0, 8.0))
SEEDS, TASKS = 4, 600


def _result(ends):
    """Result of a fleet whose cases all end in the same ways: ``ends`` is a number of tasks by end, for each case."""
    table = np.zeros((len(resilience.cases(FLEET)), SEEDS, len(End)), int)
    for end, counts in ends.items():
        table[..., end] = np.broadcast_to(counts, len(table))[:, None]
    decided = table[..., [End.IN_TIME, End.LATE]].sum(-1)
    return {"ends": table, "arrived": np.full(table.shape[:2], TASKS), "decisions": decided}


def test_the_closed_form():
    """Of ceil(L + S) tasks one is run, and ceil(L) - 1 come while it has no decision."""
    expected = [0, 0, 1 / 2, 11 / 12, 2 / 4]
    np.testing.assert_allclose(resilience.closed_form(np.array([0.0, 0.5, 1.5, 11.5, 2.9]), 0.3), expected)


def test_a_failure_is_in_the_schedule_once():
    found = resilience.cases(FLEET)
    slow, loop, cloud, link = found[:3], found[4], found[5], found[8]
    assert [case.latency for case in slow] == list(FLEET.latencies)
    problems = [
        resilience.make_problem(CONFIG, "periodic", resilience.failing(case, FLEET), 20, FLEET.slots_per_task)
        for case in (slow[0], loop, cloud, link)
    ]
    schedules = [problem.params.schedule for problem in problems]
    spans = {
        name: [(int(own.start[-1, 0]), int(own.stop[-1, 0])) for own in found]
        for name, found in {
            "backhaul": [schedule.backhaul for schedule in schedules],
            "backup": [schedule.backup for schedule in schedules],
            "cloud": [schedule.server for schedule in schedules],
            "link": [schedule.link for schedule in schedules],
        }.items()
    }
    gone, never = (16, 16 + 8 * 4), resilience.FAR
    assert spans["backhaul"] == spans["backup"] == [never, gone, never, never]
    assert spans["cloud"] == [never, never, (16, 16 + 2 * 4), never]
    assert spans["link"] == [never, never, never, gone]


def test_every_place_takes_the_same_time_in_the_constant_world():
    problem = resilience.make_problem(CONFIG, "constant", resilience.training_scenario(100), 20, 4)
    tau, share = CONFIG.resilience.time_between_tasks_s, CONFIG.resilience.service_share
    assert problem.params.workload.cycles_per_bit[0] == pytest.approx(1e6)
    speeds = [*np.unique(problem.params.fleet.speed), *problem.params.servers.speed.tolist()]
    np.testing.assert_allclose(speeds, resilience.UNITS)
    high = {feature.name: feature.high for feature in problem.features}["task_demand"]
    assert float(high) / resilience.UNITS == pytest.approx(share * tau)


def test_claims_follow_the_counts():
    count = len(resilience.cases(FLEET))
    explodes = np.concatenate([[0, 300, 590], np.zeros(count - 3)])
    central = _result({End.NO_DECISION: explodes, End.IN_TIME: TASKS - explodes})
    held = _result({End.IN_TIME: TASKS})
    told = resilience.claim_44(FLEET.latencies, central)
    assert told.holds
    assert told.measured == pytest.approx(590 / 600)
    assert not resilience.claim_44(FLEET.latencies, held).holds
    told = resilience.claim_45(FLEET.latencies, {"constant": held, "periodic": held})
    assert (told.holds, told.basis, told.measured) == (True, "emergent", 0.0)
    form = np.zeros(count)
    form[: len(FLEET.latencies)] = resilience.closed_form(np.asarray(FLEET.latencies), CONFIG.resilience.service_share)
    for shift, holds in ((0.0, True), (0.05, False)):
        waits = np.round(TASKS * np.clip(form + shift, 0, 1)).astype(int)
        own = _result({End.NO_DECISION: waits, End.IN_TIME: TASKS - waits}) | {"base": np.zeros(())}
        told = resilience.claim_38(CONFIG, FLEET.latencies, own)
        assert told.holds == holds
        assert told.measured == pytest.approx(shift, abs=0.002)
    for cause in (End.NO_DECISION, End.BUFFER_FULL, End.SERVER_LOST, End.BATTERY_EMPTY):
        one = _result({cause: np.eye(count, dtype=int)[1], End.IN_TIME: TASKS - 1})
        told = resilience.claim_45(FLEET.latencies, {"constant": held, "periodic": one})
        assert (told.holds, told.basis) == (False, "construction"), "a single task of one cause is enough"
    told = resilience.claim_46(FLEET, {"distributed": held, "centralised": _result({End.IN_TIME: 440})})
    assert told.holds
    undecided = _result({End.IN_TIME: 440, End.NO_DECISION: 160})
    assert not resilience.claim_46(FLEET, {"distributed": undecided, "centralised": undecided}).holds


def test_the_table_has_every_cause_that_occurred():
    config = CONFIG.model_copy(update={"resilience": CONFIG.resilience.model_copy(update={"fleets": (FLEET,)})})
    own = _result({End.IN_TIME: 500, End.NO_DECISION: 90, End.LINK_LOST: 10})
    rows = resilience.table(config, {job.name: own for job in resilience.jobs(config)})
    assert len(rows) == 3 * 2 * len(resilience.cases(FLEET)) * 3
    assert rows[0][:6] == [20, "constant", "centralised", "latency", 0.0, "all"]
    np.testing.assert_allclose(rows[0][6:], [1 / 6, 1 / 6, 1 / 6, 5])
    assert {row[5] for row in rows} == {"all", "no_decision", "link_lost"}


@pytest.mark.slow
def test_the_figures(tmp_path):
    config = CONFIG.model_copy(update={"resilience": CONFIG.resilience.model_copy(update={"fleets": (FLEET,)})})
    own = _result({End.IN_TIME: 500, End.NO_DECISION: 90, End.LINK_LOST: 10}) | {"base": np.asarray(0.02)}
    results = {job.name: own for job in resilience.jobs(config)}
    claims = resilience.draw(config, results, tmp_path)
    assert [claim.claim for claim in claims] == [38, 44, 45, 46]
    assert not any(claim.holds for claim in claims)
    lines = (tmp_path / "fig4.csv").read_text().splitlines()
    assert "20,constant,centralised,latency,0,all,0.166667,0.166667,0.166667,5" in lines
    for name in ("fig4", "fig4_failures", "fig4_devices"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
