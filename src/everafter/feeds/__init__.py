"""Whether the platform's events keep arriving, by type of event."""
