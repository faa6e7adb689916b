"""What every separator promises: one function for each promise, which takes a case and a device.

To hold a separator of your own to them, register it, make a :class:`contract.cases.Case` of it, and parametrise a test
over ``PARAMETERS``.
"""

from contract.promises import differentiation, modules, precision, purity, shapes  # noqa: F401 - they register promises
from contract.promises.checking import PARAMETERS, PROMISES, assert_near, run

__all__ = ["PARAMETERS", "PROMISES", "assert_near", "run"]
