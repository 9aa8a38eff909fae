"""How finished runs compare: on the same pictures, in cost, class by class, and in what was asked for."""
