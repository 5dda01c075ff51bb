"""WebShop's reward: how well a bought product, its options and its price fit the goal.

    r = r_type (matched attributes + matched options + [price <= limit])
        / (attributes + options + 1)

Two strings match if RapidFuzz's token_set_ratio, rounded, is above 85: the scorer that
thefuzz has had since 0.20. The original's thefuzz 0.19 used difflib where
python-Levenshtein was absent, with a slightly different ratio.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from rapidfuzz import fuzz, utils

from empg_jax.envs.webshop.product import Product

# The colors of WebShop's goals. The first one in an option replaces it, so "rose gold" is
# "gold", and "dark blue" is "blue".
COLORS = tuple(
  "alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown"
  " burgundy camel camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee"
  " cognac copper coral cranberry cream crystal dark denim eggplant elephant espresso fuchsia"
  " gold granite grape graphite grass gray green grey heather indigo ivory ivy khaki lavender"
  " lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor"
  " mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red"
  " rose royal rust sand sapphire seashell silver skull slate steel stone stonewash sunflower"
  " tan taupe teal tiger turquoise violet walnut wheat white wine yellow".split()
)
_MATCH = 85
_LATIN_1 = {i: None for i in range(128, 256)}  # characters that thefuzz removes


def reward(
  bought: Product,
  wanted: Product,
  *,
  attributes: Sequence[str],
  options: Sequence[str | Sequence[str]],
  price_upper: float,
  price: float,
  chosen: Iterable[str],
  bought_nouns: Sequence[str],
  wanted_nouns: Sequence[str],
) -> tuple[float, dict[str, Any]]:
  """The reward in [0, 1] and its parts, by the original's names.

  Args:
    bought: the product that was bought.
    wanted: the product that the goal was made from.
    attributes: the goal's.
    options: the goal's, as `goals.Goal` has them.
    price_upper: the price limit.
    price: the price.
    chosen: values of the chosen options.
    bought_nouns: of the bought product's title.
    wanted_nouns: of the wanted product's title.
  """
  kind = type_reward(bought, wanted, bought_nouns, wanted_nouns)
  n_attributes = matching_attributes(bought, attributes)
  n_options = matching_options(chosen, options)
  in_budget = price <= price_upper
  parts = len(attributes) + len(options) + 1
  total = (n_attributes + n_options + in_budget) / parts * kind["r_type"]
  info = {
    **kind,
    "r_att": n_attributes / len(attributes),
    "w_att": len(attributes) / parts,
    "r_price": in_budget,
    "w_price": 1 / parts,
  }
  if options:
    info |= {"r_option": n_options / len(options), "w_option": len(options) / parts}
  return total, info


def type_reward(
  bought: Product, wanted: Product, bought_nouns: Sequence[str], wanted_nouns: Sequence[str]
) -> dict[str, Any]:
  """r_type, which says whether the kind of product fits, and the values that it depends on."""
  same_query = bought.query == wanted.query
  same_category = len(bought.categories & wanted.categories) >= 2
  score = 0.2
  if wanted_nouns:
    score = len(set(bought_nouns) & set(wanted_nouns)) / len(wanted_nouns)
  r_type = 1.0 if same_query or same_category or score > 0.2 else 0.5
  if score < 0.1:
    r_type = 0.1 if score else 0.0
  return {
    "r_type": r_type,
    "query_match": same_query,
    "category_match": same_category,
    "title_score": score,
  }


def matching_attributes(bought: Product, attributes: Sequence[str]) -> int:
  """How many of `attributes` the product lists, or names in its texts."""
  texts = (bought.title, " ".join(bought.bullets), bought.description)
  texts = [text.lower() for text in texts]
  return sum(
    any(_match(own, attribute) for own in bought.attributes)
    or any(attribute in text for text in texts)
    for attribute in attributes
  )


def matching_options(chosen: Iterable[str], options: Sequence[str | Sequence[str]]) -> int:
  """How many of the goal's `options` match a chosen one.

  An option of the goal that is a pair counts as a color only if one of the two equals a color's
  name, as in the original, which applies "in" to a tuple.
  """
  chosen = [_without_shade(value) for value in chosen]
  wanted = [_without_shade(o if isinstance(o, str) else tuple(o)) for o in options]
  return sum(any(_match(value, option) for value in chosen) for option in wanted)


def _without_shade(option: str | tuple[str, ...]) -> str:
  return next((color for color in COLORS if color in option), str(option))


def _match(a: str, b: str) -> bool:
  a, b = (utils.default_process(text.translate(_LATIN_1)) for text in (a, b))
  return round(fuzz.token_set_ratio(a, b)) > _MATCH
