"""Floor 1: from YAML text to a valid Spec, with a place for every error."""
