"""The type of masks, set after construction."""

import pytest
import torch
from contract.cases import CASES
from scenes import noise

from torchsep import build
from torchsep.functional import binary_masks

NAMES = sorted({case.name for case in CASES if hasattr(case.build(), "mask_type")})


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_mask_type_is_refused_where_it_is_set(name):
    separator = next(case for case in CASES if case.name == name).build()
    before = separator.mask_type
    for wrong in ("hard", None, "Binary"):
        with pytest.raises(ValueError, match=f"mask_type must be one of soft, binary, got {wrong!r}"):
            separator.mask_type = wrong
    assert separator.mask_type == before == separator.config["mask_type"]


def test_masks_follow_the_type_that_was_set():
    separator = build("hpss", sample_rate=8000)
    spectrogram = separator.stft(noise(1, 1, 2000))
    soft = separator.final_masks(spectrogram)
    separator.mask_type = "binary"
    assert torch.equal(separator.final_masks(spectrogram), binary_masks(soft, 0.5))
    assert build(separator.config).mask_type == "binary"
