"""Floor 2: the folder of a run: manifest, journal, resume, lock."""
