"""Our own trainers on the clock: a job as JSON in, a JSON line for each seed out.

Started by ``offjax.bench.trainers``. The first line holds what it takes in a fresh process, compilation included; the
others run the same programs again.
"""

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import jax

from offjax.agents import make_agent
from offjax.bench.race import GENERATOR, SETTING, Judge, Race
from offjax.evaluation.rollout import Learned
from offjax.learning import train
from offjax.learning.train import TrainState
from offjax.problems import nieto2024
from offjax.problems.spec import Problem

HORIZON = 2000  # slots of an episode


def rounds(agent: Any, problem: Problem, seed: int, worlds: int) -> Iterator[TrainState]:
    """The state after each round of training; each is there when it is handed over, and gone after the next."""
    plan = train.Plan(HORIZON, worlds)
    state = train.begin(jax.random.key(seed, impl=GENERATOR), agent, problem, plan)
    while True:
        state, _ = train.train_round(agent, problem, state, plan)
        yield jax.block_until_ready(state)


def race(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time to the threshold, from the first line of the problem on.

    Args:
      job: ``agent``, its ``hyper``-parameters, ``worlds``, ``devices`` of each world, ``devices_per_cell``,
        ``threshold``, ``limit`` s, ``seeds``, and ``judge``, arguments of the judge.
    """
    judge = Judge(**job["judge"])
    for index, seed in enumerate(job["seeds"]):
        contest = Race(judge, job["threshold"], job["limit"])
        contest.start()
        agent, problem = _make(job)
        steps = problem.params.devices * job["worlds"]
        for state in rounds(agent, problem, seed, job["worlds"]):
            policy = partial(Learned, agent, state.agent)
            if not contest.goes_on(policy, int(state.slots) * steps, int(state.agent.updates)):
                break
        yield contest.result().to_dict() | {"cold": index == 0}


def work(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time of a fixed number of ``rounds``, without a look at the policy; otherwise as :func:`race`."""
    for index, seed in enumerate(job["seeds"]):
        start = time.perf_counter()
        agent, problem = _make(job)
        *_, state = islice(rounds(agent, problem, seed, job["worlds"]), job["rounds"])
        seconds, steps = time.perf_counter() - start, int(state.slots) * problem.params.devices * job["worlds"]
        yield {"cold": index == 0, "seconds": seconds, "steps": steps, "updates": int(state.agent.updates)}


def _make(job: dict[str, Any]) -> tuple[Any, Problem]:
    cells = {"devices": job["devices"], "devices_per_cell": job["devices_per_cell"]}
    return make_agent(job["agent"], **job["hyper"]), nieto2024.make(**cells, **SETTING)


def main() -> None:
    """Read the job from standard input, print its results."""
    job = json.loads(sys.stdin.readline())
    for line in (work if "rounds" in job else race)(job):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
