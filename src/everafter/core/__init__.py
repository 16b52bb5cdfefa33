"""What every slice is on: settings, the database, errors, frames, the web. Imports no slice."""
