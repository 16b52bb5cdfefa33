"""The team's pages: all suppliers in one table, one supplier's whole story, the outbox."""
