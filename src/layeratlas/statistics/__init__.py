"""Statistics: pure functions of arrays, and the choice of how much of it a run does."""

from layeratlas.statistics.inference import Inference as Inference
