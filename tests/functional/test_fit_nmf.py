"""NMF compared with scikit-learn, and its properties."""

import math
import warnings

import pytest
import torch
from scenes import noise, tones_and_clicks
from sklearn import decomposition

from torchsep.functional._chunks import BlockSize
from torchsep.functional.nmf import _updates as nmf_updates
from torchsep.functional.nmf.nmf import beta_divergence, fit_nmf, nmf_activations
from torchsep.transforms import STFT

NAMES = {2.0: "frobenius", 1.0: "kullback_leibler", 0.0: "itakura_saito"}
BETAS = [2.0, 1.0, 0.0, 0.5, 1.5, 2.5, -0.5]


def spectrogram():
    """Steady tones and clicks, ``(129, 251)``, nowhere zero."""
    sources, rate = tones_and_clicks()
    return STFT.from_sample_rate(rate)(sources.sum(0)[0] + 1e-3 * noise(16000)).abs()


def positive(*shape, seed=0):
    return noise(*shape, seed=seed).square() + 0.02


def initial_factors(matrix, size):
    level = (matrix.mean() / size).sqrt()
    return level * noise(len(matrix), size, seed=1).abs(), level * noise(size, matrix.shape[1], seed=2).abs()


def peer(matrix, initial, beta, max_iter, **arguments):
    """The factorisation by scikit-learn, whose samples are frames, and its model."""
    templates, activations = (part.T.contiguous().numpy() for part in initial)
    loss = NAMES.get(beta, beta)
    loss = loss.replace("_", "-") if isinstance(loss, str) else loss
    model = decomposition.NMF(
        initial[0].shape[1], solver="mu", init="custom", beta_loss=loss, max_iter=max_iter, **arguments
    )
    with warnings.catch_warnings():  # that it has not converged
        warnings.simplefilter("ignore")
        found = model.fit_transform(matrix.T.contiguous().numpy(), W=activations.copy(), H=templates.copy())
    return torch.from_numpy(model.components_.T.copy()), torch.from_numpy(found.T.copy()), model


@pytest.mark.parametrize("penalties", [{}, {"alpha": 1e-4, "l1_ratio": 0.3}])
@pytest.mark.parametrize("max_iter", [1, 60])
@pytest.mark.parametrize("beta", BETAS)
def test_updates_equal_those_of_scikit_learn(beta, max_iter, penalties):
    matrix = spectrogram()
    initial = initial_factors(matrix, 8)
    theirs = {"alpha_W": penalties["alpha"], "l1_ratio": penalties["l1_ratio"]} if penalties else {}
    templates, activations, _ = peer(matrix, initial, beta, max_iter, tol=0.0, **theirs)
    model = fit_nmf(matrix, 8, beta_loss=beta, max_iter=max_iter, tol=0.0, init=initial, **penalties)
    expected = beta_divergence(matrix, templates @ activations, beta)
    loss = beta_divergence(matrix, model.templates @ model.activations, beta)
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    if max_iter == 1:
        assert torch.allclose(model.templates, templates, rtol=1e-5, atol=1e-6 * templates.max().item())
        assert torch.allclose(model.activations, activations, rtol=1e-5, atol=1e-6 * activations.max().item())


def test_vanishing_values_agree_with_scikit_learn():
    """Many template values vanish."""
    matrix = spectrogram()
    initial = initial_factors(matrix, 20)
    templates, activations, _ = peer(matrix, initial, 2.0, 200, tol=0.0)
    assert (templates < 1e-12).double().mean() > 0.2
    expected = beta_divergence(matrix, templates @ activations, "frobenius")
    model = fit_nmf(matrix, 20, beta_loss="frobenius", max_iter=200, tol=0.0, init=initial)
    found = beta_divergence(matrix, model.templates @ model.activations, "frobenius")
    assert found == pytest.approx(expected.item(), rel=1e-6)


def test_it_stops_where_scikit_learn_does():
    matrix = spectrogram()
    initial = initial_factors(matrix, 4)
    for tol in (1e-2, 1e-3):
        model = fit_nmf(matrix, 4, tol=tol, init=initial)
        assert model.n_iter.item() == peer(matrix, initial, 1.0, 200, tol=tol)[2].n_iter_ < 200


@pytest.mark.parametrize("beta", [2.0, 1.0])
def test_activations_are_those_of_scikit_learn(beta):
    matrix = spectrogram()
    templates, _, model = peer(matrix, initial_factors(matrix, 5), beta, 50, tol=0.0)
    other = matrix.flip(1)[:, :100]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.from_numpy(model.transform(other.T.contiguous().numpy()).T.copy())
    activations = nmf_activations(other, templates, beta_loss=beta, max_iter=50, tol=0.0)
    loss, wanted = (beta_divergence(other, templates @ values, beta).item() for values in (activations, expected))
    assert loss == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("alpha", [0.0, 1e-2])
@pytest.mark.parametrize("beta", BETAS)
def test_no_update_increases_the_loss(beta, alpha):
    matrix, losses = positive(12, 20), []
    for number in range(1, 30):
        model = fit_nmf(matrix, 4, beta_loss=beta, alpha=alpha, l1_ratio=1.0, max_iter=number, tol=0.0)
        penalty = alpha * (20 * model.templates.sum() + 12 * model.activations.sum())
        losses.append(beta_divergence(matrix, model.templates @ model.activations, beta) + penalty)
    losses = torch.stack(losses)
    assert (losses[1:] <= losses[:-1] * (1 + 1e-7)).all()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("beta", BETAS)
def test_the_divergence_is_its_definition(beta):
    matrix, model = positive(3, 4), positive(3, 4, seed=1)
    if beta == 1:
        expected = matrix * (matrix / model).log() - matrix + model
    elif beta == 0:
        expected = matrix / model - (matrix / model).log() - 1
    else:
        expected = matrix**beta + (beta - 1) * model**beta - beta * matrix * model ** (beta - 1)
        expected /= beta * (beta - 1)
    assert torch.allclose(beta_divergence(matrix, model, beta), expected.sum())
    assert beta_divergence(matrix, matrix, beta).abs() < 1e-12
    assert torch.autograd.gradcheck(
        lambda *both: beta_divergence(*both, beta), (matrix.requires_grad_(), model.requires_grad_())
    )


@pytest.mark.parametrize("beta", [2.0, 1.5, 1.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_divergence_of_a_zero_is_its_limit_and_has_a_finite_gradient(beta, dtype):
    matrix, model = torch.tensor([[0.0, 2.0]], dtype=dtype), torch.tensor([[3.0, 2.0]], dtype=dtype)
    found = beta_divergence(matrix.requires_grad_(), model.requires_grad_(), beta)
    assert torch.isclose(found, torch.tensor(3.0**beta / beta, dtype=dtype))
    into_matrix, into_model = torch.autograd.grad(found, (matrix, model))
    assert into_matrix.isfinite().all()
    assert torch.allclose(into_model, torch.tensor([[3.0 ** (beta - 1), 0.0]], dtype=dtype), atol=1e-6)


@pytest.mark.parametrize("beta", [2.0, 1.0, 0.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 2)])
def test_small_matrices(shape, beta):
    matrix = positive(*shape)
    for size in (1, 5):
        for init in ("random", "nndsvd"):
            model = fit_nmf(matrix, size, beta_loss=beta, init=init)
            assert model.templates.shape == (shape[0], size)
            assert model.activations.shape == (size, shape[1])
            if size >= min(shape):
                assert torch.allclose(model.templates @ model.activations, matrix, rtol=0.1)


@pytest.mark.parametrize("init", ["random", "nndsvd"])
@pytest.mark.parametrize("beta", [2.0, 1.0, 0.0, -1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence(dtype, beta, init):
    matrix = torch.zeros(3, 6, 9, dtype=dtype)
    matrix[1] = positive(6, 9)
    matrix[1, :, 4:] = 0.0
    matrix[1, 2] = 0.0
    matrix.requires_grad_()
    model = fit_nmf(matrix, 3, beta_loss=beta, init=init)
    assert all(part.isfinite().all() and part.dtype == dtype for part in model[:2])
    assert not model.templates[::2].any()
    assert not model.activations[::2].any()
    activations = nmf_activations(matrix, model.templates.detach(), beta_loss=beta)
    assert activations.isfinite().all()
    (gradient,) = torch.autograd.grad(sum(part.sum() for part in (*model[:2], activations)), matrix)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("init", ["random", "nndsvd"])
def test_items_are_independent(init):
    matrix = positive(2, 3, 10, 40).float() * torch.tensor([1.0, 1e-6, 1e6])[:, None, None]
    model = fit_nmf(matrix, 4, tol=1e-3, init=init)
    assert model.n_iter.shape == (2, 3)
    for item in ((0, 0), (1, 1), (1, 2)):
        alone = fit_nmf(matrix[item], 4, tol=1e-3, init=init)
        assert alone.n_iter == model.n_iter[item]
        product = model.templates[item] @ model.activations[item]
        assert torch.allclose(product, alone.templates @ alone.activations, rtol=0, atol=1e-5 * product.max().item())


@pytest.mark.parametrize("sick", [math.nan, math.inf])
def test_non_finite_items_are_isolated(sick):
    matrix = positive(3, 10, 40)
    clean = fit_nmf(matrix, 4)
    matrix[1, 2, 3] = sick
    model = fit_nmf(matrix.requires_grad_(), 4)
    assert torch.allclose(model.templates[::2], clean.templates[::2], rtol=1e-10)
    assert not model.templates[1].isfinite().all()
    (gradient,) = torch.autograd.grad(model.templates[::2].sum(), matrix)
    assert gradient[::2].isfinite().all()


def test_scale_equivariance():
    matrix = positive(10, 40).float()
    model = fit_nmf(matrix, 4, beta_loss=0.0)
    for level in (1e-15, 1e15):
        scaled = fit_nmf(matrix * level, 4, beta_loss=0.0)
        assert torch.allclose(scaled.templates / math.sqrt(level), model.templates, rtol=1e-3)


def test_memory_layout_changes_nothing():
    matrix = positive(3, 10, 40)
    models = [fit_nmf(values, 4, max_iter=30) for values in (matrix, matrix.mT.contiguous().mT)]
    assert torch.allclose(models[0].templates, models[1].templates, rtol=1e-8)


@pytest.mark.parametrize("penalties", [{}, {"alpha": 1e-3, "l1_ratio": 0.3}])
@pytest.mark.parametrize("beta", [2.0, 1.0, 0.0, 0.5])
@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_lanes_change_nothing(beta, penalties, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)  # the number of lanes
    matrix = positive(3, 10, 41)
    settings = {"beta_loss": beta, "max_iter": 30, "tol": 1e-3, **penalties}
    expected = fit_nmf(matrix, 4, **settings)
    activations = nmf_activations(matrix, expected.templates, **settings)
    monkeypatch.setattr(nmf_updates, "_ALIGNMENT", 1)
    for size in (1, 60, 130, 900):
        monkeypatch.setattr(nmf_updates, "_BLOCK", BlockSize(size, size))
        model = fit_nmf(matrix, 4, **settings)
        assert all(torch.allclose(*pair, rtol=1e-8) for pair in zip(model, expected, strict=True))
        assert torch.allclose(nmf_activations(matrix, expected.templates, **settings), activations, rtol=1e-8)


@pytest.mark.parametrize(("items", "groups"), [(0, []), (1, [1]), (4, [4]), (5, [3, 2]), (7, [4, 3]), (10, [4, 4, 2])])
def test_groups_of_items_are_about_as_large_as_a_block(items, groups, monkeypatch):
    """A third of an item above or below the three that fit does not leave a single one."""
    monkeypatch.setattr(nmf_updates, "_BLOCK", BlockSize(100, 100))
    data = positive(items, 3, 10)
    grouped = nmf_updates.grouped(data, data.new_zeros(items, 0), 1.0, learn=True)
    assert [len(updates.data) for _, updates in grouped] == groups
    assert torch.equal(torch.cat([data[:0], *(data[group] for group, _ in grouped)]), data)


def test_singular_vectors_are_a_good_start():
    matrix = spectrogram()
    losses = {}
    for init in ("random", "nndsvd"):
        model = fit_nmf(matrix, 6, max_iter=1, tol=0.0, init=init)
        losses[init] = beta_divergence(matrix, model.templates @ model.activations).item()
    assert losses["nndsvd"] < 0.7 * losses["random"]


def test_seeds_differ_and_repeat():
    matrix = positive(6, 8)
    first = fit_nmf(matrix, 3, seed=1).templates
    assert torch.equal(first, fit_nmf(matrix, 3, seed=1).templates)
    assert not torch.allclose(first, fit_nmf(matrix, 3, seed=2).templates)


def test_it_compiles_as_one_graph():
    matrix = positive(2, 6, 9).requires_grad_()
    compiled = torch.compile(lambda matrix: fit_nmf(matrix, 3).templates, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(matrix), fit_nmf(matrix, 3).templates, rtol=1e-12)
    (gradient,) = torch.autograd.grad(compiled(matrix).sum(), matrix)
    assert torch.allclose(gradient, torch.autograd.grad(fit_nmf(matrix, 3).templates.sum(), matrix)[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": 0}, "n_components must be at least 1, got 0"),
        ({"beta_loss": "kl"}, "beta_loss must be one of frobenius, kullback_leibler, itakura_saito, got 'kl'"),
        ({"beta_loss": math.inf}, "beta_loss must be finite, got inf"),
        ({"l1_ratio": 1.5}, r"l1_ratio must be at most 1, got 1\.5"),
        ({"alpha": -1.0}, r"alpha must be at least 0, got -1\.0"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"tol": -1.0}, r"tol must be at least 0, got -1\.0"),
        ({"init": "zeros"}, "init must be one of random, nndsvd, got 'zeros'"),
        ({"init": (torch.ones(5, 3), torch.ones(2, 7))}, r"init must be .* of shapes \(\(5, 3\), \(3, 7\)\), got"),
        ({"matrix": torch.ones(5)}, r"matrix must be floating point, of shape \(\.\.\., F, N\) and not empty, got"),
        ({"matrix": torch.ones(5, 7, dtype=torch.long)}, r"matrix must be floating point.* got torch\.int64"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_nmf(**{"matrix": torch.ones(5, 7), "n_components": 3, **arguments})


def test_templates_must_fit():
    with pytest.raises(ValueError, match=r"templates must have shape \(\.\.\., 5, K\), got \(4, 3\)"):
        nmf_activations(torch.ones(5, 7), torch.ones(4, 3))
