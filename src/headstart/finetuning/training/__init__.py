"""The training loop: steps, epochs, schedules, optimizers, checkpoints."""
