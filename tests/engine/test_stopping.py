"""Ends of training runs: by signals, damaged files, and more steps after the last one."""

import signal

import pytest
import torch
from engine.small_training import command, curves, described, difference, run, state, wait_for_steps

import torchsep
from torchsep.engine import WaveformObjective

STEPS = ["trainer.max_epochs=null", "trainer.max_steps=6"]


def stopped(root, folder, number, *more, step=4):
    """A run that gets a signal during a step."""
    count, compute = 0, WaveformObjective.__call__

    def counted(objective, separator, batch):
        nonlocal count
        count += 1
        if count == step:
            signal.raise_signal(number)
        return compute(objective, separator, batch)

    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WaveformObjective, "__call__", counted)
        with pytest.raises(KeyboardInterrupt):
            run(root, folder, *more, say=said.append)
    return said


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_a_run_after_its_step_and_loses_nothing(root, whole, tmp_path, number):
    before = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    rare = ["training.checkpoint_every=100", *STEPS, "train_data.num_items=100"]
    said = stopped(root, tmp_path / "run", number, *rare)
    assert "stopping after this step; interrupt again to stop at once" in said
    assert state(tmp_path / "run")["global_step"] == 4
    assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)] == before
    said = []
    trained = run(root, tmp_path / "run", *rare, say=said.append)
    assert trained.steps == 6
    assert any(line.startswith("2 steps, ") for line in said)
    assert difference(tmp_path / "run", whole(*rare)) <= 1e-6
    assert curves(tmp_path / "run") == curves(whole(*rare))


def test_accumulated_gradients_are_finished_first(root, tmp_path):
    accumulated = ["trainer.accumulate_grad_batches=2", "train_data.num_items=40", "training.checkpoint_every=100"]
    stopped(root, tmp_path / "run", signal.SIGINT, *accumulated, step=5)
    assert state(tmp_path / "run")["global_step"] == 3


def test_a_short_run_is_validated_and_keeps_its_best(root, tmp_path):
    short = ["trainer.max_epochs=null", "trainer.max_steps=2", "train_data.num_items=40"]
    trained = run(root, tmp_path / "run", *short)
    assert trained.improvement is not None
    best = state(tmp_path / "run", "best")
    assert best["global_step"] == 2
    saved = torchsep.load(trained.path).state_dict()
    weights = {name.removeprefix("separator."): tensor for name, tensor in best["state_dict"].items()}
    assert all(torch.equal(weights[name], tensor) for name, tensor in saved.items())


def test_more_steps_than_planned(root, tmp_path):
    schedule = ["scheduler=one_cycle", "schedule.interval=step", "trainer.max_epochs=null", "train_data.num_items=40"]
    assert run(root, tmp_path / "run", *schedule, "trainer.max_steps=3").steps == 3
    assert run(root, tmp_path / "run", *schedule, "trainer.max_steps=7").steps == 7
    rates = [value for _, value in curves(tmp_path / "run")["lr-Adam"]]
    assert len(rates) == 7
    assert rates[-1] < rates[3]  # annealed at the new end


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda _: b""])
def test_a_damaged_state_falls_back_to_the_one_before(root, whole, tmp_path, damage):
    stopped(root, tmp_path / "run", signal.SIGINT, *STEPS)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    said = []
    run(root, tmp_path / "run", *STEPS, say=said.append)
    assert said[:2] == [f"{last} is damaged", f"resuming from {last.with_name('previous.ckpt')}"]
    assert difference(tmp_path / "run", whole(*STEPS)) <= 1e-6


def test_flipped_bits_are_noticed_and_two_damaged_states_are_refused(root, tmp_path):
    stopped(root, tmp_path / "run", signal.SIGINT, *STEPS)
    for name in ("last", "previous"):
        path = tmp_path / "run" / "checkpoints" / f"{name}.ckpt"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"last.ckpt and .*previous.ckpt must be checkpoints .* overwrite=true starts ag"
    ):
        run(root, tmp_path / "run", *STEPS)
    assert run(root, tmp_path / "run", *STEPS, "overwrite=true").steps == 6


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_with_workers_ends_in_one_line(root, tmp_path, number):
    process = command(described(root, tmp_path / "run", "trainer.max_epochs=1000", "batches.num_workers=1"))
    wait_for_steps(process, tmp_path / "run", 4)
    process.send_signal(number)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert said.strip().splitlines()[-1] == "torchsep: interrupted; start again to resume from the last checkpoint"
    assert "Traceback" not in said
