"""Rates, latencies and memory."""
