"""The shop as an environment, and its tasks."""

from empg_jax.envs import Step
from empg_jax.envs.webshop import data
from empg_jax.envs.webshop.goals import KINDS, Goal
from empg_jax.envs.webshop.nouns import METHODS, nouns
from empg_jax.envs.webshop.pages import without_instruction
from empg_jax.envs.webshop.reward import reward as score
from empg_jax.envs.webshop.session import Session

# The numbers of a split's goals. The last is what verl-agent trains on.
SPLITS = {"test": (0, 500), "eval": (500, 1500), "train": (1500, None), "train+eval": (500, None)}
REWARDS = ("score", "won")
TASK_TYPES = ("beauty", "electronics", "fashion", "garden", "grocery")


class WebShop:
  """WebShop as an `Env`: a purchase ends the episode, and only it is rewarded.

  `step` answers with info {"won": whether the purchase was perfect, "task_score": its score
  in [0, 1] or 0 before, "has_search_bar": bool, "clickables": list of str}; at the end also
  with the score's parts, r_type, r_att, r_option, r_price, their weights w_.., query_match,
  category_match and title_score.
  """

  def __init__(
    self,
    *,
    nouns: str = "listed",
    reward: str = "score",
    show_commands: bool = False,
    repeat_instruction: bool = True,
  ):
    """Plays any task.

    Args:
      nouns: "listed", or "spacy", which needs the extra `webshop`: see nouns.py.
      reward: "score", the score itself, or "won", 1 for the score 1 and else 0.
      show_commands: whether each observation ends with a list of the possible actions.
      repeat_instruction: whether every page has the instruction, as in the original. Else
        only the first does, which is enough for an agent that sees the whole transcript.
    """
    _check("nouns", nouns, METHODS)
    _check("reward", reward, REWARDS)
    self._nouns, self._reward, self._show_commands = nouns, reward, show_commands
    self._repeat_instruction = repeat_instruction
    self._session: Session | None = None
    self._done = False

  def reset(self, task: str) -> str:
    """Starts `task`; returns the search page with the instruction.

    Raises:
      ValueError: an unknown task, or a broken file.
      FileNotFoundError: WEBSHOP_DATA names no folder with the files.
    """
    catalogue, goals, number = _parts(task)
    return self.start(data.shop(catalogue, goals).goal(number), catalogue, goals)

  def start(self, goal: Goal, catalogue: str, goals: str) -> str:
    """Starts an episode of a goal that need not be one of the shop's."""
    self._names = (catalogue, goals)
    self._goal, self._session, self._done = goal, Session(goal), False
    return self._observation(self._session, first=True)

  def step(self, action: str) -> Step:
    """Plays `action` exactly as given: blanks around it are part of it."""
    session = self._playing()
    if self._done:
      raise ValueError("this episode has ended: call reset(task) before the next step")
    if not isinstance(action, str):
      raise TypeError(f"an action must be a str, got {type(action).__name__}")
    total, info = 0.0, {}
    if session.act(action, data.shop(*self._names)):
      self._done = True
      total, info = self._buy(session)
    won = total == 1
    info |= {"won": won, "task_score": total, **self.available_actions}
    reward = total if self._reward == "score" else float(won)
    return Step(self._observation(session), reward, self._done, info)

  @property
  def available_actions(self) -> dict[str, bool | list[str]]:
    """The page's actions: "has_search_bar" and "clickables"; also before the first step."""
    page = self._playing().page
    return {"has_search_bar": page.kind == "search", "clickables": list(page.clickables)}

  def close(self) -> None:
    """Ends the episode, if there is one."""
    self._session = None

  def _buy(self, session: Session) -> tuple[float, dict]:
    shop, goal = data.shop(*self._names), self._goal
    bought, wanted = shop.product(session.product), shop.product(goal.product)
    total, info = score(
      bought,
      wanted,
      attributes=goal.attributes,
      options=goal.options,
      price_upper=goal.price_upper,
      price=shop.price(session.product),
      chosen=session.options.values(),
      bought_nouns=nouns(bought, self._nouns),
      wanted_nouns=nouns(wanted, self._nouns),
    )
    session.finish(shop, total)
    return total, info

  def _observation(self, session: Session, first: bool = False) -> str:
    text, page = session.page.text, session.page
    if not (first or self._repeat_instruction):
      text = without_instruction(text, self._goal.instruction)
    if not self._show_commands or self._done:
      return text
    clicks = [f"click[{name}]" for name in page.clickables if name != "search"]
    return f"{text}\n\nCommands: {', '.join(['search[words]', *clicks])}."

  def _playing(self) -> Session:
    if self._session is None:
      raise ValueError("there is no episode yet: call reset(task) before the first step")
    return self._session


def tasks(split: str, *, catalogue: str = "embedded", goals: str = "human") -> list[str]:
  """The names of all tasks of a split, always in the same order.

  Args:
    split: one of SPLITS.
    catalogue: "embedded", or "small" or "full", WebShop's files in the folder that
      WEBSHOP_DATA names.
    goals: "human", in the words of people (of a generator in the embedded catalogue), or
      "synthetic", one for each combination of options.

  Raises:
    ValueError: an unknown split, catalogue or kind of goals, or a broken file.
    FileNotFoundError: WEBSHOP_DATA names no folder with the files.
  """
  _check("split", split, tuple(SPLITS))
  _check("catalogue", catalogue, data.CATALOGUES)
  _check("goals", goals, KINDS)
  numbers = range(data.shop(catalogue, goals).num_goals)[slice(*SPLITS[split])]
  return [f"{catalogue}/{goals}/{number}" for number in numbers]


def task_type(task: str) -> str:
  """The category of a task's product, one of `TASK_TYPES`."""
  catalogue, goals, number = _parts(task)
  shop = data.shop(catalogue, goals)
  return shop.product(shop.goal(number).product).category


def _parts(task: str) -> tuple[str, str, int]:
  catalogue, _, rest = str(task).partition("/")
  goals, _, number = rest.partition("/")
  if catalogue in data.CATALOGUES and goals in KINDS and number.isdecimal():
    if int(number) < data.shop(catalogue, goals).num_goals:
      return catalogue, goals, int(number)
  raise ValueError(f"there is no task {task!r}: take one from tasks(split, catalogue, goals)")


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
  if value not in known:
    raise ValueError(f"{what} must be one of {', '.join(known)}, got {value!r}")
