"""What a plan took for granted about the Python objects around it."""
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

# What every change of a dict renews; 0 where Python keeps no such number (from 3.12 on).
cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030C0000
    #define fn_tag_of(d) (((PyDictObject *)(d))->ma_version_tag)
    #else
    #define fn_tag_of(d) 0
    #endif
    """
    uint64_t tag_of "fn_tag_of"(PyObject* d) noexcept nogil

cdef struct Watched:
    PyObject* dict
    Py_ssize_t size
    uint64_t tag        # when its entries were last found to be as expected

cdef struct Entry:
    PyObject* key
    PyObject* value

cdef class Guard:
    cdef list dicts, lists          # what is watched
    cdef list keys, values          # of all dicts, one after the other: they keep alive what `expected` points to
    cdef list items                 # per list, what it held
    cdef set loose                  # numbers of the entries of which only the truth counts
    cdef set known                  # identities of the dicts
    cdef Watched* watched           # the dicts again, by borrowed pointers, and how many entries each had
    cdef Py_ssize_t count
    cdef Entry* expected            # keys and values again

    cdef bint holds(self) except -1
    cdef object compare(self)
