"""One run of reinforcement learning: its model, environments, policy and update, by its config."""

from collections.abc import Callable, Collection, Sequence
from concurrent import futures
import contextlib
import functools
import threading
import time
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
from empg_jax.models.lora import Adapters
from empg_jax.rollout import play
from empg_jax.rollout.dynamic import Groups
from empg_jax.rollout.rows import make_rows
from empg_jax.training import setup, state as states
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
    state: what training carries from step to step; from `load` on.

  With config.rollout.ahead=1 the episodes of step n + 1 are played in a thread while step n is
  updated, so with the policy of step n - 1. Their log-probabilities and entropies are those of
  the policy that sampled them.
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
    self._closing = contextlib.ExitStack()
    self._ending = threading.Event()
    self._asked_to_stop = lambda: self._ending.is_set() or asked_to_stop()
    self._policy: Policy | None = None
    self._is_current = False  # whether the policy holds the newest model
    self._ahead = bool(config.rollout.get("ahead", 0))
    self._thread = futures.ThreadPoolExecutor(1)
    self._step = 0  # the last one collected
    self._next: futures.Future[Groups] | None = None  # the next step's episodes
    self._copy: Decoder | Adapters | None = None  # ahead: what the policy's arrays are made of
    self._sampler: Decoder | Adapters | None = None  # ahead: the one that plays the next step

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
    return self._merged(self.state.model)

  @property
  def policy(self) -> Policy:
    """What samples: the model as of the last update (generation.policy.Policy).

    On accelerators or several hosts it decodes on the whole mesh, on a CPU on each device apart.
    """
    if self._next is not None:
      futures.wait([self._next])  # it plays with the model that the policy has
    if not self._is_current:
      self._sample_from(self.state.model)
    return self._policy

  def collect(self, step: int) -> Groups:
    """Plays the episodes of training step `step` >= 1 (rollout.actor.collect).

    They follow from the policy that samples, the config's seed and the step alone.

    Returns:
      `played`, all episodes, and `kept`, those to train on.

    Raises:
      RuntimeError: every episode was aborted.
      ValueError: what an episode begins with does not fit the context.
      Stopped: the run was asked to stop.
    """
    if self._next is not None:
      played, self._next = self._next, None
      groups = played.result()
    elif self._sampler is not None:  # of a checkpoint: what was in flight is played again
      self._sample_from(self._sampler)
      groups = self._played(step, self._policy)
    else:
      groups = self._played(step, self.policy)
    self._step = step
    return groups._replace(lag=int(self._sampler is not None))

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
      if self._ahead:
        self._begin_next()
      else:
        self._policy.release()
    with jax.set_mesh(self.mesh):
      self.state, metrics = self._update(self.state, sharding.to_mesh(rows, self.mesh))
    jax.block_until_ready(self.state)
    self._is_current = False
    if self._policy is not None and not self._ahead:
      self._sample_from(self.state.model)
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

  def saved(self) -> TrainState:
    """What a checkpoint holds: `state`, and ahead also the model that plays the next step."""
    return self.state._replace(sampler=self._sampler)

  def template(self) -> TrainState:
    """The shapes and places of the largest `saved`; see checkpoint.Checkpointer.restore."""
    return self.state._replace(sampler=jax.tree.map(_described, self.state.model))

  @staticmethod
  def fit(template: TrainState, names: Collection[str]) -> TrainState:
    """The template for a checkpoint that holds the leaves of these names."""
    ahead = any(name.startswith("sampler.") for name in names)
    return template if ahead else template._replace(sampler=None)

  def restore(self, saved: TrainState) -> None:
    """Goes on from a checkpoint's `saved`; before the first episode is played."""
    self._sampler = saved.sampler if self._ahead else None
    self.state = saved._replace(sampler=None)

  def close(self) -> None:
    """Ends what is being played, and the environments."""
    self._ending.set()
    self._thread.shutdown()
    self._closing.close()

  def _played(self, step: int, policy: Policy) -> Groups:
    begun, key = time.monotonic(), jax.random.fold_in(self._key, step)
    groups = play.groups(self.config, self.tasks, self._play, policy, step, key)
    seconds, usage = time.monotonic() - begun, policy.take_usage().metrics()
    return groups._replace(seconds=seconds, usage=usage)

  def _begin_next(self) -> None:
    """Has the thread play the step after the one to update, with the policy as it is before."""
    if self._next is not None:
      return  # played during an update before, and not collected
    policy = self.policy
    self._sampler = self._copy
    if 0 < self._step < self.config.num_steps:
      self._next = self._thread.submit(self._played, self._step + 1, policy)

  def _sample_from(self, trained: Decoder | Adapters) -> None:
    """Gives the policy a model; ahead, a copy, for an update gives the arrays of `state` away."""
    self._is_current = trained is self.state.model
    if self._ahead:
      trained = self._copy = states.copy(trained)
    model = self._merged(trained)
    if self._policy is not None:
      self._policy.update(model)
      return
    whole = hardware.current().whole_mesh or jax.process_count() > 1
    spoken = dict(end_id=self.chat.end_id, vocab_size=self.chat.vocab_size)
    mesh = self.mesh if whole else None
    self._policy = Policy(model, **spoken, mesh=mesh, **self.config.policy)

  def _merged(self, trained: Decoder | Adapters) -> Decoder:
    return lora.merge(self._frozen["base"], trained)

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


def _described(leaf: jax.Array) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
