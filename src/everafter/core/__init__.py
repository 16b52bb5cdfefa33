"""What every slice stands on: settings, the database, errors, frames, the web. Imports no slice."""
