"""Vectors to a matrix of similarities, with its chance level, null and intervals."""
