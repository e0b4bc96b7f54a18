"""What a policy is to the evaluation: a pytree with one method."""

from typing import Protocol

import jax

from offjax.problems.spec import Problem
from offjax.world import State


class Policy(Protocol):
    """Decides for every device of a world at once."""

    def decide(self, problem: Problem, state: State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """Places [D] int8, from what it is allowed to see.

        Args:
            problem: the problem.
            state: the whole world; only policies that say so may read it.
            observation: [D, F] normalised.
            key: for policies that draw.
        """
