"""Telling people: what an alert is, the outbox that holds it until it is delivered, the channels that deliver it."""
