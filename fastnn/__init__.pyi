import builtins

import numpy as np

from fastnn import amp as amp
from fastnn import autograd as autograd
from fastnn import backends as backends
from fastnn import cuda as cuda
from fastnn import datasets as datasets
from fastnn import distributions as distributions
from fastnn import io as io
from fastnn import linalg as linalg
from fastnn import nn as nn
from fastnn import optim as optim
from fastnn import utils as utils
from fastnn.about import show_config as show_config
from fastnn.amp import GradScaler as GradScaler
from fastnn.amp import autocast as autocast
from fastnn.autograd import enable_grad as enable_grad
from fastnn.autograd import inference_mode as inference_mode
from fastnn.autograd import no_grad as no_grad
from fastnn.autograd import set_grad_enabled as set_grad_enabled
from fastnn.compiling import compile as compile
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
from fastnn.io import load as load
from fastnn.io import save as save
from fastnn.kernels.native import get_num_threads as get_num_threads
from fastnn.kernels.native import set_flush_denormal as set_flush_denormal
from fastnn.kernels.native import set_num_threads as set_num_threads
from fastnn.ops.activation import *
from fastnn.ops.random import *
from fastnn.ops.softmax import *
from fastnn.ops.tensor import *
from fastnn.version import __version__ as __version__

float32: np.dtype[np.float32]
float64: np.dtype[np.float64]
int64: np.dtype[np.int64]
int32: np.dtype[np.int32]
uint8: np.dtype[np.uint8]
bool: np.dtype[np.bool_]
float: np.dtype[np.float32]
double: np.dtype[np.float64]
long: np.dtype[np.int64]
int: np.dtype[np.int32]
float16: np.dtype[np.float16]
half: np.dtype[np.float16]
int16: np.dtype[np.int16]
short: np.dtype[np.int16]
int8: np.dtype[np.int8]
dtype = np.dtype
finfo = np.finfo
iinfo = np.iinfo
inf: builtins.float
nan: builtins.float
pi: builtins.float
e: builtins.float
newaxis: None
