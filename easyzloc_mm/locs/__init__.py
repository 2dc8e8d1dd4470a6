"""The localisation table: read, filtered, linked."""
