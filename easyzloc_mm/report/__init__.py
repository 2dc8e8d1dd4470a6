"""The look of every HTML report and picture in it."""
