"""What of a config may change when a run is resumed: every key is of one of three kinds.

operational: how long, where and how fast a run goes, what it measures and what it keeps.
  Training numbers do not depend on it, except for rounding, the order of sums, and the rest of
  a decay that ends with the run. It may change at any start.
steering: what later steps learn from, and how. It changes only with --amend, and the run
  records at which step.
identity: what defines the run. It never changes. Unknown keys, as of a user's own algorithm,
  are of this kind.
"""

from typing import Literal

Kind = Literal["operational", "steering", "identity"]

# By key, or by a whole section.
_OPERATIONAL = {
  "num_steps", "workers", "checkpoint", "evaluation", "mesh", "sft", "policy.slots",
  "policy.piece_lengths", "policy.windows", "pack.lengths", "rollout.max_aborted", "train.size",
  "train.lengths", "train.remat",
}  # fmt: skip
_STEERING = {
  "optimizer", "policy.max_length", "policy.max_reply", "policy.temperature",
  "policy.compute_dtype", "rollout.tasks", "rollout.group_size", "rollout.max_turns",
  "rollout.max_rounds", "rollout.ahead", "rollout.invalid_penalty", "train.minibatches",
  "train.epochs", "train.entropies", "train.truncation", "train.compute_dtype",
}  # fmt: skip
# Of any algorithm or base algorithm.
_STEERING_OF_ALGORITHMS = {
  "k", "k_future", "zeta", "gamma", "lam", "omega", "clip_low", "clip_high", "dual_clip",
  "kl_coef", "entropy_coef", "value_coef", "value_clip", "aggregation", "length", "soft_length",
  "max_length", "ddof",
}  # fmt: skip
# And why they cannot change.
_IDENTITY = {
  "seed": "each step's tasks and samples follow from it",
  "env": "another environment has other rewards and observations",
  "tasks": "the run learns from these tasks",
  "rollout.window": "it decides what the policy reads in a turn",
  "chat": "it decides what the policy reads and what counts as an action",
  "model": "the checkpoints are of that model",
  "lora": "the checkpoints are of those adapters",
  "algorithm.name": "another method is another run",
  "algorithm.base.name": "another method is another run",
}
_UNKNOWN = "it is unknown what depends on it"


def kind(key: str) -> Kind:
  """The kind of a key, such as "optimizer.learning_rate"."""
  declared = _declared(key)
  return declared if declared is not None else "identity"


def is_declared(key: str) -> bool:
  """Whether the kind of a key, or of its section, is declared here."""
  return _declared(key) is not None


def reason(key: str) -> str:
  """Why a key of the kind identity cannot change."""
  return next((_IDENTITY[name] for name in _names(key) if name in _IDENTITY), _UNKNOWN)


def is_seen(key: str) -> bool:
  """Whether a change can be visible in a curve, so that figures and pages mark it."""
  return kind(key) == "steering" or key == "num_steps" or key.startswith("evaluation.")


def _declared(key: str) -> Kind | None:
  names = _names(key)
  if any(name in _OPERATIONAL for name in names):
    return "operational"
  section, _, name = key.rpartition(".")
  of_algorithm = section.partition(".")[0] == "algorithm" and name in _STEERING_OF_ALGORITHMS
  if of_algorithm or any(name in _STEERING for name in names):
    return "steering"
  return "identity" if any(name in _IDENTITY for name in names) else None


def _names(key: str) -> list[str]:
  """The key and its enclosing sections, innermost first."""
  parts = key.split(".")
  return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
