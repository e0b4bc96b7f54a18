"""Devices, access points and an agent in the cloud as one jitted program: what all architectures share.

An architecture says who decides and what travels; see :mod:`offjax.learning.distributed` and
:mod:`offjax.learning.centralised`. Tasks, queues, links, outages and batteries are the world's.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from offjax import world
from offjax.agents.common import Scalar
from offjax.agents.specs import Specs
from offjax.errors import ConfigError
from offjax.learning import cloud, messages
from offjax.learning.access_point import Chance, Links, Versions, cloud_server, cloud_up, learner_up, wire_time
from offjax.learning.cloud import Learner, LearnerState, require_count
from offjax.learning.messages import Mail, Moved, Tally
from offjax.learning.train import answered, look
from offjax.learning.transitions import Transitions, no_transitions
from offjax.problems.spec import Problem
from offjax.replay.experience import Experience, merge_slots
from offjax.typed_jit import typed_jit
from offjax.workload.arrivals import exponential
from offjax.world import per_device, remaining
from offjax.world.links import downlink, uplink

RESOURCES = ("arrival", "send")
FIT = 0x4649_5400  # what the key of a fit is folded with


@struct.dataclass
class Architecture:
    """What both architectures have: an agent in the cloud, and devices that send it experiences."""

    learner: Learner
    links: Links = Links()
    sending_period: Scalar = 1
    """SF: one experience is sent every so many tasks."""
    counter_start: Scalar = 1
    """What cSF is set to (lines 3 and 21). From 1, one of SF tasks is sent; from 0, as printed, one of SF + 1."""
    resources: str = struct.field(pytree_node=False, default="arrival")
    """When a device takes over what the access point tells of bandwidths and servers: on ``arrival`` (guess), or with
    an experience that it sends (``send``, line 19 as printed)."""

    def __post_init__(self) -> None:
        """Refuse numbers that contradict each other with a ConfigError."""
        require_count("sending_period", self.sending_period)
        if self.resources not in RESOURCES:
            raise ConfigError("resources", self.resources, f"one of {', '.join(RESOURCES)}")
        start, period = self.counter_start, self.sending_period
        if isinstance(start, int) and isinstance(period, int | float) and not 0 <= start <= period:
            raise ConfigError("counter_start", start, f"0 to sending_period = {period}: else none is ever sent")
        if self.learner.agent.sequential and any(map(_differs_from_one, (self.links.places, period, start))):
            text = f"1 for {self.learner.agent.name}, with sending_period 1 and counter_start 1: it learns from rows"
            raise ConfigError("links.places", self.links.places, f"{text} that follow each other")

    @property
    def remote(self) -> bool:
        """Do decisions come from the cloud? Then they stand still while the loop is down."""
        raise NotImplementedError

    def within(self, problem: Problem) -> Problem:
        """The problem in a world where decisions take time."""
        return problem.replace(params=problem.params.replace(delays=True, remote=self.remote))

    def experience_bits(self, features: int) -> int:
        """Size of an experience on its way, bit."""
        raise NotImplementedError

    def traffic(self, problem: Problem, report: "Report") -> dict[str, int]:
        """Bytes sent by kind of message, over all slots of a report on the host; Python's integers."""
        raise NotImplementedError

    def air_bits(self, problem: Problem, report: "Report") -> tuple[jax.Array, jax.Array]:
        """[slots] float32 bit that are sent by radio in each slot of a report, up and down; to be traced."""
        raise NotImplementedError

    def first_versions(self, learnt: Any, devices: int) -> Versions | None:
        """The networks that devices hold, where they hold any."""
        raise NotImplementedError

    def answer(
        self, problem: Problem, state: "SystemState", chance: jax.Array, key: jax.Array
    ) -> tuple[world.Decision, jax.Array, Tally, jax.Array]:
        """Decisions, the J [D] that asking for them takes, what was sent for them, and how old the networks are.

        The last is the number of broadcasts [D] by which the network that decides is behind the agent's.
        """
        raise NotImplementedError

    def broadcast(
        self, problem: Problem, state: "SystemState", sends: jax.Array, chance: jax.Array
    ) -> tuple["SystemState", Tally, jax.Array]:
        """Send the weights down if it ``sends`` [] bool: the state, the messages, and broadcasts withheld [] int32."""
        raise NotImplementedError

    def take(self, state: "SystemState", down: Mail, moved: Moved) -> tuple["SystemState", jax.Array]:
        """Let devices take the weights that have come: the state, and how many devices [] int32 did."""
        raise NotImplementedError


def _differs_from_one(value: Any) -> bool:
    return isinstance(value, int | float) and value != 1  # a traced number is not looked at


class SystemState(struct.PyTreeNode):
    """Everything that a run needs to go on; save it whole."""

    world: world.State
    transitions: Transitions
    observation: jax.Array  # [D, F] normalised, of the world as it is
    counter: jax.Array  # [D] int32 cSF
    up: Mail  # experiences, leaves [K, D, ...]
    down: Mail  # rows of ``versions``, [K, D] int32
    versions: Versions | None  # where devices decide
    learner: LearnerState
    chance: jax.Array  # [Chance, D] what messages draw in this slot; drawn a slot ahead, as the world's draws are
    key: jax.Array  # typed random key

    @property
    def agent(self) -> Any:
        """What the agent has learnt, as in a ``TrainState``."""
        return self.learner.learnt


class Report(struct.PyTreeNode):
    """What happened in one slot; counts are int32, to be summed on the host in Python's integers."""

    arrived: jax.Array  # [] tasks that came
    decisions: jax.Array  # []
    ends: jax.Array  # [End] tasks by how they ended
    refused: jax.Array  # [End] tasks dropped on arrival, by cause
    reward: jax.Array  # [] sum over devices
    alive: jax.Array  # [] devices with energy
    staleness: jax.Array  # [] sum over decisions, broadcasts behind the newest
    experiences: Tally
    weights: Tally
    requests: Tally  # for decisions, and their answers
    drawn: jax.Array  # [] J that batteries gave for all messages
    broadcasts: jax.Array  # [] transfers of the weights to the access points
    withheld: jax.Array  # [] of them, not sent because devices hold all versions that are kept
    applied: jax.Array  # [] devices that took other weights
    trained: jax.Array  # [] share of iterations in which the agent trained
    td_error: jax.Array  # [] mean size, 0 without training
    spoilt: jax.Array  # [] rows, sent or generated, that the agent refused: a number in them was not finite


# ----------------------------------------------------------------------------------------------- program


@typed_jit()
def init(key: jax.Array, architecture: Architecture, problem: Problem) -> SystemState:
    """A fresh system.

    Args:
        key: typed random key.
        architecture: the record.
        problem: of ``D`` devices, with a server in the cloud.

    Raises:
        ConfigError: no server in the cloud.
    """
    problem = architecture.within(problem)
    params = problem.params
    cloud_server(params)
    world_key, learner_key, chance_key, run_key = start_keys(key)
    features, devices, places = len(problem.features), params.devices, architecture.links.places
    state = world.init(world_key, params)
    specs = Specs(features, len(problem.decisions))
    learner = cloud.begin(architecture.learner, learner_key, specs, places * devices)
    return SystemState(
        world=state,
        transitions=no_transitions(devices, features),
        observation=look(problem, state),
        counter=jnp.full(devices, architecture.counter_start, jnp.int32),
        up=messages.no_mail(cloud.blank((devices,), features), places, devices),
        down=messages.no_mail(jnp.zeros(devices, jnp.int32), places, devices),
        versions=architecture.first_versions(learner.learnt, devices),
        learner=learner,
        chance=jax.random.uniform(chance_key, (len(Chance), devices)),
        key=run_key,
    )


def start_keys(key: jax.Array) -> jax.Array:
    """[4] of the world, the learner, the first messages, and the run: from the key of :func:`init`."""
    return jax.random.split(key, 4)


def slot_keys(key: jax.Array) -> jax.Array:
    """[5] of a slot's decisions, messages, world and learner, and of the run from then on."""
    return jax.random.split(key, 5)


@typed_jit(static_argnames=("slots",), donate_argnames=("state",))
def run(architecture: Architecture, problem: Problem, state: SystemState, slots: int) -> tuple[SystemState, Report]:
    """Some slots of the system; a generator is fitted before the first of every ``fit_period``.

    The fit is no part of a slot: side by side in a ``vmap``, a fit that only some slots need would be paid in all.

    Args:
        architecture: its numbers are traced.
        problem: its numbers are traced.
        state: donated.
        slots: static; with a generator whole periods.

    Returns:
        the state to go on from, and a report with leaves [slots, ...].

    Raises:
        ConfigError: slots that are no whole number of periods.
    """
    problem, learner = architecture.within(problem), architecture.learner

    def some(state: SystemState, length: int) -> tuple[SystemState, Report]:
        return jax.lax.scan(lambda carry, _: slot(architecture, problem, carry), state, length=length)

    if learner.augment is None or not learner.augment.fits:
        return some(state, slots)
    if slots % learner.fit_period:
        raise ConfigError("slots", slots, f"whole periods of fit_period = {learner.fit_period}")

    def period(state: SystemState, _: None) -> tuple[SystemState, Report]:
        # The key of the slots stays as it is: with and without a generator, a seed's world is the same.
        fit_key = jax.random.fold_in(state.key, FIT)
        works = learner_up(state.world, problem.params)
        state = state.replace(learner=cloud.refitted(learner, state.learner, works, fit_key))
        return some(state, learner.fit_period)

    state, report = jax.lax.scan(period, state, length=slots // learner.fit_period)
    return state, merge_slots(report)


def slot(architecture: Architecture, problem: Problem, state: SystemState) -> tuple[SystemState, Report]:
    """One slot: decide, let messages and tasks go on, take weights, send experiences, learn, broadcast.

    Messages go on before the world, over its links of this slot; what they bring counts from the next decision on.
    """
    params = problem.params
    act_key, chance_key, world_key, learn_key, key = slot_keys(state.key)
    chance = state.chance
    answer, asking, requests, behind = architecture.answer(problem, state, chance, act_key)
    asked = state.world.job.asks & ~problem.terminated(state.world) & (answer.place >= 0)

    up, gone_up, down, gone_down = carry(architecture, problem, state)
    device, drawn = world.pay(state.world.device, asking + gone_up.joules + gone_down.joules, params)
    before = state.world.replace(device=device)
    after, transitions, experience, seen, outcome, reward = answered(
        problem, before, state.transitions, state.observation, answer, world_key
    )
    ended = experience.valid & (remaining(after.device, params) > 0)
    due = ended & (state.counter >= architecture.sending_period)  # 16
    view = told(architecture, problem, state.observation, seen, due, per_device(after.cell.up, params))
    come = delivered(up, gone_up)  # before a new message takes the place of one that has come
    state = state.replace(
        world=after,
        transitions=transitions,
        observation=view,
        counter=jnp.where(due, architecture.counter_start, state.counter + ended).astype(jnp.int32),  # 21, 23
        up=up,
        chance=jax.random.uniform(chance_key, chance.shape),
        key=key,
    )
    state, applied = architecture.take(state, down, gone_down)
    state, refused = send(architecture, problem, state, experience.replace(next_observation=view), due, chance)
    works, before_learning = learner_up(before, params), state.learner.spoilt
    learner, sends, metrics = cloud.work(architecture.learner, state.learner, come, works, learn_key)
    state, weights, withheld = architecture.broadcast(problem, state.replace(learner=learner), sends, chance)
    report = Report(
        arrived=jnp.sum(outcome.arrived, dtype=jnp.int32),
        decisions=jnp.sum(asked, dtype=jnp.int32),
        ends=_count(outcome.result),
        refused=_count(outcome.refused),
        reward=jnp.sum(reward),
        alive=jnp.sum(remaining(after.device, params) > 0, dtype=jnp.int32),
        staleness=jnp.sum(jnp.where(asked, behind, 0)).astype(jnp.float32),
        experiences=_tally(jnp.sum(due, dtype=jnp.int32), gone_up, refused),
        weights=_tally(weights.sent, gone_down, weights.lost[messages.Loss.NO_PLACE]),
        requests=requests,
        drawn=jnp.sum(drawn),
        broadcasts=sends.astype(jnp.int32),
        withheld=withheld,
        applied=applied,
        trained=metrics["trained"],
        td_error=metrics["td_error"],
        spoilt=learner.spoilt - before_learning,
    )
    return state, report


def carry(architecture: Architecture, problem: Problem, state: SystemState) -> tuple[Mail, Moved, Mail, Moved]:
    """Let the messages of both directions go on for one slot: experiences up, weights down."""
    params, now, waits = problem.params, state.world, architecture.links.waits
    alive, wire_up, slot_duration = remaining(now.device, params) > 0, cloud_up(now, params), params.slot_duration
    up = messages.move(state.up, messages.UP, uplink(now, params), wire_up, alive, waits, slot_duration)
    down = messages.move(state.down, messages.DOWN, downlink(now, params), wire_up, alive, waits, slot_duration)
    return *up, *down


def told(
    architecture: Architecture,
    problem: Problem,
    before: jax.Array,
    now: jax.Array,
    due: jax.Array,
    link_up: jax.Array,
) -> jax.Array:
    """What devices see [D, F], normalised: of the resources what the access point told them last (lines 18, 19).

    Args:
        architecture: the record.
        problem: says in ``told`` [F] which features come from the access point; none if it has no such attribute.
        before: [D, F] what they saw.
        now: [D, F] what there is.
        due: [D] bool, they send an experience.
        link_up: [D] bool, the access point reaches them.
    """
    columns = getattr(problem, "told", ())
    if not any(columns):
        return now
    hears = link_up & due if architecture.resources == "send" else link_up
    return jnp.where(jnp.asarray(columns)[None, :] & ~hears[:, None], before, now)


def send(
    architecture: Architecture,
    problem: Problem,
    state: SystemState,
    experience: Experience,
    due: jax.Array,
    chance: jax.Array,
) -> tuple[SystemState, jax.Array]:
    """Line 20 of algorithm 2: an experience goes to the access point.

    Args:
        architecture: the record.
        problem: the world's numbers.
        state: after the slot.
        experience: [D].
        due: [D] bool, it is sent.
        chance: [Chance, D] in [0, 1).

    Returns:
        the state, and how many found no place [] int32.
    """
    params, links = problem.params, architecture.links
    bits = architecture.experience_bits(len(problem.features))
    late = exponential(chance[Chance.UP_LATE], jnp.asarray(links.jitter)) + 0.5 * links.loop_latency
    fate = messages.draw_fate(chance[Chance.UP_AIR] < links.air_loss, chance[Chance.UP_WIRE] < links.wire_loss)
    wire = wire_time(bits, state.world, params) + late
    up, refused = messages.post(state.up, experience, jnp.float32(bits), wire, fate, due)
    return state.replace(up=up), refused


def delivered(up: Mail, moved: Moved) -> Experience:
    """[K D] experiences, valid where they have come to the cloud in this slot."""
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), up.load)
    return rows.replace(valid=moved.arrived.reshape(-1))


def _tally(sent: jax.Array, moved: Moved, refused: jax.Array) -> Tally:
    return Tally(
        sent=sent,
        arrived=jnp.sum(moved.arrived, dtype=jnp.int32),
        lost=moved.lost.at[messages.Loss.NO_PLACE].add(refused),
        joules=jnp.sum(moved.joules),
    )


def _count(codes: jax.Array) -> jax.Array:
    """[End] int32, how often each end is among ``codes`` [D]."""
    ends = jnp.arange(len(world.End), dtype=codes.dtype)
    return jnp.sum(codes[None, :] == ends[:, None], axis=1, dtype=jnp.int32)


def no_tally() -> Tally:
    """Nothing sent."""
    zero = jnp.zeros((), jnp.int32)
    return Tally(zero, zero, jnp.zeros(len(messages.Loss), jnp.int32), jnp.zeros(()))


def bytes_of(count: jax.Array, bits: int) -> int:
    """Bytes of as many messages as ``count`` [slots] sums to, ``bits`` each."""
    return int(np.sum(np.asarray(count), dtype=np.int64)) * bits // 8


def under_way(mail: Mail) -> jax.Array:
    """[] int32 messages of one direction that are under way."""
    return jnp.sum(mail.there, dtype=jnp.int32)
