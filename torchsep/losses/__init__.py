"""Training losses on ``(estimates, sources)``, one value per item, and training targets."""

from torchsep.losses.embeddings import deep_clustering_loss, whitened_kmeans_loss
from torchsep.losses.magnitudes import kl_loss, magnitude_l1_loss, magnitude_mse_loss
from torchsep.losses.mixture_invariant import MixtureInvariant
from torchsep.losses.multi_resolution_stft import MultiResolutionSTFT
from torchsep.losses.targets import ideal_assignments, loud_bin_weights, magnitude_target, magnitude_weights
from torchsep.losses.waveforms import l1_loss, mse_loss, si_sdr_loss, snr_loss
from torchsep.losses.wrappers import CombinationInvariant, FixedOrder, OneAndRestPIT, PermutationInvariant, WeightedSum

__all__ = [
    "CombinationInvariant",
    "FixedOrder",
    "MixtureInvariant",
    "MultiResolutionSTFT",
    "OneAndRestPIT",
    "PermutationInvariant",
    "WeightedSum",
    "deep_clustering_loss",
    "ideal_assignments",
    "kl_loss",
    "l1_loss",
    "loud_bin_weights",
    "magnitude_l1_loss",
    "magnitude_mse_loss",
    "magnitude_target",
    "magnitude_weights",
    "mse_loss",
    "si_sdr_loss",
    "snr_loss",
    "whitened_kmeans_loss",
]
