"""launch/quickstart.ipynb runs from its first cell to its last; a README shows its loop."""

import nbclient
import nbformat
import pytest
import readmes

FILE = readmes.ROOT / "launch" / "quickstart.ipynb"
NOTEBOOK = nbformat.read(FILE, as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]


def printed(cell):
  """What a cell wrote to its output."""
  return "".join(output.text for output in cell.outputs if output.output_type == "stream")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
  """The code cells after a run in another folder, so that none needs the repository's."""
  notebook = nbformat.read(FILE, as_version=4)
  home = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
  client = nbclient.NotebookClient(notebook, timeout=600, startup_timeout=300, resources=home)
  client.execute()
  return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.slow
def test_it_runs_to_its_end_and_prints_a_line_a_step(executed):
  assert [cell.execution_count for cell in executed] == list(range(1, len(executed) + 1))
  lines = printed(executed[1]).splitlines()
  assert [line.split(":")[0] for line in lines] == [f"step {n}" for n in range(1, 5)]
  assert "--- turn 1" in printed(executed[2]) and "nan" not in printed(executed[-2])


def test_its_outputs_are_computed_and_small():
  assert all(cell.outputs for cell in CODE[1:-1])
  assert any("image/png" in output.get("data", {}) for output in CODE[3].outputs)
  assert FILE.stat().st_size < 60_000


def test_the_readme_shows_its_loop():
  (shown,) = [x for x in readmes.blocks("empg_jax/README.md", "python") if "Run(" in x]
  loop = "\n\n".join(cell.source for cell in (CODE[0], CODE[1], CODE[-1]))
  assert shown.strip() == loop
