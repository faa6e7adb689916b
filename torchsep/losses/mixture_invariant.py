"""Mixture invariant training: unsupervised training on mixtures of mixtures."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional.samples import at_least_single
from torchsep.losses.pairs import OfPairs

__all__ = ["MixtureInvariant"]

# Limit of the exhaustive search: the number of assignments of twelve estimates to two mixtures.
_MAX_ASSIGNMENTS = 4096

# Maximum number of remixed samples in memory at once.
_MAX_SAMPLES = 1 << 22

Estimates = Float[Tensor, "B M C T"]
Mixtures = Float[Tensor, "B 2 C T"]


@dataclass(frozen=True)
class MixtureInvariant(OfPairs):
    r"""Mixture invariant loss: mean loss over mixtures, minimised over assignments of the estimates to the mixtures.

    .. math::
        \min_A \frac{1}{2} \sum_{i=1}^{2} \ell([A \hat s]_i, x_i)

    over binary matrices :math:`A` that assign each estimate to one mixture. The separator is trained on the sum of two
    mixtures, without access to their sources. Use at least as many estimates as there are sources in both mixtures.

    All :math:`2^M` assignments are evaluated, so that time doubles with each of the :math:`M` estimates: up to eight
    are cheap, and more than twelve raise an error. The loss must be scale-sensitive, such as ``snr_loss``, not
    ``si_sdr_loss``.

    Args:
        loss: pairwise loss on waveforms.

    Shape:
        Estimates ``(B, M, C, T)`` of the sum and mixtures ``(B, 2, C, T)``, two or more, ``-> (B,)``.

    Gradient:
        Exact, with the assignment treated as constant.

    Example:
        >>> from torchsep.losses import l1_loss
        >>> loss, sources = MixtureInvariant(l1_loss), torch.eye(3).view(1, 3, 1, 3)
        >>> mixtures = torch.stack((sources[:, 1], sources[:, 0] + sources[:, 2]), dim=1)
        >>> loss.assignment(sources, mixtures), loss(sources, mixtures)
        (tensor([[1, 0, 1]]), tensor([0.]))

    References:
        S. Wisdom, E. Tzinis, H. Erdogan, R. Weiss, K. Wilson and J. Hershey, "Unsupervised sound separation using
        mixture invariant training", NeurIPS, 2020.
    """

    def assignment(self, estimates: Estimates, mixtures: Mixtures) -> Int[Tensor, "B M"]:
        """Index of the mixture to which each estimate is assigned."""
        _check(estimates, mixtures)
        count, sources = mixtures.shape[1], estimates.shape[1]
        device = estimates.device
        digits = count ** torch.arange(sources, device=device)
        candidates = torch.arange(count**sources, device=device)[:, None] // digits % count
        chunk = max(1, _MAX_SAMPLES // max(1, mixtures.numel()))
        with torch.no_grad():
            losses = [self._assigned(estimates, mixtures, part) for part in candidates.split(chunk)]
            return candidates[torch.cat(losses, 1).argmin(1)]

    def __call__(self, estimates: Estimates, mixtures: Mixtures) -> Float[Tensor, " B"]:
        """Loss of each item."""
        assignment = self.assignment(estimates, mixtures)
        return self._assigned(estimates, mixtures, assignment[:, None])[:, 0]

    def _assigned(
        self, estimates: Estimates, mixtures: Mixtures, assignments: Int[Tensor, "A M"] | Int[Tensor, "B A M"]
    ) -> Float[Tensor, "B A"]:
        """Loss of each item for each candidate assignment."""
        signals = at_least_single(estimates).flatten(2)
        indices = torch.arange(mixtures.shape[1], device=assignments.device)[:, None]
        matrices = (assignments[..., None, :] == indices).to(signals.dtype)
        with torch.autocast(signals.device.type, enabled=False):
            remixed = matrices.flatten(-3, -2) @ signals
        batch, *shape = mixtures.shape
        wanted = mixtures[:, None].expand(batch, assignments.shape[-2], *shape)
        total = wanted.detach()[:, :1].sum(2, keepdim=True)
        return self._pairs(remixed.reshape(wanted.shape), wanted, total, leading=3).mean(-1)


def _check(estimates: Tensor, mixtures: Tensor) -> None:
    wanted, got = tuple(mixtures.shape), tuple(estimates.shape)
    if len(wanted) != 4 or wanted[1] < 2:
        raise ValueError(f"mixtures must have shape (B, 2, C, T), got {wanted}")
    if len(got) != 4 or (got[0], *got[2:]) != (wanted[0], *wanted[2:]) or got[1] < 1:
        raise ValueError(f"estimates must have shape (B, M, C, T) for mixtures {wanted}, got {got}")
    largest = math.floor(math.log(_MAX_ASSIGNMENTS, wanted[1]) + 1e-9)
    if got[1] > largest:
        raise ValueError(f"estimates must be at most {largest} for {wanted[1]} mixtures, got {got[1]}")
