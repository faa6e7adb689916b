"""Training runs that are refused or fail."""

import pytest
import torch
from engine.small_training import (
    NETWORK,
    PLATEAU,
    described,
    interrupt,
    run,
    state,
)
from typer.testing import CliRunner

from torchsep.cli.main import app
from torchsep.engine import NonFiniteLossError, training

CLASSICAL = ["separator=hpss", "+separator.stft={name: stft, n_fft: 64, hop_length: 32}"]


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
