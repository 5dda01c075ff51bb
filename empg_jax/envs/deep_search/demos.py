"""Endless demonstrations: the expert answers the questions of the training split.

Some searches and visits are noise in place of the expert's, so that a policy sees how to
recover; such turns are not trained on, and never answer. A hasty searcher answers with the first
result instead of searching on; that is trained on, and is a habit for reinforcement learning to
unlearn.
"""

from collections.abc import Iterator
import itertools
import random
import re

from empg_jax.envs import Demonstration, DemoTurn, check_probabilities
from empg_jax.envs.deep_search import reading
from empg_jax.envs.deep_search.environment import DeepSearch, tasks
from empg_jax.envs.deep_search.expert import MAX_TURNS, Expert, answer, search, visit
from empg_jax.envs.deep_search.renaming import renamed as with_other_names

# Single pieces of the vocabulary, so that transcripts are short: their fixed parts.
PHRASES = (
  "Question: What is ", "the capital of ", "the highest point of ", "the currency code of ",
  "the internet country code of ", "the country where ", "the country in which ",
  "the country whose ", " was born?", " was discovered?", " was born", " Nobel ", "laureate",
  "the winner of the ", "the element ", "atomic number ", "highest point",
  "internet country code",
  "<information>", "</information>", "Doc 1(Title: ", "Doc 2(Title: ", "(Title: ",
  " (Government)", " (Geography)", " (Communications)", " (Economy)", " (element)",
  " Government ", " Geography ", " Communications ", " Economy ", "capital name",
  "Capital - name: ", "Elevation - highest point: ", "Internet country code: .",
  "Country name - conventional ", "Exchange rates - Currency: ", "The Nobel Prize in ",
  " is the element with ", "It was discovered in ", "Visit it again for the next one.",
  "i need the ", "i look into ", "it is ", "it may be this", "birth of ", "country of ", "discovery of ",
  "<search>", "</search>", "<visit>", "</visit>", "<answer>", "</answer>",
)  # fmt: skip

_FIXED = frozenset(re.findall(r"[a-z]+", " ".join(PHRASES).lower())) | {"on", "read", "code"}


def demonstrations(
  seed: int | str,
  noise: float = 0.1,
  *,
  haste: float = 0.0,
  renamed: float = 0.0,
  questions: str = "embedded",
  topk: int = 3,
  passage_words: int = 0,
  page_words: int = 300,
) -> Iterator[Demonstration]:
  """Endless demonstrations; the same for the same arguments.

  Args:
    seed: of the questions' order and the noise.
    noise: probability with which a turn is not the expert's, in [0, 1).
    haste: probability with which the first thing shown is answered, instead of the expert's
      next search or visit, in [0, 1).
    renamed: share of the demonstrations with other names; see renaming.py.
    questions: "embedded" or "short", the training questions.
    topk, passage_words, page_words: how much is shown, as for `DeepSearch`.

  Raises:
    ValueError: noise or haste is out of range.
  """
  check_probabilities(noise=noise, haste=haste)
  env = DeepSearch(
    topk=topk, passage_words=passage_words, page_words=page_words, max_actions=MAX_TURNS
  )
  names, rng = tasks("train", questions=questions), random.Random(f"{seed}/{noise}")
  naming = random.Random(f"{seed}/{noise}/{renamed}")
  shuffled = (name for _ in itertools.count() for name in rng.sample(names, len(names)))
  for number, name in enumerate(shuffled):
    demo = _play(f"demo/{seed}/{number}", name, env, rng, noise, haste)
    yield with_other_names(demo, naming, _FIXED) if naming.random() < renamed else demo


def _play(
  task: str, question: str, env: DeepSearch, rng: random.Random, noise: float, haste: float
) -> Demonstration:
  expert, turns, played, won = Expert(), [], None, False
  observation, done = env.reset(question), False
  while not done:
    thought, action = expert.act(observation, played)
    shown = reading.documents(observation)
    is_choice = shown and "<answer>" not in action
    if haste and is_choice and rng.random() < haste:  # without haste, the same draws as before
      guess = shown[0][0].partition(" (")[0]
      thought, action = "it may be this", answer(guess)
    noisy = turns and rng.random() < noise
    played = _something_else(rng, observation, action) if noisy else action
    turns.append(DemoTurn(observation, thought, played, played == action))
    observation, _, done, info = env.step(played)
    won = info["won"]
  return Demonstration(task, tuple(turns), won)


def _something_else(rng: random.Random, observation: str, action: str) -> str:
  """A visit to a document that was shown, or a search for a part of its text."""
  shown = reading.documents(observation)
  if not shown:
    return search("the country")
  title, text = rng.choice(shown)
  words = text.split()
  start = rng.randrange(max(len(words) - 2, 1))
  futile = rng.choice([visit(title), search(title), search(" ".join(words[start : start + 3]))])
  return futile if futile != action else search("the country")
