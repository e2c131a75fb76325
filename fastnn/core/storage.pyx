"""A pool of aligned blocks behind NumPy arrays.

Training allocates the same sizes again and again; malloc would return large ones to the system each time and pay for
the page faults.  Blocks are kept by size class (four classes per power of two, so at most 25 % is wasted) up to a
limit of cached bytes, and handed out last in, first out, while they are still in cache.  The GIL guards the pool.
"""
cimport numpy as np
from cpython.mem cimport PyMem_Realloc
from cpython.ref cimport Py_INCREF
from libc.stdlib cimport free
from libc.string cimport memset
cimport cython

import numpy

np.import_array()

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void** p, size_t alignment, size_t size)

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #define fn_huge_pages(p, n) madvise(p, n, MADV_HUGEPAGE)
    #else
    #define fn_huge_pages(p, n) 0
    #endif
    #if defined(__GLIBC__)
    #include <malloc.h>
    #define fn_give_back() malloc_trim(0)       /* free() keeps what was freed below a block in use */
    #else
    #define fn_give_back() 0
    #endif
    """
    int fn_huge_pages(void* p, size_t n) nogil
    int fn_give_back() nogil

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)
    object PyArray_NewFromDescr(type subtype, np.dtype descr, int nd, np.npy_intp* dims, np.npy_intp* strides,
                                void* data, int flags, object obj)
    np.dtype PyArray_DescrFromType(int typenum)
    int PyArray_SetBaseObject(np.ndarray arr, object base) except -1

cdef extern from "Python.h":
    object PyType_GenericAlloc(type t, Py_ssize_t n)

DEF CLASSES = 4 * 48
DEF LARGEST = 1 << 50          # bytes; within the classes
DEF HUGE_PAGE = 2 * 1024 * 1024

cdef struct Bin:
    void** blocks
    int count, capacity

cdef Bin[CLASSES] bins
memset(bins, 0, sizeof(bins))
cdef size_t cached_bytes = 0
cdef size_t cache_limit = 256 * 1024 * 1024
cdef long allocations = 0


cdef inline int class_of(size_t n, size_t* rounded) noexcept nogil:
    """Size class of n bytes: 64 << k, in quarter steps."""
    cdef int k = 0
    cdef size_t base, step
    if n <= 64:
        rounded[0] = 64
        return 0
    base = 64
    while base * 2 < n:
        base *= 2
        k += 1
    step = base // 4 if base >= 256 else base
    rounded[0] = base + step * ((n - base + step - 1) // step)
    return 4 * k + <int>((rounded[0] - base) // (base // 4))


cdef void* acquire(size_t n, size_t* rounded) except NULL:
    global cached_bytes, allocations
    cdef int c = class_of(n, rounded)
    cdef void* p = NULL
    cdef Bin* b = &bins[c]
    if b.count:
        b.count -= 1
        cached_bytes -= rounded[0]
        return b.blocks[b.count]
    allocations += 1
    cdef size_t align = HUGE_PAGE if rounded[0] >= 2 * HUGE_PAGE else 64
    if posix_memalign(&p, align, rounded[0]):
        trim()
        if posix_memalign(&p, align, rounded[0]):
            raise MemoryError(f"fastnn: cannot allocate {n} bytes")
    if rounded[0] >= 2 * HUGE_PAGE:
        fn_huge_pages(p, rounded[0])
    return p


cdef void release(void* p, size_t size) noexcept:
    global cached_bytes
    cdef size_t rounded
    cdef Bin* b = &bins[class_of(size, &rounded)]
    cdef void** grown
    if cached_bytes + size > cache_limit:
        free(p)
        return
    if b.count == b.capacity:
        grown = <void**>PyMem_Realloc(b.blocks, (2 * b.capacity + 8) * sizeof(void*))
        if grown == NULL:
            free(p)
            return
        b.blocks = grown
        b.capacity = 2 * b.capacity + 8
    b.blocks[b.count] = p
    b.count += 1
    cached_bytes += size


def trim():
    """Return every cached block to the system."""
    global cached_bytes
    cdef int c
    for c in range(CLASSES):
        while bins[c].count:
            bins[c].count -= 1
            free(bins[c].blocks[bins[c].count])
    cached_bytes = 0
    fn_give_back()


def statistics():
    """Cached bytes, and blocks asked of the system since import (a step that reuses memory asks for none)."""
    return {"cached_bytes": cached_bytes, "allocations": allocations}


@cython.freelist(256)
@cython.no_gc
cdef class Storage:
    """One block of memory, or the version counter of memory owned elsewhere."""

    def __dealloc__(self):
        if self.data != NULL:
            release(self.data, self.size_class)


cdef long serial_counter = 0

cdef long last_serial():
    return serial_counter


cdef inline long next_serial() noexcept:
    global serial_counter
    serial_counter += 1
    return serial_counter


cdef np.ndarray empty(int ndim, np.npy_intp* shape, int typenum):
    return make(ndim, shape, NULL, typenum, next_serial())


cdef np.ndarray make(int ndim, np.npy_intp* shape, np.npy_intp* strides, int typenum, long serial):
    cdef np.dtype descr = PyArray_DescrFromType(typenum)
    cdef size_t n = descr.itemsize
    cdef int i
    for i in range(ndim):
        if n and shape[i] > <np.npy_intp>LARGEST // <np.npy_intp>n:
            raise MemoryError(f"fastnn: cannot allocate an array of shape {tuple([shape[i] for i in range(ndim)])}")
        n *= shape[i]
    cdef Storage s = Storage.__new__(Storage)
    s.data = acquire(n, &s.size_class)
    s.serial = serial
    Py_INCREF(descr)  # NewFromDescr steals it
    cdef np.ndarray a = PyArray_NewFromDescr(np.ndarray, descr, ndim, shape, strides, s.data,
                                             np.NPY_ARRAY_CARRAY if strides == NULL else np.NPY_ARRAY_WRITEABLE, None)
    Py_INCREF(s)      # so does SetBaseObject
    PyArray_SetBaseObject(a, s)
    return a


def new_array(shape, dtype, order=None):
    """An undefined NumPy array in aligned memory of the pool, for values that Python code writes; `order`: its axes from the
    largest stride to the smallest, as they are by default.

    Its serial is negative: a plan takes it for data from outside, as it takes any array that no record writes.
    """
    cdef np.dtype descr = numpy.dtype(dtype)
    cdef np.npy_intp[32] sizes
    cdef np.npy_intp[32] axes
    if not isinstance(shape, (tuple, list)):
        shape = (shape,)
    cdef int i, ndim = len(shape)
    if ndim > 32 or not descr.isnative or descr.kind not in "biufc":
        return numpy.empty(shape, descr)
    for i in range(ndim):
        sizes[i] = shape[i]
        if sizes[i] < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {sizes[i]}: {list(shape)}")
    if order is None:
        return make(ndim, sizes, NULL, descr.num, -next_serial())
    for i in range(ndim):
        axes[i] = order[i]
    return make_ordered(ndim, sizes, axes, descr.num, -next_serial())


def pooled(array):
    """A copy where `new_array` lies: a compiled step whose runs make it anew with the same values keeps one."""
    copy = new_array(array.shape, array.dtype)
    copy[...] = array
    return copy


cdef np.ndarray make_ordered(int ndim, np.npy_intp* shape, np.npy_intp* order, int typenum, long serial):
    cdef np.npy_intp[32] strides
    cdef np.npy_intp stride = PyArray_DescrFromType(typenum).itemsize
    cdef int i
    for i in range(ndim - 1, -1, -1):
        strides[order[i]] = stride
        stride *= max(shape[order[i]], 1)
    return make(ndim, shape, strides, typenum, serial)


cdef np.ndarray empty_ordered(int ndim, np.npy_intp* shape, np.npy_intp* order, int typenum):
    return make_ordered(ndim, shape, order, typenum, next_serial())


cdef np.ndarray empty_like(np.ndarray a):
    return empty(a.ndim, np.PyArray_DIMS(a), np.PyArray_TYPE(a))


cdef np.ndarray zeros_like(np.ndarray a):
    cdef np.ndarray z = empty(a.ndim, np.PyArray_DIMS(a), np.PyArray_TYPE(a))
    memset(np.PyArray_DATA(z), 0, np.PyArray_NBYTES(z))
    return z


cdef np.ndarray empty_1d(np.npy_intp n, int typenum):
    return empty(1, &n, typenum)


cdef np.ndarray empty_2d(np.npy_intp n, np.npy_intp m, int typenum):
    cdef np.npy_intp[2] shape
    shape[0], shape[1] = n, m
    return empty(2, shape, typenum)


cdef bint is_dense(np.ndarray a):
    cdef int ndim = np.PyArray_NDIM(a), i, _i, j, axis
    cdef np.npy_intp* shape = np.PyArray_DIMS(a)
    cdef np.npy_intp* strides = np.PyArray_STRIDES(a)
    cdef np.npy_intp expected = np.PyArray_ITEMSIZE(a)
    cdef bint[32] used
    if PyArray_IS_C_CONTIGUOUS(a):
        return True
    if ndim > 32:
        return False
    for i in range(ndim):
        used[i] = shape[i] == 1         # the stride of an axis of one element says nothing
    for _i in range(ndim):
        axis = -1
        for j in range(ndim):
            if not used[j] and strides[j] == expected:
                axis = j
                break
        if axis < 0:
            break
        used[axis] = True
        expected *= shape[axis]
    for i in range(ndim):
        if not used[i]:
            return False
    return True


cdef np.ndarray arranged(np.ndarray a):
    cdef object base = np.get_array_base(a)
    if PyArray_IS_C_CONTIGUOUS(a) or not isinstance(base, np.ndarray) or not is_dense(a):
        return a
    while isinstance(base, np.ndarray):
        base = np.get_array_base(base)
    if base is None:
        return a
    cdef np.dtype descr = a.dtype
    Py_INCREF(descr)
    cdef np.ndarray same = PyArray_NewFromDescr(np.ndarray, descr, np.PyArray_NDIM(a), np.PyArray_DIMS(a), np.PyArray_STRIDES(a),
                                                np.PyArray_DATA(a), a.flags.num & np.NPY_ARRAY_WRITEABLE, None)
    Py_INCREF(base)
    PyArray_SetBaseObject(same, base)
    return same


cdef bint is_arranged(np.ndarray a):
    return not PyArray_IS_C_CONTIGUOUS(a) and not isinstance(np.get_array_base(a), np.ndarray) and is_dense(a)


cdef np.ndarray empty_dense_like(np.ndarray a):
    if PyArray_IS_C_CONTIGUOUS(a) or not is_dense(a):
        return empty(np.PyArray_NDIM(a), np.PyArray_DIMS(a), np.PyArray_TYPE(a))
    cdef np.ndarray b = make(np.PyArray_NDIM(a), np.PyArray_DIMS(a), np.PyArray_STRIDES(a), np.PyArray_TYPE(a),
                             next_serial())
    return b


cdef bint same_layout(np.ndarray a, np.ndarray b):
    cdef int ndim = np.PyArray_NDIM(a), i
    if ndim != np.PyArray_NDIM(b):
        return False
    for i in range(ndim):
        if np.PyArray_DIM(a, i) != np.PyArray_DIM(b, i):
            return False
        if np.PyArray_STRIDE(a, i) != np.PyArray_STRIDE(b, i) and np.PyArray_DIM(a, i) != 1:
            return False
    return True


cdef Storage storage_of(np.ndarray a):
    cdef object base = (<object>a).base
    while isinstance(base, np.ndarray):
        base = base.base
    return <Storage>base if isinstance(base, Storage) else Storage.__new__(Storage)
