"""Training step by step from Python: what launch/train.py does, without its files and flags.

    from empg_jax.config import config as configs
    from empg_jax.loop import Run

    config = configs.load("alfworld:smoke")
    with Run(config) as run:
      run.load()
      print(run.evaluate(0))
      for step in range(1, config.num_steps + 1):
        groups = run.collect(step)
        order, rows = run.pack(groups)
        metrics = run.update(rows)
        print(step, float(metrics["loss/total"]))
      print(run.evaluate(config.num_steps))

`run` has the class, `settings` what it checks of a config.
"""

from empg_jax.loop.run import Run as Run
