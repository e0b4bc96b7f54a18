"""The rows of ``offjax bench sweep`` compare the same work."""

import pytest

from offjax.bench import one_program, sweep
from offjax.config import load_sweep


@pytest.mark.parametrize(("settings", "seeds"), [(sweep.SETTINGS, sweep.AGENTS // sweep.SETTINGS), (1, 1)])
def test_a_process_of_the_peer_does_the_work_of_one_agent(tmp_path, settings, seeds):
    (tmp_path / "sweep.yaml").write_text(sweep.sweep_yaml(16, settings, seeds))
    config = load_sweep(tmp_path / "sweep.yaml")
    assert len(list(config.grid())) * config.run.training.seeds == settings * seeds
    run = config.at(next(config.grid()))
    assert (run.training.rounds, run.problem.slots, run.problem.devices) == (
        one_program.ROUNDS,
        one_program.SLOTS,
        one_program.DEVICES,
    )
    assert run.training.validation_devices == 0
    assert run.agents.ac.hidden == (16, 16)


@pytest.mark.slow
def test_rows_name_their_peers(monkeypatch):
    monkeypatch.setattr(sweep, "QUICK_AGENTS", 8)
    monkeypatch.setattr(sweep, "QUICK_SAMPLE", 1)
    ours, one, processes = sweep.measure(4, quick=True)
    assert (one["peer"], processes["peer"], processes["measured"]) == ("one program", "processes", 1)
    assert one["ratio"] == one["value"] / ours["value"]
    assert processes["ratio"] == processes["value"] / ours["value"]
