"""Steps in containers of their own, on a Docker engine."""
