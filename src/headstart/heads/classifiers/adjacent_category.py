"""Adjacent-category logit of grades on standardised features with an L2 penalty; tunes the strength.

The log odds of a grade against the one below grow along one direction, the same for all grades (proportional odds,
Agresti 2010): logistic regression whose weights are that direction times the rank. Few labels are enough for it.
"""

from headstart.heads.logistic_regression import LogisticRegression

PLUGIN = LogisticRegression("adjacent_category", ordered=True)
