"""Which tasks a step plays."""

import collections

import pytest

from empg_jax.rollout.tasks import TaskSampler

TASKS = [f"{kind}-{i}" for kind, n in (("heat", 7), ("cool", 3), ("look", 5)) for i in range(n)]


def kind_of(task: str) -> str:
  return task.split("-")[0]


def test_an_epoch_plays_every_task_once_in_shuffled_order():
  sampler = TaskSampler(TASKS, seed=0)
  epochs = [sampler.at(epoch, len(TASKS)) for epoch in range(3)]
  assert all(sorted(epoch) == sorted(TASKS) for epoch in epochs)
  assert epochs[0] != epochs[1] != epochs[2] != TASKS


@pytest.mark.parametrize("n", [1, 4, 7, 40])
def test_steps_that_do_not_divide_the_list_lose_and_repeat_nothing(n):
  sampler = TaskSampler(TASKS, seed=3)
  stream = [task for step in range(len(TASKS)) for task in sampler.at(step, n)]
  assert set(collections.Counter(stream).values()) == {n}


def test_a_step_is_a_pure_function_of_seed_and_step():
  played = [TaskSampler(TASKS, seed=1).at(step, 4) for step in range(9)]
  resumed = TaskSampler(TASKS, seed=1)
  assert [resumed.at(step, 4) for step in reversed(range(9))] == played[::-1]
  assert TaskSampler(TASKS, seed=2).at(0, 8) != TaskSampler(TASKS, seed=1).at(0, 8)


def test_balanced_steps_hold_as_many_of_each_kind_and_repeat_within_none_early():
  sampler = TaskSampler(TASKS, seed=0, kind=kind_of)
  for step in range(20):
    kinds = collections.Counter(map(kind_of, sampler.at(step, 6)))
    assert kinds == {"heat": 2, "cool": 2, "look": 2}
  heats = [t for step in range(7) for t in sampler.at(step, 3) if kind_of(t) == "heat"]
  assert len(set(heats)) == 7


def test_no_tasks_is_one_clear_sentence():
  with pytest.raises(ValueError, match="no tasks to sample from"):
    TaskSampler([], seed=0)
