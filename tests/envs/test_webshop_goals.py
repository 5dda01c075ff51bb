"""Goals and their prices, drawn as the original draws them."""

import random

import pytest

from empg_jax.envs.webshop.goals import (
  NO_LIMIT,
  draw_price,
  human_goals,
  shuffled,
  synthetic_goals,
)
from empg_jax.envs.webshop.product import parse_product

ITEM = {
    "asin": "B1", "name": "A Lamp", "full_description": "", "category": "garden", "query": " Lamp ",
    "product_category": "", "small_description": ["x"], "pricing": "$15.50 - $30.00",
    "customization_options": {"Size": [{"value": "S"}, {"value": " M/L "}], "Color": None,
                              "Base": [{"value": "Oak"}]},
}  # fmt: skip
ENTRY = {"instruction": "a lamp", "instruction_attributes": ["dimmable"]}


def product(**changes):
  return parse_product(ITEM | changes, ["dimmable"])


def human(price, **changes):
  entry = {"instruction": "a lamp.", "instruction_attributes": ["x"], "instruction_options": ["m"]}
  return list(human_goals(3, price, [entry | changes], random.Random(0)))


@pytest.mark.parametrize(
  ("pricing", "tag", "prices"),
  [
    ("$19.90", "$19.9", [19.9]),
    ("$1,299.50", "$1299.5", [1299.5]),
    ("$15.50 - $30.00", "$15.5 to $30.0", [15.5, 30.0]),
    ("$1.00 $2.00 $3.00", "$1.0 to $2.0", [1.0, 2.0]),
    ("USD $1 299.50 each", "$1299.5", [1299.5]),
    ("$19.99 ($1.25 / ounce)", "$19.99 to $1.25", [19.99, 1.25]),
    ("", "$100.0", [100.0]),
    (None, "$100.0", [100.0]),
  ],
)
def test_prices_are_read(pricing, tag, prices):
  read = product(pricing=pricing)
  assert (read.price_tag, read.prices) == (tag, prices)


def test_a_price_within_a_range_is_drawn():
  assert draw_price(product(), random.Random(7)) == random.Random(7).uniform(15.5, 30.0)
  assert draw_price(product(pricing="$3.00"), random.Random(7)) == 3.0


def test_options_are_lower_case_and_stripped_and_slashes_become_bars():
  assert product().options == {"size": ["s", "m | l"], "base": ["oak"]}


def test_the_limit_is_the_larger_of_two_of_the_next_four_tens():
  limits = {
    next(human_goals(0, 20.0, [ENTRY | {"instruction_options": []}], random.Random(i))).price_upper
    for i in range(50)
  }
  assert limits == {40.0, 50.0, 60.0}


def test_a_human_goal_says_its_limit():
  (goal,) = human(25.0)
  assert goal.instruction == f"a lamp, and price lower than {goal.price_upper:.2f} dollars"
  assert (goal.product, goal.attributes, goal.options) == (3, ["x"], ["m"])


def test_expensive_products_have_no_price_limit():
  assert human(980.0)[0].instruction == "a lamp" and human(980.0)[0].price_upper == NO_LIMIT
  assert human(979.9)[0].price_upper == 990.0


def test_a_human_goal_without_attributes_is_left_out():
  assert human(25.0, instruction_attributes=[]) == []


def test_synthetic_goals_are_all_combinations_of_options():
  rng = random.Random(0)
  goals = list(synthetic_goals(0, product(), 20.0, ENTRY, rng))
  assert [goal.options for goal in goals] == [
    [("base", "oak"), ("size", "s")],
    [("base", "oak"), ("size", "m | l")],
  ]
  assert goals[1].instruction.startswith("a lamp with base: oak, and size: m | l, and price lower")
  assert len({goal.price_upper for goal in goals}) == 1  # drawn once for each product


def test_without_options_there_is_one_goal_and_without_instruction_none():
  plain = product(customization_options="")
  (goal,) = synthetic_goals(0, plain, 995.0, ENTRY, random.Random(0))
  assert goal.instruction == "a lamp" and goal.options == []
  assert list(synthetic_goals(0, plain, 1.0, {"instruction": None}, random.Random(0))) == []


def test_the_order_is_the_originals():
  order = list(range(50))
  random.seed(233)
  random.shuffle(order)
  assert shuffled(50) == order
