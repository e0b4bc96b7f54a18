"""The settings of the leaderboard: they load and build, no fixed rule is good there, what is observed is enough."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import struct

from offjax import building
from offjax.baselines.lookahead import couples
from offjax.config import load_config
from offjax.config.yaml_text import parse_yaml
from offjax.evaluation import setting as settings
from offjax.learning.keys import Purpose, keys_of

FOLDER = Path(__file__).parents[2] / "configs/leaderboard"
PROBLEMS = ("nieto2024", "laas2022")
ROWS = ("base", "outage", "link_loss", "coupled")
SMALL = ("evaluation.seeds=3", "evaluation.devices=20")
CROWD = 6.0  # devices of a cell of ten that the rule of laas2022 expects on the air


def test_there_are_eight_settings_and_no_other_file():
    assert {path.stem for path in FOLDER.iterdir()} == {f"{problem}_{row}" for problem in PROBLEMS for row in ROWS}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_setting_is_a_problem_and_held_out_worlds_without_a_word_on_agents(path):
    assert parse_yaml(path.read_text(), path.name).keys() == {"problem", "evaluation"}
    config = load_config(path)
    assert config.evaluation.seeds >= 10
    (scenario,) = config.problem.scenarios
    for devices in (config.evaluation.devices, config.training.validation_devices):
        problem = building.build_problem(config, scenario, devices)
        assert couples(problem.params) == path.stem.endswith("coupled")


class Nieto2024Rule(struct.PyTreeNode):
    """At home: fast devices, small tasks, and large ones without a link; the rest goes to a server that is up."""

    def decide(self, problem, state, observation, key) -> jax.Array:
        seen = _seen(problem, observation)
        away = jnp.where(seen["mec_free"] > 0, 1, jnp.where(seen["cloud_free"] > 0, 2, 0))
        lost = seen["channel_gain"] < -129.9
        home = (seen["device_speed"] > 1e8) | (seen["task_class"] < 1.5) | (lost & (seen["task_class"] > 2.5))
        return jnp.where(home, 0, away).astype(jnp.int8)


class Laas2022Rule(struct.PyTreeNode):
    """The least cost by equation (4), where ``CROWD`` devices of a cell send and half as many share its server."""

    def decide(self, problem, state, observation, key) -> jax.Array:
        seen, params = _seen(problem, observation), problem.params
        demand, joule, second = seen["task_demand"], problem.energy_weight, problem.time_weight
        bits = demand * 0.4
        shared = couples(params)
        share = params.cell_size / CROWD if shared else 1.0
        upload = bits / jnp.maximum(seen["link_rate"] * share, 1.0)
        home = joule * demand * seen["device_energy"] + second * demand / seen["device_capacity"]

        def away(name: str, sharers: float, delay: float) -> jax.Array:
            speed, link = seen[f"{name}_capacity"], seen[f"{name}_link"]
            time = upload + bits / jnp.maximum(link, 1.0) + sharers * demand / jnp.maximum(speed, 1.0) + delay
            cost = joule * params.fleet.transmit_power * upload + second * time
            return jnp.where((seen["link_rate"] > 0) & (speed > 0) & (link > 0), cost, jnp.inf)

        costs = [home, away("edge", CROWD / 2 if shared else 1.0, 0.0), away("cloud", 1.0, 0.02)]
        return jnp.argmin(jnp.stack(costs), axis=0).astype(jnp.int8)


def _seen(problem, observation: jax.Array) -> dict[str, jax.Array]:
    """What a device observes, by name and in its units."""
    return {
        feature.name: feature.low + observation[:, index] * (feature.high - feature.low)
        for index, feature in enumerate(problem.features)
    }


RULES = {"nieto2024": Nieto2024Rule(), "laas2022": Laas2022Rule()}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS[1:])
@pytest.mark.parametrize("name", PROBLEMS)
def test_no_fixed_rule_is_good_and_what_is_observed_is_enough(name, row):
    """In three worlds: the best fixed rule scores at most 0.8, a rule that sees the observation alone 0.95."""
    config = load_config(FOLDER / f"{name}_{row}.yaml", SMALL)
    problem = building.build_problem(config, config.problem.scenarios[0], config.evaluation.devices)
    keys = keys_of(config.evaluation.seed, config.evaluation.seeds, Purpose.EVALUATE)
    results = settings.evaluate(problem, keys, config.problem.slots, own={"sees": RULES[name]})
    score = {policy: float(values.mean()) for policy, values in settings.scores(results).items()}
    print({policy: round(score[policy], 4) for policy in ("best_fixed_rule", "sees")})
    assert score["best_fixed_rule"] <= 0.8
    assert score["sees"] >= 0.95
