"""Runs: separators under PyTorch Lightning, configured by Hydra, one folder for each command."""

from torchsep.engine.config import compose
from torchsep.engine.demo import DemoResult, run_demo
from torchsep.engine.evaluate.evaluation import Evaluation, run_evaluation
from torchsep.engine.evaluate.summary import Summary, summarise
from torchsep.engine.evaluate.sweep import evaluations
from torchsep.engine.export.exporting import ExportOptions, export_model
from torchsep.engine.objectives import (
    ChimeraObjective,
    EmbeddingObjective,
    MaskObjective,
    Objective,
    WaveformObjective,
)
from torchsep.engine.run import configure
from torchsep.engine.separate.separate_files import device_overrides, output_folders, separate_files
from torchsep.engine.separate.source_file_writer import FileResult, WriteOptions
from torchsep.engine.separation_task import NonFiniteLossError, SeparationTask
from torchsep.engine.separator_choice import SeparatorChoice
from torchsep.engine.train.job import Trained, Training, training
from torchsep.engine.train.training import run_training

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
    "SeparatorChoice",
    "Summary",
    "Trained",
    "Training",
    "WaveformObjective",
    "WriteOptions",
    "compose",
    "configure",
    "device_overrides",
    "evaluations",
    "export_model",
    "output_folders",
    "run_demo",
    "run_evaluation",
    "run_training",
    "separate_files",
    "summarise",
    "training",
]
