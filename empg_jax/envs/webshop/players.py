"""Players of WebShop without a policy, for comparison."""

import random

from empg_jax.envs.webshop.expert import Expert

# Arguments of `make` with which the expert can read observations.
PLAIN = dict(show_commands=False, repeat_instruction=True)


def expert(rng: random.Random) -> Expert:
  """Plays one episode; nothing in it is random."""
  del rng
  return Expert()


def choices(env, observation: str) -> list[str]:
  """Clicks on the elements of the page, or a search for the whole instruction."""
  offered = env.available_actions
  if offered["has_search_bar"]:
    wish = observation.partition("Instruction: [SEP] ")[2].partition(" [SEP] ")[0]
    return [f"search[{wish.lower()}]"]
  return [f"click[{name}]" for name in offered["clickables"]]
