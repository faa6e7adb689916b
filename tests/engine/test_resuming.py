"""Interrupted training runs, which resume exactly."""

import os
import signal

import pytest
import pytorch_lightning as pl
import torch
from engine.small_training import (
    PLATEAU,
    PowerCutError,
    command,
    curves,
    described,
    difference,
    interrupt,
    run,
    state,
    wait_for_steps,
    weights,
)

from torchsep.checkpoint import read_header
from torchsep.metrics import improvement


@pytest.mark.slow
@pytest.mark.parametrize(
    ("losses", "more"),
    [
        *((losses, PLATEAU) for losses in (1, 2, 3, 4, 5, 6, 8, 9, 12)),  # 4, 8 and 12 are within a validation
        *((losses, ["trainer.accumulate_grad_batches=2", "train_data.num_items=10"]) for losses in (4, 5, 6, 9)),
        *((losses, ["trainer.val_check_interval=2", "train_data.num_items=8", *PLATEAU]) for losses in (3, 4, 6)),
        *((losses, ["train_data.num_items=2", *PLATEAU]) for losses in (2, 3)),  # one step an epoch
        *((losses, ["training.checkpoint_every=2"]) for losses in (3, 4)),
    ],
)
def test_an_interrupted_run_resumes_exactly(root, whole, tmp_path, losses, more):
    interrupt(root, tmp_path / "run", *more, losses=losses)
    run(root, tmp_path / "run", *more)
    assert difference(tmp_path / "run", whole(*more)) <= 1e-6
    assert curves(tmp_path / "run") == curves(whole(*more))
    told, expected = (
        read_header(folder / "model.safetensors")["about"]["training"] for folder in (tmp_path / "run", whole(*more))
    )
    assert {**told, "seconds": 0} == {**expected, "seconds": 0}
    assert told["hours_of_audio"] > 0


def test_a_schedule_of_steps_with_prefetching_workers(root, whole, tmp_path):
    steps = ["scheduler=one_cycle", "+schedule.interval=step", "trainer.max_epochs=null", "trainer.max_steps=7"]
    interrupt(root, tmp_path / "run", *steps, "batches.num_workers=1", losses=4)
    run(root, tmp_path / "run", *steps, "batches.num_workers=1")
    assert difference(tmp_path / "run", whole(*steps)) <= 1e-6
    assert curves(tmp_path / "run") == curves(whole(*steps))


def test_a_run_that_is_interrupted_twice(root, whole, tmp_path):
    for losses in (4, 3):
        interrupt(root, tmp_path / "run", *PLATEAU, losses=losses)
    run(root, tmp_path / "run", *PLATEAU)
    assert difference(tmp_path / "run", whole(*PLATEAU)) <= 1e-6
    assert curves(tmp_path / "run") == curves(whole(*PLATEAU))


@pytest.mark.parametrize("first", [["trainer.max_epochs=1"], ["trainer.max_epochs=null", "trainer.max_steps=5"]])
def test_a_longer_run_resumes_a_shorter_one(root, whole, tmp_path, first):
    run(root, tmp_path / "run", *PLATEAU, *first)
    said = []
    trained = run(root, tmp_path / "run", *PLATEAU, say=said.append)
    assert said[0] == f"resuming from {tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}"
    assert trained.steps == 9
    # The best weights may be those of the shorter run's last step, which the whole run does not validate.
    last, expected = state(tmp_path / "run")["state_dict"], state(whole(*PLATEAU))["state_dict"]
    assert all(torch.allclose(value, expected[name], atol=1e-6, rtol=0) for name, value in last.items())
    assert last.keys() == expected.keys()
    assert curves(tmp_path / "run")["train/loss"] == curves(whole(*PLATEAU))["train/loss"]


def test_a_finished_run_is_not_changed(root, tmp_path):
    first = run(root, tmp_path / "run")
    before, curve = weights(tmp_path / "run"), curves(tmp_path / "run")
    again = run(root, tmp_path / "run")
    assert (again.steps, again.improvement) == (first.steps, first.improvement)
    assert all(value.equal(before[name]) for name, value in weights(tmp_path / "run").items())
    assert curves(tmp_path / "run") == curve


def test_the_validation_of_the_last_step_is_resumed(root, tmp_path, monkeypatch):
    short = ["trainer.max_epochs=null", "trainer.max_steps=2"]
    first = run(root, tmp_path / "run", *short)
    saved = state(tmp_path / "run")["callbacks"]
    assert saved["BestCheckpoint"] == {"score": first.improvement}
    assert saved["ProgressReport"]["validated_step"] == 2
    assert saved["ProgressReport"]["audio_seconds"] == pytest.approx(0.4)
    best = state(tmp_path / "run", "best")["state_dict"]
    with monkeypatch.context() as patch:
        patch.setattr(pl.Trainer, "validate", None)  # it is not repeated
        assert run(root, tmp_path / "run", *short).improvement == first.improvement
        # Nor replaced by a worse one.
        patch.setattr("torchsep.engine.separation_task.improvement", lambda *given: improvement(*given) - 100)
        longer = ["trainer.max_epochs=null", "trainer.max_steps=3"]
        assert run(root, tmp_path / "run", *longer).improvement == first.improvement
    assert all(value.equal(best[name]) for name, value in state(tmp_path / "run", "best")["state_dict"].items())


def test_a_half_written_row_is_dropped(root, whole, tmp_path):
    interrupt(root, tmp_path / "run", *PLATEAU, losses=6)
    with (tmp_path / "run" / "metrics.csv").open("a") as file:
        file.write("0,0.01,")
    run(root, tmp_path / "run", *PLATEAU)
    assert curves(tmp_path / "run") == curves(whole(*PLATEAU))


def test_a_half_written_checkpoint_is_ignored(root, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl.Trainer, "save_checkpoint", _half_saved(pl.Trainer.save_checkpoint))
        with pytest.raises(PowerCutError):
            run(root, tmp_path / "run", *PLATEAU)
    assert state(tmp_path / "run")["global_step"] == 4
    run(root, tmp_path / "run", *PLATEAU)
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {
        "last.ckpt",
        "previous.ckpt",
        "best.ckpt",
    }


def _half_saved(save):
    def saving(trainer, path, *arguments, **options):
        save(trainer, path, *arguments, **options)
        if trainer.global_step == 5:
            os.truncate(path, 100)
            raise PowerCutError

    return saving


@pytest.mark.slow
def test_killed_processes(root, tmp_path):
    """By ``kill -9``, at arbitrary moments."""
    longer = [*PLATEAU, "trainer.max_epochs=40"]
    overrides = described(root, tmp_path / "killed", *longer)
    for steps in (7, 40):
        process = command(overrides)
        wait_for_steps(process, tmp_path / "killed", steps)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert 40 <= state(tmp_path / "killed")["global_step"] < 120
    run(root, tmp_path / "killed", *longer)
    run(root, tmp_path / "whole", *longer)
    assert difference(tmp_path / "killed", tmp_path / "whole") <= 1e-6
    assert curves(tmp_path / "killed") == curves(tmp_path / "whole")
