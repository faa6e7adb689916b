"""Confidence measures compared with their definitions, and their ranking of clusters."""

import numpy as np
import pytest
import torch
from scenes import noise
from sklearn.metrics import silhouette_score

from torchsep.functional.clustering.confidence import (
    CONFIDENCES,
    dpcl_classic_confidence,
    jensen_shannon_confidence,
    loudness_confidence,
    posterior_confidence,
    silhouette_confidence,
    whitened_kmeans_confidence,
)
from torchsep.functional.clustering.kmeans import kmeans, soft_assignment


def blobs(count, size, spread, points=240, seed=0):
    """Equally many points around each corner of a cross, and their number."""
    centres = torch.cat((torch.eye(size), -torch.eye(size)))[:count].double()
    return (centres.repeat(points // count, 1) + spread * noise(points // count * count, size, seed=seed))[None]


def clustered(points, count, beta=5.0):
    """Points, posteriors and weights."""
    found = kmeans(points, count, n_init=3)
    return points, soft_assignment(points, found.centres, beta), torch.ones(points.shape[:-1]).to(points)


@pytest.mark.parametrize("approach", CONFIDENCES)
@pytest.mark.parametrize(("count", "size"), [(2, 3), (5, 4), (5, 10)])
def test_ranking_of_clear_clusters_vague_clusters_and_noise(approach, count, size):
    measure = CONFIDENCES[approach]
    clear, vague = (measure(*clustered(blobs(count, size, spread), count)) for spread in (0.02, 0.25))
    nothing = measure(*clustered(noise(1, 240, size, seed=5) * 0.7, count))
    assert clear > vague > nothing
    assert clear <= 1 + 1e-9
    assert clear > nothing + 0.2


@pytest.mark.parametrize("approach", CONFIDENCES)
def test_items_are_independent(approach):
    measure = CONFIDENCES[approach]
    points = torch.cat([blobs(3, 4, 0.05), blobs(3, 4, 0.4, seed=1), noise(1, 240, 4), torch.zeros(1, 240, 4)])
    given = clustered(points, 3)
    together = measure(*given)
    assert together.shape == (4,)
    assert together.isfinite().all()
    for item in range(4):
        alone = measure(*(tensor[item : item + 1] for tensor in given))
        assert torch.allclose(alone[0], together[item], atol=1e-9)


@pytest.mark.parametrize("approach", CONFIDENCES)
def test_points_of_weight_zero_are_ignored(approach):
    points, posteriors, weights = clustered(blobs(2, 3, 0.1), 2)
    kept = torch.arange(points.shape[1]) % 5 > 0  # a prime step: evenly over both clusters
    moved = points.clone()
    moved[:, ~kept] += 100.0
    posteriors[:, ~kept] = 0.5
    some = CONFIDENCES[approach](moved, posteriors, weights * kept)
    assert torch.allclose(
        some, CONFIDENCES[approach](points[:, kept], posteriors[:, kept], weights[:, kept]), atol=1e-6
    )
    nothing = CONFIDENCES[approach](moved, posteriors, torch.zeros_like(weights))
    assert torch.equal(nothing, torch.zeros(1, dtype=nothing.dtype))


@pytest.mark.parametrize("count", [2, 5])
def test_silhouette_equals_scikit_learn(count):
    points, posteriors, weights = clustered(blobs(count, 4, 0.3), count)
    expected = silhouette_score(points[0].numpy(), posteriors[0].argmax(-1).numpy())
    assert silhouette_confidence(points, posteriors, weights).item() == pytest.approx(expected, abs=1e-10)


def test_a_cluster_of_one_point_has_silhouette_zero():
    points = torch.tensor([[0.0], [0.5], [9.0]])
    posteriors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    expected = silhouette_score(points.numpy(), [0, 0, 1])
    assert silhouette_confidence(points, posteriors, torch.ones(3)).item() == pytest.approx(expected)


def test_many_points_are_subsampled():
    points, posteriors, weights = clustered(blobs(2, 3, 0.3, points=5000), 2)
    expected = silhouette_score(points[0].numpy(), posteriors[0].argmax(-1).numpy())
    assert silhouette_confidence(points, posteriors, weights).item() == pytest.approx(expected, abs=0.02)


def test_posterior_and_loudness_by_hand():
    posteriors = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.0, 0.0, 1.0]])
    points, weights = torch.zeros(3, 2), torch.tensor([4.0, 1.0, 5.0])
    assert posterior_confidence(points, posteriors, weights).item() == pytest.approx((0.7 + 0.4 + 1.0) / 3)
    assert loudness_confidence(points, posteriors, weights).item() == pytest.approx(3 * 0.4 / 10)


def affinities(points, posteriors):
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    assignments = np.eye(posteriors.shape[1])[posteriors.argmax(1)]
    return units @ units.T, assignments @ assignments.T, assignments


def test_deep_clustering_objectives_equal_their_definitions():
    points, posteriors, weights = clustered(blobs(3, 4, 0.4, points=60) + 0.2, 3)
    values = points[0].numpy()
    own, clusters, assignments = affinities(values, posteriors[0].numpy())
    expected = 1 - np.sum((own - clusters) ** 2) / (np.sum(own**2) + np.sum(clusters**2))
    assert dpcl_classic_confidence(points, posteriors, weights).item() == pytest.approx(expected, abs=1e-10)
    projections = [matrix @ np.linalg.pinv(matrix) for matrix in (values, assignments)]
    expected = np.trace(projections[0] @ projections[1]) / 3
    assert whitened_kmeans_confidence(points, posteriors, weights).item() == pytest.approx(expected, abs=1e-6)


def test_whitening_with_redundant_features():
    points, posteriors, weights = clustered(blobs(2, 3, 0.1), 2)
    twice = torch.cat((points, points, torch.zeros_like(points)), -1)
    found = whitened_kmeans_confidence(twice, posteriors, weights)
    # Of rank 3 as before, of which 2 clusters explain at most 2.
    assert torch.allclose(found, whitened_kmeans_confidence(points, posteriors, weights), atol=1e-6)


def test_divergence_of_distant_gaussians():
    points = torch.cat((noise(400, 1), noise(400, 1, seed=1) + 9.0))[None]
    found = jensen_shannon_confidence(*clustered(points, 2)).item()
    grid = np.linspace(-30.0, 40.0, 20001)
    normal = lambda x, mean, deviation: np.exp(-(((x - mean) / deviation) ** 2) / 2) / deviation / np.sqrt(2 * np.pi)  # noqa: E731
    halves = points[0, :400], points[0, 400:]
    several = sum(normal(grid, half.mean().item(), half.std(correction=0).item()) for half in halves) / 2
    single = normal(grid, points.mean().item(), points.std(correction=0).item())
    mean = (several + single) / 2
    divergence = (
        sum(np.sum(p * np.log(np.maximum(p, 1e-300) / mean)) for p in (several, single)) / 2 * (grid[1] - grid[0])
    )
    assert found == pytest.approx(divergence / np.log(2), abs=0.02)


@pytest.mark.parametrize("approach", CONFIDENCES)
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_invariance_to_the_scale_of_weights(approach, scale):
    points, posteriors, weights = clustered(blobs(3, 4, 0.3), 3)
    measure = CONFIDENCES[approach]
    assert torch.allclose(measure(points, posteriors, scale * weights), measure(points, posteriors, weights), atol=1e-9)


def test_the_names():
    assert sorted(CONFIDENCES) == [
        "dpcl_classic", "jensen_shannon", "loudness", "posterior", "silhouette", "whitened_kmeans",
    ]  # fmt: skip
