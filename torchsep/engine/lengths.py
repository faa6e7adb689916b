"""Batches of items of different lengths, computed without their padding."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["without_padding"]

Batch = Mapping[str, Any]


def without_padding(function: Callable[[Batch], tuple[Tensor, ...]], batch: Batch) -> tuple[Tensor, ...]:
    """The results of a function for each item, as if the batch held no padding.

    Items of one length are computed together.

    Args:
        function: from a batch to tensors ``(B, ...)``, of shapes that do not depend on the length of the items.
        batch: with ``mixture (B, C, T)``, ``sources (B, S, C, T)``, ``id``, and, if ``is_padded``, ``lengths (B,)``.
    """
    if not batch.get("is_padded"):
        return function(batch)
    order, parts = [], []
    for indices, part in _by_length(batch):
        order += indices
        parts.append(function(part))
    inverse = torch.tensor(order).argsort().to(batch["mixture"].device)
    return tuple(torch.cat(results)[inverse] for results in zip(*parts, strict=True))


def _by_length(batch: Batch) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """The items of each length, with their indices."""
    lengths = batch["lengths"].tolist()
    for length in dict.fromkeys(lengths):
        indices = [number for number, other in enumerate(lengths) if other == length]
        yield (
            indices,
            {
                **batch,
                "mixture": batch["mixture"][indices, ..., :length],
                "sources": batch["sources"][indices, ..., :length],
                "id": [batch["id"][number] for number in indices],
                "lengths": batch["lengths"][indices],
                "is_padded": False,
            },
        )
