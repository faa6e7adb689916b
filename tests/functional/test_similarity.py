"""Similar frames and their median, against a plain search."""

import numpy as np
import pytest
import torch
from scenes import noise

from torchsep.functional._chunks import BlockSize
from torchsep.functional.masks import clipped_ratio_mask
from torchsep.functional.repetition import _frame_search as frame_choice
from torchsep.functional.repetition import similarity
from torchsep.functional.repetition.similarity import median_of_frames, recurring_mask, similar_frames


def plain_search(x, distance, limit, threshold):
    """The similar frames of each frame of one item ``(D, N)``, one frame and one choice at a time."""
    norms = np.linalg.norm(x, axis=0)
    chosen = []
    for frame in range(x.shape[1]):
        with np.errstate(invalid="ignore"):
            cosine = np.nan_to_num(x[:, frame] @ x / (norms[frame] * norms), nan=0.0)
        far = np.abs(np.arange(x.shape[1]) - frame) >= distance
        others = []
        while len(others) < limit and (cosine[far] > threshold).any():
            best = int(np.argmax(np.where(far, cosine, -1.0)))
            others.append(best)
            far &= np.abs(np.arange(x.shape[1]) - best) >= distance
        chosen.append(others or [frame])
    return chosen


def plain_median(x, chosen):
    return np.stack([np.median(x[..., others], axis=-1) for others in chosen], axis=-1)


def as_lists(frames):
    return [[frame for frame in row if frame >= 0] for row in frames.tolist()]


@pytest.mark.parametrize("threshold", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("limit", [1, 4, 100])
@pytest.mark.parametrize("distance", [1, 2, 7, 40, 96, 97, 500])
@pytest.mark.parametrize("frames", [1, 2, 97])
def test_it_is_the_plain_search(frames, distance, limit, threshold):
    x = noise(3, 2, 5, frames).abs()
    found = similar_frames(x, distance, limit, threshold)
    for item in range(3):
        flat = x[item].flatten(0, 1).numpy()
        chosen = plain_search(flat, distance, limit, threshold)
        assert as_lists(found[item]) == chosen
        common = median_of_frames(x, found)[item]
        assert np.abs(common.numpy() - plain_median(x[item].numpy(), chosen)).max() < 1e-15


@pytest.mark.parametrize("distance", [1, 3, 20])
def test_single_precision_and_other_shapes(distance):
    x = noise(2, 6, 300).abs()
    expected = similar_frames(x, distance, 9)
    found = similar_frames(x.float(), distance, 9)
    assert (found == expected).float().mean() > 0.99
    assert torch.equal(similar_frames(x.unflatten(1, (3, 2)), distance, 9), expected)
    assert torch.equal(similar_frames(x.mT.contiguous().mT, distance, 9), expected)


def test_level_plays_no_part():
    x = noise(2, 6, 60).abs()
    level = torch.logspace(-30, 30, 60, dtype=torch.float64)
    assert torch.equal(similar_frames(x.float() * level.float(), 4, 9), similar_frames(x.float(), 4, 9))
    assert torch.equal(similar_frames(x * level.pow(9), 4, 9), similar_frames(x, 4, 9))


def test_silent_frames_have_nothing_but_themselves():
    x = noise(2, 6, 40).abs()
    x[0] = 0.0
    x[1, :, 10:20] = 0.0
    found = similar_frames(x, 3, 5)
    alone = torch.full((40, 5), -1)
    alone[:, 0] = torch.arange(40)
    assert torch.equal(found[0], alone)
    assert torch.equal(found[1, 10:20], alone[10:20])
    others = torch.cat((found[1, :10], found[1, 20:]))
    assert not ((others >= 10) & (others < 20)).any()
    assert torch.equal(median_of_frames(x, found)[0], x[0])


@pytest.mark.parametrize("sick", [torch.nan, torch.inf])
def test_non_finite_frames_are_isolated(sick):
    x = noise(2, 6, 40).abs()
    clean = similar_frames(x, 3, 5)
    x[1, 2, 7] = sick
    found = similar_frames(x, 3, 5)
    assert torch.equal(found[0], clean[0])
    assert found[1, 7].tolist() == [7, -1, -1, -1, -1]
    assert (found[1] == 7).sum() == 1
    common = median_of_frames(x, found)
    assert common[1, 2, 7].isnan() if sick is torch.nan else common[1, 2, 7] == torch.inf
    assert common[1, :, :7].isfinite().all()


def test_nan_affects_only_its_frame():
    x, frames = noise(1, 3, 4), torch.tensor([[[0, 1], [1, 2], [3, -1], [2, 3]]])
    x[0, 1, 1] = torch.nan
    common = median_of_frames(x, frames)
    assert common.isnan().nonzero().tolist() == [[0, 1, 0], [0, 1, 1]]


@pytest.mark.parametrize("count", [1, 2, 7, 191, 192, 193, 240])
def test_any_number_of_frames(count):
    """Both ways to select, by network and by sort."""
    x, frames = noise(2, 3, 300), noise(2, 300, 300).argsort(-1)[..., :count]
    common = median_of_frames(x, frames)
    for item in range(2):
        expected = plain_median(x[item].numpy(), frames[item].tolist())
        assert np.abs(common[item].numpy() - expected).max() < 1e-15


@pytest.mark.parametrize("shape", [(2, 60), (2, 5, 60), (2, 3, 5, 60)])
def test_blocks_change_nothing(shape, monkeypatch):
    x, upstream = noise(*shape).abs().requires_grad_(), noise(*shape, seed=1)
    frames = similar_frames(x, 4, 9)
    whole = median_of_frames(x, frames)
    (gradient,) = torch.autograd.grad(whole, x, upstream)
    for room in (1, 500):
        monkeypatch.setattr(frame_choice, "_SIMILARITIES", BlockSize(room, room))
        monkeypatch.setattr(frame_choice, "_FEWEST_ROWS", 7)
        monkeypatch.setattr(similarity, "_GATHERED", BlockSize(room, room))
        assert torch.equal(similar_frames(x, 4, 9), frames)
        assert torch.equal(similar_frames(x[1:], 4, 9), frames[1:])
        parts = median_of_frames(x, frames)
        assert torch.equal(parts, whole)
        found = torch.autograd.grad(parts, x, upstream)[0]
        assert torch.allclose(found, gradient, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("distance", "together"), [(1, 5), (3, 5), (5, 5), (20, 7), (20, 300), (70, 64)])
def test_each_product_once_or_twice_is_the_same(distance, together, monkeypatch):
    """All similarities at once, mirrored from part to part, and those of some frames with all."""
    x = noise(2, 3, 6, 150).abs()
    monkeypatch.setattr(frame_choice, "_ROWS_TOGETHER", together)
    mirrored = similar_frames(x, distance, 9)
    monkeypatch.setattr(frame_choice, "_SIMILARITIES", BlockSize(1, 1))
    monkeypatch.setattr(frame_choice, "_FEWEST_ROWS", 11)
    assert torch.equal(similar_frames(x, distance, 9), mirrored)
    assert as_lists(mirrored[0]) == plain_search(x[0].flatten(0, 1).numpy(), distance, 9, 0.0)


@pytest.mark.parametrize(("distance", "limit"), [(1, 1), (2, 2), (20, 3), (64, 1)])
def test_of_many_blocks_the_best_are_enough(distance, limit):
    """So many frames that most blocks are never looked at."""
    x = noise(1, 4, 1700).abs() + torch.sin(0.02 * torch.arange(1700)).abs()
    found = similar_frames(x, distance, limit)
    assert as_lists(found[0]) == plain_search(x[0].numpy(), distance, limit, 0.0)


@pytest.mark.parametrize("shape", [(2, 60), (2, 5, 60), (2, 3, 5, 60)])
def test_share_is_that_of_the_median(shape):
    x = noise(*shape).abs()
    x[..., 7] = 0.0
    frames = similar_frames(x, 4, 9, 0.6)
    assert torch.equal(recurring_mask(x, frames)[..., 7], torch.ones_like(x[..., 7]))
    x[1, ..., 20] = torch.nan
    share = recurring_mask(x, frames)
    assert torch.equal(share.nan_to_num(-1.0), clipped_ratio_mask(median_of_frames(x, frames), x).nan_to_num(-1.0))
    assert share[0].isfinite().all()
    leaf, upstream = x[:1].clone().requires_grad_(), noise(1, *shape[1:], seed=1)
    recorded = recurring_mask(leaf, frames[:1])
    assert torch.equal(recorded.detach(), share[:1])
    (gradient,) = torch.autograd.grad(recorded, leaf, upstream)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("frames", [torch.full((2, 9, 1), 9), torch.arange(18).view(2, 9, 1)])
def test_frames_that_there_are_not_are_refused(frames):
    with pytest.raises(ValueError, match="frames must be below the number of frames, 9, got"):
        median_of_frames(torch.zeros(2, 3, 9), frames)


@pytest.mark.parametrize("most", [3, 40, 70, 150])
def test_numbers_of_frames_that_differ(most):
    """Frames are taken together by their number, which is rounded up where it is large."""
    x = noise(2, 2, 3, 160)
    frames = noise(2, 160, 160).argsort(-1)[..., :most]
    count = 1 + (noise(2, 160, seed=1).abs() * 1e6).long() % most
    frames = frames.masked_fill(torch.arange(most) >= count[..., None], -1)
    leaf = x.clone().requires_grad_()
    common = median_of_frames(leaf, frames)
    assert torch.equal(common.detach(), median_of_frames(x, frames))
    for item in range(2):
        expected = plain_median(x[item].numpy(), as_lists(frames[item]))
        assert np.abs(common.detach()[item].numpy() - expected).max() < 1e-15
    # Each frame passes its gradient on to those that it was made of, and so all of it arrives.
    upstream = noise(2, 2, 3, 160, seed=2)
    (gradient,) = torch.autograd.grad(common, leaf, upstream)
    assert torch.allclose(gradient.sum(-1), upstream.sum(-1), rtol=0, atol=1e-12)


def test_items_are_independent():
    x = noise(5, 2, 9, 200).abs().float()
    together = similar_frames(x, 5, 20)
    assert torch.equal(together, torch.cat([similar_frames(item[None], 5, 20) for item in x]))


@pytest.mark.parametrize("distance", [1, 3, 30])
def test_gradient_is_that_of_finite_differences(distance):
    for shape in ((2, 11), (2, 3, 11), (2, 2, 3, 11)):
        x = noise(*shape).abs().requires_grad_()
        frames = similar_frames(x, distance, 6, 0.5)
        assert not frames.requires_grad
        assert torch.autograd.gradcheck(lambda x, frames=frames: median_of_frames(x, frames), x)


def test_memory_kept_for_backward():
    kept = []

    def keep(tensor):
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    x = noise(2, 3, 5, 60).abs().requires_grad_()
    frames = similar_frames(x, 4, 9)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        median_of_frames(x, frames)
    assert sum(kept) == 2 * 4 * x.numel()  # two indices an output


@pytest.mark.slow
def test_operators_keep_the_rules_of_torch():
    for shape in ((2, 9), (2, 4, 9), (2, 3, 4, 9)):
        x = noise(*shape).abs()
        torch.library.opcheck(torch.ops.torchsep.chosen_frames.default, (x, 2, 3, 0.0))
        frames = similar_frames(x, 2, 3)
        torch.library.opcheck(torch.ops.torchsep.middles_of_frames.default, (x.clone().requires_grad_(), frames))
        torch.library.opcheck(torch.ops.torchsep.median_or_mask.default, (x, frames, True))
        lower, _ = torch.ops.torchsep.middles_of_frames(x, frames)
        torch.library.opcheck(torch.ops.torchsep.locate_frame.default, (x, frames, lower))
        located = torch.ops.torchsep.locate_frame(x, frames, lower)
        torch.library.opcheck(torch.ops.torchsep.scatter_to_frame.default, (x, located))


@pytest.mark.slow
def test_compiled_equals_eager():
    def common(x):
        return median_of_frames(x, similar_frames(x, 3, 4))

    x, upstream = noise(2, 3, 4, 25).abs().requires_grad_(), noise(2, 3, 4, 25, seed=1)
    compiled, eager = torch.compile(common, fullgraph=True, backend="aot_eager")(x), common(x)
    assert torch.equal(compiled, eager)
    assert torch.equal(torch.autograd.grad(compiled, x, upstream)[0], torch.autograd.grad(eager, x, upstream)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "distance must be at least 1, got 0"),
        ((1.5, 1), r"distance must be an integer, got 1\.5"),
        ((1, 0), "limit must be at least 1, got 0"),
        ((1, 1, -0.1), r"threshold must be at least 0, got -0\.1"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        similar_frames(torch.zeros(2, 3, 9), *arguments)


@pytest.mark.parametrize("frames", [torch.zeros(2, 9).long(), torch.zeros(2, 8, 1).long(), torch.zeros(2, 9, 1)])
def test_frames_of_another_shape_are_refused(frames):
    with pytest.raises(ValueError, match=r"frames must be integers of shape \(2, 9, K\), got torch"):
        median_of_frames(torch.zeros(2, 3, 9), frames)
