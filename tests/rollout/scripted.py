"""A scripted policy, a chat and an environment for tests of the actor: no device, no model."""

import random

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


class ScriptedPolicy:
  """Replies are a function of (key, episode, turn); each call is checked and logged.

  `log` holds ("run", set, slots whose reply is under way) and ("ended", set, those that have
  ended); `sampled` the ids by (episode, turn); `read` all that an episode's slot has read and
  written. A reply is under way for 1 to `pace` rounds, drawn by `seed`.
  """

  sets = 2

  def __init__(
    self, slots, max_length=2000, max_reply=24, words=("dig", "dig", "wait"), pace=1, seed=0
  ):
    self.slots, self.max_length, self.max_reply = slots, max_length, max_reply
    self.words, self.pace, self.rounds = words, pace, random.Random(seed)
    self.log, self.sampled, self.read = [], {}, {}

  def start(self, number, key):
    return _Slots(self, number, key)


class _Slots:
  def __init__(self, policy, number, key):
    self._policy, self._number, self._key = policy, number, key
    self._at, self._under_way, self._ran = [None] * policy.slots, {}, False

  def read(self, slot, piece, episode, turn, *, anew=False):
    policy = self._policy
    assert slot not in self._under_way and piece and 0 <= slot < policy.slots
    if turn == 0 or anew:
      policy.read[episode] = []
    else:
      assert self._at[slot] == (episode, turn - 1), "an episode stays in its slot"
    self._at[slot] = episode, turn
    reply = self._sample(episode, turn)
    policy.read[episode] += [*piece, *reply]
    assert len(policy.read[episode]) - len(reply) + policy.max_reply <= policy.max_length
    self._under_way[slot] = policy.rounds.randint(1, policy.pace)

  def run(self):
    assert not self._ran, "what was begun is waited for"
    self._ran = bool(self._under_way)
    if self._ran:
      self._policy.log.append(("run", self._number, len(self._under_way)))
    return self._ran

  def ended(self):
    self._under_way = {slot: left - self._ran for slot, left in self._under_way.items()}
    self._ran = False
    slots = [slot for slot, left in self._under_way.items() if left == 0]
    if slots:
      self._policy.log.append(("ended", self._number, len(slots)))
    return [self._reply(slot) for slot in slots]

  def _reply(self, slot):
    del self._under_way[slot]
    episode, turn = self._at[slot]
    ids = np.asarray(self._policy.sampled[episode, turn], np.int32)
    logprobs = (-np.arange(1, len(ids) + 1) - episode).astype(np.float32)
    return slot, ids, logprobs, (turn + np.arange(len(ids)) / 100).astype(np.float32)

  def _sample(self, episode, turn):
    policy = self._policy
    rng = random.Random(f"{jax.random.key_data(self._key).tolist()} {episode} {turn}")
    thought = "".join(rng.choices("abc", k=rng.randrange(6)))
    text = thought + rng.choice(["<a>{}</a>", "<a>{}</a>", "{}"]).format(rng.choice(policy.words))
    ids = [ord(c) + rng.choice([0, 1000]) for c in text][: policy.max_reply]
    ended = rng.random() < 0.2 or len(ids) == policy.max_reply
    policy.sampled[episode, turn] = ids if ended else [*ids, END]
    return policy.sampled[episode, turn]


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
