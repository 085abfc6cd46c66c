"""What has to run, and when: decisions over (now, what is ready, what is done), without Dagster and without clocks."""
