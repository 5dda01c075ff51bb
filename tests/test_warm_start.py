"""The shipped warm starts are as good as their README files and the configs say."""

import pathlib

import jax
import pytest

from empg_jax import chat as chats, config, lookup, sharding
from empg_jax.generation.policy import Policy
from empg_jax.models import folder
from empg_jax.rollout.actor import collect

ROOT = pathlib.Path(__file__).resolve().parents[1]
TASKS = 70  # of each split


@pytest.mark.parametrize(
    ("name", "split"),
    [("alfworld", "valid_seen"), ("alfworld", "valid_unseen"), ("webshop", "test")],
)
def test_the_warm_start_wins_between_30_and_60_percent(name, split):
  given = config.load(str(ROOT / "configs" / f"{name}.py"))
  environment = lookup.find("empg_jax.envs", given.env.name)
  home = folder.locate(given.model.path)
  chat = chats.load(home)
  settings = dict(given.policy, slots=TASKS // 2, temperature=given.evaluation.temperature)
  longest = {name: settings[name][-1:] for name in ("piece_lengths", "windows")}
  policy = Policy(
      folder.load(home, sharding.make_mesh()),
      end_id=chat.end_id,
      devices=jax.local_devices()[:2],
      **settings | longest,
  )
  episodes = collect(
      policy,
      chat,
      lambda: environment.make(**config.arguments(given.env)),
      environment.tasks(split, **given.tasks)[:TASKS],
      group_size=1,
      max_turns=given.rollout.max_turns,
      key=jax.random.key(0),
  )
  assert 0.30 <= sum(episode.success for episode in episodes) / TASKS <= 0.60
  assert not any(episode.ended == "aborted" for episode in episodes)
