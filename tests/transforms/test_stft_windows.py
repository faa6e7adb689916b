"""Windows and sizes of the STFT, and arguments that are refused."""

import copy

import pytest
import torch
from scenes import noise

from torchsep.transforms import STFT
from torchsep.transforms.stft import WINDOWS, window_values

PARAMETERS = {"a": [0.5, 0.5], "alpha": 0.6, "beta": 8.0, "std": 3.0, "tau": 4.0}


@pytest.mark.parametrize(
    ("rate", "n_fft"),
    [
        (20, 4),
        (100, 4),
        (8000, 256),
        (16000, 512),
        (22050, 1024),
        (44100, 2048),
        (48000, 2048),
        (96000, 4096),
        (192000, 8192),
    ],
)
def test_default_sizes(rate, n_fft):
    front = STFT.from_sample_rate(rate)
    assert (front.n_fft, front.hop_length, front.window) == (n_fft, n_fft // 4, "sqrt_hann")
    assert n_fft / rate >= 0.032
    assert n_fft == 4 or n_fft / 2 / rate < 0.032


@pytest.mark.parametrize("window", sorted(WINDOWS))
def test_every_window_by_name(window):
    wanted = WINDOWS[window]
    whole = window if wanted is None else (window, PARAMETERS[wanted])
    values = window_values(whole, 12)
    assert values.dtype == torch.float64
    if window == "rectangular":
        assert values.tolist() == [1.0] * 12
    else:
        arguments = {} if wanted is None else {wanted: PARAMETERS[wanted]}
        periodic = getattr(torch.signal.windows, window)(12, sym=False, dtype=torch.float64, **arguments)
        assert torch.equal(values, periodic)
    root = f"sqrt_{window}" if wanted is None else (f"sqrt_{window}", PARAMETERS[wanted])
    assert torch.allclose(window_values(root, 12).square(), values, rtol=0, atol=1e-12)
    signal = noise(50)
    for each in (whole, root):
        front = STFT(12, 2, each)
        assert torch.allclose(front.inverse(front(signal), 50), signal, rtol=0, atol=1e-10), each


def test_parameters_that_may_be_left_out():
    assert torch.equal(window_values("kaiser", 9), window_values(("kaiser", 12.0), 9))
    assert torch.equal(window_values(["general_hamming"], 9), window_values(("general_hamming", 0.54), 9))


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("han", "window must be one of .* did you mean hann"),
        ("sqrt_han", "window must be one of .* did you mean sqrt_hann"),
        (("hann", 3.0), r"window must be a name, got \('hann', 3\.0\)"),
        (("kaiser", 8.0, 1.0), "window must be a name and beta, got"),
        ("gaussian", r"window must come with its std, as \('gaussian', std\), got 'gaussian'"),
        ("exponential", "window must come with its tau"),
        ("sqrt_gaussian", "window must come with its std"),
        ("general_cosine", "window must come with its a"),
        (("gaussian", 0.0), "(?i)deviation must be positive"),
        (("sqrt_general_cosine", [0.2, 0.8]), "window must not be negative to have a square root"),
        ((3.0, 1.0), r"window must be one of .*, got 3\.0"),
        ((), "window must"),
        (3, "window must"),
        (None, "window must"),
        (("kaiser", "8"), "window must"),
        (("general_cosine", 3.0), "window must"),
    ],
)
def test_windows_refused(window, message):
    with pytest.raises(ValueError, match=message):
        STFT(16, 4, window)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_fft": 1}, "n_fft must be at least 2, got 1"),
        ({"n_fft": 16.0}, r"n_fft must be an integer, got 16\.0"),
        ({"n_fft": 16, "hop_length": 0}, "hop_length must be at least 1, got 0"),
        ({"n_fft": 16, "hop_length": 2.5}, r"hop_length must be an integer, got 2\.5"),
        ({"n_fft": 16, "win_length": 0}, "win_length must be at least 1, got 0"),
        ({"n_fft": 16, "win_length": 17}, "win_length must be at most n_fft=16, got 17"),
        ({"n_fft": 16, "hop_length": 17, "window": "rectangular"}, r"\(NOLA\), got hop_length=17"),
        ({"n_fft": 16, "hop_length": 16}, r"\(NOLA\), got hop_length=16 with window='sqrt_hann' of 16 samples"),
        ({"n_fft": 16, "hop_length": 8, "win_length": 7, "window": "hamming"}, r"\(NOLA\)"),
        ({"n_fft": 16, "hop_length": 8, "window": ("general_cosine", [0.0])}, r"\(NOLA\)"),
    ],
)
def test_sizes_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        STFT(**arguments)


def test_sample_rates_refused():
    with pytest.raises(ValueError, match="sample_rate must be above 0, got 0"):
        STFT.from_sample_rate(0)
    with pytest.raises(ValueError, match="sample_rate must be a number"):
        STFT.from_sample_rate("8000")


@pytest.mark.parametrize(("bins", "frames"), [(8, 8), (10, 8), (9, 7), (9, 9), (8, 9)])
def test_spectrograms_refused(bins, frames):
    wanted = rf"spectrogram must have \(bins, frames\) = \(9, 8\) for length=33, got \({bins}, {frames}\)"
    with pytest.raises(ValueError, match=wanted):
        STFT(16, 5).inverse(torch.zeros(2, bins, frames, dtype=torch.complex64), 33)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_waveforms_refused(shape):
    with pytest.raises(ValueError, match="waveform must have at least one sample, got shape"):
        STFT(16)(torch.zeros(shape))


def test_the_window_keeps_its_digits_when_the_module_is_cast():
    signal, plain = noise(2, 33), STFT(16, 5)
    for cast in (plain.half(), plain.double(), copy.deepcopy(plain), plain.bfloat16().float()):
        assert torch.equal(cast(signal), STFT(16, 5)(signal))
    assert not list(plain.parameters())
    assert not plain.state_dict()
