"""Functions of one and two variables on tensors, by the kernels of activation.def and arithmetic.def."""
cimport numpy as np

from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor

# y = f(x) with up to three parameters; x is float32 or float64.  code: kernels.pointwise.unary_code(name)
cdef Tensor unary(Tensor x, int code, double a=*, double b=*, double c=*)
# input as a float tensor: integers take the default dtype
cdef Tensor as_real(object input)
cdef Node unary_onto(Tensor x, int code, double a, double b, double c)
cdef np.ndarray unary_array(np.ndarray x, int code, double a, double b, double c)
# z = f(x, y) on arrays of one float dtype, broadcast; code: binary_code(name)
cdef np.ndarray binary_array(np.ndarray x, np.ndarray y, int code)
# Two operands (tensors, arrays or numbers) as arrays of their common dtype
cdef tuple operands(object x, object y, bint floating)
cdef tuple broadcast_shape(np.ndarray x, np.ndarray y)
