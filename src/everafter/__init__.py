"""Everafter: customer success for wedding suppliers, inside the platform's own PostgreSQL."""

__version__ = "0.2.0"
