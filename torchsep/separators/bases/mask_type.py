"""The type of masks, of separators that make them binary on request."""

from torchsep.checks import check_choice

__all__ = ["WithMaskType"]


class WithMaskType:
    """A separator whose ``mask_type`` can be set later, with the same check as at construction."""

    _mask_type: str

    @property
    def mask_type(self) -> str:
        """``soft`` or ``binary``."""
        return self._mask_type

    @mask_type.setter
    def mask_type(self, mask_type: str) -> None:
        check_choice(mask_type, ("soft", "binary"), "mask_type")
        self._mask_type = mask_type
