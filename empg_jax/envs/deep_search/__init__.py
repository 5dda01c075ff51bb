"""Deep Search: questions that need several searches in an embedded corpus or your own.

Task names are `embedded/SPLIT/NUMBER`, `files/SPLIT/COLLECTION/NUMBER` or
`tfds/SPLIT/NAME/NUMBER`. For example:

    env = make()
    print(env.reset(tasks("train")[0]))
    observation, reward, done, info = env.step("<search>Marie Curie was born</search>")

Actions are those of Search-R1, one in each turn; a reply has them in its action,
`<think>..</think><action><search>words</search></action>`:

    <search>words</search>   shows the best passages, between <information> tags
    <visit>title</visit>     reads a document page by page; again for its next page
    <answer>text</answer>    ends the episode

The answer to any other action names the valid ones, and it counts as an action.
"""

from collections.abc import Sequence

from empg_jax.envs._shared.window import windowed_prompt
from empg_jax.envs.deep_search.data import SPLITS as SPLITS
from empg_jax.envs.deep_search.demos import PHRASES as PHRASES, demonstrations as demonstrations
from empg_jax.envs.deep_search.environment import (
  DeepSearch as DeepSearch,
  task_type as task_type,
  tasks as tasks,
)
from empg_jax.envs.deep_search.players import PLAIN as PLAIN, choices as choices, expert as expert

SCORE = "f1"

# Questions and answers may be in any language, and a server may distinguish upper case.
REPLY = {"think": True, "lower": False, "cjk": True}

# Comes before the first observation, for a model that was not cloned from the expert.
INSTRUCTIONS = """\
You answer a question with the help of a search engine. Each turn you take one action: \
<search>words</search> shows the passages that fit the words best, <visit>title</visit> reads the \
document with a title that a search has shown, and again its next page, <answer>text</answer> \
answers the question and ends the episode. Search for one fact after the other, and answer as \
shortly as can be: a name, a number, yes or no.

Reply to every message with one thought and one action, in exactly this form:
<think>what you know, what is still missing, what to do next</think><action><search>words\
</search></action>"""

make = DeepSearch


def prompt(
  first: str, turns: Sequence[tuple[str, str | None]], observation: str, *, window: int
) -> str:
  """A turn as a prompt of its own.

  Args:
    first: the question.
    turns, observation, window: see envs._shared.window.
  """
  return windowed_prompt(first, turns, observation, window)
