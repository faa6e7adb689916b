"""What makes losses of pairs losses of items: which estimate is compared with which source.

Each is called with estimates ``(B, S, ...)`` and sources of the same shape, and gives ``(B,)``, one value an item, over
its whole length. The loss of a pair may be any function ``(..., C, T) x 2 -> (...)``, or of spectrograms. One with an
argument ``mixture`` is given the sum of the sources, ``(B, 1, ...)``, by which it can measure silent sources. An item
with NaN has a loss of NaN, the others have theirs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_number
from torchsep.functional.assignment import optimal_assignment
from torchsep.losses.pairs import Loss, OfPairs, Sources, check_estimates, takes_mixture

__all__ = ["FixedOrder", "OneAndRestPIT", "PermutationInvariant", "WeightedSum"]

Losses = Float[Tensor, " B"]


@dataclass(frozen=True)
class FixedOrder(OfPairs):
    """The mean over sources of a loss, the estimates being in the order of the sources.

    Args:
        loss: of a pair.

    Example:
        >>> from torchsep.losses import l1_loss
        >>> sources = torch.tensor([[[[1.0, 1.0]], [[4.0, 0.0]]]])
        >>> FixedOrder(l1_loss)(torch.zeros(1, 2, 1, 2), sources)
        tensor([1.5000])
    """

    def __call__(self, estimates: Sources, sources: Sources) -> Losses:
        """The loss of each item."""
        check_estimates(estimates, sources)
        return self._pairs(estimates, sources, _sum(sources)).mean(1)


@dataclass(frozen=True)
class PermutationInvariant(OfPairs):
    r"""The mean over sources of a loss, in the order of the estimates in which it is the least.

    .. math::
        \min_\pi \frac{1}{S} \sum_j \ell(\hat s_{\pi(j)}, s_j)

    The permutation is that of the whole item, and found among all :math:`S!` in :math:`O(S^3)` steps. Where an item has
    fewer sources than there are estimates, let silence make up for it, and use a loss that is good for silent sources,
    as ``snr_loss`` with a threshold.

    Args:
        loss: of a pair.

    Gradient:
        Exact, the permutation held. Losses of other pairs are computed without one, so that they take no memory.

    Example:
        >>> from torchsep.losses import l1_loss
        >>> loss, sources = PermutationInvariant(l1_loss), torch.eye(3).view(1, 3, 1, 3)
        >>> estimates = 0.9 * sources[:, [2, 0, 1]]
        >>> loss.permutation(estimates, sources)
        tensor([[1, 2, 0]])
        >>> loss(estimates, sources)
        tensor([0.0333])

    References:
        M. Kolbæk, D. Yu, Z.-H. Tan and J. Jensen, "Multitalker speech separation with utterance-level permutation
        invariant training of deep recurrent neural networks", IEEE/ACM TASLP, 2017.
    """

    def permutation(self, estimates: Sources, sources: Sources) -> Int[Tensor, "B S"]:
        """For each source the number of its estimate."""
        check_estimates(estimates, sources)
        mixture = _sum(sources)
        with torch.no_grad():
            columns = [self._pairs(one.expand_as(sources), sources, mixture) for one in estimates.split(1, dim=1)]
            return optimal_assignment(torch.stack(columns, -1))

    def __call__(self, estimates: Sources, sources: Sources) -> Losses:
        """The loss of each item."""
        # The sources are brought into the order of the estimates, which need no copy then, nor their gradient.
        source_of = self.permutation(estimates, sources).argsort(-1)
        place = source_of.view(*source_of.shape, *(1,) * (sources.dim() - 2)).expand_as(sources)
        return self._pairs(estimates, sources.gather(1, place), _sum(sources)).mean(1)


@dataclass(frozen=True)
class OneAndRestPIT(OfPairs):
    r"""The loss of two estimates, one source and the sum of the others, for the source with which it is the least.

    .. math::
        \min_j\; \ell(\hat s, s_j) + \frac{1}{N - 1}\, \ell \Big( \hat r, \sum_{i \neq j} s_i \Big)

    It trains separators that take one source after another from what is left of a mixture, and so work for any number
    of them. Silent sources do not count among the :math:`N`, and are never the one. Where there is but one source, the
    rest is silence.

    Args:
        loss: of a pair.

    Shape:
        Estimates ``(B, 2, ...)``, the one and the rest, and sources ``(B, S, ...) -> (B,)``.

    Gradient:
        Exact, the choice held.

    Example:
        >>> from torchsep.losses import l1_loss
        >>> loss, sources = OneAndRestPIT(l1_loss), torch.eye(3).view(1, 3, 1, 3)
        >>> estimates = torch.tensor([[[[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.4]]]])
        >>> loss.choice(estimates, sources), loss(estimates, sources)
        (tensor([1]), tensor([0.1000]))

    References:
        N. Takahashi, S. Parthasaarathy, N. Goswami and Y. Mitsufuji, "Recursive speech separation for unknown number of
        speakers", Interspeech, 2019.
    """

    def choice(self, estimates: Sources, sources: Sources) -> Int[Tensor, " B"]:
        """The number of the source that the first estimate is of."""
        check_estimates(estimates, sources, 2)
        batch, count = sources.shape[:2]
        with torch.no_grad():
            numbers = torch.arange(count, device=sources.device).expand(batch, count)
            costs = torch.stack([self._cost(estimates, sources, number) for number in numbers.unbind(1)], 1)
            return costs.masked_fill(~_sounding(sources), torch.inf).argmin(1)

    def __call__(self, estimates: Sources, sources: Sources) -> Losses:
        """The loss of each item."""
        return self._cost(estimates, sources, self.choice(estimates, sources))

    def _cost(self, estimates: Sources, sources: Sources, number: Int[Tensor, " B"]) -> Losses:
        """Of both, if that source of each item is the one."""
        chosen = torch.arange(sources.shape[1], device=sources.device) == number[:, None]
        chosen = chosen.view(*chosen.shape, *(1,) * (sources.dim() - 2))
        split = torch.stack([sources.masked_fill(left, 0.0).sum(1) for left in (~chosen, chosen)], 1)
        one, rest = self._pairs(estimates, split, _sum(sources)).unbind(1)
        return one + rest / (_sounding(sources).sum(1) - 1).clamp(min=1)


@dataclass(frozen=True)
class WeightedSum:
    """The sum of losses, each times a number: of a pair, or, if they are wrappers, of items.

    Args:
        losses: at least one.
        weights: one number for each loss.

    Raises:
        ValueError: if they are not as many, or a weight is negative or not finite.

    Example:
        >>> from torchsep.losses import l1_loss, mse_loss
        >>> WeightedSum([l1_loss, mse_loss], [1.0, 10.0])(torch.ones(1, 4), torch.zeros(1, 4))
        tensor(11.)
    """

    losses: Sequence[Loss]
    weights: Sequence[float]
    _with_mixture: list[bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not len(self.losses) or len(self.losses) != len(self.weights):
            raise ValueError(f"weights must hold one number for each of {len(self.losses)} losses, got {self.weights}")
        for weight in self.weights:
            check_number(weight, "weights", at_least=0.0)
        object.__setattr__(self, "_with_mixture", [takes_mixture(loss) for loss in self.losses])

    def __call__(
        self, estimates: Float[Tensor, "*any"], sources: Float[Tensor, "*any"], *, mixture: Tensor | None = None
    ) -> Float[Tensor, "*any"]:
        """The sum.

        Args:
            estimates: of the sources.
            sources: the true ones.
            mixture: for those of the losses that take it.
        """
        terms = []
        for member, weight, with_mixture in zip(self.losses, self.weights, self._with_mixture, strict=True):
            loss: Callable[..., Tensor] = member
            given = {"mixture": mixture} if with_mixture else {}
            terms.append(weight * loss(estimates, sources, **given))
        return torch.stack(terms).sum(0)


def _sum(sources: Sources) -> Sources:
    return sources.detach().sum(1, keepdim=True)


def _sounding(sources: Sources) -> Tensor:
    """Which sources are not silent."""
    return (sources != 0).flatten(2).any(-1)
