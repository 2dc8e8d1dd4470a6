"""Errors of z by method, beside the information limit."""
