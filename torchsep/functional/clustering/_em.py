"""One iteration of expectation and maximisation for a mixture of Gaussians, and its gradient, some points at a time."""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional._chunks import BlockSize

__all__ = ["fitted", "fitted_gradient", "items_together", "log_joint"]

# Log weights (B, K), means (B, K, D), covariances in the shape of their type.
State = tuple[Tensor, Tensor, Tensor]

# Values worked out together: for each point and component as many as there are features.
_TOGETHER = BlockSize(cpu=1 << 20, accelerator=1 << 26)


def log_joint(points: Float[Tensor, "*any D P"], state: State, kind: str) -> Float[Tensor, "*any K P"]:
    """The logarithm of the density of each component at each point, times the weight of the component."""
    log_weights, means, covariances = state
    difference = points[..., None, :, :] - means[..., None]
    features = means.shape[-1]
    if kind in {"full", "tied"}:
        factor = _factor(covariances if kind == "full" else covariances[..., None, :, :])
        eye = torch.eye(features, dtype=points.dtype, device=points.device)
        white = torch.linalg.solve_triangular(factor, eye, upper=False) @ difference
        spread = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    else:
        deviation = (covariances if kind == "diag" else covariances[..., None].expand(means.shape)).sqrt()
        white = difference / deviation[..., None]
        spread = deviation.log().sum(-1)
    constant = log_weights - spread - 0.5 * features * math.log(2 * math.pi)
    return constant[..., None] - 0.5 * white.square().sum(-2)


def items_together(points: Float[Tensor, "B D P"], n_components: int) -> int:
    """How many items to fit at a time."""
    return max(1, _TOGETHER.on(points.device) // (points[0].numel() * n_components))


def fitted(
    data: tuple[Tensor, Tensor, Tensor], start: Int[Tensor, "B P"] | State, settings: tuple[str, int, int, float]
) -> tuple[State, Int[Tensor, " B"], Float[Tensor, " B"]]:
    """The state at which the likelihood of an item no longer grows, the iterations until then, and the likelihood.

    Args:
        data: points ``(B, D, P)``, weights ``(B, P)``, and what is added to the variances, ``(B,)``.
        start: labels, or a state.
        settings: covariance type, number of components, the most iterations and tolerance.
    """
    kind, count, max_iter, tol = settings
    state = _first_state(data, start, kind, count)
    before = torch.full_like(data[2], -torch.inf)
    moving = torch.ones_like(before, dtype=torch.bool)
    iterations = torch.zeros_like(before, dtype=torch.long)
    for _ in range(max_iter):
        statistics = _statistics(data, state, kind)
        likelihood = statistics[-1]
        moved = _maximised(statistics, state[1], data[2], kind)
        state = _chosen(moving, moved, state)
        iterations += moving
        moving &= ~((likelihood - before).abs() < tol)
        before = likelihood
        if not moving.any():
            break
    return state, iterations, _statistics(data, state, kind)[-1]


def fitted_gradient(
    data: tuple[Tensor, Tensor, Tensor],
    start: Int[Tensor, "B P"] | State,
    settings: tuple[str, int],
    iterations: Int[Tensor, " B"],
    gradients: Sequence[Tensor],
) -> tuple[list[Tensor], list[Tensor]]:
    """The gradient of a fitted state with respect to the data, and to the state that it began with, if it did.

    The states are found again. Then each iteration, the last first, is worked out and differentiated for some points
    at a time, so that nothing is kept but states.
    """
    kind, count = settings
    states = [_first_state(data, start, kind, count)]
    total = int(iterations.max())
    for number in range(total):
        moved = _maximised(_statistics(data, states[-1], kind), states[-1][1], data[2], kind)
        states.append(_chosen(number < iterations, moved, states[-1]))
    to_data = [torch.zeros_like(tensor) for tensor in data]
    upstream = list(gradients)
    for number in reversed(range(total)):
        moving = number < iterations
        active = [_masked(gradient, moving) for gradient in upstream]
        rest = [_masked(gradient, ~moving) for gradient in upstream]
        through = _step_gradient(data, states[number], kind, active, to_data)
        upstream = [kept + passed for kept, passed in zip(rest, through, strict=True)]
    if isinstance(start, Tensor):
        _step_gradient(data, _members(start, count, data[0].dtype), kind, upstream, to_data)
    return to_data, upstream


def _factor(covariances: Float[Tensor, "*any D D"]) -> Float[Tensor, "*any D D"]:
    """Cholesky factors; what has none, by rounding, counts as a sphere of the same mean variance."""
    _, failed = torch.linalg.cholesky_ex(covariances.detach())
    eye = torch.eye(covariances.shape[-1], dtype=covariances.dtype, device=covariances.device)
    variance = covariances.diagonal(dim1=-2, dim2=-1).abs().mean(-1)
    variance = variance.masked_fill(~(variance > 0), 1.0)[..., None, None]
    sound = torch.where((failed > 0)[..., None, None], variance * eye, covariances)
    return torch.linalg.cholesky_ex(sound).L


def _parts(data: tuple[Tensor, Tensor, Tensor], count: int) -> Iterator[slice]:
    points = data[0]
    # The points worked on together do not depend on the other items.
    room = _TOGETHER.on(points.device) // (points.shape[1] * count)
    together = max(1, min(room, points.shape[-1]))
    for first in range(0, points.shape[-1], together):
        yield slice(first, first + together)


def _shares(
    points: Tensor, guide: State | Tensor, part: slice, kind: str
) -> tuple[Float[Tensor, "B K n"], Float[Tensor, "B n"] | None]:
    """How much of each point each component has, by a state or by given memberships, and the log density there."""
    if isinstance(guide, Tensor):
        return guide[..., part], None
    joint = log_joint(points, guide, kind)
    density = torch.logsumexp(joint, 1)
    return (joint - density[:, None]).exp(), density


def _part_statistics(
    points: Tensor, weights: Tensor, shares: Tensor, centres: Float[Tensor, "B K D"], kind: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted counts, and first and second moments about given centres."""
    shares = shares * weights[:, None]
    difference = points[:, None] - centres[..., None]
    first = (difference @ shares[..., None])[..., 0]
    if kind in {"full", "tied"}:
        second = (difference * shares[:, :, None]) @ difference.mT
        return shares.sum(-1), first, second.sum(1) if kind == "tied" else second
    second = (difference.square() @ shares[..., None])[..., 0]
    return shares.sum(-1), first, second.mean(-1) if kind == "spherical" else second


def _centres(data: tuple[Tensor, Tensor, Tensor], guide: State | Tensor) -> Float[Tensor, "B K D"]:
    """Points near the means to come, about which moments lose no digits."""
    if not isinstance(guide, Tensor):
        return guide[1]
    shares = guide * data[1][:, None]
    return shares @ data[0].mT / shares.sum(-1, keepdim=True).clamp(min=1.0)


def _statistics(data: tuple[Tensor, Tensor, Tensor], guide: State | Tensor, kind: str) -> tuple[Tensor, ...]:
    """Counts and moments over all points, and the mean log density, zero where memberships are given."""
    points, weights, _ = data
    centres = _centres(data, guide)
    counts, first, second, likelihood = (centres.new_zeros(()) for _ in range(4))
    for part in _parts(data, centres.shape[1]):
        shares, density = _shares(points[..., part], guide, part, kind)
        sums = _part_statistics(points[..., part], weights[:, part], shares, centres, kind)
        counts, first, second = counts + sums[0], first + sums[1], second + sums[2]
        if density is not None:
            likelihood = likelihood + (density * weights[:, part]).sum(-1)
    return counts, first, second, likelihood / weights.sum(-1)


def _maximised(statistics: Sequence[Tensor], centres: Tensor, floor: Float[Tensor, " B"], kind: str) -> State:
    """The state that the counts and moments about given centres ask for."""
    counts, first, second = statistics[:3]
    # A component that has lost all points stays where it is, at a weight that plays no part.
    counts = counts + 10 * torch.finfo(counts.dtype).eps
    log_weights = (counts / counts.sum(-1, keepdim=True)).log()
    shift = first / counts[..., None]
    means = centres + shift
    if kind in {"full", "tied"}:
        eye = torch.eye(means.shape[-1], dtype=means.dtype, device=means.device)
        outer = shift[..., :, None] * shift[..., None, :]
        if kind == "full":
            return log_weights, means, second / counts[..., None, None] - outer + floor[:, None, None, None] * eye
        total = counts.sum(-1)[:, None, None]
        within = (second - (counts[..., None, None] * outer).sum(1)) / total
        return log_weights, means, within + floor[:, None, None] * eye
    if kind == "spherical":
        variance = (second / counts - shift.square().mean(-1)).clamp(min=0.0)
        return log_weights, means, variance + floor[:, None]
    variance = (second / counts[..., None] - shift.square()).clamp(min=0.0)
    return log_weights, means, variance + floor[:, None, None]


def _step_gradient(
    data: tuple[Tensor, Tensor, Tensor],
    guide: State | Tensor,
    kind: str,
    upstream: Sequence[Tensor],
    to_data: list[Tensor],
) -> list[Tensor]:
    """Add the gradient of one step to those of the data, and give that of the state which the step began with."""
    points, weights, floor = data
    centres, sums = _centres(data, guide), _statistics(data, guide, kind)[:3]
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (*sums, floor)]
        state = _maximised(leaves[:3], centres, leaves[3], kind)
        *to_sums, to_floor = torch.autograd.grad(state, leaves, upstream)
    to_data[2] += to_floor
    to_state = [torch.zeros_like(tensor) for tensor in guide] if not isinstance(guide, Tensor) else []
    for part in _parts(data, centres.shape[1]):
        with torch.enable_grad():
            own = [points[..., part].detach().requires_grad_(), weights[:, part].detach().requires_grad_()]
            if isinstance(guide, Tensor):
                shares, before = guide[..., part], []
            else:
                before = [tensor.detach().requires_grad_() for tensor in guide]
                shares, _ = _shares(own[0], (before[0], before[1], before[2]), part, kind)
            results = _part_statistics(own[0], own[1], shares, centres, kind)
            found = torch.autograd.grad(results, [*own, *before], to_sums)
        to_data[0][..., part] += found[0]
        to_data[1][:, part] += found[1]
        to_state = [old + new for old, new in zip(to_state, found[2:], strict=True)]
    return to_state


def _first_state(data: tuple[Tensor, Tensor, Tensor], start: Tensor | State, kind: str, count: int) -> State:
    if not isinstance(start, Tensor):
        return start
    guide = _members(start, count, data[0].dtype)
    return _maximised(_statistics(data, guide, kind), _centres(data, guide), data[2], kind)


def _members(labels: Int[Tensor, "B P"], count: int, dtype: torch.dtype) -> Float[Tensor, "B K P"]:
    return (labels[:, None] == torch.arange(count, device=labels.device)[:, None]).to(dtype)


def _chosen(moving: Tensor, moved: State, state: State) -> State:
    log_weights, means, covariances = (
        torch.where(moving.view(-1, *[1] * (new.dim() - 1)), new, old) for new, old in zip(moved, state, strict=True)
    )
    return log_weights, means, covariances


def _masked(gradient: Tensor, kept: Tensor) -> Tensor:
    return gradient.masked_fill(~kept.view(-1, *[1] * (gradient.dim() - 1)), 0.0)
