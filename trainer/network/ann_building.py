"""The layers of a traced ANN as the nodes of a network."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from spikeport.errors import ModuleReadingError
from spikeport.trainer.network.ann_layers import DROPOUT, activation, called_activation
from spikeport.trainer.network.building import Build, called
from spikeport.trainer.network.layers import Channels
from spikeport.trainer.neurons import Activation


class AnnBuild(Build):
    """Builds an ANN: every call of an activation is a layer of its own."""

    def add_module(self, node: fx.Node, op: nn.Module) -> None:
        """Add a call of one of the module's layers."""
        if (found := activation(op)) is not None:
            self._activate(node, found, bool(getattr(op, "inplace", False)))
        elif isinstance(op, nn.Identity):
            self._keep(node)
        else:
            super().add_module(node, op)

    def add_call(self, node: fx.Node) -> None:
        """Add an operation that is not a layer."""
        target: Any = node.target
        named: dict[str, Any] = node.kwargs
        if (found := called_activation(node)) is not None:
            in_place = called(node).endswith("_") or bool(named.get("inplace"))
            self._activate(node, found, in_place)
        elif target in DROPOUT:
            self._add(node, DROPOUT[target](named["p"]), node.args[:1])
        else:
            super().add_call(node)

    def _activate(self, node: fx.Node, op: Activation, in_place: bool) -> None:
        given: Any = node.args[0]
        self._add(node, op.to(self.device), (given,))
        if not in_place:
            return
        before = self.value_of[given]
        part = next((made.op for made in self.nodes if made.name == before), None)
        if isinstance(part, nn.Dropout | nn.Dropout2d | Channels) and len(given.args[0].users) > 1:
            raise ModuleReadingError(
                f"layer '{node.name}': changes in place what other layers use before "
                f"'{before}'; use an activation that is not in place"
            )
        # from here on, all that was the same tensor is the activation's output
        for value, name in self.value_of.items():
            if name == before:
                self.value_of[value] = node.name

    def _keep(self, node: fx.Node) -> None:
        """Add no node for an identity."""
        given: Any = node.args[0]
        self.value_of[node] = self._source(node)
        if given in self.flat:
            self.flat.add(node)
