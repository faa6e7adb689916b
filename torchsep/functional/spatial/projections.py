"""The PROJET model: source spectrograms and location maps fitted to projections of a stereo mixture."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["fit_projections", "location_gains", "recombine_projections", "source_gains", "steering_vectors"]

_BLOCK = 1 << 18  # elements of projections processed at a time
_LEAST = 1e-10  # regularisation, relative to the mean magnitude
_FLOOR = 1e-20  # minimum of updated values, since processors are slow at denormal numbers

Model = tuple[Tensor, Tensor]


def steering_vectors(
    angles: Float[Tensor, " Q"], delays: Float[Tensor, "B D"], n_fft: int
) -> Complex[Tensor, "B F L 2"]:
    r"""Steering vectors of two channels, :math:`(\cos\theta, \sin\theta\, e^{-i \omega \delta})`.

    Args:
        angles: panning angles :math:`\theta`, from zero (first channel only) to :math:`\pi / 2` (second channel only).
        delays: delays :math:`\delta` of the second channel, in samples.
        n_fft: length of the transform.

    Shape:
        Every angle with every delay, ``L = Q * D``.

    Example:
        >>> steering_vectors(torch.tensor([0.0, math.pi / 4]), torch.zeros(1, 1), n_fft=2)[0, 0].real
        tensor([[1.0000, 0.0000],
                [0.7071, 0.7071]])
    """
    frequency = torch.arange(n_fft // 2 + 1, dtype=delays.dtype, device=delays.device)[:, None]
    phase = frequency * (-2 * math.pi / n_fft) * delays[:, None]
    phases = phase[:, :, None].expand(-1, -1, len(angles), -1)
    first = angles.cos()[:, None].to(phases) + torch.zeros_like(phases)
    second = torch.polar(torch.ones_like(phases), phases) * angles.sin()[:, None].to(phases)
    return torch.stack((first + 0j, second), -1).flatten(2, 3)


def location_gains(
    projections: Complex[Tensor, "B F M 2"], locations: Complex[Tensor, "B F L 2"], alpha: float = 1.0
) -> Float[Tensor, "B F M L"]:
    r"""The gain of each projection per location, :math:`|p_m^H a_l|^\alpha`.

    Args:
        projections: unit vectors :math:`p_m`.
        locations: steering vectors :math:`a_l` of the locations.
        alpha: exponent of the magnitude.

    Example:
        >>> directions = steering_vectors(torch.tensor([0.0, math.pi / 2]), torch.zeros(1, 1), n_fft=1)
        >>> location_gains(directions, directions).round()[0, 0]
        tensor([[1., 0.],
                [0., 1.]])
    """
    together = max(1, _BLOCK // (projections.shape[-2] * locations.shape[-2]))
    bins = projections.shape[1]
    parts = [slice(first, first + together) for first in range(0, bins, together)]
    return _filled(lambda part: _power(projections[:, part].conj() @ locations[:, part].mT, alpha), parts, bins)


def fit_projections(
    spectrogram: Complex[Tensor, "B 2 F N"],
    projections: Complex[Tensor, "B F M 2"],
    gains: Float[Tensor, "B F M L"],
    start: Model,
    num_iterations: int,
    beta: float = 1.0,
    alpha: float = 1.0,
) -> tuple[Float[Tensor, "B F S N"], Float[Tensor, "B L S"]]:
    r"""The source spectrograms and location maps fitted to the magnitudes of all projections.

    .. math::
        |p_m^H x|^\alpha \approx \sum_s P_s \sum_l K_{ml} Q_{ls}

    in each bin, by multiplicative updates of both that minimise the beta-divergence.

    Args:
        spectrogram: spectrogram of the mixture.
        projections: projection vectors :math:`p_m`.
        gains: gain :math:`K` of each projection per location.
        start: initial spectrograms ``(B, F, S, N)``, relative to a mean magnitude of one over all projections, and
            initial maps ``(B, L, S)``, each with a sum of one. Existing estimates of the sources can be given here.
        num_iterations: number of updates.
        beta: parameter of the divergence.
        alpha: exponent of the magnitudes.

    Gradient:
        Exact with respect to spectrogram and start. The memory of the checkpoints grows with the square root of the
        iterations, and is small compared to that of one iteration.

    Example:
        >>> mixture = torch.tensor([3.0, 4.0])[None, :, None, None] + 0j
        >>> directions = steering_vectors(torch.arange(4) * (math.pi / 4), torch.zeros(1, 1), n_fft=1).to(mixture)
        >>> gains = (directions.conj() @ directions.mT).abs()[..., :3]
        >>> start = torch.ones(1, 1, 1, 1), torch.full((1, 3, 1), 1 / 3)
        >>> fit_projections(mixture, directions, gains, start, num_iterations=20)[1].argmax().item()
        1
    """
    mixture, bins = spectrogram.movedim(1, 2), spectrogram.shape[-2]
    parts = _parts(spectrogram, projections)
    observed = _filled(lambda part: _power(projections[:, part].conj() @ mixture[:, part], alpha), parts, bins)
    mean = observed.mean((1, 2, 3), keepdim=True)
    mean = mean.masked_fill(mean == 0, 1.0)
    observed = observed / mean if observed.requires_grad else observed.div_(mean)
    constants = observed, gains, gains.sum(2)
    if torch.compiler.is_compiling():
        return _run(constants, beta, start, num_iterations)
    model: Model = _Updates.apply(num_iterations, beta, *constants, *start)  # type: ignore[no-untyped-call]
    return model


def recombine_projections(
    spectrogram: Complex[Tensor, "B 2 F N"],
    projections: Complex[Tensor, "B F M 2"],
    sources: Float[Tensor, "B F S N"],
    gains: Float[Tensor, "B F M S"],
) -> Complex[Tensor, "B S 2 F N"]:
    r"""The stereo sources, recovered from Wiener-filtered projections by least squares.

    The mask of a source in projection :math:`m` is :math:`G_{ms} P_s / \sum_r G_{mr} P_r`. The two channels of the
    source are the least-squares solution given all masked projections. All sources sum to the mixture.

    Args:
        spectrogram: spectrogram of the mixture.
        projections: at least two different projection vectors.
        sources: source spectrograms :math:`P`.
        gains: gain :math:`G` of each projection per source.

    Example:
        >>> mixture = torch.tensor([3.0, 4.0])[None, :, None, None] + 0j
        >>> directions = torch.eye(2)[None, None] + 0j
        >>> gains = torch.tensor([[1.0, 0.0], [1.0, 1.0]])[None, None]
        >>> recombine_projections(mixture, directions, torch.ones(1, 1, 2, 1), gains).real.flatten(1).round()
        tensor([[3., 2., 0., 2.]])
    """
    first, second = projections.unbind(-1)
    # The pseudoinverse, by the inverse of the 2 x 2 Gram matrix.
    one, other = (values.abs().square().sum(-1, keepdim=True) for values in (first, second))
    both = (first * second.conj()).sum(-1, keepdim=True)
    determinant = one * other - both.abs().square()
    rows = (other * first - both * second) / determinant, (one * second - both.conj() * first) / determinant
    inverse = torch.stack(rows, -2)
    mixture = spectrogram.movedim(1, 2)
    parts = []
    count = gains.shape[-1]
    for part in _parts(spectrogram, projections, sources, gains):
        models = [gains[:, part, :, number, None] * sources[:, part, None, number] for number in range(count)]
        total = torch.stack(models).sum(0) + _LEAST
        projected = projections[:, part].conj() @ mixture[:, part] / total
        parts.append(torch.stack([inverse[:, part] @ ((own + _LEAST / count) * projected) for own in models], 1))
    return torch.cat(parts, 2).movedim(3, 2)


def _parts(spectrogram: Tensor, projections: Tensor, *others: Tensor) -> list[slice]:
    """Consecutive groups of frequencies to process one by one; a single group with gradient or under the compiler.

    Sums over frequencies are computed after all groups, so rounding does not depend on the group size.
    """
    bins = spectrogram.shape[-2]
    tensors = (spectrogram, projections, *others)
    if torch.compiler.is_compiling() or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)):
        return [slice(0, bins)]
    together = max(1, _BLOCK // (len(spectrogram) * projections.shape[-2] * spectrogram.shape[-1]))
    return [slice(first, first + together) for first in range(0, bins, together)]


def _filled(function: Callable[[slice], Tensor], parts: list[slice], bins: int) -> Tensor:
    """The results of a function for groups of frequencies, concatenated in place along the second axis."""
    first = function(parts[0])
    if len(parts) == 1:
        return first
    whole = first.new_empty(first.shape[0], bins, *first.shape[2:])
    whole[:, parts[0]] = first
    for part in parts[1:]:
        whole[:, part] = function(part)
    return whole


def _power(values: Complex[Tensor, "*any"], exponent: float) -> Float[Tensor, "*any"]:
    """Magnitudes to a power; the gradient at zero is zero."""
    if not values.requires_grad:
        power = values.real.square() + values.imag.square()
        return power.sqrt() if exponent == 1 else power ** (exponent / 2)
    if exponent == 1:
        return values.abs()
    silent = values == 0
    return (values.masked_fill(silent, 1.0).abs() ** exponent).masked_fill(silent, 0.0)


def source_gains(gains: Float[Tensor, "B F M L"], maps: Float[Tensor, "B L S"]) -> Float[Tensor, "B F M S"]:
    """The gain of each projection per source, given the location maps of the sources.

    Args:
        gains: gain of each projection per location.
        maps: weight of each location per source.

    Example:
        >>> source_gains(torch.tensor([[[[1.0, 0.5]]]]), torch.tensor([[[1.0, 0.5], [0.0, 0.5]]]))
        tensor([[[[1.0000, 0.7500]]]])
    """
    # The gains are read once in memory order, in half the time of the transposed product.
    return (maps.mT[:, None] @ gains.mT).mT


class _Updates(torch.autograd.Function):
    """All updates, with a backward pass that recomputes them from checkpoints.

    The models, which are small, are saved at regular intervals in forward, and between two checkpoints in backward.
    Their memory is allocated at once, since many small persistent tensors would fragment the memory.
    """

    @staticmethod
    def forward(ctx: Any, num_iterations: int, beta: float, *tensors: Tensor) -> Model:
        constants, model = tensors[:3], (tensors[3], tensors[4])
        if not any(ctx.needs_input_grad):
            return _run(constants, beta, model, num_iterations)
        span = math.isqrt(max(1, num_iterations - 1)) + 1
        saved = [part.new_empty(-(-num_iterations // span), *part.shape) for part in model]
        for number in range(0, num_iterations, span):
            _save(model, saved, number // span)
            model = _run(constants, beta, model, min(span, num_iterations - number))
        ctx.num_iterations, ctx.span, ctx.beta = num_iterations, span, beta
        ctx.save_for_backward(*constants, *saved)
        return model

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradients: Sequence[Tensor] = outputs
        observed, gains, total_gains, *saved = ctx.saved_tensors
        between = [slots.new_empty(ctx.span, *slots.shape[1:]) for slots in saved]
        gradient = torch.zeros_like(observed)
        for first in reversed(range(0, ctx.num_iterations, ctx.span)):
            model: Sequence[Tensor] = [slots[first // ctx.span] for slots in saved]
            count = min(ctx.span, ctx.num_iterations - first)
            _save(model, between, 0)
            for number in range(1, count):
                model = _run((observed, gains, total_gains), ctx.beta, model, 1)
                _save(model, between, number)
            for number in reversed(range(count)):
                inputs = (observed, *(slots[number] for slots in between))
                given = [tensor.detach().requires_grad_() for tensor in inputs]
                with torch.enable_grad():
                    updated = _updated(given[0], gains, total_gains, given[1], given[2], ctx.beta)
                contribution, *gradients = torch.autograd.grad(updated, given, gradients)
                gradient += contribution
        return None, None, gradient, None, None, *gradients


def _save(model: Sequence[Tensor], slots: Sequence[Tensor], number: int) -> None:
    for part, slot in zip(model, slots, strict=True):
        slot[number].copy_(part)


def _run(constants: Sequence[Tensor], beta: float, model: Sequence[Tensor], num_iterations: int) -> Model:
    """The model after ``num_iterations`` updates."""
    observed, gains, total_gains = constants
    sources, maps = model
    for _ in range(num_iterations):
        sources, maps = _updated(observed, gains, total_gains, sources, maps, beta)
    return sources, maps


def _updated(observed: Tensor, gains: Tensor, total_gains: Tensor, sources: Tensor, maps: Tensor, beta: float) -> Model:
    """Spectrograms and maps after one update of both; ``total_gains`` is the sum of the gains of each location."""
    gains_per_source = source_gains(gains, maps)
    numerators: list[Tensor] = []
    denominators: list[Tensor] = []
    new = []
    for part in _parts(observed.movedim(2, 1), gains_per_source, sources):
        level, own = gains_per_source[:, part], sources[:, part]
        model = level @ own + _LEAST
        if beta == 1:
            ratio = observed[:, part] / model
            below = level.sum(-2)[..., None]
        else:
            ratio = observed[:, part] * model ** (beta - 2)
            power = model ** (beta - 1)
            below = level.mT @ power
            denominators.append(own @ power.mT)
        numerators.append(own @ ratio.mT)
        new.append((own * (level.mT @ ratio) / (below + _LEAST)).clamp(min=_FLOOR))
    above = (torch.cat(numerators, 1) @ gains).sum(1).mT
    below = sources.sum(-1).mT @ total_gains if beta == 1 else (torch.cat(denominators, 1) @ gains).sum(1)
    updated = (maps * above / (below.mT + _LEAST)).clamp(min=_FLOOR)
    total = updated.sum(1, keepdim=True)
    empty = total == 0
    updated = torch.where(empty, maps, updated / total.masked_fill(empty, 1.0))
    return torch.cat(new, 1) * total[:, None].mT, updated
