"""Pictures that are copies of each other, exact or near, and their clusters."""
