"""Clones an expert's demonstrations into a new tiny policy, or into an existing model.

  python launch/sft.py --config=configs/alfworld.py --out=empg_jax/assets/alfworld-tiny
  python launch/sft.py --config=configs/alfworld.py:smollm2-135m --out=models/cloned

The first makes the warm start that the package ships, including its vocabulary, as
config.sft.fresh says. If that is empty, as in the second, training continues from the model of
config.model.path. --config.model.path reads the folder. Demonstrations are made once and kept on
disk (empg_jax/data/demonstrations.py).
"""

import itertools

import jax
from ml_collections import config_flags

from empg_jax import chat as chats, console, envs
from empg_jax.chat import tokenizer_files
from empg_jax.cli import command_line
from empg_jax.data import cloning, vocabulary
from empg_jax.data.demonstrations import demonstrations
from empg_jax.distributed import sharding
from empg_jax.io import cache, paths
from empg_jax.loop import settings
from empg_jax.models import folder
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.training import sft, state

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_OUT = command_line.define_path("out", None, "folder to write the model to", required=True)

TOKENIZER = "tokenizer.model"
TEXTS = 2000  # demonstrations of each kind for the vocabulary
EVERY = 50  # steps between lines of output
SAVE = 200  # steps between saves of the model


def main(argv):
  del argv
  config = _CONFIG.value
  settings.check_cloning(config, envs.find(config.env.name))
  out = paths.of(_OUT.value)
  paths.make_folder(out)
  sources = [
    demonstrations(config.env.name, seed=config.seed, **section)
    for section in config.sft.demonstrations.values()
  ]
  start = fresh if config.sft.fresh else existing
  model, chat = start(config, sources, out)
  save(config, clone(config, chat, model, sources, out), out)
  print(f"wrote {out}")


def fresh(config, sources, out: paths.Path) -> tuple[Decoder, chats.Chat]:
  """A policy with random weights, and a vocabulary trained on the demonstrations."""
  phrases = envs.find(config.env.name).PHRASES
  texts = itertools.chain(*map(first_texts, sources))
  model = vocabulary.train(texts, config.sft.fresh.vocabulary, phrases)
  paths.write(out / TOKENIZER, model)
  chat = chats.load(cache.local(out, console.Progress, [TOKENIZER]), **config.chat)
  shape = DecoderConfig(vocab_size=chat.vocab_size, **config.sft.fresh.model)
  return jax.jit(lambda key: Decoder(shape, key))(jax.random.key(config.seed)), chat


def existing(config, sources, out: paths.Path) -> tuple[Decoder, chats.Chat]:
  """The config's model, and its own tokenizer."""
  del sources
  home = folder.locate(config.model.path)
  chat = folder.chat(home, **config.chat)
  tokenizer_files.copy(home, out)
  model = folder.load(mesh=sharding.make_mesh(), **config.model)
  return model, chat


def first_texts(demos):
  """Yields the observations and replies of the first demonstrations."""
  for i in range(min(TEXTS, len(demos))):
    for turn in demos[i].turns:
      yield turn.observation
      yield f"<think>{turn.thought}</think><action>{turn.action}</action>"


def clone(config, chat: chats.Chat, model: Decoder, sources, out: paths.Path) -> Decoder:
  """Trains the model on the demonstrations."""
  c = config.sft
  optimizer = state.make_optimizer(total_steps=c.num_steps, **c.optimizer)
  current = state.create(model, optimizer)
  batches = cloning.batches(sources, chat, seed=config.seed, **c.batches)
  seen = 0
  with console.Progress("cloning", c.num_steps, "step") as progress:
    for step, rows in enumerate(itertools.islice(batches, c.num_steps), 1):
      current, metrics = sft.sft_step(
        current,
        rows,
        optimizer=optimizer,
        size=c.batches.microbatch,
        compute_dtype=c.compute_dtype,
      )
      seen += int((rows.weights > 0).sum())
      progress.update(1)
      if step % EVERY == 0 or step == c.num_steps:
        progress.say(
          f"step {step}/{c.num_steps}  loss {float(metrics['loss']):z.4f}"
          f"  reply logprob {float(metrics['reply_logprob']):z.4f}  tokens {seen / 1e6:.2f}M"
        )
      if step % SAVE == 0:
        save(config, current.model, out)
  return current.model


def save(config, model: Decoder, out: paths.Path) -> None:
  """Writes the model with the dtype of its computation, which has half the bytes."""
  folder.save(model, out, dtype=config.sft.compute_dtype)


if __name__ == "__main__":
  command_line.run(main)
