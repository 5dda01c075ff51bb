"""KL to the initial policy, from the episodes that a run wrote.

The file of a training step has the policy's entropy H at each token that it drew, but not the
token's log-probability under the initial policy, which is computed here. At each token

    KL(policy || initial) = -H - E[log initial(a)],   a ~ policy,

where the drawn token is a sample of the expectation.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import os
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from empg_jax import chat as chats, envs
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.models import fingerprint, folder
from empg_jax.models.decoder import Decoder
from empg_jax.rollout.pack import by_turn, pack
from empg_jax.rollout.seat import Prompt, next_piece
from empg_jax.tracking import episode_files
from empg_jax.training.score import token_stats
from empg_jax.types import Batch, Episode, Turn
from empg_jax.workdir import resume

_ask = jax.jit(token_stats, static_argnames=("temperature", "compute_dtype"))


class Drift(NamedTuple):
  """Means over the tokens of training steps, in nats, at the temperature of training; [n] each."""

  steps: np.ndarray
  kl: np.ndarray
  error: np.ndarray
  """The mean's standard error."""


def measure(
  workdir: str | os.PathLike, count: int, progress: Callable[[int], Any] | None = None
) -> Drift:
  """Scores up to `count` episodes of each training step whose episodes were written.

  Args:
    workdir: of a run.
    count: the largest number of episodes of a step, at least 1.
    progress: called with 1 when a step is done.

  Raises:
    FileNotFoundError: there are no such episodes.
  """
  config = configs.read(workdir)
  home = folder.locate(config.model.path)
  fingerprint.check(workdir, home, weights=True)
  chat = folder.chat(home, **config.chat)
  initial = folder.load(home, sharding.make_mesh(), dtype=config.model.dtype)
  window, prompt = config.rollout.get("window", -1), None
  if window >= 0:
    prompt = functools.partial(envs.find(config.env.name).prompt, window=window)
  found = []
  for path in training_steps(workdir):
    written = episode_files.read(path)
    played = [e for e in written.episodes if e["ended"] != "aborted" and e["turns"]]
    chosen = played[:: max(len(played) // count, 1)][:count]  # of all groups
    rows = [episode(record, chat, prompt) for record in chosen]
    rows = by_turn(rows) if prompt else rows
    then = resume.config_at(workdir, written.step)
    batch = pack(rows, multiple=then.train.size, **then.pack)
    found.append((written.step, *mean_kl(batch, initial, then)))
    if progress is not None:
      progress(1)
  return Drift(*map(np.array, zip(*found)))


def training_steps(workdir: str | os.PathLike) -> Sequence[os.PathLike]:
  """The files of training steps' episodes.

  Raises:
    FileNotFoundError: there is none.
  """
  found = [path for path in episode_files.files(workdir) if path.name.endswith(".train.jsonl.gz")]
  if not found:
    raise FileNotFoundError(f"{workdir} has no episodes of a training step yet.")
  return found


def episode(record: Mapping[str, Any], chat: chats.Chat, prompt: Prompt | None) -> Episode:
  """An episode with exactly the ids that were played; its record has no log-probabilities.

  Args:
    record: of tracking.episode_files.read.
    chat: the run's.
    prompt: makes the text that a turn read, if each turn is a conversation of its own.
  """
  turns: list[Turn] = []
  for turn in record["turns"]:
    observation = turn["observation"]
    before = next_piece(chat, prompt, turns, observation) if turns else chat.opening(observation)
    turns.append(
      Turn(
        context=tuple(before),
        reply=np.array(turn["ids"], np.int32),
        logprobs=np.zeros(len(turn["ids"]), np.float32),
        entropy=np.array(turn["entropies"], np.float32),
        observation=observation,
        text="".join(turn["tokens"]),
        action=turn["action"],
        reward=float(turn["reward"]),
      )
    )
  alike = ("task", "group", "index", "reward", "success", "ended", "info")
  return Episode(turns=tuple(turns), **{name: record[name] for name in alike})


def mean_kl(
  batch: Batch, initial: Decoder, config: ml_collections.ConfigDict
) -> tuple[float, float]:
  """The mean over the agent's tokens, and its standard error, clustered by episode."""
  ask = functools.partial(
    _ask, temperature=config.policy.temperature, compute_dtype=config.train.compute_dtype
  )
  size = config.train.size
  logprobs = [
    jax.device_get(ask(initial, jax.tree.map(lambda x: x[at : at + size], batch)).logprobs)
    for at in range(0, len(batch.tokens), size)
  ]
  own = batch.steps > 0
  kl = np.where(own, -batch.behavior_entropy - np.concatenate(logprobs), 0.0)
  of_episode = functools.partial(np.bincount, batch.episode_ids)
  total, tokens = of_episode(kl.sum(axis=1)), of_episode(own.sum(axis=1))
  mean = total.sum() / tokens.sum()
  return mean, np.sqrt(np.sum(np.square(total - mean * tokens))) / tokens.sum()
