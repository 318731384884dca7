"""Sources of word images, in the layouts that they are published in, to LMDBs."""
