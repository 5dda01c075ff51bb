"""What two hosts do in test_distributed.py: each plays its share, and all update on the whole.

Run as `two_hosts.py ADDRESS NUMBER FILE`, it leaves in FILE what one of them then knows.
"""

import pathlib
import sys

from flax import serialization
import jax
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np
import optax

from empg_jax import algorithms
from empg_jax.distributed import sharding
from empg_jax.envs import Step
from empg_jax.generation.policy import Policy
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.rollout import shares
from empg_jax.rollout.actor import collect
from empg_jax.rollout.pack import deal, pack
from empg_jax.training import state as states
from empg_jax.training.step import train_step

CONFIG = DecoderConfig(128, 16, 24, 2, 2, 2, 8)
OPTIMIZER = optax.sgd(0.1)
EMPG = algorithms.make("empg", zeta=0.1, base={"name": "grpo", "kl_coef": 0.0})
# Of four slots the hosts have two each, and of episodes dealt out to them the first gets the
# numbers 0, 3, 4, 7, ...: its own end with the first turn, the other's go on, and one breaks.
UNEVEN = ["1", "6", "5", "1", "1", "trap", "6", "1", "1", "7", "1", "1"]
GROUPS = ["2", "1", "3"]


class Chat:
  """Ids are characters, and each reply is an action."""

  end_id = 10

  def opening(self, observation):
    return [2, *map(ord, observation)]

  def following(self, observation, ended):
    return self.opening(observation)

  def text(self, ids):
    return "".join(map(chr, ids))

  def action(self, text):
    return text


class Counting:
  """Task "n" ends after n actions, each worth something; "trap" breaks at the first."""

  def __init__(self, resets):
    self._resets = resets

  def reset(self, task):
    self._resets.append(task)
    self._left = 0 if task == "trap" else int(task)
    return f"play {task}"

  def step(self, action):
    if not self._left:
      raise KeyError("a trap")
    self._left -= 1
    return Step(f"{self._left} left", ord(action[0]) / 7, not self._left, {"won": True})

  def close(self):
    pass


def make_mesh(devices):
  """Of devices 0 and 1 of a host and 2 and 3 of another: they share the rows, and the tensors."""
  return sharding.make_mesh(fsdp=2, tensor=2, devices=[devices[i] for i in (0, 2, 1, 3)])


def make_model(mesh):
  shapes = jax.eval_shape(lambda: Decoder(CONFIG, jax.random.key(0)))
  rng = np.random.default_rng(0)

  def fill(x, place):
    values = rng.normal(size=x.shape).astype(np.float32)
    return jax.make_array_from_callback(x.shape, place, lambda index: values[index])

  return jax.tree.map(fill, shapes, sharding.shardings(shapes, mesh))


def play(mesh, tasks, group_size):
  """All episodes, and the tasks that were begun here."""
  resets = []
  policy = Policy(
    make_model(mesh), slots=4, max_length=160, max_reply=5, end_id=Chat.end_id,
    piece_lengths=(16,), windows=(160,), mesh=mesh,
  )  # fmt: skip
  episodes = collect(
    policy, Chat(), lambda: Counting(resets), tasks, group_size=group_size, max_turns=9,
    key=jax.random.key(7),
  )  # fmt: skip
  return episodes, resets


def update(mesh, episodes):
  """The parameters after an update on the episodes, and what it says of it."""
  rows = pack(deal(episodes, 4), lengths=[64], multiple=4)
  state = sharding.place(states.create(make_model(mesh), OPTIMIZER), mesh)
  with jax.set_mesh(mesh):
    state, metrics = train_step(
      state, sharding.to_mesh(rows, mesh), algorithm=EMPG, optimizer=OPTIMIZER, size=4
    )
  whole = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))(state.model)
  parameters = [np.asarray(x.addressable_data(0)) for x in jax.tree.leaves(whole)]
  return parameters, {name: float(x) for name, x in metrics.items()}


def known(mesh):
  """Everything, as plain values."""
  uneven, uneven_resets = play(mesh, UNEVEN, 1)
  groups, groups_resets = play(mesh, GROUPS, 4)
  parameters, metrics = update(mesh, groups)
  return dict(
    uneven=shares.to_bytes(uneven), uneven_resets=uneven_resets, metrics=metrics,
    groups=shares.to_bytes(groups), groups_resets=groups_resets,
    parameters={str(i): x for i, x in enumerate(parameters)},
  )  # fmt: skip


if __name__ == "__main__":
  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_num_cpu_devices", 2)
  address, number, path = sys.argv[1:]
  jax.distributed.initialize(address, 2, int(number))
  told = known(make_mesh(jax.devices()))
  pathlib.Path(path).write_bytes(serialization.msgpack_serialize(told))
