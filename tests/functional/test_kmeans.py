"""k-means compared with scikit-learn and its definition, and degenerate cases."""

import warnings

import numpy as np
import pytest
import torch
from scenes import noise
from sklearn.cluster import KMeans

from torchsep.functional._chunks import BlockSize
from torchsep.functional.clustering import _lloyd as lloyd
from torchsep.functional.clustering import _packed_points as packed_points
from torchsep.functional.clustering.kmeans import kmeans, minibatch_kmeans, soft_assignment, soft_kmeans

FITS = [kmeans, minibatch_kmeans]


def blobs(items, count, features, clusters, spread=3.0, seed=0):
    centres = spread * noise(items, clusters, features, seed=seed)
    owner = torch.arange(count) % clusters
    return centres[:, owner] + noise(items, count, features, seed=seed + 1)


def check_definition(points, weights, result):
    """The centres are the means of their points, and every point is near the nearest of the centres."""
    for item in range(len(points)):
        total = 0.0
        for cluster, centre in enumerate(result.centres[item]):
            mine = (result.labels[item] == cluster) & (weights[item] > 0)
            w = weights[item][mine]
            assert torch.allclose(centre, (w[:, None] * points[item][mine]).sum(0) / w.sum(), rtol=1e-9, atol=1e-9)
            total += (w * (points[item][mine] - centre).square().sum(-1)).sum()
        assert torch.isclose(result.inertia[item], total, rtol=1e-9)


@pytest.mark.parametrize("features", [1, 2, 7])
@pytest.mark.parametrize("clusters", [1, 2, 5])
def test_inertia_agrees_with_scikit_learn(clusters, features):
    points = blobs(4, 300, features, clusters, spread=1.0)
    weights = noise(4, 300, seed=9).abs() * (noise(4, 300, seed=8) > -1)
    for given in (None, weights):
        result = kmeans(points, clusters, weights=given, n_init=10)
        single = kmeans(points.float(), clusters, weights=given, n_init=10)
        check_definition(points, torch.ones(4, 300, dtype=torch.float64) if given is None else given, result)
        for item in range(4):
            peer = KMeans(clusters, n_init=10, random_state=0)
            peer.fit(points[item].numpy(), sample_weight=None if given is None else given[item].numpy())
            assert result.inertia[item] <= 1.01 * peer.inertia_
            assert single.inertia[item] <= 1.01 * peer.inertia_


def test_iterations_equal_those_of_scikit_learn():
    points, init = blobs(3, 400, 3, 4, spread=1.0), noise(3, 4, 3, seed=5)
    for steps in (1, 3, 300):
        result = kmeans(points, 4, init=init, max_iter=steps, tol=0.0)
        for item in range(3):
            # One step more, as centres are the means for the last labels.
            peer = KMeans(4, init=init[item].numpy(), n_init=1, max_iter=steps + 1, tol=0.0)
            with warnings.catch_warnings(action="ignore"):  # that it has not converged
                peer.fit(points[item].numpy())
            assert np.allclose(result.centres[item].numpy(), peer.cluster_centers_, atol=1e-12)


@pytest.mark.parametrize("fit", FITS)
def test_distant_clusters_are_found(fit):
    points = blobs(5, 2000, 6, 4, spread=30.0)
    result = fit(points.float(), 4)
    assert result.centres.dtype == torch.float32
    for labels in result.labels:
        assert all(len(labels[k::4].unique()) == 1 for k in range(4))
        assert len(labels.unique()) == 4


@pytest.mark.parametrize("weighted", [False, True])
def test_many_points_use_a_coreset(weighted):
    points = blobs(2, 30_000, 3, 4, spread=2.0)
    points[0, -3:] += 1e3  # few and far away: a uniform sample would miss them
    weights = noise(2, 30_000, seed=4).abs() if weighted else None
    result = kmeans(points, 4, weights=weights, n_init=2)
    check_definition(points, torch.ones(2, 30_000).double() if weights is None else weights, result)
    assert len(result.labels[0, -3:].unique()) == 1
    assert (result.labels[0, :-3] != result.labels[0, -1]).all()
    peer = KMeans(4, n_init=2, random_state=0)
    peer.fit(points[1].numpy(), sample_weight=None if weights is None else weights[1].numpy())
    assert result.inertia[1] <= 1.001 * peer.inertia_


def test_minibatch_inertia_is_close_to_that_of_kmeans():
    points = blobs(3, 20_000, 5, 4, spread=1.0).float()
    assert (minibatch_kmeans(points, 4, n_init=3).inertia < 1.02 * kmeans(points, 4, n_init=3).inertia).all()


@pytest.mark.parametrize("fit", FITS)
def test_items_are_independent(fit):
    points = blobs(5, 700, 4, 3, spread=1.0).float()
    points[3] = 0.0
    weights = noise(5, 700).abs().float()
    for given in (None, weights):
        together = fit(points, 3, weights=given, n_init=2)
        for item in range(5):
            alone = fit(points[item], 3, weights=None if given is None else given[item], n_init=2)
            assert torch.equal(alone.labels, together.labels[item])
            assert torch.allclose(alone.centres, together.centres[item], rtol=1e-5, atol=1e-5)
            assert torch.allclose(alone.inertia, together.inertia[item], rtol=1e-5)
    points[1, 5, 2] = torch.nan
    sick = fit(points, 3, weights=weights, n_init=2)
    assert sick.centres[1].isnan().all()
    assert sick.inertia[1].isnan()
    others = [0, 2, 3, 4]
    assert torch.equal(sick.centres[others], together.centres[others])
    assert torch.equal(sick.labels[others], together.labels[others])


@pytest.mark.parametrize("fit", FITS)
def test_points_of_weight_zero_are_only_labelled(fit):
    points = blobs(2, 300, 3, 3, spread=5.0)
    weights = (torch.arange(300) < 200).double().repeat(2, 1)
    expected = fit(points[:, :200], 3)
    points[:, 201] = torch.nan
    points[:, 202] = torch.inf
    points[:, 203] = 1e200
    result = kmeans(points, 3, weights=weights) if fit is kmeans else fit(points, 3, weights=weights, init=expected[0])
    assert torch.allclose(result.inertia, expected.inertia, rtol=1e-6)
    points.requires_grad_(), weights.requires_grad_()
    again = fit(points, 3, weights=weights, init=result.centres)
    gradients = torch.autograd.grad(again.inertia.sum() + again.centres.sum(), (points, weights))
    assert all(gradient[:, 200:].eq(0).all() and gradient.isfinite().all() for gradient in gradients)
    points = points.detach()
    usual = torch.cat((points[:, :200], points[:, 204:]), 1)
    nearest = torch.cdist(usual, result.centres).argmin(-1)
    assert torch.equal(torch.cat((result.labels[:, :200], result.labels[:, 204:]), 1), nearest)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e15])
def test_level_and_offset(scale):
    points = blobs(2, 200, 3, 3).float()
    result, scaled = kmeans(points, 3), kmeans(points * scale, 3)
    assert torch.equal(result.labels, scaled.labels)
    assert torch.allclose(scaled.centres, result.centres * scale, rtol=1e-5, atol=1e-6 * scale)
    far = kmeans(points + 1e4, 3)
    assert torch.allclose(far.centres - 1e4, result.centres, atol=1e-2)


@pytest.mark.parametrize("fit", FITS)
def test_fewer_distinct_points_than_clusters(fit):
    points = torch.tensor([1.0, 1.0, 4.0, 1.0, 4.0])[:, None].repeat(2, 1, 2).double()
    points[1] = 0.0
    points.requires_grad_()
    result = fit(points, 4)
    assert (result.inertia == 0).all()
    assert set(result.centres[0].flatten().tolist()) == {1.0, 4.0}
    assert (result.centres[1] == 0).all()
    (gradient,) = torch.autograd.grad(result.centres.sum() + result.inertia.sum(), points)
    assert gradient.isfinite().all()
    assert gradient[0].sum() == 8
    lone = fit(points[:, :1], 3)
    assert torch.equal(lone.centres, points[:, :1].expand(-1, 3, -1))
    few = fit(points[:1], 3, weights=torch.tensor([[0.0, 0.0, 2.0, 0.0, 0.0]]))
    assert torch.equal(few.centres, torch.full_like(few.centres, 4.0))
    none = fit(points, 2, weights=torch.zeros(2, 5))
    assert torch.equal(none.centres, fit(points, 2).centres)


def test_empty_clusters_are_moved():
    points = torch.tensor([0.0, 1.0, 2.0, 10.0, 11.0, 30.0])[:, None].double()
    init = torch.tensor([[0.0], [1e3], [2e3]]).double()
    result = kmeans(points, 3, init=init)
    assert result.centres.flatten().sort().values.tolist() == [1.0, 10.5, 30.0]
    assert len(result.labels.unique()) == 3
    moved = kmeans(points, 3, init=init, max_iter=1).centres
    assert moved.isfinite().all()


@pytest.mark.parametrize("fit", FITS)
def test_gradient_with_labels_fixed(fit):
    points, weights = blobs(2, 7, 2, 2).requires_grad_(), (0.5 + noise(2, 7).abs()).requires_grad_()
    few = {"max_iter": 3}
    assert torch.autograd.gradcheck(lambda x: fit(x, 2, **few)[::2], points)
    assert torch.autograd.gradcheck(lambda x, w: fit(x, 2, weights=w, **few)[::2], (points, weights))
    moved = torch.tensor([[1e3, 0.0], [1e4, 0.0], [1e5, 0.0]]).double()
    assert torch.autograd.gradcheck(lambda x: kmeans(x, 3, init=moved, max_iter=1)[::2], points[0])


def test_chunks_change_nothing(monkeypatch):
    points, weights = blobs(3, 1000, 4, 3, spread=1.0), noise(3, 1000).abs()
    for given in (None, weights):
        whole = kmeans(points, 3, weights=given)
        with monkeypatch.context() as patch:
            patch.setattr(packed_points, "_CHUNK", 900)
            patch.setattr(packed_points, "_BLOCK", BlockSize(3000, 3000))
            patch.setattr(lloyd, "_ITEMS", BlockSize(3000, 3000))
            parts = kmeans(points, 3, weights=given)
        assert torch.equal(whole.labels, parts.labels)
        assert torch.allclose(whole.centres, parts.centres, rtol=1e-12)


def test_other_layouts_and_no_leading_axis():
    points = blobs(6, 90, 4, 3)
    expected = kmeans(points, 3)
    unflattened = kmeans(points.mT.contiguous().mT.unflatten(0, (2, 3)), 3)
    assert torch.equal(unflattened.centres.flatten(0, 1), expected.centres)
    assert unflattened.inertia.shape == (2, 3)
    assert torch.equal(kmeans(points[2], 3).centres, expected.centres[2])


@pytest.mark.parametrize("count", [600, 601])
@pytest.mark.parametrize("clusters", [2, 50])
def test_offset_does_not_change_the_result(count, clusters, monkeypatch):
    monkeypatch.setattr(packed_points, "_CHUNK", 900)
    points, away = blobs(3, count, 4, clusters), torch.tensor([1e4, -1e5, 0.0, 1e3]).double()
    weights = noise(3, count, seed=4).abs()
    for given in (None, weights):
        about, far = kmeans(points, clusters, weights=given), kmeans(points + away, clusters, weights=given)
        assert torch.equal(about.labels, far.labels)
        assert torch.allclose(about.centres + away, far.centres, rtol=1e-11)
        assert torch.allclose(about.inertia, far.inertia, rtol=1e-8)


@pytest.mark.parametrize("spread", [1.0, 1e3])
def test_inertia_in_single_precision(spread):
    """Also if clusters are much smaller than the distances between them."""
    points = blobs(3, 4000, 5, 3, spread=spread).float()
    result = kmeans(points, 3)
    own = result.centres.gather(1, result.labels[..., None].expand_as(points))
    inertia = (points.double() - own.double()).square().sum((1, 2))
    assert torch.allclose(result.inertia.double(), inertia, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("fit", FITS)
def test_compiled_equals_eager(fit):
    def both(x):
        result = fit(x, 3)
        return result.centres.square().sum() + result.inertia.sum()

    x = blobs(2, 40, 2, 3).requires_grad_()
    for backend in ("eager", "aot_eager"):
        compiled = torch.compile(both, fullgraph=True, backend=backend)(x)
        assert torch.equal(compiled, both(x))
        assert torch.allclose(*(torch.autograd.grad(value, x)[0] for value in (compiled, both(x))))


@pytest.mark.slow
def test_custom_operators():
    points, weights = blobs(2, 40, 2, 3).requires_grad_(), noise(2, 40).abs().requires_grad_()
    torch.library.opcheck(torch.ops.torchsep.fit_kmeans.default, (points, weights, None, 3, 5, 1e-4, 2, 0))
    torch.library.opcheck(torch.ops.torchsep.fit_minibatch_kmeans.default, (points, None, None, 3, 9, 5, 1e-4, 1, 0))


def test_soft_assignment_is_the_softmax_of_distances():
    points, centres = noise(2, 9, 3), noise(2, 4, 3, seed=1)
    distance = (points[:, :, None] - centres[:, None]).square().sum(-1).sqrt()
    assert torch.allclose(soft_assignment(points, centres, 3.0), torch.softmax(-3.0 * distance, -1), atol=1e-14)
    beta = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    points.requires_grad_(), centres.requires_grad_()
    assert torch.autograd.gradcheck(soft_assignment, (points, centres, beta))
    at = points[:, :4].detach().requires_grad_()
    assignment = soft_assignment(at, at.detach().clone(), 5.0)
    assert torch.allclose(assignment.sum(-1), torch.ones_like(assignment[..., 0]))
    assert torch.autograd.grad(assignment.square().sum(), at)[0].isfinite().all()


def test_soft_kmeans_converges_to_the_centres():
    points = blobs(2, 200, 3, 2, spread=20.0)
    hard = kmeans(points, 2)
    init = hard.centres + noise(2, 2, 3)
    weights = torch.ones(2, 200).double()
    assert torch.allclose(soft_kmeans(points, init, 5, 10.0, weights), hard.centres, atol=1e-6)
    few = points[:, :8].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_kmeans(x, init, 3, 0.5), few)
    assert torch.equal(soft_kmeans(points, init, 2, 1.0, 0 * weights), init)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_clusters": 0}, "n_clusters must be at least 1, got 0"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"tol": -1.0}, r"tol must be at least 0, got -1\.0"),
        ({"weights": torch.ones(2, 8)}, r"weights must have shape \(2, 9\), got \(2, 8\)"),
        ({"init": torch.ones(2, 2, 3)}, r"init must have shape \(2, 3, 3\), got \(2, 2, 3\)"),
        ({"points": torch.ones(2, 9).long()}, r"points must be floating point of shape \(…, P, D\), got torch.int64"),
    ],
)
@pytest.mark.parametrize("fit", FITS)
def test_errors_name_the_argument(fit, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(**{"points": torch.zeros(2, 9, 3), "n_clusters": 3, **arguments})
