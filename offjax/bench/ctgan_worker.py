"""CTGAN and the judges of synthetic tables, in an interpreter that has them: JSON lines of jobs in, one for each out.

Started by ``offjax.bench.gan``; torch runs in one thread, as networks this small want it. The package ctgan is under
the Business Source License: it is only run here, as the peer.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from ctgan import CTGAN
from ctgan.data_transformer import DataTransformer
from joblib.externals.loky import get_reusable_executor
from sdmetrics.reports.single_table import QualityReport
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score


def frame(path: str, discrete: list[int]) -> pd.DataFrame:
    """A table of NumPy with whole numbers in its discrete columns."""
    rows = pd.DataFrame(np.load(path).astype(np.float64))
    rows.columns = [f"c{place}" for place in rows.columns]
    return rows.astype({f"c{place}": int for place in discrete})


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Fit CTGAN with its defaults and sample it.

    Args:
        job: ``table``, a file, its ``discrete`` columns, ``epochs``, ``seed``, ``rows`` to make, ``out``, their file.

    Returns:
        ``seconds``; of these ``codec_s``; ``steps``, ``step_s``, ``rows_per_s``.
    """
    table = frame(job["table"], job["discrete"])
    names = [f"c{place}" for place in job["discrete"]]
    for _ in range(2):  # the first time it starts processes, which stay
        start = time.perf_counter()
        transformer = DataTransformer()
        transformer.fit(table, names)
        transformer.transform(table)
        codec = time.perf_counter() - start
    model = CTGAN(epochs=job["epochs"], enable_gpu=False)
    model.set_random_state(job["seed"])
    start = time.perf_counter()
    model.fit(table, names)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    made = model.sample(job["rows"])
    rate = job["rows"] / (time.perf_counter() - start)
    np.save(job["out"], made[list(table.columns)].to_numpy(np.float32))
    get_reusable_executor().shutdown()  # its processes would hold our output open when we are ended
    steps = job["epochs"] * max(len(table) // 500, 1)
    step = (seconds - codec) / steps
    return {"seconds": seconds, "codec_s": codec, "steps": steps, "step_s": step, "rows_per_s": rate}


def judge(job: dict[str, Any]) -> dict[str, Any]:
    """Scores of a synthetic table, by SDMetrics and by a classifier that tells it from a real one.

    Args:
        job: ``real`` and ``synthetic``, files, and their ``discrete`` columns.

    Returns:
        ``quality`` with its parts ``shapes`` and ``pairs``; ``pairs_all``, without SDMetrics' thresholds; ``auc``.
    """
    real, synthetic = (frame(job[name], job["discrete"]) for name in ("real", "synthetic"))
    whole = {f"c{place}" for place in job["discrete"]}
    metadata = {"columns": {name: {"sdtype": "categorical" if name in whole else "numerical"} for name in real}}
    report, every = QualityReport(), QualityReport()
    every.real_correlation_threshold = every.real_association_threshold = 0.0
    for own in (report, every):
        own.generate(real, synthetic, metadata, verbose=False)
    shapes, pairs = report.get_properties()["Score"]
    scores = {"quality": report.get_score(), "shapes": shapes, "pairs": pairs}
    pairs_all = every.get_properties()["Score"][1]
    return {
        name: float(score) for name, score in {**scores, "pairs_all": pairs_all, "auc": auc(real, synthetic)}.items()
    }


def auc(real: pd.DataFrame, synthetic: pd.DataFrame) -> float:
    """Area under the curve of gradient boosting that learns from half of both tables; 0.5 = it cannot tell."""
    both = np.concatenate([real.to_numpy(np.float64), synthetic.to_numpy(np.float64)])
    is_real = np.arange(len(both)) < len(real)
    order = np.random.default_rng(0).permutation(len(both))
    learnt, asked = np.array_split(order, 2)
    model = HistGradientBoostingClassifier(random_state=0).fit(both[learnt], is_real[learnt])
    return float(roc_auc_score(is_real[asked], model.predict_proba(both[asked])[:, 1]))


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"train": train, "judge": judge}


def main() -> None:
    """Read jobs from standard input, print their results."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(JOBS[job["do"]](job)), flush=True)


if __name__ == "__main__":
    main()
