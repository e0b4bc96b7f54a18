"""A setting as plain data: for ``summary.json``, for the tables and for the report page."""

from typing import Any

import numpy as np

from offjax.evaluation.metrics import SMOOTHING, Result
from offjax.evaluation.setting import Setting
from offjax.evaluation.statistics import estimate

QUANTITIES = ("reward", "regret", "success", "energy_j", "latency_s", "battery_j", "score")

REFERENCE_NOTES = {
    "exact": "the best place of every task; no decision touches a later reward, so nothing does better",
    "clairvoyant": "every joule priced so that each battery just lasts; it misses the optimum by at most {gap:.1e} "
    "reward per task",
    "best_response": "nobody of a cell would do better elsewhere in this slot, the others staying; {settled:.1%} of "
    "the slots looked at ended in such an equilibrium, after {rounds:.1f} rounds in the mean; together they may do "
    "better",
    "myopic": "the best place of every task as if nobody else were there and nothing changed; batteries, waiting or "
    "others tie tasks together here, so a policy may do better",
}


def summarise(setting: Setting) -> dict[str, Any]:
    """Reference, and every policy's quantities with intervals, shares and latency parts."""
    note = REFERENCE_NOTES[setting.reference].format(gap=setting.gap, settled=setting.settled, rounds=setting.rounds)
    return {
        "reference": setting.reference,
        "reference_policy": setting.reference_row,
        "reference_note": note,
        "reference_gap": setting.gap,
        "policies": {name: summarise_policy(row) for name, row in setting.results.items()},
    }


def summarise_policy(row: Result) -> dict[str, Any]:
    """One row: ``{"mean", "ci95"}`` of every quantity, where its time and its tasks went, and all that by profile."""
    numbers = {name: row.estimate(name).to_dict() for name in QUANTITIES if name in row.samples}
    by_profile = {name: summarise_policy(own) for name, own in row.profiles.items()}
    return {
        "label": row.label,
        "kind": row.kind,
        **numbers,
        "latency_parts_s": {part: value.to_dict() for part, value in row.parts.items()},
        "drops": {cause: value.to_dict() for cause, value in row.drops.items()},
        "late": row.late.to_dict(),
        "decisions": row.decisions,
        **({"profiles": by_profile} if by_profile else {}),
    }


def curves(row: Result) -> dict[str, Any]:
    """Battery and reward over the slots of an episode, smoothed as the paper smooths; intervals over seeds."""
    reward, battery = row.curves["reward"], row.curves["battery"]
    slots = (np.arange(reward.shape[-1]) * SMOOTHING).tolist()
    estimates = [estimate(column) for column in reward.T]
    return {
        "battery_curve": {"slot": slots, "joules": battery.mean(axis=0).tolist()},
        "reward_curve": {
            "slot": slots,
            "reward": [e.mean for e in estimates],
            "low": [e.mean - e.ci95 for e in estimates],
            "high": [e.mean + e.ci95 for e in estimates],
        },
    }
