"""Utilities for parameters and gradients, under torch's names."""
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
