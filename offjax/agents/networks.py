"""The multilayer perceptron of every agent, and its layers for a reader without flax."""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

Params = dict[str, Any]

ACTIVATIONS = {"tanh": nn.tanh, "relu": nn.relu}


class Layer(NamedTuple):
    """One dense layer: activation(x @ kernel + bias)."""

    kernel: jax.Array  # [in, out]
    bias: jax.Array  # [out]
    activation: str  # tanh, relu, linear or softmax


@jax.custom_vjp
def _one_row(row: jax.Array, kernel: jax.Array) -> jax.Array:
    """A product [1, in] x [in, out] whose gradient to the kernel is written as what it is: an outer product.

    Thousands of learners of one experience each are bound by memory, and as a matrix product each gradient would be
    written and read again; so it is made where it is used.
    """
    return row @ kernel


def _one_row_forward(row: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return row @ kernel, (row, kernel)


def _one_row_back(saved: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    row, kernel = saved
    return cotangent @ kernel.T, row.reshape(-1)[:, None] * cotangent.reshape(-1)[None, :]


_one_row.defvjp(_one_row_forward, _one_row_back)


def dense_product(inputs: jax.Array, kernel: jax.Array, *arguments: Any, **options: Any) -> jax.Array:
    """``jax.lax.dot_general`` as ``flax.linen.Dense`` calls it."""
    if inputs.ndim == 2 and inputs.shape[0] == 1:
        return _one_row(inputs, kernel)
    return jax.lax.dot_general(inputs, kernel, *arguments, **options)


def _dense(width: int, index: int) -> nn.Dense:
    kernel_init = nn.initializers.lecun_normal()
    return nn.Dense(width, kernel_init=kernel_init, dot_general=dense_product, name=f"layer_{index}")


class MLP(nn.Module):
    """Dense layers of widths ``hidden``, then a linear layer of ``outputs``.

    Kernels start LeCun normal (truncated at two standard deviations), biases at zero.
    Parameters are a plain dict ``layer_0 ... layer_n`` of ``kernel [in, out]`` and ``bias [out]``.
    """

    hidden: tuple[int, ...]
    outputs: int
    activation: str = "tanh"

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Map ``inputs [..., F]`` to ``[..., outputs]``, no activation on the last layer."""
        signal = inputs
        for index, width in enumerate(self.hidden):
            signal = ACTIVATIONS[self.activation](_dense(width, index)(signal))
        return _dense(self.outputs, len(self.hidden))(signal)


def init_mlp(network: MLP, key: jax.Array, inputs: int) -> Params:
    """Fresh parameters of ``network`` for observations of length ``inputs``."""
    return network.init(key, jnp.zeros((1, inputs)))["params"]


def apply_mlp(params: Params, activation: str, inputs: jax.Array) -> jax.Array:
    """Forward pass ``[..., F] -> [..., outputs]``; the widths are read from the parameters."""
    widths = tuple(params[f"layer_{index}"]["bias"].shape[-1] for index in range(len(params)))
    return cast(jax.Array, MLP(widths[:-1], widths[-1], activation).apply({"params": params}, inputs))


def mlp_layers(params: Params, activation: str, last: str) -> list[Layer]:
    """The layers in order of application, for exporters.

    Args:
        params: of one ``MLP``.
        activation: of the hidden layers, ``tanh`` or ``relu``.
        last: of the output layer, ``linear`` or ``softmax``.
    """
    ordered = [params[f"layer_{index}"] for index in range(len(params))]
    names = [activation] * (len(ordered) - 1) + [last]
    return [Layer(dense["kernel"], dense["bias"], name) for dense, name in zip(ordered, names, strict=True)]


def join_streams(streams: jax.Array) -> jax.Array:
    """Q values ``[..., A]`` of a dueling network's ``[..., A + 1]``: A advantages, then the value.

    Q = V + advantage - mean of the advantages (Wang et al. 2016, eq 9). Both streams are linear heads on one trunk,
    and so is Q: applied to the last layer's kernel and bias this gives the dense layer that computes Q.
    """
    advantages, value = streams[..., :-1], streams[..., -1:]
    return value + advantages - jnp.mean(advantages, axis=-1, keepdims=True)
