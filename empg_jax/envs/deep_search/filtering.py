"""Which questions a policy can learn from, and the lines of their file."""

from empg_jax.envs.deep_search.questions import Question
from empg_jax.io import json_text

VERDICTS = KEPT, KNOWN, EASY = "kept", "answered without a search", "always answered"


def verdict(directly: int, searching: int, plays: int) -> str:
  """Whether a question is kept, and if not, why, as in the paper (arXiv 2509.09265).

  Args:
    directly: how often it was answered without a search.
    searching: how often with them, of `plays` times.
  """
  if directly:
    return KNOWN
  return EASY if searching == plays else KEPT


def line(question: Question) -> str:
  """A line of a file that question_files.py reads."""
  entry = {"question": question.text, "golden_answers": question.answers}
  entry["metadata"] = {"supporting_facts": {"title": question.titles}}
  return json_text.dumps(entry, ensure_ascii=False) + "\n"
