"""Bounds of config values, alone and together, checked before anything is loaded."""

from collections.abc import Iterable, Mapping
from typing import Any

_LEAST = {
  "seed": 0,
  "num_steps": 0,
  "lora.rank": 0,
  "rollout.tasks": 1,
  "rollout.group_size": 1,
  "rollout.max_turns": 1,
  "rollout.max_rounds": 0,
  "rollout.window": -1,
  "rollout.invalid_penalty": 0,
  "rollout.max_aborted": 0,
  "rollout.ahead": 0,
  "workers.count": 0,
  "workers.memory_mib": 1,
  "policy.slots": 1,
  "policy.max_length": 1,
  "policy.max_reply": 1,
  "optimizer.warmup_steps": 0,
  "optimizer.decay_steps": -1,
  "optimizer.learning_rate": 0,
  "optimizer.weight_decay": 0,
  "train.size": 1,
  "train.minibatches": 1,
  "train.epochs": 1,
  "train.truncation": 0,
  "evaluation.every": 1,
  "evaluation.tasks": 1,
  "evaluation.temperature": 0,
  "checkpoint.every": 1,
  "checkpoint.keep": 1,
  "checkpoint.best": 0,
  "sft.num_steps": 1,
  "sft.batches.microbatch": 1,
  "sft.batches.tokens": 1,
}
_MOST = {"rollout.max_aborted": 1, "rollout.ahead": 1}
_MORE_THAN_0 = {"workers.timeout_s", "policy.temperature", "optimizer.clip_norm", "lora.alpha"}
_LENGTHS = {
  "policy.piece_lengths", "policy.windows", "pack.lengths", "train.lengths", "sft.batches.lengths",
}  # fmt: skip
_NOT_EMPTY = {
  "policy.piece_lengths", "pack.lengths", "sft.batches.lengths", "lora.targets",
  "evaluation.splits",
}  # fmt: skip
_TYPES = {"model.dtype", "policy.compute_dtype", "train.compute_dtype", "sft.compute_dtype"}
KEYS = _LEAST.keys() | _MORE_THAN_0 | _LENGTHS | _NOT_EMPTY | _TYPES
# Of any algorithm or base algorithm.
_COEFFICIENTS = {"k", "k_future", "zeta", "clip_low", "clip_high", "dual_clip", "kl_coef"}
_SHARES = {"gamma", "lam"}


def check(values: Iterable[tuple[str, Any]]) -> None:
  """Raises ValueError for the first value out of bounds or in conflict with another key's.

  Unknown keys may have any value.

  Args:
    values: from config.leaves, each of its key's type.
  """
  found = dict(values)
  for key, value in found.items():
    wanted = _wanted(key, value)
    if wanted:
      raise ValueError(f"config.{key} is {value!r}: it must {wanted}.")
  _check_warm_ups(found)
  _check_conversations(found)


def _check_warm_ups(values: Mapping[str, Any]) -> None:
  """The warm-up ends before the decay does."""
  for section in ("optimizer", "sft.optimizer"):
    warmup, decay = (values.get(f"{section}.{key}", 0) for key in ("warmup_steps", "decay_steps"))
    if 0 < decay <= warmup:
      raise ValueError(
        f"config.{section}.decay_steps is {decay} and warmup_steps is {warmup}: the decay has to"
        " end after the warm-up; 0 is no decay, and -1 ends it with the run."
      )


def _check_conversations(values: Mapping[str, Any]) -> None:
  """The reply and the pieces read in a turn fit into a conversation."""
  most = values.get("policy.max_length")
  if most is None:
    return
  reply = values.get("policy.max_reply", 0)
  if reply >= most:
    raise ValueError(
      f"config.policy.max_reply is {reply} and max_length {most}: a conversation of max_length"
      " tokens holds the prompt and the reply, so lower max_reply."
    )
  piece = max(values.get("policy.piece_lengths", ()), default=0)
  if piece > most:
    raise ValueError(
      f"config.policy.piece_lengths holds {piece} and max_length is {most}: no conversation can"
      " hold such a piece, which would still take memory; leave it out."
    )


def _wanted(key: str, value: Any) -> str:
  """The requirement that a value violates, as "be ..." or "hold ..."; empty if none."""
  section, _, name = key.rpartition(".")
  of_algorithm = name if section.partition(".")[0] == "algorithm" else ""
  least = 0 if of_algorithm in _COEFFICIENTS | _SHARES else _LEAST.get(key)
  most = 1 if of_algorithm in _SHARES else _MOST.get(key)
  if least is not None and not value >= least:  # also refuses NaN
    return f"be at least {least}"
  if most is not None and not value <= most:
    return f"be at most {most}"
  if key in _MORE_THAN_0 and not value > 0:
    return "be more than 0"
  if key in _LENGTHS and min(value, default=1) < 1:
    return "hold numbers of at least 1"
  if key in _NOT_EMPTY and not value:
    return "hold one or more"
  if key in _TYPES and value not in ("float32", "bfloat16"):
    return "be 'float32' or 'bfloat16'"
  return ""
