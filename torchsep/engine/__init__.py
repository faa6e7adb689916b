"""Runs: separators under PyTorch Lightning, configured by Hydra."""

from torchsep.engine.choice import chosen_separator
from torchsep.engine.config import compose, separator_config
from torchsep.engine.demo import DemoResult, run_demo
from torchsep.engine.evaluation import Evaluation, evaluate
from torchsep.engine.exporting import ExportOptions, export
from torchsep.engine.jobs import evaluations
from torchsep.engine.objectives import (
    ChimeraObjective,
    EmbeddingObjective,
    MaskObjective,
    Objective,
    WaveformObjective,
)
from torchsep.engine.separate_files import FileResult, WriteOptions, output_folders, separate_files
from torchsep.engine.separation_task import NonFiniteLossError, SeparationTask
from torchsep.engine.summary import Summary, summarise
from torchsep.engine.training import Trained, Training, train, training

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
