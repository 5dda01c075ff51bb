"""Which tasks a training step plays: a pure function of the seed and the step."""

from collections.abc import Callable, Sequence

import numpy as np


class TaskSampler:
  """Shuffled epochs over a list of tasks; nothing to save, nothing to restore.

  The tasks form one endless stream: each epoch is the whole list in an order of
  its own, and step s plays the n tasks from position s * n on. Every task is
  played once before any is played again, and a resumed run needs only its step.

  With `kind` (e.g. the task's type) the stream takes the kinds in turn, each with
  epochs of its own, so that every step holds as many tasks of each kind as can be.
  """

  def __init__(
    self,
    tasks: Sequence[str],
    seed: int,
    kind: Callable[[str], str] | None = None,
  ):
    """Raises ValueError when there are no tasks."""
    if not tasks:
      raise ValueError("There are no tasks to sample from: give a split that holds at least one.")
    decks: dict[str, list[str]] = {}
    for task in tasks:
      decks.setdefault(kind(task) if kind else "", []).append(task)
    self.tasks = tuple(tasks)
    self._decks = [decks[name] for name in sorted(decks)]
    self._seed = seed

  def at(self, step: int, n: int) -> list[str]:
    """The `n` tasks of training step `step` >= 0."""
    orders: dict[tuple[int, int], np.ndarray] = {}
    drawn = []
    for position in range(step * n, (step + 1) * n):
      which = position % len(self._decks)
      deck = self._decks[which]
      epoch, card = divmod(position // len(self._decks), len(deck))
      if (which, epoch) not in orders:
        rng = np.random.default_rng([self._seed, which, epoch])
        orders[which, epoch] = rng.permutation(len(deck))
      drawn.append(deck[orders[which, epoch][card]])
    return drawn
