"""Training without sources, on mixtures of mixtures."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.losses.inputs import at_least_single
from torchsep.losses.pairs import OfPairs

__all__ = ["MixtureInvariant"]

# Ways of giving estimates to mixtures, all of which are tried: so many at most, of twelve estimates to two mixtures.
_MOST_WAYS = 4096

# Samples of remixed estimates that are held at one time.
_SAMPLES_TOGETHER = 1 << 22

Estimates = Float[Tensor, "B M C T"]
Mixtures = Float[Tensor, "B 2 C T"]


@dataclass(frozen=True)
class MixtureInvariant(OfPairs):
    r"""The mean over mixtures of a loss, the estimates of their sum being given back to them as makes it least.

    .. math::
        \min_A \frac{1}{2} \sum_{i=1}^{2} \ell([A \hat s]_i, x_i)

    over the matrices :math:`A` of zeros and ones that give each estimate to one of the mixtures. It trains a separator
    on the sum of two mixtures without knowing what is in them, as what is of different mixtures must be told apart.
    Let there be more estimates than there are sources in both.

    All :math:`2^M` ways are tried, so that the time doubles with each of the :math:`M` estimates: up to eight cost
    little, and more than twelve are refused. The loss is to be one that minds the level, as ``snr_loss``, not
    ``si_sdr_loss``.

    Args:
        loss: of a pair of waveforms.

    Shape:
        Estimates ``(B, M, C, T)`` of the sum, and the mixtures ``(B, 2, C, T)``, of which there may be more,
        ``-> (B,)``.

    Gradient:
        Exact, the assignment held.

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
        """For each estimate the number of the mixture that it is given to."""
        _check(estimates, mixtures)
        count, sources = mixtures.shape[1], estimates.shape[1]
        device = estimates.device
        digits = count ** torch.arange(sources, device=device)
        ways = torch.arange(count**sources, device=device)[:, None] // digits % count
        together = max(1, _SAMPLES_TOGETHER // max(1, mixtures.numel()))
        with torch.no_grad():
            losses = [self._given(estimates, mixtures, part) for part in ways.split(together)]
            return ways[torch.cat(losses, 1).argmin(1)]

    def __call__(self, estimates: Estimates, mixtures: Mixtures) -> Float[Tensor, " B"]:
        """The loss of each item."""
        ways = self.assignment(estimates, mixtures)
        return self._given(estimates, mixtures, ways[:, None])[:, 0]

    def _given(
        self, estimates: Estimates, mixtures: Mixtures, ways: Int[Tensor, "W M"] | Int[Tensor, "B W M"]
    ) -> Float[Tensor, "B W"]:
        """The loss of each item with the estimates given to mixtures in each of some ways."""
        heard = at_least_single(estimates).flatten(2)
        matrices = (ways[..., None, :] == torch.arange(mixtures.shape[1], device=ways.device)[:, None]).to(heard.dtype)
        with torch.autocast(heard.device.type, enabled=False):
            remixed = matrices.flatten(-3, -2) @ heard
        batch, *shape = mixtures.shape
        wanted = mixtures[:, None].expand(batch, ways.shape[-2], *shape)
        total = wanted.detach()[:, :1].sum(2, keepdim=True)
        return self._pairs(remixed.reshape(wanted.shape), wanted, total, leading=3).mean(-1)


def _check(estimates: Tensor, mixtures: Tensor) -> None:
    wanted, got = tuple(mixtures.shape), tuple(estimates.shape)
    if len(wanted) != 4 or wanted[1] < 2:
        raise ValueError(f"mixtures must have shape (B, 2, C, T), got {wanted}")
    if len(got) != 4 or (got[0], *got[2:]) != (wanted[0], *wanted[2:]) or got[1] < 1:
        raise ValueError(f"estimates must have shape (B, M, C, T) for mixtures {wanted}, got {got}")
    most = math.floor(math.log(_MOST_WAYS, wanted[1]) + 1e-9)
    if got[1] > most:
        raise ValueError(
            f"estimates must be at most {most} for {wanted[1]} mixtures, as all ways are tried, got {got[1]}"
        )
