"""Training runs: results, exact resuming, options and errors."""

import pytest
import torch
from engine.small_training import (
    NETWORK,
    PLATEAU,
    command,
    curves,
    described,
    difference,
    interrupt,
    run,
    state,
    weights,
)
from omegaconf import OmegaConf
from typer.testing import CliRunner

import torchsep
from torchsep import audio
from torchsep.cli.main import app
from torchsep.data import DynamicMixing
from torchsep.engine import NonFiniteLossError, SeparationTask, WaveformObjective, training
from torchsep.networks import RecurrentBody


def test_the_loss_falls_and_the_checkpoint_is_used(root, tmp_path):
    said = []
    same = ["+train_data._target_=engine.small_training.Fixed", "train_data.num_items=4", "network.body.dropout=0.0"]
    trained = run(root, tmp_path / "run", *same, "trainer.max_epochs=14", "optimizer.lr=0.03", say=said.append)
    losses = torch.tensor([value for _, value in curves(tmp_path / "run")["train/loss"]])
    assert len(losses) == trained.steps == 28
    assert losses[-8:].mean() < losses[:8].mean() - 1  # dB
    assert trained.path == tmp_path / "run" / "model.safetensors"
    separator = torchsep.load(trained.path)
    assert not separator.training
    item = DynamicMixing(root, 8000, 0.3)[0]
    assert separator(item["mixture"]).sum(0).allclose(item["mixture"], atol=1e-5)
    gains = [value for _, value in curves(tmp_path / "run")["valid/si_sdr_improvement"]]
    assert trained.improvement == pytest.approx(max(gains), abs=1e-4)
    assert any(line.startswith("DeepMaskEstimation: 3,852 trainable parameters on cpu") for line in said)
    assert any(line.startswith("first batch: mixture (2, 1, 800), sources (2, 2, 1, 800)") for line in said)
    last = next(line for line in said if line.startswith("epoch 13, step 28: "))
    assert f"loss {losses[-2:].mean():.3f}, valid loss " in last
    assert any("of the time waiting for data" in line for line in said)


def test_the_weights_are_the_best_of_the_average(root, tmp_path):
    trained = run(root, tmp_path / "run", "trainer.max_epochs=4", "optimizer.lr=0.05")
    best = state(tmp_path / "run", "best")
    found = weights(tmp_path / "run")
    prefix = "separator."
    assert {name.removeprefix(prefix) for name in best["state_dict"]} >= set(found)
    for name, value in found.items():
        assert value.equal(best["state_dict"][prefix + name])
        assert not value.equal(best["current_model_state"][prefix + name])  # those of the step, not averaged
    gains = dict(curves(tmp_path / "run")["valid/si_sdr_improvement"])
    assert gains[best["global_step"] - 1] == pytest.approx(trained.improvement, abs=1e-5)
    assert max(gains.values()) == pytest.approx(trained.improvement, abs=1e-5)


def test_files_in_the_folder(whole):
    folder = whole(*PLATEAU)
    names = {path.name for path in folder.iterdir()} - {"tensorboard"}
    assert names == {"checkpoints", "config.yaml", "metrics.csv", "model.safetensors"}
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    kept = OmegaConf.load(folder / "config.yaml")
    assert kept.separator.network.body.hidden_size == 6  # resolved
    last = state(folder)  # loads with weights_only
    assert last["global_step"] == 9
    assert last["torchsep"]["config"]["name"] == "deep_mask_estimation"
    assert torchsep.build(last["torchsep"]["config"]).names == ("source_1", "source_2")
    curve = curves(folder)
    assert [step for step, _ in curve["train/loss"]] == list(range(9))
    assert [step for step, _ in curve["valid/loss"]] == [2, 5, 8]
    rates = [rate for _, rate in curve["lr-Adam"]]
    assert rates[0] == 0.01
    assert rates[-1] < 0.01  # the schedule has an effect


@pytest.mark.parametrize("objective", ["waveform", "masks"])
def test_validation_runs_the_network_once_per_batch(root, tmp_path, monkeypatch, objective):
    calls = []
    forward = RecurrentBody.forward
    monkeypatch.setattr(
        RecurrentBody, "forward", lambda body, *given: calls.append(body.training) or forward(body, *given)
    )
    short = ["trainer.max_epochs=1", "+trainer.num_sanity_val_steps=0", "valid_data.num_items=4"]
    run(root, tmp_path / "run", *short, f"objective={objective}")
    assert calls.count(True) == 3  # batches of training
    assert calls.count(False) == 2  # batches of validation


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one(root, tmp_path):
    plain = ["network.body.dropout=0.0", "training.ema_decay=null", "trainer.max_epochs=4"]
    two = ["trainer.devices=2", "trainer.strategy=ddp", "batches.batch_size=1"]
    process = command(described(root, tmp_path / "two", *plain, *two))
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert said.count("trainable parameters") == 1  # reported by one process
    run(root, tmp_path / "one", *plain)
    assert difference(tmp_path / "one", tmp_path / "two") <= 1e-5
    one, found = curves(tmp_path / "one"), curves(tmp_path / "two")
    assert one.keys() == found.keys()
    for name, curve in one.items():
        assert [step for step, _ in found[name]] == [step for step, _ in curve]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in curve], abs=1e-4)


def test_early_stopping(root, tmp_path):
    trained = run(root, tmp_path / "run", "training.patience=2", "optimizer.lr=0.0", "trainer.max_epochs=40")
    assert trained.steps == 3 * 3  # the first validation, and two without improvement


def test_gradient_accumulation(root, tmp_path):
    said, plain = [], ["network.body.dropout=0.0", "trainer.max_epochs=2", "train_data.num_items=8"]
    trained = run(root, tmp_path / "two", *plain, "trainer.accumulate_grad_batches=2", say=said.append)
    assert trained.steps == 4
    run(root, tmp_path / "one", *plain, "batches.batch_size=4", say=said.append)
    assert difference(tmp_path / "one", tmp_path / "two") <= 1e-5
    two, one = (next(line for line in lines if line.startswith("epoch 1, step 4: ")) for lines in _runs(said))
    assert two.split(", valid")[0] == one.split(", valid")[0]  # the whole loss
    assert any(line.startswith("4 steps, ") for line in said)


def _runs(said):
    """The lines of each run."""
    runs = []
    for line in said:
        if "trainable parameters" in line:
            runs.append([])
        runs[-1].append(line)
    return runs


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precision(root, whole, tmp_path, precision):
    trained = run(root, tmp_path / "run", f"trainer.precision={precision}")
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())
    assert 0 < difference(tmp_path / "run", whole()) < 0.05
    assert trained.steps == 9


def test_a_time_limit(root, tmp_path):
    trained = run(root, tmp_path / "run", "trainer.max_time=00:00:00:02", "trainer.max_epochs=100000")
    assert 0 < trained.steps < 10000
    assert trained.path.is_file()


def test_without_validation_the_last_weights_are_kept(root, tmp_path):
    said = []
    trained = run(root, tmp_path / "run", "training.ema_decay=null", validated=False, say=said.append)
    assert trained.improvement is None
    last = state(tmp_path / "run")["state_dict"]
    assert all(value.equal(last[f"separator.{name}"]) for name, value in weights(tmp_path / "run").items())
    losses = [value for _, value in curves(tmp_path / "run")["train/loss"]]
    assert f"step 9: loss {sum(losses) / 9:.3f}" in said
    assert not (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()


def test_validation_switched_off(root, tmp_path):
    trained = run(root, tmp_path / "run", "trainer.limit_val_batches=0", "trainer.max_epochs=1")
    assert trained.improvement is None


def test_a_run_shorter_than_an_epoch_is_validated_at_its_end(root, tmp_path):
    trained = run(root, tmp_path / "run", "trainer.max_epochs=null", "trainer.max_steps=2")
    assert trained.steps == 2
    assert trained.improvement is not None
    average = state(tmp_path / "run")["state_dict"]
    assert all(value.equal(average[f"separator.{name}"]) for name, value in weights(tmp_path / "run").items())


def test_waiting_for_data_is_measured(root, tmp_path):
    late = ["+train_data._target_=engine.small_training.Late", "trainer.max_epochs=2"]
    said = []
    trained = run(root, tmp_path / "late", *late, "network.body.dropout=0.0", say=said.append)
    assert trained.waiting > 0.5  # each step waits for two items of 50 ms
    assert trained.steps_per_second < 10
    assert any(f"{trained.waiting:.1%} of the time waiting for data" in line for line in said)


def test_examples_are_written(root, tmp_path):
    run(root, tmp_path / "run", "training.examples=2", "trainer.max_epochs=1")
    folders = sorted((tmp_path / "run" / "examples").iterdir())
    assert [folder.name for folder in folders] == ["example_1", "example_2"]
    for number, folder in enumerate(folders):
        names = {"mixture", "source_1", "source_2", "estimate_1", "estimate_2"}
        sounds = {path.stem: audio.read(path) for path in folder.iterdir()}
        assert sounds.keys() == names
        assert all(rate == 8000 and sound.shape == (1, 1600) for sound, rate in sounds.values())
        item = DynamicMixing(root, 8000, 0.2, num_items=2, seed=1)[number]
        assert sounds["mixture"][0].allclose(item["mixture"], atol=1e-3)
        assert sounds["source_1"][0].allclose(item["sources"][0], atol=1e-3)
        both = sounds["estimate_1"][0] + sounds["estimate_2"][0]
        assert both.allclose(item["mixture"], atol=1e-3)


CLASSICAL = ["separator=hpss", "+separator.stft={name: stft, n_fft: 64, hop_length: 32}"]


def test_hyper_parameters_of_a_classical_separator(root, tmp_path):
    learned = [*CLASSICAL, "+separator.trainable=[power]", "+separator.kernel_size=5"]
    longer = ["optimizer.lr=0.3", "trainer.max_epochs=10", "training.ema_decay=null", "+train_data.seed=3"]
    run(root, tmp_path / "run", *longer, model=learned)
    losses = [value for _, value in curves(tmp_path / "run")["valid/loss"]]
    assert losses[-1] < losses[0]
    assert torchsep.load(tmp_path / "run" / "model.safetensors").power != 2


def test_separator_without_parameters_is_refused(root, tmp_path):
    message = "^separator must have parameters to fit, hpss has none; name some of power, margin in trainable$"
    with pytest.raises(ValueError, match=message):
        run(root, tmp_path / "run", model=CLASSICAL)
    mixed = ["separator=mix_as_estimate", "separator.num_sources=2"]
    with pytest.raises(ValueError, match=r"^separator must have parameters to fit, mix_as_estimate has none$"):
        run(root, tmp_path / "run", model=mixed)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loss_that_is_not_finite_ends_the_run(root, tmp_path, workers):
    broken = ["+train_data._target_=engine.small_training.Broken", f"batches.num_workers={workers}"]
    with pytest.raises(
        NonFiniteLossError, match=r"^loss of 1/000003 is not finite at step \d; the batch is in "
    ) as info:
        run(root, tmp_path / "run", *broken)
    (path,) = (tmp_path / "run").glob("non_finite_step_*_rank_0.pt")
    assert str(path) in str(info.value)
    batch = torch.load(path, weights_only=True)
    assert "1/000003" in batch["id"]
    wrong = batch["id"].index("1/000003")
    assert batch["mixture"][wrong].isnan().any()
    assert batch["losses"].isfinite().tolist() == [number != wrong for number in range(2)]
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_the_command_reports_it_in_one_line(root, tmp_path):
    overrides = described(root, tmp_path / "run", "+train_data._target_=engine.small_training.Broken")
    result = CliRunner().invoke(app, ["train", *overrides])
    assert result.exit_code == 1
    assert result.stderr.startswith("torchsep: loss of 1/000003 is not finite at step ")
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["optimizer.lr=0.02"], "optimizer"),
        (["network.body.hidden_size=7"], "separator"),
        (["train_data.num_items=8", "training.seed=1"], "train_data, training"),
        (["sample_rate=16000"], "sample_rate"),
    ],
)
def test_another_run_in_the_folder_is_not_touched(root, tmp_path, more, what):
    interrupt(root, tmp_path / "run", losses=5)
    before = (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes()
    message = f"^output must not hold another run, {tmp_path / 'run'} differs in {what}; choose another output, or over"
    with pytest.raises(ValueError, match=message):
        run(root, tmp_path / "run", *more)
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_wrong_configuration_overwrites_nothing(root, tmp_path):
    interrupt(root, tmp_path / "run", losses=5)
    with pytest.raises(OSError, match="nowhere"):
        run(root, tmp_path / "run", "overwrite=true", f"train_data.root={tmp_path / 'nowhere'}")
    assert state(tmp_path / "run")["global_step"] > 1


def test_overwriting_starts_again(root, whole, tmp_path):
    run(root, tmp_path / "run", "optimizer.lr=0.02")
    said = []
    run(root, tmp_path / "run", "overwrite=true", say=said.append)
    assert not any("resuming" in line for line in said)
    assert difference(tmp_path / "run", whole()) == 0
    assert curves(tmp_path / "run") == curves(whole())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["schedule.monitor=valid/los", *PLATEAU[:3]], "valid/los which is not available"),
        (["trainer.val_check_interval=7"], "val_check_interval"),
        (["trainer.accelerator=abacus"], "invalid accelerator name: `accelerator='abacus'`"),
        (["batches.batch_size=0"], "^batch_size must be at least 1, got 0$"),
        (["objective=embedding"], "^objective needs a separator with an embedding, got deep_mask_estimation"),
    ],
)
def test_errors_are_one_line(root, tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        run(root, tmp_path / "run", *more)


def test_patience_needs_validation(root, tmp_path):
    with pytest.raises(ValueError, match=r"^valid_data must be chosen for training\.patience"):
        run(root, tmp_path / "run", "training.patience=2", validated=False)


def test_a_network_must_be_chosen(root, tmp_path):
    with pytest.raises(ValueError, match=r"^network must be chosen for deep_mask_estimation, as in network=chimera$"):
        run(root, tmp_path / "run", model=["separator=deep_mask_estimation"])
    with pytest.raises(ValueError, match=r"^objective, optimizer, train_data must be chosen, or an experiment"):
        training(NETWORK)


def test_the_task_by_itself():
    with pytest.raises(ValueError, match=r"^separator must have parameters to fit, repet has none$"):
        SeparationTask(torchsep.build("repet", sample_rate=8000), WaveformObjective()).configure_optimizers()
