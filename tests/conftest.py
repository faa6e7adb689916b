"""Shared by all tests: options, seeds, and names for the examples in docstrings."""

import os
import signal

import hypothesis
import pytest
import torch

import torchsep
import torchsep.separators

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A background command ignores Ctrl-C, and so do the processes that it starts; some tests interrupt those.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("contract.promises")

# The same random examples in every run, however slow it is. Other ones: --hypothesis-profile=default
hypothesis.settings.load_profile("ci")

# Imported by tests under their full names; the collector would import them again under other names.
collect_ignore = [
    "contract/cases.py",
    "contract/controls.py",
    "contract/defects.py",
    "contract/module_defects.py",
    "contract/promises",
]


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="device of the contract tests: cpu, cuda, cuda:1, ...")
    parser.addoption("--compile", default="aot_eager", help="backend of torch.compile in the contract tests")


def pytest_configure(config):
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes to come, and of those that they start
    if os.environ.get("PYTEST_XDIST_WORKER"):
        torch.set_num_threads(1)
    if torch.device(config.getoption("--device")).type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda needs a CUDA device")
    # As a plugin, its fixtures are also used for the docstrings of the library, outside this folder.
    config.pluginmanager.register(Everywhere(), "torchsep-everywhere")


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an accelerator"))


class Everywhere:
    @pytest.fixture(autouse=True)
    def seed(self):
        torch.manual_seed(0)

    @pytest.fixture(autouse=True)
    def names_in_examples(self, doctest_namespace):
        separators = {name: getattr(torchsep.separators, name) for name in torchsep.separators.__all__}
        doctest_namespace.update(separators, torch=torch, STFT=torchsep.STFT, build=torchsep.build)


@pytest.fixture(scope="session")
def device(request):
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(scope="session")
def compile_backend(request):
    return request.config.getoption("--compile")
