"""Runs: separators under PyTorch Lightning, configured by Hydra, one folder for each command."""

from torchsep.engine.config import compose
from torchsep.engine.demo import DemoResult, run_demo
from torchsep.engine.description import describe
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
from torchsep.engine.separate.inputs import Inputs, find_inputs
from torchsep.engine.separate.output_folders import output_folders
from torchsep.engine.separate.separate_files import device_overrides, separate_files
from torchsep.engine.separate.source_file_writer import FileResult, WriteOptions
from torchsep.engine.separate.standard_input import with_standard_input
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
    "Inputs",
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
    "describe",
    "device_overrides",
    "evaluations",
    "export_model",
    "find_inputs",
    "output_folders",
    "run_demo",
    "run_evaluation",
    "run_training",
    "separate_files",
    "summarise",
    "training",
    "with_standard_input",
]
