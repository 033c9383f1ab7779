"""What every adapter of somebody else's layer has: their module, tokens in and out as with ours, and a twin."""

import sys
import warnings
from abc import ABC, abstractmethod
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from softmoe_ref.moe import MoE


class Peer(nn.Module, ABC):
    """Somebody else's layer, called as it is: tokens (B, M, D) to (B, M, D).

    Attributes:
        layer: the module of the installed package.
    """

    layer: Any  # the packages publish no types

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (B, M, D)."""
        y: Tensor = self.layer(x)
        return y

    @abstractmethod
    def twin(self) -> MoE:
        """Return the layer of ours that computes the same function, with copies of the weights.

        It is float64, so that converting the weights loses nothing.

        Raises:
            ValueError: if no layer of ours computes the same function.
        """


def load(module: str) -> ModuleType:
    """Return a module of an installed package, without the warnings of importing it, which only its authors can mend.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(module)


def hide_if_broken(module: str) -> None:
    """Make a module that cannot be imported look absent, for packages that only ask whether it is there."""
    try:
        load(module)
    except (ImportError, OSError, RuntimeError):
        sys.modules[module] = None  # type: ignore[assignment]  # import then takes it for missing, as documented


def load_alone(package: str, module: str) -> ModuleType:
    """Return a module of an installed package without running the package's own `__init__`.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    found = util.find_spec(package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        spec = util.spec_from_file_location(f"{package}.{module}", Path(folder) / f"{module}.py")
        if spec is not None and spec.loader is not None:
            loaded = util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
            return loaded
    raise ModuleNotFoundError(f"No module named {package!r}", name=package)
