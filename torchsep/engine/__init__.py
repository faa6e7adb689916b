"""Runs: separators under PyTorch Lightning, configured by Hydra."""

from torchsep.engine.choice import chosen_separator
from torchsep.engine.config import compose, separator_config
from torchsep.engine.demo import DemoResult, run_demo
from torchsep.engine.evaluation import Evaluation, evaluate
from torchsep.engine.jobs import evaluations
from torchsep.engine.separate_files import FileResult, WriteOptions, output_folders, separate_files
from torchsep.engine.summary import Summary, summarise

__all__ = [
    "DemoResult",
    "Evaluation",
    "FileResult",
    "Summary",
    "WriteOptions",
    "chosen_separator",
    "compose",
    "evaluate",
    "evaluations",
    "output_folders",
    "run_demo",
    "separate_files",
    "separator_config",
    "summarise",
]
