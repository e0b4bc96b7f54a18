"""What a world may be: one clear line for each mistake, before anything is compiled."""

import math
import warnings
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from offjax.errors import ConfigError
from offjax.physics.radio import PATH_LOSSES, from_db, shannon_rate
from offjax.workload.tasks import Workload
from offjax.world.records import Params, Steps, Windows
from offjax.world.sharing import EXACT_CELL

COUPLINGS = ("none", "slot", "exact")
SHARING = ("fixed", "active", "cell")
QUEUES = ("none", "fifo", "ps")
OUTAGES = ("drop", "stall")
PLACEMENTS = ("uniform", "given")
DEADLINES = ("none", "size", "uniform")
ARRIVALS = ("periodic", "bernoulli", "poisson", "closed", "given")
NOTHING = np.finfo(np.float32).tiny
MEAN_DISTANCE = 0.7652  # to the middle of a square, over half its side
UNLIMITED = {"battery", "downlink_rate", "cell_rate", "backhaul_rate", "backup_rate", "timeout", "deadline_fixed"}
LONG_SLOT = 0.5  # of the mean shared phase; the error to expect grows in proportion
ERROR_PER_SLOT = 0.035  # relative error of a mean latency at a slot as long as the phase (docs/validity.md)


def check(params: Params) -> None:
    """Raise for a world that makes no sense.

    Raises:
        ConfigError: naming the field, its value and what is allowed.
    """
    check_structure(params)
    check_coupling(params)
    check_shapes(params)
    check_numbers(params)
    check_links(params)
    for name in ("link", "backhaul", "backup", "server"):
        check_windows(f"schedule.{name}", getattr(params.schedule, name))
    for name in ("load", "traffic", "delay", "jitter"):
        check_steps(f"schedule.{name}", getattr(params.schedule, name))
    check_shares(params)
    check_arrivals(params)


def check_structure(params: Params) -> None:
    """What is fixed before any number is known: counts, and the names of modes."""
    if params.server_count < 1:
        raise ConfigError("servers", 0, "a world needs at least one server")
    if params.devices < 1 or params.access_points < 1 or params.devices % params.access_points:
        raise ConfigError("devices", params.devices, f"a positive multiple of {params.access_points} access points")
    modes: dict[str, tuple[str, ...]] = {
        "coupling": COUPLINGS,
        "uplink": SHARING,
        "downlink": (*SHARING, "none"),
        "outage": OUTAGES,
        "placement": PLACEMENTS,
        "path_loss": tuple(PATH_LOSSES),
    }
    for field, allowed in modes.items():
        if getattr(params, field) not in allowed:
            raise ConfigError(field, getattr(params, field), f"one of {', '.join(allowed)}")
    for field, mode, allowed in (
        ("workload.deadline", params.workload.deadline, DEADLINES),
        ("workload.arrivals.kind", params.workload.arrivals.kind, ARRIVALS),
    ):
        if mode not in allowed:
            raise ConfigError(field, mode, f"one of {', '.join(allowed)}")
    if params.buffer < 0:
        raise ConfigError("buffer", params.buffer, "a whole number >= 0")
    _check_queue(params)
    if params.coupling == "exact" and params.cell_size > EXACT_CELL:
        hint = f"with coupling 'exact' at most {EXACT_CELL} devices per access point; use 'slot' for larger cells"
        raise ConfigError("devices_per_cell", params.cell_size, hint)


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


def check_coupling(params: Params) -> None:
    """What is shared has a way of being resolved; in coupling ``none`` everybody would have it alone."""
    shared = [mode for mode in (params.uplink, params.downlink) if mode in ("active", "cell")]
    shared += [discipline for discipline in params.queue if discipline != "none"]
    if params.coupling == "none" and shared:
        raise ConfigError("coupling", "none", f"'slot' or 'exact' where something is shared ({', '.join(shared)})")


def check_shapes(params: Params) -> None:
    """Numbers are there for all, or for each: device, cell, server or task class."""
    devices, servers, cells = params.devices, params.server_count, params.access_points
    classes = params.workload.classes
    expected: dict[str, tuple[object, tuple[tuple[int, ...], ...]]] = {
        "fleet": (params.fleet, ((), (devices,))),
        "radio": (params.radio, ((), (devices,))),
        "servers": (params.servers, ((servers,),)),
    }
    for name, (record, shapes) in expected.items():
        for field, leaf in vars(record).items():
            if np.shape(leaf) not in shapes:
                raise ConfigError(f"{name}.{field}", np.shape(leaf), f"an array of shape {_either(shapes)}")
    for field, leaf in vars(params.workload).items():
        if isinstance(leaf, jax.Array | np.ndarray) and np.shape(leaf) not in ((), (classes,)):
            raise ConfigError(f"workload.{field}", np.shape(leaf), f"an array of shape {_either(((), (classes,)))}")
    for field, things in (
        *((field, (1, cells)) for field in ("link", "backhaul", "backup", "traffic", "delay", "jitter")),
        *((field, (servers,)) for field in ("server", "load")),
    ):
        rows = getattr(params.schedule, field).start.shape[0]
        if rows not in things:
            raise ConfigError(f"schedule.{field}", f"{rows} rows", f"{_either(things)} rows")


def _either(choices: Iterable[object]) -> str:
    return " or ".join(dict.fromkeys(str(choice) for choice in choices))


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
        ("radio.bandwidth", params.radio.bandwidth),
        ("radio.noise", params.radio.noise),
        ("radio.carrier", params.radio.carrier),
        ("radio.cell_rate", params.radio.cell_rate),
        ("radio.downlink_rate", params.radio.downlink_rate),
    ):
        if (np.asarray(value) < NOTHING).any():
            raise ConfigError(name, float(np.min(np.asarray(value))), "a number > 0")


def check_links(params: Params) -> None:
    """Every server can be reached."""
    for name in ("backhaul_rate", "backup_rate"):
        for server, rate in enumerate(np.asarray(getattr(params.servers, name))):
            if rate <= 0 and (name == "backhaul_rate" or params.redundant):
                raise ConfigError(f"servers.{name}", float(rate), f"server {server + 1} needs a link: a rate > 0 bit/s")
    if "cell" in (params.uplink, params.downlink) and np.isinf(np.asarray(params.radio.cell_rate)):
        raise ConfigError("radio.cell_rate", math.inf, "a finite rate in bit/s, where devices take turns at it")
    if params.downlink == "active" and np.isinf(np.asarray(params.radio.downlink_rate)).any():
        raise ConfigError("radio.downlink_rate", math.inf, "a finite rate in bit/s, where devices share it")


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


def check_steps(name: str, changes: Steps) -> None:
    """Changes are in order; an unused row repeats the last."""
    for start, value in zip(np.asarray(changes.start), np.asarray(changes.value), strict=True):
        if (start < 0).any():
            raise ConfigError(name, int(start.min()), "slots from 0")
        stays = (np.diff(start) == 0) & (np.diff(value) == 0)
        if ((np.diff(start) <= 0) & ~stays).any():
            raise ConfigError(name, start.tolist(), "changes in the order of their slots")


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
    total = float(np.sum(np.asarray(workload.probability, np.float64)))
    if abs(total - 1.0) > 1e-3:
        raise ConfigError("workload.probability", total, "shares of the classes that sum to 1")
    traffic = np.asarray(params.schedule.traffic.value)
    if traffic.any() and not np.isfinite(np.asarray(params.radio.cell_rate)):
        raise ConfigError("radio.cell_rate", math.inf, "a finite rate in bit/s, where there is background traffic")


def check_arrivals(params: Params) -> None:
    """Tasks come at a rate that makes sense, and to devices and classes that are there."""
    arrivals = params.workload.arrivals
    if arrivals.kind == "periodic" and (np.asarray(arrivals.period) < 1).any():
        raise ConfigError("workload.arrivals.period", int(np.min(np.asarray(arrivals.period))), "slots from 1")
    if arrivals.kind == "bernoulli" and (np.asarray(arrivals.chance) > 1).any():
        raise ConfigError("workload.arrivals.chance", float(np.max(np.asarray(arrivals.chance))), "a share up to 1")
    if arrivals.kind in ("poisson", "closed") and (np.asarray(arrivals.mean) < NOTHING).any():
        raise ConfigError("workload.arrivals.mean", float(np.min(np.asarray(arrivals.mean))), "a time > 0 s")
    if arrivals.limit is not None and (np.asarray(arrivals.limit) < 1).any():
        raise ConfigError("workload.arrivals.limit", int(np.min(np.asarray(arrivals.limit))), "tasks from 1")
    if arrivals.kind != "given":
        return
    if len(arrivals.slots) != params.devices:
        text = f"a row of instants for each of {params.devices} devices"
        raise ConfigError("workload.arrivals.slots", f"{len(arrivals.slots)} rows", text)
    if arrivals.classes is not None:
        classes, count = np.asarray(arrivals.classes), params.workload.classes
        wrong = classes[(classes < 0) | (classes >= count)]
        if wrong.size:
            raise ConfigError("workload.arrivals.classes", int(wrong[0]), f"a class from 0 to {count - 1}")


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


def mean_shared_phase(params: Params) -> float:
    """Mean time in s of a phase that devices share, for a device alone in its cell; 0 where they share nothing.

    Every shared phase counts alike: their errors, each in proportion to the slot, add up in a task's latency. Rates
    are those of a mean task at a mean distance without shadowing.
    """
    bits, cycles, results = mean_sizes(params.workload)
    servers, rate = params.servers, float(params.radio.cell_rate)
    share = (np.asarray(servers.share_low) + np.asarray(servers.share_high)) / 2
    phases = [
        cycles / (float(speed) * float(free))
        for queue, speed, free in zip(params.queue, servers.speed, share, strict=False)
        if queue != "none" and free > 0
    ]
    if params.uplink in ("active", "cell"):
        phases.append(bits / (rate if params.uplink == "cell" else mean_uplink_rate(params)))
    if params.downlink in ("active", "cell"):
        own = float(np.mean(np.asarray(params.radio.downlink_rate)))
        phases.append(results / (rate if params.downlink == "cell" else own))
    phases = [phase for phase in phases if phase > 0]
    return sum(phases) / len(phases) if phases else 0.0


def mean_sizes(workload: Workload) -> tuple[float, float, float]:
    """Mean bits, cycles and bits of the result of a task."""
    low, high = np.asarray(workload.bits_low, np.float64), np.asarray(workload.bits_high, np.float64)
    bits = np.asarray(workload.probability) * (low + (high - low) * (0.5 if workload.size == "uniform" else 1.0))
    per_bit = (1.0, workload.cycles_per_bit, workload.result_per_bit)
    total, cycles, results = (float(np.sum(bits * np.asarray(ratio))) for ratio in per_bit)
    return total, cycles, results


def mean_uplink_rate(params: Params) -> float:
    """Rate in bit/s of a device alone, at a mean distance and without shadowing."""
    radio = params.radio
    mean = MEAN_DISTANCE * radio.area if params.placement == "uniform" else np.mean(np.asarray(radio.distance))
    gain = from_db(-PATH_LOSSES[params.path_loss](jnp.maximum(mean, radio.nearest), radio.carrier))
    rate = shannon_rate(radio.bandwidth, params.fleet.transmit_power, gain, radio.noise)
    return float(np.mean(np.asarray(rate)))


def warn_of_slot(params: Params, phase: float) -> None:
    """Warn where coupling ``slot`` works with slots that are long against a shared ``phase`` of so many seconds."""
    share = float(params.slot_duration) / phase if phase > 0 else 0.0
    if params.coupling == "slot" and share > LONG_SLOT:
        error = 100 * ERROR_PER_SLOT * share
        warnings.warn(
            f"slot_duration: {float(params.slot_duration):.3g} s is {share:.2g} of the mean shared phase of"
            f" {phase:.3g} s: expect an error of about {error:.0f} % in mean latencies; a slot of {0.25 * phase:.2g} s"
            " keeps it below 1 %, or use coupling 'exact'",
            stacklevel=2,
        )
