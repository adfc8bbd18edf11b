"""Networks of one architecture as one: K members side by side in the channels.

Images and maps are (B, K * C, H, W): a convolution of each member with its own weights is one grouped convolution, and
BatchNorm works on each member's channels separately. Features are (B, K, F).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from simulator.production.cohort.operations import FUNCTIONS, METHODS, MODULES, Members, NotStackable
from simulator.production.training.device import layout_of
from simulator.production.training.torch_private import has_forward_hooks


@final
class StackedNetwork:
    """`networks` as one. Their weights are copied as (K, ...) by name; `scatter` writes them back."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        """Raise `NotStackable` for networks that cannot be computed side by side."""
        first = networks[0]
        self.members = len(networks)
        self.layout = layout_of(first)
        self._networks = networks
        learned = {name: value.requires_grad for name, value in first.named_parameters()}
        states = [network.state_dict() for network in networks]
        self.weights: dict[str, Tensor] = {
            name: torch.stack([state[name] for state in states]).requires_grad_(learned.get(name, False))
            for name in states[0]
        }
        self._graph = _trace(first)
        self._modules = dict(first.named_modules())

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The weights that are trained, each (K, ...), by name."""
        return {name: value for name, value in self.weights.items() if value.requires_grad}

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits (B, K, classes) of `images` (B, K * C, H, W), the images of each member."""
        values: dict[fx.Node, Any] = {}
        for node in self._graph.nodes:
            if node.op == "placeholder":
                values[node] = images
            elif node.op == "output":
                logits: Tensor = self._value(node.args[0], values)
                return logits
            else:
                arguments = [self._value(argument, values) for argument in node.args]
                options = {name: self._value(value, values) for name, value in node.kwargs.items()}
                values[node] = self._operation(node)(*arguments, **options)
        raise NotStackable("expected a network to return its logits, got no output; return them")

    def scatter(self) -> None:
        """Write each member's weights and statistics back into its network."""
        for index, network in enumerate(self._networks):
            with torch.no_grad():
                for name, value in network.state_dict().items():
                    value.copy_(self.weights[name][index])

    def _operation(self, node: fx.Node) -> Callable[..., Any]:
        if node.op == "call_module":
            name = str(node.target)
            module = self._modules[name]
            mine = {part: self.weights[f"{name}.{part}"] for part in module.state_dict()}
            operation = MODULES[type(module)]
            return lambda value: operation(Members(self.members, mine), module, value)
        known: Callable[..., Any] = (FUNCTIONS if node.op == "call_function" else METHODS)[node.target]
        return lambda *arguments, **options: known(self.members, *arguments, **options)

    def _value(self, argument: Any, values: dict[fx.Node, Any]) -> Any:
        return fx.node.map_arg(argument, values.__getitem__)


class _Tracer(fx.Tracer):
    """Does not trace into modules that have a stacked form."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in MODULES or not any(True for _ in m.children())


def _trace(network: nn.Module) -> fx.Graph:
    try:
        graph = _Tracer().trace(network)
    except (Exception, SystemExit) as error:
        raise NotStackable(f"its code cannot be followed: {type(error).__name__}") from error
    modules = dict(network.named_modules())
    for unknown in _unknown(graph, modules):
        raise NotStackable(f"it uses {unknown}")
    return graph


def _unknown(graph: fx.Graph, modules: dict[str, nn.Module]) -> Iterator[str]:
    """Yield what in the graph has no stacked form, in words."""
    for node in graph.nodes:
        if node.op == "get_attr":
            yield f"the attribute {node.target}"
        elif node.op == "call_module" and type(modules[str(node.target)]) not in MODULES:
            yield type(modules[str(node.target)]).__name__
        elif node.op == "call_function" and node.target not in FUNCTIONS:
            yield getattr(node.target, "__name__", str(node.target))
        elif node.op == "call_method" and node.target not in METHODS:
            yield f"Tensor.{node.target}"
    named = [id(parameter) for _, parameter in modules[""].named_parameters(remove_duplicate=False)]
    if len(set(named)) < len(named):
        yield "weights under two names"
    for module in modules.values():
        if has_forward_hooks(module):
            yield f"a hook on {type(module).__name__}"
        if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
            yield f"padding by {module.padding_mode}"
        if isinstance(module, nn.BatchNorm2d) and module.momentum is None:
            yield "BatchNorm without momentum"
