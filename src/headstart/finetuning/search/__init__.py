"""The search over recipes, fold by fold, inside the budget."""
