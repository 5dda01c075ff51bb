"""A printed episode: every turn with the policy's entropy."""

import numpy as np
import pytest

from empg_jax.tracking import transcript
from empg_jax.types import Episode, Turn


def turn(observation, text, entropy, action="look"):
  n = len(entropy)
  ids, entropy = np.zeros(n, np.int32), np.array(entropy, np.float32)
  return Turn((1,), ids, -entropy, entropy, observation, text, action, 0.5 if action else -0.1)


TURNS = (
  turn("A room.", "<think>a</think><action>look</action>", [0.5, 1.5]),
  turn("You see \x1b[2Jnothing.\nHm.", "caf\u00e9 \r\n", [3.0], None),
)


def played(turns=TURNS, success=True, ended="done", **info):
  return Episode("heat/1", 0, 0, turns, 0.4, success, ended, info)


def test_each_turn_shows_what_was_seen_said_and_how_sure_it_was():
  g = np.exp([0.0, -2.0]) / np.exp([0.0, -2.0]).mean()
  assert (
    "\n".join(transcript.lines(played(), k=2.0))
    == f"""\
=== heat/1

--- turn 1
A room.
> <think>a</think><action>look</action>
  H 1.000  Hn 0.00  g {g[0]:.2f}  reward 0.5  tokens 2

--- turn 2
You see \\x1b[2Jnothing.
Hm.
> caf\u00e9 \\r

  H 3.000  Hn 1.00  g {g[1]:.2f}  reward -0.1  tokens 1  no valid action

=== won after 2 turns (ended: done), return 0.4, mean H 2.000
"""
  )


@pytest.mark.parametrize(
  "episode, end",
  [
    (played(success=False, ended="turns"), "not won after 2 turns (ended: turns)"),
    (played((), False, "aborted", error="E: \x1b"), "E: \\x1b after 0 turns (ended: aborted)"),
  ],
)
def test_how_it_ended_is_reported(episode, end):
  assert end in list(transcript.lines(episode, k=1.0))[-1]
