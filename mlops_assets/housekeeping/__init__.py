"""Housekeeping of an instance: dead runs, leftover containers, retention."""
