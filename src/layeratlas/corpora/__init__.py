"""Corpora: a dataset config becomes aligned items with one text per side."""

from layeratlas.corpora.alignment import doubts as doubts
from layeratlas.corpora.base import AbstractControl as AbstractControl
from layeratlas.corpora.base import AbstractCorpus as AbstractCorpus
from layeratlas.corpora.base import Drawn as Drawn
from layeratlas.corpora.base import PairedItems as PairedItems
from layeratlas.corpora.base import draw as draw
from layeratlas.corpora.controls import Cipher as Cipher
from layeratlas.corpora.controls import OtherItems as OtherItems
from layeratlas.corpora.controls import RandomCharacters as RandomCharacters
from layeratlas.corpora.controls import ReversedWords as ReversedWords
from layeratlas.corpora.controls import SharedWords as SharedWords
from layeratlas.corpora.controls import ShuffledWords as ShuffledWords
from layeratlas.corpora.exam import Exam as Exam
from layeratlas.corpora.factbook import Factbook as Factbook
from layeratlas.corpora.hub import HubCorpus as HubCorpus
from layeratlas.corpora.language import Language as Language
from layeratlas.corpora.lines import Lines as Lines
from layeratlas.corpora.lines import StatementPairs as StatementPairs
from layeratlas.corpora.local import Local as Local
from layeratlas.corpora.parallel import Flores as Flores
from layeratlas.corpora.parallel import OpusBooks as OpusBooks
from layeratlas.corpora.random_strings import RandomStrings as RandomStrings
from layeratlas.corpora.speeches import Speeches as Speeches
from layeratlas.corpora.web import ShuffledWeb as ShuffledWeb
from layeratlas.corpora.web import StreamedWeb as StreamedWeb
from layeratlas.corpora.web import WikipediaLeads as WikipediaLeads
