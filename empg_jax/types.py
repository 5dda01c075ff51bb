"""The data types shared by all parts, with the meaning and shape of every array.

Letters: B rows, T tokens, V vocabulary, E episodes, S steps (agent turns).
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int, Int32, Num
import numpy as np

Scalar = Num[Array, ""] | float | int
Metrics = dict[str, Float[Array, ""]]

# Numpy on the host, jax on the device; the shapes are the same.
if TYPE_CHECKING:  # the holder of a Batch knows which one it is
  _HostOrDevice = Any
else:
  _HostOrDevice = np.ndarray | Array


class TokenStats(NamedTuple):
  """A policy's statistics at every token, which the algorithm needs instead of logits."""

  logprobs: Float[Array, "B T"]
  """Log-probability of the action, in nats."""
  entropy: Float[Array, "B T"]
  """Shannon entropy of the distribution it was drawn from, in nats."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StepGrid:
  """The batch's steps as a grid: one slot per step, filled from the left.

  An episode's steps are in one row of the grid, in order. Either every row of
  the batch is its own episode and E, S = B, T; or rows share episodes, all
  steps are in a single row, and E, S = 1, B * T.
  """

  slot: Int[Array, "E S"]
  """The slot of each token, in the order of the batch; -1: no step."""
  lengths: Float[Array, "E S"]
  """Tokens in each slot's step; 0: an empty slot."""
  has_next: Bool[Array, "E S"]
  """Whether the next slot is the next step of the same episode."""

  @property
  def exists(self) -> Bool[Array, "E S"]:
    return self.lengths > 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
  """Episodes as padded arrays: numpy on the host, jax on the device.

  Filler rows, which make the rows divide over devices, have no agent token in
  `steps` and do not count.
  """

  tokens: Int[_HostOrDevice, "B T"]
  """What the model reads."""
  actions: Int[_HostOrDevice, "B T"]
  """The token after each position; the training target."""
  steps: Int[_HostOrDevice, "B T"]
  """s >= 1: the action belongs to the agent's step s; 0: it is not the agent's."""
  behavior_logprobs: Float[_HostOrDevice, "B T"]
  """Of the action, recorded while sampling; 0 where steps is 0."""
  behavior_entropy: Float[_HostOrDevice, "B T"]
  """Of the behaviour policy, in nats; 0 where steps is 0."""
  rewards: Float[_HostOrDevice, "B T"]
  """The reward of the token's step, including penalties; 0 where steps is 0."""
  anchors: Int[_HostOrDevice, "B T"]
  """An id of the observation that the token's step answers: equal for equal observations
  within a group, different between groups; 0 where steps is 0."""
  returns: Float[_HostOrDevice, "B"]
  """The episode's reward, including penalties, before group normalisation."""
  group_ids: Int[_HostOrDevice, "B"]
  """Equal for the episodes of one task."""
  episode_ids: Int[_HostOrDevice, "B"]
  """Equal for the rows of one episode."""
  values: Float[_HostOrDevice, "B T"] | None = None
  """The estimated value of the state in which each action was chosen, before the update; None
  without a value head."""


@dataclasses.dataclass(frozen=True)
class Turn:
  """One agent turn, with the token ids exactly as they were sampled."""

  context: tuple[int, ...]
  """Ids before the reply: the observation in its chat template."""
  reply: Int32[np.ndarray, "n"]
  """Sampled ids, including the end-of-turn id if it was sampled."""
  logprobs: Float[np.ndarray, "n"]
  entropy: Float[np.ndarray, "n"]
  observation: str
  text: str
  """The reply, decoded."""
  action: str | None
  """The action sent to the environment; None: the reply held no valid action."""
  reward: float


@dataclasses.dataclass(frozen=True)
class Episode:
  """One episode of a task: its turns in order."""

  task: str
  group: int
  """Episodes of one group play the same task."""
  index: int
  """The episode's number within the batch."""
  turns: tuple[Turn, ...]
  reward: float
  """The sum of the rewards, less the penalties."""
  success: bool
  ended: Literal["done", "turns", "length", "aborted"]
  info: dict[str, Any]
  first_step: int = 1
  """The number of the first of `turns`; above 1 where a row holds only a later turn."""
