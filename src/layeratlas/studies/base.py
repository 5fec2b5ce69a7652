"""What every study is: a question put to a sweep."""

import abc
from typing import ClassVar

from layeratlas.findings import Findings
from layeratlas.studies.sweep import Sweep


class AbstractStudy(abc.ABC):
    """A question put to a sweep. Its YAML file (`# @package study.NAME`) gives it its name; options are constructor arguments.

    `views` names the module that draws what it finds, where that is none of ours: see `layeratlas.report.views`.
    """

    views: ClassVar[str | None] = None

    @abc.abstractmethod
    def __call__(self, sweep: Sweep) -> Findings | None:
        """None where the sweep has nothing that the study asks about; raises ValueError where it should have and has not.

        Tables are saved as `tables/<name>.parquet` and `tables/<name>_<part>.parquet`, numbers and sentences in studies.json. A
        study corrects its own tests.
        """
