"""Texts to vectors in the store: tokens of a batch, one forward pass, poolings, shards, and what a pass will cost."""
