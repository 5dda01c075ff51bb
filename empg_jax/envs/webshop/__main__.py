"""Makes the files of assets/ again: `python -m empg_jax.envs.webshop`."""

from empg_jax.envs.webshop import embedded

if __name__ == "__main__":
  embedded.main()
