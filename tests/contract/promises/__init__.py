"""The promises of every separator: one function per promise, which takes a case and a device.

To test another separator, register it, define a :class:`contract.case.Case`, and parametrise a test over
``PARAMETERS``. A promise that does not apply to the separator skips the test.
"""

from contract.promises import (  # noqa: F401 - they register promises
    differentiation,
    modules,
    precision,
    process,
    purity,
    shapes,
)
from contract.promises.checking import PARAMETERS, PROMISES, assert_near, run

__all__ = ["PARAMETERS", "PROMISES", "assert_near", "run"]
