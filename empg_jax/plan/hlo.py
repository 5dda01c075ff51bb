"""The collectives of a compiled program, parsed from its HLO text."""

import collections
from collections.abc import Iterator
import math
import re
from typing import NamedTuple

from jax.sharding import Mesh
import numpy as np

_KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}  # others: 4
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%(\S+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_MESH_GROUP = re.compile(
  r"replica_groups=mesh\[(.*?)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{(.*?)\}"
)
_BETWEEN_SLICES = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
_COMPUTATION = re.compile(r"^(ENTRY )?%?(\S+) \(.*\{$")


class Collective(NamedTuple):
  """One kind of collective: its calls, and the bytes one chip sends, per run of the program."""

  kind: str
  axes: tuple[str, ...]  # of the mesh, that it runs along
  times: int
  sent: float  # bytes, on a ring


def collectives(text: str, mesh: Mesh) -> list[Collective]:
  """All collectives between chips, loops times their trips, most bytes first."""
  computations, entry = _computations(text)
  total = collections.defaultdict(lambda: [0, 0.0])
  for kind, size, line, times in _walk(computations, entry, 1):
    members, axes = _group(line, mesh)
    if members == 1 or not axes:
      continue
    sums = total[kind, axes]
    sums[0] += times
    sums[1] += times * _sent(kind, size, members)
  found = [Collective(kind, axes, *sums) for (kind, axes), sums in total.items()]
  return sorted(found, key=lambda x: -x.sent)


def largest_buffer(text: str) -> int:
  """Elements of the largest array in the program."""
  return max(math.prod(dims) for _, dims in _arrays(text))


def custom_calls(text: str) -> dict[str, int]:
  """Counts the calls of each library kernel in the program's text; loops count once."""
  return dict(collections.Counter(re.findall(r'custom_call_target="([^"]+)"', text)))


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
  """The lines of each computation by name, and the name of the entry computation."""
  found, entry, lines = {}, "", []
  for line in text.splitlines():
    if match := _COMPUTATION.match(line):
      lines = found[match[2]] = []
      entry = match[2] if match[1] else entry
    else:
      lines.append(line)
  return found, entry


def _walk(computations, name: str, times: int) -> Iterator[tuple[str, int, str, int]]:
  """Yields (kind, bytes of the result, line, calls) of the collectives in a computation."""
  for line in computations.get(name, ()):
    match = _INSTRUCTION.match(line)
    if not match:
      continue
    result, operation, rest = match[2], match[3], match[4]
    kind = operation.removesuffix("-start")
    if kind in _KINDS:
      scattered = kind == "all-reduce" and "all-reduce-scatter" in name
      size = max(_size(*array) for array in _arrays(result))
      yield "reduce-scatter of all" if scattered else kind, size, line, times
    elif operation == "send" and (between := _BETWEEN_SLICES.search(rest)):
      kind = between[1].lower().replace("_", "-")
      yield kind, _size(*next(_arrays(result))), line, times
    elif operation == "while":
      trips = _trips(computations, re.search(r"condition=%([\w.\-]+)", rest)[1])
      yield from _walk(computations, re.search(r"body=%([\w.\-]+)", rest)[1], times * trips)
    else:
      called = re.findall(r"(?:calls|to_apply)=%([\w.\-]+)", rest)
      called += re.findall(r"%([\w.\-]+)", "".join(re.findall(r"computations=\{(.*?)\}", rest)))
      for other in called:
        yield from _walk(computations, other, times)


def _trips(computations, condition: str) -> int:
  """The most trips of a loop: the bound in its condition."""
  text = "\n".join(computations[condition])
  for other in re.findall(r"calls=%([\w.\-]+)", text):
    text += "\n".join(computations[other])
  return max(map(int, re.findall(r"s32\[\]\S* constant\((\d+)\)", text)), default=1)


def _group(line: str, mesh: Mesh) -> tuple[int, tuple[str, ...]]:
  """The number of chips in a group, and the mesh axes that it spans."""
  if _BETWEEN_SLICES.search(line):  # only the first axis crosses slices
    return mesh.devices.shape[0], mesh.axis_names[:1]
  members = _members(line)
  if members is None:
    return mesh.size, tuple(name for name, size in mesh.shape.items() if size > 1)
  places = np.array(np.unravel_index(members, mesh.devices.shape))
  moved = (places != places[:, :1]).any(axis=1)
  return len(members), tuple(name for name, m in zip(mesh.axis_names, moved) if m)


def _members(line: str) -> list[int] | None:
  """The chips of the first group; None: all chips."""
  if match := re.search(r"source_target_pairs=\{\{(\d+),(\d+)\}", line):
    return [int(match[1]), int(match[2])]
  if match := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
    return [int(x) for x in match[1].split(",")]
  if match := re.search(r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", line):
    ids = _iota(match[3], match[4])
    return ids.reshape(int(match[1]), int(match[2]))[0].tolist()
  if match := _MESH_GROUP.search(line):
    sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", match[1])}
    along = re.findall(r"'(\w+)'", match[4])
    ids = _iota(match[2] or str(math.prod(sizes.values())), match[3]).reshape(*sizes.values())
    first = tuple(slice(None) if name in along else 0 for name in sizes)
    return ids[first].reshape(-1).tolist()
  return None


def _iota(shape: str, order: str | None) -> np.ndarray:
  sizes = [int(x) for x in shape.split(",")]
  ids = np.arange(math.prod(sizes)).reshape(sizes)
  return ids.transpose([int(x) for x in order.split(",")]) if order else ids


def _sent(kind: str, size: int, members: int) -> float:
  """Bytes that a chip sends for a result of `size` bytes, on a ring."""
  share = (members - 1) / members
  if kind == "all-reduce":
    return 2 * size * share
  if kind == "reduce-scatter":
    return float(size * (members - 1))
  if kind == "collective-permute":
    return float(size)
  return size * share


def _arrays(text: str) -> Iterator[tuple[str, list[int]]]:
  for kind, dims in re.findall(r"\b([a-z]+\d+|pred)\[([\d,]*)\]", text):
    yield kind, [int(x) for x in dims.split(",") if x]


def _size(kind: str, dims: list[int]) -> int:
  return _BYTES.get(kind, 4) * math.prod(dims)
