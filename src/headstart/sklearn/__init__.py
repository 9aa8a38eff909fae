"""headstart as a scikit-learn classifier."""

from headstart.sklearn.classifier import TransferClassifier

__all__ = ["TransferClassifier"]
