"""A packed batch holds exactly what was played, in order, and nothing else."""

import dataclasses

from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scripted import Digging, ScriptedPolicy, ToyChat

from empg_jax import algorithms
from empg_jax.rollout.actor import collect
from empg_jax.rollout.pack import deal, pack
from empg_jax.types import Episode, Turn

PAD = 7


def turn(context: list[int], reply: list[int]) -> Turn:
  n = len(reply)
  return Turn(
    context=tuple(context),
    reply=np.array(reply, np.int32),
    logprobs=-np.arange(1, n + 1, dtype=np.float32),
    entropy=np.arange(1, n + 1, dtype=np.float32) / 10 + len(context),
    observation="",
    text="",
    action="",
    reward=0.0,
  )


def episode(*turns: Turn, group=0, index=0, reward=0.0, ended="done") -> Episode:
  return Episode("task", group, index, turns, reward, reward > 0, ended, {})


# Plain values only: the type checks of the classes draw random numbers of their own,
# which hypothesis forbids inside a strategy.
ids = st.lists(st.integers(10, 60), min_size=1, max_size=9)
plays = st.lists(
  st.tuples(
    st.lists(st.tuples(ids, ids), min_size=1, max_size=5),
    st.integers(0, 3),
    st.floats(-2, 2, width=32),
    st.sampled_from(["done", "turns", "length", "aborted"]),
  ),
  min_size=1,
  max_size=6,
)


def episodes_of(played: list[tuple]) -> list[Episode]:
  """The episodes, and one more so that there is always something to train on."""
  made = [
    episode(*(turn(*ids) for ids in turns), group=group, reward=reward, ended=ended)
    for turns, group, reward, ended in played
  ]
  return [*made, episode(turn([1], [2]), group=1)]


def test_a_row_by_hand():
  batch = pack([episode(turn([1, 2], [3, 4]), turn([5], [6]), reward=2.0)], lengths=[8, 6])
  np.testing.assert_array_equal(batch.tokens, [[1, 2, 3, 4, 5, 6]])
  np.testing.assert_array_equal(batch.actions, [[2, 3, 4, 5, 6, 0]])
  np.testing.assert_array_equal(batch.steps, [[0, 1, 1, 0, 2, 0]])
  np.testing.assert_array_equal(batch.behavior_logprobs, [[0, -1, -2, 0, -1, 0]])
  np.testing.assert_allclose(batch.behavior_entropy, [[0, 2.1, 2.2, 0, 1.1, 0]], rtol=1e-6)
  np.testing.assert_array_equal(batch.returns, [2.0])


def test_steps_carry_their_reward_and_what_they_answer():
  """Equal ids for one observation within a group, whoever saw it and when; none between groups."""
  shown = lambda text, reward: dataclasses.replace(
    turn([1], [2, 3]), observation=text, reward=reward
  )
  played = [
    episode(shown("a", -0.5), shown("b", 1.0), group=3),
    episode(shown("b", 0.0), shown("c", 0.0), group=3),
    episode(shown("a", 0.0), group=4),
  ]
  batch = pack(played, lengths=[6])
  np.testing.assert_array_equal(batch.rewards[0], [-0.5, -0.5, 0, 1, 1, 0])
  first, second = batch.anchors[0, 0], batch.anchors[0, 3]
  np.testing.assert_array_equal(batch.anchors[0], np.array([1, 1, 0, 2, 2, 0]))
  assert batch.anchors[1, 0] == second and batch.anchors[1, 3] not in (0, first, second)
  assert batch.anchors[2, 0] not in batch.anchors[:2]


def test_filler_that_makes_up_for_missing_episodes_is_dealt_together():
  played = [episode(turn([1], [2] * n), group=1) for n in (3, 1, 2)]
  batch = pack(deal(played, 2, rows=6), lengths=[4], multiple=6)
  used = (batch.steps > 0).any(axis=1).astype(int)
  assert used.sum() == 3 and batch.tokens.shape[0] == 6
  # Microbatch m holds rows m and m + 3.
  assert [used[m] + used[m + 3] for m in range(3)] == [0, 1, 2]


@settings(deadline=None, derandomize=True)
@given(plays, st.integers(1, 4))
def test_unpacking_gives_back_every_episode_in_order(played, multiple):
  played = episodes_of(played)
  batch = pack(played, lengths=[20, 40, 100], multiple=multiple, pad_id=PAD)
  assert batch.tokens.shape[0] % multiple == 0
  assert 0 <= batch.tokens.shape[0] - len(played) < multiple
  for row, one in enumerate(played):
    if one.ended == "aborted":
      continue
    x = [i for t in one.turns for i in (*t.context, *t.reply)]
    n = len(x) - 1
    assert batch.tokens[row, :n].tolist() == x[:-1] and batch.actions[row, :n].tolist() == x[1:]
    assert set(batch.actions[row, n:]) <= {PAD} and set(batch.tokens[row, n + 1 :]) <= {PAD}
    for step, t in enumerate(one.turns, 1):
      own = batch.steps[row] == step
      np.testing.assert_array_equal(batch.actions[row][own], t.reply)
      np.testing.assert_array_equal(batch.behavior_logprobs[row][own], t.logprobs)
      np.testing.assert_array_equal(batch.behavior_entropy[row][own], t.entropy)
    assert batch.steps[row].max() == len(one.turns)
    assert (batch.returns[row], batch.group_ids[row]) == (np.float32(one.reward), one.group)


@settings(deadline=None, derandomize=True)
@given(plays, st.integers(1, 4))
def test_tokens_that_nobody_sampled_belong_to_no_step(played, multiple):
  played = episodes_of(played)
  batch = pack(played, lengths=[100], multiple=multiple)
  sampled = sum(len(t.reply) for e in played for t in e.turns if e.ended != "aborted")
  assert (batch.steps > 0).sum() == sampled
  for values in (batch.behavior_logprobs, batch.behavior_entropy):
    assert not values[batch.steps == 0].any()


def test_aborted_and_added_rows_are_filler_in_a_group_of_their_own():
  played = [
    episode(turn([1], [2]), group=4, reward=1.0),
    episode(turn([1], [2]), group=4, reward=1.0, ended="aborted"),
    episode(turn([1], [3]), group=2, reward=1.0),
  ]
  batch = pack(played, lengths=[4], multiple=4)
  assert (batch.steps > 0).any(axis=1).tolist() == [True, False, True, False]
  assert batch.group_ids.tolist() == [4, 5, 2, 5]
  assert batch.returns.tolist() == [1.0, 0.0, 1.0, 0.0]
  assert batch.episode_ids.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("n, length", [(1, 4), (4, 4), (5, 8), (16, 16)])
def test_the_shortest_length_that_holds_the_longest_episode_is_taken(n, length):
  short, long = episode(turn([1], [2])), episode(turn([1], [2] * n))
  assert pack([short, long], lengths=[16, 4, 8]).tokens.shape == (2, length)


def test_an_episode_longer_than_every_length_is_one_clear_sentence():
  with pytest.raises(ValueError, match="needs a row of 17 tokens and the longest row is 16: add"):
    pack([episode(turn([1], [2] * 17))], lengths=[16, 4])


def test_nothing_to_train_on_is_one_clear_sentence():
  with pytest.raises(ValueError, match="No episode of 1 can be trained on"):
    pack([episode(turn([1], [2]), ended="aborted")], lengths=[16])


def test_a_batch_is_numpy_with_one_dtype_a_field_and_a_pytree():
  batch = pack([episode(turn([1], [2]))], lengths=[4])
  assert batch.values is None  # the update makes them, where a method has any
  names = [f.name for f in dataclasses.fields(batch) if f.name != "values"]
  dtypes = {name: getattr(batch, name).dtype.name for name in names}
  floats = {"behavior_logprobs", "behavior_entropy", "rewards", "returns"}
  assert dtypes == {name: "float32" if name in floats else "int32" for name in dtypes}
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(batch))
  assert len(jax.tree.leaves(batch)) == 10


def test_what_the_actor_played_is_what_is_trained_on():
  policy = ScriptedPolicy(slots=3)
  played = collect(
    policy,
    ToyChat(),
    lambda: Digging([]),
    ["2", "3"],
    group_size=4,
    max_turns=9,
    key=jax.random.key(0),
  )
  batch = pack(played, lengths=[128, 256, 512])
  for (number, step), reply in policy.sampled.items():
    assert batch.actions[number][batch.steps[number] == step + 1].tolist() == reply
  assert (batch.steps > 0).sum() == sum(map(len, policy.sampled.values()))


def test_advantages_of_a_group_are_those_among_the_episodes_that_were_played():
  returns = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
  played = [episode(turn([1], [2]), index=i, reward=r) for i, r in enumerate(returns)]
  played[2] = dataclasses.replace(played[2], ended="aborted", reward=5.0)
  batch = pack(deal(played, 4, 8), lengths=[4], multiple=8)
  grpo = algorithms.make("grpo")
  signal, _ = grpo.advantages(jax.tree.map(jnp.asarray, batch), jnp.asarray(batch.behavior_entropy))
  rest = np.delete(returns, 2)
  told = {r: (r - rest.mean()) / (rest.std() + 1e-6) for r in rest}
  trained = batch.steps > 0
  assert trained.sum() == 7
  wanted = [told[r] for r in batch.returns[trained.any(1)]]
  np.testing.assert_allclose(signal.advantages[trained], wanted, rtol=1e-5)
  assert not np.any(signal.advantages[~trained])
