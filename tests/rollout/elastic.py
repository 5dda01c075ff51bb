"""A run that goes on on other devices, and on other hosts, in test_elastic.py.

Run as `elastic.py ADDRESS NUMBER FOLDER STEP`, it is one of two processes of that step.
"""

import sys

import jax
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np
import optax
import two_hosts
from two_hosts import EMPG, GROUPS, Chat, Counting

from empg_jax.checkpoint import Checkpointer
from empg_jax.distributed import sharding
from empg_jax.generation.policy import Policy
from empg_jax.rollout import shares
from empg_jax.rollout.actor import collect
from empg_jax.rollout.pack import deal, pack
from empg_jax.training import state as states
from empg_jax.training.step import train_step

OPTIMIZER = optax.sgd(0.01, momentum=0.9)  # and a moment that goes along


def go_on(mesh, folder, last):
  """The steps after the folder's newest checkpoint: episodes of each, parameters at the end."""
  checkpointer = Checkpointer(folder, keep=9)
  try:
    state = sharding.place(states.create(two_hosts.make_model(mesh), OPTIMIZER), mesh)
    restored = checkpointer.restore(state)
    first, state = (1, state) if restored is None else (restored.step + 1, restored.state)
    played = []
    for step in range(first, last + 1):
      episodes = _play(mesh, state.model, jax.random.fold_in(jax.random.key(7), step))
      rows = pack(deal(episodes, 4), lengths=[64], multiple=4)
      with jax.set_mesh(mesh):
        state, _ = train_step(
          state, sharding.to_mesh(rows, mesh), algorithm=EMPG, optimizer=OPTIMIZER, size=4
        )
      checkpointer.save(step, state)
      played.append(shares.to_bytes(episodes))
    whole = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))(state.model)
    return played, [np.asarray(x.addressable_data(0)) for x in jax.tree.leaves(whole)]
  finally:
    checkpointer.close()


def _play(mesh, model, key):
  policy = Policy(
    model, slots=4, max_length=160, max_reply=5, end_id=Chat.end_id, piece_lengths=(16,),
    windows=(160,), mesh=mesh,
  )  # fmt: skip
  given = dict(group_size=4, max_turns=9, key=key)
  return collect(policy, Chat(), lambda: Counting([]), GROUPS, **given)


if __name__ == "__main__":
  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_num_cpu_devices", 2)
  address, number, folder, step = sys.argv[1:]
  jax.distributed.initialize(address, 2, int(number))
  go_on(two_hosts.make_mesh(jax.devices()), folder, int(step))
