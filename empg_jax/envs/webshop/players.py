"""Who plays WebShop without a policy, to compare one with."""

import random

from empg_jax.envs.webshop.expert import Expert

# What `make` has to be given for the expert to be able to read.
PLAIN = dict(show_commands=False, repeat_instruction=True)


def expert(rng: random.Random) -> Expert:
  """Plays one episode; nothing in it is random."""
  del rng
  return Expert()


def choices(env, observation: str) -> list[str]:
  """A click on whatever the page offers, or a search for the whole instruction."""
  offered = env.available_actions
  if offered["has_search_bar"]:
    wish = observation.partition("Instruction: [SEP] ")[2].partition(" [SEP] ")[0]
    return [f"search[{wish.lower()}]"]
  return [f"click[{name}]" for name in offered["clickables"]]
