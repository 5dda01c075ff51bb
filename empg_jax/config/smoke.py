"""The preset `smoke`: every part of a run once, in about a minute on two cores."""

from typing import Any


def cut(config: dict[str, Any], *, length: int, piece: int) -> dict[str, Any]:
  """A tiny policy's config, reduced to run every part of a run once in about a minute.

  Two steps of 16 short episodes, evaluations before and after, a checkpoint, files of episodes.
  Every program has one shape, so that little is compiled. It is too short to learn anything.

  Args:
    config: of a tiny policy (presets.tiny), with all its sections.
    length: tokens of a row and of a conversation.
    piece: the most tokens read in a turn.
  """
  one_shape = dict(max_length=length, windows=(length,), piece_lengths=(piece,))
  return config | dict(
    num_steps=2,
    rollout=config["rollout"] | dict(tasks=4, group_size=4, max_turns=8),
    policy=config["policy"] | dict(slots=8, **one_shape),
    pack=dict(lengths=(length,)),
    optimizer=config["optimizer"] | dict(warmup_steps=0),
    train=config["train"] | dict(lengths=()),
    evaluation=config["evaluation"] | dict(tasks=8),
  )
