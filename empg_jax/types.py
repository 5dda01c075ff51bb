"""What flows between the parts: every array's meaning and shape, named once.

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
if TYPE_CHECKING:  # whoever holds a Batch knows on which side it is
  _HostOrDevice = Any
else:
  _HostOrDevice = np.ndarray | Array


class TokenStats(NamedTuple):
  """What the algorithm needs of a policy at every token; never the logits."""

  logprobs: Float[Array, "B T"]
  """Log-probability of the action, in nats."""
  entropy: Float[Array, "B T"]
  """Shannon entropy of the distribution it was drawn from, in nats."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StepGrid:
  """Where the batch's steps lie: one slot a step, filled from the left.

  An episode's steps lie in one row of the grid, in order. Either every row of
  the batch is its own episode and E, S = B, T; or rows share episodes, all of
  them lie in a single row, and E, S = 1, B * T.
  """

  slot: Int[Array, "E S"]
  """The slot of each token, in the order of the batch; -1: in no step."""
  lengths: Float[Array, "E S"]
  """Tokens in each slot's step; 0: an empty slot."""
  has_next: Bool[Array, "E S"]
  """Whether the next slot is the step that follows, in the same episode."""

  @property
  def exists(self) -> Bool[Array, "E S"]:
    return self.lengths > 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
  """Episodes as padded arrays: numpy on the host, jax on the device.

  A filler row, there to divide over devices, has no agent token in `steps`
  and counts nowhere.
  """

  tokens: Int[_HostOrDevice, "B T"]
  """What the model reads."""
  actions: Int[_HostOrDevice, "B T"]
  """The token that follows each; the training target."""
  steps: Int[_HostOrDevice, "B T"]
  """s >= 1: the action belongs to the agent's step s; 0: it is not its own."""
  behavior_logprobs: Float[_HostOrDevice, "B T"]
  """Of the action, recorded while sampling; 0 where steps is 0."""
  behavior_entropy: Float[_HostOrDevice, "B T"]
  """Of the policy that sampled, in nats; 0 where steps is 0."""
  rewards: Float[_HostOrDevice, "B T"]
  """The reward, penalties included, of the step that a token belongs to, on each of its
  tokens; 0 where steps is 0."""
  anchors: Int[_HostOrDevice, "B T"]
  """What the step answers, on each of its tokens: equal where steps of one group were
  shown the same observation, different between groups; 0 where steps is 0."""
  returns: Float[_HostOrDevice, "B"]
  """The episode's reward, penalties included, before group normalisation."""
  group_ids: Int[_HostOrDevice, "B"]
  """Equal for the episodes of one task."""
  episode_ids: Int[_HostOrDevice, "B"]
  """Equal for the rows of one episode."""
  values: Float[_HostOrDevice, "B T"] | None = None
  """What the state in which each action was chosen seemed worth, before the update; None
  where nobody estimates it."""


@dataclasses.dataclass(frozen=True)
class Turn:
  """One agent turn, with the token ids exactly as they were sampled."""

  context: tuple[int, ...]
  """Ids put before the reply: what the chat template lays around a turn."""
  reply: Int32[np.ndarray, "n"]
  """Sampled ids, the end-of-turn id included when it was sampled."""
  logprobs: Float[np.ndarray, "n"]
  entropy: Float[np.ndarray, "n"]
  observation: str
  text: str
  """The reply, decoded."""
  action: str | None
  """What the environment was given; None: the reply held no valid action."""
  reward: float


@dataclasses.dataclass(frozen=True)
class Episode:
  """One play of a task: the turns in order."""

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
  """The number of the first of `turns`; more than 1 where a row holds a later turn alone."""
