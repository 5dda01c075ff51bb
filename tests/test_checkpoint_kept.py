"""Which checkpoints are kept, and that all hosts of a run resume from the same one."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.checkpoint import Checkpointer, trained
from empg_jax.distributed import hosts
from empg_jax.tracking import metrics


def names(folder):
  return sorted(int(path.name) for path in folder.iterdir())


def state(step):
  return {"w": jnp.full(3, float(step))}


def test_the_best_and_the_newest_checkpoints_are_kept(tmp_path):
  checkpoints, rows = Checkpointer(tmp_path / "checkpoints", keep=2, best=1), []
  successes = {2: 0.5, 4: 0.75, 6: 0.625, 8: None, 9: 0.625}
  for step in range(1, 10):
    found = {f"eval/{split}/success": successes.get(step) for split in ("seen", "unseen")}
    rows.append({"step": step, "eval/seen/success/heat": 1.0, **found})
    checkpoints.save(step, state(step), scores=metrics.scores(rows))
  checkpoints.close()
  assert names(tmp_path / "checkpoints") == [4, 8, 9]
  (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  assert trained.find(tmp_path, trained.step("best")) == (tmp_path, 4)
  assert trained.find(tmp_path, trained.step(None)) == (tmp_path, 9)
  with pytest.raises(ValueError, match="--step is 'bets': give the number of a checkpoint, or"):
    trained.step("bets")


def test_a_run_that_was_never_evaluated_has_no_best(tmp_path):
  (tmp_path / "checkpoints" / "4").mkdir(parents=True)
  with pytest.raises(FileNotFoundError, match="No checkpoint in .* was evaluated: there is 4"):
    trained.find(tmp_path, "best")


def test_a_checkpoint_that_one_host_cannot_read_is_taken_by_none(tmp_path, monkeypatch):
  checkpoints = Checkpointer(tmp_path / "checkpoints", keep=2)
  for step in (1, 2):
    checkpoints.save(step, state(step))
  checkpoints.wait()
  elsewhere = iter([1, 0])
  monkeypatch.setattr(hosts, "gather", lambda own: np.stack([own, own + next(elsewhere)]))
  restored = checkpoints.restore(state(0))
  assert restored.step == 1 and restored.state["w"][0] == 1
  checkpoints.close()
