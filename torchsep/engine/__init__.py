"""Runs: separators under PyTorch Lightning, configured by Hydra."""

from torchsep.engine.config import compose, separator_config
from torchsep.engine.demo import DemoResult, run_demo
from torchsep.engine.separate_files import FileResult, WriteOptions, output_folders, separate_files

__all__ = [
    "DemoResult",
    "FileResult",
    "WriteOptions",
    "compose",
    "output_folders",
    "run_demo",
    "separate_files",
    "separator_config",
]
