"""The command line and the tour."""
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import cli
from fastnn.checkout import built_path
from fastnn.tour import chapters
from fastnn.tour.classifier import Classifier
from fastnn.tour.filters import save_filters

CHAPTERS = {chapter.name: chapter for chapter in chapters()}


@pytest.mark.parametrize("chapter", [c for c in CHAPTERS.values() if isinstance(c, Classifier)], ids=lambda chapter: chapter.name)
def test_chapter_learns(chapter):
    result = chapter.run(fastnn)
    assert result.accuracy >= 0.97 and result.held_out == 360 and result.epochs == result.planned
    assert result.seconds > 0 and result.samples == result.epochs * 1437


def test_machine_learns_to_rebuild():
    result = CHAPTERS["rbm"].run(fastnn)
    assert result.after < 0.4 * result.before and result.held_out == 360 and result.epochs == result.planned
    assert f"{result.before:.4f} -> {result.after:.4f}" in result.achieved and result.samples == result.epochs * 1437


def test_pre_training_helps_with_few_labels():
    result = CHAPTERS["dbn"].run(fastnn)
    better = [ours > theirs for ours, theirs in zip(result.pretrained, result.random, strict=True)]
    assert len(better) == 5 and sum(better) >= 4
    assert np.mean(result.pretrained) > np.mean(result.random) + 0.015 and np.mean(result.random) > 0.8
    assert f"{np.mean(result.pretrained):.1%}" in result.achieved and f"{np.mean(result.random):.1%}" in result.achieved


@pytest.mark.parametrize("name", ["rbm", "dbn"])
def test_machines_stop_early(name):
    first, second = (CHAPTERS[name].run(fastnn, cli.at_most(0)) for _ in range(2))
    assert first.epochs == 1 < first.planned and first.achieved == second.achieved


def test_same_run_twice():
    first, second = (chapters()[0].run(fastnn, cli.at_most(0)) for _ in range(2))
    assert first.epochs == 1 and first.accuracy == second.accuracy


def test_tour_prints(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    assert f"fastnn {fastnn.__version__}" in text and "held-out digits" in text and "torch is not installed" in text
    for arguments in (["tour", "dnn", "--no-torch"], ["tour", "rbm"]):      # not asked for; torch has no such machine
        assert cli.main(arguments) == 0
        assert "torch" not in capsys.readouterr().out


def test_tour_beside_torch(capsys, monkeypatch):
    pytest.importorskip("torch", reason="the tour compares with torch, which is not installed")
    monkeypatch.setattr(cli, "PEER_SECONDS", 0.0)
    assert cli.main(["tour", "dnn"]) == 0
    assert "x as fast" in (text := capsys.readouterr().out) and "stopped after 1 of" in text


@pytest.mark.parametrize("name", ["cnn", "rbm"])
def test_filters_as_a_picture(name, capsys, tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="the picture is drawn by matplotlib, which is not installed")
    target = tmp_path / "filters.png"
    assert cli.main(["tour", name, "--no-torch", "--filters", str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    pixels = image.imread(target)[..., :3]
    red, blue = pixels[..., 0] > pixels[..., 2] + 0.3, pixels[..., 2] > pixels[..., 0] + 0.3
    assert red.mean() > 0.01 and blue.mean() > 0.01 and pixels.min(-1).max() == 1      # both signs, on white


def test_filters_lie_in_order_on_one_scale(tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="the picture is drawn by matplotlib, which is not installed")
    weight = fastnn.tensor([-1.0, 1.0, 0.0]).reshape(3, 1, 1, 1)
    save_filters(weight, tmp_path / "filters.png")
    pixels = image.imread(tmp_path / "filters.png")[..., :3]
    places = [pixels[pixels.shape[0] // 2, int(pixels.shape[1] * (i + 0.5) / 3)] for i in range(3)]
    assert places[0][2] > places[0][0] + 0.2 and places[1][0] > places[1][2] + 0.2 and places[2].min() > 0.9


def test_filters_that_cannot_be_saved(capsys, monkeypatch, tmp_path):
    def message(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["tour", *arguments])
        assert end.value.code == 2 and not (captured := capsys.readouterr()).out       # before any training
        return captured.err

    assert "first layer of cnn or rbm, not of dnn, lstm" in message("dnn", "lstm", "--filters", "filters.png")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib.figure", None)
        assert 'need the package matplotlib: pip install "fastnn-cpu[full]"' in message("--filters", "filters.png")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert "names no format" in message("--filters", str(tmp_path / "filters.text"))
    assert "no folder" in message("cnn", "--filters", str(tmp_path / "nowhere" / "filters.png"))


def test_config_prints(capsys):
    assert cli.main(["config"]) == 0
    text = capsys.readouterr().out
    assert "instruction set" in text and "numpy" in text


def test_wrong_arguments(capsys):
    for arguments in (["tour", "nothing"], ["nothing"]):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 2
    assert "no network 'nothing' in the tour" in capsys.readouterr().err


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "fastnn", "config"], capture_output=True, text=True, check=True)
    assert fastnn.__version__ in done.stdout


def test_a_checkout_finds_the_built_package(tmp_path, monkeypatch):
    source, installed = tmp_path / "checkout" / "fastnn", tmp_path / "site" / "fastnn"
    for folder in (source, installed):
        (folder / "kernels").mkdir(parents=True)
    monkeypatch.chdir(source.parent)
    monkeypatch.setattr(sys, "path", ["", str(source.parent), str(installed.parent)])
    with pytest.raises(ImportError, match="pip install"):
        built_path([str(source)])
    (installed / "kernels" / f"native{EXTENSION_SUFFIXES[0]}").touch()
    assert built_path([str(source)]) == [str(installed)]
    (source / "kernels" / f"native{EXTENSION_SUFFIXES[0]}").touch()
    assert built_path([str(source)]) == [str(source)]


def test_it_is_the_package_that_is_tested():
    """Compiled modules and Python files come from one folder."""
    from fastnn.kernels import native
    assert Path(native.__file__).parents[1] == Path(fastnn.__path__[0]) == Path(cli.__file__).parent
