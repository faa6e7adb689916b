"""The Wiener filter on waveforms: improvement, invariants and binary masks."""

import pytest
import torch
from scenes import improvement, loop_and_voice, noise, si_sdr, tones_and_clicks

from torchsep.functional import binary_masks, ratio_masks
from torchsep.functional.spatial.wiener import multichannel_wiener_filter
from torchsep.separators import HPSS, IdealRatioMask
from torchsep.separators.wiener_filter import WienerFilter
from torchsep.transforms import STFT

FRONT = {"sample_rate": 8000, "stft": STFT(64, 16)}
PAN = torch.tensor([[1.0, 0.3], [0.4, 1.0]], dtype=torch.float64)[:, :, None]


@pytest.mark.parametrize("num_iterations", [1, 3])
def test_it_filters_spectrograms(num_iterations):
    mixture, estimates = noise(3, 2, 300), noise(3, 4, 2, 300, seed=1)
    front = STFT(64, 16)
    filtered = multichannel_wiener_filter(front(mixture), front(estimates), num_iterations)
    expected = front.inverse(filtered, 300)
    found = WienerFilter(num_iterations, **FRONT)(mixture, estimates=estimates)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scene", [tones_and_clicks, loop_and_voice])
def test_it_uses_where_sources_are(scene):
    """Panned sources are further apart after the filter than any mask of one channel takes them."""
    mono, rate = scene()
    sources = PAN * mono
    mixture = sources.sum(0)
    masked = IdealRatioMask(sample_rate=rate)(mixture, sources=sources)
    filtered = WienerFilter(sample_rate=rate)(mixture, estimates=masked)
    assert improvement(filtered, sources) > improvement(masked, sources) + 3
    blind = HPSS(sample_rate=rate)(mixture)
    if scene is tones_and_clicks:
        refined = WienerFilter(sample_rate=rate)(mixture, estimates=blind)
        assert improvement(refined, sources) > improvement(blind, sources) + 3


def test_of_one_channel_it_is_the_share_of_powers():
    mixture, estimates = noise(3, 1, 300), noise(3, 4, 1, 300, seed=1)
    front = STFT(64, 16)
    shares = ratio_masks(front(estimates).abs(), power=2.0)
    expected = front.inverse(front(mixture)[:, None], 300, shares)
    found = WienerFilter(**FRONT)(mixture, estimates=estimates)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_mono_sent_to_both_sides_is_as_mono():
    mixture, estimates = noise(3, 1, 300).float(), noise(3, 4, 1, 300, seed=1).float()
    mono = WienerFilter(**FRONT)(mixture, estimates=estimates)
    both = WienerFilter(**FRONT)(mixture.repeat(1, 2, 1), estimates=estimates.repeat(1, 1, 2, 1))
    assert torch.allclose(both, mono.expand_as(both), rtol=0, atol=1e-4)


def test_estimates_that_leave_something_out_still_add_up():
    mixture, estimates = noise(3, 2, 300), 1e-3 * noise(3, 4, 2, 300, seed=1)
    estimates[:, 2] = 0.0
    found = WienerFilter(2, **FRONT)(mixture, estimates=estimates)
    assert torch.allclose(found.sum(1), mixture, rtol=0, atol=1e-12)
    nothing = WienerFilter(**FRONT)(mixture, estimates=torch.zeros_like(estimates))
    assert torch.allclose(nothing, (mixture / 4)[:, None].expand_as(nothing), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sources", [2, 4])
def test_a_binary_mask_is_of_the_largest_filtered(sources):
    mixture, estimates = noise(3, 2, 300), noise(3, sources, 2, 300, seed=1)
    separator = WienerFilter(**FRONT, mask_type="binary")
    front = separator.stft
    filtered = multichannel_wiener_filter(front(mixture), front(estimates))
    owner = filtered.abs().argmax(1, keepdim=True)
    masks = (owner == torch.arange(sources).view(1, -1, 1, 1, 1)).double()
    expected = front.inverse(front(mixture)[:, None], 300, masks)
    assert torch.allclose(separator(mixture, estimates=estimates), expected, rtol=0, atol=1e-12)


def test_the_gradient_of_binary_masks_is_straight_through():
    mixture, estimates = (noise(2, 2, 90), noise(2, 3, 2, 90, seed=1))
    separator = WienerFilter(**FRONT, mask_type="binary")
    weights = noise(2, 3, 2, 90, seed=2)

    def gradients(separate):
        leaves = mixture.clone().requires_grad_(), estimates.clone().requires_grad_()
        return torch.autograd.grad((separate(*leaves) * weights).sum(), leaves)

    def by_parts(mixture, estimates):
        spectrogram = separator.stft(mixture)
        soft = separator.masks(spectrogram, estimates)
        held = separator.stft.inverse(spectrogram[:, None], 90, binary_masks(soft.detach()))
        return held + separator.stft.inverse(spectrogram[:, None].detach(), 90, soft)

    found = gradients(lambda mixture, estimates: separator(mixture, estimates=estimates))
    for gradient, expected in zip(found, gradients(by_parts), strict=True):
        assert (expected != 0).any()
        assert torch.allclose(gradient, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("num_iterations", [1, 3])
def test_gradients_are_those_of_finite_differences(num_iterations):
    separator = WienerFilter(num_iterations, sample_rate=8000, stft=STFT(8, 3, "hamming"))
    inputs = noise(2, 2, 11).requires_grad_(), noise(2, 2, 2, 11, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: separator(x, estimates=y), inputs)


def test_it_can_be_trained_through():
    sources, rate = tones_and_clicks()
    sources = (PAN * sources).float()[..., :8000]
    mixture = sources.sum(0)
    separator = WienerFilter(sample_rate=rate)
    level = torch.zeros(2, 129, 1, requires_grad=True)
    optimizer = torch.optim.Adam([level], lr=0.3)
    scores = []
    for _ in range(8):
        masks = level.softmax(0)[:, None].expand(2, 2, -1, -1)
        estimates = separator.stft.inverse(separator.stft(mixture)[None], mixture.shape[-1], masks)
        loss = -si_sdr(separator(mixture, estimates=estimates), sources).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scores.append(-loss.item())
    assert scores[-1] > scores[0] + 3


def test_sources_come_back_in_the_order_given():
    mixture, estimates = noise(2, 300), noise(4, 2, 300, seed=1)
    separator = WienerFilter(2, **FRONT)
    forward, backward = (separator(mixture, estimates=given) for given in (estimates, estimates.flip(0)))
    assert torch.allclose(forward, backward.flip(0), rtol=0, atol=1e-12)
    assert separator.names == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_iterations": 0}, "num_iterations must be at least 1, got 0"),
        ({"num_iterations": 1.5}, r"num_iterations must be an integer, got 1\.5"),
        ({"mask_type": "hard"}, "mask_type must be one of soft, binary, got 'hard'"),
        ({"stft": 512}, "stft must be an STFT or None, got 512"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WienerFilter(sample_rate=8000, **arguments)
