"""What a user can rely on: the page says what was measured, and marks what misses its limit."""

import jax
import pytest

from offjax.bench.kernels import Comparison
from offjax.bench.validate import Check, Row, checks, page, validate
from offjax.evaluation.statistics import Estimate
from offjax.runs.provenance import collect_provenance


def _row(error: float, limit: float | None = 0.02) -> Row:
    check = Check("queues", "FIFO", 0.5, limit, lambda key: None)
    return Row(check, Comparison(Estimate(1.0 + error, 0.001), 1.0, 1234))


def test_the_page_marks_what_misses_its_limit():
    rows = [_row(0.019), _row(-0.021), _row(0.5, None)]
    assert [row.passes for row in rows] == [True, False, True]
    text = page(rows, collect_provenance())
    assert "| FIFO | 0.5 | 0.9790 | 1.0000 | -2.10 ± 0.10 % | 2 % **missed** | 1,234 |" in text
    assert "1 of 2 comparisons with a limit are within it." in text


def test_everything_that_was_promised_is_compared():
    todo = list(checks(1000, 1000))
    judged = {(check.table, check.load) for check in todo if check.limit is not None}
    assert judged == {(table, load) for table in ("queues", "world") for load in (0.5, 0.8)}
    names = " ".join(check.name for check in todo)
    for word in ("FIFO, exponential", "FIFO, deterministic", "processor sharing", "coupling slot", "coupling exact"):
        assert word in names


@pytest.mark.slow
def test_the_whole_validation_is_within_its_limits():
    missed = [(row.check.name, row.check.load, row.found) for row in validate() if not row.passes]
    assert not missed


@pytest.mark.slow
def test_halving_the_slot_at_least_halves_the_error():
    rows = [row for row in validate(100_000, 2_000_000) if row.check.table == "slots"]
    assert len(rows) == 12
    for start in range(0, 12, 3):
        errors = [row.found.measured.mean / row.found.theory - 1 for row in rows[start : start + 3]]
        interval = [row.found.measured.ci95 / row.found.theory for row in rows[start : start + 3]]
        for long, short, width in zip(errors, errors[1:], interval[1:], strict=False):
            assert abs(short) <= abs(long) / 2 + 2 * width, jax.tree.map(float, errors)
