"""What a user can rely on: nobody beats the oracle where it is exact, and it chooses what the equations say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from offjax import world
from offjax.baselines.lookahead import LeastEnergy, LeastLatency, Oracle, try_places
from offjax.baselines.rules import Random, Rule, all_rules
from offjax.evaluation.rollout import episode
from offjax.problems import nieto2024
from offjax.problems.nieto2024 import Scenario
from offjax.world import End

ETA = -0.1
LOCAL, MEC, CLOUD = 0, 1, 2

# ------------------------------------------------------------------- who is best over whole episodes


class Anybody(struct.PyTreeNode):
    """One of all policies, by number: one program for the whole field."""

    who: jax.Array  # [] 0 oracle, 1 least latency, 2 least energy, 3 random, 4 the rule
    places: jax.Array  # [C] of the rule
    price: jax.Array  # [] reward/J, of the oracle

    def decide(self, problem, state, observation, key):
        field = (Oracle(self.price), LeastLatency(), LeastEnergy(), Random(), Rule(self.places))
        decisions = [policy.decide(problem, state, observation, key) for policy in field]
        return jnp.stack(decisions)[self.who]


PRICES = (0.0, 1e-3, 0.1, 0.25, 0.4, 0.6, 1.0)  # reward/J


@pytest.fixture(scope="module")
def played(key):
    """Name -> episode [seeds, ...] in scenario 1 of the text, the first outage included."""
    tables = list(all_rules(3, 3))
    names = [*PRICES, "least_latency", "least_energy", "random", *map(str, tables)]
    who = [0] * len(PRICES) + [1, 2, 3] + [4] * len(tables)
    places = [(0, 0, 0)] * (len(PRICES) + 3) + tables
    prices = [*PRICES, *[0.0] * (len(names) - len(PRICES))]
    field = Anybody(jnp.asarray(who), jnp.asarray(places, jnp.int8), jnp.asarray(prices))
    problem = nieto2024.make("text", "scenario1", "uniform")

    @jax.jit
    def play(field, problem, keys):
        over_seeds = jax.vmap(lambda policy, key: episode(policy, problem, key, 760), in_axes=(None, 0))
        return jax.vmap(over_seeds, in_axes=(0, None))(field, keys)

    batch = jax.device_get(play(field, problem, jax.random.split(key, 3)))
    return {name: jax.tree.map(lambda leaf, row=row: leaf[row], batch) for row, name in enumerate(names)}


@pytest.fixture(scope="module")
def rewards(played):
    """Name -> reward of the episode [seeds], the oracle at price zero as ``oracle``."""
    totals = {name: batch.reward.astype(np.float64).sum(axis=-1) for name, batch in played.items()}
    oracle = totals[0.0]
    return {"oracle": oracle} | {name: total for name, total in totals.items() if name not in PRICES}


def test_nobody_beats_the_oracle_on_any_seed(rewards):
    best = rewards["oracle"]
    assert len(rewards) == 31
    for name, reward in rewards.items():
        assert (reward <= best + 1e-4).all(), f"{name}: {reward} against {best}"


def test_the_others_are_who_they_say(rewards):
    """Known order: home is dear, the cloud misses class 1; 'class 1 local, else cloud' succeeds every time."""
    best, tasks = rewards["oracle"], 20 * 760
    assert (rewards["(0, 2, 2)"] > best - 1.0).all()
    assert (rewards["(0, 0, 0)"] / tasks < -0.05).all()
    assert (best - rewards["random"] > 400).all()
    assert (best - rewards["least_latency"] > 0.001).all(), "it pays for speed"


# --------------------------------------------------------------------------- task by task, against NumPy

DEVICES, SLOTS = 100, 30
SCENARIO = Scenario(mec=((5, 9),), cloud=((8, 12),), link=((14, 19),), backhaul=((21, 25),))


@pytest.fixture(scope="module")
def watched(key):
    """Every slot of a world in which the oracle decides: state, decision, tried and realised outcomes."""
    problem = nieto2024.make("text", SCENARIO, "uniform", devices=DEVICES)

    @jax.jit
    def play(problem, key):
        def body(state, key):
            decision = Oracle(jnp.zeros(())).decide(problem, state, jnp.zeros((DEVICES, 6)), key)
            tried, rewards = try_places(problem, state)
            answer = world.Decision(decision)
            after, outcome = world.advance(state, answer, world.draw(key, problem.params), problem.params)
            others = [
                policy.decide(problem, state, jnp.zeros((DEVICES, 6)), key)
                for policy in (LeastLatency(), LeastEnergy())
            ]
            return after, (state, decision, tried, rewards, outcome, others)

        keys = jax.random.split(key, SLOTS + 1)
        return jax.lax.scan(body, world.init(keys[0], problem.params), keys[1:])[1]

    return jax.device_get(play(problem, key))


@pytest.fixture(scope="module")
def forms(watched):
    """Latency, energy, delivered and reward of every place [slots, devices, 3], from the equations in float64."""
    state = watched[0]
    bits, cycles, gain, share = (
        np.asarray(values, np.float64)
        for values in (state.job.left.uplink, state.job.left.service, state.device.gain, state.server.share)
    )
    up = np.asarray(state.cell.up).repeat(20, axis=1)
    share = share.repeat(20, axis=1)
    upload = bits / (5e6 * np.log2(1 + 1.0 * 10 ** (gain / 10) / 1e-13))
    with np.errstate(divide="ignore"):
        mec = upload + cycles / (1e9 * share[..., 0])
        cloud = upload + bits / (100e9 / 4 * 0.9 * 0.8) + 2 * 1.4993e6 / 2e8 + cycles / (10e9 * share[..., 1])
    latency = np.stack([cycles / 40e6, mec, cloud], axis=-1)
    paid = np.where(up, upload, 0.0)
    energy = np.stack([1e-21 * 40e6**2 * cycles, paid, paid], axis=-1)
    servers = np.asarray(state.server.up).repeat(20, axis=1)
    fibre = np.asarray(state.cell.backhaul_up).repeat(20, axis=1)
    delivered = np.stack([np.ones_like(up), up & servers[..., 0], up & fibre & servers[..., 1]], axis=-1)
    kilobytes = bits / 8000
    deadline = kilobytes * np.array([0.5e-3, 1e-3, 2e-3])[np.asarray(state.job.task_class)]
    in_time = delivered & (latency <= deadline[..., None])
    assert (np.abs(latency / deadline[..., None] - 1) > 1e-6).all(), "no case within rounding of its deadline"
    return latency, energy, delivered, np.where(in_time, -energy / 4000, ETA)


def test_the_oracle_is_brute_force_over_the_places(watched, forms):
    """Best reward, then least energy, then the first place."""
    decision, (_, energy, delivered, reward) = watched[1], forms
    assert decision.size >= 1000
    tied = reward == reward.max(axis=-1, keepdims=True)
    expected = np.argmin(np.where(tied, energy, np.inf), axis=-1)
    np.testing.assert_array_equal(decision, expected)
    assert {LOCAL, MEC, CLOUD} == set(np.unique(decision))
    assert (~delivered).any(axis=(0, 1)).tolist() == [False, True, True], "outages of all kinds are among them"


def test_what_it_tries_is_what_the_equations_say(watched, forms):
    tried, rewards = watched[2], watched[3]
    latency, energy, delivered, reward = (np.moveaxis(values, -1, 1) for values in forms)
    np.testing.assert_allclose(tried.latency[delivered], latency[delivered], rtol=1e-5)
    np.testing.assert_allclose(tried.energy, energy, rtol=1e-5)
    np.testing.assert_allclose(rewards, reward, rtol=1e-5)
    np.testing.assert_array_equal(tried.result >= End.NO_DECISION, ~delivered)


def test_where_nothing_ends_in_time_the_oracle_saves_energy(watched, forms):
    """The link is lost, class 2 is too slow at home: a lost offload is free."""
    _, energy, _, reward = forms
    hopeless = (reward == ETA).all(axis=-1)
    assert hopeless.sum() > 50
    assert (energy[hopeless][:, LOCAL] > 1).all()
    assert (watched[1][hopeless] == MEC).all()


def test_least_latency_and_least_energy_are_brute_force_too(watched, forms):
    latency, energy, delivered, _ = forms
    fastest, thriftiest = watched[5]
    np.testing.assert_array_equal(fastest, np.argmin(np.where(delivered, latency, np.inf), axis=-1))
    np.testing.assert_array_equal(thriftiest, np.argmin(np.where(delivered, energy, np.inf), axis=-1))
    assert (fastest != thriftiest).any()


def test_looking_ahead_leaves_the_world_untouched(watched):
    """What comes is what was tried, although all places were tried for all devices."""
    decision, tried, outcome = watched[1], watched[2], watched[4]
    for name in ("result", "latency", "energy", "drawn_task", "task_class"):
        chosen = np.take_along_axis(getattr(tried, name), decision[:, None].astype(int), axis=1)[:, 0]
        np.testing.assert_allclose(getattr(outcome, name), chosen, rtol=1e-6)


# -------------------------------------------------------------------------------------------- forecasts


@jax.jit
def _try_at_start(problem, key):
    return try_places(problem, world.init(key, problem.params))


@pytest.fixture(scope="module")
def plain(key):
    return jax.device_get(_try_at_start(nieto2024.make("text", SCENARIO, "uniform", devices=DEVICES), key))


def _same(tried, expected, rtol):
    for name in ("result", "place", "latency", "energy", "deadline"):
        np.testing.assert_allclose(getattr(tried[0], name), getattr(expected[0], name), rtol=rtol)
    np.testing.assert_allclose(tried[1], expected[1], rtol=rtol)


def test_in_a_coupled_world_places_are_tried_as_if_alone(plain, key):
    """The same tasks and channels, and a full queue in front of everybody: none of it shows."""
    problem = nieto2024.make("text", SCENARIO, "uniform", devices=DEVICES)
    params = problem.params.replace(coupling="exact", uplink="active", queue=("fifo", "none"))
    coupled = problem.replace(params=params)

    @jax.jit
    def crowded(problem, key):
        state = world.init(key, problem.params)
        backlog = jnp.full_like(state.server.backlog, 1e12)
        return try_places(problem, state.replace(server=state.server.replace(backlog=backlog)))

    _same(jax.device_get(crowded(coupled, key)), plain, rtol=1e-6)


def test_a_task_over_many_slots_is_tried_to_its_end(plain, key):
    """Not what is known of it after one slot, where nothing has ended and nothing been earned."""
    problem = nieto2024.make("text", SCENARIO, "uniform", devices=DEVICES, slot_duration=0.001)
    tried = jax.device_get(_try_at_start(problem, key))
    assert (tried[0].result != End.NONE).all()
    assert (tried[0].latency > 0.001).any()
    _same(tried, plain, rtol=1e-6)


# ------------------------------------------------------------------------------------------------- prices


def test_a_priced_oracle_saves_energy_the_more_the_dearer(played):
    """In every slot: while no battery runs out, all prices meet the same tasks."""
    energy = np.stack([played[price].energy.astype(np.float64) for price in PRICES])
    reward = np.stack([played[price].reward.astype(np.float64) for price in PRICES])
    assert all((played[price].left > 0).all() for price in PRICES)
    assert (np.diff(energy, axis=0) <= 1e-4).all()
    assert (np.diff(reward, axis=0) <= 1e-6).all(), "and pays for it"
    total = energy.sum(axis=(1, 2))
    assert (np.diff(total)[2:] < 0).all(), total
    assert total[-1] < 0.5 * total[0], total
