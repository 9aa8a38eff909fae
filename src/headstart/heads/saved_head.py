"""How a saved model turns features into probabilities: exactly as its head was judged in cross-validation.

The code is `headstart.heads.prediction`, which needs numpy alone.
"""

from headstart.heads.prediction import probabilities

__all__ = ["probabilities"]
