"""What a user can rely on: every program that we jit lowers for a GPU and a TPU, and none of them calls the host.

Nothing is compiled and no accelerator is needed. ``PROGRAMS`` is the table: a row is a name and a function of no
arguments that gives a function and what ``jax.eval_shape`` says of its arguments.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from offjax import world
from offjax.agents import make_agent
from offjax.baselines.rules import Rule
from offjax.bench.world import LONG, Case
from offjax.evaluation.rollout import episode
from offjax.learning import train
from offjax.learning.unit import stack
from offjax.problems import nieto2024
from offjax.replay.codec import ring_columns
from offjax.replay.flow import Flow
from offjax.replay.gan import Gan

DEVICES, HORIZON = 20, 40
PLAN = train.Plan(horizon=HORIZON, worlds=2)
KEY = jax.eval_shape(lambda: jax.random.key(0, impl=train.GENERATOR))
AGENTS = {
    "ac": {"hidden": (4,)},
    "ddqn": {"hidden": (4,), "replay_capacity": 2000, "batch_size": 16, "prioritised": True},
    "ppo": {"hidden": (4,), "rollout_slots": 2},
}
# Whatever a program asks of the host or of a library that only one platform has.
OUTSIDE = re.compile(r"custom_call\s+@(\S+?)\(|stablehlo\.(send|recv|infeed|outfeed)\b")


def abstract(tree):
    """Shapes and dtypes of a tree of arrays."""
    return jax.eval_shape(lambda: tree)


def step_world(case):
    problem = case.problem(DEVICES)

    def step(key, state, decision, params):
        return world.advance(state, decision, world.draw(key, params), params)

    decision = world.Decision(jax.ShapeDtypeStruct((DEVICES,), jnp.int8))
    state = jax.eval_shape(world.init, KEY, problem.params)
    return step, (KEY, state, decision, abstract(problem.params))


def train_agent(name):
    agent = make_agent(name, **AGENTS[name])
    problem = nieto2024.make("text", "scenario1", "uniform", devices=DEVICES)
    state = jax.eval_shape(lambda key: train.init(key, agent, problem, PLAN), KEY)

    def one_round(agent, problem, state):
        return train.train_round(agent, problem, state, PLAN)

    return one_round, (abstract(agent), abstract(problem), state)


def sweep(members):
    agents = stack([make_agent("ac", **AGENTS["ac"])] * members)
    problem = nieto2024.make("text", "scenario1", "uniform", devices=DEVICES)
    keys = jax.eval_shape(lambda key: jax.random.split(key, members), KEY)
    states = jax.eval_shape(lambda keys: train.init_many(keys, agents, problem, PLAN, False), keys)

    def one_round(agents, problem, states):
        return train.train_rounds(agents, problem, states, PLAN, False)

    return one_round, (abstract(agents), abstract(problem), states)


def evaluate_rule():
    problem = nieto2024.make("text", "scenario1", "uniform", devices=DEVICES)
    rule = Rule(jnp.asarray([0, 1, 2], jnp.int8))
    return lambda rule, problem, key: episode(rule, problem, key, HORIZON), (abstract(rule), abstract(problem), KEY)


def generator(record):
    state = jax.eval_shape(lambda key: record.init(key, 40), KEY)

    def fit_and_sample(state, table, n_valid, key):
        return record.draw(record.train(state, table, n_valid, key, 2), key, 16)

    table = jax.ShapeDtypeStruct((40, len(record.columns.of)), jnp.float32)
    return fit_and_sample, (state, table, jax.ShapeDtypeStruct((), jnp.int32), KEY)


PROGRAMS = {
    "world": lambda: step_world(Case("none")),
    "world, exact": lambda: step_world(Case("exact", "ps", LONG)),
    "train ac": lambda: train_agent("ac"),
    "train ddqn": lambda: train_agent("ddqn"),
    "train ppo": lambda: train_agent("ppo"),
    "sweep": lambda: sweep(3),
    "evaluate": evaluate_rule,
    "gan": lambda: generator(Gan(ring_columns(3, 2), batch_size=20, width=4)),
    "flow": lambda: generator(Flow(ring_columns(3, 2), batch_size=20, width=4)),
}


def calls_outside(text: str) -> list[str]:
    """Names of what the StableHLO of a program calls outside of itself."""
    return [call or operation for call, operation in OUTSIDE.findall(text)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_lowers_for_a_gpu_and_a_tpu_and_calls_nobody(name):
    function, arguments = PROGRAMS[name]()
    exported = export.export(jax.jit(function), platforms=["cuda", "tpu"])(*arguments)
    assert exported.platforms == ("cuda", "tpu")
    assert not exported.ordered_effects
    assert not exported.unordered_effects
    text = exported.mlir_module()
    assert "stablehlo.add" in text, "a program, not a shell around one"
    assert calls_outside(text) == []


def test_a_call_of_the_host_would_be_seen():
    def ask(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    x = jax.ShapeDtypeStruct((3,), jnp.float32)
    (call,) = calls_outside(jax.jit(ask).lower(x).as_text())
    assert "callback" in call
    with pytest.raises(NotImplementedError, match="callback"):
        export.export(jax.jit(ask), platforms=["cuda", "tpu"])(x)
