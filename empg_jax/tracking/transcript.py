"""An episode as text: observations, replies, and the entropy of each step."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from empg_jax.core import modulation
from empg_jax.io import words
from empg_jax.types import Episode


def lines(episode: Episode, k: float) -> Iterator[str]:
  """Yields a heading, each turn, and how the episode ended.

  Below each reply are H, its mean token entropy in nats; Hn and g, EMPG's values with scale `k`
  (core.modulation) if this episode were the whole batch; and its reward. Turns without a policy
  have none of the three. Control characters, which could move a terminal's cursor, are shown as
  their escapes.
  """
  yield f"=== {episode.task}"
  entropy = [float(np.mean(turn.entropy)) for turn in episode.turns if len(turn.entropy)]
  values = zip(entropy, *_modulated(entropy, k))
  for number, turn in enumerate(episode.turns, 1):
    yield f"\n--- turn {number}\n{printable(turn.observation)}"
    yield f"> {printable(turn.text)}"
    if not len(turn.entropy):
      yield f"  reward {turn.reward:zg}"
      continue
    h, normal, g = next(values)
    invalid = "" if turn.action is not None else "  no valid action"
    yield (
      f"  H {h:.3f}  Hn {normal:.2f}  g {g:.2f}  reward {turn.reward:zg}"
      f"  tokens {len(turn.reply)}{invalid}"
    )
  end = "won" if episode.success else episode.info.get("error", "not won")
  mean = f", mean H {np.mean(entropy):.3f}" if entropy else ""
  yield (
    f"\n=== {printable(str(end))} after {words.count(len(episode.turns), 'turn')} (ended:"
    f" {episode.ended}), return {episode.reward:zg}{mean}\n"
  )


def printable(text: str) -> str:
  """The text with control characters, except line breaks, as escapes."""
  return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _modulated(entropy: list[float], k: float) -> tuple[list[float], list[float]]:
  """Hn and g of each step."""
  if not entropy:
    return [], []
  grid = jnp.asarray([entropy], jnp.float32)
  exists = jnp.ones_like(grid, bool)
  normal = modulation.normalize_entropy(grid, exists)
  g = modulation.gradient_scale(normal, exists, k)
  return normal[0].tolist(), g[0].tolist()
