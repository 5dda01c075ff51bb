"""Players of Deep Search without a policy, for comparison."""

import random

from empg_jax.envs.deep_search import reading
from empg_jax.envs.deep_search.expert import Expert, search, visit

PLAIN: dict[str, bool] = {}  # the expert reads all observations


def expert(rng: random.Random) -> Expert:
  """Plays one episode of an embedded question; nothing in it is random."""
  del rng
  return Expert()


def choices(env, observation: str) -> list[str]:
  """A search, a visit or an answer by the title of a document that is shown, else a search."""
  del env
  titles = [title for title, _ in reading.documents(observation)]
  if not titles:
    return [search(observation.removeprefix("Question: "))]
  return [act(title) for title in titles for act in (search, visit, _answer)]


def _answer(text: str) -> str:
  return f"<answer>{text}</answer>"
