"""Small tokenizers and chat templates of the families' structure, in our own words."""

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
  "You arrive at fridge 1. The fridge 1 is closed.\n\nCommands: open fridge 1, look.",
  "<think>I need a apple 123</think><action>go to fridge 12</action>",
  "system\nuser\nassistant\nYou help.\n\nNothing happens.  Two  blanks.",
]

# SmolLM2 and Qwen2.5: a system message of their own where none is given.
_CHATML = """\
{% for message in messages %}\
{% if loop.first and message.role != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}\
{% endif %}\
{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}\
{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

# Qwen3: thinking stays in the turns after the last question only; without thinking the
# reply is opened with an empty thought.
_QWEN3 = """\
{% set last = namespace(at=0) %}\
{% for message in messages %}{% if message.role == 'user' %}{% set last.at = loop.index0 %}{% endif %}\
{% endfor %}\
{% for message in messages %}\
{% set content = message.content %}\
{% if message.role == 'assistant' and loop.index0 < last.at and '</think>' in content %}\
{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}\
{{ '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}\
{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}\
{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}\
{% endif %}"""

# Models that can but think: the template opens the thought.
_THINKING = _CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}")

# Llama 3.x: always a system message, with dates; messages are trimmed.
_LLAMA3 = """\
{{ bos_token }}\
{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}\
{% set told = messages[0].content | trim if messages[0].role == 'system' else '' %}\
{{ '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date_string + '\n\n' + told }}\
{{ '<|eot_id|>' }}\
{% for message in messages %}{% if message.role != 'system' %}\
{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim }}\
{{ '<|eot_id|>' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""

TEMPLATES = {
  "smollm2": _CHATML,
  "qwen2.5": _CHATML,
  "qwen3": _QWEN3,
  "thinking": _THINKING,
  "llama3": _LLAMA3,
}
# Qwen and Llama 3 cut text alike, but for how many digits stay together.
_WORDS = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
  r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CHATML_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_LLAMA_TOKENS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def tokenizer(family, template=None):
  """A byte-level BPE tokenizer of a few hundred pieces that cuts text as its family does."""
  bpe = tokenizers.Tokenizer(models.BPE(ignore_merges=family == "llama3"))
  bpe.decoder = decoders.ByteLevel()
  if family == "smollm2":
    cut = pre_tokenizers.Digits(individual_digits=True)
  else:
    digits = "{1,3}" if family == "llama3" else ""
    cut = pre_tokenizers.Split(tokenizers.Regex(_WORDS % digits), "isolated")
  to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=family == "smollm2")
  bpe.pre_tokenizer = pre_tokenizers.Sequence([cut, to_bytes])
  if family.startswith("qwen"):
    bpe.normalizer = normalizers.NFC()
  alphabet = pre_tokenizers.ByteLevel.alphabet()
  trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
  bpe.train_from_iterator(TEXTS * 5, trainer)
  special = _LLAMA_TOKENS if family == "llama3" else _CHATML_TOKENS
  bpe.add_special_tokens(
    [tokenizers.AddedToken(t, special=True, normalized=False) for t in special]
  )
  if family in ("qwen3", "thinking"):
    tags = ("<think>", "</think>")
    bpe.add_tokens([tokenizers.AddedToken(t, special=False, normalized=False) for t in tags])
  return PreTrainedTokenizerFast(
    tokenizer_object=bpe,
    bos_token=special[0],
    eos_token=special[-1],
    chat_template=TEMPLATES[family] if template is None else template,
  )
