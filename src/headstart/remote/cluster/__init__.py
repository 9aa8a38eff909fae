"""Work fanned out over a Ray cluster, as plain tasks in chunks of seconds."""
