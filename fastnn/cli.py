"""The command line: `fastnn` or `python -m fastnn`.  The only part of the library that prints."""
import argparse
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import fastnn
import fastnn.kernels.native as native
from fastnn.tour import chapters
from fastnn.tour.filters import check_target, save_filters

PEER_SECONDS = 4.0      # for all networks together: on a busy machine torch can take minutes


def main(arguments=None):
    """Run a command and return the exit status."""
    parser = argparse.ArgumentParser(prog="fastnn", description="Neural networks on the CPU.")
    parser.set_defaults(command=tour, networks=[], torch=True, filters=None)
    commands = parser.add_subparsers(metavar="command")
    names = [chapter.name for chapter in chapters()]
    pictured = [chapter.name for chapter in chapters() if shows_filters(chapter)]
    command = commands.add_parser("tour", help="train small networks on the bundled digits (the default)")
    command.add_argument("networks", nargs="*", metavar="network", help=f"which of {', '.join(names)}; default: all")
    command.add_argument("--no-torch", dest="torch", action="store_false", help="do not compare with torch")
    command.add_argument("--filters", metavar="FILE", help=f"save the filters of the first layer of {' or '.join(pictured)} (the "
                         "first that is asked for) as a picture; needs matplotlib")
    command = commands.add_parser("config", help="show versions, instruction set and threads")
    command.set_defaults(command=config)
    command = commands.add_parser("bench", add_help=False, help="measure fastnn beside its peers; options as of `python -m bench`")
    command.set_defaults(command=bench)
    options, options.rest = parser.parse_known_args(arguments)
    if options.rest and options.command is not bench:
        parser.error(f"unrecognized arguments: {' '.join(options.rest)}")
    for name in options.networks:
        if name not in names:
            parser.error(f"no network {name!r} in the tour; there are {', '.join(names)}")
    if options.filters is not None:
        if options.networks and not set(pictured) & set(options.networks):
            parser.error(f"--filters shows the first layer of {' or '.join(pictured)}, not of {', '.join(options.networks)}")
        try:
            check_target(options.filters)
        except (ImportError, ValueError, OSError) as error:
            parser.error(f"--filters: {error}")
    return options.command(options)


def tour(options):
    """Train the networks of the tour, with torch beside where it is installed."""
    threads = fastnn.get_num_threads()
    print(f"fastnn {fastnn.__version__}: {native.instruction_set()}, {threads} thread{'s' * (threads > 1)}")
    asked = [chapter for chapter in chapters() if not options.networks or chapter.name in options.networks]
    # torch is imported after fastnn's networks have run, so that its threads and its import cost them nothing.
    results = [report(chapter, fastnn) for chapter in asked]
    compared = [(chapter, ours) for chapter, ours in zip(asked, results, strict=True) if chapter.peer and options.torch]
    peer = torch_with(threads) if compared else None
    for chapter, ours in compared if peer else []:
        report(chapter, peer, ours, PEER_SECONDS / len(compared))
    if options.filters is not None:
        chapter, ours = next(pair for pair in zip(asked, results, strict=True) if shows_filters(pair[0]))
        save_filters(chapter.filters(ours.network), options.filters)
        print(f"\nThe filters of the first layer of {chapter.name}: {options.filters}")
    if compared and peer is None:
        print("\ntorch is not installed: no comparison")
    return 0


def shows_filters(chapter):
    return getattr(chapter, "filters", None) is not None


def report(chapter, library, ours=None, seconds=None):
    """Run a chapter with a library and print what came out; with torch: beside `ours`, for so many seconds at most."""
    if ours is None:
        print(f"\n{chapter.title}")
    result = chapter.run(library, progress_bar(chapter.name) if ours is None else at_most(seconds))
    speed = result.samples / result.seconds
    line = f"  {library.__name__:6s}  {result.achieved}   {result.seconds:6.2f} s   {speed:9,.0f} samples/s"
    if ours is not None:
        line += f"   {chapter.name}: fastnn is {ours.samples / ours.seconds / speed:.1f} x as fast"
    if result.epochs < result.planned:
        line += f" (stopped after {result.epochs} of {result.planned} epochs)"
    print(line, flush=True)
    return result


def at_most(seconds):
    """A wrapper for the range of epochs that ends when the time is over."""
    def limited(epochs):
        end = time.perf_counter() + seconds
        for epoch in epochs:
            yield epoch
            if time.perf_counter() > end:
                return
    return limited


def torch_with(threads):
    """torch on the same number of threads, or None where it is not installed."""
    try:
        torch = import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(threads)
    print(f"\nThe same networks with torch {torch.__version__}, {threads} thread{'s' * (threads > 1)}")
    return torch


def progress_bar(name):
    """A wrapper for the range of epochs that shows a bar: tqdm's, where it is installed and a person is looking."""
    try:
        from tqdm import tqdm
    except ImportError:
        return iter
    return lambda epochs: tqdm(epochs, desc=f"  {name}", unit="epoch", leave=False, disable=None)


def bench(options):
    """Run the benchmarks, which live in the source checkout: around this package, or where we are."""
    folders = [Path(fastnn.__file__).resolve().parents[1], Path.cwd()]
    checkout = next((f for f in folders if (f / "bench" / "__main__.py").is_file() and (f / "csrc").is_dir()), None)
    if checkout is None:
        print("fastnn bench: the benchmarks come with the sources, not with the installed package; run this in a checkout of fastnn")
        return 2
    program = f"import sys; sys.path.insert(0, {str(checkout)!r}); from bench.__main__ import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", program, *options.rest]).returncode     # of its own: peers are timed there, not here


def config(options):
    """Print what this installation is."""
    fastnn.show_config()
    return 0
