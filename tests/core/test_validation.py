"""Invalid arguments raise a one-line error that names what came and what is wanted."""

import jaxtyping
import numpy as np
import pytest

import empg_jax

LOGITS = np.zeros((2, 3, 5), np.float32)
IDS = np.zeros((2, 3), np.int32)
ROWS = np.zeros(2, np.float32)
MASK = np.ones((2, 3), bool)


@pytest.fixture(autouse=True)
def without_type_checks():
  """Disables the type checks of the tests, so that the errors are those of users."""
  jaxtyping.config.update("jaxtyping_disable", True)
  yield
  jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
  "arguments, sentence",
  [
    ((LOGITS[0], IDS, ROWS, MASK), "logits has shape (3, 5); it must be [B, T, V]."),
    (
      (LOGITS, IDS[:, :2], ROWS, MASK),
      "actions has shape (2, 2); it must be [B, T] = (2, 3).",
    ),
    (
      (LOGITS, IDS, ROWS[:1], MASK),
      "returns has shape (1,); it must be [B] = (2,) or [B, T] = (2, 3).",
    ),
    (
      (LOGITS, IDS, ROWS, MASK[:, :1]),
      "step_mask has shape (2, 1); it must be [B, T] = (2, 3).",
    ),
  ],
)
def test_shapes_of_the_loss(arguments, sentence):
  with pytest.raises(ValueError) as error:
    empg_jax.empg_loss(*arguments)
  assert str(error.value) == sentence


def test_optional_arguments_of_the_loss():
  for name in ("token_entropy", "behavior_logprobs", "reference_logprobs"):
    with pytest.raises(ValueError, match=rf"{name} has shape \(2, 4\); it must be"):
      empg_jax.empg_loss(LOGITS, IDS, ROWS, MASK, **{name: np.zeros((2, 4))})
  with pytest.raises(ValueError, match=r"aggregation is 'mean'; it must be 'token_mean'"):
    empg_jax.empg_loss(LOGITS, IDS, ROWS, MASK, aggregation="mean")


CALLS = {
  "empg_loss": lambda **x: empg_jax.empg_loss(
    **dict(logits=LOGITS, actions=IDS, returns=ROWS, step_mask=IDS) | x
  ),
  "modulate_advantages": lambda **x: empg_jax.modulate_advantages(
    **dict(advantages=ROWS, token_entropy=LOGITS[..., 0], step_mask=IDS) | x
  ),
  "token_stats": lambda **x: empg_jax.token_stats(**dict(logits=LOGITS, actions=IDS) | x),
  "fused_token_stats": lambda **x: empg_jax.fused_token_stats(
    **dict(hidden=LOGITS, unembedding=LOGITS[0].T, actions=IDS) | x
  ),
  "group_advantages": lambda **x: empg_jax.group_advantages(
    **dict(returns=ROWS, group_ids=IDS[:, 0]) | x
  ),
}
LISTS = {  # what each takes as an array
  "empg_loss": (
    "logits", "actions", "returns", "step_mask", "episode_ids", "token_entropy",
    "behavior_logprobs", "reference_logprobs",
  ),
  "modulate_advantages": ("advantages", "token_entropy", "step_mask", "episode_ids"),
  "token_stats": ("logits", "actions"),
  "fused_token_stats": ("hidden", "unembedding", "actions"),
  "group_advantages": ("returns", "group_ids", "episode_ids", "exists"),
}  # fmt: skip
NUMBERS = {
  "empg_loss": (
    "k", "k_future", "zeta", "kl_coef", "entropy_coef", "clip_low", "clip_high",
  ),
  "modulate_advantages": ("k", "k_future", "zeta"),
  "token_stats": ("temperature",),
  "fused_token_stats": ("temperature",),
  "group_advantages": ("eps",),
}  # fmt: skip


@pytest.mark.parametrize("function, name", [(f, n) for f in LISTS for n in LISTS[f]])
def test_a_list_is_refused_with_the_call_that_converts_it(function, name):
  with pytest.raises(TypeError) as error:
    CALLS[function](**{name: [1, 2]})
  assert str(error.value) == (
    f"{name} is a list; it must be an array: jnp.asarray({name}) makes one."
  )


@pytest.mark.parametrize("function, name", [(f, n) for f in NUMBERS for n in NUMBERS[f]])
def test_an_array_in_place_of_a_number_is_refused(function, name):
  with pytest.raises(ValueError) as error:
    CALLS[function](**{name: np.ones(2, np.float32)})
  assert str(error.value) == (
    f"{name} has shape (2,); it must be a number, one for the whole batch."
  )
  with pytest.raises(TypeError, match=f"^{name} is a list; it must be a number."):
    CALLS[function](**{name: [1.0]})


@pytest.mark.parametrize(
    "function, name",
    [("empg_loss", "episode_ids"), ("modulate_advantages", "episode_ids"),
     ("group_advantages", "group_ids"), ("group_advantages", "episode_ids")],
)  # fmt: skip
def test_ids_that_are_not_integers_are_refused(function, name):
  with pytest.raises(TypeError, match=f"^{name} has dtype float32; it must hold integers."):
    CALLS[function](**{name: ROWS})


def test_returns_of_another_shape_are_refused():
  with pytest.raises(ValueError, match=r"^returns has shape \(2, 3\); it must be \[B\]"):
    empg_jax.group_advantages(LOGITS[..., 0], IDS)
  with pytest.raises(ValueError, match="^ddof is 2; it must be 0 or 1."):
    empg_jax.group_advantages(ROWS, IDS[:, 0], ddof=2)


def test_an_empty_vocabulary_is_refused():
  with pytest.raises(ValueError, match=r"^logits has shape \(2, 3, 0\)"):
    empg_jax.token_stats(LOGITS[..., :0], IDS)
  with pytest.raises(ValueError, match=r"^unembedding has shape \(5, 0\); V must be 1"):
    empg_jax.fused_token_stats(LOGITS, LOGITS[0, :0].T, IDS)


def test_floats_in_place_of_integers_are_refused():
  with pytest.raises(TypeError, match="actions has dtype float32; it must hold integers"):
    empg_jax.token_stats(LOGITS, ROWS[:, None])
  with pytest.raises(TypeError, match="step_mask has dtype float32; it must hold"):
    empg_jax.modulate_advantages(ROWS, LOGITS[..., 0], LOGITS[..., 0])


def test_rows_of_one_episode_need_step_numbers():
  with pytest.raises(ValueError, match="give step_mask as step numbers from 1"):
    empg_jax.modulate_advantages(ROWS, LOGITS[..., 0], MASK, episode_ids=IDS[:, 0])


def test_shapes_of_the_parts():
  with pytest.raises(ValueError, match=r"episode_ids has shape \(3,\); it must be \[B\]"):
    empg_jax.modulate_advantages(ROWS, LOGITS[..., 0], IDS, episode_ids=IDS[0])
  with pytest.raises(ValueError, match=r"group_ids has shape \(3,\); it must be \[B\]"):
    empg_jax.group_advantages(ROWS, IDS[0])
  with pytest.raises(ValueError, match=r"unembedding has shape \(4, 9\).* D = 5"):
    empg_jax.fused_token_stats(LOGITS, np.zeros((4, 9), np.float32), IDS)
  with pytest.raises(ValueError, match=r"block_size is 0; it must be at least 1"):
    empg_jax.fused_token_stats(LOGITS, np.zeros((5, 9), np.float32), IDS, block_size=0)
