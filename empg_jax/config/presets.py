"""Parts shared by the presets of all configs: settings of a tiny policy and of released models.

A released model's preset has the model's name and needs only `--config.model.path=FOLDER`,
the folder of its weights (`hf download Qwen/Qwen2.5-1.5B-Instruct --local-dir FOLDER`).
"""

from collections.abc import Callable
import functools
from typing import Any

from empg_jax.config import lookup
from empg_jax.config.slices import MODELS


def tiny(warm_start: str) -> dict[str, Any]:
  """The config of a tiny policy on two cores, without `env`, `tasks` and `sft`.

  Args:
    warm_start: the cloned policy that training starts from (models.folder.locate).
  """
  return dict(
    seed=0,
    num_steps=50,
    model=dict(path=warm_start, dtype="float32"),  # models.folder.load
    lora=dict(  # models.lora.create; rank 0 trains the whole model
      rank=0,
      alpha=16.0,
      targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    ),
    # chat.load, over the environment's REPLY; a model that was not cloned needs INSTRUCTIONS
    chat=dict(instructions=""),
    **_tiny_sampling(),
    pack=dict(lengths=(1024,)),  # rollout.pack.pack
    algorithm=dict(  # algorithms.make
      name="empg",
      k=1.0,
      k_future=1.0,
      zeta=0.05,
      base=dict(
        name="grpo",
        clip_low=0.2,
        clip_high=0.2,
        dual_clip=0.0,
        kl_coef=0.0,
        entropy_coef=0.0,
        ddof=0,
        # A lost episode is twice as long as a won one. With token_mean it weighs twice as much:
        # the entropy grows, and the policy learns more slowly.
        aggregation="sequence_mean",
      ),
    ),
    mesh=dict(data=1, fsdp=1, tensor=1),  # sharding.make_mesh
    optimizer=dict(  # training.state.make_optimizer; decay_steps -1: over num_steps
      learning_rate=3e-4, warmup_steps=8, decay_steps=-1, weight_decay=0.0, clip_norm=1.0
    ),
    train=dict(  # training.step.train_step
      size=4,
      minibatches=1,
      epochs=1,
      lengths=(320, 512, 768),
      entropies="rollout",
      truncation=0.0,
      compute_dtype="bfloat16",
      remat=False,
    ),
    # Checkpointer; `every` in steps; `best`: how many of the best evaluated steps to keep.
    checkpoint=dict(every=10, keep=2, best=1),
  )


def _tiny_sampling() -> dict[str, Any]:
  """The sections of the rollout and its policy."""
  return dict(
    # rollout.actor.collect; max_rounds of sampling for groups that differ: rollout.dynamic;
    # window -1: a row is an episode; n: a row is a turn, with the n turns before it as context;
    # ahead 1: a step's episodes are played while the step before is updated (loop.run);
    # max_aborted: the largest share of a step's episodes that may be aborted (training.guard).
    rollout=dict(
      tasks=16,
      group_size=8,
      max_turns=25,
      invalid_penalty=0.0,
      max_rounds=0,
      window=-1,
      max_aborted=0.2,
      ahead=0,
    ),
    workers=dict(count=0, timeout_s=60.0, memory_mib=2048),  # workers.environments
    policy=dict(  # generation.policy.Policy
      slots=64,
      max_length=1024,
      max_reply=24,
      temperature=1.0,
      compute_dtype="bfloat16",
      piece_lengths=(24, 48),
      windows=(256, 512, 1024),
    ),
  )


def tiny_shape() -> dict[str, int]:
  """The shape of a policy of about a million parameters (models.decoder.DecoderConfig)."""
  return dict(
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=5,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=64,
  )


def released(model: str) -> dict[str, Any]:
  """A released model with the paper's settings (arXiv 2509.09265) for ALFWorld and WebShop.

  The sections left to the config are the same as in `tiny`.

  Raises:
    ValueError: the model is unknown; the message lists the known ones.
  """
  made = lookup.get(MODELS, model, "model")
  shared = tiny("")
  longest = made.max_length  # few sizes are in use, for each is a program (plan.programs.count)
  dtype = "bfloat16" if made.rank else "float32"  # bfloat16 for a base that is never updated
  return shared | dict(
    num_steps=150,
    model=dict(path="", dtype=dtype),
    lora=shared["lora"] | dict(rank=made.rank, alpha=2.0 * made.rank or 16.0),
    rollout=shared["rollout"]
    | dict(
      max_turns=50,
      invalid_penalty=0.01,  # the paper's 0.1, where a success earns 10; here it earns 1
    ),
    workers=dict(count=8, timeout_s=60.0, memory_mib=2048),
    policy=dict(
      slots=made.slots,
      max_length=longest,
      max_reply=512,
      temperature=1.0,
      compute_dtype="bfloat16",
      piece_lengths=(512, 2048),
      windows=(longest // 4, longest),
    ),
    pack=dict(lengths=(longest // 2, longest)),
    algorithm=shared["algorithm"]
    | dict(
      base=shared["algorithm"]["base"]
      # ddof as in verl-agent, which the paper's runs used.
      | dict(dual_clip=3.0, kl_coef=0.01, entropy_coef=0.001, aggregation="token_mean", ddof=1)
    ),
    mesh=dict(data=1, fsdp=made.fsdp, tensor=made.tensor),
    optimizer=dict(
      learning_rate=1e-5 if made.rank else 1e-6,
      warmup_steps=0,
      decay_steps=0,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
    train=dict(
      size=made.size or made.fsdp,
      minibatches=8,
      epochs=1,
      lengths=(),
      entropies="rollout",
      truncation=0.0,
      compute_dtype="bfloat16",
      remat=True,
    ),
  )


_RETURNS = dict(gamma=1.0, ddof=0, aggregation="token_mean")
# The algorithm section of each method, and its changes to other sections.
_METHODS: dict[str, dict[str, Any]] = {
  "grpo": dict(algorithm=dict(name="grpo", clip_low=0.2, clip_high=0.2, dual_clip=0.0, **_RETURNS)),
  "dapo": dict(
    algorithm=dict(
      name="dapo",
      clip_low=0.2,
      clip_high=0.28,
      dual_clip=0.0,
      gamma=1.0,
      ddof=0,
      soft_length=0,
      max_length=0,
    ),
    rollout=dict(max_rounds=10),
  ),
  "dr-grpo": dict(
    algorithm=dict(name="dr_grpo", length=600.0, clip_low=0.2, clip_high=0.2, gamma=1.0)
  ),
  "rloo": dict(algorithm=dict(name="rloo", gamma=1.0, aggregation="token_mean")),
  "reinforce-pp": dict(algorithm=dict(name="reinforce_pp", **_RETURNS)),
  # Sequence ratios are clipped so close to 1 that the sampler's rounding would be clipped too.
  "gspo": dict(
    algorithm=dict(name="gspo", clip_low=3e-4, clip_high=4e-4, gamma=1.0, ddof=0),
    train=dict(truncation=2.0),
  ),
  "cispo": dict(algorithm=dict(name="cispo", clip_high=4.0, **_RETURNS)),
  "gigpo": dict(algorithm=dict(name="gigpo", omega=1.0, **_RETURNS | dict(gamma=0.95))),
  "sampo": dict(
    algorithm=dict(name="sampo", omega=1.0, gamma=0.95, ddof=0, clip_low=3e-4, clip_high=4e-4),
    rollout=dict(max_rounds=10),
    train=dict(truncation=2.0),
  ),
  # PPO compares no group members, so each episode has its own task.
  "ppo": dict(
    algorithm=dict(
      name="ppo",
      gamma=1.0,
      lam=0.95,
      clip_low=0.2,
      clip_high=0.2,
      value_coef=0.5,
      value_clip=0.5,
      aggregation="token_mean",
    ),
    rollout=dict(tasks=128, group_size=1),
  ),
}
METHODS = (*_METHODS, *(f"{name}-empg" for name in _METHODS), "grpo-aem", "dapo-aem")

# The rows of the paper's tables for ALFWorld and WebShop: model, its name there, methods.
_PAPER = (
  ("qwen2.5-1.5b", "1.5b", ("grpo", "grpo-empg", "dapo", "dapo-empg")),
  ("qwen2.5-7b", "7b", ("grpo", "grpo-empg", "dapo", "dapo-empg")),
  ("llama3.1-8b", "llama-8b", ("grpo", "grpo-empg")),
)


def with_method(config: dict[str, Any], name: str) -> dict[str, Any]:
  """A config of GRPO with EMPG (`tiny` or `released`), changed to another method.

  Args:
    config: keeps its coefficients of KL and entropy, dual clip, ddof and aggregation.
    name: one of METHODS; "...-empg" is wrapped in EMPG, "...-aem" in AEM.
  """
  plain = name.removesuffix("-empg").removesuffix("-aem")
  wanted = lookup.get(_METHODS, plain, "method")
  section = _inherit(wanted["algorithm"], config["algorithm"]["base"])
  if name.endswith("-empg"):
    section = config["algorithm"] | dict(base=section)
  if name.endswith("-aem"):
    section = dict(name="aem", k=1.0, base=section)
  changed = {key: config[key] | wanted.get(key, {}) for key in ("rollout", "train")}
  return config | changed | dict(algorithm=section)


def method(name: str, base: dict[str, Any]) -> dict[str, Any] | None:
  """The section of an algorithm that is one of METHODS; None for others.

  Args:
    name: of the algorithm, "dr_grpo".
    base: the section that it replaces; some values are kept, as in `with_method`.
  """
  found = _METHODS.get(name.replace("_", "-"))
  return found and _inherit(found["algorithm"], base)


def _inherit(section: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
  """A method's section with the values that it takes over from the replaced one."""
  kept = {"kl_coef", "entropy_coef", *({"aggregation", "dual_clip", "ddof"} & section.keys())}
  return section | {key: base[key] for key in sorted(kept & base.keys())}


def _with_turn_rows(config: dict[str, Any]) -> dict[str, Any]:
  """Rows are turns whose prompt holds the two turns before, as in the paper (sizes: verl-agent)."""
  sizes = dict(max_length=4608, piece_lengths=(1024, 2048), windows=(2560, 4608))
  return config | dict(
    rollout=config["rollout"] | dict(window=2),
    policy=config["policy"] | sizes,
    pack=dict(lengths=(2560, 4608)),
  )


def by_method(
  tiny: Callable[[], dict[str, Any]], released: Callable[[str], dict[str, Any]]
) -> dict[str, Callable[[], dict[str, Any]]]:
  """A config's presets by method, tiny-dapo-empg and so on, and the paper's, paper-grpo-1.5b ..."""

  def paper(model: str) -> dict[str, Any]:
    return _with_turn_rows(released(model))

  return {
    **{f"tiny-{name}": functools.partial(_made, tiny, name) for name in METHODS},
    **{
      f"paper-{name}-{size}": functools.partial(_made, paper, name, model)
      for model, size, names in _PAPER
      for name in names
    },
  }


def _made(base: Callable[..., dict[str, Any]], method: str, *model: str) -> dict[str, Any]:
  return with_method(base(*model), method)
