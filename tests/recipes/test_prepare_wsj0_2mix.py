"""Preparation of WSJ0-2mix from recordings and lists."""

import math
import signal
import sys

import pytest
import torch
from recipes.scripts import contents, load

from torchsep import audio
from torchsep.data import WSJ0Mix

prepare = load("wsj0_2mix")
active_power = sys.modules["speech_level"].active_power

RATE = 16000


def speech(seed, seconds, pauses=True):
    """Intermittent noise above 300 Hz at an arbitrary level."""
    generator = torch.Generator().manual_seed(seed)
    length = round(seconds * RATE)
    spectrum = torch.fft.rfft(torch.randn(length, generator=generator))
    spectrum[: round(300 * seconds)] = 0
    waveform = 0.05 * (seed + 1) * torch.fft.irfft(spectrum, length)
    if pauses:
        waveform[length // 3 : length // 2] = 0
    return waveform[None].clamp(-1, 1)


def write_wsj0(folder, speakers=2):
    """A recording for each split and speaker, and the lists of mixtures; the speakers' gains add up to zero."""
    gains = {2: ("1.2544", "-1.2544"), 3: ("0.5", "0.25", "-0.75")}[speakers]
    (folder / "lists").mkdir(parents=True)
    for number, split in enumerate(("tr", "cv", "tt")):
        words = []
        for speaker, gain in enumerate(gains):
            path = f"wsj0/si_{split}/{speaker:03d}/{speaker:03d}c{number}.wav"
            audio.write(folder / path, speech(3 * number + speaker, 2.0 + 0.5 * speaker), RATE, "PCM_16")
            words += [path, gain]
        (folder / "lists" / f"mix_{speakers}_spk_{split}.txt").write_text(" ".join(words) + "\n", encoding="utf-8")


@pytest.fixture
def wsj0(tmp_path):
    write_wsj0(tmp_path / "in")
    return tmp_path / "in"


def run(folder, output, *options):
    return prepare.main([str(folder), str(folder / "lists"), "--output", str(output), *options])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_data_set_reads_what_was_made(wsj0, tmp_path):
    assert run(wsj0, tmp_path / "made", "--rates", "8000", "16000", "--modes", "min", "max") == 0
    assert len(contents(tmp_path / "made")) == 3 * 3 * 2 * 2
    for split, own in (("train", "tr"), ("valid", "cv"), ("test", "tt")):
        for rate in (8000, 16000):
            for mode, seconds in (("min", 2.0), ("max", 2.5)):
                (item,) = WSJ0Mix(tmp_path / "made", split=split, file_rate=rate, mode=mode)
                assert item["sources"].shape == (2, 1, round(seconds * rate))
                number = ("tr", "cv", "tt").index(own)
                assert item["id"] == f"{own}/000c{number}_1.2544_001c{number}_-1.2544"


def test_mixtures_are_sums_whose_loudest_sample_is_0_9(wsj0, tmp_path):
    run(wsj0, tmp_path / "made", "--modes", "max")
    (item,) = WSJ0Mix(tmp_path / "made", split="test", mode="max")
    parts = torch.cat([item["mixture"][None], item["sources"]])
    assert parts.abs().max() == pytest.approx(0.9, abs=2**-15)
    assert torch.allclose(item["sources"].sum(0), item["mixture"], atol=2 * 2**-15)


def test_active_levels_differ_as_listed(wsj0, tmp_path):
    run(wsj0, tmp_path / "made", "--modes", "max", "--rates", "8000", "16000")
    for rate in (8000, 16000):
        (item,) = WSJ0Mix(tmp_path / "made", split="train", mode="max", file_rate=rate)
        at_8k = audio.resample(item["sources"][:, 0], rate, 8000)
        powers = [active_power(source, 8000) for source in at_8k]
        assert 10 * math.log10(powers[0] / powers[1]) == pytest.approx(2 * 1.2544, abs=0.05)


def test_three_speakers(tmp_path):
    write_wsj0(tmp_path / "in", speakers=3)
    assert run(tmp_path / "in", tmp_path / "made", "--speakers", "3") == 0
    (item,) = WSJ0Mix(tmp_path / "made", split="test", num_speakers=3)
    assert item["sources"].shape == (3, 1, 16000)


@pytest.mark.parametrize(
    ("gain", "expected"),
    [("0.764210001", "0.76421"), ("2.50000", "2.5"), ("0", "0"), ("-1.25441", "-1.2544"), ("1e-3", "0.001")],
)
def test_names_have_five_digits_of_a_gain(gain, expected):
    line = prepare.Line(("a/one.wav", "b/two.wav"), (float(gain), 1.0))
    assert line.name == f"one_{expected}_two_1"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: (folder / "lists/mix_2_spk_cv.txt").unlink(), "mix_2_spk_cv.txt: is missing"),
        (lambda folder: (folder / "lists/mix_2_spk_cv.txt").write_text("\n"), "must list mixtures, got none"),
        (lambda folder: (folder / "lists/mix_2_spk_cv.txt").write_text("a.wav 1 b.wav\n"), "line 1 must be a path and"),
        (lambda folder: (folder / "lists/mix_2_spk_cv.txt").write_text("a.wav 1 b.wav x"), "line 1 must be a path and"),
        (lambda folder: (folder / "lists/mix_2_spk_cv.txt").write_text("a.wav 1 b.wav inf"), "line 1 must be a path"),
        (
            lambda folder: (folder / "lists/mix_2_spk_tr.txt").write_text("a.wav 1 b.wav 2"),
            "2 of 6 are missing, the fi",
        ),
        (lambda folder: (folder / "wsj0/si_tt/001/001c2.wav").unlink(), "first wsj0/si_tt/001/001c2.wav"),
        (lambda folder: (folder / "wsj0/si_tt/001/001c2.wav").write_bytes(b"NIST_1A"), "001c2.wav: "),
        (
            lambda folder: audio.write(folder / "wsj0/si_tt/001/001c2.wav", torch.zeros(1, 9000), RATE),
            "001c2.wav: must hold speech, got silence",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(wsj0, tmp_path, capsys, damage, expected):
    damage(wsj0)
    assert run(wsj0, tmp_path / "made") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert names(tmp_path) == ["in"]


def test_an_output_that_exists_is_left_as_it_is(wsj0, tmp_path, capsys):
    (tmp_path / "made").mkdir()
    assert run(wsj0, tmp_path / "made") == 2
    assert "must not exist" in capsys.readouterr().err
    assert contents(tmp_path / "made") == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(wsj0, tmp_path, capsys, monkeypatch, number):
    monkeypatch.setattr(prepare, "say", lambda *_: signal.raise_signal(number))  # after the first split
    assert run(wsj0, tmp_path / "made") == 130
    assert capsys.readouterr().err == f"interrupted; {tmp_path / 'made'} was not made\n"
    assert names(tmp_path) == ["in"]


# --- the active level


def slow_active_level(waveform, rate):
    """Method B sample by sample, in dB, for waveforms unaffected by the filter."""
    decay = math.exp(-1 / (rate * 0.03))
    first = second = 0.0
    envelope = []
    for sample in [*waveform.tolist(), *[0.0] * round(0.35 * rate)]:
        first = decay * first + (1 - decay) * abs(sample)
        second = decay * second + (1 - decay) * first
        envelope.append(second)
    energy = sum(sample**2 for sample in waveform.tolist())
    before = None
    for step in range(1, 40):
        threshold = max(envelope) * 0.5**step
        count, hold = 0, -1
        for value in envelope:
            hold = round(0.2 * rate) if value >= threshold else hold - 1
            count += hold >= 0
        level, line = 10 * math.log10(energy / count), 20 * math.log10(threshold)
        if level - line >= 15.9:
            share = (before[0] - before[1] - 15.9) / (before[0] - before[1] - level + line)
            return before[0] + share * (level - before[0])
        before = level, line
    raise AssertionError


@pytest.mark.parametrize("seed", [0, 1])
def test_the_active_level_is_that_of_the_recommendation(seed):
    waveform = audio.resample(speech(seed, 1.5), RATE, 8000)[0]
    level = 10 * math.log10(active_power(waveform, 8000))
    assert level == pytest.approx(slow_active_level(waveform, 8000), abs=0.02)


def test_long_pauses_do_not_count_and_gains_do():
    waveform = audio.resample(speech(0, 3.0, pauses=False), RATE, 8000)[0]
    power = active_power(waveform, 8000)
    assert power == pytest.approx(waveform.square().mean().item(), rel=0.1)
    silence = torch.zeros(40000)
    assert active_power(torch.cat([silence, waveform, silence]), 8000) == pytest.approx(power, rel=0.05)
    assert active_power(waveform / 100, 8000) == pytest.approx(power / 1e4, rel=1e-6)


def test_what_is_below_speech_does_not_count():
    waveform = audio.resample(speech(0, 2.0), RATE, 8000)[0]
    hum = 0.05 * torch.sin(2 * math.pi * 50 * torch.arange(16000) / 8000) + 0.05
    assert active_power(waveform + hum, 8000) == pytest.approx(active_power(waveform, 8000), rel=0.02)


@pytest.mark.parametrize("samples", [1, 100, 8000])
def test_silence_has_no_active_level(samples):
    assert active_power(torch.zeros(samples), 8000) == 0.0
