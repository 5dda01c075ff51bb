"""EMPG on Deep Search.

  python launch/train.py --config=configs/deep_search.py                  a tiny policy
  python launch/train.py --config=configs/deep_search.py:qwen2.5-32b --config.model.path=FOLDER

The first answers embedded questions that take two searches: cloned from experts that often
answer too soon, it learns not to: it answers about 27% of the test questions correctly before
training and 57% after, in about ten minutes on two cores. The second stands for every model of
empg_jax/config/slices.py: the paper's settings, on the corpus and questions in the folder
DEEP_SEARCH_DATA (empg_jax/envs/deep_search/data.py), or on the embedded ones with
--config.tasks.questions=embedded --config.env.corpus=embedded. The rows of the paper's table are
paper-dapo-32b, paper-dapo-empg-32b, paper-dapo-empg-scaling-32b and paper-dapo-empg-bonus-32b.

Each section holds the keyword arguments of the function named beside it; the part that all
configs share is in empg_jax/config/presets.py.
"""

import functools

import ml_collections

from empg_jax.config import lookup, presets, smoke
from empg_jax.envs.deep_search import INSTRUCTIONS, REPLY

_SPLITS = ("test", "out_of_domain")
_SHOWN = dict(topk=2, passage_words=20, page_words=60)  # at most about 500 tokens, mostly 75


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
  return ml_collections.ConfigDict(lookup.get(_PRESETS, preset, "preset")())


def _tiny() -> dict:
  config = presets.tiny("deep_search-tiny")
  return config | dict(
    num_steps=20,
    tasks=dict(questions="short"),  # envs.deep_search.tasks
    env=dict(  # envs.deep_search.make
      name="deep_search", corpus="embedded", max_actions=8, **_SHOWN
    ),
    chat=dict(instructions="", **REPLY),  # chat.load
    rollout=config["rollout"] | dict(max_turns=8),
    policy=config["policy"]
    | dict(
      temperature=0.6,  # at 1 a policy this small misspells names too often
      max_length=1024,
      max_reply=64,
      piece_lengths=(96, 160, 640),
      windows=(256, 512, 1024),
    ),
    train=config["train"] | dict(lengths=(256, 384, 640)),
    optimizer=config["optimizer"] | dict(learning_rate=1.5e-4, warmup_steps=2),
    evaluation=dict(every=10, splits=_SPLITS, tasks=200, temperature=0.4),
    sft=dict(  # with this, launch/sft.py made the warm start that the package ships
      fresh=dict(vocabulary=2048, model=presets.tiny_shape()),
      demonstrations=dict(  # data.demonstrations.demonstrations
        embedded=dict(
          episodes=24_000, noise=0.1, haste=0.4, renamed=0.8, questions="short", **_SHOWN
        )
      ),
      batches=dict(  # data.cloning.batches
        lengths=(192, 256, 384, 512, 768),
        tokens=8192,
        microbatch=4,
        observation_weight=0.2,
      ),
      num_steps=2000,
      optimizer=dict(learning_rate=2e-3, weight_decay=0.05, warmup_steps=100, b2=0.98),
      compute_dtype="bfloat16",
    ),
  )


def _smoke() -> dict:
  return smoke.cut(_tiny(), length=512, piece=160)


def _released(model: str, method: str = "dapo-empg") -> dict:
  config = presets.released(model)
  base = config["algorithm"]["base"] | dict(kl_coef=0.001, entropy_coef=0.0)
  config |= dict(
    num_steps=220,
    tasks=dict(questions="files"),
    env=dict(
      name="deep_search",
      corpus="files",
      max_actions=15,
      topk=3,
      passage_words=0,
      page_words=300,
    ),
    chat=dict(instructions=INSTRUCTIONS, **REPLY),
    rollout=config["rollout"] | dict(tasks=64, group_size=16, max_turns=15),
    algorithm=config["algorithm"] | dict(zeta=0.1, base=base),
    evaluation=dict(every=5, splits=_SPLITS, tasks=128, temperature=0.4),
  )
  return presets.with_method(config, method)


def _paper(method: str, **strengths: float) -> dict:
  """A row of the paper's table; a strength of 0 disables that part of EMPG."""
  config = _released("qwen2.5-32b", method)
  return config | dict(algorithm=config["algorithm"] | strengths)


def _tiny_with(method: str) -> dict:
  return presets.with_method(_tiny(), method)


_PRESETS = {
  "tiny": _tiny,
  "smoke": _smoke,
  "paper-dapo-32b": functools.partial(_paper, "dapo"),
  "paper-dapo-empg-32b": functools.partial(_paper, "dapo-empg"),
  "paper-dapo-empg-scaling-32b": functools.partial(_paper, "dapo-empg", zeta=0.0),
  "paper-dapo-empg-bonus-32b": functools.partial(_paper, "dapo-empg", k=0.0),
  **{f"tiny-{method}": functools.partial(_tiny_with, method) for method in presets.METHODS},
  **{model: functools.partial(_released, model) for model in presets.MODELS},
}
