"""Processes that are forked from one that computes: they have none of its threads."""

import os

import torch

_prepared = False


def one_thread_in_forks() -> None:
    """Let processes that are forked from now on compute with one thread each.

    A child would wait for ever for the threads of its parent, which has begun to compute. What the
    child sets itself later on (`torch.set_num_threads`) holds.
    """
    global _prepared
    if not _prepared and hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
        _prepared = True
