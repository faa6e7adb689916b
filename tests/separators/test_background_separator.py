"""A separator defined by its background mask only."""

import pytest
import torch
from scenes import noise

from torchsep import BackgroundSeparator
from torchsep.transforms import STFT

FRONT = STFT(16, 4)


class Held(BackgroundSeparator):
    """Gives the background a share that is the same for all items, channels and frames."""

    def background_mask(self, spectrogram):
        self.held = torch.linspace(0, 0.8, 9, dtype=spectrogram.real.dtype)
        return self.held[:, None].expand_as(spectrogram.real)


def test_the_foreground_is_what_the_background_leaves():
    separator = Held(sample_rate=16000, stft=FRONT, high_pass_cutoff_hz=2000.0)
    mixture = noise(3, 2, 50)
    background, foreground = separator(mixture).unbind(1)
    share = torch.linspace(0, 0.8, 9, dtype=torch.float64)
    share[:2] = 1.0
    expected = FRONT.inverse(FRONT(mixture) * share[:, None], 50)
    assert torch.allclose(background, expected, atol=1e-12)
    assert torch.allclose(foreground, mixture - expected, atol=1e-12)
    assert torch.allclose(separator.masks(FRONT(mixture))[0, :, 0, :, 0], torch.stack((share, 1 - share)))
    assert torch.equal(separator.held, torch.linspace(0, 0.8, 9, dtype=torch.float64))  # what it returned is left alone


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_binary_masks_are_those_of_the_foreground(threshold):
    separator = Held(
        sample_rate=16000, stft=FRONT, high_pass_cutoff_hz=2000.0, mask_type="binary", mask_threshold=threshold
    )
    mixture = noise(1, 1, 50)
    owned = (1 - torch.linspace(0, 0.8, 9, dtype=torch.float64) <= threshold).double()
    owned[:2] = 1.0
    expected = FRONT.inverse(FRONT(mixture) * owned[:, None], 50)
    assert torch.allclose(separator(mixture)[:, 0], expected, atol=1e-12)


def test_a_negative_cutoff_is_refused():
    with pytest.raises(ValueError, match="high_pass_cutoff_hz must be at least 0, got -1"):
        Held(sample_rate=8000, high_pass_cutoff_hz=-1.0)
