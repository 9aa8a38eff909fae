"""How a saved model turns features into probabilities: exactly as its head was judged in cross-validation.

The code is `headstart.kit.fitted`, which needs numpy alone.
"""

from headstart.kit.fitted import probabilities

__all__ = ["probabilities"]
