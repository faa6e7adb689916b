"""Wrappers that turn pairwise losses into losses per item by pairing estimates with sources.

Each maps estimates and sources ``(B, S, ...)`` to ``(B,)``, one value per item over its whole length. The pairwise loss
may be any function ``(..., C, T) x 2 -> (...)``, or of spectrograms. A loss with an argument ``mixture`` receives the
sum of the sources, ``(B, 1, ...)``, as the reference level for silent sources. NaN in one item does not affect the
others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_number
from torchsep.functional.assignment import optimal_assignment
from torchsep.losses.pairs import Loss, OfPairs, Sources, check_estimates, takes_mixture

__all__ = ["CombinationInvariant", "FixedOrder", "OneAndRestPIT", "PermutationInvariant", "WeightedSum"]

Losses = Float[Tensor, " B"]


@dataclass(frozen=True)
class FixedOrder(OfPairs):
    """Mean loss over sources, with the estimates in the order of the sources.

    Args:
        loss: pairwise loss.

    Example:
        >>> from torchsep.losses import l1_loss
        >>> sources = torch.tensor([[[[1.0, 1.0]], [[4.0, 0.0]]]])
        >>> FixedOrder(l1_loss)(torch.zeros(1, 2, 1, 2), sources)
        tensor([1.5000])
    """

    def __call__(self, estimates: Sources, sources: Sources) -> Losses:
        """Loss of each item."""
        check_estimates(estimates, sources)
        return self._pairs(estimates, sources, _sum(sources)).mean(1)


@dataclass(frozen=True)
class PermutationInvariant(OfPairs):
    r"""Permutation invariant loss: mean loss over sources, minimised over permutations of the estimates.

    .. math::
        \min_\pi \frac{1}{S} \sum_j \ell(\hat s_{\pi(j)}, s_j)

    One permutation is used for the whole item (utterance-level). The optimal one is found in :math:`O(S^3)` steps. If
    an item has fewer sources than estimates, pad with silent sources and use a loss that handles them, such as
    ``snr_loss`` with a threshold.

    Args:
        loss: pairwise loss.

    Gradient:
        Exact, with the permutation treated as constant. Losses of other pairs are computed without gradient.

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
        """Index of the estimate for each source."""
        check_estimates(estimates, sources)
        mixture = _sum(sources)
        with torch.no_grad():
            columns = [self._pairs(one.expand_as(sources), sources, mixture) for one in estimates.split(1, dim=1)]
            return optimal_assignment(torch.stack(columns, -1))

    def __call__(self, estimates: Sources, sources: Sources) -> Losses:
        """Loss of each item."""
        # Reordering the sources instead of the estimates avoids a copy of the estimates and of their gradient.
        source_of = self.permutation(estimates, sources).argsort(-1)
        index = source_of.view(*source_of.shape, *(1,) * (sources.dim() - 2)).expand_as(sources)
        return self._pairs(estimates, sources.gather(1, index), _sum(sources)).mean(1)


@dataclass(frozen=True)
class CombinationInvariant(OfPairs):
    r"""Combination invariant loss: that of the best choice of as many estimates as there are sources, in any order.

    .. math::
        \min_\pi \frac{1}{S} \sum_j \ell(\hat s_{\pi(j)}, s_j)

    with different :math:`\pi(j)` among all :math:`E \ge S` estimates. For networks with more outputs than an item has
    sources; the estimates that are not chosen have no loss.

    Args:
        loss: pairwise loss.

    Shape:
        Estimates ``(B, E, ...)`` and sources ``(B, S, ...) -> (B,)``.

    Gradient:
        Exact, with the choice treated as constant; zero for estimates that are not chosen.

    Example:
        >>> from torchsep.losses import l1_loss
        >>> loss, sources = CombinationInvariant(l1_loss), torch.eye(2).view(1, 2, 1, 2)
        >>> estimates = torch.stack((torch.ones(1, 1, 2), sources[:, 1], 0.5 * sources[:, 0]), 1)
        >>> loss.choice(estimates, sources), loss(estimates, sources)
        (tensor([[2, 1]]), tensor([0.1250]))
    """

    def choice(self, estimates: Sources, sources: Sources) -> Int[Tensor, "B S"]:
        """Index of the estimate for each source."""
        check_estimates(estimates, sources, max(estimates.shape[1] if estimates.dim() > 1 else 0, sources.shape[1]))
        mixture = _sum(sources)
        with torch.no_grad():
            columns = [self._pairs(one.expand_as(sources), sources, mixture) for one in estimates.split(1, dim=1)]
            return optimal_assignment(torch.stack(columns, -1))

    def __call__(self, estimates: Sources, sources: Sources) -> Losses:
        """Loss of each item."""
        chosen = self.choice(estimates, sources)
        index = chosen.view(*chosen.shape, *(1,) * (sources.dim() - 2)).expand_as(sources)
        return self._pairs(estimates.gather(1, index), sources, _sum(sources)).mean(1)


@dataclass(frozen=True)
class OneAndRestPIT(OfPairs):
    r"""One-and-rest permutation invariant loss: one source against the sum of the others, minimised over the source.

    .. math::
        \min_j\; \ell(\hat s, s_j) + \frac{1}{N - 1}\, \ell \Big( \hat r, \sum_{i \neq j} s_i \Big)

    For recursive separators, which extract one source at a time from the residual and so handle an unknown number of
    sources. Silent sources are not counted in :math:`N` and are never chosen. With a single source, the rest is
    silence.

    Args:
        loss: pairwise loss.

    Shape:
        Estimates ``(B, 2, ...)``, one source and the rest, and sources ``(B, S, ...) -> (B,)``.

    Gradient:
        Exact, with the choice treated as constant.

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
        """Index of the source assigned to the first estimate."""
        check_estimates(estimates, sources, 2)
        batch, count = sources.shape[:2]
        with torch.no_grad():
            numbers = torch.arange(count, device=sources.device).expand(batch, count)
            costs = torch.stack([self._cost(estimates, sources, number) for number in numbers.unbind(1)], 1)
            return costs.masked_fill(~_sounding(sources), torch.inf).argmin(1)

    def __call__(self, estimates: Sources, sources: Sources) -> Losses:
        """Loss of each item."""
        return self._cost(estimates, sources, self.choice(estimates, sources))

    def _cost(self, estimates: Sources, sources: Sources, number: Int[Tensor, " B"]) -> Losses:
        """Loss of both estimates for a given source of each item."""
        chosen = torch.arange(sources.shape[1], device=sources.device) == number[:, None]
        chosen = chosen.view(*chosen.shape, *(1,) * (sources.dim() - 2))
        split = torch.stack([sources.masked_fill(left, 0.0).sum(1) for left in (~chosen, chosen)], 1)
        one, rest = self._pairs(estimates, split, _sum(sources)).unbind(1)
        return one + rest / (_sounding(sources).sum(1) - 1).clamp(min=1)


@dataclass(frozen=True)
class WeightedSum:
    """Weighted sum of losses: pairwise losses, or wrappers.

    Args:
        losses: one or more losses.
        weights: weight of each loss.

    Raises:
        ValueError: if the numbers of losses and weights differ, or a weight is negative or not finite.

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
        """Compute the weighted sum.

        Args:
            estimates: estimated sources.
            sources: true sources.
            mixture: mixture for losses that accept it.
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
    """Mask of non-silent sources."""
    return (sources != 0).flatten(2).any(-1)
