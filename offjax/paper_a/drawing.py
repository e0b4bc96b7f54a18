"""Figures and tables in the figure folder, and bands over seeds."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from offjax.evaluation.statistics import Bounded, bootstrap
from offjax.runs.folder import cannot_write, write_bytes

REPLICATES = 1000


def new_figure(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    """A figure in inches and its axes [rows, columns], without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **options)


def save(figure: Any, folder: Path, name: str) -> None:
    """Write a figure as PNG and PDF, and close it."""
    from matplotlib import pyplot

    for suffix, about in (("png", {}), ("pdf", {"metadata": {"CreationDate": None}})):
        data = io.BytesIO()
        figure.savefig(data, format=suffix, dpi=150, **about)
        write_bytes(folder / f"{name}.{suffix}", data.getvalue())
    pyplot.close(figure)


def write_table(folder: Path, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write ``name.csv``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_short(value) for value in row] for row in rows)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    write_bytes(folder / f"{name}.csv", text.getvalue().encode())


def _short(value: Any) -> Any:
    return f"{float(value):.6g}" if isinstance(value, float | np.floating) else value


def mean_over_seeds(samples: np.ndarray) -> Bounded:
    """Mean of samples [seeds, ...] with the ends of its 95 % bootstrap interval."""

    def mean(own: np.ndarray) -> np.ndarray:
        return own.mean(axis=(0, 1))

    return bootstrap(mean, np.asarray(samples, np.float64)[:, None], replicates=REPLICATES)


def interval(band: Bounded) -> tuple[float, float]:
    """The two ends of a statistic that is one number."""
    return float(band.low), float(band.high)


def draw_band(axis: Any, x: Any, samples: np.ndarray, label: str = "", **style: Any) -> Bounded:
    """A line of means of samples [seeds, points] over ``x`` [points], with its 95 % band."""
    band = mean_over_seeds(samples)
    (line,) = axis.plot(x, band.value, label=label, **{"lw": 1.4, **style})
    axis.fill_between(x, band.low, band.high, color=line.get_color(), alpha=0.2, lw=0)
    return band
