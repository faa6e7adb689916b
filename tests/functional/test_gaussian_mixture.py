"""Gaussian mixtures compared with scikit-learn and their definition, and their gradient."""

import math

import pytest
import torch
from scenes import noise
from sklearn import mixture as peer
from torch.distributions import MultivariateNormal

from torchsep.functional._chunks import BlockSize
from torchsep.functional.clustering import _em
from torchsep.functional.clustering.gaussian_mixture import (
    COVARIANCE_TYPES,
    GaussianMixture,
    fit_gaussian_mixture,
    log_likelihood,
    responsibilities,
)

KINDS = pytest.mark.parametrize("kind", COVARIANCE_TYPES)


def clouds(items, count, features, components, spread=2.0):
    centres = spread * noise(items, components, features)
    size = 0.3 + noise(components, 1, seed=2).abs()
    owner = torch.arange(count) % components
    return centres[:, owner] + size[owner] * noise(items, count, features, seed=1)


def full_covariances(mixture):
    """One covariance matrix for each component, whatever the type."""
    means, covariances = mixture.means, mixture.covariances
    eye = torch.eye(means.shape[-1], dtype=means.dtype)
    return {
        "full": lambda: covariances,
        "tied": lambda: covariances[..., None, :, :].expand(*means.shape, -1),
        "diag": lambda: torch.diag_embed(covariances),
        "spherical": lambda: covariances[..., None, None] * eye,
    }[mixture.covariance_type]()


def symmetric(mixture):
    covariances = mixture.covariances
    if mixture.covariance_type in {"full", "tied"}:
        covariances = 0.5 * (covariances + covariances.mT)
    return mixture._replace(covariances=covariances)


@KINDS
def test_likelihood_equals_the_definition(kind):
    points = clouds(2, 50, 3, 2)
    mixture = fit_gaussian_mixture(points, 2, covariance_type=kind)
    normal = MultivariateNormal(mixture.means[:, None], full_covariances(mixture)[:, None])
    joint = normal.log_prob(points[:, :, None]) + mixture.log_weights[:, None]
    assert torch.allclose(log_likelihood(points, mixture), joint.logsumexp(-1), atol=1e-10)
    assert torch.allclose(responsibilities(points, mixture), joint.softmax(-1), atol=1e-10)


@KINDS
@pytest.mark.parametrize(("components", "features"), [(1, 3), (2, 1), (3, 4)])
def test_likelihood_agrees_with_scikit_learn(kind, components, features):
    points = clouds(4, 300, features, components)
    mixture = fit_gaussian_mixture(points, components, covariance_type=kind, n_init=5)
    single = fit_gaussian_mixture(points.float(), components, covariance_type=kind, n_init=5)
    for item in range(4):
        model = peer.GaussianMixture(components, covariance_type=kind, n_init=5, random_state=0)
        score = model.fit(points[item].numpy()).score(points[item].numpy())
        assert log_likelihood(points, mixture)[item].mean() > score - 0.01 * abs(score)
        assert log_likelihood(points.float(), single)[item].mean() > score - 0.01 * abs(score)


@KINDS
def test_iterations_equal_those_of_scikit_learn(kind):
    """From the same state, with weights as repeated points."""
    points, repeats = clouds(1, 60, 2, 3)[0], torch.arange(60) % 4
    every = points.repeat_interleave(repeats, 0)
    start = fit_gaussian_mixture(points, 3, covariance_type=kind, max_iter=1)
    precisions = {"full": torch.linalg.inv, "tied": torch.linalg.inv}.get(kind, torch.reciprocal)
    model = peer.GaussianMixture(
        3,
        covariance_type=kind,
        weights_init=(start.log_weights.exp() / start.log_weights.exp().sum()).numpy(),
        means_init=start.means.numpy(),
        precisions_init=precisions(start.covariances).numpy(),
        reg_covar=1e-2 * every.var(0, correction=0).mean().item(),
        max_iter=200,
        tol=1e-9,
    )
    model.fit(every.numpy())
    found = fit_gaussian_mixture(
        points,
        3,
        covariance_type=kind,
        weights=repeats.double(),
        init=start,
        max_iter=200,
        tol=1e-9,
        reg_covar=1e-2,
    )
    assert torch.allclose(found.means, torch.from_numpy(model.means_), atol=1e-4)
    assert torch.allclose(found.covariances, torch.from_numpy(model.covariances_), atol=1e-4)
    assert torch.allclose(found.log_weights.exp(), torch.from_numpy(model.weights_), atol=1e-4)


@KINDS
def test_items_are_independent(kind):
    points, weights = clouds(4, 200, 3, 3).float(), noise(4, 200).abs().float()
    points[2] = 0.0
    together = fit_gaussian_mixture(points, 3, covariance_type=kind, weights=weights)
    for item in range(4):
        alone = fit_gaussian_mixture(points[item], 3, covariance_type=kind, weights=weights[item])
        for one, other in zip(alone[:3], together[:3], strict=True):
            assert torch.allclose(one, other[item], rtol=1e-4, atol=1e-5)
    points[1, 5, 2] = torch.nan
    sick = fit_gaussian_mixture(points, 3, covariance_type=kind, weights=weights)
    others = [0, 2, 3]
    for one, other in zip(sick[:3], together[:3], strict=True):
        assert one[1].isnan().all()
        assert torch.equal(one[others], other[others])


@KINDS
def test_points_of_weight_zero_are_ignored(kind):
    points = clouds(2, 100, 3, 2)
    expected = fit_gaussian_mixture(points[:, :70], 2, covariance_type=kind)
    weights = (torch.arange(100) < 70).double().expand(2, -1)
    points[:, 80], points[:, 81], points[:, 82] = torch.nan, torch.inf, 1e200
    found = fit_gaussian_mixture(points, 2, covariance_type=kind, weights=weights)
    order = [mixture.means[..., 0].argsort(-1) for mixture in (found, expected)]
    assert torch.allclose(found.means[0, order[0][0]], expected.means[0, order[1][0]], atol=1e-3)
    empty = fit_gaussian_mixture(points[:, :70], 2, covariance_type=kind, weights=torch.zeros(2, 70))
    assert torch.allclose(empty.means, expected.means)


@KINDS
def test_degenerate_items_are_finite(kind):
    points = torch.zeros(4, 5, 2, dtype=torch.float64)
    points[1] = 3.0
    points[2, 0] = 1.0
    points[3, :, 0] = torch.arange(5)  # a line
    points.requires_grad_()
    for count in (1, 3, 7):
        mixture = fit_gaussian_mixture(points, count, covariance_type=kind)
        likelihood = log_likelihood(points, mixture)
        assert likelihood.isfinite().all()
        assert torch.allclose(mixture.log_weights.exp().sum(-1), torch.ones(4, dtype=torch.float64))
        assert torch.allclose(mixture.means[:2], points[:2, :1].expand_as(mixture.means[:2]))
        total = sum(tensor.sum() for tensor in mixture[:3]) + likelihood.sum()
        assert torch.autograd.grad(total, points)[0].isfinite().all()
    lone = fit_gaussian_mixture(points[:, :1], 2, covariance_type=kind)
    assert all(tensor.isfinite().all() for tensor in lone[:3])


@KINDS
@pytest.mark.parametrize("scale", [1e-12, 1e8])
def test_level_and_offset(kind, scale):
    points = clouds(2, 200, 3, 2).float()
    found = fit_gaussian_mixture(points, 2, covariance_type=kind)
    scaled = fit_gaussian_mixture(points * scale, 2, covariance_type=kind)
    assert torch.allclose(scaled.means / scale, found.means, rtol=1e-3, atol=1e-4)
    assert torch.allclose(scaled.covariances / scale / scale, found.covariances, rtol=1e-3, atol=1e-4)
    far = fit_gaussian_mixture(points + 1000, 2, covariance_type=kind)
    assert torch.allclose(far.means - 1000, found.means, atol=1e-2)


@KINDS
def test_gradient_by_finite_differences(kind):
    points, weights = noise(2, 8, 2).requires_grad_(), (0.5 + noise(2, 8).abs()).requires_grad_()

    def fit(points, weights):
        return fit_gaussian_mixture(
            points, 2, covariance_type=kind, weights=weights, max_iter=3, tol=1e-2, reg_covar=1e-2
        )[:3]

    assert torch.autograd.gradcheck(fit, (points, weights), fast_mode=True)


@KINDS
def test_gradient_of_the_initial_mixture(kind):
    points = noise(2, 8, 2).requires_grad_()
    start = fit_gaussian_mixture(points.detach(), 2, covariance_type=kind, max_iter=1, reg_covar=0.1)
    leaves = [tensor.clone().requires_grad_() for tensor in start[:3]]

    def fit(points, *leaves):
        begin = symmetric(GaussianMixture(*leaves, kind))
        return fit_gaussian_mixture(points, 2, covariance_type=kind, init=begin, max_iter=3, reg_covar=0.1)[:3]

    assert torch.autograd.gradcheck(fit, (points, *leaves), fast_mode=True)


@KINDS
def test_gradient_of_the_likelihood(kind):
    points = noise(2, 6, 2).requires_grad_()
    start = fit_gaussian_mixture(points.detach(), 2, covariance_type=kind, max_iter=2, reg_covar=0.1)
    leaves = [tensor.clone().requires_grad_() for tensor in start[:3]]
    for function in (log_likelihood, responsibilities):

        def value(points, *leaves, function=function):
            return function(points, symmetric(GaussianMixture(*leaves, kind)))

        assert torch.autograd.gradcheck(value, (points, *leaves), fast_mode=True)


@KINDS
def test_block_sizes_change_nothing(kind, monkeypatch):
    points = clouds(3, 300, 3, 2).requires_grad_()

    def fit():
        mixture = fit_gaussian_mixture(points, 2, covariance_type=kind, max_iter=5)
        return *mixture[:3], torch.autograd.grad(sum(tensor.square().sum() for tensor in mixture[:3]), points)[0]

    whole = fit()
    monkeypatch.setattr(_em, "_BLOCK", BlockSize(500, 500))
    for one, other in zip(whole, fit(), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_iterations_are_not_saved_for_backward():
    def kept(iterations):
        sizes = []

        def keep(tensor):
            sizes.append(tensor.untyped_storage().nbytes())
            return tensor

        points = clouds(1, 300, 3, 2).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            fit_gaussian_mixture(points, 2, max_iter=iterations, tol=0.0)
        return sum(sizes)

    assert kept(20) == kept(1)


@pytest.mark.slow
def test_compiled_equals_eager():
    def total(x):
        mixture = fit_gaussian_mixture(x, 2, max_iter=5)
        return mixture.means.square().sum() + log_likelihood(x, mixture).sum()

    x = clouds(2, 40, 2, 2).requires_grad_()
    for backend in ("eager", "aot_eager"):
        compiled = torch.compile(total, fullgraph=True, backend=backend)(x)
        assert torch.allclose(compiled, total(x))
        assert torch.allclose(*(torch.autograd.grad(value, x)[0] for value in (compiled, total(x))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": 0}, "n_components must be at least 1, got 0"),
        ({"covariance_type": "ful"}, "covariance_type must be one of full, tied, diag, spherical, got 'ful'"),
        ({"reg_covar": 0.0}, r"reg_covar must be above 0, got 0\.0"),
        ({"weights": torch.ones(2, 8)}, r"weights must have shape \(2, 9\), got \(2, 8\)"),
        ({"points": torch.ones(9)}, r"points must be floating point of shape \(…, P, D\), got torch.float32 \(9,\)"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_gaussian_mixture(**{"points": torch.zeros(2, 9, 3), "n_components": 3, **arguments})


def test_init_must_match():
    start = fit_gaussian_mixture(noise(9, 3), 2, covariance_type="diag")
    with pytest.raises(ValueError, match="init must have covariance type full, got diag"):
        fit_gaussian_mixture(noise(9, 3), 2, init=start)
    with pytest.raises(ValueError, match=r"init must have tensors of shapes \(\(3,\), \(3, 3\), \(3, 3\)\), got"):
        fit_gaussian_mixture(noise(9, 3), 3, covariance_type="diag", init=start)
    assert math.isclose(start.log_weights.exp().sum(), 1.0)
