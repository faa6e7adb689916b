"""EM iterations of Gaussian mixtures and their gradient, in blocks of points."""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional._chunks import BlockSize

__all__ = ["fit_em", "fit_em_gradient", "items_per_group", "log_joint"]

# Log weights (B, K), means (B, K, D), and covariances, whose shape depends on their type.
State = tuple[Tensor, Tensor, Tensor]

# Elements of a block: points times components times features.
_BLOCK = BlockSize(cpu=1 << 20, accelerator=1 << 26)


def log_joint(points: Float[Tensor, "*any D P"], state: State, kind: str) -> Float[Tensor, "*any K P"]:
    """The log-density of each component at each point, plus its log-weight."""
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


def items_per_group(points: Float[Tensor, "B D P"], n_components: int) -> int:
    """The number of items that are fitted at once."""
    return max(1, _BLOCK.on(points.device) // (points[0].numel() * n_components))


def fit_em(
    data: tuple[Tensor, Tensor, Tensor], init: Int[Tensor, "B P"] | State, settings: tuple[str, int, int, float]
) -> tuple[State, Int[Tensor, " B"], Float[Tensor, " B"]]:
    """The converged state, the number of iterations, and the likelihood of each item.

    Args:
        data: points ``(B, D, P)``, weights ``(B, P)``, and the regularisation of the variances, ``(B,)``.
        init: labels, or a state.
        settings: covariance type, number of components, maximum number of iterations and tolerance.
    """
    kind, count, max_iter, tol = settings
    state = _initial_state(data, init, kind, count)
    previous = torch.full_like(data[2], -torch.inf)
    active = torch.ones_like(previous, dtype=torch.bool)
    iterations = torch.zeros_like(previous, dtype=torch.long)
    for _ in range(max_iter):
        statistics = _statistics(data, state, kind)
        likelihood = statistics[-1]
        moved = _maximise(statistics, state[1], data[2], kind)
        state = _select(active, moved, state)
        iterations += active
        active &= ~((likelihood - previous).abs() < tol)
        previous = likelihood
        if not active.any():
            break
    return state, iterations, _statistics(data, state, kind)[-1]


def fit_em_gradient(
    data: tuple[Tensor, Tensor, Tensor],
    init: Int[Tensor, "B P"] | State,
    settings: tuple[str, int],
    iterations: Int[Tensor, " B"],
    gradients: Sequence[Tensor],
) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of data, and of the initial state if there was one, given those of the fitted state.

    All states are recomputed and stored. Then each iteration, from last to first, is recomputed and differentiated in
    blocks of points.
    """
    kind, count = settings
    states = [_initial_state(data, init, kind, count)]
    total = int(iterations.max())
    for number in range(total):
        moved = _maximise(_statistics(data, states[-1], kind), states[-1][1], data[2], kind)
        states.append(_select(number < iterations, moved, states[-1]))
    to_data = [torch.zeros_like(tensor) for tensor in data]
    upstream = list(gradients)
    for number in reversed(range(total)):
        active = number < iterations
        own = [_masked(gradient, active) for gradient in upstream]
        passed = [_masked(gradient, ~active) for gradient in upstream]
        through = _step_gradient(data, states[number], kind, own, to_data)
        upstream = [one + other for one, other in zip(passed, through, strict=True)]
    if isinstance(init, Tensor):
        _step_gradient(data, _one_hot(init, count, data[0].dtype), kind, upstream, to_data)
    return to_data, upstream


def _factor(covariances: Float[Tensor, "*any D D"]) -> Float[Tensor, "*any D D"]:
    """Cholesky factors; covariances without one, by rounding, are replaced by spherical ones of the same variance."""
    _, failed = torch.linalg.cholesky_ex(covariances.detach())
    eye = torch.eye(covariances.shape[-1], dtype=covariances.dtype, device=covariances.device)
    variance = covariances.diagonal(dim1=-2, dim2=-1).abs().mean(-1)
    variance = variance.masked_fill(~(variance > 0), 1.0)[..., None, None]
    valid = torch.where((failed > 0)[..., None, None], variance * eye, covariances)
    return torch.linalg.cholesky_ex(valid).L


def _blocks(data: tuple[Tensor, Tensor, Tensor], count: int) -> Iterator[slice]:
    points = data[0]
    # The block size does not depend on the number of items.
    size = max(1, min(_BLOCK.on(points.device) // (points.shape[1] * count), points.shape[-1]))
    for first in range(0, points.shape[-1], size):
        yield slice(first, first + size)


def _responsibilities(
    points: Tensor, source: State | Tensor, block: slice, kind: str
) -> tuple[Float[Tensor, "B K n"], Float[Tensor, "B n"] | None]:
    """Responsibilities and log-density for a state; given memberships are returned as they are."""
    if isinstance(source, Tensor):
        return source[..., block], None
    joint = log_joint(points, source, kind)
    density = torch.logsumexp(joint, 1)
    return (joint - density[:, None]).exp(), density


def _block_statistics(
    points: Tensor, weights: Tensor, responsibilities: Tensor, centres: Float[Tensor, "B K D"], kind: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted counts, and first and second moments about given centres."""
    responsibilities = responsibilities * weights[:, None]
    difference = points[:, None] - centres[..., None]
    first = (difference @ responsibilities[..., None])[..., 0]
    if kind in {"full", "tied"}:
        second = (difference * responsibilities[:, :, None]) @ difference.mT
        return responsibilities.sum(-1), first, second.sum(1) if kind == "tied" else second
    second = (difference.square() @ responsibilities[..., None])[..., 0]
    return responsibilities.sum(-1), first, second.mean(-1) if kind == "spherical" else second


def _centres(data: tuple[Tensor, Tensor, Tensor], source: State | Tensor) -> Float[Tensor, "B K D"]:
    """Approximate means, about which moments are computed without cancellation."""
    if not isinstance(source, Tensor):
        return source[1]
    responsibilities = source * data[1][:, None]
    return responsibilities @ data[0].mT / responsibilities.sum(-1, keepdim=True).clamp(min=1.0)


def _statistics(data: tuple[Tensor, Tensor, Tensor], source: State | Tensor, kind: str) -> tuple[Tensor, ...]:
    """Counts and moments over all points, and the mean log-density, zero for given memberships."""
    points, weights, _ = data
    centres = _centres(data, source)
    counts, first, second, likelihood = (centres.new_zeros(()) for _ in range(4))
    for block in _blocks(data, centres.shape[1]):
        responsibilities, density = _responsibilities(points[..., block], source, block, kind)
        sums = _block_statistics(points[..., block], weights[:, block], responsibilities, centres, kind)
        counts, first, second = counts + sums[0], first + sums[1], second + sums[2]
        if density is not None:
            likelihood = likelihood + (density * weights[:, block]).sum(-1)
    return counts, first, second, likelihood / weights.sum(-1)


def _maximise(statistics: Sequence[Tensor], centres: Tensor, floor: Float[Tensor, " B"], kind: str) -> State:
    """M-step: the state for given counts and moments about given centres."""
    counts, first, second = statistics[:3]
    # The mean of an empty component stays unchanged, with a negligible weight.
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
    source: State | Tensor,
    kind: str,
    upstream: Sequence[Tensor],
    to_data: list[Tensor],
) -> list[Tensor]:
    """Accumulate the gradients of the data in one step, and return the gradient of the state before it."""
    points, weights, floor = data
    centres, sums = _centres(data, source), _statistics(data, source, kind)[:3]
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (*sums, floor)]
        state = _maximise(leaves[:3], centres, leaves[3], kind)
        *to_sums, to_floor = torch.autograd.grad(state, leaves, upstream)
    to_data[2] += to_floor
    to_state = [torch.zeros_like(tensor) for tensor in source] if not isinstance(source, Tensor) else []
    for block in _blocks(data, centres.shape[1]):
        with torch.enable_grad():
            own = [points[..., block].detach().requires_grad_(), weights[:, block].detach().requires_grad_()]
            if isinstance(source, Tensor):
                responsibilities, previous = source[..., block], []
            else:
                previous = [tensor.detach().requires_grad_() for tensor in source]
                responsibilities, _ = _responsibilities(own[0], (previous[0], previous[1], previous[2]), block, kind)
            results = _block_statistics(own[0], own[1], responsibilities, centres, kind)
            gradients = torch.autograd.grad(results, [*own, *previous], to_sums)
        to_data[0][..., block] += gradients[0]
        to_data[1][:, block] += gradients[1]
        to_state = [old + new for old, new in zip(to_state, gradients[2:], strict=True)]
    return to_state


def _initial_state(data: tuple[Tensor, Tensor, Tensor], init: Tensor | State, kind: str, count: int) -> State:
    if not isinstance(init, Tensor):
        return init
    source = _one_hot(init, count, data[0].dtype)
    return _maximise(_statistics(data, source, kind), _centres(data, source), data[2], kind)


def _one_hot(labels: Int[Tensor, "B P"], count: int, dtype: torch.dtype) -> Float[Tensor, "B K P"]:
    return (labels[:, None] == torch.arange(count, device=labels.device)[:, None]).to(dtype)


def _select(active: Tensor, moved: State, state: State) -> State:
    log_weights, means, covariances = (
        torch.where(active.view(-1, *[1] * (new.dim() - 1)), new, old) for new, old in zip(moved, state, strict=True)
    )
    return log_weights, means, covariances


def _masked(gradient: Tensor, kept: Tensor) -> Tensor:
    return gradient.masked_fill(~kept.view(-1, *[1] * (gradient.dim() - 1)), 0.0)
