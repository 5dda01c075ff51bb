"""What a module must have to be an environment, and what becomes of what it leaves out."""

import importlib
import math
import re
import types

import pytest

from empg_jax import envs
from empg_jax.config import config as configs
from empg_jax.data import demonstrations
from empg_jax.envs import alfworld, deep_search, webshop
from empg_jax.evaluation import players, policies, records
from empg_jax.loop import settings
from empg_jax.types import Episode

BARE = """
import collections
from empg_jax.envs import Step

class Coin:
  def reset(self, task):
    return "heads or tails?"
  def step(self, action):
    return Step("it is " + action, 1.0, True, {"won": action == "heads"})
  def close(self):
    pass

make = Coin
def tasks(split):
  return ["a", "b"]
def task_type(task):
  return "coin"
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
  """Makes an environment of the least that one has, and of more lines."""
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / "coins").mkdir()

  def made(more="", name="coins.coin"):
    (tmp_path / f"{name.replace('.', '/')}.py").write_text(BARE + more)
    importlib.invalidate_caches()
    return envs.find(name)

  yield made
  for name in [name for name in importlib.sys.modules if name.split(".")[0] == "coins"]:
    del importlib.sys.modules[name]


def test_what_an_environment_leaves_out_has_a_default(environment):
  coin = environment()
  assert (coin.SCORE, coin.PLAIN, coin.INSTRUCTIONS, coin.PHRASES) == ("won", {}, "", ())
  assert coin.__name__ == "coins.coin" and coin.tasks("train") == ["a", "b"]
  assert isinstance(coin.make(), envs.Env) and coin.task_type("a") == "coin"


@pytest.mark.parametrize("name, module", [
  ("alfworld", alfworld), ("webshop", webshop), ("deep_search", deep_search),
])  # fmt: skip
def test_the_packages_own_have_all_of_their_names(name, module):
  found, split = envs.find(name), {"alfworld": "valid_seen"}.get(name, "test")
  declared = re.findall(r"^    (\w+)", envs.__doc__, re.M)
  assert {"make", "tasks", "task_type", "SCORE", "expert", "PHRASES"} <= set(declared)
  for part in declared:
    assert getattr(found, part) is not None, part
    if part not in ("tasks", "task_type", "REPLY"):
      assert getattr(found, part) is getattr(module, part)
  assert found.tasks(split) == module.tasks(split)


def test_an_evaluation_needs_no_score_of_the_environments(environment):
  coin = environment()
  for agent in ("human", "policy"):
    players.check(coin, agent)
  env = coin.make()
  episode = players.play(env, players.Human(lambda question: "heads"), "a", max_turns=3)
  assert records.record(episode, coin, 0)["score"] == 1.0


@pytest.mark.parametrize("scored", [math.nan, None, "much", [1.0]])
def test_a_score_that_is_no_number_is_none(environment, scored):
  coin = environment('SCORE = "points"\n')
  info = {"won": True, "points": None if scored != scored else scored}
  assert envs.score(coin, info) == 0.0 and envs.score(coin, {"points": 0.25}) == 0.25
  assert records.record(Episode("a", 0, 0, (), 1.0, True, "done", info), coin, 0)["score"] == 0.0


@pytest.mark.parametrize("agent, part", [("expert", "expert"), ("random", "choices")])
def test_an_agent_that_the_environment_lacks_is_refused_in_a_sentence(environment, agent, part):
  sentence = f"^--agent={agent} needs the function {part} of coins.coin, which has none"
  with pytest.raises(ValueError, match=sentence):
    players.check(environment(), agent)


def test_an_environment_with_an_expert_alone_needs_no_plain(environment):
  coin = environment("""
def expert(rng):
  return collections.namedtuple("Expert", "act")(lambda observation, played: ("", "heads"))
""")
  config = types.SimpleNamespace(env={}, rollout=types.SimpleNamespace(max_turns=2))
  players.check(coin, "expert")
  episodes = players.collect(config, coin, "expert", ["a", "b"], seed=0)
  assert [episode.success for episode in episodes] == [True, True]


@pytest.mark.parametrize("more, words", [
  ("make = None", "it has no make; empg_jax.envs lists what it must have"),
  ("del make, task_type", "it has no make, task_type; "),
  ("tasks = ['a']", r"its tasks is \['a'\], no function"),
  ("expert = 3", "its expert is 3, no function"),
  ("SCORE = 3", "its SCORE is 3, want a str"),
  ("PLAIN = None", "its PLAIN is None, want a dict"),
  ("REPLY = 'think'", "its REPLY is 'think', want a dict"),
  ("REPLY = {'upper': True}", "its REPLY has 'upper', want True or False for think, lower, cjk"),
  ("REPLY = {'cjk': 'no'}", "its REPLY has 'cjk', want True or False for think, lower, cjk"),
])  # fmt: skip
def test_a_module_that_is_no_environment_is_refused_by_find(environment, more, words):
  with pytest.raises(ValueError, match=f"^coins.coin is no environment: {words}"):
    environment(more)


@pytest.mark.parametrize("returned", ["range(3)", "[]", "'abc'", "[1]", "[None]"])
def test_tasks_are_names(environment, returned):
  coin = environment(f"def tasks(split): return {returned}")
  with pytest.raises(ValueError, match=r"tasks\('x'\) of coins.coin returned .*: want a list of"):
    coin.tasks("x")


def test_tasks_may_come_one_by_one(environment):
  coin = environment("def tasks(split, *, more=0): return (name for name in 'ab')")
  assert coin.tasks("train", more=1) == ["a", "b"]


def test_a_task_type_is_a_name(environment):
  coin = environment("def task_type(task): return None")
  with pytest.raises(ValueError, match="task_type.*of coins.coin returned None: want a string"):
    coin.task_type("a")


@pytest.mark.parametrize("check", [settings.check, policies.check])
def test_rows_of_one_turn_need_a_prompt(check):
  config, found = configs.load("configs/alfworld.py"), envs.find("alfworld")
  config.rollout.window = 2
  check(config, found)
  found.prompt = None
  with pytest.raises(ValueError, match="^config.rollout.window=2 needs the function prompt of em"):
    check(config, found)


def test_cloning_needs_demonstrations(environment):
  config = configs.load("configs/alfworld.py")
  with pytest.raises(ValueError, match="^launch/sft.py needs the function demonstrations of coin"):
    settings.check_cloning(config, environment())
  with pytest.raises(ValueError, match="^Cloning an expert needs the function demonstrations of"):
    demonstrations.demonstrations("coins.coin", episodes=3, seed=0)
