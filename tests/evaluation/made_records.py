"""A record of an episode, for tests."""


def record(task, success, seed=0, kind="heat", turns=5, **changes):
  return dict(
    task=task, type=kind, seed=seed, success=success, reward=float(success), turns=turns,
    score=float(success), invalid=0, tokens=9, entropy=None, ended="done",
  ) | changes  # fmt: skip
