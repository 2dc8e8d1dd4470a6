"""Learning z from beads: architecture, augmentation, training, bundle, inference. Light to import."""

from easyzloc_mm.network.bundle import ModelBundle, ZPrediction
from easyzloc_mm.network.evaluate import evaluate
from easyzloc_mm.network.train import TrainReport, train

__all__ = ["ModelBundle", "TrainReport", "ZPrediction", "evaluate", "train"]
