"""Sampling: long replies to a prompt, and episodes of many short turns."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from empg_jax.benchmark import _timing, mixed
from empg_jax.generation.policy import Policy
from empg_jax.models.decoder import Decoder, DecoderConfig

_NEVER = -1  # an end-of-turn id that is not sampled
_BUCKET = 256  # lengths of whole transcripts are rounded up to multiples
_WINDOWS = (256, 512, 1024)  # of a living cache, besides the longest


def measure(
  config: DecoderConfig,
  *,
  rows: int,
  prompt: int,
  reply: int,
  turns: int,
  observation: int,
  action: int,
  dtypes: Sequence[str],
  repeats: int,
  slots: int,
  episodes: int,
) -> dict[str, Any]:
  """Times the sampling of `rows` conversations, distributed over devices as in the actor.

  Args:
    config: of the model.
    rows: conversations.
    prompt, reply: tokens read and then sampled in `long`, without an end of turn.
    turns, observation, action: of `episodes`: the turns, and the tokens read and sampled
      in each.
    dtypes: operand dtypes of the matrix products.
    repeats: of each timing.
    slots, episodes: of `mixed`: conversations at a time, and to play in all. They have a third
      of `turns` on average, and their groups begin with four times `prompt` tokens.

  Returns:
    By operand dtype: `long`, with tokens/s in total and of decoding alone, and `episodes`,
    with sampled tokens/s for a KV cache that lives across turns and for reading the whole
    transcript again every turn, and their ratio.
  """
  model = jax.jit(lambda: Decoder(config, jax.random.key(0)))()
  make = lambda **lengths: _groups(model, rows, **lengths)
  rng = np.random.default_rng(0)
  ids = lambda *shape: rng.integers(0, config.vocab_size, shape, dtype=np.int32).tolist()
  prompts, observations = ids(rows, prompt), ids(turns, rows, observation)
  of_mixed = dict(slots=slots, episodes=episodes, turns=-(-turns // 3), prompt=4 * prompt)
  of_mixed["observation"] = observation
  return {
    dtype: {
      "long": _long(make, prompts, reply, dtype, repeats),
      "episodes": _episodes(make, observations, action, dtype, repeats),
      "mixed": mixed.measure(model, dtype, **of_mixed),
    }
    for dtype in dtypes
  }


class _Sets:
  """A policy's sets of slots, one per device, over which conversations are distributed."""

  def __init__(self, policy: Policy, rows: int):
    self._rows = rows
    self._sets = [policy.start(i, jax.random.key(0)) for i in range(policy.sets)]

  def act(self, pieces: list[list[int]], turn: int, number: int) -> list[list[int]]:
    """Replies to the pieces; `turn` 0 clears the slots, `number` seeds the sampling."""
    replies = [[] for _ in pieces]
    for row, piece in enumerate(pieces):
      slot, at = divmod(row, len(self._sets))
      self._sets[at].read(slot, piece, row + number * self._rows, turn)
    while any([slots.run() for slots in self._sets]):
      for at, slots in enumerate(self._sets):
        for slot, ids, *_ in slots.ended():
          replies[slot * len(self._sets) + at] = ids.tolist()
    return replies


def _groups(model, rows, *, piece, reply, length, dtype, windows=()):
  """Returns a function that makes `rows` empty slots."""
  policy = Policy(
    model, slots=-(-rows // len(jax.local_devices())), max_length=length, max_reply=reply,
    end_id=_NEVER, compute_dtype=dtype, piece_lengths=piece, windows=windows,
  )  # fmt: skip
  return lambda: _Sets(policy, rows)


def _long(make, prompts, reply, dtype, repeats) -> dict[str, Any]:
  rows, prompt = len(prompts), len(prompts[0])
  seconds = {}
  for tokens in (reply, 1):
    start = make(
      piece=(prompt,), reply=tokens, length=prompt + tokens, windows=(prompt,), dtype=dtype
    )
    seconds[tokens] = _timing.timed(
      lambda: start().act(prompts, 0, 0), repeats, f"{dtype}, replies of {tokens}"
    )
  whole, first = (seconds[tokens]["wall_s"]["median"] for tokens in (reply, 1))
  return {
    **seconds[reply],
    "tokens": rows * reply,
    "tokens_per_s": rows * reply / whole,
    "first_token": seconds[1],
    "decode_tokens_per_s": rows * (reply - 1) / max(whole - first, 1e-9),
  }


def _episodes(make, observations, action, dtype, repeats) -> dict[str, Any]:
  turns, rows, observation = np.shape(observations)
  length = turns * (observation + action)
  buckets = tuple(range(_BUCKET, length + _BUCKET, _BUCKET))
  living = make(
    piece=(observation + 1,), reply=action, length=length, windows=_WINDOWS, dtype=dtype
  )
  again = make(piece=buckets, reply=action, length=length, windows=buckets, dtype=dtype)
  results = {
    "living_cache": _timing.timed(
      lambda: _play_on(living(), observations), repeats, f"{dtype} episodes, living cache"
    ),
    "whole_again": _timing.timed(
      lambda: _play_again(again(), observations), repeats, f"{dtype} episodes, all read again"
    ),
  }
  tokens = turns * rows * action
  for result in results.values():
    result["tokens_per_s"] = tokens / result["wall_s"]["median"]
    result["tokens_per_cpu_s"] = tokens / result["cpu_s"]["median"]
  ratio = lambda of: results["living_cache"][of] / results["whole_again"][of]
  return {
    **results,
    "tokens": tokens,
    "length": length,
    "ratio": ratio("tokens_per_s"),
    "cpu_ratio": ratio("tokens_per_cpu_s"),
  }


def _play_on(groups: _Sets, observations) -> None:
  for turn, pieces in enumerate(observations):
    groups.act(pieces, turn, turn)


def _play_again(groups: _Sets, observations) -> None:
  transcripts = [[] for _ in observations[0]]
  for turn, pieces in enumerate(observations):
    transcripts = [[*before, *piece] for before, piece in zip(transcripts, pieces)]
    replies = groups.act(transcripts, 0, turn)
    transcripts = [[*before, *reply] for before, reply in zip(transcripts, replies)]


def show(results: dict[str, Any]) -> str:
  """The results as text."""
  rows = []
  for dtype, result in results.items():
    long, episodes = result["long"], result["episodes"]
    kinds = {
      "long replies": long,
      "episodes, living cache": episodes["living_cache"],
      "episodes, all read again": episodes["whole_again"],
    }
    for kind, x in kinds.items():
      rows.append(
        (
          f"{dtype} {kind}",
          f"{x['tokens_per_s']:,.0f}",
          f"{x['decode_tokens_per_s']:,.0f}" if x is long else "-",
          _timing.show_spread(x["cpu_s"]),
          _timing.show_spread(x["wall_s"]),
          _timing.show_mib(x["peak_rss_mib"]),
        )
      )
  header = ("rollout", "tokens/s", "decode alone", "CPU s", "wall s", "peak RSS MiB")
  lines = ["rollout: sampled tokens; median (min-max)", _timing.table(header, rows)]
  for dtype, result in results.items():
    x = result["episodes"]
    lines.append(
      f"{dtype}: a living cache samples {x['ratio']:.1f} times the tokens/s"
      f" ({x['cpu_ratio']:.1f} times those of a CPU second) in episodes of {x['length']} tokens"
    )
  lines += [mixed.show(dtype, result["mixed"]) for dtype, result in results.items()]
  return "\n".join(lines)
