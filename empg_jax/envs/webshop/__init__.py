"""WebShop: shopping in text, on an embedded catalogue or on WebShop's own files.

Task names are `<catalogue>/<goals>/<number>`; the number is the goal's in the original's
shuffled order, by which the splits are made. For example:

    env = make()
    print(env.reset(tasks("train")[0]))
    observation, reward, done, info = env.step("search[hiking boots]")

Actions are `search[words]`, on every page as in the original, and `click[text]` with
something that can be clicked on the page; the argument's case does not matter. Whatever
else comes changes nothing.

Known differences from the original's text mode (princeton-nlp/WebShop):
  - The random prices are seeded (see goals.py); there they change from run to run.
  - The search words <r>, <a>, <c> and <q>, by which its box lists products at random, by
    attribute, by category and by query, are words like others.
  - An item that its loader or its pages would choke on (no image, no entry in items_ins)
    is taken.
  - spaCy lists nouns where it is asked to; by default a list stands in for it: see nouns.py.
  - A page that it takes for another one because the words searched for hold that page's
    name ("search_results", "item_page", ..) is not mistaken.
  - An option that is called "attributes" is chosen; there it opens a page that is hidden.
  - An option whose text is empty or holds a bracket or a line break can be chosen; there
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

# As verl-agent has it: the commands are in lower case, and a reply in Chinese is none.
REPLY = {"think": True, "lower": True, "cjk": False}

# Stands before the first observation, for a model that was not cloned from the expert.
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
