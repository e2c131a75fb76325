"""Channels-last memory under (N, C, spatial...) shapes: how images travel between layers."""
cimport numpy as np

cdef bint is_channels_last(np.ndarray a) noexcept           # axes of one element do not count
cdef np.ndarray channels_last(np.ndarray a)                 # a itself, or a copy in that memory order
cdef np.ndarray planar(np.ndarray a)                        # the same for C order
cdef np.ndarray empty_channels_last(int ndim, np.npy_intp* shape, int typenum)
cdef np.ndarray with_batch_axis(np.ndarray a)              # a view with a leading axis of one element
