"""The tour of `python -m fastnn`: one small network of each kind, trained on the bundled digits.

Each network is one file here, found by itself: a module with a ``CHAPTER``, an object with

    order, name, title           its place, the name on the command line, one line that describes it
    run(library, progress)       train and test it with fastnn, or with torch where it has the same names
    peer                         can torch run it too?
    filters(network)             optional: the weights of its first layer, where a picture of them tells something

`run` answers an object with

    achieved                     how well it went, in words
    seconds, samples             of training, and the samples seen in it
    epochs, planned              epochs done, and how many there would have been, had nobody stopped it
    network                      as trained; needed by `filters` only

A network that classifies digits by backpropagation is a `Classifier` and needs nothing but its layers.
"""
import pkgutil
from importlib import import_module


def chapters():
    """The chapters of the tour, in order."""
    modules = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return sorted((m.CHAPTER for m in modules if hasattr(m, "CHAPTER")), key=lambda chapter: chapter.order)
