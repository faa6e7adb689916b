"""Masks and bin features from the components of a factorised spectrogram."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional.masks import ratio_masks

__all__ = ["component_masks", "mean_component_features"]


def component_masks(
    templates: Float[Tensor, "B F K"],
    activations: Float[Tensor, "B C K N"],
    labels: Int[Tensor, "B K"],
    num_sources: int,
) -> Float[Tensor, "B S C F N"]:
    """Ratio masks of the sources: the sum of the components of each source divided by the sum of all components.

    Args:
        templates: non-negative.
        activations: non-negative.
        labels: index of the source of each component.
        num_sources: number of sources.

    Gradient:
        Exact with respect to templates and activations.

    Example:
        >>> templates, activations = torch.tensor([[[1.0, 3.0, 4.0]]]), torch.ones(1, 1, 3, 1)
        >>> component_masks(templates, activations, torch.tensor([[0, 1, 0]]), num_sources=2).flatten()
        tensor([0.6250, 0.3750])
    """
    sources = torch.arange(num_sources, device=labels.device)
    own = templates.mT[:, None] * (labels[:, None, :, None] == sources[:, None, None])
    return ratio_masks((activations.mT[:, None] @ own[:, :, None]).mT)


def mean_component_features(
    templates: Float[Tensor, "B F K"], activations: Float[Tensor, "B C K N"], timbres: Float[Tensor, "B K D"]
) -> Float[Tensor, "B C F N D"]:
    r"""The normalised mean of the timbre vectors of the components, weighted by their magnitude in each bin.

    .. math::
        x_{fn} = \frac{\sum_k W_{fk} H_{kn}\, m_k}{\lVert \sum_k W_{fk} H_{kn}\, m_k \rVert}

    Args:
        templates: :math:`W`, non-negative.
        activations: :math:`H`, non-negative.
        timbres: timbre vector :math:`m_k` of each template.

    Gradient:
        Exact; zero where the mean, or its square in the given precision, is zero.

    Example:
        >>> templates, timbres = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]]), torch.eye(2)[None]
        >>> mean_component_features(templates, torch.tensor([[[[4.0], [3.0]]]]), timbres).squeeze()
        tensor([[1.0000, 0.0000],
                [0.8000, 0.6000]])
    """
    weighted = activations[..., None] * timbres[:, None, :, None]
    means = (templates[:, None] @ weighted.flatten(-2)).unflatten(-1, weighted.shape[-2:])
    length = torch.linalg.vector_norm(means, dim=-1, keepdim=True)
    none = length == 0
    return (means / length.masked_fill(none, 1.0)).masked_fill(none, 0.0)
