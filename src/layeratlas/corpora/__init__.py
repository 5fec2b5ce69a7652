"""Corpora: a dataset config becomes aligned items with one text per side."""

from layeratlas.corpora.base import AbstractCorpus as AbstractCorpus
from layeratlas.corpora.base import Drawn as Drawn
from layeratlas.corpora.base import PairedItems as PairedItems
from layeratlas.corpora.base import draw as draw
from layeratlas.corpora.factbook import Factbook as Factbook
from layeratlas.corpora.kolibri import Kolibri as Kolibri
from layeratlas.corpora.local import Local as Local
from layeratlas.corpora.random_strings import RandomStrings as RandomStrings
from layeratlas.corpora.speeches import Speeches as Speeches
from layeratlas.corpora.stimuli import Stimuli as Stimuli
