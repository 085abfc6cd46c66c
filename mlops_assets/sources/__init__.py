"""Where generated data come from. Pure."""
