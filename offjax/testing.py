"""The contract that other people's trainers rely on, as a test that anyone can run on an environment.

``check_env(env)`` takes a gymnax environment of either kind, native (``step`` returns six values) or legacy (five
values), both with auto-reset, and raises :class:`ContractError` at the first rule that it breaks.
"""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.tree_util import keystr

from offjax.errors import ConfigError, OffjaxError

LIMIT = 5  # steps of an episode in the checks of the time limit
LONG = 1_000_000  # steps of an episode that no check comes to the end of
LEAST_STEPS = 2 * LIMIT + 1
ROUNDING = 1e-5  # relative, between programs that compute the same


class ContractError(OffjaxError, AssertionError):
    """An environment breaks a rule of the contract."""

    def __init__(self, rule: str, expected: str, seen: object) -> None:
        """Say in one line which ``rule``, what was ``expected`` and what was ``seen``."""
        self.rule, self.expected, self.seen = rule, expected, str(seen)
        super().__init__(" ".join(f"{rule}: expected {expected}, saw {seen}".split()))


def check_env(env: Any, params: Any = None, *, steps: int = 64) -> list[str]:
    """Test that an environment keeps the contract.

    Args:
      env: a gymnax environment, or one with the 5-tuple of gymnax before 1.0.
      params: its parameters; by default ``env.default_params``. Give others to bring up what the defaults
        never show (a busy device needs slots shorter than a task).
      steps: of the rollouts under random actions, at least 11.

    Returns:
      The names of the checks passed. A rule about something that never came up (no busy device) is not named.

    Raises:
      ContractError: the first rule that is broken, what was expected and what was seen.
      ConfigError: too few ``steps``.
    """
    if steps < LEAST_STEPS:
        raise ConfigError("steps", steps, f"a whole number from {LEAST_STEPS}")
    subject = _Subject(env, env.default_params if params is None else params, steps)
    return [name for name, check in _CHECKS.items() if _run(name, check, subject)]


def check_env_id(env_id: str) -> list[str]:
    """Test one of offjax's own ids, with its default parameters; the names of the checks passed.

    Raises:
      ConfigError: an unknown id.
      ContractError: see :func:`check_env`.
    """
    from offjax.envs import make

    return check_env(*make(env_id))


@struct.dataclass
class _Trace:
    """An episode stream of T steps; index t is the step from ``before[t]``."""

    first: Any  # observation of the reset
    start: Any  # state of the reset
    before: Any  # [T] state
    key: jax.Array  # [T]
    action: Any  # [T]
    observation: Any  # [T] as returned: of the next episode where one ended
    state: Any  # [T] the same
    reward: jax.Array  # [T]
    terminated: jax.Array  # [T]; ``done`` of the legacy kind
    truncated: jax.Array  # [T]; false in the legacy kind
    info: Any  # [T]


@partial(jax.jit, static_argnames=("env",))
def _unroll(env: Any, params: Any, key: jax.Array, action: Any) -> _Trace:
    """Reset and take every ``action`` [T], in one scan."""
    reset_key, step_key = jax.random.split(key)
    first, start = env.reset(reset_key, params)

    def step(state: Any, each: tuple[jax.Array, Any]) -> tuple[Any, tuple[Any, ...]]:
        result = _step(env, params, each[0], state, each[1])
        return result[1], (state, *result)

    keys = jax.random.split(step_key, jax.tree.leaves(action)[0].shape[0])
    before, observation, state, *rest = jax.lax.scan(step, start, (keys, action))[1]
    return _Trace(first, start, before, keys, action, observation, state, *rest)


def _step(env: Any, params: Any, key: jax.Array, state: Any, action: Any) -> tuple[Any, ...]:
    """A step of either kind as six values."""
    result = env.step(key, state, action, params)
    if len(result) == 6:
        return result
    observation, state, reward, done, info = result
    return observation, state, reward, done, jnp.zeros_like(done), info


@dataclass
class _Subject:
    """The environment under test, and what several checks look at."""

    env: Any
    params: Any
    steps: int

    @cached_property
    def reset_shapes(self) -> Any:
        """Shapes and dtypes of what ``reset`` returns."""
        return jax.eval_shape(self.env.reset, jax.random.key(0), self.params)

    @cached_property
    def step_shapes(self) -> Any:
        """Shapes and dtypes of what ``step`` returns."""
        key, state = jax.random.key(0), self.reset_shapes[1]
        return jax.eval_shape(self.env.step, key, state, self.actions[0], self.params)

    @property
    def legacy(self) -> bool:
        return len(self.step_shapes) == 5

    @cached_property
    def actions(self) -> Any:
        keys = jax.random.split(jax.random.key(1), self.steps)
        return jax.vmap(self.env.action_space(self.params).sample)(keys)

    def unroll(self, seed: int = 2, limit: int | None = None) -> _Trace:
        """A rollout with this seed and time limit; the actions are always the same."""
        params = self.params if limit is None else _with_limit(self.params, limit)
        return _unroll(self.env, params, jax.random.key(seed), self.actions)

    @cached_property
    def trace(self) -> _Trace:
        return self.unroll(limit=LONG)

    @cached_property
    def short(self) -> _Trace:
        return self.unroll(limit=LIMIT)


def _with_limit(params: Any, limit: Any) -> Any:
    return params.replace(max_steps_in_episode=jnp.asarray(limit, jnp.int32))


def _run(name: str, check: Callable[[_Subject], bool], subject: _Subject) -> bool:
    try:
        return check(subject)
    except ContractError:
        raise
    except Exception as error:  # whatever the environment raises is its breach, and must end in one line
        raise ContractError(name, "no exception", f"{type(error).__name__}: {str(error)[:300]}") from error


# ------------------------------------------------------------------------------------------------ rules


def _check_identity(subject: _Subject) -> bool:
    """Trainers pass the environment to ``jax.jit`` as static: equal ones must share compiled programs."""
    env, twin = subject.env, copy.deepcopy(subject.env)
    if type(env).__hash__ is None:
        raise ContractError("identity", "a hashable environment", f"unhashable {type(env).__name__}")
    if env != twin or hash(env) != hash(twin):
        raise ContractError("identity", "a deep copy that is equal and has the same hash", "one that differs")
    return True


def _check_pickle(subject: _Subject) -> bool:
    if not subject.legacy:
        return False
    if pickle.loads(pickle.dumps(subject.env)) != subject.env:
        raise ContractError("pickle", "an equal environment after pickling", "one that differs")
    return True


def _check_spaces(subject: _Subject) -> bool:
    space, params = subject.env.action_space(subject.params), subject.params
    inside = jax.vmap(space.contains)(subject.actions)
    if not bool(jnp.all(inside)):
        raise ContractError("spaces", "sampled actions inside the action space", "one outside")
    if hasattr(space, "n") and subject.env.num_actions != space.n:
        raise ContractError("spaces", f"num_actions = {space.n}", subject.env.num_actions)
    observation = subject.env.observation_space(params).sample(jax.random.key(0))
    _check_array("spaces", "a sampled observation", observation, *_observation_type(subject))
    return True


def _check_params(subject: _Subject) -> bool:
    """A sweep maps over the leaves of the parameters, and jaxnasium replaces the time limit by another."""
    mark = np.int32(-7)
    leaves = jax.tree.leaves(subject.params.replace(max_steps_in_episode=mark))
    if not any(leaf is mark for leaf in leaves):
        raise ContractError("params", "max_steps_in_episode among the leaves", "a static field")
    return True


def _check_reset(subject: _Subject) -> bool:
    observation, state = subject.reset_shapes
    _check_array("reset", "observation", observation, *_observation_type(subject))
    _check_array("reset", "state.time", state.time, (), jnp.int32)
    return True


def _check_step(subject: _Subject) -> bool:
    start, result = subject.reset_shapes[1], subject.step_shapes
    if len(result) not in (5, 6):
        raise ContractError("step", "six values (native) or five (legacy)", len(result))
    observation, state, reward, *flags, info = result
    _check_array("step", "observation", observation, *_observation_type(subject))
    _check_array("step", "reward", reward, (), jnp.float32)
    for name, flag in zip(("done",) if subject.legacy else ("terminated", "truncated"), flags, strict=True):
        _check_array("step", name, flag, (), jnp.bool_)
    if _describe(state) != _describe(start):
        raise ContractError("step", "a state like that of reset", _first_difference(state, start))
    if not isinstance(info, dict):
        raise ContractError("step", "info as a dict", type(info).__name__)
    if not subject.legacy:
        _check_array("step", "final_observation", info.get("final_observation"), *_observation_type(subject))
    return True


def _check_values(subject: _Subject) -> bool:
    trace, space = subject.trace, subject.env.observation_space(subject.params)
    for name, values in (("observation", trace.observation), ("reward", trace.reward)):
        finite = np.isfinite(np.asarray(values)).reshape(subject.steps, -1).all(axis=1)
        if not finite.all():
            step = int(np.argmin(finite))
            raise ContractError("values", f"a finite {name}", f"{values[step]} in step {step + 1}")
    seen = jnp.concatenate([trace.first[None], trace.observation])
    inside = np.asarray(jax.vmap(space.contains)(seen))
    if not inside.all():
        step = int(np.argmin(inside))
        raise ContractError("values", f"observations inside {space}", f"{seen[step]} in step {step}")
    return True


def _check_keys(subject: _Subject) -> bool:
    _check_same("keys", "the same result from the same key", subject.trace, subject.unroll(limit=LONG))
    other = subject.unroll(seed=3, limit=LONG)
    mine, others = ((t.first, t.observation, t.reward) for t in (subject.trace, other))
    if _first_difference(mine, others) is None:
        raise ContractError("keys", "other keys to give another episode", "the same observations and rewards")
    raw_and_typed = (jax.random.PRNGKey(0), jax.random.key(0, impl="rbg"))
    for key in raw_and_typed:  # other people's trainers use any of them
        state = jax.eval_shape(subject.env.reset, key, subject.params)[1]
        jax.eval_shape(subject.env.step, key, state, subject.actions[0], subject.params)
    return True


def _check_jit(subject: _Subject) -> bool:
    trace, env, params = subject.trace, subject.env, _with_limit(subject.params, LONG)
    with jax.disable_jit():
        first, state = env.reset(jax.random.split(jax.random.key(2))[0], params)
        _check_same("jit", "reset without jit as with it", (first, state), (trace.first, trace.start), ROUNDING)
        result = _step(env, params, trace.key[0], state, trace.action[0])
    compiled = (trace.observation, trace.state, trace.reward, trace.terminated, trace.truncated, trace.info)
    compiled = jax.tree.map(lambda leaf: leaf[0], compiled)
    _check_same("jit", "a step without jit as with it", result, compiled, ROUNDING)
    return True


def _check_time_limit(subject: _Subject) -> bool:
    """Truncated in step ``LIMIT`` of an episode and in no other; terminated knows nothing of it."""
    short, time = subject.short, 0
    done = np.asarray(short.terminated | short.truncated)
    over = done if subject.legacy else np.asarray(short.truncated)
    for step in range(LEAST_STEPS):
        time += 1
        if over[step] != (time == LIMIT) and not (subject.legacy and time < LIMIT):
            rule = f"an episode of {LIMIT} steps to be cut after step {LIMIT} and not before"
            raise ContractError("time limit", rule, f"over = {bool(over[step])} after step {time}")
        time = 0 if done[step] else time
        if int(short.state.time[step]) != time:
            rule = "state.time to count the steps since the reset"
            raise ContractError("time limit", rule, f"{int(short.state.time[step])} instead of {time}")
    _check_terminated(subject)
    return True


def _check_terminated(subject: _Subject) -> None:
    """In the first episode a short limit changes nothing but its last step."""
    free = np.asarray(subject.trace.terminated)[: LIMIT - subject.legacy]
    limited = np.asarray(subject.short.terminated)[: LIMIT - subject.legacy]
    ends = np.flatnonzero(free | limited)
    if ends.size and free[ends[0]] != limited[ends[0]]:
        rule = "terminated to be the same under a time limit (which is truncation)"
        raise ContractError("time limit", rule, f"terminated = {bool(limited[ends[0]])} in step {ends[0] + 1}")


def _check_final_observation(subject: _Subject) -> bool:
    """What a learner bootstraps from: the observation before the auto-reset, in every step."""
    if subject.legacy:
        return False
    short, free = subject.short, subject.trace
    rule = "final_observation = observation where nothing ended"
    going_on = np.asarray(~(short.terminated | short.truncated))
    final = np.asarray(short.info["final_observation"])
    _check_same("final observation", rule, final[going_on], np.asarray(short.observation)[going_on], ROUNDING)
    if not going_on[: LIMIT - 1].all() or bool(free.terminated[LIMIT - 1]):
        return False
    rule = "final_observation of a truncated step = the observation without a time limit"
    _check_same("final observation", rule, final[LIMIT - 1], free.observation[LIMIT - 1], ROUNDING)
    return True


def _check_vmap(subject: _Subject) -> bool:
    """Seeds and parameters side by side, as a sweep runs them, time limits of different length included."""
    seeds, limits = (2, 4), (LIMIT, LIMIT + 2)
    alone = [subject.unroll(seed, limit) for seed, limit in zip(seeds, limits, strict=True)]
    both = [_with_limit(subject.params, limit) for limit in limits]
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *both)
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    together = jax.vmap(partial(_unroll, subject.env), in_axes=(0, 0, None))(stacked, keys, subject.actions)
    for index, one in enumerate(alone):
        mine = jax.tree.map(lambda leaf, index=index: leaf[index], together)
        _check_same("vmap", "each of a batch like one alone", mine, one, ROUNDING)
    return True


def _check_busy(subject: _Subject) -> bool:
    """Where ``info`` says that the device was busy, no other action makes a difference."""
    trace, space = subject.trace, subject.env.action_space(subject.params)
    if "busy" not in trace.info or not bool(jnp.any(trace.info["busy"])):
        return False
    step = jax.jit(jax.vmap(partial(_step, subject.env, _with_limit(subject.params, LONG))))
    others = (trace.action + 1) % space.n
    results = [step(trace.key, trace.before, action) for action in (trace.action, others)]
    busy = np.asarray(trace.info["busy"])
    with_mine, with_others = (jax.tree.map(lambda leaf: leaf[busy], result) for result in results)
    _check_same("busy", "a busy device to ignore its action", with_others, with_mine)
    return True


_CHECKS: dict[str, Callable[[_Subject], bool]] = {
    "identity": _check_identity,
    "spaces": _check_spaces,
    "params": _check_params,
    "reset": _check_reset,
    "step": _check_step,
    "pickle": _check_pickle,
    "values": _check_values,
    "keys": _check_keys,
    "jit": _check_jit,
    "time limit": _check_time_limit,
    "final observation": _check_final_observation,
    "vmap": _check_vmap,
    "busy": _check_busy,
}


# -------------------------------------------------------------------------------------------- comparing


def _observation_type(subject: _Subject) -> tuple[tuple[int, ...], Any]:
    space = subject.env.observation_space(subject.params)
    return tuple(space.shape), space.dtype


def _check_array(rule: str, name: str, value: Any, shape: tuple[int, ...], dtype: Any) -> None:
    expected = f"{name} {jnp.dtype(dtype).name} {list(shape)}"
    if not hasattr(value, "dtype"):
        raise ContractError(rule, expected, type(value).__name__)
    if tuple(value.shape) != shape or value.dtype != dtype:
        raise ContractError(rule, expected, f"{value.dtype} {list(value.shape)}")


def _check_same(rule: str, expected: str, seen: Any, wanted: Any, tolerance: float = 0.0) -> None:
    difference = _first_difference(seen, wanted, tolerance)
    if difference is not None:
        raise ContractError(rule, expected, difference)


def _first_difference(seen: Any, wanted: Any, tolerance: float = 0.0) -> str | None:
    """The first leaf in which two trees differ, in words; None if they are the same."""
    rows = [_describe(tree) for tree in (seen, wanted)]
    for mine, other in zip(*rows, strict=False):
        if mine != other:
            return f"{mine[0]} {mine[2]} {list(mine[1])} instead of {other[0]} {other[2]} {list(other[1])}"
    if len(rows[0]) != len(rows[1]):
        return f"{len(rows[0])} leaves instead of {len(rows[1])}"
    for (path, _, _), mine, other in zip(rows[0], jax.tree.leaves(seen), jax.tree.leaves(wanted), strict=True):
        if isinstance(mine, jax.ShapeDtypeStruct):
            continue
        left, right = _plain(mine), _plain(other)
        close = _close(left, right, tolerance)
        if not close.all():
            index = np.unravel_index(int(np.argmin(close)), close.shape)
            return f"{path} = {left[index]} instead of {right[index]}"
    return None


def _describe(tree: Any) -> list[tuple[str, tuple[int, ...], str]]:
    """Path, shape and dtype of every leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(keystr(path), tuple(jnp.shape(leaf)), str(jnp.result_type(leaf))) for path, leaf in leaves]


def _close(left: np.ndarray, right: np.ndarray, tolerance: float) -> np.ndarray:
    if not np.issubdtype(left.dtype, np.floating):
        return left == right
    return np.isclose(left, right, rtol=tolerance, atol=0.1 * tolerance, equal_nan=True)


def _plain(leaf: Any) -> np.ndarray:
    """A NumPy array, of a typed random key too."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)
