"""Modules of other frameworks: the same spikes, and clear messages for what cannot be read."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import dataclasses
import itertools
import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import spikeport
from benchmarks import frameworks
from benchmarks.foreign import framework, installed
from benchmarks.foreign.layers import conv, linear, lively
from spikeport.errors import InputError, ModuleReadingError
from spikeport.export import export_foreign
from spikeport.export.nir.semantics import StartValue
from spikeport.network import Coding, ForeignModel, Input, LinearLayer, NeuronLayer, Reset
from spikeport.trainer import LIF, Node
from spikeport.trainer.network import FRAMEWORKS
from tests.helpers.own_module import CONFIG, Mine, own_network
from tests.helpers.training import assert_same_weights, state, tiny_data

PIXELS = Input("x", (30,))
STEPS = 12


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not installed(package), reason=f"{package} is not installed")


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("package", [pytest.param(p, marks=needs(p)) for p in frameworks.CASES])
def test_no_spike_differs(package: str, seed: int) -> None:
    for case in frameworks.cases(package, seed):
        row = frameworks.compare(package, case)
        assert row["differing"] == 0, row
        if row["spikes"]:
            assert 0.02 < row["spikes"] / row["compared"] < 20, f"tells little: {row}"


@pytest.mark.parametrize("package", [pytest.param(p, marks=needs(p)) for p in frameworks.CASES])
def test_what_can_be_trained_has_the_same_scores(package: str) -> None:
    """Whatever `trainable=True` takes; the rest says why it does not, by name."""
    taken = 0
    for case in frameworks.cases(package, 0):
        x = (torch.rand(STEPS, 4, *case.shape) < 0.4).float()
        try:
            network = read(package, case.module, Input("x", case.shape), trainable=True)
        except InputError as error:
            if "layer '" not in str(error):
                raise
            continue
        taken += 1
        with torch.no_grad():
            emitted = case.run(case.module.eval(), x)
            scores = network.eval()(x)
        last = isinstance(network.nodes[-1].op, spikeport.LI)
        theirs = emitted[-1] if last else emitted.mean(0)
        torch.testing.assert_close(scores, theirs.reshape(scores.shape), rtol=0, atol=1e-5)
        shared = {id(p) for p in case.module.parameters()}
        assert {id(p) for p in network.parameters()} <= shared
    assert taken


def read(package: str, module: nn.Module, input: Input = PIXELS, **given: Any) -> Any:
    return getattr(spikeport, f"from_{package}")(module, input, STEPS, **given)


# Foreign layers in other places


class Foreign(nn.Module):
    """Stands for a class of a framework that need not be installed."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def of(package: str) -> nn.Module:
    kind = type("Neuron", (Foreign,), {"__module__": f"{package}.some.module"})
    made: nn.Module = kind()
    return made


@pytest.mark.parametrize("package", FRAMEWORKS)
@pytest.mark.parametrize("inherited", [False, True])
def test_from_module_names_the_layer_and_the_function_that_takes_it(
    package: str, inherited: bool
) -> None:
    layer = of(package)
    if inherited:
        layer = type("Mine", (type(layer),), {})()
    module = nn.Sequential(nn.Linear(30, 10), layer)
    with pytest.raises(
        InputError, match=rf"layer '1': .* is a layer of .*; spikeport\.from_{package} takes"
    ):
        spikeport.from_module(module, PIXELS, STEPS)
    with pytest.raises(InputError, match=rf"module: .*; spikeport\.from_{package} takes"):
        spikeport.from_module(layer, PIXELS, STEPS)


@pytest.mark.parametrize(("asked", "met"), list(itertools.permutations(FRAMEWORKS, 2)))
def test_each_function_names_the_one_for_another_framework(asked: str, met: str) -> None:
    module = nn.Sequential(nn.Linear(30, 10), of(met))
    with pytest.raises(InputError, match=rf"layer '_1': .*; spikeport\.from_{met} takes"):
        read(asked, module)


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_modules_without_known_neurons_are_refused_by_name(package: str) -> None:
    with pytest.raises(InputError, match="module Sequential: contains no neurons of"):
        read(package, nn.Sequential(nn.Linear(30, 10)))
    unknown = rf"layer '_1': {package}\.some\.module\.Neuron is not supported; supported are"
    with pytest.raises(InputError, match=unknown):
        read(package, nn.Sequential(nn.Linear(30, 10), of(package)))


# Documentation


GUIDE = (Path(__file__).parent.parent / "docs" / "frameworks.md").read_text()


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_the_guide_lists_the_neurons_that_messages_list(package: str) -> None:
    (row,) = re.findall(rf"^\| `from_{package}` \| (.*) \| (.*) \|$", GUIDE, re.M)
    stated = set(re.findall(r"[A-Z]\w+", row[0])) - {"Squeeze", "Recurrent"}
    with pytest.raises(InputError) as error:
        read(package, nn.Sequential(nn.Linear(30, 10), of(package)))
    listed = set(re.findall(r"[A-Z]\w+", str(error.value).split("supported are")[1]))
    assert stated <= listed
    if installed(package):
        assert row[1].split()[1] == version(package)


@pytest.mark.skipif(not all(map(installed, FRAMEWORKS)), reason="not all frameworks are installed")
def test_the_guide_states_how_much_was_compared() -> None:
    count = sum(1 for package in FRAMEWORKS for _ in frameworks.cases(package, 0))
    sets, networks, outputs = re.findall(
        r"With (\d+) sets of weights\s+for each of (\d+) networks, \d of ([\d,]+) outputs", GUIDE
    )[0]
    assert int(networks) == count
    values = frameworks.STEPS * frameworks.BATCH * 10  # each has ten outputs
    assert int(outputs.replace(",", "")) == int(sets) * count * values


@needs("norse")
def test_the_example_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.S | re.M)
    monkeypatch.chdir(tmp_path)
    framework("norse.torch")
    made: dict[str, Any] = {}
    exec(compile(example, "frameworks.md", "exec"), made)
    assert isinstance(made["trainable"], spikeport.SpikingNetwork)
    assert spikeport.load_network("chip.spikeport") == made["result"].network


@needs("norse")
def test_the_benchmark_prints_a_line_for_each_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["frameworks", "--frameworks", "norse", "--seeds", "2", "--json", str(tmp_path / "a")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match="False"):
        frameworks.main()
    rows = json.loads((tmp_path / "a").read_text())["networks"]
    assert len(rows) == len(capsys.readouterr().out.splitlines()) == 18
    assert all(row["compared"] > 2000 and not row["differing"] for row in rows)


def test_layers_of_different_shapes_are_not_summed() -> None:
    one, zero = np.ones(()), np.zeros(())
    layers = (
        LinearLayer("a", ("x",), np.ones((4, 30)), None),
        LinearLayer("b", ("x",), np.ones((5, 30)), None),
        NeuronLayer("n", ("a", "b"), one, one, one, zero, zero),
    )
    with pytest.raises(
        InputError, match=r"layer 'n': its inputs differ in shape: \[\(4,\), \(5,\)\]"
    ):
        export_foreign(ForeignModel(PIXELS, layers, "n", STEPS, {}, {}))
    wide = dataclasses.replace(PIXELS, shape=(2, 15))
    with pytest.raises(InputError, match=r"layer 'a': receives \(2, 15\), must be flat"):
        export_foreign(ForeignModel(wide, layers[:1], "a", STEPS, {}, {}))
    gained = NeuronLayer("n", ("a",), one, 2 * one, None, zero, zero)
    with pytest.raises(
        ModuleReadingError, match="layer 'n': is an integrator with a gain, which must be"
    ):
        export_foreign(ForeignModel(PIXELS, (layers[0], gained), "n", STEPS, {}, {}))


# Norse


def box(**given: Any) -> Any:
    norse = framework("norse.torch")
    values = {name: torch.as_tensor(value) for name, value in given.items() if name[0] in "vt"}
    return norse.LIFBoxCell(norse.LIFBoxParameters(**(given | values)))


class Loop(nn.Module):
    """Two layers in a loop over time, with a step that tests replace."""

    def __init__(self, step: Any = None) -> None:
        super().__init__()
        self.fc1, self.lif1 = linear(30, 20), box(tau_mem_inv=300.0)
        self.fc2, self.lif2 = linear(20, 10), box(tau_mem_inv=300.0)
        self.step = step or (lambda m, x, z: m.fc2(z))

    def forward(self, x: Tensor) -> Any:
        found, s1, s2 = [], None, None
        for now in x:
            z, s1 = self.lif1(self.fc1(now), s1)
            z, s2 = self.lif2(self.step(self, now, z), s2)
            found.append(z)
        return self.returned(found)

    def returned(self, found: list[Tensor]) -> Any:
        return torch.stack(found)


needs_norse = needs("norse")


@needs_norse
def test_a_network_is_deployed_like_any_other(tmp_path: Path) -> None:
    network = spikeport.from_norse(Loop(), PIXELS, STEPS)
    assert network.provenance["format"].startswith("Norse ")
    assert network.provenance["source"] == "module Loop"
    spikeport.write_nir(network, tmp_path / "a.nir")
    again = spikeport.read_nir_float(tmp_path / "a.nir")
    assert again.semantics == network.semantics
    assert again.provenance == network.provenance
    x = (np.random.default_rng(0).random((20, 30)) < 0.5).astype(float)
    deployed = spikeport.quantize(network, x).network
    assert deployed.provenance["source"] == "module Loop"
    samples = spikeport.encode_samples(deployed.inputs, deployed.steps, x)
    native, reference = (
        run(deployed, samples).scores for run in (spikeport.run_native, spikeport.run_reference)
    )
    for name, scores in native.items():
        np.testing.assert_array_equal(scores, reference[name])


@needs_norse
def test_reading_leaves_the_module_as_it_was() -> None:
    norse = framework("norse.torch")
    module = norse.SequentialState(conv(2, 4), nn.BatchNorm2d(4), box(), nn.Dropout(), nn.Flatten(),
                                   linear(64, 3), box())  # fmt: skip
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    spikeport.from_norse(module, Input("x", (2, 4, 4)), STEPS)
    assert module.training
    assert module[1].training
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def after(tensor: Tensor, change: Callable[[Tensor], Any]) -> Tensor:
    """A tensor after something happened to it."""
    change(tensor)
    return tensor


@needs_norse
@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda m, x, z: m.fc2(torch.sigmoid(z)), "layer 'fc2': receives a result of sigmoid"),
        (lambda m, x, z: m.fc2(z * 2), "layer 'fc2': receives a result of mul"),
        (lambda m, x, z: m.fc2(z + 1), "receives a result of add with a constant"),
        (lambda m, x, z: m.fc2(torch.add(z, z, alpha=2)), "receives a result of add with options"),
        (lambda m, x, z: m.fc2(z.add(other=z)), "receives a result of add with options"),
        (lambda m, x, z: m.fc2(torch.ones(2, 20)), "does not come from the module's input"),
        (lambda m, x, z: m.fc2(z + z), "layer 'fc2': receives the same values twice"),
        (lambda m, x, z: m.fc2(z[:, :20]), "receives a result of __getitem__ of one step"),
        (
            lambda m, x, z: m.fc2(z.view(-1, 4, 5).flatten(1)),
            r"of view from \(2, 20\) to \(2, 4, 5",
        ),
        (lambda m, x, z: m.fc2(z.mT.mT), "receives a result of __get__"),
        (lambda m, x, z: m.fc2(z.flip(1)), "receives a result of flip"),
        (lambda m, x, z: m.fc2(after(z, lambda z: z.mul_(2))), "receives a result of mul_"),
        (lambda m, x, z: m.fc2(after(z, lambda z: z[:, 0].zero_())), "result of a change in place"),
        (
            lambda m, x, z: m.fc2(after(z, lambda z: z.__setitem__((0, 0), 1.0))),
            "layer 'fc2': receives a result of a change in place",
        ),
        (
            lambda m, x, z: m.fc2(after(z.view(2, 20), lambda _: z.add_(z))),
            "layer 'fc2': receives a result of a change in place",
        ),
        (
            lambda m, x, z: after(m.fc2(z), lambda y: y.detach().unsqueeze(0).fill_(1)),
            "layer 'lif2': receives a result of a change in place",
        ),
        (lambda m, x, z: m.fc2(input=z) if m.lif1(x=x) else z, "fails on an input of shape"),
    ],
)
def test_operations_without_a_counterpart_are_named(step: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        spikeport.from_norse(Loop(step), PIXELS, STEPS)


@needs_norse
@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda found: -torch.stack(found).sum(0), "returns a result of neg"),
        (lambda found: torch.softmax(torch.stack(found), -1), "returns a result of softmax"),
        (lambda found: torch.stack(found[::-1]), "returns a result of stack"),
        (lambda found: found[-1], "returns 'lif2' at 1 of 12 steps, must return all"),
        (lambda found: torch.stack(found).transpose(1, 2), "returns a result of transpose"),
        (lambda found: torch.stack(found)[:, 0], "returns a result of __getitem__"),
        (lambda found: torch.cat(found), "returns a result of cat"),
        (lambda found: torch.stack(found).cumsum(0), "returns a result of cumsum"),
        (lambda found: None, "returns nothing that follows from its input"),
        (lambda found: sum(found[1:], found[0]) * 0, "returns a result of mul"),
    ],
)
def test_returned_values_without_a_counterpart_are_named(returned: Any, message: str) -> None:
    module = Loop()
    module.returned = returned  # type: ignore[method-assign]
    with pytest.raises(InputError, match=f"module Loop: {message}"):
        spikeport.from_norse(module, PIXELS, STEPS)


@needs_norse
@pytest.mark.parametrize(
    "returned",
    [
        torch.stack,
        lambda found: torch.stack(found).sum(0),
        lambda found: torch.stack(found, 1).mean(1),
        lambda found: torch.stack(found, 1).transpose(0, 1),
        lambda found: torch.stack(found, 1).permute(1, 0, 2).flatten(0, 1),
        lambda found: sum(found[1:], found[0]) / len(found),
        lambda found: (torch.stack(found), found),
        lambda found: {"spikes": found},
        lambda found: (torch.stack(found).exp(), found),
    ],
)
def test_spikes_may_be_returned_in_many_ways(returned: Any) -> None:
    module = Loop()
    module.returned = returned  # type: ignore[method-assign]
    network = spikeport.from_norse(module, PIXELS, STEPS)
    assert network.checked.sources["output"] == ("lif2",)


@needs_norse
@pytest.mark.parametrize(
    ("returned", "warned"),
    [
        (torch.stack, False),
        (lambda found: found[-1], False),
        (lambda found: torch.stack(found).sum(0), True),
        (lambda found: sum(found[1:], found[0]) / len(found), True),
    ],
)
def test_a_membrane_that_is_summed_over_time_is_not_the_score(
    returned: Any, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    module = Loop()
    module.lif2 = framework("norse.torch").LIBoxCell()
    module.returned = returned  # type: ignore[method-assign]
    spikeport.from_norse(module, PIXELS, STEPS)
    message = "module Loop: returns the membrane of 'lif2' summed or averaged over time, but the"
    assert (message in caplog.text) == warned


@needs_norse
def test_neurons_must_be_called_once_per_step() -> None:
    def now_and_then(module: Any, x: Tensor, z: Tensor) -> Tensor:
        module.count = getattr(module, "count", 0) + 1
        return cast("Tensor", module.fc2(z) if module.count % 2 else module.fc2(x[:, :20]))

    with pytest.raises(InputError, match="layer 'fc2': receives a result of __getitem__"):
        spikeport.from_norse(Loop(now_and_then), PIXELS, STEPS)

    def other_layer(module: Any, x: Tensor, z: Tensor) -> Tensor:
        module.count = getattr(module, "count", 0) + 1
        source = z if module.count % 2 else module.fc3(x)
        return cast("Tensor", module.fc2(source))

    module = Loop(other_layer)
    module.fc3 = linear(30, 20)
    with pytest.raises(InputError, match=r"layer 'lif2': receives 'fc2_2' in one step and 'fc2'"):
        spikeport.from_norse(module, PIXELS, STEPS)

    def last_step(module: Any, x: Tensor, z: Tensor) -> Tensor:
        before, module.before = getattr(module, "before", None), z
        return cast("Tensor", module.fc2(z if before is None else before))

    with pytest.raises(InputError, match=r"'lif2': receives the values of step 0 when it computes"):
        spikeport.from_norse(Loop(last_step), PIXELS, STEPS)

    def twice(module: Any, x: Tensor, z: Tensor) -> Tensor:
        module.lif1(module.fc1(x))
        return cast("Tensor", module.fc2(z))

    with pytest.raises(InputError, match=r"'lif1': receives the values of step 0 when it computes"):
        spikeport.from_norse(Loop(twice), PIXELS, STEPS)


@needs_norse
def test_outputs_of_several_layers_cannot_be_returned() -> None:
    class Two(Loop):
        def forward(self, x: Tensor) -> Any:
            first, second, s1, s2 = [], [], None, None
            for now in x:
                z, s1 = self.lif1(self.fc1(now), s1)
                first.append(z)
                z, s2 = self.lif2(self.fc2(z), s2)
                second.append(z)
            return self.returned([torch.stack(first), torch.stack(second)])

    module = Two()
    module.returned = lambda found: found  # type: ignore[method-assign]
    with pytest.raises(InputError, match="returns the outputs of 'lif1', 'lif2', must return"):
        spikeport.from_norse(module, PIXELS, STEPS)
    module.returned = lambda found: found[0].sum(0) + found[1].sum(0)[:, :1]  # type: ignore[method-assign]
    with pytest.raises(InputError, match="returns a result of add"):
        spikeport.from_norse(module, PIXELS, STEPS)
    norse = framework("norse.torch")
    layers = linear(30, 20), box(), linear(20, 10), box()
    hidden = norse.SequentialState(*layers, return_hidden=True)
    with pytest.raises(InputError, match="returns the outputs of '_0', '_1', must return"):
        spikeport.from_norse(hidden, PIXELS, STEPS)


@needs_norse
def test_the_number_of_steps_must_be_that_of_the_module() -> None:
    class Fixed(Loop):
        def forward(self, x: Tensor) -> Any:
            found, s1, s2 = [], None, None
            for _ in range(7):
                z, s1 = self.lif1(self.fc1(x), s1)
                z, s2 = self.lif2(self.fc2(z), s2)
                found.append(z)
            return torch.stack(found)

    with pytest.raises(InputError, match="module Fixed: computes 7 steps, but steps is 12"):
        spikeport.from_norse(Fixed(), PIXELS, STEPS)


@needs_norse
def test_neurons_are_called_equally_often() -> None:
    class Late(Loop):
        def forward(self, x: Tensor) -> Any:
            found, s1, s2 = [], None, None
            for now in x:
                z, s1 = self.lif1(self.fc1(now), s1)
                found.append(z)
            return self.lif2(self.fc2(z), s2)[0]

    with pytest.raises(InputError, match="'lif2': receives the values of step 11 when it comp"):
        spikeport.from_norse(Late(), PIXELS, STEPS)

    class Rarely(Loop):
        def forward(self, x: Tensor) -> Any:
            z, s = self.lif1(self.fc1(x))
            for _ in range(STEPS - 1):
                z, s = self.lif1(self.fc1(x), s)
            return self.lif2(self.fc2(z))[0]

    with pytest.raises(InputError, match="'lif2': receives the values of step 11 when it comp"):
        spikeport.from_norse(Rarely(), PIXELS, STEPS)

    class Apart(Loop):
        lif3: nn.Module

        def forward(self, x: Tensor) -> Any:
            _, s = self.lif1(self.fc1(x))
            for _ in range(STEPS - 1):
                _, s = self.lif1(self.fc1(x), s)
            return self.fc2(self.lif3(self.fc1(x))[0])

    module = Apart()
    module.lif3 = box()
    with pytest.raises(InputError, match="'lif3': is called 1 times, but 'lif1' 12 times; each"):
        spikeport.from_norse(module, PIXELS, STEPS)

    class Membrane(Loop):
        def forward(self, x: Tensor) -> Any:
            _, s = self.lif1(self.fc1(x))
            return self.fc2(s.v)

    with pytest.raises(InputError, match="'fc2': receives a state of 'lif1', must receive its"):
        spikeport.from_norse(Membrane(), PIXELS, STEPS)

    class Mixed(Membrane):
        def forward(self, x: Tensor) -> Any:
            z, s = self.lif1(self.fc1(x))
            return self.fc2(z + s.v)

    with pytest.raises(InputError, match="'fc2': receives a result of add, must receive outputs"):
        spikeport.from_norse(Mixed(), PIXELS, STEPS)


@needs_norse
def test_one_layer_is_returned() -> None:
    class Sum(Loop):
        def forward(self, x: Tensor) -> Any:
            first, _ = self.lif1(self.fc1(x))
            second, _ = self.lif2(self.fc1(x))
            return first + second

    module = Sum()
    with pytest.raises(InputError, match=r"must return the output of one layer, returns .*lif2"):
        spikeport.from_norse(module, PIXELS, STEPS)


@needs_norse
def test_hooks_and_unknown_parts_are_refused_by_name() -> None:
    norse = framework("norse.torch")
    module = Loop()
    module.fc1.register_forward_hook(lambda *given: None)
    with pytest.raises(InputError, match="layer 'fc1': has hooks"):
        spikeport.from_norse(module, PIXELS, STEPS)
    with pytest.raises(InputError, match=r"'_1': norse\.torch\.module\.lsnn\.LSNNCell is not supp"):
        spikeport.from_norse(norse.SequentialState(linear(30, 5), norse.LSNNCell()), PIXELS, STEPS)
    with pytest.raises(InputError, match="fails on an input of shape"):
        spikeport.from_norse(norse.SequentialState(linear(31, 5), box()), PIXELS, STEPS)
    with pytest.raises(InputError, match="layer '_2': takes one step, but is given all steps"):
        spikeport.from_norse(
            norse.SequentialState(linear(30, 5), norse.LIF(), box()), PIXELS, STEPS
        )


@needs_norse
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {"reset_method": "reset_subtract"}, "differ in reset"),
        ({"v_leak": 0.1, "v_reset": 0.2}, {"v_leak": 0.0, "v_reset": -0.1}, None),
        ({"tau_mem_inv": 2000.0}, {}, "keeps -1 to -1 of its state per step, must lie in 0..1"),
        ({"reset_method": max}, {}, "reset_method max, must be one of reset_value, reset_subtr"),
        ({"v_th": torch.ones(2, 20)}, {}, r"threshold of shape \(2, 20\) does not fit neurons of"),
        ({"tau_mem_inv": 0.0}, {}, r"'_1' \(LIFBoxCell\): its membrane takes nothing of its input"),
    ],
)
def test_parameters_without_a_counterpart_are_named(
    first: Any, second: Any, message: str | None
) -> None:
    norse = framework("norse.torch")

    def made(given: Any) -> Any:
        if isinstance(name := given.get("reset_method"), str):
            given = given | {"reset_method": getattr(norse, name)}
        return box(**given)

    module = norse.SequentialState(linear(30, 20), made(first), linear(20, 10), made(second))
    if message is None:
        spikeport.from_norse(module, PIXELS, STEPS)
        return
    with pytest.raises(InputError, match=message):
        spikeport.from_norse(module, PIXELS, STEPS)


@needs_norse
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tau_mem_inv": torch.rand(10) + 9}, "the decay differs between neurons"),
        ({"v_th": torch.rand(10) + 1}, "the threshold differs between neurons"),
        ({"v_leak": 0.1}, "leaks to other values than 0"),
        ({"v_reset": 0.1}, "is reset to other values than 0"),
        ({"v_th": -0.1}, "has the threshold -1"),
        (
            {"tau_mem_inv": torch.tensor([100.0] * 9 + [200.0])},
            r"the decay .* \(0\.8 to 0\.9\), which",
        ),
    ],
)
def test_neurons_that_cannot_be_trained_say_why(given: Any, message: str) -> None:
    norse = framework("norse.torch")
    module = norse.SequentialState(linear(30, 10), box(**given))
    with pytest.raises(InputError, match=rf"layer '_1' \(LIFBoxCell\): {message}"):
        spikeport.from_norse(module, PIXELS, STEPS, trainable=True)
    spikeport.from_norse(module, PIXELS, STEPS)


@needs_norse
@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("LIFCell", (), "has a synaptic current"),
        ("LIFRecurrentCell", (30, 10), "has a synaptic current"),
        ("LIBoxCell", (), "never spikes and has the gain 0.1"),
    ],
)
def test_other_neurons_cannot_be_trained_and_say_why(kind: str, given: Any, message: str) -> None:
    norse = framework("norse.torch")
    neurons = getattr(norse, kind)(*given)
    module = norse.SequentialState(*(() if given else (linear(30, 10),)), neurons)
    with pytest.raises(InputError, match=rf"\({kind}\): {message}, which LIF does not have"):
        spikeport.from_norse(module, PIXELS, STEPS, trainable=True)
    spikeport.from_norse(module, PIXELS, STEPS)


@needs_norse
def test_starts_that_a_float_network_does_not_have_are_named() -> None:
    norse = framework("norse.torch")
    first = box(v_leak=0.1, v_reset=0.2)
    module = norse.SequentialState(linear(30, 20), first, linear(20, 10), norse.IAFCell())
    with pytest.raises(InputError, match=r"'_3' \(IAFCell\): starts neither at 0 nor where it"):
        spikeport.from_norse(module, PIXELS, STEPS)


def assert_same_spikes(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Step by step, of a module of Norse for one step that does spike."""
    network = spikeport.from_norse(module, Input("x", shape), STEPS)
    x = (torch.rand(STEPS, 4, *shape) < 0.4).float()
    found, state = [], None
    with torch.no_grad():
        for now in x:
            spikes, state = module(now, state)
            found.append(spikes)
    theirs = torch.stack(found).numpy()
    ours = spikeport.run_float(network, x.numpy().astype(float), record=("spikes",))
    assert ours.trace is not None
    (last,) = network.checked.sources["output"]
    np.testing.assert_array_equal(ours.trace.spikes[last], theirs)
    assert 0.02 < theirs.mean() < 0.98


@needs_norse
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((2, 9), nn.AvgPool1d(2)),
        ((2, 9), nn.AvgPool1d(3, 2, 1)),
        ((2, 9), lively(nn.Conv1d(2, 3, 2, padding="same"))),
        ((2, 6, 6), nn.AvgPool2d(2, divisor_override=1)),
        ((2, 6, 6), nn.AvgPool2d(3, 2, 1, divisor_override=5)),
        ((2, 6, 6), lively(nn.Conv2d(2, 3, 2, padding="same"))),
        ((2, 6, 6), lively(nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2)))),
    ],
    ids=str,
)
def test_layers_of_torch_that_nir_lacks_are_convolutions(
    shape: tuple[int, ...], layer: nn.Module
) -> None:
    norse = framework("norse.torch")
    neurons = box(tau_mem_inv=300.0, v_th=0.05)
    assert_same_spikes(norse.SequentialState(layer, neurons), shape)
    with torch.no_grad():
        size = layer(torch.zeros(1, *shape)).numel()
    module = norse.SequentialState(layer, neurons, nn.Flatten(), linear(size, 3), box(v_th=0.3))
    network = spikeport.from_norse(module, Input("x", shape), STEPS)
    spikeport.quantize(network, (np.random.default_rng(0).random((8, *shape)) < 0.4).astype(float))


@needs_norse
def test_sums_in_place_are_sums() -> None:
    def shortcut(module: Any, x: Tensor, z: Tensor) -> Tensor:
        made = module.fc2(z)
        made += module.fc3(x)
        return cast("Tensor", made)

    module = Loop(shortcut)
    module.fc3 = linear(30, 10)
    network = spikeport.from_norse(module, PIXELS, STEPS)
    assert set(network.checked.sources["lif2"]) == {"fc2", "fc3"}


@needs_norse
def test_max_pools_can_only_be_trained() -> None:
    norse = framework("norse.torch")
    module = norse.SequentialState(
        conv(2, 4), box(), nn.MaxPool2d(2), nn.Flatten(), linear(16, 3), box()
    )
    image = Input("x", (2, 4, 4), Coding.GRADED, 0, 255, 255.0)
    with pytest.raises(InputError, match="layer '_2': NIR has no max-pool; give trainable=True"):
        spikeport.from_norse(module, image, STEPS)
    network = spikeport.from_norse(module, image, STEPS, trainable=True)
    assert "_2_any" in spikeport.export_float(network).graph.nodes


@needs_norse
def test_a_network_that_can_be_trained_is_trained() -> None:
    norse = framework("norse.torch")
    module = norse.SequentialState(linear(30, 20), box(), linear(20, 10), box())
    network = spikeport.from_norse(module.train(), PIXELS, STEPS, trainable=True)
    before = module[0].weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    (network((torch.rand(4, 30) < 0.5).float()) - 1).square().mean().backward()
    optimizer.step()
    assert not torch.equal(module[0].weight, before)


# snnTorch


def leaky(**given: Any) -> Any:
    return framework("snntorch").Leaky(**({"beta": 0.9} | given))


def synaptic(**given: Any) -> Any:
    return framework("snntorch").Synaptic(alpha=0.5, beta=0.9, **given)


def pair(neurons: Any, other: Any = None) -> nn.Module:
    parts = [linear(30, 10), neurons]
    return nn.Sequential(*parts, *([] if other is None else [linear(10, 10), other]))


@needs("snntorch")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"state_quant": lambda v: v}, "state_quant is used, which NIR does not have"),
        ({"graded_spikes_factor": 2.0}, "graded_spikes_factor is 2.0, must be 1; multiply"),
        ({"reset_mechanism": "none"}, "is never reset after a spike, so that only its membrane"),
        ({"spike_grad": torch.sigmoid}, r"sends 0.268941, 0.5 and 0.731059 below, at and above"),
        ({"threshold": torch.ones(3)}, "fails on an input of shape"),
    ],
)
def test_options_of_snntorch_without_a_counterpart_are_named(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        spikeport.from_snntorch(pair(leaky(init_hidden=True, **given)), PIXELS, STEPS)


@needs("snntorch")
def test_what_snntorch_computes_otherwise_is_named() -> None:
    delayed = pair(synaptic(init_hidden=True, reset_mechanism="zero"))
    with pytest.raises(InputError, match=r"'_1' \(Synaptic\): .* discards the input of the step"):
        spikeport.from_snntorch(delayed, PIXELS, STEPS)
    with pytest.warns(UserWarning, match="Inhibition"):
        inhibited = leaky(init_hidden=True, inhibition=True)
    with pytest.raises(InputError, match="inhibition is used"):
        spikeport.from_snntorch(pair(inhibited), PIXELS, STEPS)
    mixed = pair(leaky(init_hidden=True), leaky(init_hidden=True, reset_mechanism="zero"))
    with pytest.raises(InputError, match=r"'_1' and '_3' differ in reset \(subtract and zero\)"):
        spikeport.from_snntorch(mixed, PIXELS, STEPS)
    both = pair(leaky(init_hidden=True), leaky(init_hidden=True, reset_delay=False))
    with pytest.raises(InputError, match=r"differ in reset_timing \(after-decay and once\)"):
        spikeport.from_snntorch(both, PIXELS, STEPS)
    with pytest.raises(InputError, match=r"'_1' \(Leaky\): has reset_timing=after-decay, which"):
        spikeport.from_snntorch(pair(leaky(init_hidden=True)), PIXELS, STEPS, trainable=True)
    uneven = leaky(init_hidden=True, beta=torch.linspace(0.5, 1, 10))
    with pytest.raises(ModuleReadingError, match="layer '_1': some neurons leak and others do not"):
        spikeport.from_snntorch(pair(uneven), PIXELS, STEPS)
    unfinished = pair(synaptic(init_hidden=True), leaky(init_hidden=True, beta=1.0))
    unfinished[1].alpha.fill_(1.0)  # type: ignore[index]
    with pytest.raises(
        ModuleReadingError, match="keeps all of its synaptic current, must lose some"
    ):
        spikeport.from_snntorch(unfinished, PIXELS, STEPS)
    filtered = synaptic(init_hidden=True)
    filtered.beta.fill_(1.0)
    with pytest.raises(InputError, match="filters its input but does not leak"):
        spikeport.from_snntorch(pair(filtered), PIXELS, STEPS)


class States(nn.Module):
    """One layer in a loop, whose states a test changes between steps."""

    def __init__(self, between: Any, last: Any) -> None:
        super().__init__()
        self.fc, self.lif = linear(30, 10), synaptic()
        self.between, self.last = between, last

    def forward(self, x: Tensor) -> Any:
        syn, mem = self.lif.init_synaptic()
        found = []
        for now in x:
            spk, syn, mem = self.lif(self.fc(now), *self.between(syn, mem))
            found.append(spk)
        return self.last(torch.stack(found), syn, mem)


@needs("snntorch")
@pytest.mark.parametrize(
    ("between", "last", "message"),
    [
        (
            lambda syn, mem: (syn, mem * 0.5),
            lambda *given: given,
            "is given a state that it did not",
        ),
        (lambda syn, mem: (syn, torch.ones(2, 10)), lambda *given: given, "must start at zero"),
        (
            lambda syn, mem: (syn, mem),
            lambda spk, syn, mem: mem,
            "its membrane is returned alth",
        ),
        (lambda syn, mem: (syn, mem), lambda spk, syn, mem: syn, "returns nothing that follows"),
        (lambda syn, mem: (syn, mem.detach()), lambda spk, syn, mem: (mem, spk), None),
    ],
)
def test_states_must_be_passed_on(between: Any, last: Any, message: str | None) -> None:
    if message is None:
        spikeport.from_snntorch(States(between, last), PIXELS, STEPS)
        return
    with pytest.raises(InputError, match=message):
        spikeport.from_snntorch(States(between, last), PIXELS, STEPS)


# SpikingJelly


def node(kind: str, **given: Any) -> Any:
    return getattr(framework("spikingjelly.activation_based.neuron"), kind)(**given)


@needs("spikingjelly")
def test_what_spikingjelly_computes_otherwise_is_named() -> None:
    layer = framework("spikingjelly.activation_based.layer")
    for neurons, message in {
        node("QIFNode"): r"nonlinear_if\.QIFNode is not supported; supported are CUBALIFNode",
        layer.ElementWiseRecurrentContainer(node("IFNode"), torch.sub): "its function is no sum",
        layer.LinearRecurrentContainer(nn.Identity(), 10, 10): "contains torch.nn.modules.linear",
        node("NonSpikingLIFNode", decode="max-mem"): "decode is 'max-mem', must be 'last_mem'",
    }.items():
        with pytest.raises(InputError, match=message):
            spikeport.from_spikingjelly(pair(neurons), PIXELS, STEPS)
    surrogate = framework("spikingjelly.activation_based.surrogate")
    smooth = node("LIFNode", surrogate_function=surrogate.Sigmoid(spiking=False))
    with pytest.raises(InputError, match=r"'_1' \(LIFNode\): sends .* below, at and above"):
        spikeport.from_spikingjelly(pair(smooth), PIXELS, STEPS)


@needs("spikingjelly")
def test_neurons_that_start_at_half_their_threshold_can_be_trained() -> None:
    """SpikingJelly's converter makes them of ANNs."""
    torch.manual_seed(2)
    half = node("HalfThresholdIFNode", v_threshold=0.6)
    module = pair(half, node("IFNode", v_reset=None)).eval()
    network = spikeport.from_spikingjelly(module, PIXELS, STEPS, trainable=True).eval()
    lif = network.layers["_1"]
    assert isinstance(lif, LIF)
    assert (lif.v_init, lif.v_threshold, lif.reset) == (0.3, 0.6, Reset.SUBTRACT)
    x = torch.randint(0, 2, (7, 30)).float()
    with torch.no_grad():
        theirs = torch.stack([module(x) for _ in range(STEPS)]).mean(0)
    assert 0.02 < theirs.mean() < 0.98
    assert torch.equal(network(x), theirs)
    graph = spikeport.from_spikingjelly(module, PIXELS, STEPS)
    again = spikeport.export_float(network)
    assert graph.semantics.start is again.semantics.start is StartValue.V_RESET
    given = graph.graph.nodes["_1"].v_reset.astype(np.float32)
    assert np.array_equal(again.graph.nodes["_1"].v_reset, given)


@needs("spikingjelly")
def test_states_of_an_earlier_run_do_not_matter() -> None:
    module = pair(node("LIFNode"))
    module(torch.ones(7, 30))
    before = module[1].v  # type: ignore[index]
    spikeport.from_spikingjelly(module, PIXELS, STEPS)
    assert module[1].v is before  # type: ignore[index]


# Sinabs


@needs("sinabs")
def test_what_sinabs_computes_otherwise_is_named() -> None:
    sl, act = framework("sinabs.layers"), framework("sinabs.activation")
    for neurons, message in {
        sl.IAF(min_v_mem=-1.0): r"'_1' \(IAF\): min_v_mem is -1\.0, but NIR and the chip have no",
        sl.IAF(spike_fn=act.MaxSpike(3)): "spike_fn is MaxSpike with at most 3 spikes, must be",
        sl.IAF(reset_fn=act.MembraneReset(0.5)): r"reset_fn is MembraneReset\(reset_value=0\.5\)",
        sl.IAF(reset_fn=act.MembraneSubtract(0.5)): "must be MembraneSubtract of the threshold",
        sl.ALIF(10.0, 10.0): r"sinabs\.layers\.alif\.ALIF is not supported; supported are ExpLeak",
        sl.LIFRecurrent(10.0, nn.Sequential(linear(10, 9), linear(9, 10))): "must be one linear",
    }.items():
        with pytest.raises(InputError, match=message):
            spikeport.from_sinabs(pair(neurons), PIXELS, STEPS)
    for same in (sl.IAF(spike_fn=act.MaxSpike(1)), sl.IAF(reset_fn=act.MembraneSubtract(1.0))):
        spikeport.from_sinabs(pair(same), PIXELS, STEPS)
    several = pair(sl.IAF())
    with pytest.raises(InputError, match=r"'_1' \(IAF\): has multiple_spikes=true, which LIF does"):
        spikeport.from_sinabs(several, PIXELS, STEPS, trainable=True)


@needs("sinabs")
def test_what_has_several_spikes_per_step_is_not_deployed() -> None:
    sl, act = framework("sinabs.layers"), framework("sinabs.activation")
    x = (np.random.default_rng(0).random((20, 30)) < 0.5).astype(float)
    network = spikeport.from_sinabs(pair(sl.IAF()), PIXELS, STEPS)
    with pytest.raises(InputError, match="multiple_spikes"):
        spikeport.quantize(network, x)
    spikeport.quantize(
        spikeport.from_sinabs(pair(sl.IAF(spike_fn=act.SingleSpike)), PIXELS, STEPS), x
    )


# Training


class Foreigners(Mine):
    """`Mine` with the neurons of a framework, for one step; they have no parameters."""

    def __init__(self, neurons: Any) -> None:
        super().__init__()
        self.lif1, self.lif2 = neurons(), neurons()

    def forward(self, x: Tensor) -> Tensor:
        x = self.spikes(self.lif1(self.norm1(self.conv1(x))))
        x = self.spikes(self.lif2(self.norm2(self.conv2(self.pool2(x)))))
        scores: Tensor = self.readout(x.flatten(1))
        return scores

    def spikes(self, returned: Any) -> Tensor:
        found: Tensor = returned[0] if isinstance(returned, tuple) else returned
        return found


NEURONS: dict[str, tuple[Callable[[], Any], LIF]] = {
    "norse": (lambda: box(tau_mem_inv=500.0), LIF(0.5, 2.0, alpha=2.0)),
    "snntorch": (lambda: leaky(beta=0.5, reset_mechanism="zero"), LIF(0.5)),
    "spikingjelly": (
        lambda: node("LIFNode", decay_input=False, v_reset=None),
        LIF(0.5, reset=Reset.SUBTRACT, strict=False),
    ),
}


@pytest.mark.parametrize("package", [pytest.param(p, marks=needs(p)) for p in NEURONS])
def test_it_is_trained_like_the_same_network_of_our_own(package: str, tmp_path: Path) -> None:
    data, (neurons, same) = tiny_data(), NEURONS[package]
    ours = own_network(CONFIG, data.input)
    nodes = [Node(n.name, n.inputs, same if isinstance(n.op, LIF) else n.op) for n in ours.nodes]
    ours = spikeport.SpikingNetwork(data.input, nodes, CONFIG.steps, CONFIG.rule)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(CONFIG.seed)
        module = Foreigners(neurons)
    function = getattr(spikeport, f"from_{package}")
    network = function(module, data.input, CONFIG.steps, trainable=True)
    network.rule = CONFIG.rule
    path = tmp_path / "a.safetensors"
    theirs = spikeport.train(CONFIG, data, network=network, checkpoint=path)
    wanted = spikeport.train(CONFIG, data, network=ours)
    assert_same_weights(state(theirs), state(wanted))
    assert isinstance(spikeport.open_network(path), spikeport.FloatNetwork)
