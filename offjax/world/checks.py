"""What a world may be: one clear line for each mistake, before anything is compiled."""

import math
import warnings

import jax
import numpy as np

from offjax.errors import ConfigError
from offjax.world.records import Params, Windows
from offjax.world.sharing import EXACT_CELL

COUPLINGS = ("none", "slot", "exact")
SHARING = ("fixed", "active", "cell")
QUEUES = ("none", "fifo", "ps")
OUTAGES = ("drop", "stall")
NOTHING = np.finfo(np.float32).tiny
UNLIMITED = {"battery", "downlink_rate", "cell_rate", "backhaul_rate", "backup_rate", "timeout", "deadline_fixed"}
LONG_SLOT = 0.2  # of the mean shared phase; the error to expect grows in proportion
ERROR_PER_SLOT = 0.2  # relative error of a mean latency at a slot as long as the phase, load 0.8 (docs/validity.md)


def check(params: Params) -> None:
    """Raise for a world that makes no sense; warn of a slot too long for its coupling.

    Raises:
        ConfigError: naming the field, its value and what is allowed.
    """
    check_structure(params)
    check_numbers(params)
    check_links(params)
    for name in ("link", "backhaul", "backup", "server"):
        check_windows(f"schedule.{name}", getattr(params.schedule, name))
    check_shares(params)


def check_structure(params: Params) -> None:
    """What is fixed before any number is known: counts, and the names of modes."""
    if params.server_count < 1:
        raise ConfigError("servers", 0, "a world needs at least one server")
    if params.devices < 1 or params.access_points < 1 or params.devices % params.access_points:
        raise ConfigError("devices", params.devices, f"a positive multiple of {params.access_points} access points")
    modes: dict[str, tuple[str, ...]] = {
        "coupling": COUPLINGS,
        "uplink": SHARING,
        "downlink": SHARING,
        "outage": OUTAGES,
    }
    for field, allowed in modes.items():
        if getattr(params, field) not in allowed:
            raise ConfigError(field, getattr(params, field), f"one of {', '.join(allowed)}")
    _check_queue(params)
    _check_coupling(params)


def _check_queue(params: Params) -> None:
    if params.queue and len(params.queue) != params.server_count:
        raise ConfigError(
            "queue", params.queue, f"one of {', '.join(QUEUES)} for each of {params.server_count} servers"
        )
    for discipline, cloud in zip(params.queue, params.cloud, strict=False):
        if discipline not in QUEUES:
            raise ConfigError("queue", discipline, f"one of {', '.join(QUEUES)}")
        if cloud and discipline != "none":
            raise ConfigError("queue", discipline, "a cloud server grows with its load: only 'none'")


def _check_coupling(params: Params) -> None:
    shared = [mode for mode in (params.uplink, params.downlink) if mode != "fixed"]
    shared += [discipline for discipline in params.queue if discipline != "none"]
    if params.coupling == "none" and shared:
        raise ConfigError("coupling", "none", f"'slot' or 'exact' where something is shared ({', '.join(shared)})")
    if params.coupling == "exact" and params.cell_size > EXACT_CELL:
        hint = f"with coupling 'exact' at most {EXACT_CELL} devices per access point; use 'slot' for larger cells"
        raise ConfigError("devices_per_cell", params.cell_size, hint)


def check_numbers(params: Params) -> None:
    """No number is NaN or negative; only limits may be infinite."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        name = ".".join(str(key.name) for key in path if hasattr(key, "name"))
        values = np.asarray(leaf)
        if values.dtype.kind != "f":
            continue
        if np.isnan(values).any():
            raise ConfigError(name, math.nan, "a number")
        if (values < 0).any():
            raise ConfigError(name, float(values.min()), "a number >= 0")
        if np.isinf(values).any() and name.rsplit(".", 1)[-1] not in UNLIMITED | {"mean"}:
            raise ConfigError(name, math.inf, "a finite number")
    for name, value in (
        ("slot_duration", params.slot_duration),
        ("fleet.speed", params.fleet.speed),
        ("servers.speed", params.servers.speed),
    ):
        if (np.asarray(value) < NOTHING).any():
            raise ConfigError(name, float(np.min(np.asarray(value))), "a number > 0")


def check_links(params: Params) -> None:
    """Every server can be reached."""
    for name in ("backhaul_rate", "backup_rate"):
        for server, rate in enumerate(np.asarray(getattr(params.servers, name))):
            if rate <= 0 and (name == "backhaul_rate" or params.redundant):
                raise ConfigError(f"servers.{name}", float(rate), f"server {server + 1} needs a link: a rate > 0 bit/s")


def check_windows(name: str, spans: Windows) -> None:
    """Spans are in order and none ends before it starts."""
    for start, stop in zip(np.asarray(spans.start), np.asarray(spans.stop), strict=True):
        used = start < stop
        if (start > stop).any():
            first = int(np.argmax(start > stop))
            raise ConfigError(name, (int(start[first]), int(stop[first])), "a span (start, stop) with start <= stop")
        if (start[used][1:] < stop[used][:-1]).any():
            spans_given = list(zip(start[used].tolist(), stop[used].tolist(), strict=True))
            raise ConfigError(name, spans_given, "spans in order that do not overlap")


def check_shares(params: Params) -> None:
    """Shares are at most 1, and lows at most highs."""
    servers, workload = params.servers, params.workload
    for name, low, high in (
        ("servers.share_low", servers.share_low, servers.share_high),
        ("workload.bits_low", workload.bits_low, workload.bits_high),
        ("workload.factor_low", workload.factor_low, workload.factor_high),
    ):
        if (np.asarray(low) > np.asarray(high)).any():
            raise ConfigError(name, np.asarray(low).tolist(), f"at most {np.asarray(high).tolist()}, its upper end")
    for name, share in (
        ("servers.share_high", servers.share_high),
        ("schedule.load", params.schedule.load.value),
        ("schedule.correlation", params.schedule.correlation),
    ):
        if (np.asarray(share) > 1).any():
            raise ConfigError(name, float(np.max(np.asarray(share))), "a share between 0 and 1")
    traffic = np.asarray(params.schedule.traffic.value)
    if traffic.any() and not np.isfinite(np.asarray(params.radio.cell_rate)):
        raise ConfigError("radio.cell_rate", math.inf, "a finite rate in bit/s, where there is background traffic")


def check_horizon(params: Params, horizon: int) -> None:
    """Nothing is scheduled for a slot that never comes."""
    for name in ("link", "backhaul", "backup", "server"):
        stop = int(np.max(np.asarray(getattr(params.schedule, name).stop), initial=0))
        if stop > horizon:
            raise ConfigError(f"schedule.{name}", stop, f"slots up to the horizon of {horizon}")
    for name in ("load", "traffic", "delay", "jitter"):
        start = int(np.max(np.asarray(getattr(params.schedule, name).start), initial=0))
        if start >= horizon:
            raise ConfigError(f"schedule.{name}", start, f"slots before the horizon of {horizon}")


def warn_of_slot(params: Params, phase: float) -> None:
    """Warn where coupling ``slot`` works with slots that are long against a shared ``phase`` of so many seconds."""
    share = float(params.slot_duration) / phase if phase > 0 else 0.0
    if params.coupling == "slot" and share > LONG_SLOT:
        error, best = 100 * ERROR_PER_SLOT * share, 10 * ERROR_PER_SLOT
        warnings.warn(
            f"slot_duration: {float(params.slot_duration):.3g} s is {share:.2g} of the mean shared phase of"
            f" {phase:.3g} s: expect an error of about {error:.0f} % in mean latencies; a slot of {0.1 * phase:.2g} s"
            f" keeps it near {best:.0f} %, or use coupling 'exact'",
            stacklevel=2,
        )
