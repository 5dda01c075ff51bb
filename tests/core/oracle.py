"""EMPG in plain loops over NumPy float64, slow and obvious."""

import numpy as np


def run_numbers(mask):
  """The steps of a bool mask: 1, 2, ... for each run of True in a row."""
  numbers = np.zeros(mask.shape, int)
  for b, row in enumerate(mask):
    step = 0
    for t, agent in enumerate(row):
      if agent:
        if t == 0 or not row[t - 1]:
          step += 1
        numbers[b, t] = step
  return numbers


def steps_of(step_mask, episode_ids):
  """{(episode, step number): [(row, time), ...]}."""
  numbers = run_numbers(step_mask) if step_mask.dtype == bool else step_mask
  rows, columns = numbers.shape
  if episode_ids is None:
    episode_ids = range(rows)
  steps = {}
  for b in range(rows):
    for t in range(columns):
      if numbers[b, t] > 0:
        key = (int(episode_ids[b]), int(numbers[b, t]))
        steps.setdefault(key, []).append((b, t))
  return steps


def modulate(advantages, entropy, step_mask, k, k_future, zeta, episode_ids=None):
  """(A_fin of each token, {step: g}, {step: A_fin})."""
  advantages = np.asarray(advantages, np.float64)
  entropy = np.asarray(entropy, np.float64)
  if advantages.ndim == 1:
    advantages = np.repeat(advantages[:, None], entropy.shape[1], axis=1)
  steps = steps_of(step_mask, episode_ids)
  if not steps:
    return advantages, {}, {}

  mean_entropy = {s: np.mean([entropy[at] for at in steps[s]]) for s in steps}
  low, high = min(mean_entropy.values()), max(mean_entropy.values())
  hn = {s: (mean_entropy[s] - low) / (high - low + 1e-8) for s in steps}
  mean_scale = np.mean([np.exp(-k * hn[s]) for s in steps])
  g = {s: np.exp(-k * hn[s]) / mean_scale for s in steps}
  bonus = {}
  for episode, number in steps:
    following = (episode, number + 1)
    clarity = np.exp(-k_future * hn[following]) if following in steps else 0.0
    bonus[episode, number] = zeta * clarity
  base = {s: np.mean([advantages[at] for at in steps[s]]) for s in steps}
  centre = np.mean([base[s] * g[s] + bonus[s] for s in steps])

  final = np.zeros(entropy.shape)
  for s, places in steps.items():
    for at in places:
      final[at] = advantages[at] * g[s] + bonus[s] - centre
  return final, g, {s: base[s] * g[s] + bonus[s] - centre for s in steps}


def token_weights(step_mask, aggregation, episode_ids=None, length=1.0):
  """Token weights: of a mean over tokens, or of a mean over steps or episodes of such means."""
  steps = steps_of(step_mask, episode_ids)
  tokens = sum(map(len, steps.values()))
  of_episode = {}
  for (episode, _), places in steps.items():
    of_episode[episode] = of_episode.get(episode, 0) + len(places)
  weights = np.zeros(step_mask.shape)
  for (episode, _), places in steps.items():
    for at in places:
      weights[at] = {
        "token_mean": 1 / tokens,
        "sequence_mean": 1 / len(of_episode) / of_episode[episode],
        "sequence_sum": 1 / len(of_episode) / length,
        "step_mean": 1 / len(steps) / len(places),
      }[aggregation]
  return weights


def token_stats(logits, actions):
  """(log-probabilities of the actions, entropies, all log-probabilities)."""
  logits = np.asarray(logits, np.float64)
  z = logits - logits.max(axis=-1, keepdims=True)
  log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
  entropy = -(np.exp(log_p) * log_p).sum(axis=-1)
  logprobs = np.zeros(actions.shape)
  for at in np.ndindex(*actions.shape):
    logprobs[at] = log_p[at][actions[at]]
  return logprobs, entropy, log_p


def empg_loss(
    logits, actions, returns, step_mask, *, k=1.0, k_future=1.0, zeta=0.05,
    episode_ids=None, token_entropy=None, behavior_logprobs=None,
    reference_logprobs=None, kl_coef=0.0, entropy_coef=0.0, clip_low=0.2,
    clip_high=0.2, aggregation="token_mean",
):  # fmt: skip
  """(loss, its gradient with respect to the logits), token by token."""
  logprobs, entropy, log_p = token_stats(logits, actions)
  behavior = entropy if token_entropy is None else token_entropy
  advantages, _, _ = modulate(returns, behavior, step_mask, k, k_future, zeta, episode_ids)
  weights = token_weights(step_mask, aggregation, episode_ids)
  loss, gradient = 0.0, np.zeros(log_p.shape)
  for b, t in zip(*np.nonzero(step_mask > 0)):
    weight, a, p = weights[b, t], advantages[b, t], np.exp(log_p[b, t])
    old = logprobs[b, t] if behavior_logprobs is None else behavior_logprobs[b, t]
    ratio = np.exp(min(logprobs[b, t] - old, 20))
    clipped = min(max(ratio, 1 - clip_low), 1 + clip_high)
    loss += weight * -min(ratio * a, clipped * a)
    d_logprob = -ratio * a if ratio * a <= clipped * a else 0.0
    if reference_logprobs is not None:
      log_q = reference_logprobs[b, t] - logprobs[b, t]
      loss += weight * kl_coef * (np.exp(log_q) - 1 - log_q)
      d_logprob += kl_coef * (1 - np.exp(log_q))
    loss -= weight * entropy_coef * entropy[b, t]
    onehot = np.eye(len(p))[actions[b, t]]
    gradient[b, t] = weight * d_logprob * (onehot - p)
    gradient[b, t] += weight * entropy_coef * p * (log_p[b, t] + entropy[b, t])
  return loss, gradient
