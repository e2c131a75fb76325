"""Running kernel calls: the one place that drops the GIL."""
cimport numpy as np

from fastnn.core.storage cimport acquire, release
from fastnn.kernels.native cimport FN_INDEX_OUT_OF_RANGE, FN_OUTSIDE_UNIT_INTERVAL, current_threads, run_calls

np.import_array()

cdef extern from *:
    """
    static __thread void *fn_recorder = 0;      /* borrowed: the plan that records holds it */
    static void *fn_get_recorder(void) { return fn_recorder; }
    static void fn_set_recorder(void *r) { fn_recorder = r; }
    """
    void* fn_get_recorder() noexcept nogil
    void fn_set_recorder(void* r) noexcept nogil

# Below this many FLOP or bytes a call keeps the GIL: it ends in about 2 us.
DEF SMALL = 60000


cdef class Recorder:
    """Listens to the kernel calls of its thread while it is set; core/plan.pyx makes plans of them."""

    cdef int record(self, Launch* L) except -1:
        raise NotImplementedError

    cdef int record_host(self, str name, object function, tuple inputs, object result) except -1:
        raise NotImplementedError

    cdef int hold(self, np.ndarray array) except -1:
        raise NotImplementedError


cdef bint recorder_listens() noexcept:
    return fn_get_recorder() != NULL


cdef int hold(object array) except -1:
    (<Recorder>fn_get_recorder()).hold(<np.ndarray>array)
    return 0


cdef Recorder current_recorder():
    cdef void* r = fn_get_recorder()
    return <Recorder>r if r != NULL else None


cdef int set_recorder(Recorder r) except -1:
    fn_set_recorder(NULL if r is None else <void*>r)
    return 0


cdef int launch(Launch* L) except -1:
    cdef fn_call* call = &L.call
    cdef void* scratch = NULL
    cdef size_t wanted, size = 0
    call.threads = current_threads()
    if call.kernel.scratch != NULL:
        wanted = call.kernel.scratch(call)
        if wanted > 0:
            call.scratch = scratch = acquire(wanted, &size)
    if call.flops < SMALL and call.bytes < SMALL:
        run_calls(call, 1)
    else:
        with nogil:
            run_calls(call, 1)
    if scratch != NULL:
        release(scratch, size)
    if call.status:
        raise_status(call)
    if fn_get_recorder() != NULL:
        (<Recorder>fn_get_recorder()).record(L)
    return 0


cdef int raise_status(fn_call* call) except -1:
    """Raise what a driver found in the data: only there can it be seen."""
    name = call.kernel.name.decode()
    if call.status == FN_INDEX_OUT_OF_RANGE:
        if "embedding" in name:
            raise IndexError(f"index out of range in self: {name} got index {call.fault}")
        if "cross_entropy" in name or "nll" in name:
            raise IndexError(f"Target {call.fault} is out of bounds.")
        if "multi_margin" in name:
            raise RuntimeError("target out of range")
        raise IndexError(f"{name}: index {call.fault} is out of bounds")
    if call.status == FN_OUTSIDE_UNIT_INTERVAL:
        operand = "target" if call.fault else "input"
        raise RuntimeError(f"all elements of {operand} should be between 0 and 1")
    raise RuntimeError(f"{name}: failed with status {call.status}, value {call.fault}")


cdef object host_call(str name, object function, tuple inputs):
    result = function(*inputs)
    if fn_get_recorder() != NULL:
        (<Recorder>fn_get_recorder()).record_host(name, function, inputs, result)
    return result
