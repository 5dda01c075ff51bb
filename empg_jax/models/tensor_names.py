"""Names of a decoder's tensors in a checkpoint, where each layer has its own."""

from typing import Any

import jax

STACKED = "model.layers."


def leaf_name(path: tuple) -> str:
  """`model.layers.mlp.up_proj.weight` for the path of a leaf of the model."""
  return ".".join(key.name for key in path[:-1])  # the last is the variable's `value`


def of_layer(name: str, index: int) -> str:
  """`model.layers.3.mlp.up_proj.weight` for layer 3 of a stacked leaf."""
  return f"{STACKED}{index}.{name.removeprefix(STACKED)}"


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
  """The shape of every tensor by name, for a model of arrays or `jax.ShapeDtypeStruct`s."""
  found = {}
  for path, x in jax.tree_util.tree_leaves_with_path(model):
    name = leaf_name(path)
    if name.startswith(STACKED):
      found |= {of_layer(name, i): x.shape[1:] for i in range(x.shape[0])}
    else:
      found[name] = x.shape
  return found


def tensor(leaves: dict[str, Any], name: str) -> Any:
  """The tensor of that name, from the model's leaves by their names."""
  if not name.startswith(STACKED):
    return leaves[name]
  index, rest = name.removeprefix(STACKED).split(".", 1)
  return leaves[STACKED + rest][int(index)]
