"""Kernel calls: fill a record, run it, and hand it to the recorder of a plan when one listens."""
cimport numpy as np
from libc.string cimport memset

from fastnn.kernels.native cimport FN_F32, FN_F64, fn_call, fn_kernel

cdef struct Launch:
    fn_call call

# Keep small calls under the GIL: dropping and taking it costs more than they do.
cdef int launch(Launch* L) except -1

# Raise what a driver found in the data.
cdef int raise_status(fn_call* call) except -1

# An operation on arrays that no kernel does (NumPy): run `function(*inputs)` through the recorder's eyes.
cdef object host_call(str name, object function, tuple inputs)

# Tell the recorder of this thread of an array bound to a slot: it may be a passing view.
cdef int hold(object array) except -1
cdef bint recorder_listens() noexcept

cdef class Recorder:
    cdef list owners        # arrays from outside bound to slots: alive while the recording is, so that no address is used twice
    cdef int record(self, Launch* L) except -1
    cdef int record_host(self, str name, object function, tuple inputs, object result) except -1
    cdef int hold(self, np.ndarray array) except -1

cdef Recorder current_recorder()
cdef int set_recorder(Recorder r) except -1

cdef inline void begin(Launch* L, const fn_kernel* kernel, int dtype) noexcept:
    """Start a record; `dtype` is FN_F32 or FN_F64 (or another fn_dtype where the kernel takes it)."""
    memset(L, 0, sizeof(Launch))
    L.call.kernel = kernel
    L.call.dtype = dtype

cdef inline int put(Launch* L, int slot, object array) except -1:
    """Bind an array, which the caller keeps alive until the launch, to a slot; None leaves an optional slot empty."""
    if array is not None:
        L.call.slot[slot] = np.PyArray_DATA(<np.ndarray>array)
        if recorder_listens():
            hold(array)
    return 0

cdef inline int fn_dtype_of(np.ndarray a) noexcept:
    return FN_F64 if np.PyArray_TYPE(a) == np.NPY_FLOAT64 else FN_F32
