"""One pure simulator of devices, access points and servers.

``state = init(key, params)``, then ``state, outcome = advance(state, decision, draw(key, params), params)``.
"""

from offjax.world.battery import pay, remaining
from offjax.world.draws import draw
from offjax.world.links import Link, per_device, transmit
from offjax.world.records import (
    DROPS,
    Decision,
    Draws,
    End,
    Fleet,
    Kind,
    Outcome,
    Params,
    Radio,
    Schedule,
    Servers,
    State,
    Steps,
    Update,
    Windows,
)
from offjax.world.schedules import no_steps, steps, windows
from offjax.world.step import advance, init

__all__ = [
    "DROPS",
    "Decision",
    "Draws",
    "End",
    "Fleet",
    "Kind",
    "Link",
    "Outcome",
    "Params",
    "Radio",
    "Schedule",
    "Servers",
    "State",
    "Steps",
    "Update",
    "Windows",
    "advance",
    "draw",
    "init",
    "no_steps",
    "pay",
    "per_device",
    "remaining",
    "steps",
    "transmit",
    "windows",
]
