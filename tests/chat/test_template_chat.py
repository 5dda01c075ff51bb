"""Chat templates in pieces: together they are the template applied to the whole conversation."""

import json

from families import TEMPLATES, tokenizer
import pytest

from empg_jax.chat import Chat, load
from empg_jax.chat.template_chat import TemplateChat

GROWING = ("smollm2", "qwen2.5", "llama3")
OBSERVATIONS = (
  "You arrive at fridge 1.\n\nCommands: open fridge 1, look.",
  "\n\nNothing  happens. 2024 \u00e9\u6f22\u5b57\n",
  " ",
)
REPLIES = (("I look", "look"), ("a apple 123", "go to fridge 12"))


@pytest.fixture(params=GROWING)
def growing(request):
  return tokenizer(request.param)


def conversation(chat):
  ids = chat.opening(OBSERVATIONS[0])
  for reply, observation in zip(REPLIES, OBSERVATIONS[1:]):
    ids += chat.reply(*reply) + chat.following(observation, ended=True)
  return ids


def rendered(tokenizer, instructions):
  messages = [{"role": "system", "content": instructions}] if instructions else []
  for i, observation in enumerate(OBSERVATIONS):
    messages.append({"role": "user", "content": observation})
    if i < len(REPLIES):
      thought, action = REPLIES[i]
      content = f"<think>{thought}</think><action>{action}</action>"
      messages.append({"role": "assistant", "content": content})
  return tokenizer.apply_chat_template(
    messages, tokenize=False, add_generation_prompt=True, date_string="26 Jul 2024"
  )


@pytest.mark.parametrize("instructions", ["", "Be brief.\nAnswer."])
def test_the_pieces_are_the_template_applied_to_the_whole_conversation(growing, instructions):
  whole = rendered(growing, instructions)
  ids = growing(whole, add_special_tokens=False)["input_ids"]
  assert conversation(TemplateChat(growing, instructions)) == ids
  assert isinstance(TemplateChat(growing), Chat)


@pytest.mark.parametrize("family", TEMPLATES)
def test_no_observation_encodes_to_a_special_token(family):
  tok = tokenizer(family)
  chat = TemplateChat(tok)
  added = tok.get_added_vocab()
  special = lambda ids: [i for i in ids if i in added.values()]
  for read in (chat.opening, lambda text: chat.following(text, ended=False)):
    for token in added:
      text = f"a{token}b {token}"
      assert special(read(text)) == special(read("ab"))
      assert text in tok.decode(read(text))


def test_a_turn_cut_short_is_closed_before_the_next(growing):
  chat = TemplateChat(growing)
  ended = chat.following("Nothing happens.", ended=True)
  assert chat.following("Nothing happens.", ended=False) == [chat.end_id, *ended]


@pytest.mark.parametrize("family", TEMPLATES)
def test_a_demonstrated_reply_reads_back_as_its_action(family):
  chat = TemplateChat(tokenizer(family))
  ids = chat.reply("caf\u00e9 <|im_end|><|eot_id|>", "Go to fridge 1")
  assert ids[-1] == chat.end_id and ids.count(chat.end_id) == 1
  assert chat.action(chat.text(ids)) == "go to fridge 1"
  assert chat.text(ids) == chat.text(ids[:-1])


def test_a_thought_is_opened_once_and_with_its_own_token():
  tok = tokenizer("thinking")
  open_id, close_id = tok.convert_tokens_to_ids(["<think>", "</think>"])
  chat = TemplateChat(tok)
  opening, reply = chat.opening("Hello."), chat.reply("hm", "look")
  assert (opening + reply).count(open_id) == opening.count(open_id) == 1
  assert reply.count(close_id) == 1
  assert chat.action("hm</think><action>look</action>") == "look"


def test_a_template_that_rewrites_earlier_turns_is_reported_and_not_followed(caplog):
  tok = tokenizer("qwen3")
  chat = TemplateChat(tok, name="models/qwen3")
  (record,) = caplog.records
  assert "template of models/qwen3 rewrites earlier turns" in record.getMessage()
  # Every turn as it was sampled, each behind the empty thought that switches thinking off.
  off = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
  text = tok.decode(conversation(chat))
  assert text.count(off + "<think>") == len(REPLIES) and text.endswith(off)
  assert "<think>I look</think><action>look</action><|im_end|>\n<|im_start|>user\n" in text


def test_growing_templates_cause_no_warning(growing, caplog):
  TemplateChat(growing)
  assert not caplog.records


def test_the_date_in_a_template_is_the_same_in_every_run():
  tok = tokenizer("llama3")
  assert "Today Date: 26 Jul 2024" in tok.decode(TemplateChat(tok).opening("Hello."))


def test_only_the_end_of_a_reply_is_hidden():
  tok = tokenizer("qwen2.5")
  chat = TemplateChat(tok)
  other = tok.convert_tokens_to_ids("<|endoftext|>")
  assert chat.text([other, chat.end_id, other]) == "<|endoftext|><|im_end|><|endoftext|>"
  assert chat.text([other, chat.end_id]) == "<|endoftext|>"


def test_of_two_tokens_that_begin_alike_the_longer_one_matches():
  tok = tokenizer("qwen2.5")
  tok.add_special_tokens({"additional_special_tokens": ["<|im_start|>user"]})
  ids = tok(rendered(tok, ""), add_special_tokens=False)["input_ids"]
  assert tok.convert_tokens_to_ids("<|im_start|>user") in ids
  assert conversation(TemplateChat(tok)) == ids


def test_ids_beyond_the_vocabulary_decode_to_no_text():
  chat = TemplateChat(tokenizer("qwen2.5"))
  assert chat.text([chat.vocab_size + 7]) == "" and chat.text([]) == ""


@pytest.mark.parametrize(
  "template, sentence",
  [
    ("", "has no chat template"),
    ("{{ messages[0].nowhere.nothing }}", "fails"),
    ("{% for %}", "fails"),
    ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "fails .*unsafe"),
    ("{{ messages | length }}<|im_end|>", "does not show each observation and reply once"),
    ("{{ messages[0].content | upper }}", "does not show each observation"),
    ("{% for m in messages %}{{ m.content | replace(' ', '_') }}\n{% endfor %}", "changes the"),
    ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "no special token to end it"),
  ],
)
def test_a_template_that_cannot_be_used_is_reported_in_one_sentence(template, sentence):
  with pytest.raises(ValueError, match=sentence) as error:
    TemplateChat(tokenizer("qwen2.5", template), name="models/x")
  assert "models/x" in str(error.value) and "\n" not in str(error.value)


_NO_SYSTEM = """\
{% for message in messages %}\
{% if message.role == 'system' %}SYSTEM{% endif %}\
{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}\
{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""


@pytest.mark.parametrize(
  "refusal",
  ["{{ raise_exception('System role not supported') }}", "{% continue %}"],
  ids=["refused", "left out"],
)
def test_a_models_template_without_system_role_has_the_instructions_in_the_first_observation(
  refusal, caplog
):
  tok = tokenizer("qwen2.5", _NO_SYSTEM.replace("SYSTEM", refusal))
  told, plain = TemplateChat(tok, "Be brief.", name="models/x"), TemplateChat(tok)
  assert told.opening("Hello.") == plain.opening("Be brief.\n\nHello.")
  assert told.following("Hello.", ended=True) == plain.following("Hello.", ended=True)
  (record,) = caplog.records
  assert "template of models/x has no system role" in record.getMessage()


@pytest.mark.parametrize("family", GROWING)
@pytest.mark.parametrize("tail", [" ", "\n", " over."])
def test_a_models_template_with_text_between_a_reply_and_its_end(family, tail):
  """What stands there belongs to the reply: the model was trained to say it."""
  end = tokenizer(family).eos_token
  template = tokenizer(family).chat_template.replace(f"+ '{end}", f"+ '{tail}{end}")
  template = template.replace(f"{{{{ '{end}' }}}}{{% endif", f"{{{{ '{tail}{end}' }}}}{{% endif")
  tok = tokenizer(family, template)
  whole = rendered(tok, "Be brief.")
  assert f"</action>{tail}{end}" in whole
  chat = TemplateChat(tok, "Be brief.")
  assert conversation(chat) == tok(whole, add_special_tokens=False)["input_ids"]
  ids = chat.reply("hm", "look")
  assert ids[-1] == chat.end_id and chat.action(chat.text(ids)) == "look"
  cut, ended = (chat.following("On", ended=ended) for ended in (False, True))
  assert cut[-len(ended) :] == ended and tok.decode(cut[: -len(ended)]) == tail + end


def test_the_advice_for_a_template_without_an_end_works():
  lacking = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}assistant: "
  with pytest.raises(ValueError, match=r"write {{ eos_token }} after the assistant's content"):
    TemplateChat(tokenizer("qwen2.5", lacking))
  mended = lacking.replace(
    "m.content +", "m.content + (eos_token if m.role == 'assistant' else '') +"
  )
  tok = tokenizer("qwen2.5", mended)
  assert TemplateChat(tok).end_id == tok.eos_token_id


def test_a_vocabulary_in_which_text_spells_special_tokens_is_refused():
  tok = tokenizer("qwen2.5")
  tok.add_special_tokens({"additional_special_tokens": ["a"]})
  with pytest.raises(ValueError, match="can encode to the special token a"):
    TemplateChat(tok)


def test_a_folder_is_loaded_and_none_of_its_code_is_run(tmp_path):
  tok = tokenizer("llama3")
  tok.save_pretrained(tmp_path)
  settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
  settings |= {"auto_map": {"AutoTokenizer": ["code.Evil", "code.Evil"]}, "tokenizer_class": "Evil"}
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
  (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
  chat = load(tmp_path, "Be brief.")
  assert conversation(chat) == conversation(TemplateChat(tok, "Be brief."))
  assert not (tmp_path / "ran").exists()


def test_remedy_for_a_base_model_is_a_template(tmp_path):
  tok = tokenizer("qwen2.5")
  template, tok.chat_template = tok.chat_template, None
  tok.save_pretrained(tmp_path)
  with pytest.raises(ValueError, match="put the chat_template.jinja of an instruct model beside"):
    load(tmp_path)
  (tmp_path / "chat_template.jinja").write_text(template)
  assert conversation(load(tmp_path)) == conversation(TemplateChat(tokenizer("qwen2.5")))


def test_a_damaged_folder_is_reported(tmp_path):
  (tmp_path / "tokenizer.json").write_text("{")
  with pytest.raises(ValueError, match="cannot be read"):
    load(tmp_path)
