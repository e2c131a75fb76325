"""What is measured: a case names its group and builds, for one side, a call and the result that the sides must agree on."""
import numpy as np

FASTNN = ("fastnn", "compiled")         # the sides that are ours: eager calls, and the compiled step or model
TORCH = ("torch", "torch.compile")


class Case:
    """One measurement.

    `build(side, threads)` gives (call, result): what is timed, and a function to the array that all sides must agree on, or
    None.  `flops` and `nbytes` are what one call must do at least: together they give the bound; `traffic` is the bytes of
    operands and results (for the roofline, where it is not the bound).  `threads` are the counts measured unless asked
    otherwise, `quick` cases stay with --quick, `patience` is how many seconds a side may take to answer.
    """

    def __init__(self, group, name, sides, build, *, flops=0.0, nbytes=0.0, traffic=0.0, tolerance=1e-3, threads=(2,), quick=False,
                 patience=60):
        self.group, self.name, self.sides, self.build = group, name, sides, build
        self.flops, self.nbytes, self.traffic, self.tolerance = flops, nbytes, traffic or nbytes, tolerance
        self.threads, self.quick, self.patience = threads, quick, patience


def library(side, threads, recording=False):
    """The module of a side, set to so many threads, with gradient recording on or off."""
    if side in TORCH:
        import torch as module
    else:
        import fastnn as module
    module.set_num_threads(threads)
    module.set_grad_enabled(recording)
    module.manual_seed(0)
    return module


def draw(*shape, seed=0):
    """Normal float32 values on a 64-byte boundary, where every library puts its own arrays."""
    count = int(np.prod(shape))
    buffer = np.empty(4 * count + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    values = buffer[start:start + 4 * count].view(np.float32).reshape(shape)
    values[...] = np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)
    return values


def array(result):
    """The result of any side as an array."""
    return result.detach().numpy() if hasattr(result, "detach") else np.asarray(result)
