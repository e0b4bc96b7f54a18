"""One decision of every device: the slots that it spans, and what ended in them."""

from typing import Any

import jax
import jax.numpy as jnp

from offjax import world
from offjax.errors import ConfigError
from offjax.problems.spec import Problem
from offjax.world import checks


def decide(
    problem: Problem, before: world.State, place: jax.Array, key: jax.Array, slots: int = 1
) -> tuple[world.State, jax.Array, dict[str, jax.Array]]:
    """Run ``slots`` slots under a decision that is read in the first of them.

    A task that comes later waits for the next decision.

    Args:
      problem: of D devices.
      before: the world at the start of the first slot.
      place: [D] integer, where the task of each device that asks runs.
      key: what the slots draw from.
      slots: that one decision takes.

    Returns:
      the world after them, the reward [D] of all of them, and ``info`` of arrays [D], for the task that ended in
      them: ``busy`` bool, the device was not asking and ``place`` was ignored; ``battery`` J that is left;
      ``success`` bool, ended in time; ``latency`` s; ``energy`` J; ``end`` int32, a :class:`offjax.world.End`,
      0 where no task ended.
    """
    unanswered = jnp.full((slots - 1, *place.shape), -1, jnp.int8)
    places = jnp.concatenate([place.astype(jnp.int8)[None], unanswered])
    keys = key[None] if slots == 1 else jax.random.split(key, slots)

    def slot(before: world.State, each: tuple[jax.Array, jax.Array]) -> tuple[world.State, Any]:
        return _slot(problem, before, *each)

    after, (reward, ended) = jax.lax.scan(slot, before, (places, keys))
    battery = world.remaining(after.device, problem.params)
    return after, jnp.sum(reward, axis=0), {"busy": ~before.job.asks, "battery": battery, **_summary(ended)}


def decision_steps(problem: Problem, slots: int) -> int:
    """Decisions in an episode of ``problem``, if each takes ``slots`` slots.

    Raises:
      ConfigError: a world that no decision can change, or slots that do not divide the horizon.
    """
    horizon = int(problem.horizon)
    checks.check_structure(problem.params)
    if horizon < 1:
        raise ConfigError("horizon", horizon, "a whole number of slots from 1")
    if slots < 1 or horizon % slots:
        raise ConfigError("slots_per_decision", slots, f"a divisor of the horizon, {horizon}")
    return horizon // slots


def _slot(
    problem: Problem, before: world.State, place: jax.Array, key: jax.Array
) -> tuple[world.State, tuple[jax.Array, dict[str, jax.Array]]]:
    """One slot under a decision [D]: the world after it, the reward [D] and what ended."""
    decision = world.Decision(place=place)
    after, outcome = world.advance(before, decision, world.draw(key, problem.params), problem.params)
    over = outcome.result != world.End.NONE
    ended = {
        "latency": jnp.where(over, outcome.latency, 0.0),
        "energy": outcome.energy,
        "end": outcome.result.astype(jnp.int32),
    }
    return after, (problem.reward(outcome, before), ended)


def _summary(ended: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """What ended in a step, from its slots [slots, D]: one decision lets one task end.

    Only a device without battery loses one in every slot: sums then, and one code for all.
    """
    end = jnp.max(ended["end"], axis=0)
    return {
        "success": end == world.End.IN_TIME,
        "latency": jnp.sum(ended["latency"], axis=0),
        "energy": jnp.sum(ended["energy"], axis=0),
        "end": end,
    }
