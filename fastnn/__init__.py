"""fastnn: neural networks on the CPU, under torch's names."""
from fastnn.checkout import built_path

__path__ = built_path(__path__)     # a checkout may hide the installed package

import numpy as _np

from fastnn import amp as amp
from fastnn import autograd as autograd
from fastnn import backends as backends
from fastnn import cuda as cuda
from fastnn.amp import GradScaler as GradScaler
from fastnn.amp import autocast as autocast
from fastnn.autograd import enable_grad as enable_grad
from fastnn.autograd import inference_mode as inference_mode
from fastnn.autograd import no_grad as no_grad
from fastnn.autograd import set_grad_enabled as set_grad_enabled
from fastnn.core.device import accelerator as accelerator
from fastnn.core.device import device as device
from fastnn.core.device import mps as mps
from fastnn.core.grad_mode import is_grad_enabled as is_grad_enabled
from fastnn.core.grad_mode import is_inference_mode_enabled as is_inference_mode_enabled
from fastnn.core.representation import set_printoptions as set_printoptions
from fastnn.core.switches import *
from fastnn.core.tensor import Size as Size
from fastnn.core.tensor import Tensor as Tensor
from fastnn.core.tensor import get_default_dtype as get_default_dtype
from fastnn.core.tensor import set_default_dtype as set_default_dtype
from fastnn.kernels.native import get_num_threads as get_num_threads
from fastnn.kernels.native import set_flush_denormal as set_flush_denormal
from fastnn.kernels.native import set_num_threads as set_num_threads
from fastnn.ops.activation import *
from fastnn.ops.random import *
from fastnn.ops.softmax import *
from fastnn.ops.tensor import *
from fastnn.version import __version__ as __version__

# dtypes are NumPy's; after the imports, because four of the names hide builtins from here on.
float32, float64 = _np.dtype(_np.float32), _np.dtype(_np.float64)
int64, int32, uint8, bool = _np.dtype(_np.int64), _np.dtype(_np.int32), _np.dtype(_np.uint8), _np.dtype(_np.bool_)
float16, int16, int8 = _np.dtype(_np.float16), _np.dtype(_np.int16), _np.dtype(_np.int8)
float, double, half, long, int, short = float32, float64, float16, int64, int32, int16
dtype, finfo, iinfo = _np.dtype, _np.finfo, _np.iinfo
inf, nan, pi, e, newaxis = _np.inf, _np.nan, _np.pi, _np.e, None

from fastnn import nn as nn

# Loaded on first use: what a program that only infers never needs, and what costs more than all of the above.
_LAZY = {"optim": "fastnn.optim", "compile": "fastnn.compiling", "datasets": "fastnn.datasets", "io": "fastnn.io", "utils": "fastnn.utils",
         "linalg": "fastnn.linalg", "distributions": "fastnn.distributions",
         "load": "fastnn.io", "save": "fastnn.io", "show_config": "fastnn.about"}


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    from importlib import import_module
    module = import_module(_LAZY[name])
    value = module if _LAZY[name] == f"fastnn.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_LAZY})
