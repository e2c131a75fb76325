"""Drivers of optimizer updates and of gradient clipping."""
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport fn_kernel
from fastnn.kernels.update_pass cimport fn_coefficients, fn_update_row

cdef fn_kernel SUM_OF_SQUARES, CLIP_FACTOR, SCALE, CLAMP, MATMUL_UPDATE, BESIDE

# The kernel of an update by name ("adam", "sgd_momentum", ...), NULL when there is none.
cdef const fn_kernel* update_kernel(str name) noexcept

# A product and the update of the parameter whose gradient it makes: sizes and the first slots of matmul, then the update's number;
# after c parameter, hyper and the update's states.
cdef enum:
    UPDATE_NUMBER = 11
    UPDATED = 4                 # slots
    UPDATED_BY
    UPDATED_STATE

cdef int number_of_update(const fn_kernel* kernel) noexcept      # -1: it is none

# Plain SGD for a kernel that makes the gradient piece by piece: the function that updates a piece, and its coefficients.
cdef fn_update_row plain_sgd(int dtype, const double* hyper, fn_coefficients* k) noexcept nogil
