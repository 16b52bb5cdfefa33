"""Invented wedding platforms to measure scores on: what happened, and the truth behind it.

    python -m benchmarks.markets --dialect a --seed 1 --suppliers 600 --months 24 OUT_DIR

Each dialect describes another kind of behaviour (dialects.py). A market is generated in three
steps: the suppliers and their fates (people.py), how busy each of them is on each day
(activity.py), and the events that a platform would send (events.py). Nothing here reads the
product's rules, so that a score cannot know more of a market than of a real platform."""
