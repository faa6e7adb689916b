"""Sources at places in a stereo scene, fitted to projections of the mixture that shut out places."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["fit_projections", "location_gains", "recombine_projections", "source_gains", "steering_vectors"]

_TOGETHER = 1 << 18  # elements of projections that are worked on together
_LEAST = 1e-10  # of the mean magnitude: what no source explains
_FLOOR = 1e-20  # of what is updated, as processors are slow at numbers that all but vanish

Model = tuple[Tensor, Tensor]


def steering_vectors(
    angles: Float[Tensor, " Q"], delays: Float[Tensor, "B D"], n_fft: int
) -> Complex[Tensor, "B F L 2"]:
    r"""What a source sounds like in two channels, :math:`(\cos\theta, \sin\theta\, e^{-i \omega \delta})`.

    Args:
        angles: :math:`\theta`, from zero for the first channel alone to a quarter turn for the second.
        delays: :math:`\delta` of the second channel, in samples.
        n_fft: length of the transform.

    Shape:
        Every angle with every delay, ``L = Q * D``.

    Example:
        >>> steering_vectors(torch.tensor([0.0, math.pi / 4]), torch.zeros(1, 1), n_fft=2)[0, 0].real
        tensor([[1.0000, 0.0000],
                [0.7071, 0.7071]])
    """
    frequency = torch.arange(n_fft // 2 + 1, dtype=delays.dtype, device=delays.device)[:, None]
    turns = frequency * (-2 * math.pi / n_fft) * delays[:, None]
    turned = turns[:, :, None].expand(-1, -1, len(angles), -1)
    first = angles.cos()[:, None].to(turned) + torch.zeros_like(turned)
    second = torch.polar(torch.ones_like(turned), turned) * angles.sin()[:, None].to(turned)
    return torch.stack((first + 0j, second), -1).flatten(2, 3)


def location_gains(
    projections: Complex[Tensor, "B F M 2"], places: Complex[Tensor, "B F L 2"], alpha: float = 1.0
) -> Float[Tensor, "B F M L"]:
    r"""What each projection lets through of each place, :math:`|p_m^H a_l|^\alpha`.

    Example:
        >>> directions = steering_vectors(torch.tensor([0.0, math.pi / 2]), torch.zeros(1, 1), n_fft=1)
        >>> location_gains(directions, directions).round()[0, 0]
        tensor([[1., 0.],
                [0., 1.]])
    """
    together = max(1, _TOGETHER // (projections.shape[-2] * places.shape[-2]))
    bins = projections.shape[1]
    parts = [slice(first, first + together) for first in range(0, bins, together)]
    return _filled(lambda part: _power(projections[:, part].conj() @ places[:, part].mT, alpha), parts, bins)


def fit_projections(
    spectrogram: Complex[Tensor, "B 2 F N"],
    projections: Complex[Tensor, "B F M 2"],
    gains: Float[Tensor, "B F M L"],
    start: Model,
    num_iterations: int,
    beta: float = 1.0,
    alpha: float = 1.0,
) -> tuple[Float[Tensor, "B F S N"], Float[Tensor, "B L S"]]:
    r"""The spectrograms of sources and their maps over places that explain the magnitudes of all projections.

    .. math::
        |p_m^H x|^\alpha \approx \sum_s P_s \sum_l K_{ml} Q_{ls}

    in each bin, by multiplicative updates of both that lower the beta-divergence.

    Args:
        spectrogram: of the mixture.
        projections: :math:`p_m`.
        gains: :math:`K`, what each projection lets through of each place.
        start: spectrograms ``(B, F, S, N)``, where the mean of all magnitudes is one, and maps ``(B, L, S)`` that each
            add up to one. Estimates of the sources may be put here, as magnitudes over their mean.
        num_iterations: of the updates.
        beta: of the divergence.
        alpha: exponent of the magnitudes.

    Gradient:
        Exact, into spectrogram and start. What is kept for it grows with the square root of the iterations, and is
        little beside what one of them takes.

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
    heard = _filled(lambda part: _power(projections[:, part].conj() @ mixture[:, part], alpha), parts, bins)
    mean = heard.mean((1, 2, 3), keepdim=True)
    mean = mean.masked_fill(mean == 0, 1.0)
    heard = heard / mean if heard.requires_grad else heard.div_(mean)
    audible = gains.sum(2)
    if torch.compiler.is_compiling():
        return _run((heard, gains, audible), beta, start, num_iterations)
    model: Model = _Updates.apply(num_iterations, beta, heard, gains, audible, *start)  # type: ignore[no-untyped-call]
    return model


def recombine_projections(
    spectrogram: Complex[Tensor, "B 2 F N"],
    projections: Complex[Tensor, "B F M 2"],
    sources: Float[Tensor, "B F S N"],
    gains: Float[Tensor, "B F M S"],
) -> Complex[Tensor, "B S 2 F N"]:
    r"""The sources in two channels: each projection shared out in proportion to the sources, and all put together.

    A source's share of projection :math:`m` is :math:`G_{ms} P_s / \sum_r G_{mr} P_r`, and its two channels are those
    whose projections are nearest to its shares. All sources add up to the mixture.

    Args:
        spectrogram: of the mixture.
        projections: at least two different ones.
        sources: :math:`P`.
        gains: :math:`G`, what each projection lets through of each source.

    Example:
        >>> mixture = torch.tensor([3.0, 4.0])[None, :, None, None] + 0j
        >>> directions = torch.eye(2)[None, None] + 0j
        >>> gains = torch.tensor([[1.0, 0.0], [1.0, 1.0]])[None, None]
        >>> recombine_projections(mixture, directions, torch.ones(1, 1, 2, 1), gains).real.flatten(1).round()
        tensor([[3., 2., 0., 2.]])
    """
    first, second = projections.unbind(-1)
    # The inverse of the sum of their outer products, two by two.
    one, other = (values.abs().square().sum(-1, keepdim=True) for values in (first, second))
    both = (first * second.conj()).sum(-1, keepdim=True)
    size = one * other - both.abs().square()
    back = torch.stack(((other * first - both * second) / size, (one * second - both.conj() * first) / size), -2)
    mixture = spectrogram.movedim(1, 2)
    parts = []
    count = gains.shape[-1]
    for part in _parts(spectrogram, projections, sources, gains):
        models = [gains[:, part, :, number, None] * sources[:, part, None, number] for number in range(count)]
        total = torch.stack(models).sum(0) + _LEAST
        projected = projections[:, part].conj() @ mixture[:, part] / total
        parts.append(torch.stack([back[:, part] @ ((own + _LEAST / count) * projected) for own in models], 1))
    return torch.cat(parts, 2).movedim(3, 2)


def _parts(spectrogram: Tensor, projections: Tensor, *others: Tensor) -> list[slice]:
    """Frequencies in groups to be worked on one after another; all in one with a gradient or under the compiler.

    No sum goes over frequencies before all are there, so that it is rounded alike however many go together.
    """
    bins = spectrogram.shape[-2]
    tensors = (spectrogram, projections, *others)
    if torch.compiler.is_compiling() or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)):
        return [slice(0, bins)]
    together = max(1, _TOGETHER // (len(spectrogram) * projections.shape[-2] * spectrogram.shape[-1]))
    return [slice(first, first + together) for first in range(0, bins, together)]


def _filled(function: Callable[[slice], Tensor], parts: list[slice], bins: int) -> Tensor:
    """What a function gives for parts of the frequencies, the second axis, never held twice."""
    first = function(parts[0])
    if len(parts) == 1:
        return first
    whole = first.new_empty(first.shape[0], bins, *first.shape[2:])
    whole[:, parts[0]] = first
    for part in parts[1:]:
        whole[:, part] = function(part)
    return whole


def _power(values: Complex[Tensor, "*any"], exponent: float) -> Float[Tensor, "*any"]:
    """Magnitudes to a power; with a gradient of zero where they are zero."""
    if not values.requires_grad:
        power = values.real.square() + values.imag.square()
        return power.sqrt() if exponent == 1 else power ** (exponent / 2)
    if exponent == 1:
        return values.abs()
    silent = values == 0
    return (values.masked_fill(silent, 1.0).abs() ** exponent).masked_fill(silent, 0.0)


def source_gains(gains: Float[Tensor, "B F M L"], maps: Float[Tensor, "B L S"]) -> Float[Tensor, "B F M S"]:
    """What each projection lets through of sources that are spread over places.

    Example:
        >>> source_gains(torch.tensor([[[[1.0, 0.5]]]]), torch.tensor([[[1.0, 0.5], [0.0, 0.5]]]))
        tensor([[[[1.0000, 0.7500]]]])
    """
    # The gains are read once as they lie, in half the time that the product takes the other way round.
    return (maps.mT[:, None] @ gains.mT).mT


class _Updates(torch.autograd.Function):
    """All updates, whose gradient is found by making them again.

    The models, which are small, are kept after every so many updates, and then, from the last of these back to the
    first, those in between. Room for them is made at once: among the tensors of one update, hundreds of small ones that
    stay would leave holes in memory that nothing fits into.
    """

    @staticmethod
    def forward(ctx: Any, num_iterations: int, beta: float, *tensors: Tensor) -> Model:
        constants, model = tensors[:3], (tensors[3], tensors[4])
        if not any(ctx.needs_input_grad):
            return _run(constants, beta, model, num_iterations)
        span = math.isqrt(max(1, num_iterations - 1)) + 1
        kept = [part.new_empty(-(-num_iterations // span), *part.shape) for part in model]
        for number in range(0, num_iterations, span):
            _keep(model, kept, number // span)
            model = _run(constants, beta, model, min(span, num_iterations - number))
        ctx.num_iterations, ctx.span, ctx.beta = num_iterations, span, beta
        ctx.save_for_backward(*constants, *kept)
        return model

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *into: Tensor) -> tuple[Tensor | None, ...]:
        gradients: Sequence[Tensor] = into
        heard, gains, audible, *kept = ctx.saved_tensors
        between = [slots.new_empty(ctx.span, *slots.shape[1:]) for slots in kept]
        into_heard = torch.zeros_like(heard)
        for first in reversed(range(0, ctx.num_iterations, ctx.span)):
            model: Sequence[Tensor] = [slots[first // ctx.span] for slots in kept]
            count = min(ctx.span, ctx.num_iterations - first)
            _keep(model, between, 0)
            for number in range(1, count):
                model = _run((heard, gains, audible), ctx.beta, model, 1)
                _keep(model, between, number)
            for number in reversed(range(count)):
                given = [tensor.detach().requires_grad_() for tensor in (heard, *(slots[number] for slots in between))]
                with torch.enable_grad():
                    updated = _updated(given[0], gains, audible, given[1], given[2], ctx.beta)
                of_heard, *gradients = torch.autograd.grad(updated, given, gradients)
                into_heard += of_heard
        return None, None, into_heard, None, None, *gradients


def _keep(model: Sequence[Tensor], slots: Sequence[Tensor], number: int) -> None:
    for part, slot in zip(model, slots, strict=True):
        slot[number].copy_(part)


def _run(constants: Sequence[Tensor], beta: float, model: Sequence[Tensor], num_iterations: int) -> Model:
    """The model after so many updates."""
    heard, gains, audible = constants
    sources, maps = model
    for _ in range(num_iterations):
        sources, maps = _updated(heard, gains, audible, sources, maps, beta)
    return sources, maps


def _updated(heard: Tensor, gains: Tensor, audible: Tensor, sources: Tensor, maps: Tensor, beta: float) -> Model:
    """Spectrograms and maps after one update of both; ``audible`` is the sum of the gains of each place."""
    through = source_gains(gains, maps)
    raised: list[Tensor] = []
    lowered: list[Tensor] = []
    new = []
    for part in _parts(heard.movedim(2, 1), through, sources):
        level, own = through[:, part], sources[:, part]
        model = level @ own + _LEAST
        if beta == 1:
            ratio = heard[:, part] / model
            below = level.sum(-2)[..., None]
        else:
            ratio = heard[:, part] * model ** (beta - 2)
            power = model ** (beta - 1)
            below = level.mT @ power
            lowered.append(own @ power.mT)
        raised.append(own @ ratio.mT)
        new.append((own * (level.mT @ ratio) / (below + _LEAST)).clamp(min=_FLOOR))
    above = (torch.cat(raised, 1) @ gains).sum(1).mT
    below = sources.sum(-1).mT @ audible if beta == 1 else (torch.cat(lowered, 1) @ gains).sum(1)
    moved = (maps * above / (below.mT + _LEAST)).clamp(min=_FLOOR)
    total = moved.sum(1, keepdim=True)
    empty = total == 0
    moved = torch.where(empty, maps, moved / total.masked_fill(empty, 1.0))
    return torch.cat(new, 1) * total[:, None].mT, moved
