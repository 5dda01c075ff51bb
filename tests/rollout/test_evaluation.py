"""The run's own evaluations: what the policy scores on the validation tasks."""

from unittest import mock

import jax
import ml_collections
import numpy as np

from empg_jax.envs import webshop
from empg_jax.rollout import play
from empg_jax.types import Episode, Turn


def test_an_aborted_episode_counts_neither_in_success_nor_in_score():
  config = ml_collections.ConfigDict({
    "evaluation": {"splits": ("test",), "tasks": 3, "temperature": 0.4},
    "tasks": {"catalogue": "embedded", "goals": "human"},
  })  # fmt: skip
  zero = np.zeros(1, np.float32)
  turns = (Turn((1,), np.zeros(1, np.int32), zero, zero, "", "", "search[x]", 0.0),)

  def played(policy, tasks, size, key, title):
    won, unscored, lost = tasks
    return [
      Episode(won, 0, 0, turns, 1.0, True, "done", {webshop.SCORE: 1.0}),
      Episode(unscored, 1, 0, turns, 0.0, False, "turns", {}),
      Episode(lost, 2, 0, turns, 0.0, False, "aborted", {webshop.SCORE: 0.7, "fault": "hang"}),
    ]

  results = play.evaluation(config, webshop, played, mock.MagicMock(), 0, jax.random.key(0))
  assert results["eval/test/success"] == results["eval/test/score"] == 0.5
  assert results["eval/test/aborted"] == 1
