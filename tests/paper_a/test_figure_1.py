"""Fig. 1 shows the numbers of the records that run."""

from pathlib import Path

import pytest

from offjax.config.paper_a import load_paper_a
from offjax.paper_a import architecture

CONFIG = load_paper_a(Path(__file__).parents[2] / "configs/paper_a.yaml")


def _config():
    small = {"devices": 40, "sending_period": 7, "hidden": (8, 4), "batch_size": 3, "brm_capacity": 90}
    return CONFIG.model_copy(update={"system": CONFIG.system.model_copy(update=small)})


def test_the_diagram_follows_the_configuration():
    told = architecture.numbers(_config())
    assert (told["N"], told["SAPs"], told["SF"], told["BS"], told["BRM"]) == (40, 2, 7, 3, 90)
    assert told["network"] == "10–8–4–3"
    assert told["parameters"] == 10 * 8 + 8 + 8 * 4 + 4 + 4 * 3 + 3
    assert told["weights B"] == 4 * told["parameters"]
    assert told["experience B"] == 4 * (2 * 10 + 3)
    words = architecture.texts(told)
    assert "one of SF = 7" in words["experiences"]
    assert "50–500 kB" in words["tasks"]


@pytest.mark.slow
def test_it_is_drawn(tmp_path):
    architecture.draw(_config(), {}, tmp_path)
    assert "N,40" in (tmp_path / "fig1.csv").read_text()
    assert (tmp_path / "fig1.png").stat().st_size > 20_000
