"""One run of reinforcement learning: its model, environments, policy and update, by its config."""

from collections.abc import Callable, Sequence
import contextlib
import functools
from typing import Any

import jax
from jaxtyping import Array, Float
import ml_collections

from empg_jax import algorithms, envs, workers
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.generation.policy import Policy
from empg_jax.kernels import hardware
from empg_jax.loop import settings
from empg_jax.models import folder, lora
from empg_jax.models.decoder import Decoder
from empg_jax.rollout import play
from empg_jax.rollout.dynamic import Groups
from empg_jax.rollout.rows import make_rows
from empg_jax.training import setup
from empg_jax.training.state import TrainState
from empg_jax.types import Batch, Episode


class Run:
  """A run, to go through step by step: `load`, then `collect`, `pack`, `update`, `evaluate`.

  Each method calls the public function that it names with the config's values, so code of your
  own can take its place. Environments start when the first episode does. `close` ends them; `with`
  calls it.

  Attributes:
    config: of the run.
    environment: the module that config.env names.
    chat: the tokenizer and the chat template of the model (models.folder.chat).
    mesh: the devices of the update (distributed.sharding.make_mesh).
    algorithm: advantages and loss (algorithms.make).
    tasks: those of each step (rollout.tasks.TaskSampler).
    state: what training carries from step to step; from `load` on. A checkpoint's may take its
      place before the first episode is played.
  """

  state: TrainState

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    *,
    asked_to_stop: Callable[[], bool] = lambda: False,
  ):
    """Checks the config and reads the tokenizer; no model is read and nothing is compiled.

    Args:
      config: of the run, as config.load returns it.
      asked_to_stop: whether playing is to end at the next turn, with
        distributed.preemption.Stopped.

    Raises:
      FileNotFoundError: there is no such model, or no such task.
      ValueError: the config does not fit what it configures.
    """
    self.config = config
    self.environment = envs.find(config.env.name)
    settings.check(config, self.environment)
    self.chat = folder.chat(config.model.path, **self.environment.REPLY | config.chat.to_dict())
    self.mesh = sharding.make_mesh(**config.mesh)
    self.algorithm = algorithms.make(**config.algorithm.to_dict())
    self.tasks = play.sampler(config, self.environment)
    self._key = jax.random.key(config.seed)
    self._asked_to_stop = asked_to_stop
    self._closing = contextlib.ExitStack()
    self._policy: Policy | None = None

  def load(self) -> TrainState:
    """Reads the model onto the mesh (training.setup.load); the state before the first update.

    Raises:
      ValueError: its tensors are not those of its config, or not finite.
    """
    optimizer = setup.make_optimizer(self.config)
    self.state, self._frozen = setup.load(self.config, self.mesh, self.algorithm, optimizer)
    self._update = setup.make_update(self.config, self._frozen, self.algorithm, optimizer)
    return self.state

  @property
  def model(self) -> Decoder:
    """The decoder as it is trained now, adapters merged into it; `update` gives its arrays away."""
    return lora.merge(self._frozen["base"], self.state.model)

  @property
  def policy(self) -> Policy:
    """What samples: the model as of the last update (generation.policy.Policy).

    On accelerators or several hosts it decodes on the whole mesh, on a CPU on each device apart.
    """
    if self._policy is None:
      whole = hardware.current().whole_mesh or jax.process_count() > 1
      spoken = dict(end_id=self.chat.end_id, vocab_size=self.chat.vocab_size)
      mesh = self.mesh if whole else None
      self._policy = Policy(self.model, **spoken, mesh=mesh, **self.config.policy)
    return self._policy

  def collect(self, step: int) -> Groups:
    """Plays the episodes of training step `step` >= 1 (rollout.actor.collect).

    They follow from the policy, the config's seed and the step, and from nothing else.

    Returns:
      `played`, all episodes, and `kept`, those to train on.

    Raises:
      RuntimeError: every episode was aborted.
      ValueError: what the policy would read is longer than it reads at once.
      Stopped: the run was asked to stop.
    """
    key = jax.random.fold_in(self._key, step)
    return play.groups(self.config, self.tasks, self._play, self.policy, step, key)

  def pack(self, groups: Groups) -> tuple[list[Episode], Batch]:
    """Lays the episodes to train on into the rows of a batch (rollout.pack.pack).

    Returns:
      What each row holds, an episode or one of its turns; and the rows, numpy arrays [B, T].
    """
    return make_rows(self.config, groups.kept)

  def update(self, rows: Batch) -> dict[str, Float[Array, ""]]:
    """Updates `state` on a batch (training.step.train_step), and gives the policy the new model.

    Returns when the device has finished.

    Args:
      rows: of `pack`, or any batch of numpy arrays whose rows divide into config.train.size.

    Returns:
      The metrics of the update, float32 scalars: loss/total, update/grad_norm, empg/g_min, ...
    """
    if self._policy is not None:
      self._policy.release()
    with jax.set_mesh(self.mesh):
      self.state, metrics = self._update(self.state, sharding.to_mesh(rows, self.mesh))
    jax.block_until_ready(self.state)
    if self._policy is not None:
      self._policy.update(self.model)
    return metrics

  def evaluate(
    self, step: int, *, keep: Callable[[int, str, Sequence[Episode]], Any] | None = None
  ) -> dict[str, int | float]:
    """Plays the tasks of config.evaluation once each, always with the same random numbers.

    Args:
      step: how many steps of training the policy has had.
      keep: called with the step, the split and its episodes.

    Returns:
      eval/SPLIT/success and so on (tracking.metrics.summarize), and eval/SPLIT/score.
    """
    given = self.config, self.environment, self._play, self.policy
    return play.evaluation(*given, step, self._key, keep)

  def close(self) -> None:
    """Ends the environments."""
    self._closing.close()

  @functools.cached_property
  def _play(self) -> play.Play:
    arguments = configs.arguments(self.config.env)
    made = workers.environments(self.environment.__name__, arguments, **self.config.workers)
    make_env = self._closing.enter_context(made)
    return play.player(self.config, self.environment, self.chat, make_env, self._asked_to_stop)

  def __enter__(self) -> "Run":
    return self

  def __exit__(self, *error: object) -> None:
    self.close()
