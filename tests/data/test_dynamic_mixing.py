"""Dynamic mixing of single sources."""

import math

import pytest
import torch
from audio_files import save
from torch.utils.data import DataLoader

from torchsep.data.augmentation import RandomGain, RandomSpeed
from torchsep.data.dynamic_mixing import DynamicMixing
from torchsep.engine import compose
from torchsep.engine.config import instance

RATE = 8000
HERTZ = {"ann": 300, "bob": 500, "cleo": 700, "dan": 1100}


def sine(hertz, seconds, rate=RATE, level=0.1):
    return level * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)[None]


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    """Each speaker is a distinct tone, in files of one to three seconds and different levels."""
    root = tmp_path_factory.mktemp("speakers")
    for name, hertz in HERTZ.items():
        (root / name).mkdir()
        for take in range(1, 4):
            save(root / name / f"{name}_{take}.wav", sine(hertz, take, level=0.1 * take), RATE, "FLOAT")
    return root


def mixing(root, **arguments):
    return DynamicMixing(root, **{"sample_rate": RATE, "duration": 1.0, "num_items": 8, **arguments})


def speaker_of(source):
    """Speaker of a tone; None if silent."""
    if not source.any():
        return None
    spectrum = torch.fft.rfft(source[0], n=8 * RATE).abs()
    hertz = spectrum.argmax().item() / 8
    return min(HERTZ, key=lambda name: abs(HERTZ[name] - hertz))


def decibels(source):
    return 10 * math.log10(source.double().square().mean().item())


def test_items(speakers):
    dataset = mixing(speakers)
    assert len(dataset) == 8
    assert dataset.names == dataset.names_of(3) == ("source_1", "source_2")
    item = dataset[3]
    assert item["mixture"].shape == (1, RATE)
    assert item["sources"].shape == (2, 1, RATE)
    assert item["mixture"].dtype == item["sources"].dtype == torch.float32
    assert torch.equal(item["mixture"], item["sources"].sum(0))
    assert item["sample_rate"] == RATE
    assert dataset.ids == [item["id"] for item in dataset]
    assert len(set(dataset.ids)) == 8


@pytest.mark.parametrize("num_sources", [1, 2, 3, 4])
def test_speakers_of_an_item_are_different(speakers, num_sources):
    for item in mixing(speakers, num_sources=num_sources, num_items=20):
        assert len({speaker_of(source) for source in item["sources"]}) == num_sources


def test_every_speaker_and_every_place_comes_up(speakers):
    items = list(mixing(speakers, num_items=60, duration=0.25))
    assert {speaker_of(item["sources"][0]) for item in items} == set(HERTZ)
    starts = {round(item["sources"][0, 0, 0].item(), 4) for item in items}
    assert len(starts) > 10  # phases: most files are longer than the item


def test_speakers_of_more_files_are_drawn_more_often(tmp_path):
    for name, count in (("ann", 9), ("bob", 3)):
        (tmp_path / name).mkdir()
        for take in range(count):
            save(tmp_path / name / f"{take}.wav", sine(HERTZ[name], 0.1), RATE)
    drawn = [speaker_of(item["sources"][0]) for item in mixing(tmp_path, num_sources=1, num_items=200, duration=0.1)]
    assert 0.65 < drawn.count("ann") / 200 < 0.85


def test_fewer_sources_leave_silence_at_the_end(speakers):
    counts = set()
    for item in mixing(speakers, num_sources=(1, 3), num_items=40):
        present = [speaker is not None for speaker in map(speaker_of, item["sources"])]
        assert item["sources"].shape[0] == 3
        assert present == sorted(present, reverse=True)
        counts.add(sum(present))
    assert counts == {1, 2, 3}


def test_sources_are_equally_loud_up_to_their_gain(speakers):
    for item in mixing(speakers, gain_db=(0, 0)):
        assert decibels(item["sources"][0]) == pytest.approx(-25, abs=0.05)
        assert decibels(item["sources"][1]) == pytest.approx(-25, abs=0.05)
    ratios = [
        decibels(item["sources"][0]) - decibels(item["sources"][1])
        for item in mixing(speakers, gain_db=(-3, 5), num_items=60)
    ]
    assert all(-8.1 <= ratio <= 8.1 for ratio in ratios)
    assert max(ratios) > 4
    assert min(ratios) < -4


def test_loudness_is_that_of_the_sound_and_not_of_the_silence_after_it(tmp_path):
    (tmp_path / "ann").mkdir()
    save(tmp_path / "ann" / "1.wav", sine(300, 0.5), RATE)
    source = mixing(tmp_path, num_sources=1, gain_db=(0, 0), duration=4.0)[0]["sources"][0]
    assert not source[:, RATE // 2 :].any()
    assert decibels(source[:, : RATE // 2]) == pytest.approx(-25, abs=0.05)


def test_levels_can_be_left_as_they_are(speakers):
    peaks = {round(item["sources"][0].abs().max().item(), 2) for item in mixing(speakers, gain_db=None, num_items=30)}
    assert peaks == {0.1, 0.2, 0.3}


def test_nothing_exceeds_full_scale(speakers):
    near = [item["mixture"].abs().max().item() for item in mixing(speakers, gain_db=(12, 20), num_items=30)]
    assert max(near) <= 0.9901
    assert min(near) < 0.95  # quieter mixtures are unchanged
    loud = mixing(speakers, gain_db=(30, 40))
    for item in loud:
        assert max(item["mixture"].abs().max(), item["sources"].abs().max()).item() == pytest.approx(0.99, abs=1e-4)
        assert torch.equal(item["mixture"], item["sources"].sum(0))
        gain = decibels(item["sources"][0]) - decibels(item["sources"][1])
        assert abs(gain) <= 10.1  # scaled together


def test_offset_is_silence_before_the_source(speakers):
    sources = torch.cat([item["sources"] for item in mixing(speakers, offset=(0.25, 0.75), num_items=20)])
    onsets = [source[0].abs().gt(1e-6).float().argmax().item() / RATE for source in sources]
    assert 0.25 <= min(onsets) < 0.4
    assert 0.6 < max(onsets) <= 0.7502


def test_only_the_groups_given(speakers, tmp_path):
    names = tmp_path / "test.txt"
    names.write_text("ann\ndan\n", encoding="utf-8")
    for groups in (["ann", "dan"], names):
        for item in mixing(speakers, groups=groups, num_items=6):
            assert {speaker_of(source) for source in item["sources"]} == {"ann", "dan"}


def test_speakers_by_the_name_of_the_file(speakers):
    dataset = mixing(speakers, group_pattern=r"_(\d)\.wav$")
    assert set(dataset.files) == {"1", "2", "3"}
    assert len(dataset[0]["sources"]) == 2


def test_one_of_each_class_for_music(speakers):
    dataset = mixing(speakers, num_sources=None, channels=2, groups=["dan", "ann", "cleo"])
    assert dataset.names == ("dan", "ann", "cleo")
    for item in dataset:
        assert item["sources"].shape == (3, 2, RATE)
        assert tuple(map(speaker_of, item["sources"])) == dataset.names


def test_rates_and_channels_are_made_alike(tmp_path):
    stereo = torch.cat([sine(500, 1.5, 16000), 0.5 * sine(500, 1.5, 16000)])
    for name, waveform, rate in (("ann", sine(300, 1.5), RATE), ("bob", stereo, 16000)):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "1.wav", waveform, rate, "FLOAT")
    mono = mixing(tmp_path, num_sources=None, gain_db=None)[0]["sources"]
    assert [speaker_of(source) for source in mono] == ["ann", "bob"]
    assert mono[1, 0, 100:-100].abs().max().item() == pytest.approx(0.075, rel=0.02)
    both = mixing(tmp_path, num_sources=None, gain_db=None, channels=2)[0]["sources"]
    assert torch.equal(both[0, 0], both[0, 1])
    assert torch.allclose(both[1, 0], 2 * both[1, 1], atol=1e-6)
    with pytest.raises(ValueError, match=r"1\.wav: must have 3 channels or one, got 2$"):
        _ = mixing(tmp_path, num_sources=None, channels=3)[0]


def test_items_depend_on_seed_epoch_and_index_alone(speakers):
    dataset, twin = mixing(speakers, seed=5), mixing(speakers, seed=5)
    first = dataset[2]["mixture"]
    _ = [twin[index] for index in (7, 0)]
    assert torch.equal(twin[2]["mixture"], first)
    assert not torch.equal(mixing(speakers, seed=6)[2]["mixture"], first)
    dataset.set_epoch(1)
    assert not torch.equal(dataset[2]["mixture"], first)
    assert dataset.ids[2] != twin.ids[2]
    dataset.set_epoch(0)
    assert torch.equal(dataset[2]["mixture"], first)


def test_workers_that_live_on_see_the_next_epoch(speakers):
    dataset = mixing(speakers)
    loader = DataLoader(dataset, batch_size=None, num_workers=2, persistent_workers=True)
    for epoch in (0, 3):
        dataset.set_epoch(epoch)
        for expected, item in zip(dataset, loader, strict=True):
            assert item["id"] == expected["id"]
            assert torch.equal(item["sources"], expected["sources"])


def test_global_random_state_and_default_device_do_not_matter(speakers):
    state = torch.get_rng_state()
    with torch.device("meta"):
        item = mixing(speakers)[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(item["mixture"], mixing(speakers)[0]["mixture"])


def test_sources_are_augmented_before_they_are_mixed(speakers):
    quiet = mixing(speakers, gain_db=None, augment=RandomGain(-20, -20), num_items=20)
    assert max(item["sources"].abs().max().item() for item in quiet) == pytest.approx(0.03, rel=0.01)
    normalized_magnitude = mixing(speakers, gain_db=(0, 0), augment=RandomGain(-20, -20))[0]["sources"]
    assert decibels(normalized_magnitude[0]) == pytest.approx(-25, abs=0.05)


def test_faster_sources_still_fill_the_item(tmp_path):
    (tmp_path / "ann").mkdir()
    save(tmp_path / "ann" / "1.wav", sine(300, 5), RATE)
    source = mixing(tmp_path, num_sources=1, augment=RandomSpeed([2.0]), duration=2.0)[0]["sources"][0, 0]
    assert source[-200:].abs().max() > 0.01
    slower = mixing(tmp_path, num_sources=1, augment=RandomSpeed([0.5]), duration=2.0)[0]["sources"]
    assert slower.shape == (1, 1, 2 * RATE)


def test_silent_files_stay_silent(tmp_path):
    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "1.wav", torch.zeros(1, 3000), RATE)
    assert not mixing(tmp_path)[0]["mixture"].any()


def test_a_file_of_one_sample_is_mixed(tmp_path):
    (tmp_path / "ann").mkdir()
    save(tmp_path / "ann" / "1.wav", torch.full((1, 1), 0.5), RATE)
    assert mixing(tmp_path, num_sources=1)[0]["mixture"].count_nonzero() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 5}, "^num_sources must be at most the number of groups, 4, got 5$"),
        ({"num_sources": 0}, "^num_sources must be at least 1, got 0$"),
        ({"num_sources": (2, 1)}, "^num_sources must be at least 2, got 1$"),
        ({"num_sources": (1, 2, 3)}, r"^num_sources must be a number, two numbers or None, got \(1, 2, 3\)$"),
        ({"gain_db": (3, 0)}, "^gain_db must be at least 3, got 0$"),
        ({"gain_db": (0,)}, "^gain_db must be two numbers, minimum and maximum"),
        ({"offset": (-1, 0)}, "^offset must be at least 0, got -1$"),
        ({"offset": (0, 1)}, "^offset must be below the duration of 1 s, got 1.0$"),
        ({"duration": 0}, "^duration must be at least 0.000125, got 0$"),
        ({"num_items": 0}, "^num_items must be at least 1, got 0$"),
        ({"sample_rate": 0}, "^sample_rate must be at least 1, got 0$"),
        ({"groups": ["eve"]}, "^groups must be some of the 4 found, got 'eve'"),
    ],
)
def test_bad_arguments(speakers, arguments, message):
    with pytest.raises(ValueError, match=message):
        mixing(speakers, **arguments)


def test_it_ends(speakers):
    assert len(list(mixing(speakers))) == 8
    with pytest.raises(IndexError):
        _ = mixing(speakers)[8]


def test_it_is_made_from_the_command(speakers):
    overrides = [
        "data=dynamic_mixing",
        f"data.root={speakers}",
        "data.duration=0.5",
        "data.num_items=3",
        "data.num_sources=[1,3]",
        "+data.gain_db=[-5,5]",
        "+data.groups=[ann,bob,dan]",
        "+data.augment={name: random_speed, speeds: [0.9, 1.1]}",
    ]
    dataset = instance(compose(overrides).data, "data")
    item = next(iter(DataLoader(dataset, batch_size=None, num_workers=1)))
    assert item["sources"].shape == (3, 1, RATE // 2)
    assert torch.equal(item["mixture"], dataset[0]["mixture"])
