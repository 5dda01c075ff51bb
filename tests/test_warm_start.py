"""The shipped warm start is as good as configs/alfworld.py and the README say."""

import jax
import pytest

from empg_jax import chat as chats, sharding
from empg_jax.envs.alfworld import AlfWorld, tasks
from empg_jax.generation.policy import Policy
from empg_jax.models import folder
from empg_jax.rollout.actor import collect

GAMES = 70  # of each split


@pytest.mark.parametrize("split", ["valid_seen", "valid_unseen"])
def test_the_warm_start_wins_between_30_and_60_percent_of_the_small_games(split):
  home = folder.locate("alfworld-tiny")
  chat = chats.load(home)
  policy = Policy(
      folder.load(home, sharding.make_mesh()),
      slots=GAMES // 2,
      max_length=1024,
      max_reply=24,
      end_id=chat.end_id,
      temperature=0.4,
      compute_dtype="bfloat16",
      piece_lengths=(48,),
      windows=(512, 1024),
      devices=jax.local_devices()[:2],
  )
  episodes = collect(
      policy,
      chat,
      AlfWorld,
      tasks(split, games="small")[:GAMES],
      group_size=1,
      max_turns=25,
      key=jax.random.key(0),
  )
  success = sum(episode.success for episode in episodes) / GAMES
  assert 0.30 <= success <= 0.60
  assert sum(e.ended == "aborted" for e in episodes) == 0
