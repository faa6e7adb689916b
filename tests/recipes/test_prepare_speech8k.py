"""Preparation of speech8k and its additional voices."""

import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import torch
from recipes.scripts import RECIPES, contents, load

from torchsep import audio
from torchsep.data import DynamicMixing

prepare = load("speech8k")


clips, synthesis, speakers = prepare.clips, sys.modules["synthesis"], sys.modules["speakers"]


def tone(frequency, seconds, rate=8000, level=0.3):
    """Harmonics of a slightly varying frequency, similar to a voice."""
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    phase = 2 * math.pi * frequency * (time + 0.03 / 32 * torch.sin(32 * time))
    return level * sum(torch.sin(order * phase) / order for order in range(1, 6))[None].float()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_corpus(folder, speakers=("ann", "bob"), groups=None):
    """A corpus with two files of each speaker in each split, and its manifest."""
    files = []
    for split in ("train", "valid", "test"):
        for speaker in speakers:
            for number in range(2):
                name = f"{split}/{speaker}/{speaker}_{number:03d}.flac"
                audio.write(folder / name, torch.rand(1, 800) - 0.5, 8000, "PCM_16")
                digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
                files.append({"file": name, "split": split, "speaker": speaker, "sha256": digest})
                if groups and speaker in groups:
                    files[-1]["group"] = groups[speaker]
    write_manifest(folder, files)
    return files


def write_manifest(folder, files):
    (folder / "MANIFEST.json").write_text(json.dumps({"files": files}), encoding="utf-8")


@pytest.fixture
def corpus(tmp_path):
    write_corpus(tmp_path / "corpus")
    return tmp_path / "corpus"


def refused(capsys, *arguments):
    """Error message of the script, which must be a single line."""
    assert prepare.main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert said.out == ""
    return line


def test_every_file_goes_to_its_split_and_speaker(corpus, tmp_path):
    assert prepare.main([str(corpus), "--output", str(tmp_path / "made" / "here")]) == 0
    expected = contents(corpus)
    del expected["MANIFEST.json"]
    assert contents(tmp_path / "made" / "here") == expected


def test_speakers_of_one_group_share_a_folder_and_are_never_mixed(tmp_path):
    write_corpus(tmp_path / "corpus", ("ann", "bob", "cleo"), {"ann": "ann/bob", "bob": "ann/bob"})
    prepare.main([str(tmp_path / "corpus"), "--output", str(tmp_path / "made")])
    mixtures = DynamicMixing(tmp_path / "made" / "train", sample_rate=8000, duration=0.1)
    assert {group: len(files) for group, files in mixtures.files.items()} == {"ann-bob": 4, "cleo": 2}


def test_without_hard_links_files_are_copied(corpus, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)
    prepare.main([str(corpus), "--output", str(tmp_path / "made")])
    copied = tmp_path / "made" / "test" / "bob" / "bob_001.flac"
    assert copied.read_bytes() == (corpus / "test" / "bob" / "bob_001.flac").read_bytes()
    assert copied.stat().st_nlink == 1


def changed(folder, **values):
    """Write a manifest with a changed first entry."""
    files = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))["files"]
    files[0] = {key: value for key, value in {**files[0], **values}.items() if value is not None}
    write_manifest(folder, files)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda corpus: (corpus / "MANIFEST.json").unlink(), "got one without MANIFEST.json"),
        (lambda corpus: (corpus / "MANIFEST.json").write_text("{"), "must list the files of speech8k"),
        (lambda corpus: (corpus / "MANIFEST.json").write_text("[1]"), "must list the files of speech8k"),
        (lambda corpus: (corpus / "MANIFEST.json").write_text('{"files": [3]}'), "must list the files of speech8k"),
        (lambda corpus: (corpus / "test" / "bob" / "bob_001.flac").unlink(), "bob_001.flac: is missing"),
        (lambda corpus: (corpus / "test" / "bob" / "bob_001.flac").write_bytes(b"x"), "does not match its sha256"),
        (lambda corpus: changed(corpus, sha256=None), "must contain sha256 for every file"),
        (lambda corpus: changed(corpus, split="dev"), "split must be one of train, valid, test, got 'dev'"),
        (lambda corpus: changed(corpus, file="../corpus/train/ann/ann_000.flac"), "must name files and speakers of"),
        (lambda corpus: changed(corpus, file="/etc/hostname"), "must name files and speakers of"),
        (lambda corpus: changed(corpus, speaker=".."), "must name files and speakers of"),
    ],
)
def test_a_bad_corpus_is_refused_and_leaves_nothing(corpus, tmp_path, capsys, damage, expected):
    damage(corpus)
    assert expected in refused(capsys, corpus, "--output", tmp_path / "new" / "made")
    assert names(tmp_path) == ["corpus"]


def test_two_files_of_one_name_are_refused(corpus, tmp_path, capsys):
    changed(corpus, speaker="bob")
    files = json.loads((corpus / "MANIFEST.json").read_text(encoding="utf-8"))["files"]
    write_manifest(corpus, [*files, files[0]])
    assert "must have a unique name" in refused(capsys, corpus, "--output", tmp_path / "made")
    assert names(tmp_path) == ["corpus"]


def test_an_output_that_exists_is_left_as_it_is(corpus, tmp_path, capsys):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine.txt").write_text("mine")
    assert "must not exist" in refused(capsys, corpus, "--output", tmp_path / "made")
    assert contents(tmp_path / "made") == {"mine.txt": b"mine"}


@pytest.mark.slow
def test_the_script_runs_from_anywhere(corpus, tmp_path):
    command = [sys.executable, RECIPES / "speech8k" / "prepare.py", corpus, "--output", "made"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    assert len(contents(tmp_path / "made")) == 12


def write_voices(monkeypatch, root, seconds=6.0):
    """Two speakers of a package, of whom one has recordings at two pitches, and a voice that plays a tone."""
    for number, frequency in enumerate((110.0, 120.0, 240.0, 250.0)):
        audio.write(root / f"usr/share/names/{number}.ogg", tone(frequency, seconds, 16000), 16000)
    audio.write(root / "usr/share/letters/a.wav", tone(150.0, seconds), 8000)

    def speaker(name, pattern, pitch=None):
        return speakers.Speaker(name, "some-package", "GPL-2", (pattern,), "x-one", pitch)

    monkeypatch.setattr(
        prepare, "SPEAKERS", (speaker("x-low", "usr/share/names/*", (80, 200)), speaker("x-mid", "usr/share/letters/*"))
    )
    command = ("cp", str(root / "usr/share/letters/a.wav"), "{wave}")
    monkeypatch.setattr(prepare, "VOICES", (synthesis.Voice("x-made", "coreutils", "GPL-3+", command, 4.5),))


def test_voices_are_added_only_to_the_training_split(corpus, tmp_path, monkeypatch, capsys):
    write_voices(monkeypatch, tmp_path / "root")
    assert prepare.main([str(corpus), "--output", str(tmp_path / "made"), "--voices", str(tmp_path / "root")]) == 0
    made = tmp_path / "made"
    assert {folder.name for folder in (made / "train").iterdir()} == {"ann", "bob", "x-one", "x-made"}
    assert {folder.name for split in ("valid", "test") for folder in (made / split).iterdir()} == {"ann", "bob"}
    rows = {row["name"]: row for row in json.loads((made / "voices.json").read_text(encoding="utf-8"))}
    assert {name: row["recorded"] for name, row in rows.items()} == {"x-low": True, "x-mid": True, "x-made": False}
    assert rows["x-low"]["seconds"] == pytest.approx(12.0, abs=0.2)  # of the four recordings the two low ones
    assert rows["x-low"]["utterances"] == len(list((made / "train" / "x-one").glob("x-low_*.flac")))
    assert rows["x-made"]["seconds"] <= 4.5
    assert "x-low:" in capsys.readouterr().out


def test_utterances_are_as_those_of_the_corpus(corpus, tmp_path, monkeypatch):
    write_voices(monkeypatch, tmp_path / "root")
    prepare.main([str(corpus), "--output", str(tmp_path / "made"), "--voices", str(tmp_path / "root")])
    files = sorted((tmp_path / "made" / "train").glob("x-*/*.flac"))
    assert len(files) > 5
    for path in files:
        waveform, rate = audio.read(path)
        info = audio.probe(path)
        assert (rate, len(waveform), info.subtype) == (8000, 1, "PCM_16")
        assert waveform.square().mean().sqrt().log10() * 20 == pytest.approx(-25, abs=0.1)
        assert waveform.shape[-1] / rate <= 4.0


def test_the_same_again(corpus, tmp_path, monkeypatch):
    write_voices(monkeypatch, tmp_path / "root")
    for name in ("one", "two"):
        prepare.main([str(corpus), "--output", str(tmp_path / name), "--voices", str(tmp_path / "root")])
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_what_is_not_installed_is_named(corpus, tmp_path, monkeypatch, capsys):
    write_voices(monkeypatch, tmp_path / "root")
    shutil.rmtree(tmp_path / "root" / "usr/share/letters")
    voice = synthesis.Voice("x-none", "speech-package", "GPL-2", ("no-such-program",), 1.0)
    monkeypatch.setattr(prepare, "VOICES", (voice,))
    line = refused(capsys, corpus, "--output", tmp_path / "made", "--voices", tmp_path / "root")
    assert line.endswith("apt-get install some-package speech-package")
    assert not (tmp_path / "made").exists()


def test_a_recording_that_cannot_be_read_is_left_out_and_named(corpus, tmp_path, monkeypatch, capsys):
    write_voices(monkeypatch, tmp_path / "root")
    (tmp_path / "root/usr/share/names/broken.ogg").write_bytes(b"no ogg")
    assert prepare.main([str(corpus), "--output", str(tmp_path / "made"), "--voices", str(tmp_path / "root")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"skipped: .*broken\.ogg: cannot be read", line)


def test_a_speaker_of_whom_nothing_is_left_is_an_error(corpus, tmp_path, monkeypatch, capsys):
    write_voices(monkeypatch, tmp_path / "root", seconds=0.5)
    assert prepare.main([str(corpus), "--output", str(tmp_path / "made"), "--voices", str(tmp_path / "root")]) == 2
    assert "must hold at least a second of x-mid" in capsys.readouterr().err
    assert names(tmp_path) == ["corpus", "root"]


def test_a_program_that_fails_is_named(corpus, tmp_path, monkeypatch, capsys):
    write_voices(monkeypatch, tmp_path / "root")
    voice = synthesis.Voice("x-bad", "coreutils", "GPL-3+", ("cp", "/no/such/file", "{wave}"), 1.0)
    monkeypatch.setattr(prepare, "VOICES", (voice,))
    assert prepare.main([str(corpus), "--output", str(tmp_path / "made"), "--voices", str(tmp_path / "root")]) == 2
    assert "cp must speak with the voice x-bad" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(corpus, tmp_path, monkeypatch, capsys, number):
    write_voices(monkeypatch, tmp_path / "root")

    def speak(*_):
        os.kill(os.getpid(), number)
        threading.Event().wait(10)

    monkeypatch.setattr(synthesis.Voice, "speak", speak)
    assert prepare.main([str(corpus), "--output", str(tmp_path / "made"), "--voices", str(tmp_path / "root")]) == 130
    assert capsys.readouterr().err == f"interrupted; {tmp_path / 'made'} was not made\n"
    assert names(tmp_path) == ["corpus", "root"]


def test_every_voice_and_speaker_has_a_name_of_its_own():
    for voices in (speakers.SPEAKERS, synthesis.VOICES):
        assert len({voice.name for voice in voices}) == len(voices)
    assert all(voice.name.startswith("x-") for voice in (*speakers.SPEAKERS, *synthesis.VOICES))
    assert {speaker.folder for speaker in speakers.SPEAKERS} <= {speaker.name for speaker in speakers.SPEAKERS} | {
        "x-asterisk-allison"
    }


def test_utterances_of_a_voice_depend_only_on_the_seed(tmp_path):
    said = [synthesis.words(synthesis.random.Random(f"{seed}"), 60) for seed in (0, 0, 1)]
    assert said[0] == said[1] != said[2]
    assert len(said[0].replace(".", "").split()) == 60
