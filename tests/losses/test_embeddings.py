"""Embedding losses against explicit affinities of all pairs of bins and explicit inverses."""

import pytest
import torch
from scenes import noise
from torch.autograd import gradcheck

from torchsep.losses import deep_clustering_loss, whitened_kmeans_loss

EVERY = pytest.mark.parametrize("loss", [deep_clustering_loss, whitened_kmeans_loss])


def scene(batch=3, points=17, size=4, sources=3):
    embedding = torch.nn.functional.normalize(noise(batch, points, size), dim=-1)
    labels = torch.arange(points) * 7 % 5 % sources
    assignments = torch.nn.functional.one_hot(labels, sources).double().expand(batch, -1, -1).clone()
    return embedding, assignments, noise(batch, points, seed=2).abs()


def gradient(loss, embedding, *others):
    embedding = embedding.detach().clone().requires_grad_()
    loss(embedding, *others).sum().backward()
    return embedding.grad


def slow_deep_clustering(points, labels, weights):
    """Mean over pairs of bins, pair by pair."""
    total = 0.0
    for v, y, w in zip(points, labels, weights, strict=True):
        for u, z, x in zip(points, labels, weights, strict=True):
            total = total + w * x * (v @ u - y @ z) ** 2
    return total / weights.sum() ** 2


def slow_whitened_kmeans(points, labels, weights):
    """Variance of whitened points around the means of their sources, point by point."""
    among = sum(w * torch.outer(v, v) for v, w in zip(points, weights, strict=True))
    values, vectors = torch.linalg.eigh(among)
    white = points @ (vectors / values.sqrt()) @ vectors.T
    left = 0.0
    for source in range(labels.shape[1]):
        own = labels[:, source] > 0
        mean = (weights[own, None] * white[own]).sum(0) / weights[own].sum()
        for v, w in zip(white[own], weights[own], strict=True):
            left = left + w * (v - mean) @ (v - mean)
    return left


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("loss", "slow"),
    [(deep_clustering_loss, slow_deep_clustering), (whitened_kmeans_loss, slow_whitened_kmeans)],
)
def test_they_are_their_definitions(loss, slow, weighted):
    embedding, assignments, weights = scene()
    weights = weights if weighted else torch.ones_like(weights)
    found = loss(embedding, assignments, weights if weighted else None)
    slopes = gradient(loss, embedding, assignments, weights if weighted else None)
    assert found.shape == (3,)
    for item in range(3):
        points = embedding[item].clone().requires_grad_()
        expected = slow(points, assignments[item], weights[item])
        torch.testing.assert_close(found[item], expected)
        torch.testing.assert_close(slopes[item], *torch.autograd.grad(expected, points))


@EVERY
def test_gradients_are_exact(loss):
    embedding, assignments, weights = scene(2, 9)
    inputs = embedding.requires_grad_(), assignments.requires_grad_(), weights.requires_grad_()
    assert gradcheck(loss, inputs)


def test_soft_assignments_are_those_of_the_formula():
    embedding, _, weights = scene(1)
    assignments = noise(1, 17, 3, seed=4).softmax(-1)
    expected = slow_deep_clustering(embedding[0], assignments[0], weights[0])
    torch.testing.assert_close(deep_clustering_loss(embedding, assignments, weights)[0], expected)
    v, y, w = embedding[0], assignments[0], weights[0].diag()
    across = v.T @ w @ y
    explained = torch.linalg.inv(v.T @ w @ v) @ across @ torch.linalg.inv(y.T @ w @ y) @ across.T
    torch.testing.assert_close(whitened_kmeans_loss(embedding, assignments, weights)[0], 4 - explained.trace())


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_embeddings_that_are_the_assignments_are_perfect(loss, dtype):
    _, assignments, weights = (tensor.to(dtype) for tensor in scene())
    rotated = assignments @ torch.linalg.qr(noise(4, 4)[:, :3]).Q.mT.to(dtype)
    expected = 0.0 if loss is deep_clustering_loss else 1.0  # a null direction
    found = loss(rotated, assignments, weights)
    torch.testing.assert_close(found, torch.full_like(found, expected), rtol=0, atol=100 * torch.finfo(dtype).eps)
    assert gradient(loss, rotated, assignments, weights).abs().max() < 1e3 * torch.finfo(dtype).eps


@EVERY
@pytest.mark.parametrize("gain", [1e-6, 1e6])
def test_the_level_of_the_weights_plays_no_part(loss, gain):
    embedding, assignments, weights = (tensor.float() for tensor in scene())
    found = loss(embedding, assignments, gain * weights)
    torch.testing.assert_close(found, loss(embedding, assignments, weights), rtol=1e-4, atol=1e-6)


def test_whitening_forgives_every_invertible_map():
    embedding, assignments, weights = scene()
    mapped = embedding @ (noise(4, 4, seed=5) + 3 * torch.eye(4)) * 1e-5
    found = whitened_kmeans_loss(mapped, assignments, weights)
    torch.testing.assert_close(found, whitened_kmeans_loss(embedding, assignments, weights))


@EVERY
def test_the_number_of_bins_and_the_order_of_sources_play_no_part(loss):
    embedding, assignments, weights = scene()
    expected = loss(embedding, assignments, weights)
    torch.testing.assert_close(loss(*(tensor.repeat_interleave(5, 1) for tensor in scene())), expected)
    torch.testing.assert_close(loss(embedding, assignments.roll(1, -1), weights), expected)


@EVERY
def test_bins_without_weight_play_no_part(loss):
    embedding, assignments, weights = scene()
    expected = loss(embedding[:, :9], assignments[:, :9], weights[:, :9])
    weights[:, 9:] = 0.0
    torch.testing.assert_close(loss(embedding, assignments, weights), expected)
    assert gradient(loss, embedding, assignments, weights)[:, 9:].eq(0).all()


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_has_no_inverse_is_defined(loss, dtype):
    """A source without a bin, embeddings in a plane or at zero, one bin, and silence."""
    embedding, assignments, weights = (tensor.to(dtype) for tensor in scene())
    absent = assignments[..., :2].sum(-1, keepdim=True) * torch.tensor([1.0, 0.0])
    flat = embedding * torch.tensor([1.0, 1.0, 0.0, 0.0])
    cases = [
        (embedding, absent.to(dtype), weights),
        (flat.to(dtype), assignments, weights),
        (0 * embedding, assignments, weights),
        (embedding[:, :1], assignments[:, :1], weights[:, :1]),
        (embedding, 0 * assignments, weights),
        (embedding, assignments, 0 * weights),
    ]
    for case in cases:
        assert loss(*case).isfinite().all()
        assert gradient(loss, *case).isfinite().all()
    assert loss(*cases[-1]).eq(0).all()
    assert gradient(loss, *cases[-1]).eq(0).all()
    if loss is whitened_kmeans_loss:
        expected = whitened_kmeans_loss(embedding[..., :2], assignments, weights) + 2
        torch.testing.assert_close(loss(*cases[1]), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(loss(*cases[3]), torch.full_like(loss(*cases[3]), 3.0), rtol=1e-5, atol=0)
        alone = whitened_kmeans_loss(embedding, absent[..., :1].to(dtype), weights)
        torch.testing.assert_close(loss(*cases[0]), alone)


@EVERY
def test_a_bad_item_stays_alone(loss):
    embedding, assignments, weights = scene()
    expected, slope = loss(embedding, assignments, weights), gradient(loss, embedding, assignments, weights)
    embedding[1, 4, 2] = torch.nan
    found = loss(embedding, assignments, weights)
    assert found[1].isnan()
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(gradient(loss, embedding, assignments, weights)[[0, 2]], slope[[0, 2]])


@EVERY
def test_items_are_alone_and_bins_may_have_axes(loss):
    embedding, assignments, weights = (tensor.float() for tensor in scene(points=24))
    found = loss(embedding, assignments, weights)
    alone = torch.cat(
        [loss(*item) for item in zip(*(t.split(1) for t in (embedding, assignments, weights)), strict=True)]
    )
    torch.testing.assert_close(alone, found, rtol=1e-5, atol=1e-6)
    shaped = (tensor.unflatten(1, (2, 4, 3)) for tensor in (embedding, assignments, weights))
    torch.testing.assert_close(loss(*shaped), found)


@EVERY
def test_half_precision_is_computed_in_single(loss):
    embedding, assignments, weights = scene()
    half = embedding.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(half, assignments.bool(), weights.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(half.float(), assignments.float(), weights.bfloat16().float()))


@EVERY
def test_they_can_be_compiled(loss):
    given = scene()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*given), loss(*given))


@EVERY
def test_what_is_refused(loss):
    embedding, assignments, weights = scene()
    with pytest.raises(ValueError, match=r"\(B, P, D\) and \(B, P, S\), got \(\(3, 17, 4\), \(3, 16, 3\)\)"):
        loss(embedding, assignments[:, 1:], weights)
    with pytest.raises(ValueError, match=r"weights must have shape \(3, 17\), got \(3, 16\)"):
        loss(embedding, assignments, weights[:, 1:])
