"""Levels of recordings, and of excerpts with pauses."""

import pytest
import torch
from scenes import noise

from torchsep import audio
from torchsep.data import DynamicMixing
from torchsep.data.levels import active_level


def written(path, waveform, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write(path, waveform.float(), rate, "FLOAT")
    return path


@pytest.mark.parametrize("seconds", [0.02, 1.0, 40.0])
def test_active_level_ignores_pauses(tmp_path, seconds):
    sound = 0.2 * noise(2, int(seconds * 8000))
    loud = active_level(written(tmp_path / "loud.wav", sound))
    assert loud == pytest.approx(0.2, rel=0.1)
    paused = torch.stack((sound, 1e-5 * sound), 1).flatten(1) if seconds < 1 else torch.cat((sound, 1e-4 * sound), 1)
    assert active_level(written(tmp_path / "paused.wav", paused)) == pytest.approx(
        loud, rel=0.35 if seconds < 1 else 0.1
    )
    assert active_level(written(tmp_path / "silent.wav", 0 * sound)) == 0.0


def test_pauses_stay_quiet_and_the_rest_is_as_loud_as_before(tmp_path):
    for speaker in "ab":
        sound = 0.1 * noise(1, 48000, seed=ord(speaker))
        sound[:, :24000] *= 1e-4
        written(tmp_path / speaker / "0.wav", sound)
    loud, raw = (
        DynamicMixing(tmp_path, 8000, 1.0, 2, num_items=40, gain_db=gain, seed=1) for gain in ((0.0, 0.0), None)
    )
    gains, levels = [], []
    for number in range(40):
        mixed, recorded = (items[number]["sources"].square().mean((1, 2)).sqrt() for items in (loud, raw))
        gains += (20 * torch.log10(mixed / recorded)).tolist()
        levels += recorded.tolist()
    ordinary = [gain for gain, level in zip(gains, levels, strict=True) if level > 0.095]
    assert len(ordinary) > 20
    assert max(ordinary) - min(ordinary) < 0.5
    pauses = [gain for gain, level in zip(gains, levels, strict=True) if level < 3e-4]
    assert len(pauses) > 5
    assert max(pauses) < min(ordinary) + 20.5
