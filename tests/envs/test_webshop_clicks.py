"""Whatever a page of WebShop offers can be played, whatever its texts hold."""

from unittest import mock

from hypothesis import example, given, strategies as st

from empg_jax.envs.webshop import pages
from empg_jax.envs.webshop.goals import Goal
from empg_jax.envs.webshop.product import parse_product
from empg_jax.envs.webshop.session import Session
from empg_jax.envs.webshop.shop import Shop

ITEM = {
  "asin": "B0", "name": "lamp", "full_description": "", "category": "garden", "query": "lamp",
  "product_category": "", "small_description": [], "pricing": "",
}  # fmt: skip
VALUES = st.text(st.sampled_from("xXl []()\n\t/|<>İßΣ"), max_size=8)


@given(value=VALUES)
@example("XL [Wide]")
@example("[")
@example("]][")
@example("two\nlines")
@example("")
def test_every_option_that_is_offered_can_be_clicked(value):
  options = {"size": [{"value": value}, {"value": "m"}]}
  product = parse_product(ITEM | {"customization_options": options}, [])
  session = Session(Goal(0, "a lamp", [], [], 10.0))
  session.product, session.page = 0, pages.item_page("a lamp", product)
  shop = mock.Mock(Shop, product=lambda number: product)
  offered = [name for name, (kind, _) in session.page.clickables.items() if kind == "option"]
  assert set(offered) == set(product.options["size"])
  for name in offered:
    assert session.act(f"click[{name}]", shop) is False
    assert session.options == {"size": name}


def test_a_word_before_the_bracket_that_is_no_action_plays_nothing():
  session = Session(Goal(0, "a lamp", [], [], 10.0))
  before = session.page
  for action in ("I search[lamp]", "foo[bar]search[lamp]", "search lamp", "search[]", "click[x]"):
    assert session.act(action, mock.Mock(Shop)) is False and session.page is before
