"""What of the vectors is a language's own, and how it is taken away: a definition each, all behind one interface."""

from layeratlas.statistics.removals.base import AbstractRemoval as AbstractRemoval
from layeratlas.statistics.removals.base import Eraser as Eraser
from layeratlas.statistics.removals.between_languages import BetweenLanguages as BetweenLanguages
from layeratlas.statistics.removals.centring import Centring as Centring
from layeratlas.statistics.removals.language_means import LanguageMeans as LanguageMeans
from layeratlas.statistics.removals.leading_components import LeadingComponents as LeadingComponents
from layeratlas.statistics.removals.least_squares import LeastSquares as LeastSquares
from layeratlas.statistics.removals.random_directions import random_directions as random_directions
from layeratlas.statistics.removals.random_energy import WithinSpan as WithinSpan
from layeratlas.statistics.removals.random_energy import energy as energy
from layeratlas.statistics.removals.random_energy import random_of_energy as random_of_energy
from layeratlas.statistics.removals.random_energy import random_shift as random_shift
from layeratlas.statistics.removals.shift import language_shift as language_shift
