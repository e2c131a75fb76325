"""Activations; see activation.pyx."""
from fastnn.core.tensor cimport Tensor

# x = f(x) for a line of activation.def, in x's memory; x becomes the output of the operation.
cdef Tensor unary_in_place(Tensor x, int code, double a=*, double b=*, double c=*)
