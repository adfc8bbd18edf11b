"""Networks: ours, a user's `module:function`, or any torchvision classifier, made from a seed and tried once.

A network function takes the keywords `channels`, `size` (H, W) and `classes` (as many as it declares) and its own
options, and returns a module that turns float32 (N, channels, H, W) in [0, 1] into logits (N, classes). The option
`features`, which every network has, names the layer whose input is the feature vector; `normalize`, `{mean, std}` by
channel, is for weights that were trained on normalised images.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, Literal, final

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from simulator.errors import PluginError
from simulator.guard.call import forks_end
from simulator.production.training import torchvision_networks
from simulator.production.training.blocks import Centred, HalvingBlock
from simulator.production.training.device import seeded
from simulator.production.training.features import with_features
from simulator.production.training.normalised import normalised
from simulator.production.training.trial import Facts, said, tried_out
from simulator.scenario import catalog
from simulator.scenario.model import Use

#: channels of a first block; the highest keeps a network within some 100 MB
Width = Annotated[int, Field(ge=1, le=512)]
#: options that are the platform's own, and not the network function's
OF_EVERY_NETWORK = ("features", "normalize")


@final
class StandardCnn(nn.Module):
    """`features`: three blocks of 3x3 convolution, BatchNorm, max-pool and ReLU; then `classifier`.

    The blocks have `width`, twice and four times as many channels. Images in [0, 1] are centred first.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int, width: int = 8) -> None:
        super().__init__()
        pixels = (size[0] // 8) * (size[1] // 8)
        self.centred = Centred()
        self.features = nn.Sequential(
            HalvingBlock(channels, width), HalvingBlock(width, 2 * width), HalvingBlock(2 * width, 4 * width)
        )
        self.classifier = nn.Linear(4 * width * pixels, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(self.centred(images)).flatten(1))
        return logits


@final
class _Block(nn.Module):
    """Two 3x3 convolutions around a parameter-free shortcut (the paper's option A: subsample, pad channels with 0)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.added = outputs - inputs

    def forward(self, images: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(images)))
        shortcut = images[:, :, :: self.stride, :: self.stride]
        if self.added:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return functional.relu(self.bn2(self.conv2(inner)) + shortcut)


@final
class ResNet20(nn.Module):
    """Three stages of three blocks with 16, 32 and 64 channels, mean over the image, one Linear; images are centred.

    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.centred = Centred()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stage1 = nn.Sequential(_Block(16, 16, 1), _Block(16, 16, 1), _Block(16, 16, 1))
        self.stage2 = nn.Sequential(_Block(16, 32, 2), _Block(32, 32, 1), _Block(32, 32, 1))
        self.stage3 = nn.Sequential(_Block(32, 64, 2), _Block(64, 64, 1), _Block(64, 64, 1))
        self.classifier = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.stage3(self.stage2(self.stage1(self.stem(self.centred(images)))))
        logits: Tensor = self.classifier(found.mean((2, 3)))
        return logits


def standard_cnn(*, channels: int, size: tuple[int, int], classes: int, width: Width = 8) -> nn.Module:
    """Return the small network of the quickstart; for images from 8 x 8 pixels.

    Its blocks have `width`, 2 `width` and 4 `width` channels: 8 suit 28-pixel grey images, 16 colour photographs of 32
    pixels.

    >>> import torch
    >>> standard_cnn(channels=1, size=(28, 28), classes=10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if min(size) < 8:
        raise ValueError(f"expected images to have at least 8 x 8 pixels, got {size[0]} x {size[1]}; scale them up")
    return StandardCnn(channels, size, classes, width)


def resnet20(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Return the CIFAR ResNet-20 of He et al. (CVPR 2016), shortcuts of option A, images centred; for any `size`.

    >>> network = resnet20(channels=3, size=(32, 32), classes=10)
    >>> sum(value.numel() for value in network.parameters())  # the paper's 0.27 million
    269722
    """
    return ResNet20(channels, classes)


def resnet18(*, channels: int, size: tuple[int, int], classes: int, stem: Literal["32", "224"] = "32") -> nn.Module:
    """Return ResNet-18 (He et al., CVPR 2016).

    `stem` "32" starts with a 3x3 convolution of stride 1 and no pooling, as usual for 32-pixel images; "224" is the
    paper's 7x7 convolution of stride 2 and max-pool. Images in [0, 1] are centred first.

    >>> network = resnet18(channels=1, size=(28, 28), classes=10)
    >>> from simulator.production.training.features import feature_layer
    >>> feature_layer(network), sum(value.numel() for value in network.parameters())
    ('fc', 11172810)
    """
    model: Any = torchvision_networks.build("resnet18", channels=channels, classes=classes)
    if stem == "32":
        model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    model.conv1 = nn.Sequential(Centred(), model.conv1)
    found: nn.Module = model
    return found


def build_network(use: Use, *, channels: int, size: tuple[int, int], classes: int, seed: int) -> nn.Module:
    """Return the network `use`, initialised from `seed`, on the CPU, in eval mode, lazy layers too.

    The global random state is left as it was. Raises `PluginError` when it is unknown, refuses its options, does not
    turn images of (`channels`, *`size`) into logits of (N, `classes`), in training mode or in eval mode, or has no
    layer of which it is known that its input is the feature vector.
    """
    facts = Facts(channels, size, classes)
    own = {name: value for name, value in use.options.items() if name not in OF_EVERY_NETWORK}
    with forks_end(), seeded(seed):
        try:
            model = _construct(Use.model_validate({"use": use.use, **own}), facts)
        except PluginError:
            raise
        except (Exception, SystemExit) as error:  # third-party code may raise anything
            raise PluginError(f"network '{use.use}': {said(error)}") from error
        if not isinstance(model, nn.Module):
            raise PluginError(
                f"expected network '{use.use}' to be an nn.Module, got {type(model).__name__}; return one"
            )
        model = normalised(use.use, tried_out(use.use, model.eval(), facts), channels, use.options.get("normalize"))
        return with_features(use.use, model, facts, use.options.get("features"))


def network_of(architecture: Mapping[str, Any], *, seed: int) -> nn.Module:
    """Return `build_network` of a `VersionPayload.architecture`."""
    height, width = architecture["size"]
    return build_network(
        Use.model_validate(architecture["network"]),
        channels=architecture["channels"],
        size=(height, width),
        classes=architecture["classes"],
        seed=seed,
    )


def _construct(use: Use, given_facts: Facts) -> Any:
    facts = given_facts.values
    for name in facts:
        if name in use.options:
            raise PluginError(f"network '{use.use}': expected '{name}' to come from the source, got it set; remove it")
    if ":" not in use.use and use.use not in catalog.names("networks"):
        others = catalog.torchvision_names(use.use)
        if use.use in others:
            return torchvision_networks.build(
                use.use.removeprefix(catalog.TORCHVISION),
                channels=facts["channels"],
                classes=facts["classes"],
                options=use.options,
            )
        catalog.resolve("networks", use.use, also=others)  # raises, with suggestions from both
    member = catalog.resolve("networks", use.use)
    known = catalog.options(member)
    wanted = {name: value for name, value in facts.items() if name in inspect.signature(member).parameters}
    given = {name: value for name, value in wanted.items() if name in known} | use.options
    return member(**wanted | catalog.check_options(f"network '{use.use}'", member, given))
