"""A run reads and writes everything in a bucket, with a local server of its protocol."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax import console
from empg_jax.checkpoint import Checkpointer, proof, steps
from empg_jax.cli import command_line
from empg_jax.envs import alfworld, deep_search
from empg_jax.envs.webshop import data as shops, generate
from empg_jax.io import cache, paths
from empg_jax.models import folder
from empg_jax.tracking import metrics
from empg_jax.workdir import lock, lock_object

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


def test_files_are_written_read_listed_and_removed(bucket):
  home = paths.of(f"{bucket}/run")
  assert paths.entries(home) == [] and not home.exists() and paths.size(home / "a") == 0
  paths.make_folder(home)
  paths.write(home / "a", "x\n")
  paths.write(home / "a", "y\n")
  with paths.placed(home / "b") as partial:
    partial.write_bytes(b"12345")
  with paths.filled(home / "more") as draft:
    (draft / "in").mkdir()
    (draft / "in" / "c").write_text("c")
  assert str(home / "a") == f"{bucket}/run/a" and paths.of(str(home)) == home
  assert (home / "a").read_text() == "y\n" and paths.size(home / "b") == 5
  assert [path.name for path in paths.entries(home)] == ["a", "b", "more"]
  assert (home / "more" / "in" / "c").read_text() == "c" and (home / "more").is_dir()
  assert paths.from_root(home) == home and paths.absolute(str(home)) == str(home)
  paths.remove(home)
  paths.remove(home)
  assert paths.entries(home) == []


def test_an_incomplete_write_leaves_no_file(bucket):
  file = paths.of(bucket) / "file"
  paths.write(file, "before")
  with pytest.raises(KeyboardInterrupt), paths.placed(file) as partial:
    partial.write_text("half")
    raise KeyboardInterrupt
  assert file.read_text() == "before"


def test_a_missing_bucket_is_reported_in_one_line(bucket):
  with pytest.raises(OSError, match="gs://no-such/a cannot be used: there is no such") as error:
    paths.write("gs://no-such/a", "")
  assert command_line.is_for_the_user(error.value)
  with pytest.raises(ValueError, match="the workdir gs://no-such/run cannot be used: there is no"):
    lock.take("gs://no-such/run")
  with pytest.raises(FileNotFoundError) as error:
    paths.of("gs://no-such/a").read_text()
  assert "a bucket cannot be used: there is no" in command_line._message_of(error.value)


def test_a_bucket_without_its_package_is_reported_in_one_line(monkeypatch):
  monkeypatch.setattr(paths.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ImportError, match="gs://a/b cannot be used: .* pip install 'empg-jax.gcs.'"):
    paths.of("gs://a/b")
  with pytest.raises(ValueError, match="s3://a/b is neither a path on a disk nor one in a bucket"):
    paths.expanded("s3://a/b")


def test_metrics_are_whole_after_every_row_also_if_a_write_fails(bucket, monkeypatch):
  writer = metrics.MetricsWriter(bucket)
  for step in range(3):
    writer.write(step, {"x": step})
    writer.flush()
    assert [row["step"] for row in metrics.read_rows(bucket)] == list(range(step + 1))
  writer.amend({"y": 1})
  assert metrics.read_rows(bucket)[-1] == {"step": 2, "x": 2, "y": 1}
  monkeypatch.setattr(type(paths.of(bucket)), "write_bytes", fails)
  writer.write(3, {"x": 3})
  with pytest.raises(OSError, match="metrics.jsonl cannot be written .*no room.*: put that right"):
    writer.flush()
  assert len(metrics.read_rows(bucket)) == 3
  monkeypatch.undo()
  metrics.MetricsWriter(bucket, 2)
  assert [row["step"] for row in metrics.read_rows(bucket)] == [0, 1]
  metrics.MetricsWriter(bucket, 1, keep=False).flush()
  assert len(metrics.read_rows(bucket)) == 2


def fails(*_):
  from gcsfs import retry

  retry.validate_response(429, b'{"error": {"message": "no room"}}', "b/o")


def state(step):
  return {"w": jnp.arange(4096.0).reshape(64, 64) + step, "n": jnp.int32(step)}


def test_checkpoints_are_saved_kept_and_restored(bucket):
  directory = f"{bucket}/run/checkpoints"
  saver = Checkpointer(directory, keep=2)
  for step in (1, 2, 3):
    saver.save(step, state(step), {"step": step})
  saver.wait()
  assert steps(directory) == [2, 3]
  saver.close()
  again = Checkpointer(directory, keep=2)
  found = again.restore(jax.tree.map(jnp.zeros_like, state(0)))
  assert found.step == 3 and found.extra == {"step": 3}
  np.testing.assert_array_equal(found.state["w"], state(3)["w"])
  paths.remove(f"{directory}/3/state")
  assert again.restore(state(0)).step == 2  # a damaged one is passed over
  again.close()


def test_a_checkpoint_that_cannot_be_read_back_is_discarded(bucket, monkeypatch):
  directory = f"{bucket}/checkpoints"
  saver = Checkpointer(directory)
  saver.save(1, state(1))
  saver.wait()

  def refuse(*_):
    raise proof.UnreadableError("it is gone")

  monkeypatch.setattr(proof, "check", refuse)
  with pytest.raises(OSError, match="step 2 was written to gs://.* and cannot be read back"):
    saver.save(2, state(2))
    saver.wait()
  assert paths.of(f"{directory}/2").exists() and steps(directory) == [1]
  monkeypatch.undo()
  again = Checkpointer(directory)  # which removes what was left unfinished
  assert [path.name for path in paths.entries(directory)] == ["1"]
  assert again.restore(state(0)).step == 1
  again.close()


@pytest.fixture
def fast(monkeypatch):
  monkeypatch.setattr(lock, "_LOOK_S", 0.05)
  monkeypatch.setattr(lock, "_BEAT_S", 0.1)
  monkeypatch.setattr(lock, "_SILENCE_S", 1.0)


def test_a_second_run_in_a_bucket_is_refused_unless_the_first_was_killed(bucket, fast, capsys):
  held = lock.take(bucket)
  with pytest.raises(ValueError, match=f"{bucket} is in use by process"):
    lock.take(bucket)
  held.release()
  assert not (paths.of(bucket) / lock.FILE).exists()
  about = {"host": "elsewhere", "boot": "another", "pid": 7, "since": "2026-01-01", "count": 3}
  paths.write(f"{bucket}/{lock.FILE}", json.dumps(about))
  lock.take(bucket).release()
  assert "was left by process 7 on elsewhere" in capsys.readouterr().err


def test_of_two_simultaneous_runs_one_gets_the_lock(bucket):
  first, second = (lock_object.LockObject(paths.of(bucket) / lock.FILE) for _ in range(2))
  assert first.read() == second.read() == {}
  first.write('{"a": 1}')
  with pytest.raises(BlockingIOError):
    second.write('{"b": 2}')
  assert second.read() == {"a": 1}
  second.write('{"b": 2}')  # it has seen what it replaces
  with pytest.raises(BlockingIOError):
    first.write('{"a": 2}')
  first.release()  # which leaves what is another's
  assert second.read() == {"b": 2}


def test_files_in_a_bucket_are_copied_once(bucket, monkeypatch):
  paths.write(f"{bucket}/data/a.json", "1")
  paths.write(f"{bucket}/data/q/b.json", "2")
  paths.write(f"{bucket}/data/q/c.txt", "3")
  home = cache.local(f"{bucket}/data", console.Progress)
  assert (home / "q" / "c.txt").read_text() == "3"
  some = cache.local(f"{bucket}/data", console.Progress, ["*.json", "q/*.json"])
  names = {path.relative_to(some).as_posix() for path in some.rglob("*.*")}
  assert names == {"a.json", "q/b.json"}
  assert cache.local(f"{bucket}/data/a.json", console.Progress).read_text() == "1"
  cache._local.cache_clear()  # as another process of this host
  monkeypatch.setattr(cache, "_get", None)
  assert cache.local(f"{bucket}/data", console.Progress) == home
  monkeypatch.undo()
  paths.write(f"{bucket}/data/a.json", "new")
  cache._local.cache_clear()
  assert (cache.local(f"{bucket}/data", console.Progress) / "a.json").read_text() == "new"
  with pytest.raises(FileNotFoundError, match="There is no q/.* in gs://.*/nothing"):
    cache.local(f"{bucket}/nothing", console.Progress, ["q/*"])


def test_only_the_needed_files_of_a_model_are_read_from_a_bucket(bucket):
  home = folder.locate("alfworld-tiny")
  for file in home.iterdir():
    paths.write(f"{bucket}/model/{file.name}", file.read_bytes())
  paths.write(f"{bucket}/model/pytorch_model.bin", b"x")
  found = folder.locate(f"{bucket}/model")
  assert (found / "model.safetensors").read_bytes() == (home / "model.safetensors").read_bytes()
  assert not (found / "pytorch_model.bin").exists()
  assert folder.chat(f"{bucket}/model").vocab_size == folder.chat(home).vocab_size
  with pytest.raises(FileNotFoundError, match="There is no model in gs://.*/none"):
    folder.locate(f"{bucket}/none")


def test_games_catalogues_and_corpora_are_read_from_a_bucket(bucket, monkeypatch):
  for name in ("ALFWORLD_DATA", "WEBSHOP_DATA", "DEEP_SEARCH_DATA"):
    monkeypatch.setenv(name, f"{bucket}/{name}")
  game = alfworld.tasks("train")[0]
  home = f"{bucket}/ALFWORLD_DATA/json_2.1.1/train/{game.split('/', 2)[2]}"
  paths.write(f"{home}/game.tw-pddl", json.dumps(alfworld.read_game(game)))
  (official,) = alfworld.tasks("train", games="official")
  assert alfworld.make().reset(official) == alfworld.make().reset(game)

  made = generate.catalogue("bucket", 200)
  for name, content in (("items_shuffle", made.items), ("items_ins_v2", made.attributes)):
    paths.write(f"{bucket}/WEBSHOP_DATA/{name}_1000.json", json.dumps(content))
  assert len(shops.shop("small", "synthetic")) == 200

  passage = {"id": "0", "contents": '"Nero"\nNero ruled Rome.'}
  question = {"question": "Who ruled Rome?", "answer": ["Nero"]}
  paths.write(f"{bucket}/DEEP_SEARCH_DATA/corpus.jsonl", json.dumps(passage))
  paths.write(f"{bucket}/DEEP_SEARCH_DATA/questions/train/nq.jsonl", json.dumps(question))
  (task,) = deep_search.tasks("train", questions="files")
  env = deep_search.make(corpus="files")
  assert "Who ruled Rome?" in env.reset(task)
  assert deep_search.tasks("train", questions="files") == [task]
  with pytest.raises(FileNotFoundError, match="in questions/test|questions/test: set"):
    deep_search.tasks("test", questions="files")


def test_a_cache_in_a_bucket_is_refused(monkeypatch):
  monkeypatch.setenv("EMPG_JAX_CACHE", "gs://a/cache")
  with pytest.raises(ValueError, match="EMPG_JAX_CACHE is gs://a/cache, a bucket: give a folder"):
    cache.folder_for("toy", "x")
