"""What a run of training says of itself as it goes, once for all hosts."""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from empg_jax import console, hosts
from empg_jax.types import Batch, Episode


def throughput(
    episodes: Sequence[Episode], rows: Batch, *, rollout_s: float, update_s: float
) -> dict[str, float]:
  """The seconds of both phases, and the tokens sampled and trained on in each of them."""
  sampled = sum(len(turn.reply) for episode in episodes for turn in episode.turns)
  return {
      "time/rollout_s": rollout_s,
      "time/update_s": update_s,
      "time/tokens_per_s": sampled / rollout_s,
      "time/trained_tokens_per_s": (rows.tokens != 0).sum() / update_s,
  }


def notes(lines: Sequence[str]) -> None:
  """Prints what calls for a look, under the line of the step before."""
  for line in lines:
    hosts.say(f"  {line}")


def row(config: ml_collections.ConfigDict, finished: Mapping[str, Any]) -> None:
  """Prints a finished row of the metrics, and the evaluation in it if there is one."""
  if finished["step"]:
    hosts.say(console.step_line(finished, config.num_steps))
    notes(console.warnings(finished))
  shown = [
      f"{split} {console.shown(finished[f'eval/{split}/success'], '{:.1%}'.format)}"
      f" (score {console.shown(finished[f'eval/{split}/score'], '{:z.3f}'.format)})"
      for split in config.evaluation.splits
      if f"eval/{split}/success" in finished
  ]
  if shown:
    notes([f"success after step {finished['step']}: " + ", ".join(shown)])


def gain(config: ml_collections.ConfigDict, rows: Sequence[Mapping[str, Any]]) -> None:
  """Prints success before and after training."""
  splits = config.evaluation.splits
  evaluated = [row for row in rows if f"eval/{splits[0]}/success" in row]
  hosts.say(console.success_table(evaluated[0], evaluated[-1], splits))
