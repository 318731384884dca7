"""This process and its machine: memory, threads, other processes, files, errors."""
