"""`torchsep train`: what it says, how it ends, and that others take what it wrote."""

import signal

import pytest
import torch
from engine.small_training import (
    PLATEAU,
    command,
    curves,
    described,
    difference,
    recordings,
    run,
    state,
    wait_for_steps,
)
from typer.testing import CliRunner

from torchsep import audio
from torchsep.cli.main import app
from torchsep.engine import training


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return recordings(tmp_path_factory.mktemp("speakers"))


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_from_a_command_to_a_checkpoint_that_others_take(root, tmp_path):
    result = invoke("train", *described(root, tmp_path / "run", "trainer.max_epochs=1", "label=small"))
    assert result.exit_code == 0, result.output
    model = tmp_path / "run" / "model.safetensors"
    lines = result.stdout.splitlines()
    assert lines[0] == "DeepMaskEstimation: 3,852 trainable parameters on cpu"
    assert lines[-1].startswith(f"Written: {model} after 3 steps, ")
    assert lines[-1].endswith(" dB SI-SDR improvement in validation")
    mixture = tmp_path / "mixture.wav"
    audio.write(mixture, audio.read(root / "speaker_0" / "0.wav")[0], 8000)
    separated = invoke("separate", mixture, "-s", model, "-o", tmp_path / "separated")
    assert separated.exit_code == 0, separated.output
    sounds = [audio.read(path)[0] for path in sorted((tmp_path / "separated").rglob("*.wav"))]
    assert len(sounds) == 2
    assert torch.allclose(sum(sounds), audio.read(mixture)[0], atol=1e-4)
    data = ["data=dynamic_mixing", f"data.root={root}", "data.duration=0.3", "data.num_items=2"]
    scored = invoke(
        "evaluate", f"separator={model}", *data, "evaluation.metrics=[si_sdr]", f"output={tmp_path / 'out'}"
    )
    assert scored.exit_code == 0, scored.output
    (results,) = (tmp_path / "out").rglob("results.jsonl")
    assert results.read_text().count("\n") == 2


def test_the_folder_is_named_after_the_run(root):
    assert str(training(described(root, "null", "label=small")).output) == "outputs/small"
    assert str(training(described(root, "null")).output) == "outputs/deep_mask_estimation"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["optimizer.lrr=1"], "optimizer has no 'lrr'; did you mean lr?"),
        (["optimizer.lr=abc"], "optimizer.lr must be a number, got 'abc'"),
        (["experiment=nothing"], "experiment must be one of the presets, got 'nothing'; there are fuss_conv_tas_net, "),
        (["nonsense"], "nonsense"),
        (["optimizer=addam"], "optimizer must be one of the presets, got 'addam'; did you mean adam?"),
        (["+network.body.kind=rnn"], "kind must be one of lstm, gru, got 'rnn'"),
        (["+network.bodi=1"], "mask_inference has no argument 'bodi'; did you mean body?"),
        (["network.body.num_features=40"], "stft must have the 40 bins of the network, got 33"),
        (["train_data.root=/no/such/place"], "/no/such/place"),
        (["train_data.duration=-1"], "duration must be at least"),
        (["optimizer.lr=-1"], "Invalid learning rate: -1"),
        (["training.start=/no/such/model"], "/no/such/model"),
        (
            ["trainer.max_epochs=1", "train_data.num_sources=3"],
            "estimates must have shape (2, 3, 1, 800) for sources (2, 3, 1, 800), got (2, 2, 1, 800)",
        ),
        (["trainer.devices=-3"], "trainer cannot be built: `devices` "),
    ],
)
def test_what_is_wrong_is_one_line(root, tmp_path, more, message):
    result = invoke("train", *described(root, tmp_path / "run", *more))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.startswith("torchsep: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_too_little_is_said():
    result = invoke("train", "separator=deep_clustering", "network=embedding")
    assert result.exit_code == 2
    assert "objective, optimizer, train_data must be chosen, or an experiment, as in experiment=" in result.stderr
    failed = invoke("train", "experiment=speech8k_dpcl", "train_data.root=/no/such/place")
    assert failed.exit_code == 2
    assert "/no/such/place" in failed.stderr


def test_another_run_in_the_folder(root, tmp_path):
    run(root, tmp_path / "run", "trainer.max_epochs=1")
    result = invoke("train", *described(root, tmp_path / "run", "optimizer.lr=0.5"))
    assert result.exit_code == 2
    message = f"torchsep: output must not hold another run, {tmp_path / 'run'} differs in optimizer; "
    assert result.stderr.strip() == message + "choose another output, or overwrite=true to start again"


def test_an_interrupt_within_the_process_leaves_it_interruptible(root, tmp_path):
    def interrupted(line):
        if line.startswith("epoch 1"):
            signal.raise_signal(signal.SIGINT)

    heed = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(root, tmp_path / "run", *PLATEAU, say=interrupted)
    assert signal.getsignal(signal.SIGINT) == heed
    run(root, tmp_path / "run", *PLATEAU)
    run(root, tmp_path / "whole", *PLATEAU)
    assert difference(tmp_path / "run", tmp_path / "whole") <= 1e-6
    assert curves(tmp_path / "run") == curves(tmp_path / "whole")


@pytest.mark.slow
def test_an_interrupted_command_says_how_to_go_on(root, tmp_path):
    overrides = described(root, tmp_path / "run", "trainer.max_epochs=100", "training.ema_decay=null")
    process = command(overrides)
    wait_for_steps(process, tmp_path / "run", 4)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert said.strip().splitlines()[-1] == ("torchsep: interrupted; start again to resume from the last checkpoint")
    assert "Traceback" not in said
    end = ["trainer.max_epochs=null", f"trainer.max_steps={state(tmp_path / 'run')['global_step'] + 2}"]
    run(root, tmp_path / "run", "training.ema_decay=null", *end)
    run(root, tmp_path / "whole", "training.ema_decay=null", *end)
    assert difference(tmp_path / "run", tmp_path / "whole") <= 1e-6
    assert curves(tmp_path / "run") == curves(tmp_path / "whole")
