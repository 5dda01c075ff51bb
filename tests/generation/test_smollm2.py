"""A real pretrained model, read from its GGUF file, says what transformers makes it say.

The continuations were made by transformers 5.23.0 with torch 2.13.0 on the weights that it
dequantised from the same file:

  model = AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=FILE, dtype=torch.float32)
  model.generate(torch.tensor([ids]), max_new_tokens=48, do_sample=False)
"""

import os

import jax
import pytest

from empg_jax import chat as chats
from empg_jax.distributed import sharding
from empg_jax.generation.policy import Policy
from empg_jax.models import folder

SMOLLM2 = os.environ.get("SMOLLM2_GGUF", "")
CONTINUATIONS = {
  "What is the capital of France?": [504, 3575, 282, 4649, 314, 7042, 30, 2],
  "Name three kitchen appliances.": [
    33, 30, 1903, 60, 565, 2461, 19630, 4253, 669, 314, 253, 1502, 282, 4433, 2044, 1135, 429,
    253, 18153, 338, 314, 28376, 351, 32577, 28, 253, 29585, 284, 10619, 2380, 30, 657, 314,
    1129, 804, 281, 18338, 24641, 284, 314, 597, 804, 281, 260, 23412, 282, 253, 4433,
  ],
}  # fmt: skip


@pytest.mark.skipif(not SMOLLM2, reason="SMOLLM2_GGUF names no SmolLM2-135M-Instruct GGUF file")
def test_greedy_continuations_are_those_of_transformers():
  chat = chats.load(SMOLLM2)
  policy = Policy(
    folder.load(SMOLLM2, sharding.make_mesh()),
    slots=2,
    max_length=256,
    max_reply=48,
    end_id=chat.end_id,
    temperature=0.0,
    piece_lengths=(64,),
    windows=(256,),
    devices=jax.local_devices()[:1],
  )
  pieces = [chat.opening(question) for question in CONTINUATIONS]
  slots, said = policy.start(0, jax.random.key(0)), {}
  for slot, piece in enumerate(pieces):
    slots.read(slot, piece, slot, 0)
  while slots.run():
    said |= {slot: ids.tolist() for slot, ids, *_ in slots.ended()}
  assert [said[0], said[1]] == list(CONTINUATIONS.values())
