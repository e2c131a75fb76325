"""Memory of tensors: 64-byte aligned blocks from a small pool, and the version counter of in-place changes."""
cimport numpy as np

cdef class Storage:
    cdef void* data             # NULL when the memory belongs to somebody else's array
    cdef size_t size_class      # bytes of the block
    cdef public long version    # counts in-place changes; shared by all views of the memory

# C-contiguous, 64-byte aligned; contents undefined.
cdef np.ndarray empty(int ndim, np.npy_intp* shape, int typenum)
cdef np.ndarray empty_like(np.ndarray a)
cdef np.ndarray zeros_like(np.ndarray a)
cdef np.ndarray empty_1d(np.npy_intp n, int typenum)
cdef np.ndarray empty_2d(np.npy_intp n, np.npy_intp m, int typenum)

# The Storage of an array made here (walks views), a fresh one for any other array.
cdef Storage storage_of(np.ndarray a)
