"""The same job on another machine: targets, the job file, its entry point there, and the list of submitted jobs."""
