"""Makes the files of assets/ again: `python -m empg_jax.envs.alfworld rooms`, or `games`."""

import sys

from empg_jax.config import lookup
from empg_jax.envs.alfworld import embedded, rooms

if __name__ == "__main__":
  lookup.get({"rooms": rooms.main, "games": embedded.main}, " ".join(sys.argv[1:]), "data")()
