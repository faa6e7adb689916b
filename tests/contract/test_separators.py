"""The contract, run on every registered separator."""

import dataclasses

import pytest
import torch
from contract.cases import CASES
from contract.promises import PARAMETERS, PROMISES, assert_near, run

from torchsep import list_separators

# The compiler takes long: one variant of each separator, and those that run other code.
COMPILED = {
    "deep_audio_estimation-default",
    "deep_audio_estimation-named",
    "deep_clustering-default",
    "deep_mask_estimation-default",
    "deep_mask_estimation-sigmoid",
    "duet-soft",
    "ensemble_clustering-cascade",
    "ensemble_clustering-learned_part",
    "ensemble_clustering-mixture",
    "ft2d-local_std",
    "ft2d-original",
    "high_low_pass_filter-binary_trainable",
    "high_low_pass_filter-soft_trainable",
    "hpss-residual",
    "hpss-trainable",
    "ica-deflation",
    "ica-parallel",
    "ideal_binary_mask-two_sources",
    "ideal_ratio_mask-msa",
    "ideal_ratio_mask-psa",
    "melodia-default",
    "mix_as_estimate",
    "nmf-itakura_saito",
    "overlap_add-oracle",
    "overlap_add-permutation",
    "overlap_add-trainable",
    "projet-default",
    "projet-euclidean",
    "refine-hpss",
    "repet-soft",
    "repet_sim-threshold",
    "resampled-share",
    "rpca-trainable",
    "spatial_clustering-soft",
    "supervised_nmf-binary",
    "timbre_clustering-gaussian_mixture",
    "wiener_filter-three_iterations",
}

PARAMETERS_OF_CASES = [
    pytest.param(case, id=str(case), marks=[pytest.mark.slow] if case.slow else []) for case in CASES
]


@pytest.fixture(scope="module", params=PARAMETERS_OF_CASES)
def case(request, compile_backend):
    return dataclasses.replace(request.param, compile_backend=compile_backend)


@pytest.mark.parametrize("promise", PARAMETERS)
def test_promise(promise, case, device):
    if str(case) not in COMPILED and promise is PROMISES["compiles_as_one_graph"]:
        pytest.skip("other variants of the separator are compiled")
    promise(case, device)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if str(case) in {"mix_as_estimate", "hpss-soft"}], ids=str)
def test_default_compiler(case, device):
    PROMISES["compiles_as_one_graph"](dataclasses.replace(case, compile_backend="inductor"), device)


def test_every_separator_has_a_case():
    assert {case.name for case in CASES} == set(list_separators())
    assert {case.name for case in CASES if str(case) in COMPILED} == set(list_separators())
    assert {str(case) for case in CASES} >= COMPILED


@pytest.mark.gpu
def test_accelerator_agrees(case):
    expected = run(case.build(dtype=torch.float64), case.inputs("cpu", dtype=torch.float64))
    estimates = run(case.build("cuda", torch.float64), case.inputs("cuda", dtype=torch.float64))
    assert_near(estimates.cpu(), expected, 1e-9, "estimates on the accelerator")
