"""What every request passes: limits of a connection, headers, bodies, the log."""
