"""What one does with a finished run, as functions: each opens the run's folder and answers one question of its user."""
