"""What runs when: jobs, schedules, sensors, and the decisions behind them."""
