"""ASE calculators by name. Each process makes its own, because few can be pickled."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any, Final

from ase.calculators.calculator import Calculator

from molgeo.runtime.errors import SettingError

SHORT_NAMES: Final = {
    "xtb": ("tblite.ase:TBLite", {"method": "GFN2-xTB", "verbosity": 0}, "xtb"),
    "pyscf": ("molgeo.generate.pyscf_method:PySCF", {}, "pyscf"),
}
"""Name → class, its options, and the extra of molgeo that brings it."""


@dataclass(frozen=True)
class Method:
    """A calculator as text.

    Attributes:
        name: ``xtb``, ``pyscf``, or a class as ``package.module:Class``.
        options: arguments of the class.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Calculator:
        """The calculator.

        Raises:
            ValueError: there is no such class, its package is not installed, or it refuses the
                options.
        """
        path, defaults, extra = SHORT_NAMES.get(self.name, (self.name, {}, ""))
        module, separator, name = path.partition(":") if ":" in path else path.rpartition(".")
        if not separator:
            raise SettingError(
                f"calculator: expected {', '.join(SHORT_NAMES)} or package.module:Class, "
                f"got {self.name!r}"
            )
        try:
            made = getattr(importlib.import_module(module), name)
        except ImportError as error:
            cure = f"pip install 'molgeo[{extra}]'" if extra else "install its package"
            raise SettingError(f"calculator: {self.name} is not there ({error}): {cure}") from error
        except AttributeError as error:
            raise SettingError(f"calculator: {module} has no class {name!r}") from error
        try:
            calculator: Calculator = made(**{**defaults, **self.options})
        except (TypeError, ValueError) as error:
            raise SettingError(f"calculator: {self.name} refuses its options: {error}") from error
        return calculator
