"""Which tasks are played where a split has more."""

import collections

from empg_jax.evaluation.tasks import of_all_types

TASKS = [f"heat {i}" for i in range(30)] + [f"cool {i}" for i in range(3)]


def kind(task):
  return task.split()[0]


def test_types_are_in_turn_while_they_last_and_no_task_comes_twice():
  some = of_all_types(TASKS, kind, 20)
  assert len(set(some)) == 20 and set(some) < set(TASKS)
  assert collections.Counter(map(kind, some)) == {"heat": 17, "cool": 3}
  assert collections.Counter(map(kind, some[:4])) == {"heat": 2, "cool": 2}


def test_they_are_always_the_same_ones_and_fewer_are_the_first_of_more():
  assert of_all_types(TASKS, kind, 9) == of_all_types(TASKS, kind, 20)[:9]
  assert sorted(of_all_types(TASKS, kind, len(TASKS))) == sorted(TASKS)
