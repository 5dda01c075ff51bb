"""Values of a batch's steps come back to the turns they belong to, in both row layouts."""

import numpy as np
import pytest
from test_pack import episode, turn

from empg_jax.rollout.pack import by_turn, deal, pack
from empg_jax.rollout.unpack import unpack

EPISODES = [
  episode(turn([1], [2, 3]), turn([4], [5]), group=0, index=0, reward=1.0),
  episode(ended="aborted", group=0, index=1),
  episode(turn([1, 1], [7]), group=1, index=0),
]


@pytest.mark.parametrize("layout", [list, by_turn])
def test_each_turn_has_its_own_values(layout):
  order = deal(layout(EPISODES), 2, 4)
  batch = pack(order, lengths=(8,), multiple=4)
  values = {"entropy": batch.behavior_entropy, "step": batch.steps.astype(np.float32)}
  found = unpack(values, batch.steps, order)
  assert found.keys() == {(0, 0), (1, 0)}
  for played in EPISODES[::2]:
    for number, (said, own) in enumerate(
      zip(played.turns, found[played.group, played.index], strict=True), 1
    ):
      assert own == {"entropy": pytest.approx(said.entropy[0]), "step": number}
