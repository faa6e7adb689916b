"""Filter banks against explicit sums, the Fourier transform, and their inverse."""

import copy

import numpy as np
import pytest
import torch
from networks.dependence import dependence
from scenes import noise

from torchsep.networks.filter_banks import FilterBank, LearnedFilterBank, STFTFilterBank

SIZES = [(1, 1), (2, 1), (5, 2), (6, 6), (7, 3), (8, 2), (8, 4), (9, 4), (16, 5)]
LENGTHS = (1, 2, 3, 7, 16, 33)


class RoundTrip(torch.nn.Module):
    def __init__(self, bank):
        super().__init__()
        self.bank = bank

    def forward(self, waveform):
        return self.bank.decode(self.bank.encode(waveform), waveform.shape[-1])


def encoded(kernels, signal, stride):
    """Every coefficient by itself: frames from the first that reaches the signal to the last."""
    filters, size = kernels.shape
    starts = [start for start in range(stride - size, len(signal), stride) if start + size > 0]
    result = np.zeros((filters, len(starts)))
    for frame, start in enumerate(starts):
        for place in range(size):
            if 0 <= start + place < len(signal):
                result[:, frame] += kernels[:, place] * signal[start + place]
    return result


def decoded(kernels, coefficients, stride, length):
    size = kernels.shape[1]
    result = np.zeros(length)
    for frame in range(coefficients.shape[1]):
        for place in range(size):
            sample = stride - size + frame * stride + place
            if 0 <= sample < length:
                result[sample] += kernels[:, place] @ coefficients[:, frame]
    return result


@pytest.mark.parametrize(("kernel_size", "stride"), SIZES)
def test_learned_filters_are_the_sums_they_are_said_to_be(kernel_size, stride):
    bank = LearnedFilterBank(4, kernel_size, stride, activation="none").double()
    analysis, synthesis = (kernel.detach().numpy() for kernel in bank.kernels())
    for length in LENGTHS:
        signal = noise(length)
        coefficients = bank.encode(signal)
        expected = encoded(analysis, signal.numpy(), stride)
        np.testing.assert_allclose(coefficients.detach().numpy(), expected, atol=1e-12)
        assert coefficients.shape == (4, bank.num_frames(length))
        waveform = bank.decode(coefficients, length).detach().numpy()
        np.testing.assert_allclose(waveform, decoded(synthesis, expected, stride, length), atol=1e-12)


def test_rectified_coefficients():
    bank = LearnedFilterBank(4, 6)
    linear = LearnedFilterBank(4, 6, activation="none")
    linear.load_state_dict(bank.state_dict())
    signal = noise(50).float()
    assert bank.encode(signal).equal(linear.encode(signal).clamp(min=0))
    assert (linear.encode(signal) < 0).any()


def test_learned_filters_begin_at_the_level_of_the_waveform():
    bank = LearnedFilterBank(512, 16, activation="none")
    signal = noise(4, 8000).float()
    coefficients = bank.encode(signal)
    assert coefficients.square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
    independent = noise(*coefficients.shape, seed=1).float()
    assert bank.decode(independent, 8000).square().mean().sqrt().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("kernel_size", "stride", "window"),
    [
        (kernel_size, stride, window)
        for kernel_size, stride in SIZES
        for window in ("sqrt_hann", "hann", "hamming", "rectangular")
        if stride < kernel_size or "hann" not in window  # which does not overlap then
    ],
)
def test_the_inverse_of_fourier_filters_is_exact(kernel_size, stride, window):
    bank = STFTFilterBank(kernel_size, stride, window)
    for length in LENGTHS:
        single = noise(2, 3, length).float()
        assert (bank.decode(bank.encode(single), length) - single).abs().max() < 2e-6
    double = bank.double()
    for length in LENGTHS:
        signal = noise(2, 3, length)
        assert (double.decode(double.encode(signal), length) - signal).abs().max() < 1e-13


@pytest.mark.parametrize(("kernel_size", "stride"), [(8, 2), (8, 4), (9, 3)])
def test_fourier_filters_are_those_of_the_fourier_transform(kernel_size, stride):
    bank = STFTFilterBank(kernel_size, stride).double()
    signal = noise(31)
    padded = np.pad(signal.numpy(), (kernel_size - stride, kernel_size))
    count = bank.num_frames(31)
    frames = np.stack([padded[stride * frame : stride * frame + kernel_size] for frame in range(count)], 1)
    window = np.sin(np.pi * np.arange(kernel_size) / kernel_size)[:, None]
    spectrum = np.fft.rfft(frames * window, axis=0, norm="ortho")
    scale = np.full(len(spectrum), 2**0.5) / (kernel_size / stride / 2) ** 0.5  # each bin stands for two
    scale[0] /= 2**0.5
    if kernel_size % 2 == 0:
        scale[-1] /= 2**0.5
    spectrum *= scale[:, None]
    expected = np.concatenate((spectrum.real, spectrum.imag[1 : (kernel_size + 1) // 2]))
    np.testing.assert_allclose(bank.encode(signal).numpy(), expected, atol=1e-12)
    assert bank.encode(signal).square().sum().item() == pytest.approx(signal.square().sum().item())


def test_fixed_filters_are_no_weights_and_survive_half_precision():
    bank = STFTFilterBank(32)
    assert not list(bank.parameters())
    assert not bank.state_dict()
    signal = noise(100)
    expected = STFTFilterBank(32).double().encode(signal)
    assert bank.half().encode(signal.half()).dtype == torch.float16
    for again in (bank.double(), copy.deepcopy(bank).bfloat16().double()):
        assert again.encode(signal).equal(expected)
        assert (again.decode(expected, 100) - signal).abs().max() < 1e-13


def test_trainable_filters_are_weights_that_begin_as_fourier_s():
    bank, fixed = STFTFilterBank(8, trainable=True), STFTFilterBank(8)
    signal = noise(30).float()
    assert bank.encode(signal).equal(fixed.encode(signal))
    assert {name for name, _ in bank.named_parameters()} == {"analysis", "synthesis"}
    with torch.no_grad():
        bank.analysis.mul_(2)
    cast = copy.deepcopy(bank).double().float()  # learned ones are not made anew
    assert cast.encode(signal).equal(2 * fixed.encode(signal))
    assert STFTFilterBank(8).encode(signal).equal(fixed.encode(signal))


@pytest.mark.parametrize(("kernel_size", "stride"), SIZES)
def test_receptive_field_and_latency_agree_with_the_gradient(kernel_size, stride):
    bank = LearnedFilterBank(3, kernel_size, stride, activation="none").double()
    middle = range(50, 50 + stride)
    rows = dependence(RoundTrip(bank), noise(1, 100), middle)
    spans = [row.nonzero().flatten() for row in rows]
    assert max(int(span[-1]) - position for position, span in zip(middle, spans, strict=True)) == bank.latency
    assert max(int(span[-1] - span[0]) + 1 for span in spans) == bank.receptive_field


@pytest.mark.parametrize("make", [lambda: LearnedFilterBank(3, 5, 2), lambda: STFTFilterBank(6, trainable=True)])
def test_gradients(make):
    bank = make().double()
    length = 11
    coefficients = noise(2, bank.num_filters, bank.num_frames(length), seed=1).requires_grad_()
    signal = noise(2, length).requires_grad_()
    torch.autograd.gradcheck(lambda signal, _: bank.encode(signal), (signal, bank.kernels()[0]))
    torch.autograd.gradcheck(lambda values, _: bank.decode(values, length), (coefficients, bank.kernels()[1]))


def test_leading_axes_and_layouts():
    bank = LearnedFilterBank(5, 4)
    signal = noise(3, 2, 21).float()
    expected = bank.encode(signal)
    assert expected.shape == (3, 2, 5, bank.num_frames(21))
    assert bank.encode(signal[1, 0]).allclose(expected[1, 0], atol=1e-6)
    strided = signal.transpose(0, 2).contiguous().transpose(0, 2)
    assert bank.encode(strided).allclose(expected, atol=1e-6)
    waveform = bank.decode(expected, 21)
    assert waveform.shape == (3, 2, 21)
    assert bank.decode(expected.mT.contiguous().mT, 21).allclose(waveform, atol=1e-6)
    assert bank.decode(expected[2, 1], 21).allclose(waveform[2, 1], atol=1e-6)


def test_compiles_whole():
    for bank in (LearnedFilterBank(5, 4), STFTFilterBank(8)):
        network = RoundTrip(bank)
        compiled = torch.compile(network, fullgraph=True, backend="eager")
        signal = noise(2, 30).float()
        assert compiled(signal).allclose(network(signal), atol=1e-6)


def test_one_of_your_own():
    class Samples(FilterBank):
        """Leaves samples as they are."""

        def __init__(self):
            super().__init__(num_filters=2, kernel_size=2, stride=2)

        def kernels(self):
            return torch.eye(2), torch.eye(2)

    bank = Samples()
    assert bank.encode(torch.arange(4.0)).tolist() == [[0, 2], [1, 3]]
    assert bank.decode(torch.tensor([[0.0, 2], [1, 3]]), 3).tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="abstract"):
        FilterBank(2, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearnedFilterBank(0), "num_filters must be at least 1, got 0"),
        (lambda: LearnedFilterBank(4, 2.5), "kernel_size must be an integer, got 2.5"),
        (lambda: LearnedFilterBank(4, 8, 9), "stride must be at most kernel_size=8, got 9"),
        (lambda: LearnedFilterBank(4, 8, 0), "stride must be at least 1, got 0"),
        (lambda: LearnedFilterBank(activation="tanh"), "activation must be one of relu, none, got 'tanh'"),
        (lambda: STFTFilterBank(8, window="han"), "window must be one of .*, got 'han'; did you mean hann"),
        (lambda: STFTFilterBank(8, 8), r"stride must let the squared windows overlap everywhere \(NOLA\), got 8"),
        (
            lambda: LearnedFilterBank(4, 8).decode(torch.zeros(4, 3), 20),
            r"coefficients must have \(filters, frames\) = \(4, 6\) for length=20, got \(4, 3\)",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
