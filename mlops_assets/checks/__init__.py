"""Verdicts on partitions: pure functions of manifests."""
