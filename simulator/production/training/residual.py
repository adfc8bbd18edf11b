"""ResNet-20 for small images (He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, 4.2)."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional

from simulator.production.training.blocks import Centred


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
    """Three stages of three blocks with 16, 32 and 64 channels, mean over the image, one Linear; images are centred."""

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
