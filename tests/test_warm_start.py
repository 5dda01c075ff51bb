"""The shipped warm starts have the success rates of their README files and the configs."""

import pathlib

import jax
import pytest

from empg_jax import chat as chats
from empg_jax.config import config, lookup
from empg_jax.distributed import sharding
from empg_jax.generation.policy import Policy
from empg_jax.models import folder
from empg_jax.rollout.actor import collect

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[1]
TASKS = 70  # of each split


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize(
  ("name", "split", "piece", "least", "most"),
  [
    ("alfworld", "valid_seen", 48, 0.3, 0.6),
    ("alfworld", "valid_unseen", 48, 0.3, 0.6),
    ("webshop", "test", 192, 0.3, 0.6),
    ("deep_search", "test", 96, 0.2, 0.45),
  ],
)
def test_the_warm_start_wins_often_enough_to_learn_from_and_leaves_much_to_learn(
  name, split, piece, least, most
):
  given = config.load(str(ROOT / "configs" / f"{name}.py"))
  environment = lookup.find("empg_jax.envs", given.env.name)
  home = folder.locate(given.model.path)
  chat = chats.load(home)
  settings = dict(given.policy, slots=TASKS // 2, temperature=given.evaluation.temperature)
  # One program: each piece length, window and device would add one.
  program = dict(piece_lengths=(piece,), windows=settings["windows"][-1:])
  policy = Policy(
    folder.load(home, sharding.make_mesh()),
    end_id=chat.end_id,
    devices=jax.local_devices()[:1],
    **settings | program,
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
  assert least <= sum(episode.success for episode in episodes) / TASKS <= most
  assert not any(episode.ended == "aborted" for episode in episodes)
