"""What all tests share: options, seeds, and names for the examples in docstrings."""

import os
import signal

import pytest
import torch

import torchsep
import torchsep.separators

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A command in the background ignores Ctrl-C, and so does all that it starts; some tests interrupt that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("contract.promises")

# Imported by tests, under their full names; a collector would import them again under others.
collect_ignore = ["contract/cases.py", "contract/controls.py", "contract/defects.py", "contract/promises"]


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="device of the contract tests: cpu, cuda, cuda:1, ...")
    parser.addoption("--compile", default="eager", help="backend of torch.compile in the contract tests")


def pytest_configure(config):
    if os.environ.get("PYTEST_XDIST_WORKER"):
        torch.set_num_threads(1)
    if torch.device(config.getoption("--device")).type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda needs a CUDA device")
    # Registered as a plugin, its fixtures also reach the docstrings of the library, outside this folder.
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
