"""What of the vectors is a language's own, and how it is taken away: a definition each, all behind one interface."""

from layeratlas.statistics.removals.base import AbstractRemoval as AbstractRemoval
from layeratlas.statistics.removals.base import Eraser as Eraser
from layeratlas.statistics.removals.between_languages import BetweenLanguages as BetweenLanguages
from layeratlas.statistics.removals.centring import Centring as Centring
from layeratlas.statistics.removals.language_means import LanguageMeans as LanguageMeans
from layeratlas.statistics.removals.leading_components import LeadingComponents as LeadingComponents
from layeratlas.statistics.removals.least_squares import LeastSquares as LeastSquares
from layeratlas.statistics.removals.random_directions import random_directions as random_directions
