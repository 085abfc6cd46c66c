"""How a step is run: the runner, recipes, staleness, the entry point of every step container."""
