"""Makes the files of assets/ again: `python -m empg_jax.envs.deep_search`."""

from empg_jax.envs.deep_search.sources import make

if __name__ == "__main__":
  make.main()
