"""The STFT: exact inverse, known frames, and errors."""

import itertools
import math

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import noise

from torchsep.functional._chunks import BlockSize
from torchsep.transforms import STFT, stft

LENGTHS = (1, 2, 3, 4, 7, 15, 16, 17, 31, 63, 64, 101)


FRONT_ENDS = [
    {"n_fft": 2, "hop_length": 1, "window": "rectangular"},
    {"n_fft": 2, "hop_length": 1, "window": "hann"},
    {"n_fft": 2, "hop_length": 2, "window": "rectangular"},
    {"n_fft": 3, "hop_length": 1},
    {"n_fft": 5, "window": "hann"},
    {"n_fft": 7, "hop_length": 2, "window": "hamming"},
    {"n_fft": 15, "hop_length": 4},
    {"n_fft": 16},
    {"n_fft": 16, "hop_length": 8},
    {"n_fft": 16, "hop_length": 5, "window": "hamming"},
    {"n_fft": 16, "hop_length": 16, "window": "rectangular"},
    {"n_fft": 17, "hop_length": 17, "window": "rectangular"},
    {"n_fft": 31, "hop_length": 6, "window": "sqrt_hann", "win_length": 20},
    {"n_fft": 32, "hop_length": 3, "window": "blackman", "win_length": 21},
    {"n_fft": 64, "hop_length": 16, "window": ("kaiser", 8.0)},
    {"n_fft": 64, "hop_length": 16, "window": ("general_cosine", [0.54, 0.46])},
    {"n_fft": 256},
]


@pytest.mark.parametrize("arguments", FRONT_ENDS, ids=lambda arguments: "-".join(map(str, arguments.values())))
def test_inverse_is_exact(arguments):
    front = STFT(**arguments)
    for length in LENGTHS:
        signal = noise(3, length)
        spectrogram = front(signal)
        assert spectrogram.shape == (3, arguments["n_fft"] // 2 + 1, 1 + math.ceil(length / front.hop_length))
        assert spectrogram.shape[-2:] == (front.num_bins, front.num_frames(length))
        assert (front.inverse(spectrogram, length) - signal).abs().max() < 1e-10, length
        single = signal.float()
        assert (front.inverse(front(single), length) - single).abs().max() < 1e-5, length


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_inverse_is_exact_for_any_size(data):
    n_fft = data.draw(st.integers(4, 70))
    hop_length = data.draw(st.integers(1, n_fft // 2))
    length = data.draw(st.integers(1, 150))
    front = STFT(n_fft, hop_length, window=data.draw(st.sampled_from(["sqrt_hann", "hamming", "cosine"])))
    signal = noise(length, seed=length)
    assert (front.inverse(front(signal), length) - signal).abs().max() < 1e-10


@pytest.mark.parametrize("leading", [(), (2,), (4, 2), (4, 3, 2)])
def test_leading_axes_are_free(leading):
    front = STFT(16, 5)
    signal = noise(*leading, 33)
    spectrogram = front(signal)
    assert spectrogram.shape == (*leading, 9, 8)
    back = front.inverse(spectrogram, 33)
    assert back.shape == signal.shape
    assert torch.allclose(back, signal, rtol=0, atol=1e-12)
    last = (-1,) * len(leading)
    assert torch.equal(front(signal[last]), spectrogram[last])


def test_default_hop_is_a_quarter():
    assert [STFT(n_fft).hop_length for n_fft in (2, 3, 4, 9, 2048)] == [1, 1, 1, 2, 512]
    assert STFT(64).win_length == 64
    assert STFT(64).window == "sqrt_hann"


def test_frequencies():
    assert STFT(8).frequencies(8000).tolist() == [0.0, 1000.0, 2000.0, 3000.0, 4000.0]
    assert STFT(5).frequencies(8000).tolist() == [0.0, 1600.0, 3200.0]


def test_a_frame_is_the_sum_in_the_docstring():
    signal, n_fft, hop = noise(29), 12, 5
    spectrogram = STFT(n_fft, hop, "hann")(signal)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    for frame, frequency in itertools.product(range(7), range(7)):
        expected = 0.0
        for t in range(n_fft):
            sample = frame * hop + t - n_fft // 2
            if 0 <= sample < 29:
                expected += window[t] * signal[sample].item() * np.exp(-2j * np.pi * frequency * t / n_fft)
        assert abs(spectrogram[frequency, frame].item() - expected) < 1e-12


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (64, 24), (256, 64)])
def test_frames_are_those_of_torch_and_librosa(n_fft, hop):
    signal = noise(2, 1001)
    ours = STFT(n_fft, hop, window="hann")(signal)
    window = torch.hann_window(n_fft, dtype=torch.float64)
    theirs = torch.stft(signal, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True)
    assert ours.shape[-1] - theirs.shape[-1] in {0, 1}
    assert torch.allclose(ours[..., : theirs.shape[-1]], theirs, rtol=0, atol=1e-10)
    theirs = librosa.stft(signal.numpy(), n_fft=n_fft, hop_length=hop, window="hann", center=True, pad_mode="constant")
    assert np.abs(ours[..., : theirs.shape[-1]].numpy() - theirs).max() < 1e-10
    single = STFT(n_fft, hop, window="hann")(signal.float())
    assert np.abs(single[..., : theirs.shape[-1]].numpy() - theirs).max() < 1e-5 * np.abs(theirs).max()


def test_a_short_window_is_centred():
    signal = noise(300)
    ours = STFT(64, 16, window="hann", win_length=40)(signal)
    theirs = librosa.stft(signal.numpy(), n_fft=64, hop_length=16, win_length=40, window="hann", pad_mode="constant")
    assert np.abs(ours[..., : theirs.shape[-1]].numpy() - theirs).max() < 1e-10


def test_linearity():
    front, first, second = STFT(32, 7, "hamming"), noise(2, 99), noise(2, 99, seed=1)
    assert torch.allclose(front(2 * first - second), 2 * front(first) - front(second), rtol=0, atol=1e-12)
    one, other = noise(2, 17, 16) + 1j * noise(2, 17, 16, seed=1), noise(2, 17, 16) * 1j
    summed = front.inverse(2 * one - other, 99)
    assert torch.allclose(summed, 2 * front.inverse(one, 99) - front.inverse(other, 99), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_fft", [32, 33])
def test_energy_is_kept(n_fft):
    """Parseval: with the default window each sample lies under frames whose squared windows add up to two."""
    hop = 8 if n_fft == 32 else 11
    signal = torch.nn.functional.pad(noise(200), (40, 40))
    power = STFT(n_fft, hop)(signal).abs().square()
    whole = power[0].sum() + 2 * power[1:].sum() - (power[-1].sum() if n_fft % 2 == 0 else 0)
    assert whole.item() == pytest.approx(n_fft * signal.square().sum().item() * n_fft / hop / 2, rel=1e-10)


def test_inverse_is_the_least_squares_signal():
    """No other signal's spectrogram is nearer to one that belongs to none."""
    front = STFT(16, 5, "hamming")
    target = noise(9, 9) + 1j * noise(9, 9, seed=1)
    target[0], target[-1] = target[0].real + 0j, target[-1].real + 0j
    weight = torch.ones(9, 1, dtype=torch.float64).index_fill(0, torch.arange(1, 8), 2.0)
    signal = front.inverse(target, 40).requires_grad_()
    (weight * (front(signal) - target).abs().square()).sum().backward()
    assert signal.grad.abs().max() < 1e-10


MASK_SHAPES = [(4, 3, 2, 9, 8), (4, 3, 1, 9, 8), (9, 8), (3, 1, 1, 8), (9, 1), (1, 1), (4, 1, 1, 9, 1)]


@pytest.mark.parametrize("together", [1, 16 * 24, 16 * 24 * 3, 1 << 20])
@pytest.mark.parametrize("shape", MASK_SHAPES, ids=str)
def test_masks_are_factors(shape, together, monkeypatch):
    monkeypatch.setattr(stft, "_SAMPLES_TOGETHER", BlockSize(together, together))
    front, masks = STFT(16, 5), noise(*shape).abs()
    spectrogram = front(noise(4, 1, 2, 33))
    expected = front.inverse((spectrogram * masks).detach().requires_grad_(), 33)  # recorded, so in one piece
    assert torch.allclose(front.inverse(spectrogram, 33, masks), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("together", [1, 40, 400, 4000])
def test_groups_of_frames_change_nothing(together, monkeypatch):
    for front in (STFT(16, 5), STFT(15, 15, "rectangular"), STFT(8, 1)):
        spectrogram = front(noise(3, 2, 50)) * (1 + noise(3, 1, 1, 1).abs())
        whole = front.inverse(spectrogram, 50)
        with monkeypatch.context() as patch:
            patch.setattr(stft, "_SAMPLES_TOGETHER", BlockSize(together, together))
            assert torch.allclose(front.inverse(spectrogram, 50), whole, rtol=0, atol=1e-13)


def test_spectrogram_is_not_modified():
    front, masks = STFT(16, 5), torch.full((9, 8), 0.5, dtype=torch.float64)
    spectrogram = front(noise(2, 33))
    before = spectrogram.clone()
    front.inverse(spectrogram, 33, masks)
    front.inverse(spectrogram, 33)
    assert torch.equal(spectrogram, before)
    assert torch.equal(masks, torch.full_like(masks, 0.5))


@pytest.mark.parametrize(("n_fft", "hop"), [(8, 3), (7, 2)])
def test_gradients_are_those_of_finite_differences(n_fft, hop):
    front = STFT(n_fft, hop, "hamming")
    waveform = noise(2, 11).requires_grad_()
    assert torch.autograd.gradcheck(front, waveform)
    spectrogram = front(waveform).detach()
    masks = noise(3, 1, *spectrogram.shape[-2:]).abs().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, m: front.inverse(s, 11, m), (spectrogram.requires_grad_(), masks))
    assert torch.autograd.gradcheck(lambda x: front.inverse(front(x).abs() + 0j, 11), waveform)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    signal = noise(2, 33).to(dtype)
    spectrogram = STFT(16, 5)(signal)
    assert spectrogram.dtype == torch.complex64
    assert torch.equal(spectrogram, STFT(16, 5)(signal.float()))


def test_compiled_equals_eager():
    front, signal = STFT(16, 5), noise(2, 33)
    compiled = torch.compile(lambda x: front.inverse(front(x), 33), fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(signal), signal, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("cutoff", "count"), [(0.0, 0), (62.0, 0), (63.0, 1), (187.0, 1), (188.0, 2), (4000.0, 32)])
def test_bins_below_a_frequency(cutoff, count):
    below = STFT(64, 16).bins_below(cutoff, 8000)  # bins of 125 Hz
    assert below.tolist() == [True] * count + [False] * (33 - count)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64, torch.bool, torch.complex64])
def test_waveforms_that_are_not_floating_point_are_refused(dtype):
    with pytest.raises(ValueError, match=rf"waveform must be floating point, got {dtype}"):
        STFT(64)((1000 * noise(1, 500)).to(dtype))


def test_spectrograms_that_are_not_complex_are_refused():
    with pytest.raises(ValueError, match=r"spectrogram must be complex, got torch.float32"):
        STFT(64).inverse(torch.ones(1, 33, 33), 500)
