"""What the presets of all configs share: the released models, and how each is trained.

A preset is named after its model and needs only `--config.model.path=FOLDER`, the folder
with its weights (`hf download Qwen/Qwen2.5-1.5B-Instruct --local-dir FOLDER`).
"""

from typing import Any, NamedTuple

from empg_jax import lookup


class _Hardware(NamedTuple):
  """The smallest usual slice of a pod that a model is trained on, and how it is divided."""

  fsdp: int
  tensor: int  # divides the key/value heads

  @property
  def rows(self) -> int:
    """Of a microbatch: one row a group of chips that share a layer's products."""
    return self.fsdp


MODELS = {
    "qwen2.5-1.5b": _Hardware(4, 2),  # v5e:2x4 or v6e:2x4
    "qwen2.5-7b": _Hardware(16, 4),  # v5e:8x8 or v5p:4x4x4
    "qwen2.5-32b": _Hardware(16, 8),  # v5p:4x4x8
    "qwen3-4b": _Hardware(8, 4),
    "qwen3-8b": _Hardware(16, 4),
    "llama3.1-8b": _Hardware(16, 4),
}


def released_model(name: str) -> dict[str, Any]:
  """The sections `model`, `mesh` and `train` for a released model, as on a TPU pod.

  Raises:
    ValueError: an unknown model; the known ones are named.
  """
  hardware = lookup.choose(MODELS, name, "model")
  return dict(
      model=dict(path="", dtype="float32"),
      mesh=dict(data=1, fsdp=hardware.fsdp, tensor=hardware.tensor),
      train=dict(
          size=hardware.rows,
          minibatches=8,
          lengths=(),
          entropies="rollout",
          compute_dtype="bfloat16",
          remat=True,
      ),
  )
