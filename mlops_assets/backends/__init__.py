"""Where a step runs. One interface; what a step does and writes does not depend on the backend."""
