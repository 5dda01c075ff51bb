"""One visit to the shop: which page follows an action."""

import re

from empg_jax.envs.webshop import pages
from empg_jax.envs.webshop.goals import Goal
from empg_jax.envs.webshop.shop import Shop

RESULTS = 50  # that a search finds at most
_ACTION = re.compile(r"(.+)\[(.+)\]")
_CLICK = "click["


class Session:
  """The state of a visit; plain values, so that it can be pickled. The shop stays outside.

  Attributes:
    page: the open page.
    product: the number of the product that is open, or was bought.
    options: the chosen options, value by name.
  """

  def __init__(self, goal: Goal):
    self._goal = goal
    self._keywords, self._found, self._page_number = "", [], 0
    self.product: int | None = None
    self.options: dict[str, str] = {}
    self.page = pages.search_page(goal.instruction)

  def act(self, action: str, shop: Shop) -> bool:
    """Plays `action`, invalid ones without effect; returns whether it bought a product."""
    name, argument = self._parsed(action)
    if name == "search" and argument:
      self._keywords = argument
      self._search(shop, 1)
    elif name == "click" and argument in self.page.clickables and argument != "search":
      return self._click(argument, shop)
    return False

  def _parsed(self, action: str) -> tuple[str, str]:
    """The kind and the argument of an action; a clickable text may contain any characters."""
    offered = action[len(_CLICK) : -1].lower()
    if action.startswith(_CLICK) and action.endswith("]") and offered in self.page.clickables:
      return "click", offered
    match = _ACTION.match(action)
    name, argument = match.groups() if match else (action, "")
    return name, argument.lower()

  def finish(self, shop: Shop, reward: float) -> None:
    """Shows the last page."""
    self.page = pages.done_page(shop.product(self.product).asin, self.options, reward)

  def _click(self, argument: str, shop: Shop) -> bool:
    kind, target = self.page.clickables[argument]
    # The original compares the text first, so an option with a button's text acts as that button.
    button = _BUTTONS.get(argument)
    if button == pages.BUY:
      return True
    if button == pages.BACK:
      self.product, self.options = None, {}
      self.page = pages.search_page(self._goal.instruction)
    elif button in (pages.NEXT, pages.PREV) and self.page.kind == "results":
      self._search(shop, self._page_number + (1 if button == pages.NEXT else -1))
    elif button == pages.PREV and self.page.kind == "item":
      self._search(shop, self._page_number)
    elif button in pages.SUB_PAGES:
      product = shop.product(self.product)
      self.page = pages.sub_page(self._goal.instruction, product, button)
    else:
      if kind == "product":
        first = (self._page_number - 1) * pages.PER_PAGE
        self.product = self._found[first + target]
      elif kind == "option":
        self.options[target] = argument
      self.page = pages.item_page(self._goal.instruction, shop.product(self.product))
    return False

  def _search(self, shop: Shop, number: int) -> None:
    """Opens page `number` of the results, also beyond the last one, as in the original."""
    self.product, self.options, self._page_number = None, {}, number
    self._found = shop.index.search(self._keywords, RESULTS)
    on_page = self._found[(number - 1) * pages.PER_PAGE : number * pages.PER_PAGE]
    products = [shop.product(i) for i in on_page]
    self.page = pages.results_page(self._goal.instruction, number, len(self._found), products)


_BUTTONS = {
  name.lower(): name for name in (pages.BACK, pages.PREV, pages.NEXT, pages.BUY, *pages.SUB_PAGES)
}
