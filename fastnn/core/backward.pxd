"""Gradients that are recorded themselves: what the nodes' `derivative` is written with.

`derivative(grad, wanted)` is a node's backward rule as operations on tensors: the gradient of the output (of several outputs a
list) in, one gradient or a tuple of one per input out; only those that are `wanted` count.
"""
cimport numpy as np

from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor

# The node's input number i, or its output, from the array that the node kept of it: gradients go where the tensor's own do.
cdef Tensor input_of(Node node, int i, np.ndarray array)
cdef Tensor output_of(Node node, np.ndarray array)

# fastnn/autograd/rules.py: the rule of this name on the arrays kept of the first inputs (None for those not kept).
cdef object by_rule(Node node, object grad, tuple wanted, str name, tuple arrays, tuple parameters)
# fastnn/autograd/formulas.py: the gradient of the formula of this name, which gives the node's output from its inputs.
cdef object by_formula(Node node, object grad, tuple wanted, object formula, tuple arrays, tuple parameters)
# The gradient of the first input by the node's own backward rule, which is linear in `grad` and needs nothing else; `adjoint` is
# the linear function that the node computes.
cdef Tensor by_adjoint(Node node, Tensor grad, object adjoint)
