"""A world that makes no sense is refused in one line that names the field; a slot too long is warned of."""

import jax.numpy as jnp
import numpy as np
import pytest
from world_cases import CELLS, DEVICES, NUMBERS, make_params, uplink_rate

from offjax.errors import ConfigError
from offjax.workload import arrivals
from offjax.world import checks

SHARED = {"coupling": "slot", "uplink": "active", "queue": ("fifo", "none")}


def _refused(params, check=checks.check, **arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        check(params, **arguments)
    message = str(caught.value)
    assert "is not allowed; " in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "values",
    [
        {},
        SHARED,
        {"coupling": "exact", "uplink": "cell", "downlink": "cell", "queue": ("ps", "none")},
        {"outage": "stall", "redundant": True, "impaired": True, "load": [(3, 1.0)], "traffic": [(0, 5)]},
        {"backhaul_rate": (np.inf, np.inf), "downlink_rate": np.inf, "battery": np.inf},
        {"come": arrivals.poisson(0.5), "deadline": "none", "buffer": 0},
        {"link": {0: [(3, 5), (5, 9)]}, "delay": [(0, 0.02), (9, 0.0)]},
    ],
)
def test_a_good_world_passes(values):
    checks.check(make_params(**values))


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"coupling": "both"}, "coupling", "one of none, slot, exact"),
        ({"uplink": "half"}, "uplink", "one of fixed, active, cell"),
        ({"downlink": "half"}, "downlink", "one of fixed, active, cell"),
        ({"outage": "wait"}, "outage", "one of drop, stall"),
        ({"placement": "drawn"}, "placement", "one of uniform, given"),
        ({"deadline": "late"}, "workload.deadline", "one of none, size, uniform"),
        ({"buffer": -1}, "buffer", "a whole number >= 0"),
        ({"coupling": "slot", "queue": ("fifo",)}, "queue", "for each of 2 servers"),
        ({"coupling": "slot", "queue": ("lifo", "none")}, "queue", "one of none, fifo, ps"),
        ({"coupling": "slot", "queue": ("none", "fifo")}, "queue", "only 'none'"),
        ({"uplink": "active"}, "coupling", "'slot' or 'exact' where something is shared"),
        ({"queue": ("ps", "none")}, "coupling", "'slot' or 'exact' where something is shared"),
        ({"devices": 130, "cells": 2, **SHARED, "coupling": "exact"}, "devices_per_cell", "at most 64 devices"),
    ],
)
def test_a_wrong_structure_is_refused(values, field, words):
    message = _refused(make_params(**values))
    assert message.startswith(f"{field}: ")
    assert words in message


def test_zero_servers_and_cells_that_do_not_fill_are_refused():
    params = make_params()
    assert "servers: 0 is not allowed; a world needs at least one server" in _refused(params.replace(cloud=()))
    assert _refused(params.replace(access_points=4)).startswith("devices: 6 ")
    assert _refused(params.replace(devices=0)).startswith("devices: 0 ")


@pytest.mark.parametrize("value", [np.nan, -1.0])
@pytest.mark.parametrize(
    "name", ["speed", "battery", "transmit_power", "noise", "bits_high", "server_speed", "timeout"]
)
def test_no_number_may_be_negative_or_nan(name, value):
    message = _refused(make_params(**{name: np.broadcast_to(value, np.shape(NUMBERS[name]))}))
    assert name.removeprefix("server_") in message.partition(":")[0]
    assert "a number" in message


@pytest.mark.parametrize(
    "name", ["slot_duration", "speed", "server_speed", "bandwidth", "noise", "carrier", "cell_rate"]
)
def test_what_divides_may_not_be_zero(name):
    message = _refused(make_params(**{name: np.broadcast_to(0.0, np.shape(NUMBERS[name]))}))
    assert "0.0 is not allowed; a number > 0" in message


@pytest.mark.parametrize("name", ["speed", "server_speed", "share_low", "traffic_rate", "idle_power"])
def test_only_limits_may_be_infinite(name):
    assert "a finite number" in _refused(make_params(**{name: np.broadcast_to(np.inf, np.shape(NUMBERS[name]))}))


def test_a_server_without_a_link_is_refused():
    assert _refused(make_params(backhaul_rate=(np.inf, 0.0))).startswith("servers.backhaul_rate: 0.0 ")
    assert "server 2 needs a link" in _refused(make_params(backup_rate=(np.inf, 0.0), redundant=True))
    checks.check(make_params(backup_rate=(np.inf, 0.0)))  # no redundant link, no rate
    shared = {"coupling": "slot", "uplink": "cell", "cell_rate": np.inf}
    assert _refused(make_params(**shared)).startswith("radio.cell_rate: inf ")
    shared = {"coupling": "slot", "downlink": "active", "downlink_rate": np.inf}
    assert _refused(make_params(**shared)).startswith("radio.downlink_rate: inf ")
    assert "background traffic" in _refused(make_params(traffic=[(0, 1)], cell_rate=np.inf))


@pytest.mark.parametrize("name", ["link", "backhaul", "backup", "server"])
def test_spans_out_of_order_are_refused(name):
    assert _refused(make_params(**{name: [(5, 3)]})).startswith(f"schedule.{name}: (5, 3) ")
    assert "do not overlap" in _refused(make_params(**{name: [(5, 9), (2, 4)]}))
    assert "do not overlap" in _refused(make_params(**{name: [(2, 6), (5, 9)]}))


@pytest.mark.parametrize("name", ["load", "traffic", "delay", "jitter"])
def test_changes_out_of_order_are_refused(name):
    assert "the order of their slots" in _refused(make_params(**{name: [(5, 0.5), (2, 0.1)]}))
    assert "the order of their slots" in _refused(make_params(**{name: [(5, 0.5), (5, 0.1)]}))
    assert "slots from 0" in _refused(make_params(**{name: [(-1, 0.5), (2, 0.1)]}))


@pytest.mark.parametrize("name", ["link", "backhaul", "backup", "server"])
def test_spans_beyond_the_horizon_are_refused(name):
    params = make_params(**{name: [(3, 9)]})
    checks.check_horizon(params, 9)
    message = _refused(params, checks.check_horizon, horizon=8)
    assert message == f"schedule.{name}: 9 is not allowed; slots up to the horizon of 8"


@pytest.mark.parametrize("name", ["load", "traffic", "delay", "jitter"])
def test_changes_beyond_the_horizon_are_refused(name):
    params = make_params(**{name: [(3, 0.5)]})
    checks.check_horizon(params, 4)
    message = _refused(params, checks.check_horizon, horizon=3)
    assert message == f"schedule.{name}: 3 is not allowed; slots before the horizon of 3"


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"load": [(0, 1.5)]}, "schedule.load", "between 0 and 1"),
        ({"share_high": (1.2, 1.0)}, "servers.share_high", "between 0 and 1"),
        ({"correlation": 1.5}, "schedule.correlation", "between 0 and 1"),
        ({"share_low": (0.9, 1.0), "share_high": (0.8, 1.0)}, "servers.share_low", "its upper end"),
        ({"bits_low": (1e7, 1.0, 1.0)}, "workload.bits_low", "its upper end"),
        ({"factor_low": 3.0, "deadline": "uniform"}, "workload.factor_low", "its upper end"),
        ({"probability": (0.5, 0.4, 0.0)}, "workload.probability", "sum to 1"),
    ],
)
def test_shares_and_ranges(values, field, words):
    message = _refused(make_params(**values))
    assert message.startswith(f"{field}: ")
    assert words in message


@pytest.mark.parametrize(
    ("come", "field"),
    [
        (arrivals.periodic(0), "period"),
        (arrivals.bernoulli(1.5), "chance"),
        (arrivals.poisson(0.0), "mean"),
        (arrivals.closed(-1.0), "mean"),
        (arrivals.poisson(np.nan), "mean"),
        (arrivals.given([[0.0, 1.0]], 1.0), "slots"),
        (arrivals.given([[0.5]] * DEVICES, 1.0, np.full((DEVICES, 1), 3)), "classes"),
        (arrivals.given([[0.5]] * DEVICES, 1.0, np.full((DEVICES, 1), -1)), "classes"),
    ],
)
def test_wrong_arrivals_are_refused(come, field):
    assert _refused(make_params(come=come)).startswith(f"workload.arrivals.{field}: ")


def test_numbers_for_other_devices_servers_or_cells_are_refused():
    params = make_params()

    def with_(record, **values):
        return params.replace(**{record: getattr(params, record).replace(**values)})

    assert "shape () or (6,)" in _refused(with_("fleet", speed=jnp.ones(4)))
    assert "shape (2,)" in _refused(with_("servers", speed=jnp.ones(3)))
    assert "shape () or (3,)" in _refused(with_("workload", bits_low=jnp.ones(2)))
    three = make_params(devices=9, cells=3).schedule
    assert f"1 or {CELLS} rows" in _refused(with_("schedule", link=three.link))
    assert "2 rows" in _refused(with_("schedule", server=three.link))


# ------------------------------------------------------------------------------------------ slots too long


def test_the_mean_shared_phase_is_that_of_a_mean_task_alone():
    one = {"probability": (1.0, 0.0, 0.0)}
    assert checks.mean_shared_phase(make_params(**one)) == 0.0
    upload = 1e6 / uplink_rate()
    service = 2e9 / 4e9
    found = checks.mean_shared_phase(make_params(**one, coupling="slot", uplink="active"))
    assert found == pytest.approx(upload, rel=1e-5)
    found = checks.mean_shared_phase(make_params(**one, coupling="slot", queue=("ps", "none")))
    assert found == pytest.approx(service, rel=1e-5)
    found = checks.mean_shared_phase(make_params(**one, **SHARED))
    assert found == pytest.approx((upload + service) / 2, rel=1e-5)
    cell = make_params(**one, coupling="slot", uplink="cell", downlink="cell", cell_rate=1e7)
    assert checks.mean_shared_phase(cell) == pytest.approx((1e6 + 4e5) / 1e7 / 2, rel=1e-5)
    mixed = make_params(probability=(0.5, 0.5, 0.0), coupling="slot", queue=("fifo", "none"))
    assert checks.mean_shared_phase(mixed) == pytest.approx(service * 0.5 + 2e9 / 4e9 * 0.5, rel=1e-5)


def test_a_slot_too_long_is_a_warning_with_the_error_to_expect():
    params = make_params(slot_duration=2.0, **SHARED)
    error = f"error of about {200 * checks.ERROR_PER_SLOT:.0f} %"
    with pytest.warns(
        UserWarning, match=rf"2 of the mean shared phase of 1 s.*{error}.*or use coupling 'exact'"
    ) as seen:
        checks.warn_of_slot(params, 1.0)
    assert len(seen) == 1
    assert "\n" not in str(seen[0].message)


@pytest.mark.filterwarnings("error")
def test_a_short_slot_and_exact_coupling_are_no_reason_to_warn():
    checks.warn_of_slot(make_params(slot_duration=0.1, **SHARED), 1.0)
    checks.warn_of_slot(make_params(slot_duration=5.0, **SHARED | {"coupling": "exact"}), 1.0)
    checks.warn_of_slot(make_params(slot_duration=5.0), checks.mean_shared_phase(make_params()))
