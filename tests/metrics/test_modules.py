"""torchmetrics modules accumulate the results of the functions."""

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from scenes import noise
from torchmetrics import MetricCollection

import torchsep.metrics
from torchsep.metrics import (
    bss_eval_v4,
    frame_median,
    improvement,
    match_estimates,
    sa_sdr,
    sd_sdr,
    si_sar,
    si_sdr,
    si_sir,
    snr,
)

RATIOS = {
    "ScaleDependentSDR": sd_sdr,
    "ScaleInvariantSAR": si_sar,
    "ScaleInvariantSDR": si_sdr,
    "ScaleInvariantSIR": si_sir,
    "SignalNoiseRatio": snr,
    "SourceAggregatedSDR": sa_sdr,
}


def made(name, **options):
    return getattr(torchsep.metrics, name)(**options)


def scene(items=7, seed=0):
    """Estimates, sources, and mixtures; one source of the first item is silent."""
    sources = noise(items, 3, 2, 120, seed=seed)
    sources[0, 1] = 0.0
    estimates = sources + 0.3 * noise(items, 3, 2, 120, seed=seed + 1)
    return estimates, sources, sources.sum(1) + 0.1 * noise(items, 2, 120, seed=seed + 2)


def batches(tensors, sizes=(3, 1, 2, 1)):
    return zip(*(tensor.split(sizes) for tensor in tensors), strict=True)


@pytest.mark.parametrize("improving", [False, True])
@pytest.mark.parametrize("name", RATIOS)
def test_batches_amount_to_the_mean_of_all(name, improving):
    metric = made(name, improvement=improving)
    for batch in batches(scene()):
        metric.update(*batch)
    estimates, sources, mixture = scene()
    ratio = RATIOS[name]
    values = improvement(ratio, estimates, sources, mixture) if improving else ratio(estimates, sources)
    values = values.flatten() if name == "SourceAggregatedSDR" else values.mean(-1).flatten()
    assert metric.compute().item() == pytest.approx(values.nanmean().item(), rel=1e-5)
    assert metric.left_out == values.isnan().sum() == (0 if name == "SourceAggregatedSDR" else 1)
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert metric.compute().isnan()


@pytest.mark.parametrize("name", RATIOS)
def test_estimates_may_come_in_any_order(name):
    estimates, sources, _ = scene()
    plain, permuted = made(name), made(name, permute=True)
    plain.update(estimates, sources)
    permuted.update(estimates[:, [2, 0, 1]], sources)
    assert permuted.compute().item() == pytest.approx(plain.compute().item(), rel=1e-5)


def test_estimates_may_be_more():
    estimates, sources, _ = scene()
    metric = made("ScaleInvariantSDR", permute=True)
    metric.update(torch.cat((noise(7, 2, 2, 120, seed=9), estimates), 1), sources)
    expected = si_sdr(match_estimates(si_sdr, estimates, sources).estimates, sources).nanmean()
    assert metric.compute().item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", [*RATIOS, "BSSEvalV4"])
def test_two_copies_merge_as_devices_do(name):
    options = {"sample_rate": 40, "num_taps": 8} if name == "BSSEvalV4" else {}
    first, second, both = (made(name, **options) for _ in range(3))
    for metric, seed in ((first, 0), (second, 5), (both, 0), (both, 5)):
        metric.update(*scene(3, seed)[:2])
    first.merge_state(second)
    assert torch.allclose(flat(first.compute()), flat(both.compute()))
    assert first.left_out == both.left_out


def flat(result):
    return torch.stack(list(result.values())) if isinstance(result, dict) else result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_move_and_signals_have_any_precision(dtype):
    metric = made("ScaleInvariantSDR").to("cpu").set_dtype(dtype)
    estimates, sources, _ = (tensor.to(dtype) for tensor in scene())
    assert metric(estimates, sources).dtype == dtype
    assert metric.compute().item() == pytest.approx(si_sdr(estimates, sources).nanmean().item(), rel=1e-5)


def test_bss_eval_has_medians_over_frames_and_then_over_sources():
    metric = made("BSSEvalV4", sample_rate=40, window=1.0, num_taps=8)
    estimates, sources, _ = scene()
    sources[0, 1] = noise(2, 120, seed=8)
    sources[3, 0] = 0.0  # excludes the whole item
    sources[2, 1, :, :40] = 0.0  # excludes the first frame
    for batch in batches((estimates, sources)):
        metric.update(*batch)
    found = bss_eval_v4(estimates, sources, sample_rate=40, num_taps=8)
    for name, value in metric.compute().items():
        assert value == pytest.approx(frame_median(frame_median(getattr(found, name)).flatten()).item())
    assert metric.left_out == 3
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert flat(metric.compute()).isnan().all()


def test_lightning_logs_the_mean_of_an_epoch():
    class Task(LightningModule):
        def __init__(self):
            super().__init__()
            self.metrics = MetricCollection([made("ScaleInvariantSDR"), made("SignalNoiseRatio")])

        def test_step(self, batch, number):
            self.metrics(*batch)
            self.log_dict(self.metrics, on_step=False, on_epoch=True, batch_size=1)

    estimates, sources, _ = scene()
    trainer = Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
    loader = torch.utils.data.DataLoader([*zip(estimates, sources, strict=True)], batch_size=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **options: None)
        logged = trainer.test(Task(), loader, verbose=False)[0]
    assert logged["ScaleInvariantSDR"] == pytest.approx(si_sdr(estimates, sources).nanmean().item(), rel=1e-5)
    assert logged["SignalNoiseRatio"] == pytest.approx(snr(estimates, sources).nanmean().item(), rel=1e-5)


def test_improvement_needs_the_mixture():
    with pytest.raises(ValueError, match="mixture must be given if improvement is set, got None"):
        made("SignalNoiseRatio", improvement=True).update(*scene()[:2])


def test_the_modules_are_listed():
    assert set(RATIOS) <= set(dir(torchsep.metrics))
    with pytest.raises(AttributeError, match="has no attribute 'SDRR'"):
        made("SDRR")
