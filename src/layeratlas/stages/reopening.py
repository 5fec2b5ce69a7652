"""The vectors of finished runs, found in the store by what the runs' own configs say. No model is loaded."""

from dataclasses import replace

from omegaconf import OmegaConf

from layeratlas.errors import ConfigError
from layeratlas.files.store import Store
from layeratlas.runs.reading import Run
from layeratlas.stages.pipeline import extracted_sides, of_layers
from layeratlas.stages.plan import planned
from layeratlas.studies.opened import Opened, Opener


def opener_of(store: Store) -> Opener:
    """Opens runs whose activations lie in this store, wherever they lay when the runs were made."""

    def opened(run: Run) -> Opened:
        if "imported" in run.result:
            raise ConfigError(f"{run.folder}: was imported as a matrix, whose vectors nobody has here")
        config = OmegaConf.create({**run.result["provenance"]["config"]})
        config.store.dir = str(store.root)
        plan = planned(config, compares=False)
        if plan.items.fingerprint != run.result["dataset"]["fingerprint"]:
            raise ConfigError(f"{run.folder}: dataset {plan.dataset} no longer gives the texts that this run compared")
        sides = of_layers(extracted_sides(plan, replace(plan.extractor, only_stored=True), config.layers), config.layers)
        return Opened(sides["a"].activations, sides["b"].activations, plan.signer)

    return opened
