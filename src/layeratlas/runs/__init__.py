"""The files of a run and of a sweep: read, written, and what they say of the state of the work."""
