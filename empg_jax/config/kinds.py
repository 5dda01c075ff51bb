"""What of a config may change when a run goes on: every key is of one of three kinds.

operational: how long, where and how fast a run goes, and what is measured and kept of it. No
  number of the training depends on it but for rounding, the order of sums, and the steps to come
  of a decay that ends with the run. It may change at any start.
steering: what the steps to come learn from, and how. It changes with --amend, and the run notes
  at which step.
identity: what makes it that run. It never changes; a key that is not known here, as of somebody's
  own algorithm, is one.
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
  "rollout.max_rounds", "rollout.invalid_penalty", "train.minibatches", "train.epochs",
  "train.entropies", "train.truncation", "train.compute_dtype",
}  # fmt: skip
# Of any algorithm, or the one that another goes around.
_STEERING_OF_ALGORITHMS = {
  "k", "k_future", "zeta", "gamma", "lam", "omega", "clip_low", "clip_high", "dual_clip",
  "kl_coef", "entropy_coef", "value_coef", "value_clip", "aggregation", "length", "soft_length",
  "max_length", "ddof",
}  # fmt: skip
# And why.
_IDENTITY = {
  "seed": "each step's tasks and samples follow from it",
  "env": "another environment pays and shows something else",
  "tasks": "it learns from other tasks",
  "rollout.window": "it decides what the policy reads in a turn",
  "chat": "it decides what the policy reads, and what counts as an action",
  "model": "the checkpoints are of that model",
  "lora": "the checkpoints are of those adapters",
  "algorithm.name": "another method is another run",
  "algorithm.base.name": "another method is another run",
}
_UNKNOWN = "nothing is known of what depends on it"


def kind(key: str) -> Kind:
  """The kind of a key, such as "optimizer.learning_rate"."""
  declared = _declared(key)
  return declared if declared is not None else "identity"


def is_declared(key: str) -> bool:
  """Whether a key, or its section, is known here."""
  return _declared(key) is not None


def reason(key: str) -> str:
  """Why a key of identity cannot change."""
  return next((_IDENTITY[name] for name in _names(key) if name in _IDENTITY), _UNKNOWN)


def is_seen(key: str) -> bool:
  """Whether a curve can look different from a change on, so that figures and pages mark it."""
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
  """The key and the sections that it is in, from the key up."""
  parts = key.split(".")
  return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
