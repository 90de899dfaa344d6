"""A network of your own, trained in a loop of your own, and taken through every stage to the chip.

    python own_network.py                             # this loop, on scikit-learn's digits
    python own_network.py --data fashion-mnist.npz --side 28
    spikeport train own_network.py:digits --data digits --out mine.safetensors   # Spikeport's loop

What the loop needs to know of Spikeport is one line: the gradient of a loss is scaled by
`network.gradient_scale` (1/T for rate-based rules). Everything else is plain torch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.data import DataLoader

import spikeport


class Mine(torch.nn.Module):
    """Two convolutions with spiking neurons, and a linear readout."""

    def __init__(self, side: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 24, 3, padding=1, bias=False)
        self.norm1 = torch.nn.BatchNorm2d(24)
        self.lif1 = spikeport.LIF(decay=0.5)
        self.pool = torch.nn.AvgPool2d(2)
        self.conv2 = torch.nn.Conv2d(24, 48, 3, padding=1, bias=False)
        self.norm2 = torch.nn.BatchNorm2d(48)
        self.lif2 = spikeport.LIF(decay=0.5)
        self.readout = torch.nn.Linear(48 * (side // 2) ** 2, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (B, classes) of one step; Spikeport runs it for T steps."""
        x = self.lif1(self.norm1(self.conv1(x)))
        x = self.lif2(self.norm2(self.conv2(self.pool(x))))
        return self.readout(x.flatten(1))


def digits() -> Mine:
    """For `spikeport train own_network.py:digits --data digits`."""
    return Mine(8)


def pixels_28() -> Mine:
    """For images of 28 x 28, such as MNIST and Fashion-MNIST."""
    return Mine(28)


def train(network: spikeport.SpikingNetwork, data: spikeport.Dataset, epochs: int) -> None:
    """The loop: any optimizer, any loss, any schedule."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.02, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    network.train()
    for epoch in range(epochs):
        for x, y in DataLoader(data.train, batch_size=64, shuffle=True):
            loss = functional.cross_entropy(network(x), y)
            optimizer.zero_grad()
            (loss * network.gradient_scale).backward()
            optimizer.step()
        schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f} (last batch)")
    network.eval()


def main() -> None:
    """Train, store a checkpoint, and write the ladder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="digits")
    parser.add_argument("--side", type=int, default=8, help="height and width of the images")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("mine"))
    options = parser.parse_args()
    torch.manual_seed(0)
    data = spikeport.load_dataset(options.data)
    network = spikeport.from_module(Mine(options.side), data.input, options.steps)
    train(network, data, options.epochs)
    accuracy = spikeport.measure_accuracy(network, data.test_x, data.test_y)
    print(f"test accuracy {accuracy:.4f}")
    options.out.mkdir(parents=True, exist_ok=True)
    spikeport.save_checkpoint(
        options.out / "mine.safetensors", spikeport.checkpoint_of(network, data)
    )
    config = spikeport.LadderConfig(lava_samples=2, reference_samples=2)
    command = "python own_network.py"
    ladder = spikeport.write_ladder(network, data, options.out, config, command)
    for row in ladder.report.rows:
        print(f"{row.stage}: accuracy {row.accuracy.correct} of {row.accuracy.n}, {row.verdict}")


if __name__ == "__main__":
    main()
