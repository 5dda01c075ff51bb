"""A decoder cast to the dtype of its matrix products, for models that are not updated."""

import jax

from empg_jax.models.decoder import Decoder


def cast(model: Decoder, dtype: jax.typing.DTypeLike) -> Decoder:
  """Casts matrices to `dtype`; the vectors (norms, biases) stay float32, as their sums are."""

  def leaf(path, x):
    name = jax.tree_util.keystr(path)
    vector = "norm" in name or "bias" in name  # by name: stacked over layers, they have rank 2
    return x if vector else x.astype(dtype)

  return jax.tree_util.tree_map_with_path(leaf, model)
