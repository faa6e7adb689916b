"""Custom operators within compiled graphs."""

import pytest
import torch
from scenes import noise
from torch import Tensor

from torchsep.functional._custom_ops import operator


@operator(lambda signal: torch.empty_like(signal.real))
def _conjugates_inside(signal: Tensor) -> Tensor:
    conjugate = signal.conj()
    return torch.cat((conjugate.flip(-1),)).imag.clone() + conjugate.imag * signal.real


@pytest.mark.parametrize("given", [lambda signal: signal + 0, lambda signal: signal.conj()], ids=["plain", "lazy"])
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_lazy_conjugation_and_negation_have_their_effect(given, context, backend):
    signal = torch.complex(noise(7), noise(7, seed=1))
    known = torch.complex(noise(7), noise(7, seed=1) * (-1 if given(signal).is_conj() else 1))
    expected = -known.imag.flip(-1) - known.imag * known.real
    torch.compiler.reset()
    with context():
        compiled = torch.compile(lambda signal: _conjugates_inside(given(signal)), backend=backend)
        assert torch.allclose(compiled(signal), expected, atol=1e-12)
        assert torch.allclose(_conjugates_inside(given(signal)), expected, atol=1e-12)
    torch.compiler.reset()
