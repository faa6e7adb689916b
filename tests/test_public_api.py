"""What users see: names, documentation, and a light import."""

import importlib
import inspect
import json
import re
import subprocess
import sys

import pytest
import torch

import torchsep
from torchsep.transforms import STFT

NAMES = {
    "torchsep": [
        "STFT",
        "BackgroundSeparator",
        "ClusteringSeparator",
        "MaskSeparator",
        "Separator",
        "build",
        "functional",
        "list_separators",
        "load",
        "losses",
        "metrics",
        "networks",
        "register",
        "save",
        "separators",
        "transforms",
    ],
    "torchsep.functional": [
        "Factorisation",
        "GaussianMixture",
        "KMeans",
        "autocorrelation",
        "clipped_ratio_mask",
        "beta_divergence",
        "binary_masks",
        "box_filter",
        "eigh",
        "fit_gaussian_mixture",
        "fit_nmf",
        "inverse_square_root",
        "kmeans",
        "log_likelihood",
        "low_rank_and_sparse",
        "magnitude",
        "maximum_filter",
        "median_filter",
        "median_of_frames",
        "mel_filters",
        "mfcc",
        "minibatch_kmeans",
        "minimum_filter",
        "multichannel_wiener_filter",
        "nmf_activations",
        "optimal_assignment",
        "best_permutation",
        "pad",
        "periodic_median",
        "phase_sensitive_magnitude",
        "rank_filter",
        "ratio_masks",
        "responsibilities",
        "similar_frames",
        "singular_value_threshold",
        "soft_assignment",
        "soft_kmeans",
        "soft_mask",
        "spectral_norm",
        "stack_masks",
        "svd",
        "normalized_mfcc",
        "complementary_masks",
    ],
    "torchsep.losses": [
        "FixedOrder",
        "MixtureInvariant",
        "MultiResolutionSTFT",
        "OneAndRestPIT",
        "PermutationInvariant",
        "WeightedSum",
        "deep_clustering_loss",
        "ideal_assignments",
        "kl_loss",
        "l1_loss",
        "loud_bin_weights",
        "magnitude_l1_loss",
        "magnitude_mse_loss",
        "magnitude_target",
        "magnitude_weights",
        "mse_loss",
        "si_sdr_loss",
        "snr_loss",
        "whitened_kmeans_loss",
    ],
    "torchsep.networks": [
        "DPRNN",
        "Chimera",
        "ConvTasNet",
        "Embedding",
        "EmbeddingNetwork",
        "FilterBank",
        "HDemucs",
        "LearnedFilterBank",
        "MaskInference",
        "MaskNetwork",
        "Network",
        "OpenUnmix",
        "RecurrentBody",
        "STFTFilterBank",
        "UNet",
        "WaveformNetwork",
    ],
    "torchsep.metrics": [
        "BSSEval",
        "MatchedEstimates",
        "bss_eval_images",
        "bss_eval_sources",
        "bss_eval_v4",
        "frame_median",
        "improvement",
        "match_estimates",
        "pairwise",
        "sa_sdr",
        "sd_sdr",
        "si_sar",
        "si_sdr",
        "si_sir",
        "snr",
    ],
    "torchsep.separators": [
        "DUET",
        "FT2D",
        "HPSS",
        "ICA",
        "NMF",
        "PROJET",
        "RPCA",
        "BackgroundSeparator",
        "ClusteringSeparator",
        "DeepAudioEstimation",
        "DeepClustering",
        "DeepMaskEstimation",
        "EnsembleClustering",
        "HighLowPassFilter",
        "IdealBinaryMask",
        "IdealRatioMask",
        "Interval",
        "MaskSeparator",
        "Melodia",
        "MixAsEstimate",
        "NMFModel",
        "OverlapAdd",
        "Refine",
        "Repet",
        "RepetSim",
        "Resampled",
        "Separator",
        "SpatialClustering",
        "SupervisedNMF",
        "TimbreClustering",
        "WienerFilter",
    ],
    "torchsep.transforms": ["STFT"],
}
HEAVY = (
    "hydra",
    "librosa",
    "matplotlib",
    "omegaconf",
    "pytorch_lightning",
    "rich",
    "scipy",
    "sklearn",
    "soundfile",
    "torchaudio",
    "torchmetrics",
    "typer",
    "yaml",
)
PUBLIC = [
    (f"{module}.{name}", getattr(importlib.import_module(module), name))
    for module in (
        "torchsep.functional",
        "torchsep.losses",
        "torchsep.metrics",
        "torchsep.networks",
        "torchsep.transforms",
        "torchsep.separators",
        "torchsep",
    )
    for name in NAMES[module]
    if not inspect.ismodule(getattr(importlib.import_module(module), name))
]
CLASSES = [(name, kind) for name, kind in PUBLIC if inspect.isclass(kind) and not issubclass(kind, tuple)]
FUNCTIONS = [
    (name, function)
    for name, function in PUBLIC
    if name.startswith(("torchsep.functional", "torchsep.losses", "torchsep.metrics")) and not inspect.isclass(function)
]


def documented(text):
    """The names in the ``Args:`` section of a docstring."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n|\n)+)", inspect.cleandoc(text) + "\n", re.MULTILINE)
    return re.findall(r"^ {4}(\w+):", section.group(1), re.MULTILINE) if section else []


@pytest.mark.parametrize("module", NAMES)
def test_the_names(module):
    assert sorted(importlib.import_module(module).__all__) == sorted(NAMES[module])


def test_every_name_is_there():
    assert all(hasattr(importlib.import_module(module), name) for module, names in NAMES.items() for name in names)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", torchsep.__version__)


def test_dir_lists_the_rooms_that_are_imported_late():
    assert {"audio", "data", "engine", *NAMES["torchsep"]} <= set(dir(torchsep))
    assert torchsep.audio is importlib.import_module("torchsep.audio")
    with pytest.raises(AttributeError, match="module 'torchsep' has no attribute 'hpss'"):
        _ = torchsep.hpss


def test_the_import_is_light_and_silent():
    """In a fresh process, with every warning an error; what torch itself imports is not ours."""
    code = """
import json, sys, warnings
import numpy, torch
before = set(sys.modules)
state = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
warnings.simplefilter("error")
import torchsep
torchsep.build("hpss", sample_rate=8000)(torch.ones(1, 2, 99))
assert torch.equal(state[0], torch.get_rng_state())
assert state[1:] == (torch.get_default_dtype(), torch.get_num_threads())
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules if name not in before})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    loaded = set(json.loads(done.stdout))
    assert "torchsep" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(("name", "kind"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_everything_public_is_documented(name, kind):
    assert len(inspect.getdoc(kind) or "") > 40
    if inspect.isclass(kind):
        assert kind.__doc__  # its own, not that of its base
        methods = [value for key, value in vars(kind).items() if not key.startswith("_") and callable(value)]
        assert all(method.__doc__ for method in methods)


@pytest.mark.parametrize(("name", "kind"), CLASSES, ids=[name for name, _ in CLASSES])
def test_classes_document_every_argument(name, kind):
    inherited = kind.__init__ is torch.nn.Module.__init__
    arguments = [] if inherited else list(inspect.signature(kind.__init__).parameters)[1:]
    assert set(documented(kind.__doc__)) == set(arguments)


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_functions_document_every_argument(name, function):
    if re.search(r"(?i)(arguments|modes)\b.* as for :func:`\w+`", function.__doc__):
        return
    assert documented(function.__doc__) == list(inspect.signature(function).parameters)


@pytest.mark.parametrize(("name", "kind"), CLASSES, ids=[name for name, _ in CLASSES])
def test_separators_show_an_example_and_say_what_the_gradient_is(name, kind):
    if kind is STFT or (issubclass(kind, torchsep.Separator) and not inspect.isabstract(kind)):
        text = inspect.cleandoc(kind.__doc__)
        assert "\nShape:\n" in text
        assert "\nGradient:\n" in text
        assert "\nExample:\n    >>> " in text
