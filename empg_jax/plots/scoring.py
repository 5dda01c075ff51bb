"""How a run changed its policy, measured on episodes that the initial policy plays.

The initial and the trained policy score the same tokens, so a step's entropies before and after
training are a pair.
"""

from collections.abc import Callable
import functools
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

from empg_jax import envs
from empg_jax.checkpoint import trained
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.evaluation import policies
from empg_jax.models import fingerprint, folder
from empg_jax.models.decoder import Decoder
from empg_jax.rollout.pack import by_turn, pack
from empg_jax.rollout.tasks import TaskSampler
from empg_jax.types import Batch, Scalar

_TOKENS = 256  # whose logits are in memory at a time


class Steps(NamedTuple):
  """Means over the tokens of each step, [n] each, at the temperature of training."""

  entropy: np.ndarray
  """Of the initial policy, in nats."""
  entropy_after: np.ndarray
  """Of the trained policy, in nats."""
  gradient: np.ndarray
  """E ||grad_z log pi(a)||^2 of the initial policy, a ~ pi."""
  gradient_drawn: np.ndarray
  """||grad_z log pi(a)||^2 at the tokens a that it drew."""


def measure(
  workdir: str | os.PathLike, episodes: int, progress: Callable[[int], Any] | None = None
) -> Steps:
  """Plays training tasks with a run's initial policy, and scores them with both policies.

  Raises FileNotFoundError if the run has no checkpoint.
  """
  workdir, step = trained.find(workdir)
  config = configs.read(workdir)
  environment = envs.find(config.env.name)
  home = folder.locate(config.model.path)
  fingerprint.check(workdir, home, weights=True)
  chat = folder.chat(home, **environment.REPLY | config.chat.to_dict())
  initial = folder.load(home, sharding.make_mesh(), dtype=config.model.dtype)
  tasks = environment.tasks("train", **config.tasks)
  tasks = TaskSampler(tasks, config.seed, kind=environment.task_type).at(0, episodes)
  policy = policies.make(config, initial, chat, episodes=episodes)
  played = policies.collect(
    config, environment, policy, chat, tasks, key=jax.random.key(config.seed), progress=progress
  )
  if config.rollout.get("window", -1) >= 0:
    played = by_turn(played)
  batch = pack(played, multiple=config.train.size, **config.pack)
  score = functools.partial(
    scores, batch=batch, size=config.train.size, temperature=config.policy.temperature,
    compute_dtype=config.train.compute_dtype,
  )  # fmt: skip
  before = score(initial)
  after = score(trained.load(config, workdir / "checkpoints" / str(step)))
  return Steps(before[0], after[0], before[1], before[2])


def scores(
  model: Decoder, *, batch: Batch, size: int, temperature: float, compute_dtype: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Each step's mean entropy, and expected and drawn squared gradient norm, [n] each.

  Steps are in the batch's order; `size` rows are scored at a time.
  """
  ask = functools.partial(token_gradients, temperature=temperature, compute_dtype=compute_dtype)
  rows = range(0, len(batch.tokens), size)
  asked = [jax.device_get(ask(model, *(_of(batch, r, size)))) for r in rows]
  values = [np.concatenate(part) for part in zip(*asked)]
  place = np.asarray(batch.steps)
  row = np.broadcast_to(np.arange(len(place))[:, None], place.shape)
  own = place > 0
  _, step, count = np.unique(
    np.stack([row[own], place[own]]), axis=1, return_inverse=True, return_counts=True
  )
  return tuple(np.bincount(step.reshape(-1), value[own]) / count for value in values)


@functools.partial(jax.jit, static_argnames=("compute_dtype",))
def token_gradients(
  model: Decoder,
  tokens: Int[Array, "B T"],
  actions: Int[Array, "B T"],
  *,
  temperature: Scalar,
  compute_dtype: str,
) -> tuple[Float[Array, "B T"], Float[Array, "B T"], Float[Array, "B T"]]:
  """Entropy, and the squared norm of grad_z log pi(a) with respect to the logits z.

  Returns the entropy, the norm's mean over a ~ pi, 1 - sum_j pi_j^2 (arXiv 2509.09265,
  proposition 1), and the norm at the action itself, ||onehot(a) - pi||^2.
  """
  hidden = model(tokens, compute_dtype=compute_dtype)
  unembedding = model.unembedding.astype(jnp.float32)

  def of_token(x):
    state, action = x
    logits = state.astype(jnp.float32) @ unembedding / temperature
    logp = jax.nn.log_softmax(logits)
    p = jnp.exp(logp)
    collision = jnp.sum(p * p)
    return -jnp.sum(p * logp), 1 - collision, 1 - 2 * p[action] + collision

  flat = hidden.reshape(-1, hidden.shape[-1]), actions.reshape(-1)
  found = jax.lax.map(of_token, flat, batch_size=_TOKENS)
  return tuple(x.reshape(tokens.shape) for x in found)


def _of(batch: Batch, first: int, size: int) -> tuple[jax.Array, jax.Array]:
  rows = slice(first, first + size)
  return jnp.asarray(batch.tokens[rows]), jnp.asarray(batch.actions[rows])
