"""What every store keeps, whatever it is made of: a suite over ``core.ports`` alone, run by each store's own test file.

A store's test class inherits ``StoreContract`` and gives these fixtures: ``store``, empty; ``another``, which makes a
second hold on the same data, as another process has it; ``sealer``, with which the store seals private values.
"""

import pytest

from tests.storage.contract_orgs import OrgsContract
from tests.storage.contract_rows import RowsContract
from tests.storage.contract_units import UnitsContract


class StoreContract(RowsContract, OrgsContract, UnitsContract):
    """All of it."""

    pytestmark = pytest.mark.anyio
