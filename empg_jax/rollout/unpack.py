"""What was computed for a batch's tokens, back at the turns that they were sampled in."""

from collections.abc import Mapping, Sequence

from jaxtyping import Array, Float, Int
import numpy as np

from empg_jax.types import Episode


def unpack(
  values: Mapping[str, Float[np.ndarray | Array, "B T"]],
  steps: Int[np.ndarray, "B T"],
  episodes: Sequence[Episode],
) -> dict[tuple[int, int], list[dict[str, float]]]:
  """The values of each turn, in order, by the group and index of its episode.

  Args:
    values: by name; all tokens of a step have the same.
    steps: Batch.steps.
    episodes: what the batch was packed of, in its order: whole episodes, or their turns.
      Those that were aborted have no values.
  """
  values = {name: np.asarray(x) for name, x in values.items()}
  found: dict[tuple[int, int], dict[int, dict[str, float]]] = {}
  for row, episode in enumerate(episodes):
    if episode.ended == "aborted":
      continue
    turns = found.setdefault((episode.group, episode.index), {})
    for number in range(episode.first_step, episode.first_step + len(episode.turns)):
      at = row, np.flatnonzero(steps[row] == number)[0]
      turns[number] = {name: float(x[at]) for name, x in values.items()}
  return {key: [turns[number] for number in sorted(turns)] for key, turns in found.items()}
