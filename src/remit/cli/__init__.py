"""The command line: one file for each noun, over the HTTP API and nothing else."""
