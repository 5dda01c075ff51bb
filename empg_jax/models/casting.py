"""A decoder in the type of its matrix products, where nothing sums small changes in it."""

import jax

from empg_jax.models.decoder import Decoder


def cast(model: Decoder, dtype: jax.typing.DTypeLike) -> Decoder:
  """Matrices in `dtype`; the vectors (norms, biases) stay float32, to be summed in it."""

  def leaf(path, x):
    name = jax.tree_util.keystr(path)
    vector = "norm" in name or "bias" in name  # stacked over layers, so their rank does not tell
    return x if vector else x.astype(dtype)

  return jax.tree_util.tree_map_with_path(leaf, model)
