"""Other people's layers beside ours: installed packages, called as they are, never computed anew.

An adapter builds the package's own module with our axes. Where a layer of ours computes the same function, `twin` gives
it with the same weights, so that an output can be checked before a speed is compared. The packages are no dependencies
of this one: they are imported when an adapter is built.
"""

from torch import Tensor

from softmoe_ref import oracle
from softmoe_ref.oracle import Truth
from softmoe_ref.peers.peer import Peer as Peer


def truth(layer: Peer, x: Tensor) -> Truth:
    """Return what `layer` should make of the tokens `x` (B, M, D): the oracle of its twin, with the layer's weights.

    Raises:
        ValueError: if the layer has no twin.
    """
    return oracle.forward(layer.twin(), x)
