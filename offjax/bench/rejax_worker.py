"""A fixed number of steps of rejax, in an interpreter that has it: a job as JSON in, a JSON line for each seed out.

Started by ``offjax.bench.trainers``. The first line holds what it takes in a fresh process, compilation included; the
others run the same program again. rejax's own evaluations are left out.
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
from rejax import get_algo

from offjax.bench.race import SETTING


def run(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Carry out a job.

    Args:
      job: ``algorithm`` (dqn, ppo), ``steps`` of environments, ``settings`` of rejax, and ``seeds``.
    """
    steps, started = job["steps"], time.perf_counter()
    algorithm = get_algo(job["algorithm"]).create(
        env="nieto2024-v0-legacy", env_params=SETTING, total_timesteps=steps, eval_freq=steps, **job["settings"]
    )
    algorithm = algorithm.replace(eval_callback=lambda *_: (), skip_initial_evaluation=True)
    train = jax.jit(algorithm.train)
    for index, seed in enumerate(job["seeds"]):
        if index:
            started = time.perf_counter()
        state, _ = jax.block_until_ready(train(jax.random.key(seed)))
        seconds = time.perf_counter() - started
        done = int(state.global_step)
        yield {"cold": index == 0, "seconds": seconds, "steps": done, "steps_per_s": done / seconds}


def main() -> None:
    """Read the job from standard input, print its results."""
    import offjax.envs  # noqa: F401 (registers the ids)

    for line in run(json.loads(sys.stdin.readline())):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
