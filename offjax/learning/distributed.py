"""Paper A's architecture: the agent in the cloud learns, every device decides with the network that it holds.

Algorithm 1 is :mod:`offjax.learning.cloud`; here is algorithm 2, its numbers in brackets. A device holds its weights by
version and never trains; messages never hold up a decision.
"""

import jax
import jax.numpy as jnp
from flax import struct

from offjax import world
from offjax.agents.common import Scalar
from offjax.agents.specs import Specs
from offjax.errors import ConfigError
from offjax.learning import access_point, messages
from offjax.learning.access_point import ORDERS, Chance, Versions, together, wire_time
from offjax.learning.cloud import policy_of, weights_bits
from offjax.learning.messages import Mail, Moved, Tally
from offjax.learning.system import Architecture, Report, SystemState, bytes_of, no_tally
from offjax.problems.spec import Problem
from offjax.workload.arrivals import exponential


@struct.dataclass
class Distributed(Architecture):
    """Devices decide; experiences go up, weights come down."""

    inference: Scalar = 1e-3
    """s that a device takes for a decision, [] or [D] (guess)."""
    order: str = struct.field(pytree_node=False, default="newest")
    """Of weights that come late or twice: ``newest`` stays, or the last to come (``as_they_come``)."""
    versions: int = struct.field(pytree_node=False, default=4)
    """V, networks that are kept for devices. While they hold V different ones, no further one is broadcast."""

    def __post_init__(self) -> None:
        """Refuse an impossible structure with a ConfigError."""
        super().__post_init__()
        if self.order not in ORDERS:
            raise ConfigError("order", self.order, f"one of {', '.join(ORDERS)}")
        if self.versions < 2:
            raise ConfigError("versions", self.versions, "at least 2: the one that is held, and one on its way")

    @property
    def remote(self) -> bool:
        """Decisions are made on the device."""
        return False

    def experience_bits(self, features: int) -> int:
        """(s, a, r, s', terminated) in float32, bit."""
        return 32 * (2 * features + 3)

    def weights_bits(self, problem: Problem) -> int:
        """The network in float32, bit."""
        return weights_bits(self.learner.agent, Specs(len(problem.features), len(problem.decisions)))

    def traffic(self, problem: Problem, report: Report) -> dict[str, int]:
        """Bytes of experiences, of weights as devices are sent them, and of weights on the way to the access points."""
        network = self.weights_bits(problem)
        transfers = bytes_of(report.broadcasts, network) - bytes_of(report.withheld, network)
        return {
            "experiences": bytes_of(report.experiences.sent, self.experience_bits(len(problem.features))),
            "weights_air": bytes_of(report.weights.sent, network),
            "weights_wire": transfers * problem.params.access_points,
        }

    def air_bits(self, problem: Problem, report: Report) -> tuple[jax.Array, jax.Array]:
        """Experiences up, weights down."""
        up = report.experiences.sent * jnp.float32(self.experience_bits(len(problem.features)))
        return up, report.weights.sent * jnp.float32(self.weights_bits(problem))

    def first_versions(self, learnt: object, devices: int) -> Versions:
        """Line 1: all devices start with the agent's own first network (guess)."""
        return access_point.first_versions(policy_of(learnt), self.versions, devices)

    def answer(
        self, problem: Problem, state: SystemState, chance: jax.Array, key: jax.Array
    ) -> tuple[world.Decision, jax.Array, Tally, jax.Array]:
        """Lines 9 and 10: each device asks its own network; nothing travels."""
        versions, devices = state.versions, problem.params.devices
        assert versions is not None
        place = access_point.act(self.learner.agent, versions, state.observation, key)
        delay = jnp.broadcast_to(jnp.float32(self.inference), (devices,))
        behind = state.learner.sent - versions.number[versions.held]
        return world.Decision(place.astype(jnp.int8), delay), jnp.zeros(devices), no_tally(), behind

    def take(self, state: SystemState, down: Mail, moved: Moved) -> tuple[SystemState, jax.Array]:
        """Lines 7 and 8."""
        assert state.versions is not None
        versions, applied = access_point.receive(state.versions, down.load, moved.arrived, moved.rest, self.order)
        return state.replace(versions=versions, down=down), applied

    def broadcast(
        self, problem: Problem, state: SystemState, sends: jax.Array, chance: jax.Array
    ) -> tuple[SystemState, Tally, jax.Array]:
        """Line 24 of algorithm 1, and the access point's share in it: weights to every device."""
        params, versions = problem.params, state.versions
        assert versions is not None
        alive = world.remaining(state.world.device, params) > 0
        row, free = access_point.free_row(versions, state.down, alive)
        goes = sends & free
        policy = policy_of(state.learner.learnt)
        versions = access_point.publish(versions, row, policy, state.learner.sent, state.world.clock, goes)
        down, sent, refused = self._post(problem, state, row, goes, chance)
        tally = no_tally()
        tally = tally.replace(sent=sent, lost=tally.lost.at[messages.Loss.NO_PLACE].set(refused))
        withheld = (sends & ~free).astype(jnp.int32)
        return state.replace(versions=versions, down=down), tally, withheld

    def _post(
        self, problem: Problem, state: SystemState, row: jax.Array, goes: jax.Array, chance: jax.Array
    ) -> tuple[Mail, jax.Array, jax.Array]:
        """A message per device, and another one where it is duplicated: the mail, how many, how many had no place."""
        params, links, devices = problem.params, self.links, problem.params.devices
        bits = jnp.float32(self.weights_bits(problem))
        wire = wire_time(bits, state.world, params) + 0.5 * links.loop_latency
        jitter = jnp.asarray(links.jitter)
        wire = wire + exponential(together(chance[Chance.DOWN_LATE], params), jitter)
        later = wire + exponential(chance[Chance.AGAIN_LATE], jitter)
        cut = together(chance[Chance.DOWN_WIRE], params) < links.wire_loss
        fate, again = (
            messages.draw_fate(cut, chance[which] < links.air_loss) for which in (Chance.DOWN_AIR, Chance.AGAIN_AIR)
        )
        rows, all_of_them = jnp.full(devices, row, jnp.int32), jnp.full(devices, goes)
        twice = all_of_them & (chance[Chance.TWICE] < links.duplicates)
        down, refused = messages.post(state.down, rows, bits, wire, fate, all_of_them)
        down, refused_again = messages.post(down, rows, bits, later, again, twice)
        sent = jnp.sum(all_of_them, dtype=jnp.int32) + jnp.sum(twice, dtype=jnp.int32)
        return down, sent, refused + refused_again
