"""Analyses: what is asked of a run, one question each."""

from layeratlas.analyses.alignment import Alignment as Alignment
from layeratlas.analyses.base import AbstractAnalysis as AbstractAnalysis
from layeratlas.analyses.base import AbstractMatrixAnalysis as AbstractMatrixAnalysis
from layeratlas.analyses.base import Comparison as Comparison
from layeratlas.analyses.base import Findings as Findings
from layeratlas.analyses.base import Headline as Headline
from layeratlas.analyses.base import RunNeeds as RunNeeds
from layeratlas.analyses.base import Tensors as Tensors
from layeratlas.analyses.diagonal import Diagonal as Diagonal
from layeratlas.analyses.edits import Edits as Edits
from layeratlas.analyses.geometry import Geometry as Geometry
from layeratlas.analyses.influence import Influence as Influence
from layeratlas.analyses.neighbors import Neighbors as Neighbors
from layeratlas.analyses.phases import Phases as Phases
from layeratlas.analyses.stability import Stability as Stability
from layeratlas.analyses.subspace import Subspace as Subspace
