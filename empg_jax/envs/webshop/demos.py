"""Endless demonstrations: the expert shops in the embedded catalogue for new goals.

No goal is one of the embedded test or eval goals. Some clicks are noise in place of the
expert's, on something of the page or on something that is not there, so that a policy sees
how to recover; such turns are not trained on, and never buy. A hasty shopper buys the product
that it looks at without the rest of its checks and choices, as people do; that is trained on,
and is a habit for reinforcement learning to unlearn.
"""

from collections.abc import Iterator
import random

from empg_jax.envs import Demonstration, DemoTurn, check_probabilities
from empg_jax.envs.webshop import data, embedded, generate, goals
from empg_jax.envs.webshop.environment import WebShop
from empg_jax.envs.webshop.expert import MAX_TURNS, Expert
from empg_jax.envs.webshop.goals import Goal
from empg_jax.envs.webshop.pages import without_instruction
from empg_jax.envs.webshop.shelves import OPTIONS
from empg_jax.envs.webshop.shop import Shop

HELD_OUT = 1500  # the test and eval goals
FUTILE = 0.2  # share of the noise that clicks something not on the page
BUY = "click[buy now]"

# Single pieces of the vocabulary, so that transcripts are short: the pages' fixed parts.
PHRASES = (
  "WebShop [SEP] Instruction: [SEP] ", "Instruction: [SEP] ", " [SEP] ", " [SEP] Search",
  " [SEP] Back to Search [SEP] Page ", " (Total results: ", ") [SEP] Next > [SEP] ",
  "Back to Search [SEP] Page ", "Back to Search [SEP] < Prev [SEP] ", "WebShop [SEP] Search",
  ") [SEP] < Prev [SEP] Next > [SEP] ", " [SEP] Back to Search [SEP] < Prev [SEP] ",
  " [SEP] Price: $", " [SEP] $", " to $", " [SEP] B", ", and price lower than ", ".00 dollars",
  " [SEP] Rating: N.A. [SEP] Description [SEP] Features [SEP] Reviews [SEP] Buy Now",
  "search[", "click[", "click[B", "]", "click[< prev]", "click[features]", "click[buy now]", ",",
)  # fmt: skip


def demonstrations(
  seed: int | str, noise: float = 0.1, haste: float = 0.0, repeat_instruction: bool = True
) -> Iterator[Demonstration]:
  """Endless demonstrations; the same for the same arguments.

  Args:
    seed: of goals, noise and haste.
    noise: probability with which a turn is not the expert's, in [0, 1).
    haste: probability with which a product is bought as it is, instead of the expert's next
      look or choice, in [0, 1).
    repeat_instruction: see WebShop.

  Raises:
    ValueError: noise or haste is out of range.
  """
  check_probabilities(noise=noise, haste=haste)
  env, rng = WebShop(), random.Random(f"{seed}/{noise}")
  for number, goal in enumerate(_goals(rng)):
    demo = _play(f"demo/{seed}/{number}", env, goal, rng, noise, haste)
    yield demo if repeat_instruction else _said_once(demo, goal.instruction)


def _goals(rng: random.Random) -> Iterator[Goal]:
  """Yields new goals, none with the content of a held-out one."""
  shop = data.shop("embedded", "human")
  barred = {_content(shop, shop.goal(number)) for number in range(HELD_OUT)}
  specs = list(embedded.specs().items())
  while True:
    number = rng.randrange(len(specs))
    entry = generate.instruction(*specs[number], rng)
    for goal in goals.human_goals(number, shop.price(number), [entry], rng):
      if _content(shop, goal) not in barred:
        yield goal


def _content(shop: Shop, goal: Goal) -> tuple:
  """What is wanted, regardless of words and brand."""
  kind = shop.product(goal.product).query
  return kind, tuple(sorted(goal.attributes)), tuple(sorted(goal.options))


def _play(
  task: str, env: WebShop, goal: Goal, rng: random.Random, noise: float, haste: float
) -> Demonstration:
  expert, turns, played, won = Expert(), [], None, False
  observation, done = env.start(goal, "embedded", "human"), False
  while len(turns) < MAX_TURNS and not done:
    thought, action = expert.act(observation, played)
    is_choice = observation.endswith(" [SEP] Buy Now") and action != BUY
    if haste and is_choice and rng.random() < haste:  # without haste, the same draws as before
      thought, action = "it will do", BUY
    played = _something_else(rng, env, action) if rng.random() < noise else action
    turns.append(DemoTurn(observation, thought, played, played == action))
    observation, _, done, info = env.step(played)
    won = info["won"]
  return Demonstration(task, tuple(turns), won)


def _said_once(demo: Demonstration, instruction: str) -> Demonstration:
  """The demonstration where only the first page has the instruction."""
  first, *rest = demo.turns
  rest = (t._replace(observation=without_instruction(t.observation, instruction)) for t in rest)
  return demo._replace(turns=(first, *rest))


def _something_else(rng: random.Random, env: WebShop, action: str) -> str:
  clickables = env.available_actions["clickables"]
  others = [text for text in clickables if text not in ("buy now", "search")]
  others = [f"click[{text}]" for text in others if f"click[{text}]" != action]
  if others and rng.random() >= FUTILE:
    return rng.choice(others)
  values = (value for _, values in OPTIONS.values() for value in values)
  absent = [value for value in values if value not in clickables]
  return f"click[{rng.choice(absent)}]"
