"""Precision and recall of masks against scikit-learn."""

import pytest
import torch
from scenes import noise
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from torchsep.metrics import precision_recall


def test_they_are_those_of_scikit_learn():
    estimates, sources = (noise(3, 2, 5, 7, seed=seed).sigmoid() for seed in (0, 1))
    found = precision_recall(estimates, sources, threshold=0.6)
    for item in range(3):
        for source in range(2):
            true, given = ((masks[item, source] > 0.6).flatten().numpy() for masks in (sources, estimates))
            *expected, _ = precision_recall_fscore_support(true, given, average="binary")
            got = [float(values[item, source]) for values in found]
            assert got == pytest.approx([*expected, accuracy_score(true, given)], abs=1e-6)


def test_undefined_ratios_are_nan():
    none, some = torch.zeros(4, 4), torch.eye(4)
    found = precision_recall(torch.stack((none, some, none)), torch.stack((some, none, none)))
    assert found.precision.isnan().tolist() == [True, False, True]
    assert found.recall.isnan().tolist() == [False, True, True]
    assert found.accuracy.tolist() == [0.75, 0.75, 1.0]
    with pytest.raises(ValueError, match=r"^estimates must have the shape of sources, \(4, 4\), got \(3, 4\)$"):
        precision_recall(some[:3], some)
