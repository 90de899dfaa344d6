"""`from_ann`: modules as users write them compute the same as a network, or say what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import InputError, ModuleReadingError
from spikeport.network import Coding, Input
from spikeport.trainer import LI, LIF, GradientRule, QuantizedReLU, from_ann, from_module

IMAGE = Input("image", (3, 8, 8), Coding.GRADED, -128, 127, scale=32.0)
SOUND = Input("sound", (2, 16), Coding.GRADED, -128, 127, scale=32.0)


class BasicBlock(nn.Module):
    """One in-place ReLU, called twice, as in torchvision."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        done: Tensor = self.relu(out)
        return done


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(BasicBlock(3, 4), BasicBlock(4, 4))
        self.layer2 = nn.Sequential(BasicBlock(4, 8, 2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(x))
        scores: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return scores


class PreActivation(nn.Module):
    """Functional, in place, with an identity as shortcut of the first block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(4))
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(4))
        self.shortcut = nn.Identity()
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i in (0, 2):
            y = self.convs[i](functional.relu_(self.norms[i](x)))
            y = self.convs[i + 1](functional.relu(self.norms[i + 1](y), inplace=True))
            x = torch.add(y, self.shortcut(x))
        scores: Tensor = self.fc(x.relu().mean((2, 3)))
        return scores


class Vgg(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 4), (4, 6)):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(True), nn.AvgPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(24, 12), nn.ReLU(True), nn.Dropout(), nn.Linear(12, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        scores: Tensor = self.classifier(x.view(x.size(0), -1))
        return scores


class Written(nn.Module):
    """Layers of which `use` makes scores."""

    def __init__(self, use: Callable[[Written, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.hidden = nn.ModuleList([nn.Linear(192, 9), nn.Linear(9, 9), nn.Linear(9, 9)])
        self.act = QuantizedReLU(4, 1.5)
        self.last = nn.Linear(9, 5)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self, x)


def _functional(m: Written, x: Tensor) -> Tensor:
    x = torch.relu(m.norm(m.conv(input=x)))
    x = functional.avg_pool2d(functional.dropout(x, 0.3, m.training), 1)
    x = functional.relu6(m.hidden[0](x.reshape(x.shape[0], -1)))
    return m.last(x.relu_())  # type: ignore[no-any-return]


def _loop(m: Written, x: Tensor) -> Tensor:
    x = x.flatten(1)
    for layer in m.hidden:
        x = layer(x).relu()
    return m.last(x)  # type: ignore[no-any-return]


def _clamped(m: Written, x: Tensor) -> Tensor:
    x = m.conv(x).clamp(min=0)
    x = torch.clamp(m.conv(x), 0, 0.7).clamp_(0, 0.5)
    x = functional.hardtanh(m.hidden[0](x.flatten(1)), 0.0, 0.25)
    return m.last(m.hidden[1](x).clamp_min(0))  # type: ignore[no-any-return]


def _shared(m: Written, x: Tensor) -> Tensor:
    """One quantized activation and one convolution, twice each."""
    x = m.act(m.conv(x))
    x = m.act(m.norm(m.conv(x)))
    return m.last(m.act(m.hidden[0](x.flatten(1))))  # type: ignore[no-any-return]


def _in_place_on_what_is_used_again(m: Written, x: Tensor) -> Tensor:
    """`y` is clipped once `functional.relu_` has run, also for its later use."""
    y = m.conv(x)
    z = functional.relu_(y)
    return m.last(torch.relu(m.hidden[0]((y + m.conv(z)).flatten(1))))  # type: ignore[no-any-return]


def _in_place_on_a_view(m: Written, x: Tensor) -> Tensor:
    y = m.conv(x)
    y.flatten(1).relu_()
    return m.last(m.hidden[0](y.flatten(1)))  # type: ignore[no-any-return]


def _split(m: Written, x: Tensor) -> Tensor:
    first, rest = torch.split(torch.relu(m.conv(x)), [1, 2], dim=1)
    y = m.norm(m.conv(x)).add(m.conv(x)).relu()
    y = m.last(torch.relu(m.hidden[0](y.flatten(1))))
    return y + torch.flatten(first.add(rest[:, 1:]), 1)[:, :5]  # type: ignore[no-any-return]


def _sound() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 5, padding=2),
        nn.BatchNorm1d(4),
        nn.ReLU6(inplace=True),
        nn.AvgPool1d(2),
        nn.Conv1d(4, 4, 3, groups=2),
        nn.Hardtanh(0.0, 0.3),
        nn.AdaptiveAvgPool1d(2),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


STYLES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "torchvision's basic blocks": (ResNet, 6),
    "pre-activation": (PreActivation, 5),
    "VGG with batch norm": (Vgg, 3),
    "functions": (lambda: Written(_functional), 3),
    "a loop over a list": (lambda: Written(_loop), 3),
    "clamps": (lambda: Written(_clamped), 5),
    "a shared quantized activation": (lambda: Written(_shared), 3),
    "in place, used again": (lambda: Written(_in_place_on_what_is_used_again), 2),
    "in place on a view": (lambda: Written(_in_place_on_a_view), 1),
    "parts of the channels": (lambda: Written(_split), 3),
    "sound": (_sound, 2),
}


DROPPING = {"functions", "VGG with batch norm"}


def made(style: str) -> nn.Module:
    torch.manual_seed(3)
    module = STYLES[style][0]()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.3, 0.3)
            layer.running_mean = torch.randn(layer.num_features) / 4
            layer.running_var = torch.rand(layer.num_features) + 0.5
    return module.eval()


def samples(input: Input) -> Tensor:
    torch.manual_seed(4)
    return torch.randint(-128, 128, (6, *input.shape)) / 32


@pytest.mark.parametrize("style", STYLES)
def test_the_network_computes_what_the_module_computes(style: str) -> None:
    module, activations = made(style), STYLES[style][1]
    input = SOUND if style == "sound" else IMAGE
    network = from_ann(module, input)
    assert (network.is_ann, network.steps, network.rule) == (True, 1, GradientRule.BPTT_M)
    assert not network.training
    found = [n for n in network.nodes if isinstance(n.op, nn.ReLU | QuantizedReLU)]
    assert len(found) == activations
    x = samples(input)
    with torch.no_grad():
        expected = module(x.clone())
        assert float(expected.std()) > 1e-3
        torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "style", [s for s in STYLES if s not in ("functions", "VGG with batch norm")]
)
def test_the_gradient_is_that_of_plain_autograd(style: str) -> None:
    """Through convolutions, batch norms in training mode, activations and residual sums."""
    module = made(style).train()
    input = SOUND if style == "sound" else IMAGE
    network = from_ann(module, input)
    assert network.training
    x, y = samples(input), torch.arange(6) % 5
    functional.cross_entropy(module(x.clone()), y).backward()  # type: ignore[no-untyped-call]
    expected = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    (functional.cross_entropy(network(x), y) * network.gradient_scale).backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5 * max(1, largest))


def test_layers_are_shared_and_activations_are_not_unless_trained() -> None:
    module = ResNet()
    network = from_ann(module, IMAGE)
    assert network.layers["fc"] is module.fc
    relus = [node.op for node in network.nodes if isinstance(node.op, nn.ReLU)]
    assert len({id(op) for op in relus}) == len(relus) == 6
    assert not any(op.inplace for op in relus)
    written = Written(_shared)
    shared = [n.op for n in from_ann(written, IMAGE).nodes if isinstance(n.op, QuantizedReLU)]
    assert len(shared) == 3
    assert all(op is written.act for op in shared)


def test_a_clipped_relu_becomes_a_trained_threshold() -> None:
    network = from_ann(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU6()), IMAGE)
    (clipped,) = (node.op for node in network.nodes if isinstance(node.op, QuantizedReLU))
    assert (clipped.levels, float(clipped.v_threshold.detach())) == (None, 6.0)


def _refusals() -> nn.Module:
    return nn.Sequential(
        nn.MaxPool2d(2), nn.GELU(), nn.LayerNorm(4), nn.Hardtanh(), nn.GroupNorm(1, 3), LIF(), LI(),
        nn.Softmax(1), nn.Upsample(2),
    )  # fmt: skip


def test_everything_that_cannot_be_converted_is_listed_at_once_with_its_remedy() -> None:
    with pytest.raises(ModuleReadingError) as caught:
        from_ann(_refusals(), IMAGE)
    message, *listed = caught.value.args
    assert message == "module Sequential: 9 layers are not convertible:"
    wanted = (
        "- layer '_0': MaxPool2d takes a maximum, which integrate-and-fire neurons cannot take of "
        "rates; use an average pool, and train or fine-tune again",
        "- layer '_1': GELU is no activation that integrate-and-fire neurons have; use ReLU, and "
        "train or fine-tune again",
        "- layer '_2': LayerNorm takes statistics of each sample, which no weights can; use a "
        "batch norm, and train again",
        "- layer '_3': Hardtanh clips to -1..1, but a rate begins at 0; use ReLU or Hardtanh(0, b)"
        ", and train again",
        "- layer '_4': GroupNorm takes statistics of each sample, which no weights can; use a "
        "batch norm, and train again",
        "- layer '_5': LIF spikes already, nothing has to be converted; use from_module",
        "- layer '_6': LI spikes already, nothing has to be converted; use from_module",
        "- layer '_7': Softmax is not needed to choose the largest score; leave it to the loss",
        "- layer '_8': Upsample is not a layer that a spiking network can contain",
    )
    assert tuple(listed) == wanted


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m, x: functional.max_pool2d(x, 2), "layer 'max_pool2d': .* use an average pool"),
        (lambda m, x: functional.adaptive_max_pool2d(x, 1), "'adaptive_max_pool2d': .* average"),
        (lambda m, x: x.amax((2, 3)), "layer 'amax': .* use an average pool"),
        (lambda m, x: functional.leaky_relu(x), "leaky_relu is no activation .*; use ReLU"),
        (lambda m, x: functional.silu(x), "silu is no activation .*; use ReLU"),
        (lambda m, x: x.sigmoid(), "sigmoid is no activation .*; use ReLU"),
        (lambda m, x: torch.tanh(x), "tanh is no activation .*; use ReLU"),
        (lambda m, x: functional.softmax(x, 1), "leave it to the loss"),
        (lambda m, x: x.clamp(-1, 1), r"clamp clips at other values.*use ReLU or Hardtanh\(0, b\)"),
        (lambda m, x: x.clamp(0, m.conv(x)), "clamp clips at other values"),
        (lambda m, x: functional.layer_norm(x, (8,)), "layer_norm takes statistics"),
        (lambda m, x: x * 2, "mul has no equivalent among spikes"),
        (lambda m, x: m.conv(x) + m.last.bias, "layer 'last_bias': only layers may own tensors"),
        (lambda m, x: m.last(m.hidden[0](x.flatten(1))), "module Written: has no activation"),
        (lambda m, x: (torch.relu(x), x), "must return one tensor"),
        (lambda m, x: x if x.sum() > 0 else -x, "cannot be traced"),
        (
            lambda m, x: m.conv(x) + m.conv(x)[:, :1].relu_(),
            "inputs differ in shape",
        ),
        (
            lambda m, x: (lambda y: y[:, :3].relu_() + y)(m.conv(x)),
            "layer 'relu_': changes in place what other layers use before 'getitem'",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_error(
    use: Callable[[Written, Tensor], Tensor], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        from_ann(Written(use), IMAGE)


def test_from_module_says_what_to_do_with_a_relu() -> None:
    with pytest.raises(ModuleReadingError, match=r"^layer '_0': ReLU is not a layer .* LIF, or "):
        from_module(nn.Sequential(nn.ReLU(), nn.Linear(192, 3)), IMAGE, 4)
    with pytest.raises(ModuleReadingError, match=r"QuantizedReLU .*\(spikeport convert\)$"):
        from_module(nn.Sequential(QuantizedReLU(), nn.Linear(192, 3)), IMAGE, 1)
