"""Words as they are stored: LMDBs, labelled folders, labels, and characters' boxes."""
