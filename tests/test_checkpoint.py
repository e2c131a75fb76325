"""Checkpoints: nested states in one safetensors file, and training that goes on from one."""
import json
import random
from collections import Counter, OrderedDict

import numpy as np
import pytest

import fastnn
from fastnn import load, nn, optim, save
from fastnn.data import DataLoader, TensorDataset

safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")


def same(got, want):
    """Equal in value, type and order, all the way down."""
    if isinstance(want, fastnn.Tensor):
        return (isinstance(got, fastnn.Tensor) and got.dtype == want.dtype and got.shape == want.shape
                and got.numpy().tobytes() == want.detach().numpy().tobytes())
    if type(got) is not type(want):
        return False
    if isinstance(want, np.ndarray | np.generic):
        return got.dtype == want.dtype and got.shape == want.shape and got.tobytes() == want.tobytes()
    if isinstance(want, dict):
        return (list(got) == list(want) and [type(k) for k in got] == [type(k) for k in want]
                and all(same(got[key], want[key]) for key in want))
    if isinstance(want, list | tuple):
        return len(got) == len(want) and all(map(same, got, want))
    return got == want or (got != got and want != want)


LEAVES = {"none": None, "true": True, "false": False, "zero": 0, "big": -2**70, "float": 0.1, "negative zero": -0.0, "tiny": 5e-324,
          "nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "text": "a \"b\" \n \u00e9 \U0001f600", "empty text": "",
          "0-d": fastnn.tensor(2.5), "empty": fastnn.zeros(0, 3), "turned": fastnn.arange(6).reshape(2, 3).T,
          "bool tensor": fastnn.tensor([True, False]), "double": fastnn.ones(2, dtype=fastnn.float64),
          "array": np.arange(3, dtype=np.int16),
          "number": np.float32(0.1), "double number": np.float64(0.1), "empty list": [], "empty dict": {}, "empty tuple": (),
          "size": fastnn.zeros(2, 3).shape, "list": [1, [2.0, (None, "x")]], "betas": (0.9, 0.999),
          "ordered": OrderedDict([("z", 1), ("a", fastnn.ones(2))]), "counter": Counter([3, 3, 7])}


@pytest.mark.parametrize("kind", LEAVES)
def test_leaves(tmp_path, kind):
    for state in ({"epoch": 1, "x": LEAVES[kind]}, [LEAVES[kind]], {"a": {"b": ({"c": LEAVES[kind]},)}, "n": None}):
        save(state, tmp_path / "x")
        assert same(load(tmp_path / "x"), state)


def test_all_leaves_and_kinds_of_keys(tmp_path):
    state = {**LEAVES, 0: "zero", "0": "text", 1.5: [], None: 1, True: {2: fastnn.ones(1)}}
    save(state, tmp_path / "x")
    assert same(load(tmp_path / "x"), state)
    for state in (fastnn.ones(3), [fastnn.ones(3), fastnn.zeros(2)], 3, "text", None):
        save(state, tmp_path / "x")
        assert same(load(tmp_path / "x", map_location="cpu", weights_only=True), state)


def test_names_are_places_and_never_collide(tmp_path):
    state = {"a": {"b": fastnn.tensor([1.0])}, "a.b": fastnn.tensor([2.0]), 1: fastnn.tensor([3.0]), "1": fastnn.tensor([4.0]),
             "a.b~2": fastnn.tensor([5.0]), "epoch": 3}
    save(state, tmp_path / "x")
    with safetensors.safe_open(tmp_path / "x", "np") as file:
        assert sorted(file.keys()) == ["1", "1~2", "a.b", "a.b~2", "a.b~2~2"]
        assert file.get_tensor("a.b") == 1
        json.loads(file.metadata()["fastnn.structure"])
    assert same(load(tmp_path / "x"), state)


def test_a_flat_state_dict_has_no_description(tmp_path):
    save(nn.Linear(2, 3).state_dict(), tmp_path / "x")
    with safetensors.safe_open(tmp_path / "x", "np") as file:
        assert sorted(file.keys()) == ["bias", "weight"] and not file.metadata()


def test_shared_memory_is_stored_once_and_shared_again(tmp_path):
    weight = fastnn.rand(200, 50)
    save({"model": {"a": weight, "b": weight}, "best": [weight]}, tmp_path / "x")
    assert (tmp_path / "x").stat().st_size < 1.5 * 200 * 50 * 4
    got = load(tmp_path / "x")
    assert got["model"]["a"] is got["model"]["b"] is got["best"][0]


@pytest.mark.parametrize(("state", "where"), [
    ({"epoch": 1, "model": nn.Linear(2, 2)}, r"state\['model'\], a Linear \(save its state_dict\)"),
    ({"a": [1, {"f": print}]}, r"state\['a'\]\[1\]\['f'\]"),
    ({"a": {3: {1, 2}}}, r"state\['a'\]\[3\], a set"),
    ({"a": [np.zeros(2, np.complex64)]}, r"state\['a'\]\[0\] of type complex64"),
    ({"a": {(1, 2): 3}}, r"state\['a'\] has a key of type tuple"),
    (nn.Linear(2, 2), r"state, a Linear \(save its state_dict\)"),
    ({"a": fastnn.Generator()}, "a Generator"),
    ({"a": 1j}, r"state\['a'\], a complex")])
def test_what_cannot_be_stored_is_named(tmp_path, state, where):
    with pytest.raises(TypeError, match=where):
        save(state, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_state_that_holds_itself(tmp_path):
    state = {"a": []}
    state["a"].append(state)
    with pytest.raises(TypeError, match="holds itself"):
        save(state, tmp_path / "x")
    shared = [1]
    save([shared, shared], tmp_path / "x")
    assert load(tmp_path / "x") == [[1], [1]]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"tensor":"y"}', '{"tensor":["x"]}', '{"dict":[[1]]}', '{"dict":[[[1],2]]}', '{"what":1}',
                                  '{"dict":1}', '{"float":"x"}', "[" * 100_000, '{"tuple":null}', '{"a":1,"b":2}'])
def test_damaged_descriptions(tmp_path, text):
    import safetensors.numpy
    safetensors.numpy.save_file({"x": np.ones(2)}, tmp_path / "x", {"fastnn.structure": text})
    with pytest.raises(ValueError, match="structure is damaged"):
        load(tmp_path / "x")


def test_states_of_generators(tmp_path):
    fastnn.manual_seed(3)
    own = fastnn.Generator().manual_seed(4)
    fastnn.rand(5), fastnn.rand(3, generator=own)
    save({"rng": fastnn.get_rng_state(), "own": own.get_state(), "numpy": np.random.RandomState(5).get_state(),
          "python": random.Random(6).getstate()}, tmp_path / "x")
    want = fastnn.rand(4), nn.functional.dropout(fastnn.ones(64)), fastnn.rand(4, generator=own)
    got = load(tmp_path / "x")
    fastnn.set_rng_state(got["rng"])
    own = fastnn.Generator().set_state(got["own"])
    assert all(map(same, (fastnn.rand(4), nn.functional.dropout(fastnn.ones(64)), fastnn.rand(4, generator=own)), want))
    other = np.random.RandomState(0)
    other.set_state(got["numpy"])
    assert other.rand() == np.random.RandomState(5).rand()
    python = random.Random(0)
    python.setstate(got["python"])
    assert python.random() == random.Random(6).random()


SCHEDULERS = {
    "step": lambda o: optim.lr_scheduler.StepLR(o, 2, 0.5),
    "milestones": lambda o: optim.lr_scheduler.MultiStepLR(o, [1, 1, 3], 0.5),
    "lambda": lambda o: optim.lr_scheduler.LambdaLR(o, lambda epoch: 0.9 ** epoch),
    "one cycle": lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=8),
    "cyclic": lambda o: optim.lr_scheduler.CyclicLR(o, 1e-4, 1e-2, step_size_up=2, cycle_momentum=False),
    "cosine": lambda o: optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
    "plateau": lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "sequence": lambda o: optim.lr_scheduler.SequentialLR(
        o, [optim.lr_scheduler.ConstantLR(o), optim.lr_scheduler.ExponentialLR(o, 0.9)], [2])}


class Training:
    """A network with dropout and batch norm, Adam, a scheduler, shuffled batches."""

    def __init__(self, seed, make_scheduler, make_optimizer=optim.Adam):
        fastnn.manual_seed(seed)
        rng = np.random.default_rng(1)
        x, y = fastnn.tensor(rng.standard_normal((40, 6)).astype(np.float32)), fastnn.tensor(rng.integers(0, 3, 40))
        self.loader = DataLoader(TensorDataset(x, y), 8, shuffle=True)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
        self.optimizer = make_optimizer(self.model.parameters(), lr=0.01)
        self.scheduler = make_scheduler(self.optimizer)

    def epoch(self):
        total = 0.0
        for x, y in self.loader:
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        self.scheduler.step(*([total] if isinstance(self.scheduler, optim.lr_scheduler.ReduceLROnPlateau) else []))
        return total

    def checkpoint(self, epoch, loss):
        return {"epoch": epoch, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(), "loss": loss, "rng": fastnn.get_rng_state()}

    def resume(self, checkpoint):
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scheduler.load_state_dict(checkpoint["scheduler"])
        fastnn.set_rng_state(checkpoint["rng"])


@pytest.mark.parametrize(("scheduler", "optimizer"),
                         [(name, optim.Adam) for name in SCHEDULERS]
                         + [("step", kind) for kind in (optim.SGD, optim.AdamW, optim.RMSprop, optim.NAdam)])
def test_resumed_training_is_the_uninterrupted_one(tmp_path, scheduler, optimizer):
    whole = Training(0, SCHEDULERS[scheduler], optimizer)
    want = [whole.epoch() for _ in range(5)]
    first = Training(0, SCHEDULERS[scheduler], optimizer)
    got = [first.epoch() for _ in range(2)]
    state = first.checkpoint(2, got[-1])
    save(state, tmp_path / "x")
    read = load(tmp_path / "x")
    assert same(read, state)
    second = Training(99, SCHEDULERS[scheduler], optimizer)
    second.resume(read)
    assert read["epoch"] == 2 and got + [second.epoch() for _ in range(3)] == want
    assert all(map(same, second.model.state_dict().values(), whole.model.state_dict().values()))


def test_the_torch_side_reads_the_tensors(tmp_path):
    torch = pytest.importorskip("torch", reason="torch reads the file, and is not installed")
    from safetensors.torch import load_file
    run = Training(0, SCHEDULERS["step"])
    run.epoch()
    save(run.checkpoint(1, 0.5), tmp_path / "x")
    got = load_file(tmp_path / "x")
    assert torch.equal(got["model.0.weight"], torch.from_numpy(run.model[0].weight.detach().numpy()))
    assert got["optimizer.state.0.exp_avg"].shape == (16, 6)
