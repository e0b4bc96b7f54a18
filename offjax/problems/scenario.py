"""What happens to a world and when, as plain data in SI units, and the schedule made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp

from offjax.errors import ConfigError
from offjax.world import Schedule, Steps, Windows, no_steps, steps, windows

Spans = Sequence[tuple[int, int]]
Changes = Sequence[tuple[int, float]]
ROWS = 4  # spans that every schedule has room for: scenarios of one shape share one compiled program


@dataclass(frozen=True)
class Scenario:
    """What fails when: spans of slots [start, stop), and changes (slot, value from there on), counted from 0.

    Spans of a link are for all cells, or by the index of the cell.
    """

    mec: Spans = ()  # the edge server has no free resources
    cloud: Spans = ()  # the cloud server is down
    link: Spans | Mapping[int, Spans] = ()  # the radio link is lost
    backhaul: Spans | Mapping[int, Spans] = ()  # the link to the cloud is cut
    backup: Spans | Mapping[int, Spans] = ()  # the redundant link to the cloud is cut
    mec_load: Changes = ()  # share of the edge servers that others take
    cloud_load: Changes = ()  # share of the cloud server that others take
    traffic: Changes = ()  # virtual devices with background traffic in every cell
    traffic_rate: float = 10e6  # bit/s of each
    delay: Changes = ()  # s, mean extra delay of an offloaded task
    jitter: Changes = ()  # s, standard deviation of that delay
    correlation: float = 0.0  # of the delays of one device, task to task
    redundant: bool = False  # is there a second link to the cloud?
    backup_rate: float | None = None  # bit/s of it, that of the first link if not given
    backup_delay: float | None = None  # s both ways together, that of the first link if not given
    failover: int = 0  # slots until it takes over
    outage: str = "drop"  # or "stall": what a task does whose next phase is down
    timeout: float = 0.0  # s that it may stand still

    @property
    def impaired(self) -> bool:
        """Is there any extra delay?"""
        return bool(self.delay or self.jitter)


def make_schedule(scenario: Scenario, cells: int, cloud: Sequence[bool]) -> Schedule:
    """The schedule of a world of so many ``cells``; what happens to a kind of server happens to each of its servers.

    Args:
        scenario: what happens.
        cells: A.
        cloud: [Z] is this server behind the backhaul?

    Raises:
        ConfigError: spans of a cell that is not there.
    """
    return Schedule(
        link=_by_cell("link", scenario.link, cells),
        backhaul=_by_cell("backhaul", scenario.backhaul, cells),
        backup=_by_cell("backup", scenario.backup, cells) if scenario.backup else windows([[]]),
        server=windows([list(scenario.cloud if behind else scenario.mec) for behind in cloud], least=ROWS),
        load=_steps([scenario.cloud_load if behind else scenario.mec_load for behind in cloud]),
        traffic=_steps([scenario.traffic]),
        traffic_rate=jnp.asarray(scenario.traffic_rate if scenario.traffic else 0.0, jnp.float32),
        delay=_steps([scenario.delay]),
        jitter=_steps([scenario.jitter]),
        correlation=jnp.asarray(scenario.correlation, jnp.float32),
        failover=jnp.asarray(scenario.failover, jnp.int32),
        timeout=jnp.asarray(scenario.timeout, jnp.float32),
    )


def _by_cell(name: str, spans: Spans | Mapping[int, Spans], cells: int) -> Windows:
    if not isinstance(spans, Mapping):
        return windows([list(spans)], least=ROWS)
    for cell in spans:
        if not 0 <= cell < cells:
            raise ConfigError(f"scenario.{name}", cell, f"a cell of this fleet, 0 to {cells - 1}")
    return windows([list(spans.get(cell, ())) for cell in range(cells)], least=ROWS)


def _steps(rows: Sequence[Changes]) -> Steps:
    return steps([list(changes) for changes in rows]) if any(rows) else no_steps(len(rows))
