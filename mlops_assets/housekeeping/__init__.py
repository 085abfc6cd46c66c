"""What keeps an instance in order: dead runs, containers that were left, retention."""
