"""A fleet view stepped from Python: one compiled call per step, few arrays in and one array out.

A world has some fifty arrays, and a compiled call costs more by the array than a world of one device takes to compute.
So what stays on the device (the numbers of the problem, the state) is kept in one vector per dtype, and what is
reported comes back as one float32 array.

**Seeds and keys.** A seed is the key ``jax.random.key(seed, impl="philox4x32")``, the first of a chain. Each reset and
each step takes the next of the chain, ``chain, key = jax.random.split(chain)``, and a step uses it as gymnax does: the
first half of ``split(key)`` for the world, the second for the episode that follows if this one ends in the step.
So the same seed and actions give the same rewards as this loop over the native environment, episode after episode::

    chain, key = jax.random.split(offjax.envs.seed_key(seed))
    observation, state = env.reset(key, params)
    for action in actions:
        chain, key = jax.random.split(chain)
        observation, state, reward, *_ = env.step(key, state, action, params)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from offjax.envs.fleet import FleetState, FleetView

GENERATOR = "philox4x32"
INFO: dict[str, type] = {
    "busy": bool,
    "battery": float,
    "success": bool,
    "latency": float,
    "energy": float,
    "end": int,
}  # in the order of a report, with their types
_COLUMNS = 2 + len(INFO)  # of a device: reward, terminated, info


def seed_key(seed: int | np.integer | jax.Array) -> jax.Array:
    """The key that a seed (its lower 32 bits) is, in every interface that takes seeds."""
    number = seed if isinstance(seed, jax.Array) else np.uint32(int(seed) % 2**32)
    return jax.random.key(number, impl=GENERATOR)


class Report(NamedTuple):
    """What a step says, in NumPy; D devices, and rows in front where many worlds run side by side."""

    observation: np.ndarray  # [..., D, F] float32, before any reset
    reward: np.ndarray  # [..., D] float32
    terminated: np.ndarray  # [..., D] bool
    truncated: np.ndarray  # [...] bool
    info: dict[str, np.ndarray]  # [..., D] each


class Player:
    """The world or, with ``rows``, the worlds side by side that an interface plays, one compiled call at a time."""

    def __init__(self, view: FleetView, rows: int | None = None) -> None:
        """Play ``view``; nothing is compiled before the first call."""
        layout = Layout.of(view)
        self.view, self.rows = view, rows
        self.devices, self.size = view.devices, view.observation_size
        self._programs = _programs(layout, rows)
        self._view = jax.jit(layout.pack)(view)
        self._carry: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled programs cannot be pickled; where the episode stands goes along.
        return type(self), (self.view, self.rows), {"_carry": self._carry}

    @property
    def started(self) -> bool:
        """Whether there is a chain of keys to go on with."""
        return self._carry is not None

    def start(self, seed: np.uint32 | np.ndarray) -> np.ndarray:
        """Begin a chain at a seed, or one at each uint32 [rows]; the observation [..., D, F]."""
        observation, self._carry = self._programs.start(self._view, seed)
        return np.array(observation)

    def restart(self) -> np.ndarray:
        """Another episode of the same chain; the observation [..., D, F]."""
        observation, self._carry = self._programs.restart(self._view, self._carry)
        return np.array(observation)

    def step(self, action: np.integer | np.ndarray) -> np.ndarray:
        """One step under ``action`` ([D], or any shape of D numbers); its report, raw, for :meth:`read`."""
        report, self._carry = self._programs.step(self._view, self._carry, action)
        return np.array(report)

    def step_rows(self, action: np.ndarray) -> tuple[np.ndarray, jax.Array]:
        """The same for [rows, D]; a world whose episode ended starts another.

        Returns:
          the reports, raw, and the observation [rows, D, F] after the resets (on the device).
        """
        report, observation, self._carry = self._programs.step(self._view, self._carry, action)
        return np.array(report), observation

    def read(self, raw: np.ndarray) -> Report:
        """A report in words."""
        seen = self.devices * self.size
        columns = raw[..., seen:-1].reshape(*raw.shape[:-1], _COLUMNS, self.devices)
        reward, terminated, *rest = np.moveaxis(columns, -2, 0)
        info = {name: value.astype(kind) for (name, kind), value in zip(INFO.items(), rest, strict=True)}
        observation = raw[..., :seen].reshape(*raw.shape[:-1], self.devices, self.size)
        return Report(observation, reward, terminated.astype(bool), raw[..., -1].astype(bool), info)


@dataclass(frozen=True)
class Layout:
    """Where the leaves of a pytree lie in one vector per dtype."""

    structure: Any  # of the pytree
    leaves: tuple[tuple[tuple[int, ...], str], ...]  # shape and dtype of each

    @classmethod
    def of(cls, tree: Any) -> "Layout":
        """The layout of a pytree of arrays, or of their shapes."""
        leaves, structure = jax.tree.flatten(tree)
        return cls(structure, tuple((tuple(jnp.shape(leaf)), jnp.result_type(leaf).name) for leaf in leaves))

    def shapes(self) -> Any:
        """The pytree as shapes."""
        return self.structure.unflatten([jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in self.leaves])

    def pack(self, tree: Any) -> dict[str, jax.Array]:
        """The leaves as one vector per dtype; no bit changes."""
        groups: dict[str, list[jax.Array]] = {}
        for leaf, (_, dtype) in zip(jax.tree.leaves(tree), self.leaves, strict=True):
            groups.setdefault(dtype, []).append(jnp.ravel(jnp.asarray(leaf, dtype)))
        return {dtype: jnp.concatenate(group) for dtype, group in groups.items()}

    def unpack(self, vectors: dict[str, jax.Array]) -> Any:
        """The pytree again."""
        start, leaves = dict.fromkeys(vectors, 0), []
        for shape, dtype in self.leaves:
            stop = start[dtype] + int(np.prod(shape, dtype=int))
            leaves.append(vectors[dtype][start[dtype] : stop].reshape(shape))
            start[dtype] = stop
        return self.structure.unflatten(leaves)


class _Carry(struct.PyTreeNode):
    """What stays on the device between two calls; keys as their bits."""

    chain: jax.Array  # [...] uint32, where the next keys come from
    spare: jax.Array  # [...] uint32, second half of the last step's key
    over: jax.Array  # [] bool, the episode has ended
    state: FleetState


class _Programs(NamedTuple):
    """Compiled functions of packed arguments."""

    start: Callable[..., Any]
    restart: Callable[..., Any]
    step: Callable[..., Any]


@lru_cache(maxsize=64)
def _programs(layout: Layout, rows: int | None) -> _Programs:
    """The three calls for problems of one structure, shared by all that play one."""
    begin, again, step = (_start, _restart, _step) if rows is None else (_start_rows, _restart_rows, _step_rows)
    seed = jax.ShapeDtypeStruct(() if rows is None else (rows,), jnp.uint32)
    carried = Layout.of(jax.eval_shape(begin, layout.shapes(), seed)[-1])

    def start_packed(view: Any, seed: jax.Array) -> tuple[jax.Array, Any]:
        observation, carry = begin(layout.unpack(view), seed)
        return observation, carried.pack(carry)

    def restart_packed(view: Any, carry: Any) -> tuple[jax.Array, Any]:
        observation, carry = again(layout.unpack(view), carried.unpack(carry))
        return observation, carried.pack(carry)

    def step_packed(view: Any, carry: Any, action: jax.Array) -> tuple[Any, ...]:
        *reported, carry = step(layout.unpack(view), carried.unpack(carry), action)
        return *reported, carried.pack(carry)

    return _Programs(jax.jit(start_packed), jax.jit(restart_packed), jax.jit(step_packed))


def _start(view: FleetView, seed: jax.Array) -> tuple[jax.Array, _Carry]:
    chain, key = jax.random.split(seed_key(seed))
    return _begin(view, chain, key)


def _restart(view: FleetView, carry: _Carry) -> tuple[jax.Array, _Carry]:
    """After an end the episode that gymnax's auto-reset would show, otherwise one from the next key."""
    chain = _key(carry.chain)
    following, key = jax.random.split(chain)
    chain = jax.lax.select(carry.over, chain, following)
    return _begin(view, chain, jax.lax.select(carry.over, _key(carry.spare), key))


def _begin(view: FleetView, chain: jax.Array, key: jax.Array) -> tuple[jax.Array, _Carry]:
    observation, state = view.reset(key)
    bits = jax.random.key_data(chain)
    return observation, _Carry(chain=bits, spare=jnp.zeros_like(bits), over=jnp.zeros((), bool), state=state)


def _step(view: FleetView, carry: _Carry, action: jax.Array) -> tuple[jax.Array, _Carry]:
    """The report [D F + 8 D + 1] and what to go on with."""
    chain, key = jax.random.split(_key(carry.chain))
    own, spare = jax.random.split(key)
    action = jnp.reshape(jnp.asarray(action), (view.devices,))
    observation, state, reward, terminated, truncated, info = view.advance(own, carry.state, action)
    columns = [reward, terminated, *(info[name] for name in INFO)]
    report = jnp.concatenate([observation.reshape(-1), *(c.astype(jnp.float32) for c in columns), truncated[None]])
    chain_bits, spare_bits = jax.random.key_data(chain), jax.random.key_data(spare)
    return report, _Carry(chain=chain_bits, spare=spare_bits, over=view.is_over(state), state=state)


def _start_rows(view: FleetView, seeds: jax.Array) -> tuple[jax.Array, _Carry]:
    return jax.vmap(_start, in_axes=(None, 0))(view, seeds)


def _restart_rows(view: FleetView, carry: _Carry) -> tuple[jax.Array, _Carry]:
    return jax.vmap(_restart, in_axes=(None, 0))(view, carry)


def _step_rows(view: FleetView, carry: _Carry, action: jax.Array) -> tuple[jax.Array, jax.Array, _Carry]:
    """Reports [rows, ...], observations after the resets, and what to go on with.

    Worlds are reset only in steps in which one ends: a reset costs several times a step.
    """
    report, carry = jax.vmap(_step, in_axes=(None, 0, 0))(view, carry, action)
    seen = report[:, : view.devices * view.observation_size].reshape(-1, view.devices, view.observation_size)

    def reset(now: tuple[jax.Array, _Carry]) -> tuple[jax.Array, _Carry]:
        return jax.tree.map(lambda new, old: _choose(carry.over, new, old), _restart_rows(view, carry), now)

    return report, *jax.lax.cond(jnp.any(carry.over), reset, lambda now: now, (seen, carry))


def _choose(mask: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(mask.shape + (1,) * (new.ndim - 1)), new, old)


def _key(bits: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(bits, impl=GENERATOR)
