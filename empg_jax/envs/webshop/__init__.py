"""WebShop: shopping in text, on an embedded catalogue or on WebShop's own files.

Task names are `<catalogue>/<goals>/<number>`; the number is the goal's in the original's
shuffled order, which defines the splits. For example:

    env = make()
    print(env.reset(tasks("train")[0]))
    observation, reward, done, info = env.step("search[hiking boots]")

Actions are `search[words]`, on every page as in the original, and `click[text]` with
something that can be clicked on the page; the argument's case does not matter. Any other
action changes nothing.

Known differences from the original's text mode (princeton-nlp/WebShop):
  - The random prices are seeded (see goals.py); there they change from run to run.
  - The search words <r>, <a>, <c> and <q>, with which its box lists products at random, by
    attribute, by category and by query, are ordinary words.
  - An item on which its loader or its pages fail (no image, no entry in items_ins) is
    accepted.
  - spaCy finds nouns only on request; the default is a list instead: see nouns.py.
  - The original confuses pages if the search words contain a page's name ("search_results",
    "item_page", ..); here they do not matter.
  - An option named "attributes" is chosen; there it opens a hidden page.
  - An option whose text is empty or contains a bracket or a line break can be chosen; there
    `click[xl [wide]]` is no action.
  - A price with something else than separators between its digits ("$1e3") is refused; there it
    is 13 dollars.
"""

from collections.abc import Sequence

from empg_jax.envs._shared.window import windowed_prompt
from empg_jax.envs.webshop.demos import PHRASES as PHRASES, demonstrations as demonstrations
from empg_jax.envs.webshop.environment import (
  SPLITS as SPLITS,
  TASK_TYPES as TASK_TYPES,
  WebShop as WebShop,
  task_type as task_type,
  tasks as tasks,
)
from empg_jax.envs.webshop.players import PLAIN as PLAIN, choices as choices, expert as expert

SCORE = "task_score"

# As in verl-agent: commands are in lower case, and a reply in Chinese is invalid.
REPLY = {"think": True, "lower": True, "cjk": False}

# Comes before the first observation, for a model that was not cloned from the expert.
INSTRUCTIONS = """\
You shop on a website, in text. Each message shows the page that is open and the instruction that \
says what to buy; " [SEP] " stands between the parts of a page. search[words] looks for products, \
click[text] presses what the page offers: a product's number, an option, a button. Choose every \
option that the instruction names, then click[buy now]: that ends the episode, and counts by how \
well product, options and price fit.

Answer every message with one thought and one command, in exactly this form:
<think>what you know, what is still missing, what to do next</think><action>search[words] or \
click[text]</action>"""

make = WebShop


def prompt(
  first: str, turns: Sequence[tuple[str, str | None]], observation: str, *, window: int
) -> str:
  """A turn as a prompt of its own.

  Args:
    first: the episode's first page, which holds the instruction.
    turns, observation, window: see envs._shared.window.
  """
  goal = first.partition("Instruction: [SEP] ")[2].partition(" [SEP] ")[0]
  return windowed_prompt(f"Your instruction is: {goal}", turns, observation, window)
