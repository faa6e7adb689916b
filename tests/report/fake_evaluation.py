"""Evaluation folders with audio whose value encodes the position."""

import json

import torch

from torchsep import audio

SETTINGS = {
    "data": {"name": "ramps", "items": 3},
    "metrics": {"si_sdr": "scale-invariant ratio, dB", "errors": "wrong words in percent; lower is better"},
    "torchsep": "0.1.0",
    "torch": "2.11.0",
    "device": "cpu",
    "machine": "a small one",
    "match": "names",
}


def ramp(seconds=2.0, rate=16000, top=0.9):
    """Ramp from zero to ``top``, whose value encodes the position."""
    return torch.linspace(0, top, round(seconds * rate))[None]


def scores(si_sdr, errors=10.0, estimate="foreground"):
    return {"voice": {"estimate": estimate, "si_sdr": si_sdr, "errors": errors}}


def result(id_, sources, audio=None, **more):
    row = {"id": id_, "sample_rate": 16000, "duration": 2.0, "seconds": 0.5, "sources": sources, **more}
    return {**row, "audio": audio} if audio else row


def write_run(folder, name, rows, started="2026-01-02T10:00:00+00:00", **more):
    run = folder / name
    run.mkdir(parents=True)
    settings = {**SETTINGS, "label": name, "separator": {"name": name, "power": 2.0}, "started": started, **more}
    (run / "run.json").write_text(json.dumps(settings))
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    (run / "results.jsonl").write_text(text)
    return run


def write_evaluation(folder, ids=("a", "b/c", "d"), labels=("first", "second"), seconds=2.0, rate=16000):
    """An evaluation of which every item has audio: the mixture rises, the reference falls, estimates are softer."""
    for number in range(len(ids)):
        audio.write(folder / f"references/{number}/mixture.flac", ramp(seconds, rate), rate)
        audio.write(folder / f"references/{number}/voice.flac", -ramp(seconds, rate), rate)
        for label in labels:
            audio.write(folder / f"{label}/audio/{number}/foreground.flac", ramp(seconds, rate, 0.45), rate)
    for shift, label in enumerate(labels):
        rows = [
            result(
                id_,
                scores(1.0 + number + 3 * shift, 10.0 + shift),
                {
                    "mixture": f"references/{number}/mixture.flac",
                    "references": {"voice": f"references/{number}/voice.flac"},
                    "estimates": {"voice": f"{label}/audio/{number}/foreground.flac"},
                },
                duration=seconds,
            )
            for number, id_ in enumerate(ids)
        ]
        run = folder / label
        run.mkdir(exist_ok=True)
        settings = {
            **SETTINGS,
            "label": label,
            "separator": {"name": label},
            "started": f"2026-01-0{shift + 1}T10:00:00",
        }
        (run / "run.json").write_text(json.dumps(settings))
        (run / "results.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder
