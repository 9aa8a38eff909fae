"""What is fitted on frozen features: solvers, cross-validation, answers."""
