"""Scoring of predictions and the loop around it."""
