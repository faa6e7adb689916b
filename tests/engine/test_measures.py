"""The metrics of an evaluation, and the assignment of estimates to sources."""

import importlib.util
import math

import pytest
import torch
from scenes import noise

from torchsep import metrics
from torchsep.engine.evaluate.measures import MEASURES, MixtureScores, check_measures, matching, measure

SOURCES = noise(3, 2, 4000).float()


def scores_of(names, estimates, sources, sample_rate):
    baseline = MixtureScores().of("item", names, sources, sources.sum(0), sample_rate)
    return measure(names, estimates, sources, baseline, sample_rate)


def test_equal_names_are_matched():
    estimates = SOURCES[[2, 0, 1]]
    names = ("a", "b", "c")
    assert matching(estimates, SOURCES, ("c", "a", "b"), names) == [1, 2, 0]
    assert matching(estimates, SOURCES, ("b", "a", "c"), names) == [1, 0, 2]  # though other estimates are closer
    assert matching(estimates, SOURCES, ("b", "a", "c"), names, "best") == [1, 2, 0]
    assert matching(estimates, SOURCES, ("x", "y", "z"), names) == [1, 2, 0]
    with pytest.raises(ValueError, match=r"match must be best where the separator does not name c, but a, b, d"):
        matching(estimates, SOURCES, ("a", "b", "d"), names, "names")


def test_more_or_fewer_estimates_than_sources():
    for match in ("auto", "best", "names"):
        with pytest.raises(
            ValueError, match=r"^2 estimates \(x, y\) for 3 sources \(a, b, c\); group the sources, as in"
        ):
            matching(SOURCES[[2, 0]], SOURCES, ("x", "y"), ("a", "b", "c"), match)
    assert matching(SOURCES[[2, 0, 1]], SOURCES[:2], ("x", "y", "z"), ("a", "b")) == [1, 2]
    silent = torch.cat((SOURCES[:1], torch.zeros(1, 2, 4000)))
    assert matching(SOURCES[[1, 0]], silent, (), ("a", "b")) == [1, 0]
    assert sorted(matching(0 * SOURCES, SOURCES, (), ("a", "b", "c"))) == [0, 1, 2]


def test_all_metrics_give_a_value_for_each_source():
    mixture = SOURCES.sum(0)
    estimates = SOURCES + 0.1 * SOURCES.roll(1, 0) + 0.01 * noise(3, 2, 4000, seed=3).float()
    names = tuple(name for name in MEASURES if name not in {"pesq", "stoi"})
    scores = scores_of(names, estimates, SOURCES, 1000)
    expected = metrics.si_sdr(estimates, SOURCES).mean(-1)
    before = metrics.si_sdr(mixture.expand_as(SOURCES), SOURCES).mean(-1)
    for number, score in enumerate(scores):
        assert score["si_sdr"] == pytest.approx(expected[number].item())
        assert score["si_sdr_improvement"] == pytest.approx((expected - before)[number].item(), abs=1e-5)
        assert set(score) >= {"sdr", "isr", "sir", "sar", "images_sdr", "sources_sar", "sa_sdr", "sd_sdr", "si_sir"}
        assert all(math.isfinite(value) for value in score.values())
        assert 18 < score["snr"] < 22


def test_a_silent_source_is_nan():
    silent = SOURCES.clone()
    silent[1] = 0.0
    names = ("si_sdr", "bss_eval_v4")
    scores = scores_of(names, SOURCES, silent, 1000)
    assert math.isnan(scores[1]["si_sdr"])
    assert scores[0]["si_sdr"] > 60
    assert math.isnan(scores[0]["sdr"])  # by definition: a frame with a silent source is not defined


@pytest.mark.parametrize(("name", "package"), [("pesq", "pesq"), ("stoi", "pystoi")])
def test_speech_metrics_need_their_extra(monkeypatch, name, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == package else find(wanted))
    with pytest.raises(ValueError, match=rf"needs the package {package}: pip install 'torchsep\[speech\]'"):
        check_measures((name,))


def test_stoi_of_modulated_noise():
    pytest.importorskip("pystoi")
    envelope = (0.5 + 0.5 * torch.sin(torch.arange(16000) / 300)) ** 2
    sources = noise(2, 1, 16000).float() * envelope
    estimates = sources + 0.3 * noise(2, 1, 16000, seed=5).float()
    check_measures(("stoi",))
    scores = scores_of(("stoi",), estimates, sources, 16000)
    assert all(0.3 < score["stoi"] < 1.0 for score in scores)
    assert all("stoi_improvement" in score for score in scores)


def test_numbered_names_are_not_matched_by_name():
    sources = SOURCES[:2]
    names = ("source_1", "source_2")
    assert matching(sources.flip(0), sources, names, names) == [1, 0]
    assert matching(sources.flip(0), sources, names, names, "names") == [0, 1]
    named = ("left", "right")
    assert matching(sources.flip(0), sources, named, named) == [0, 1]


def test_mixture_scores_are_computed_once(monkeypatch):
    calls = []
    known = MEASURES["si_sdr"]
    counted = known._replace(compute=lambda *arguments: calls.append(1) or known.compute(*arguments))
    monkeypatch.setitem(MEASURES, "si_sdr", counted)
    shared = MixtureScores()
    first = shared.of("item", ("si_sdr",), SOURCES, SOURCES.sum(0), 1000)
    assert shared.of("item", ("si_sdr",), SOURCES, SOURCES.sum(0), 1000) == first
    assert len(calls) == 1
    shared.of("other item", ("si_sdr",), SOURCES, SOURCES.sum(0), 1000)
    assert len(calls) == 2
