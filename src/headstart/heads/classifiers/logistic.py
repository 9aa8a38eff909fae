"""Logistic regression: a softmax on standardised features with an L2 penalty; tunes the strength. The main head.

Cox 1958; as a probe of frozen features: Alain and Bengio 2016.
"""

from headstart.heads.logistic_regression import LogisticRegression

PLUGIN = LogisticRegression("logistic")
