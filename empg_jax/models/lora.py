"""Low-rank adapters of the projections of a frozen decoder (LoRA, arXiv 2106.09685).

An `Adapters` is trained; the decoder, its base, is never written or copied. In training,
`attach` runs each adapter beside its projection: two thin products, where merged weights
would take the memory of a second copy and their gradients of a third. For decoding and
export, `merge` adds the adapters to a copy of the weights.

With base None, for a model that is trained whole, both return that model.
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from empg_jax.config import lookup
from empg_jax.models.decoder import Decoder, Linear
from empg_jax.models.linear import linear

_OF_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_PLACES = {name: "self_attn" for name in _OF_ATTENTION} | {
  name: "mlp" for name in ("gate_proj", "up_proj", "down_proj")
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Adapters:
  """scale x b @ a is added to the weight [L, out, in] of each named projection."""

  a: dict[str, Any]  # [L, rank, in]; Any, as pytrees may also hold shapes, masks, shardings
  b: dict[str, Any]  # [L, out, rank]
  scale: float = dataclasses.field(metadata=dict(static=True))


class AdaptedLinear(nnx.Module):
  """A projection with an adapter beside it."""

  def __init__(self, base: Linear, a: Float[Array, "*L R I"], b: Float[Array, "*L O R"], scale):
    self.base, self.scale = base, scale
    self.a, self.b = nnx.Param(a), nnx.Param(b)

  def __call__(self, x: Float[Array, "*batch I"], compute_dtype) -> Float[Array, "*batch O"]:
    low = linear(x, self.a[...], compute_dtype)
    return self.base(x, compute_dtype) + self.scale * linear(low, self.b[...], compute_dtype)


def create(
  base: Decoder,
  key: Key[Array, ""],
  *,
  rank: int,
  alpha: float = 16.0,
  targets: Sequence[str] = tuple(_PLACES),
) -> Adapters:
  """New adapters, which change nothing: `b` is 0, `a` uniform in +-1/sqrt(in), both float32.

  Args:
    base: the frozen decoder.
    key: for `a`.
    rank: of each adapter, at least 1.
    alpha: the scale times the rank.
    targets: the projections to adapt.

  Raises:
    ValueError: the rank is below 1, or a target is not a projection.
  """
  if rank < 1 or not targets:
    raise ValueError(
      f"Adapters of rank {rank} for {len(targets)} projections train nothing: choose a rank of"
      " at least 1 and one projection or more."
    )
  a, b = {}, {}
  for name, own in zip(targets, jax.random.split(key, len(targets))):
    layers, outputs, inputs = _projection(base, name).weight.shape
    bound = inputs**-0.5
    a[name] = jax.random.uniform(own, (layers, rank, inputs), minval=-bound, maxval=bound)
    b[name] = jnp.zeros((layers, outputs, rank))
  return Adapters(a, b, alpha / rank)


def check(targets: Sequence[str]) -> None:
  """Raises ValueError for a target that is not a projection."""
  for name in targets:
    if name not in _PLACES:
      raise ValueError(lookup.unknown("there is no projection", name, _PLACES))


def attach(base: Decoder | None, trained: Decoder | Adapters) -> Decoder:
  """The decoder that runs `trained` beside its base; shares the base's arrays."""
  if base is None:
    return trained
  model = jax.tree.map(lambda x: x, base)  # copies the modules, which change below
  for name, a in trained.a.items():
    block = getattr(model.model.layers, _PLACES[name])
    adapted = AdaptedLinear(getattr(block, name), a, trained.b[name], trained.scale)
    setattr(block, name, adapted)
  return model


def merge(base: Decoder | None, trained: Decoder | Adapters) -> Decoder:
  """A plain decoder equal to `attach`'s, in the base's dtype; shares all other arrays."""
  if base is None:
    return trained
  model = jax.tree.map(lambda x: x, base)
  for name, a in trained.a.items():
    weight = _projection(model, name).weight
    weight[...] = _added(weight[...], a, trained.b[name], trained.scale)
  return model


@functools.partial(jax.jit, static_argnames="scale")
def _added(weight, a, b, scale):
  change = scale * jnp.einsum("lor,lri->loi", b, a, precision="highest")
  return (weight + change).astype(weight.dtype)


def _projection(model: Decoder, name: str) -> Linear:
  check([name])
  return getattr(getattr(model.model.layers, _PLACES[name]), name)
