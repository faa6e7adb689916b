"""Overlap-add: exactness, source order, and streaming."""

import math

import pytest
import torch
from scenes import noise

from torchsep import MaskSeparator, Separator
from torchsep.functional.assignment import best_permutation
from torchsep.separators import HPSS, IdealRatioMask, MixAsEstimate, Repet
from torchsep.separators.overlap_add import OverlapAdd


class Identity(Separator):
    """The mixture itself."""

    names = ("mixture",)

    def separate(self, mixture, **required):
        return mixture[:, None].clone()


class Recorder(Separator):
    """Four copies of the mixture; what it is called with is kept."""

    names = ("a", "b", "c", "d")

    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.calls = []

    def separate(self, mixture, **required):
        self.calls.append(mixture)
        return mixture[:, None].repeat(1, 4, 1, 1)


class Shuffler(Separator):
    """Tell sources apart by their sign, and return them in an order that changes with every window."""

    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.names = ("source_1", "source_2", "source_3")

    def separate(self, mixture, **required):
        sources = torch.stack((mixture.clamp(min=0.5), mixture.clamp(-0.5, 0.5), mixture.clamp(max=-0.5)), 1)
        # Each item is shuffled by its own first sample, so that consecutive windows differ.
        shift = (mixture[:, 0, 0] * 1e4).long().remainder(3)
        order = (torch.arange(3) + shift[:, None]).remainder(3)
        return sources[torch.arange(len(mixture))[:, None], order]


def in_windows(separator, length, hop=None, **options):
    """Windows and hops in samples."""
    rate = separator.sample_rate
    wrapped = OverlapAdd(separator, length / rate, hop and hop / rate, sample_rate=rate, **options)
    assert wrapped.window_length == length
    assert wrapped.hop_length == (hop or max(1, length // 2))
    return wrapped


def stream(separator, mixture, size):
    return torch.cat(list(separator.stream(mixture.split(size, -1))), -1)


@pytest.mark.parametrize(
    "hop", [pytest.param(hop, marks=[] if hop in {1, 5, 16} else pytest.mark.slow) for hop in range(1, 17)]
)
def test_what_changes_nothing_changes_nothing(hop):
    separator = in_windows(Identity(sample_rate=16), 16, hop, batch_size=1 + hop % 3)
    for length in range(1, 49):
        mixture = noise(2, 2, length).float()
        estimates = separator(mixture)
        assert (estimates[:, 0] - mixture).abs().max() <= 1e-6 * mixture.abs().max()
        if length <= 16:
            assert torch.equal(estimates[:, 0], mixture)
        for size in (1, 5, 64):
            assert torch.equal(stream(separator, mixture[0], size), separator(mixture[0]))


@pytest.mark.parametrize("window", ["bartlett", "blackman", "cosine", "hamming", "hann", "nuttall", "rectangular"])
def test_any_window_is_exact_and_the_same_from_both_ends(window):
    separator = in_windows(Identity(sample_rate=8000), 1000, 700, window=window)
    mixture = noise(1, 2, 7777)
    torch.testing.assert_close(separator(mixture)[:, 0], mixture, rtol=1e-13, atol=0)
    assert torch.allclose(separator._window, separator._window.flip(0), rtol=1e-9)
    assert separator._window.min() > 0


def test_windows_are_weighed_as_written():
    """Against the sum written out window by window, around a separator that does not add up."""

    class Index(Identity):
        def separate(self, mixture, **required):
            return torch.arange(mixture.shape[-1]).to(mixture).expand_as(mixture)[:, None].clone()

    length, window, hop = 53, 16, 6
    starts = [0, 6, 12, 18, 24, 30, 36, 37]
    total, weight = (torch.zeros(length, dtype=torch.float64) for _ in range(2))
    for start in starts:
        for place in range(window):
            value = math.sin(math.pi * (place + 0.5) / window) ** 2
            total[start + place] += value * place
            weight[start + place] += value
    estimates = in_windows(Index(sample_rate=8), window, hop)(noise(1, 1, length))
    torch.testing.assert_close(estimates[0, 0, 0], total / weight)


def test_windows_are_of_one_length_and_come_in_batches():
    recorder = Recorder(sample_rate=8)
    mixture = noise(2, 3, 53)
    in_windows(recorder, 16, 6, batch_size=3)(mixture)
    assert [call.shape for call in recorder.calls] == [(6, 3, 16), (6, 3, 16), (4, 3, 16)]
    expected = [mixture[:, :, start : start + 16] for start in (0, 6, 12, 18, 24, 30, 36, 37)]
    found = [window for call in recorder.calls for window in call.unflatten(0, (2, -1)).unbind(1)]
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("duration", [401, 402, 4000])
def test_no_longer_than_a_window_is_the_separator_itself(duration):
    separator = HPSS(sample_rate=8000)
    mixture = noise(2, 2, 401)
    wrapped = in_windows(separator, duration)
    assert torch.equal(wrapped(mixture), separator(mixture))
    assert torch.equal(stream(wrapped, mixture[0], 100), separator(mixture[0]))


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 77, 160, 5000])
@pytest.mark.parametrize("find_permutation", [False, True])
def test_a_stream_gives_what_a_call_gives(batch_size, size, find_permutation):
    options = {"batch_size": batch_size, "find_permutation": find_permutation}
    separator = in_windows(HPSS(kernel_size=5, sample_rate=8000), 160, 50, **options)
    for length in (160, 161, 210, 211, 1001):
        mixture = noise(2, length)
        torch.testing.assert_close(stream(separator, mixture, size), separator(mixture), rtol=0, atol=1e-7)


def test_a_stream_holds_a_bounded_part_of_the_mixture():
    blocks, ahead = 0, 0

    def endless():
        nonlocal blocks
        while True:
            blocks += 1
            yield noise(1, 10, seed=blocks)

    given = 0
    pieces = in_windows(Identity(sample_rate=8), 16, 8, batch_size=3).stream(endless())
    for _ in range(200):
        given += next(pieces).shape[-1]
        ahead = max(ahead, 10 * blocks - given)
    assert given > 4000
    assert ahead <= 4 * 16 + 10


def test_a_stream_keeps_no_graph_and_the_dtype():
    separator = in_windows(HPSS(sample_rate=8000, trainable=("power",)), 500)
    for dtype in (torch.float16, torch.float32, torch.float64):
        pieces = list(separator.stream(noise(2, 1300).to(dtype).split(400, -1)))
        assert {piece.dtype for piece in pieces} == {dtype}
        assert not any(piece.requires_grad for piece in pieces)
        torch.testing.assert_close(torch.cat(pieces, -1), separator(noise(2, 1300).to(dtype)).detach())


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([], "blocks must contain at least one sample, got none"),
        ([torch.zeros(5)], r"blocks must have shape \(C, t\), got \(5,\)"),
        ([torch.zeros(2, 5), torch.zeros(1, 5)], r"blocks must have shape \(2, t\), got \(1, 5\)"),
        ([torch.zeros(2, 5), torch.full((2, 5), torch.nan)], "mixture must have finite samples"),
    ],
)
def test_bad_blocks_are_refused(blocks, message):
    with pytest.raises(ValueError, match=message):
        list(in_windows(Identity(sample_rate=8), 16).stream(blocks))


def test_a_stream_has_nothing_but_the_mixture():
    with pytest.raises(ValueError, match="separator must require only the mixture in a stream, got IdealRatioMask"):
        in_windows(IdealRatioMask(sample_rate=8000), 400).stream([torch.zeros(1, 5)])


# ---------------------------------------------------------------- order


@pytest.mark.parametrize(("window", "hop"), [(400, 200), (400, 350), (400, 130)])
def test_shuffled_talkers_come_back_in_order(window, hop):
    shuffler = Shuffler(sample_rate=8000)
    mixture = noise(3, 2, 3100)
    whole = shuffler(mixture[:, :, :window])  # the order of the first window is that of all
    separator = in_windows(shuffler, window, hop, find_permutation=True, batch_size=2)
    estimates = separator(mixture)
    assert torch.allclose(estimates[..., :hop], whole[..., :hop], atol=1e-6)
    for item in range(3):
        sources = torch.stack((mixture.clamp(min=0.5), mixture.clamp(-0.5, 0.5), mixture.clamp(max=-0.5)), 1)[item]
        order = best_permutation(whole[item][None], sources[None, ..., :window])[0]
        torch.testing.assert_close(estimates[item], sources[order], rtol=0, atol=1e-6)
    without = in_windows(shuffler, window, hop)(mixture)
    assert (without - estimates).abs().max() > 0.5


def test_silence_between_keeps_the_order():
    mixture = noise(1, 1, 2000)
    mixture[..., 700:1300] = 0.0
    estimates = in_windows(MixAsEstimate(3, sample_rate=8), 200, 100, find_permutation=True)(mixture)
    torch.testing.assert_close(estimates.sum(1), mixture)


# ---------------------------------------------------------------- as a separator


def test_attributes_are_those_of_the_separator():
    inner = IdealRatioMask(sample_rate=8000)
    separator = in_windows(inner, 400)
    assert (separator.requires, separator.names, separator.channels) == (("sources",), (), None)
    assert in_windows(HPSS(margin=2.0, sample_rate=8000), 400).names == ("harmonic", "percussive", "residual")
    assert OverlapAdd.requires == ()
    assert not isinstance(separator, MaskSeparator)


def test_required_tensors_are_cut_as_the_mixture_is():
    sources = noise(2, 3, 2, 4000)
    mixture = sources.sum(1)
    separator = in_windows(IdealRatioMask(sample_rate=8000), 1500, batch_size=2)
    estimates = separator(mixture, sources=sources)
    whole = IdealRatioMask(sample_rate=8000)(mixture, sources=sources)
    torch.testing.assert_close(estimates.sum(1), mixture)
    # Frames lie elsewhere in the windows, which changes the masks little.
    assert (estimates - whole).square().mean() < 1e-2 * whole.square().mean()


def test_wrapped_in_itself():
    inner = in_windows(HPSS(kernel_size=5, sample_rate=8000), 200)
    separator = in_windows(inner, 700)
    mixture = noise(2, 2, 2500)
    torch.testing.assert_close(separator(mixture).sum(1), mixture)
    assert separator.config["separator"]["separator"]["name"] == "hpss"


def test_gradient_is_that_of_the_separator():
    separator = in_windows(HPSS(kernel_size=3, sample_rate=8000), 40, 15, find_permutation=True).double()
    mixture = noise(2, 1, 100).requires_grad_()
    assert torch.autograd.gradcheck(separator, mixture, fast_mode=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"separator": "hpss"}, "^separator must be a separator, got 'hpss'"),
        ({"sample_rate": 16000}, "^sample_rate must be the separator's 8000, got 16000"),
        ({"window_duration": 0}, "^window_duration must be above 0, got 0"),
        ({"window_duration": math.nan}, "^window_duration must be finite, got nan"),
        ({"hop_duration": 0.0}, "^hop_duration must be above 0, got 0"),
        ({"hop_duration": 15.1}, "^hop_duration must be at most 15, got 15.1"),
        ({"window": "han"}, "^window must be one of .* got 'han'; did you mean hann"),
        ({"window": "kaiser"}, "^window must be one of"),
        ({"batch_size": 0}, "^batch_size must be at least 1, got 0"),
        ({"find_permutation": "yes"}, "^find_permutation must be True or False, got 'yes'"),
        ({"find_permutation": True, "hop_duration": 15}, "^hop_duration must be less than window_duration=15.0 to"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        OverlapAdd(**{"separator": HPSS(sample_rate=8000), "sample_rate": 8000, **arguments})


def test_wrong_sources_are_refused():
    separator = in_windows(IdealRatioMask(sample_rate=8000), 100)
    with pytest.raises(ValueError, match=r"^sources must have shape"):
        separator(torch.ones(1, 300), sources=torch.ones(2, 1, 299))


def test_a_period_is_looked_for_in_every_window():
    """A loop whose tempo changes half way: REPET keeps one period for all, windows find both."""
    rate = 2000

    def loop(period, repetitions, seed):
        return noise(1, period, seed=seed).repeat(1, repetitions)

    background = torch.cat((loop(2000, 12, 1), loop(1500, 16, 2)), 1)
    voice = noise(1, background.shape[1], seed=3) * (torch.arange(background.shape[1]) % 5500 < 800)
    repet = Repet(min_period=0.5, max_period=1.2, sample_rate=rate)
    mixture = background + voice

    def distortion(separator):
        return 10 * torch.log10((separator(mixture)[0] - background).square().mean() / background.square().mean())

    assert distortion(in_windows(repet, 6 * rate)) < distortion(repet) - 1.5
