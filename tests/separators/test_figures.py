"""Figures of histograms and location maps."""

import sys

import pytest
from scenes import RATE, delayed_bursts

from torchsep.separators import DUET, PROJET

MIXTURE = delayed_bursts((-2.0, 2.0)).sum(0)


def test_histogram_of_duet():
    separator = DUET(sample_rate=RATE)
    axes, _ = separator.plot_histogram(MIXTURE).axes
    assert axes.get_xlabel() == "delay of the second channel (samples)"
    assert axes.get_ylabel() == "symmetric attenuation"
    (image,) = axes.get_images()
    assert image.get_array().shape == (50, 333)
    assert image.get_extent() == [-20, 20, -3, 3]
    assert image.get_array().max() == 1


def test_location_map_of_projet():
    separator = PROJET(num_iterations=2, max_delay_samples=4, sample_rate=RATE)
    axes, _ = separator.plot_location_map(MIXTURE).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("panning (degrees)", "source")
    (image,) = axes.get_images()
    assert image.get_array().shape == (2, 30)


def test_batches_and_a_missing_matplotlib_are_named(monkeypatch):
    separator = DUET(sample_rate=RATE)
    with pytest.raises(ValueError, match=r"^mixture must have shape \(C, T\) to be plotted, got a batch of 1$"):
        separator.plot_histogram(MIXTURE[None])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="matplotlib must be installed for plots"):
        separator.plot_histogram(MIXTURE)
