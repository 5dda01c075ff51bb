"""XLA's target configs, with which its GPU compiler compiles without the GPU.

The figures are those of XLA's own files for the SXM modules, a100_sxm_80, h100_sxm and h200 in
https://github.com/openxla/xla/tree/main/xla/backends/gpu/target_config/specs, including the
memory bandwidth, which is in `chips`. Two are as CUDA reports them for a card instead: the
memory, which differs by some MB between drivers (XLA has 141 whole GiB for an H200, more than it
has), and the H200's L2 cache. Autotuning needs the card, so a program compiled here has the
compiler's default tiles; its memory and its collectives are those of a run.
"""

from empg_jax.plan import chips

_NAMES = {
  "a100": "NVIDIA A100-SXM4-80GB",
  "h100": "NVIDIA H100 80GB HBM3",
  "h200": "NVIDIA H200",
}
_AMPERE = dict(
  shared_memory_per_core=167_936, shared_memory_per_block_optin=166_912, core_count=108,
  fpus_per_core=64, clock_rate_ghz=1.41, l2_cache_size=41_943_040, major=8,
)  # fmt: skip
_HOPPER = dict(
  shared_memory_per_core=233_472, shared_memory_per_block_optin=232_448, core_count=132,
  fpus_per_core=128, clock_rate_ghz=1.98, l2_cache_size=52_428_800, major=9,
)  # fmt: skip
_CARDS = {
  "a100": _AMPERE | dict(device_memory_size=84_987_740_160),
  "h100": _HOPPER | dict(device_memory_size=84_929_347_584),
  "h200": _HOPPER | dict(device_memory_size=150_109_880_320, l2_cache_size=62_914_560),
}
_SHARED = dict(
  threads_per_block_limit=1024, threads_per_warp=32, shared_memory_per_block=49_152,
  threads_per_core_limit=2048, block_dim_limit_x=2**31 - 1, block_dim_limit_y=65_535,
  block_dim_limit_z=65_535, registers_per_core_limit=65_536, registers_per_block_limit=65_536,
)  # fmt: skip


def target(kind: str) -> str:
  """The target config of a GPU of chips.GPUS, as text proto."""
  card = dict(_CARDS[kind])
  major = card.pop("major")
  bandwidth = int(chips.CHIPS[kind].hbm)
  fields = _SHARED | card | dict(memory_bandwidth=bandwidth)
  info = "\n".join(f"  {name}: {value}" for name, value in fields.items())
  return (
    f"gpu_device_info {{\n{info}\n  cuda_compute_capability {{ major: {major} }}\n}}\n"
    'platform_name: "CUDA"\ndnn_version_info { major: 9 minor: 12 }\n'
    "runtime_version { major: 13 minor: 0 patch: 0 }\n"
    f'device_description_str: "{_NAMES[kind]}"\n'
  )
