"""Floor 2: the only place that submits AsyncMapResults and iterates them."""
