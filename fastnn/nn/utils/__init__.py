"""Utilities for parameters and gradients, under torch's names."""
from typing import TYPE_CHECKING

from fastnn.nn.utils import parametrize as parametrize
from fastnn.nn.utils import rnn as rnn
from fastnn.nn.utils.clip_grad import clip_grad_norm_ as clip_grad_norm_
from fastnn.nn.utils.clip_grad import clip_grad_value_ as clip_grad_value_
from fastnn.nn.utils.clip_grad import clip_grads_with_norm_ as clip_grads_with_norm_
from fastnn.nn.utils.clip_grad import get_total_norm as get_total_norm
from fastnn.nn.utils.convert_parameters import parameters_to_vector as parameters_to_vector
from fastnn.nn.utils.convert_parameters import vector_to_parameters as vector_to_parameters
from fastnn.nn.utils.fusion import fuse_conv_bn_eval as fuse_conv_bn_eval
from fastnn.nn.utils.fusion import fuse_conv_bn_weights as fuse_conv_bn_weights
from fastnn.nn.utils.fusion import fuse_linear_bn_eval as fuse_linear_bn_eval
from fastnn.nn.utils.fusion import fuse_linear_bn_weights as fuse_linear_bn_weights
from fastnn.nn.utils.init import skip_init as skip_init
from fastnn.nn.utils.spectral_norm import remove_spectral_norm as remove_spectral_norm
from fastnn.nn.utils.spectral_norm import spectral_norm as spectral_norm
from fastnn.nn.utils.weight_norm import remove_weight_norm as remove_weight_norm
from fastnn.nn.utils.weight_norm import weight_norm as weight_norm

if TYPE_CHECKING:
    from fastnn.nn.utils import parametrizations as parametrizations


def __getattr__(name):
    # a thirtieth of the time that `import fastnn` takes: loaded when first asked for
    if name == "parametrizations":
        from importlib import import_module
        return import_module("fastnn.nn.utils.parametrizations")
    raise AttributeError(f"module 'fastnn.nn.utils' has no attribute {name!r}")
