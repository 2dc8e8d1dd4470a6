"""Lists of stage positions that other programs write: Micro-Manager, useq-schema, spreadsheets."""
