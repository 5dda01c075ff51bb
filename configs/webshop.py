"""EMPG on WebShop.

  python launch/train.py --config=configs/webshop.py                  a tiny policy
  python launch/train.py --config=configs/webshop.py:qwen2.5-7b --config.model.path=FOLDER

The first plays in the embedded catalogue: cloned from experts that often buy without checking,
it learns to check. It takes about a quarter of an hour on two cores, and buys perfectly for about
47% of the test goals before training and about three quarters after. The second stands for every
model of empg_jax/config/slices.py: the paper's settings, on WebShop's own files in the folder
WEBSHOP_DATA.

Each section holds the keyword arguments of the function named beside it; the part that all
configs share is in empg_jax/config/presets.py.
"""

import functools

import ml_collections

from empg_jax.config import lookup, presets, smoke
from empg_jax.envs.webshop import INSTRUCTIONS, REPLY


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
  return ml_collections.ConfigDict(lookup.get(_PRESETS, preset, "preset")())


def _tiny() -> dict:
  config = presets.tiny("webshop-tiny")
  base = config["algorithm"]["base"] | dict(aggregation="token_mean")
  return config | dict(
    num_steps=18,
    tasks=dict(catalogue="embedded", goals="human"),  # envs.webshop.tasks
    env=dict(  # envs.webshop.make
      name="webshop", reward="won", show_commands=False, repeat_instruction=False
    ),
    chat=dict(instructions="", **REPLY),  # chat.load
    rollout=config["rollout"] | dict(max_turns=15),
    policy=config["policy"]
    | dict(
      temperature=0.6,  # at 1 a policy this small makes a mistake in every other episode
      max_length=1536,
      max_reply=32,
      piece_lengths=(64, 192),
      windows=(384, 768, 1536),
    ),
    pack=dict(lengths=(1536,)),
    train=config["train"] | dict(lengths=(384, 640, 1024)),
    # At 3e-4 with sequence_mean, which weighs short episodes more, the policy learned from bad
    # purchases within 8 steps not to buy at all.
    algorithm=config["algorithm"] | dict(base=base),
    optimizer=config["optimizer"] | dict(learning_rate=1.2e-4, warmup_steps=2),
    evaluation=dict(every=9, splits=("test",), tasks=200, temperature=0.4),
    sft=dict(  # with this, launch/sft.py made the warm start that the package ships
      fresh=dict(vocabulary=2048, model=presets.tiny_shape()),
      demonstrations=dict(  # data.demonstrations.demonstrations
        embedded=dict(episodes=24_000, noise=0.1, haste=0.35, repeat_instruction=False)
      ),
      batches=dict(  # data.cloning.batches
        lengths=(320, 448, 576, 768, 1024),
        tokens=8192,
        microbatch=4,
        observation_weight=0.2,
      ),
      num_steps=900,
      optimizer=dict(learning_rate=2e-3, weight_decay=0.05, warmup_steps=100, b2=0.98),
      compute_dtype="bfloat16",
    ),
  )


def _smoke() -> dict:
  return smoke.cut(_tiny(), length=512, piece=192)


def _released(model: str) -> dict:
  config = presets.released(model)
  return config | dict(
    tasks=dict(catalogue="small", goals="human"),
    # As in verl-agent, which the paper's runs used: only a perfect purchase is a success.
    env=dict(name="webshop", reward="won", show_commands=True, repeat_instruction=False),
    chat=dict(instructions=INSTRUCTIONS, **REPLY),
    rollout=config["rollout"] | dict(max_turns=15),
    evaluation=dict(every=5, splits=("test",), tasks=128, temperature=0.4),
  )


_PRESETS = {
  "tiny": _tiny,
  "smoke": _smoke,
  **presets.by_method(_tiny, _released),
  **{model: functools.partial(_released, model) for model in presets.MODELS},
}
