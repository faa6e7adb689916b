"""Runs: separators under PyTorch Lightning, configured by Hydra."""

from torchsep.engine.config import compose, separator_config
from torchsep.engine.demo import DemoResult, run_demo
from torchsep.engine.evaluate.evaluation import Evaluation, evaluate
from torchsep.engine.evaluate.summary import Summary, summarise
from torchsep.engine.evaluate.sweep import evaluations
from torchsep.engine.export.exporting import ExportOptions, export
from torchsep.engine.separate.separate_files import FileResult, WriteOptions, output_folders, separate_files
from torchsep.engine.separation_task import NonFiniteLossError, SeparationTask
from torchsep.engine.separator_choice import chosen_separator
from torchsep.engine.train.objectives import (
    ChimeraObjective,
    EmbeddingObjective,
    MaskObjective,
    Objective,
    WaveformObjective,
)
from torchsep.engine.train.training import Trained, Training, train, training

__all__ = [
    "ChimeraObjective",
    "DemoResult",
    "EmbeddingObjective",
    "Evaluation",
    "ExportOptions",
    "FileResult",
    "MaskObjective",
    "NonFiniteLossError",
    "Objective",
    "SeparationTask",
    "Summary",
    "Trained",
    "Training",
    "WaveformObjective",
    "WriteOptions",
    "chosen_separator",
    "compose",
    "evaluate",
    "evaluations",
    "export",
    "output_folders",
    "run_demo",
    "separate_files",
    "separator_config",
    "summarise",
    "train",
    "training",
]
