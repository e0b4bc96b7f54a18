"""A small environment that keeps the contract, and one for each way to break it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces


@struct.dataclass
class State(environment.EnvState):
    time: jax.Array
    value: jax.Array


class Toy(environment.Environment):
    """A uniform number is observed, and rewarded where the action says so; above 0.5 the device is busy."""

    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return hash(type(self))

    @property
    def default_params(self):
        return environment.EnvParams(max_steps_in_episode=100)

    @property
    def num_actions(self):
        return 2

    def action_space(self, params=None):
        return spaces.Discrete(2)

    def observation_space(self, params=None):
        return spaces.Box(0.0, 1.0, (2,), jnp.float32)

    def draw(self, key):
        return jax.random.uniform(key)

    def observe(self, key, state, action, params):
        return jnp.stack([state.value, jnp.float32(1.0) - state.value])

    def reset_env(self, key, params):
        state = State(time=jnp.int32(0), value=self.draw(key))
        return self.observe(key, state, None, params), state

    def reward(self, state, action, busy):
        return jnp.where(busy, 0.0, state.value * action)

    def step_env(self, key, state, action, params):
        busy = state.value > 0.5
        reward = self.reward(state, action, busy)
        state = State(time=state.time + 1, value=self.draw(key))
        terminated = self.is_terminated(state, params)
        return self.observe(key, state, action, params), state, reward, terminated, {"busy": busy}

    def is_terminated(self, state, params):
        return jnp.zeros((), bool)


class Unhashable(Toy):
    __hash__ = None


class ComparedByIdentity(Toy):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class WrongActionCount(Toy):
    @property
    def num_actions(self):
        return 3


class WrongDtype(Toy):
    def observe(self, key, state, action, params):
        return super().observe(key, state, action, params).astype(jnp.float16)


class WrongShape(Toy):
    def observe(self, key, state, action, params):
        return super().observe(key, state, action, params)[:1]


class FloatTime(Toy):
    def reset_env(self, key, params):
        observation, state = super().reset_env(key, params)
        return observation, state.replace(time=jnp.float32(0))


class IntegerReward(Toy):
    def reward(self, state, action, busy):
        return jnp.where(busy, 0, action)


class FourValues(Toy):
    def step(self, key, state, action, params=None):
        return super().step(key, state, action, params)[:4]


class NotANumber(Toy):
    def observe(self, key, state, action, params):
        return jnp.where(state.value > 0.5, jnp.nan, super().observe(key, state, action, params))


class InfiniteReward(Toy):
    def reward(self, state, action, busy):
        return jnp.where(busy, -jnp.inf, 0.0)


class OutsideTheBox(Toy):
    def observe(self, key, state, action, params):
        return super().observe(key, state, action, params) + jnp.where(state.value > 0.5, 1.0, 0.0)


class KeyIgnored(Toy):
    def draw(self, key):
        return jnp.float32(0.25)


class OnlyRawKeys(Toy):
    def draw(self, key):
        return jax.random.uniform(jax.random.wrap_key_data(key))


class OtherWithoutJit(Toy):
    def reward(self, state, action, busy):
        return super().reward(state, action, busy) + (0.0 if isinstance(action, jax.core.Tracer) else 1.0)


class TimeLimitTerminates(Toy):
    def is_terminated(self, state, params):
        return self.is_truncated(state, params)


class OneStepLate(Toy):
    def is_truncated(self, state, params):
        return state.time > params.max_steps_in_episode


class TimeStandsStill(Toy):
    def step(self, key, state, action, params=None):
        observation, after, *rest = super().step(key, state, action, params)
        return observation, after.replace(time=jnp.maximum(after.time, 1)), *rest


class FinalObservationAfterReset(Toy):
    def step(self, key, state, action, params=None):
        observation, *rest, info = super().step(key, state, action, params)
        return observation, *rest, {**info, "final_observation": observation}


@struct.dataclass
class StaticParams:
    max_steps_in_episode: int = struct.field(pytree_node=False, default=100)

    def replace(self, max_steps_in_episode):
        return StaticParams(max_steps_in_episode)


class StaticLimit(Toy):
    @property
    def default_params(self):
        return StaticParams()


class CoupledBatch(Toy):
    """Each environment of a batch sees the mean of all."""

    def draw(self, key):
        def mean(values):
            return np.broadcast_to(np.mean(values, dtype=np.float32), np.shape(values))

        value = jax.random.uniform(key)
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(mean, shape, value, vmap_method="broadcast_all")


class BusyObeys(Toy):
    def reward(self, state, action, busy):
        return state.value * action


class Unpicklable(Toy):
    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        raise TypeError("cannot pickle")


class DropsInfo(Toy):
    @partial(jax.jit, static_argnames=("self",))
    def step(self, key, state, action, params=None):
        *rest, info = super().step(key, state, action, params)
        return *rest, tuple(info.values())
