"""EMPG in JAX: entropy-modulated policy gradients for language-model agents.

`empg_loss` is the whole algorithm as one pure function of arrays. Its parts are `group_advantages`,
`token_stats`, `fused_token_stats` and `modulate_advantages`. They need only jax and
jaxtyping, which are imported on the first use of one of them: processes that need no jax, such as
the environments' workers, do not import it.

A training run has its parts in packages: `empg_jax.envs` and `empg_jax.chat` (text),
`empg_jax.generation` and `empg_jax.rollout` (episodes), `empg_jax.core` and `empg_jax.algorithms`
(advantages and losses), `empg_jax.models`, `empg_jax.training`, and `empg_jax.loop`, which drives
all of them. `empg_jax.types` has what flows between them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from empg_jax.core.advantages import group_advantages as group_advantages
  from empg_jax.core.empg import empg_loss as empg_loss
  from empg_jax.core.fused import fused_token_stats as fused_token_stats
  from empg_jax.core.modulation import modulate_advantages as modulate_advantages
  from empg_jax.core.tokens import token_stats as token_stats

__version__ = "0.1.0"
_MODULES = {
  "empg_loss": "empg_jax.core.empg",
  "fused_token_stats": "empg_jax.core.fused",
  "group_advantages": "empg_jax.core.advantages",
  "modulate_advantages": "empg_jax.core.modulation",
  "token_stats": "empg_jax.core.tokens",
}


def __getattr__(name: str) -> Any:
  if name == "__all__":  # `import *` and pdoc read it, and then the names in it
    globals().update({each: __getattr__(each) for each in _MODULES})
    return sorted(_MODULES)
  if name not in _MODULES:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
  return sorted([*_MODULES, *(name for name in globals() if name.startswith("__"))])
