"""Measures of how clear clusters are: against their definitions, and what they are for."""

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
    """Points around the corners of a cross, as many around each, and their number."""
    centres = torch.cat((torch.eye(size), -torch.eye(size)))[:count].double()
    return (centres.repeat(points // count, 1) + spread * noise(points // count * count, size, seed=seed))[None]


def clustered(points, count, beta=5.0):
    """Everything that a measure takes."""
    found = kmeans(points, count, n_init=3)
    return points, soft_assignment(points, found.centres, beta), torch.ones(points.shape[:-1]).to(points)


@pytest.mark.parametrize("approach", CONFIDENCES)
@pytest.mark.parametrize(("count", "size"), [(2, 3), (5, 4), (5, 10)])
def test_clear_clusters_score_above_vague_ones_and_these_above_noise(approach, count, size):
    measure = CONFIDENCES[approach]
    clear, vague = (measure(*clustered(blobs(count, size, spread), count)) for spread in (0.02, 0.25))
    nothing = measure(*clustered(noise(1, 240, size, seed=5) * 0.7, count))
    assert clear > vague > nothing
    assert clear <= 1 + 1e-9
    assert clear > nothing + 0.2


@pytest.mark.parametrize("approach", CONFIDENCES)
def test_each_item_counts_for_itself(approach):
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
def test_points_without_weight_do_not_count(approach):
    points, shares, weights = clustered(blobs(2, 3, 0.1), 2)
    kept = torch.arange(points.shape[1]) % 5 > 0  # a prime step: evenly over both clusters
    moved = points.clone()
    moved[:, ~kept] += 100.0
    shares[:, ~kept] = 0.5
    some = CONFIDENCES[approach](moved, shares, weights * kept)
    assert torch.allclose(some, CONFIDENCES[approach](points[:, kept], shares[:, kept], weights[:, kept]), atol=1e-6)
    nothing = CONFIDENCES[approach](moved, shares, torch.zeros_like(weights))
    assert torch.equal(nothing, torch.zeros(1, dtype=nothing.dtype))


@pytest.mark.parametrize("count", [2, 5])
def test_silhouette_is_scikit_learns(count):
    points, shares, weights = clustered(blobs(count, 4, 0.3), count)
    expected = silhouette_score(points[0].numpy(), shares[0].argmax(-1).numpy())
    assert silhouette_confidence(points, shares, weights).item() == pytest.approx(expected, abs=1e-10)


def test_a_cluster_of_one_point_has_silhouette_zero():
    points = torch.tensor([[0.0], [0.5], [9.0]])
    shares = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    expected = silhouette_score(points.numpy(), [0, 0, 1])
    assert silhouette_confidence(points, shares, torch.ones(3)).item() == pytest.approx(expected)


def test_many_points_are_compared_in_part():
    points, shares, weights = clustered(blobs(2, 3, 0.3, points=5000), 2)
    expected = silhouette_score(points[0].numpy(), shares[0].argmax(-1).numpy())
    assert silhouette_confidence(points, shares, weights).item() == pytest.approx(expected, abs=0.02)


def test_posterior_and_loudness_by_hand():
    shares = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.0, 0.0, 1.0]])
    points, weights = torch.zeros(3, 2), torch.tensor([4.0, 1.0, 5.0])
    assert posterior_confidence(points, shares, weights).item() == pytest.approx((0.7 + 0.4 + 1.0) / 3)
    assert loudness_confidence(points, shares, weights).item() == pytest.approx(3 * 0.4 / 10)


def affinities(points, shares):
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    owners = np.eye(shares.shape[1])[shares.argmax(1)]
    return units @ units.T, owners @ owners.T, owners


def test_deep_clustering_objectives_are_their_definitions():
    points, shares, weights = clustered(blobs(3, 4, 0.4, points=60) + 0.2, 3)
    values = points[0].numpy()
    alike, together, owners = affinities(values, shares[0].numpy())
    expected = 1 - np.sum((alike - together) ** 2) / (np.sum(alike**2) + np.sum(together**2))
    assert dpcl_classic_confidence(points, shares, weights).item() == pytest.approx(expected, abs=1e-10)
    projections = [matrix @ np.linalg.pinv(matrix) for matrix in (values, owners)]
    expected = np.trace(projections[0] @ projections[1]) / 3
    assert whitened_kmeans_confidence(points, shares, weights).item() == pytest.approx(expected, abs=1e-6)


def test_whitening_survives_features_that_say_the_same():
    points, shares, weights = clustered(blobs(2, 3, 0.1), 2)
    twice = torch.cat((points, points, torch.zeros_like(points)), -1)
    found = whitened_kmeans_confidence(twice, shares, weights)
    # Of rank 3 as before, of which 2 clusters explain at most 2.
    assert torch.allclose(found, whitened_kmeans_confidence(points, shares, weights), atol=1e-6)


def test_divergence_of_far_gaussians_is_that_of_the_densities():
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
def test_loudness_itself_is_no_cue(approach, scale):
    points, shares, weights = clustered(blobs(3, 4, 0.3), 3)
    measure = CONFIDENCES[approach]
    assert torch.allclose(measure(points, shares, scale * weights), measure(points, shares, weights), atol=1e-9)


def test_the_names():
    assert sorted(CONFIDENCES) == [
        "dpcl_classic", "jensen_shannon", "loudness", "posterior", "silhouette", "whitened_kmeans",
    ]  # fmt: skip
