"""The architecture that paper A compares with: the agent in the cloud decides for every device, and learns.

A device sends what it observes and waits for the answer. What comes meanwhile has no decision: it is dropped, or waits
in the device's buffer, as in every world. Without the cloud there is no answer.
"""

import jax
import jax.numpy as jnp
from flax import struct

from offjax import world
from offjax.agents.common import Scalar
from offjax.learning.access_point import Chance, Versions, cloud_up, wire_time
from offjax.learning.messages import Loss, Mail, Moved, Tally
from offjax.learning.system import Architecture, Report, SystemState, bytes_of, no_tally
from offjax.problems.spec import Problem
from offjax.world.links import downlink, uplink


@struct.dataclass
class Centralised(Architecture):
    """The agent decides; observations and experiences go up, decisions come down."""

    observe: Scalar = 0.0
    """s that a device takes to observe (guess)."""
    inference: Scalar = 1e-4
    """s that the agent takes for a decision (guess)."""
    over_links: bool = struct.field(pytree_node=False, default=True)
    """Does sending and returning take the time of the world's links? If not the loop takes its constants alone."""

    @property
    def remote(self) -> bool:
        """Decisions come from the cloud."""
        return True

    def experience_bits(self, features: int) -> int:
        """(r, terminated) in float32, bit: what was observed and decided is known from the requests."""
        return 64

    def traffic(self, problem: Problem, report: Report) -> dict[str, int]:
        """Bytes of rewards, of questions and of answers."""
        question, reply = self.request_bits(len(problem.features))
        return {
            "experiences": bytes_of(report.experiences.sent, self.experience_bits(len(problem.features))),
            "requests": bytes_of(report.requests.sent, question),
            "answers": bytes_of(report.requests.arrived, reply),
        }

    def air_bits(self, problem: Problem, report: Report) -> tuple[jax.Array, jax.Array]:
        """Observations and rewards up, decisions down."""
        question, reply = self.request_bits(len(problem.features))
        rewards = report.experiences.sent * jnp.float32(self.experience_bits(len(problem.features)))
        return rewards + report.requests.sent * jnp.float32(question), report.requests.arrived * jnp.float32(reply)

    def first_versions(self, learnt: object, devices: int) -> Versions | None:
        """Devices hold no network."""
        return None

    def answer(
        self, problem: Problem, state: SystemState, chance: jax.Array, key: jax.Array
    ) -> tuple[world.Decision, jax.Array, Tally, jax.Array]:
        """A request and an answer for each device that asks; one that loses either asks again a slot later (guess)."""
        params, now, links = problem.params, state.world, self.links
        up = uplink(now, params)
        asks = now.job.asks & ~problem.terminated(now) & up.up & cloud_up(now, params)
        kept = ((1.0 - jnp.asarray(links.air_loss)) * (1.0 - jnp.asarray(links.wire_loss))) ** 2
        gets = asks & (chance[Chance.DOWN_AIR] < kept)
        # Behind a condition, so that no consumer of the decisions computes them (and their random numbers) anew.
        place = jax.lax.cond(
            jnp.any(gets),
            lambda: self.learner.agent.act(state.learner.learnt, state.observation, key, True),
            lambda: jnp.zeros(params.devices, jnp.int32),
        )
        latency, joules = self.loop(problem, state)
        decision = world.Decision(jnp.where(gets, place, -1).astype(jnp.int8), latency)
        spent = jnp.where(asks, joules, 0.0)
        lost = jnp.sum(asks & ~gets, dtype=jnp.int32)
        tally = no_tally()
        tally = tally.replace(
            sent=jnp.sum(asks, dtype=jnp.int32),
            arrived=jnp.sum(gets, dtype=jnp.int32),
            lost=tally.lost.at[Loss.LINK].set(lost),
            joules=jnp.sum(spent),
        )
        return decision, spent, tally, jnp.zeros(params.devices, jnp.int32)

    def loop(self, problem: Problem, state: SystemState) -> tuple[jax.Array, jax.Array]:
        """Observe + send + infer + return, [D] s, and what the device spends on it, [D] J."""
        params, now, devices = problem.params, state.world, problem.params.devices
        constant = jnp.float32(self.observe + self.inference + self.links.loop_latency)
        constant = jnp.broadcast_to(constant, (devices,))
        question, reply = (jnp.full(devices, bits, jnp.float32) for bits in self.request_bits(len(problem.features)))
        send, _, spent = world.transmit(question, uplink(now, params))
        back, _, heard = world.transmit(reply, downlink(now, params))
        if not self.over_links:
            return constant, spent + heard
        wires = wire_time(question[0], now, params) + wire_time(reply[0], now, params)
        return constant + send + back + wires, spent + heard

    def request_bits(self, features: int) -> tuple[int, int]:
        """Sizes of an observation in float32 and of a decision, bit."""
        return 32 * features, 32

    def take(self, state: SystemState, down: Mail, moved: Moved) -> tuple[SystemState, jax.Array]:
        """Nothing comes down but decisions."""
        return state.replace(down=down), jnp.zeros((), jnp.int32)

    def broadcast(
        self, problem: Problem, state: SystemState, sends: jax.Array, chance: jax.Array
    ) -> tuple[SystemState, Tally, jax.Array]:
        """The agent decides with its newest weights; none travel."""
        return state, no_tally(), jnp.zeros((), jnp.int32)
