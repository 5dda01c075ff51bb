"""Chooses some of a split's tasks."""

from collections.abc import Callable, Sequence
import itertools
import random


def of_all_types(tasks: Sequence[str], kind: Callable[[str], str], count: int) -> list[str]:
  """`count` different tasks, always the same ones, alternating between types while they last."""
  by_type: dict[str, list[str]] = {}
  for task in random.Random(0).sample(tasks, len(tasks)):
    by_type.setdefault(kind(task), []).append(task)
  in_turn = itertools.chain.from_iterable(itertools.zip_longest(*by_type.values()))
  return [task for task in in_turn if task is not None][:count]
