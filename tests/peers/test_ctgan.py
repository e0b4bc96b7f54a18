"""CTGAN as a peer of our generators: it is trained and sampled, and the judges tell good rows from bad ones."""

import jax
import numpy as np
import pytest
from test_sb3 import PEERS, peers

from offjax.bench.gan_table import columns, draw_table
from offjax.bench.trainers import Worker

PYTHON = PEERS / "bin" / "python"


@pytest.mark.parametrize("rows", [pytest.param(2000, marks=peers)])
def test_it_is_trained_and_judged(rows, key, tmp_path):
    train, real = (draw_table(own, rows) for own in jax.random.split(key))
    files = {name: str(tmp_path / f"{name}.npy") for name in ("table", "real", "out")}
    np.save(files["table"], train)
    np.save(files["real"], real)
    common, worker = {"discrete": list(columns().discrete)}, Worker(PYTHON, "ctgan_worker")
    try:
        worker.send({"do": "train", "epochs": 1, "seed": 0, "rows": rows, **files, **common})
        assert worker.read()["steps"] == 4
        scores = []
        for table in (files["table"], files["out"]):
            worker.send({"do": "judge", "real": files["real"], "synthetic": table, **common})
            scores.append(worker.read())
    finally:
        worker.close()
    good, bad = scores
    assert good["quality"] > 0.95 > 0.85 > bad["quality"]
    assert good["auc"] < 0.6 < 0.9 < bad["auc"]
