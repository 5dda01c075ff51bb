"""WebShop as an environment: tasks, episodes, what every agent may do to it."""

import pickle
import random
import subprocess
import sys

import pytest

from empg_jax.envs.webshop import SPLITS, TASK_TYPES, WebShop, task_type, tasks
from empg_jax.envs.webshop.expert import Expert


def play(env, task, actions):
  return [env.reset(task), *(env.step(action) for action in actions)]


def walk(env, seed, turns=40):
  """Random actions, a purchase only by chance; the actions and what they led to."""
  rng, told = random.Random(seed), []
  for _ in range(turns):
    offered = env.available_actions
    action = f"click[{rng.choice(offered['clickables'])}]"
    if offered["has_search_bar"]:
      action = f"search[{rng.choice(['green tea', 'boots navy', 'usb cable 6 feet', 'zzz'])}]"
    told.append((action, env.step(action)))
    if told[-1][1].done:
      break
  return told


def test_splits_are_the_originals():
  sizes = {split: len(tasks(split)) for split in SPLITS}
  assert sizes["test"] == 500 and sizes["eval"] == 1000 and sizes["train"] >= 3000
  assert tasks("train+eval") == tasks("eval") + tasks("train")
  assert tasks("test")[7] == "embedded/human/7"
  assert len(tasks("train", goals="synthetic")) >= 3000


def test_all_five_categories_are_among_the_tasks():
  assert {task_type(task) for task in tasks("test")} == set(TASK_TYPES)


def test_a_perfect_purchase_wins():
  env, expert = WebShop(), Expert()
  observation, played, done = env.reset(tasks("test")[0]), None, False
  while not done:
    _, played = expert.act(observation, played)
    observation, reward, done, info = env.step(played)
    assert info["won"] is done and reward == float(done) == info["task_score"]
  assert played == "click[buy now]" and info["r_type"] == info["r_att"] == 1
  assert info["clickables"] == [] and info["has_search_bar"] is False


def test_the_same_actions_give_the_same_text():
  env, again = WebShop(), WebShop()
  for i, task in enumerate(tasks("test")[:10]):
    env.reset(task)
    told = walk(env, i)
    assert [step for _, step in told] == play(again, task, [action for action, _ in told])[1:]


def test_an_episode_can_be_pickled_in_the_middle():
  env = WebShop()
  env.reset(tasks("test")[1])
  env.step("search[security camera]")
  copy = pickle.loads(pickle.dumps(env))
  assert walk(copy, 3) == walk(env, 3)


def test_the_reward_can_be_winning_alone():
  for task in tasks("test")[:20]:
    scored, won = WebShop(), WebShop(reward="won")
    scored.reset(task)
    told = walk(scored, task)
    end = play(won, task, [action for action, _ in told])[-1]
    assert end.info == told[-1][1].info
    assert end.reward == float(end.info["won"]) == float(end.info["task_score"] == 1)
    assert told[-1][1].reward == end.info["task_score"]


def test_the_instruction_can_be_said_once():
  task = tasks("test")[0]
  actions = ["search[hiking boots]", "click[next >]", "click[back to search]"]
  often, once = (play(WebShop(repeat_instruction=say), task, actions) for say in (True, False))
  said = f"Instruction: [SEP] {often[0].split(' [SEP] ')[2]} [SEP] "
  assert once[0] == often[0]
  for page, shorter in zip(often[1:], once[1:], strict=True):
    assert said in page.observation
    assert shorter.observation == page.observation.replace(said, "")


def test_several_processes_share_one_shop(tmp_path, monkeypatch):
  monkeypatch.setenv("EMPG_JAX_CACHE", str(tmp_path))
  program = (
    "from empg_jax.envs.webshop import WebShop, tasks\n"
    "env = WebShop(); env.reset(tasks('test')[0])\n"
    "print(env.step('search[green tea]').observation)"
  )
  run = [sys.executable, "-c", program]
  started = [subprocess.Popen(run, stdout=subprocess.PIPE, text=True) for _ in range(2)]
  told = [process.communicate()[0] for process in started]
  assert [process.returncode for process in started] == [0, 0]
  assert len(set(told)) == 1 and "Page 1" in told[0]
  assert len([path for path in (tmp_path / "webshop").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize("task", ["embedded/human/99999", "embedded/human/x", "small", ""])
def test_an_unknown_task_is_reported(task):
  with pytest.raises(ValueError, match=r"^there is no task .*: take one from tasks\("):
    WebShop().reset(task)


def test_wrong_use_is_reported():
  with pytest.raises(ValueError, match="catalogue must be one of embedded, small, full"):
    tasks("test", catalogue="large")
  with pytest.raises(ValueError, match="reward must be one of score, won"):
    WebShop(reward="points")
  with pytest.raises(ValueError, match="split must be one of test, eval, train"):
    tasks("dev")
  env = WebShop()
  with pytest.raises(ValueError, match="call reset"):
    env.step("search[x]")
  env.reset(tasks("test")[0])
  env.step("search[tea]")
  env.step(f"click[{env.available_actions['clickables'][-1]}]")
  assert env.step("click[buy now]").done
  with pytest.raises(ValueError, match="has ended"):
    env.step("search[x]")
