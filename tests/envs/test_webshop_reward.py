"""WebShop's reward, case by case."""

import pytest

from empg_jax.envs.webshop.nouns import nouns
from empg_jax.envs.webshop.product import Product
from empg_jax.envs.webshop.reward import matching_attributes, matching_options, reward, type_reward

BOOTS = Product(
  asin="B1", title="Norvik Waterproof Hiking Boots", description="Boots with a Rubber Sole.",
  bullets=["wool lined", "for rain"], price_tag="$50.0", prices=[50.0],
  options={"color": ["navy", "dark blue"]}, attributes=["non slip", "waterproof"],
  category="fashion", query="hiking boots",
  product_category="Clothing \u203a Shoes \u203a Boots", nouns=["norvik", "hiking", "boots"],
)  # fmt: skip


def kind(product, wanted=BOOTS):
  return type_reward(product, wanted, product.nouns, wanted.nouns)["r_type"]


@pytest.mark.parametrize(
  ("change", "r_type"),
  [
    ({}, 1.0),
    ({"query": "coats"}, 1.0),  # by category, and by nouns
    ({"query": "coats", "product_category": "Toys"}, 1.0),  # by nouns, 3 of 3
    ({"query": "coats", "product_category": "Toys", "nouns": ["x"]}, 0.0),
    ({"nouns": ["x"]}, 0.0),  # the same query does not help without a common noun
    ({"query": "coats", "product_category": "Shoes \u203a Clothing", "nouns": ["boots"]}, 1.0),
  ],
)
def test_the_type_of_a_product_is_compared(change, r_type):
  assert kind(BOOTS._replace(**change)) == r_type


@pytest.mark.parametrize(
  ("common", "of", "same_query", "r_type"),
  [
    (1, 5, False, 0.5),
    (1, 4, False, 1.0),
    (1, 5, True, 1.0),
    (1, 11, True, 0.1),
    (0, 0, False, 0.5),
  ],
)
def test_few_common_nouns_make_it_another_kind(common, of, same_query, r_type):
  wanted = BOOTS._replace(nouns=[str(i) for i in range(of)])
  bought = BOOTS._replace(nouns=wanted.nouns[:common], product_category="Toys")
  bought = bought if same_query else bought._replace(query="coats")
  assert kind(bought, wanted) == r_type


@pytest.mark.parametrize(
  ("attribute", "counts"),
  [
    ("non slip", 1),  # listed
    ("slip non", 1),  # the same words
    ("non slips", 1),  # nearly
    ("rubber sole", 1),  # in the description, whatever its case there
    ("hiking", 1),  # in the title
    ("lined for", 1),  # across two bullets
    ("Rubber", 0),  # texts are lower-cased, the attribute is not
    ("steel toe", 0),
  ],
)
def test_attributes(attribute, counts):
  assert matching_attributes(BOOTS, [attribute]) == counts


@pytest.mark.parametrize(
  ("chosen", "wanted", "counts"),
  [
    (["navy"], ["color: navy"], 1),
    (["light blue"], ["dark blue"], 1),  # both are "blue"
    (["rose gold"], [("color", "gold")], 1),
    (["dark blue"], [("color", "blue")], 1),
    (["light blue"], [("color", "dark blue")], 1),  # "blue" is among the pair's words
    (["7"], [("size", "7.5")], 1),  # a set of words within another one
    (["7"], ["8"], 0),
    (["x-large"], ["size: x-large"], 1),
    ([], ["navy"], 0),
    (["navy"], [], 0),
  ],
)
def test_options(chosen, wanted, counts):
  assert matching_options(chosen, wanted) == counts


def buy(chosen, price, options=("navy", "size: 9"), attributes=("waterproof", "steel toe")):
  return reward(
    BOOTS, BOOTS, attributes=attributes, options=options, price_upper=60.0, price=price,
    chosen=chosen, bought_nouns=BOOTS.nouns, wanted_nouns=BOOTS.nouns,
  )  # fmt: skip


def test_the_parts_make_the_score():
  score, info = buy(["navy"], 60.0)
  assert score == 3 / 5
  assert (info["r_att"], info["w_att"]) == (1 / 2, 2 / 5)
  assert (info["r_option"], info["w_option"]) == (1 / 2, 2 / 5)
  assert (info["r_price"], info["w_price"]) == (True, 1 / 5)
  assert buy(["navy", "9"], 60.01)[0] == 3 / 5
  assert buy(["navy", "9"], 1.0, attributes=["waterproof"])[0] == 1
  assert "r_option" not in buy([], 1.0, options=())[1]


def test_without_a_list_nouns_are_the_words_that_are_mostly_nouns():
  plain = BOOTS._replace(nouns=None)
  assert nouns(plain, "listed") == ["norvik", "hiking", "boots"]
  assert nouns(BOOTS._replace(nouns=["boots"]), "listed") == ["boots"]
