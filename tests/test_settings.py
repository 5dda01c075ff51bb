"""Conflicting values are refused at the start of a run."""

import pytest

from empg_jax import envs
from empg_jax.config import bounds, config as configs
from empg_jax.loop import settings


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"policy.slots": 63, "mesh.data": 2}, "policy.slots is 63, which does not divide over 2"),
    ({"rollout.group_size": 1, "rollout.max_rounds": 2}, "set max_rounds to 0, or group_size"),
    (
      {"optimizer.warmup_steps": 9, "optimizer.decay_steps": 5},
      "decay has to end after the warm-up",
    ),
    ({"lora.targets": ("q_projs",)}, "no projection 'q_projs': did you mean 'q_proj'"),
    ({"policy.max_reply": 2000}, "lower max_reply"),
    ({"policy.max_length": 2048}, "max_length is 2048 and the longest of config.pack.lengths"),
    ({"train.size": 3}, "does not divide into 1 minibatch of"),
    ({"algorithm.base.name": "dapo"}, "algorithm dapo has an unknown key 'aggregation'"),
  ],
  ids=str,
)
def test_values_that_exclude_each_other_are_refused(changes, sentence):
  config = configs.load("configs/alfworld.py")
  with config.unlocked():
    config.update_from_flattened_dict(changes)
  with pytest.raises(ValueError, match=sentence):
    bounds.check(configs.leaves(config))
    settings.check(config, envs.find(config.env.name))
