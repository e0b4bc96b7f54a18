"""``jax.jit`` that tells records of different classes apart.

In jax 0.10.2 two tree structures compare equal when their nodes are of different registered classes with the same
fields (``jax.tree.structure(A()) == jax.tree.structure(B())``); only their hashes differ. Most look-ups in a cache of
compiled programs come out right all the same, but once in a while two hashes meet and a policy is run by another
policy's program. Here the names of the classes are part of the key.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax

Function = TypeVar("Function", bound=Callable[..., Any])


def typed_jit(**options: Any) -> Callable[[Function], Function]:
    """Decorate a function as ``jax.jit(function, **options)`` does; arguments are named in ``options`` as usual."""

    def decorate(function: Function) -> Function:
        def keyed(structure: str, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        signature = inspect.signature(function)
        first = inspect.Parameter("structure", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        keyed.__name__ = function.__name__
        keyed.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[first, *signature.parameters.values()]
        )
        static = ("structure", *options.get("static_argnames", ()))
        compiled = jax.jit(keyed, **{**options, "static_argnames": static})

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return compiled(str(jax.tree.structure((args, kwargs))), *args, **kwargs)

        known: set[Any] = set()

        def compile_for(*args: Any, **kwargs: Any) -> None:
            leaves, tree = jax.tree.flatten((args, kwargs))
            given = signature.bind(*args, **kwargs).arguments
            fixed = tuple(given.get(name) for name in static[1:])  # a number among them is no array
            program = (str(tree), fixed, tuple(_kind(leaf) for leaf in leaves))
            if program not in known:
                compiled.lower(str(tree), *args, **kwargs).compile()
                known.add(program)

        call.compile_for = compile_for  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def _kind(leaf: Any) -> Any:
    """What of a leaf fixes the program: its shape and type, its type, or itself where it is static."""
    if hasattr(leaf, "dtype"):
        return leaf.shape, str(leaf.dtype), bool(getattr(leaf, "weak_type", False))
    return type(leaf) if type(leaf) in (int, float) else leaf


def compile_ahead(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Compile a function of :func:`typed_jit` once; a call with such arguments finds its program.

    Args:
        function: decorated.
        *args: as of the call, or ``jax.ShapeDtypeStruct`` in the place of arrays.
        **kwargs: the same.
    """
    function.compile_for(*args, **kwargs)  # type: ignore[attr-defined]
