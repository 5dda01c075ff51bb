"""A scripted policy, a chat and an environment for tests of the actor: no device, no model."""

import random
from typing import NamedTuple

import jax
import numpy as np

from empg_jax.envs import Step

END = 3


class ToyChat:
  """One id a character, or that id + 1000: decoding forgets which, so re-encoding shows."""

  end_id = END

  def opening(self, observation):
    return [1, *map(ord, observation), 2]

  def following(self, observation, ended):
    assert type(ended) is bool
    return ([] if ended else [END]) + self.opening(observation)

  def text(self, ids):
    return "".join(chr(i % 1000) for i in ids if i != END)

  def action(self, text):
    head, tag, rest = text.partition("<a>")
    return rest.removesuffix("</a>") if tag and rest.endswith("</a>") else None


class HostReply(NamedTuple):
  ids: np.ndarray
  lengths: np.ndarray
  logprobs: np.ndarray
  entropy: np.ndarray


class _Reply:
  def __init__(self, host, log, half):
    self._host, self._log, self._half = host, log, half

  def fetch(self):
    self._log.append(("fetch", self._half))
    return self._host


class ScriptedPolicy:
  """Replies are a function of (key, episode, turn); each call is checked and logged.

  `log` holds ("act", half, live slots) and ("fetch", half); `sampled` the ids by
  (episode, turn); `read` all that an episode's slot has read and written.
  """

  def __init__(self, slots, max_length=2000, max_reply=24, words=("dig", "dig", "wait")):
    self.slots, self.max_length, self.max_reply = slots, max_length, max_reply
    self._words = words
    self.log, self.sampled, self.read = [], {}, {}
    self._halves = 0

  def start(self, half=0):
    self._halves += 1
    return {"half": self._halves - 1, "at": [None] * self.slots, "fresh": True}

  def act(self, slots, pieces, episodes, turns, key, *, anew=False):
    assert len(pieces) == len(episodes) == len(turns) == self.slots
    if not any(pieces):
      return slots, None
    assert slots.pop("fresh"), "a state is used once: its buffers are donated"
    ids = np.zeros((self.slots, self.max_reply), np.int32)
    logprobs, entropy = np.random.default_rng(0).random((2, *ids.shape), np.float32)
    lengths = np.zeros(self.slots, np.int32)
    at = [None] * self.slots
    for slot, (piece, episode, turn) in enumerate(zip(pieces, episodes, turns)):
      if piece is None:
        continue
      if turn == 0 or anew:
        self.read[episode] = []
      else:
        assert slots["at"][slot] == (episode, turn - 1), "an episode stays in its slot"
      reply = self._sample(key, episode, turn)
      self.read[episode] += piece + reply
      assert len(self.read[episode]) - len(reply) + self.max_reply <= self.max_length
      n = lengths[slot] = len(reply)
      ids[slot, :n] = reply
      logprobs[slot, :n] = -np.arange(1, n + 1) - episode
      entropy[slot, :n] = turn + np.arange(n) / 100
      self.sampled[episode, turn] = reply
      at[slot] = (episode, turn)
    self.log.append(("act", slots["half"], sum(piece is not None for piece in pieces)))
    reply = _Reply(HostReply(ids, lengths, logprobs, entropy), self.log, slots["half"])
    return {"half": slots["half"], "at": at, "fresh": True}, reply

  def _sample(self, key, episode, turn):
    rng = random.Random(f"{jax.random.key_data(key).tolist()} {episode} {turn}")
    thought = "".join(rng.choices("abc", k=rng.randrange(6)))
    text = thought + rng.choice(["<a>{}</a>", "<a>{}</a>", "{}"]).format(rng.choice(self._words))
    ids = [ord(c) + rng.choice([0, 1000]) for c in text][: self.max_reply]
    return ids if rng.random() < 0.2 or len(ids) == self.max_reply else [*ids, END]


class Digging:
  """Task "n": won by digging n times. "lost": breaks in reset; "trap": at the first dig."""

  def __init__(self, made):
    made.append(self)
    self.tasks, self.closed, self.commands = [], 0, []

  def reset(self, task):
    if self.closed:
      raise OSError("the environment is closed")
    self.tasks.append(task)
    self._task, self._left = task, 1 if task == "trap" else int(task.strip("x"))
    return f"Dig! {task}"

  def step(self, action):
    self.commands.append(action)
    self._left -= action == "dig"
    if self._task == "trap" and not self._left:
      raise KeyError("a trap")
    won = self._left == 0
    return Step(f"{action}: {self._left} left", 2.0 * won, won, {"won": won})

  def close(self):
    self.closed += 1
