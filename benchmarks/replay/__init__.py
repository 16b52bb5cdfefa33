"""Replaying markets day by day through the product's own fold and scoring, without a database, and
what the scores were worth (scripts/measure_scoring.py)."""
