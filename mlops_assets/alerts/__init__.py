"""Alerts: what happened (collect, late_data), the queue until delivery (outbox), where it goes (channels)."""
