"""Training runs: results, exact resuming, options and errors."""

import pytest
import pytorch_lightning as pl
import torch
from engine.small_training import (
    PLATEAU,
    command,
    curves,
    described,
    difference,
    run,
    state,
    weights,
)
from omegaconf import OmegaConf

import torchsep
from torchsep import audio
from torchsep.data import DynamicMixing
from torchsep.data.module import collate
from torchsep.engine import SeparationTask, WaveformObjective, configure
from torchsep.engine.lightning import quiet
from torchsep.engine.separation_task import IMPROVEMENT
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
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt", "best.ckpt"}
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


def test_overwriting_starts_again(root, whole, tmp_path):
    run(root, tmp_path / "run", "optimizer.lr=0.02")
    said = []
    run(root, tmp_path / "run", "overwrite=true", say=said.append)
    assert not any("resuming" in line for line in said)
    assert difference(tmp_path / "run", whole()) == 0
    assert curves(tmp_path / "run") == curves(whole())


def test_the_task_by_itself():
    with pytest.raises(ValueError, match=r"^separator must have parameters to fit, repet has none$"):
        SeparationTask(torchsep.build("repet", sample_rate=8000), WaveformObjective()).configure_optimizers()


def test_the_task_predicts_with_a_separator_and_trains_with_an_objective():
    separator, mixture = torchsep.build("hpss", sample_rate=8000), torch.randn(1, 1, 4000)
    batch = {"mixture": mixture, "sources": torch.randn(1, 2, 1, 4000), "sample_rate": 8000}
    task = SeparationTask(separator)
    assert task.predict_step(batch, 0).equal(separator(mixture))
    with pytest.raises(ValueError, match=r"^objective must be given to fit a separator, got None$"):
        task.training_step(batch, 0)
    with pytest.raises(ValueError, match=r"^objective must be given to validate a separator, got None$"):
        task.validation_step(batch, 0)
    choice = configure([], "hpss").choice
    assert SeparationTask(choice).predict_step(batch, 0).equal(separator(mixture))
    with pytest.raises(ValueError, match=r"^separator must be a Separator to be fitted, got a choice$"):
        SeparationTask(choice, WaveformObjective()).configure_optimizers()


def test_silent_batches_do_not_count_in_the_improvement():
    separator = torchsep.build("hpss", sample_rate=8000, trainable=["power"])
    sources = 0.1 * torch.randn(3, 2, 1, 4000)
    sources[0] = 0
    items = [
        {"mixture": one.sum(0), "sources": one, "sample_rate": 8000, "id": str(number)}
        for number, one in enumerate(sources)
    ]

    def gain(*chosen):
        loader = torch.utils.data.DataLoader([items[number] for number in chosen], batch_size=1, collate_fn=collate)
        with quiet():
            trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
            trainer.validate(SeparationTask(separator, WaveformObjective()), loader, verbose=False)
        return trainer.callback_metrics[IMPROVEMENT]

    assert gain(0, 1, 2).isclose(gain(1, 2))
    assert gain(0).isnan()
