"""EMPG in JAX: entropy-modulated policy gradients for language-model agents.

`empg_loss` is the whole algorithm as one pure function of arrays; the others
are its parts. Importing this package needs jax and jaxtyping alone.
"""

from empg_jax.core.advantages import group_advantages
from empg_jax.core.empg import empg_loss
from empg_jax.core.fused import fused_token_stats
from empg_jax.core.modulation import modulate_advantages
from empg_jax.core.tokens import token_stats

__version__ = "0.1.0"

__all__ = (
    "empg_loss",
    "fused_token_stats",
    "group_advantages",
    "modulate_advantages",
    "token_stats",
)
