"""Models: a model config becomes a tokenizer and a network whose layers can be listened to."""

from layeratlas.models.base import AbstractModel as AbstractModel
from layeratlas.models.base import pick_device as pick_device
from layeratlas.models.bundled import BundledCheckpoint as BundledCheckpoint
from layeratlas.models.checkpoint import Checkpoint as Checkpoint
from layeratlas.models.held import HELD as HELD
from layeratlas.models.held import Held as Held
from layeratlas.models.settings import Needs as Needs
from layeratlas.models.stored import StoredActivations as StoredActivations
