"""Arguments that would have no effect, give no numbers, or take for ever are refused at construction."""

import pytest
import torch
from contract.cases import CASES, SMALL
from networks.cases import NETWORKS
from scenes import noise

from torchsep import STFT, build
from torchsep.functional import delay_weights, normalized_mfcc, phase_histogram

PARTS = {"separators": ["hpss", "ft2d"]}
HPSS = {"name": "hpss"}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("timbre_clustering", {"n_mfcc": 1}, "n_mfcc must be at least 2, got 1"),
        ("timbre_clustering", {"n_components": 1}, "n_components must be at least 2, got 1"),
        ("nmf", {"n_components": 1}, "n_components must be at least 2, got 1"),
        (
            "ensemble_clustering",
            {**PARTS, "weights": [0.0, 0.0]},
            r"weights must include one above 0, got \[0.0, 0.0\]",
        ),
        ("ensemble_clustering", {**PARTS, "percentile": 100}, "percentile must be below 100, got 100"),
        ("duet", {"num_sources": 2, "peak_threshold": 1.0}, "peak_threshold must be below 1, got 1.0"),
        ("overlap_add", {"separator": HPSS, "window_duration": 0.001}, "window_duration must be at least 0.005"),
        (
            "overlap_add",
            {"separator": HPSS, "hop_duration": 0.001},
            "hop_duration must be at least window_duration / 32",
        ),
    ],
)
def test_useless_values_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(name, sample_rate=8000, **arguments)


def booleans():
    """The boolean arguments of all separators and networks, with the other arguments of an instance."""
    separators = {case.name: case for case in CASES}
    for module in (*(case.build() for case in separators.values()), *(make() for make in NETWORKS.values())):
        for argument, parameter in module.arguments().items():
            if isinstance(parameter.default, bool):
                yield type(module), {name: getattr(module, name) for name in module.arguments()}, argument


@pytest.mark.parametrize("value", ["no", 1, None])
def test_every_boolean_is_checked(value):
    found = list(booleans())
    assert len(found) >= 8
    for kind, arguments, argument in found:
        with pytest.raises(ValueError, match=f"{argument} must be True or False, got"):
            kind(**{**arguments, argument: value})


@pytest.mark.parametrize("n_fft", [2, 3, 4])
@pytest.mark.parametrize("name", ["nmf", "timbre_clustering"])
def test_tiny_transforms_give_numbers(name, n_fft):
    separator = build(name, sample_rate=8000, n_components=3, stft=STFT(n_fft, 1, window="rectangular"))
    mixture = noise(2, 2, 60).requires_grad_()
    estimates = separator(mixture)
    assert torch.allclose(estimates.sum(1), mixture, atol=1e-9)
    assert torch.autograd.grad(estimates.square().sum(), mixture)[0].isfinite().all()
    assert normalized_mfcc(torch.ones(3, n_fft // 2 + 1), 8000, 3).isfinite().all()


def test_a_longer_search_of_delays_takes_no_more_memory_and_gives_the_same_weights():
    cross = torch.complex(noise(2, 33, 20), noise(2, 33, 20, seed=1))
    histogram = phase_histogram(cross, noise(2, 33, 20, seed=2).square())[:, 0]
    histogram = histogram / histogram.sum((-2, -1), keepdim=True)
    delays = torch.arange(-40, 41, dtype=torch.float64) / 4
    expected = delay_weights(histogram, delays, 64)
    assert torch.allclose(delay_weights(histogram, delays, 64, resolution=4), expected, rtol=0, atol=1e-12)
    longest = build("spatial_clustering", **SMALL, max_delay=32 / 8000)(noise(2, 1000))
    assert torch.equal(build("spatial_clustering", **SMALL, max_delay=1e6)(noise(2, 1000)), longest)
