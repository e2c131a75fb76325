"""Operations whose arithmetic NumPy does: results, views and in-place changes with rules written as Python functions."""
cimport numpy as np

from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor

# A rule that is a Python function: (gradient of the output) -> gradient of the input, or a tuple of them.
cdef class HostNode(Node):
    cdef str label
    cdef object rule
    cdef object formula, adjoint        # for gradients of gradients: see `result`
    cdef bint kernels                   # the rule is made of kernel calls
