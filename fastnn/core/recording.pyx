"""Records the kernel calls of one eager run of a step.

Every slot of every call is located: in an input of the step, in memory that existed before the run, or in a block of
the pool that was handed out during the run (a buffer of the coming plan).  A buffer whose first use is not a kernel
that overwrites it was filled by something the recorder did not see; then the step cannot be captured.
"""
cimport numpy as np
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy

import contextlib

from fastnn.core.launch cimport Launch, Recorder, current_recorder, set_recorder
from fastnn.core.storage cimport Storage, last_serial
from fastnn.kernels.native cimport FN_IN, FN_OUT, FN_SCALARS, FN_SIZES, FN_SLOTS

np.import_array()


cdef class Recording(Recorder):
    """The calls of one run; `inputs` are the arrays handed to the step."""

    def __init__(self, inputs):
        self.inputs = list(inputs)
        self.owners = []
        self.uncaptured = []
        self.buffers = []
        self.buffer_numbers = {}
        self.starts = []
        self.bound = {}
        self.start = last_serial()

    def __dealloc__(self):
        free(self.calls)
        free(self.places)

    cdef int record(self, Launch* L) except -1:
        cdef int i, slots = L.call.kernel.slots
        cdef Place* place
        if self.count == self.capacity:
            self.capacity = 2 * self.capacity + 64
            self.calls = <Launch*>realloc(self.calls, self.capacity * sizeof(Launch))
            self.places = <Place*>realloc(self.places, self.capacity * FN_SLOTS * sizeof(Place))
            if self.calls == NULL or self.places == NULL:
                raise MemoryError
        memcpy(&self.calls[self.count], L, sizeof(Launch))
        for i in range(FN_SLOTS):
            place = &self.places[self.count * FN_SLOTS + i]
            place.origin, place.which, place.offset, place.pointer = ABSENT, 0, 0, NULL
            if i < slots and L.call.slot[i] != NULL:
                self.locate(<char*>L.call.slot[i], place, L.call.kernel.role[i])
        self.count += 1
        return 0

    cdef int record_host(self, str name, object function, tuple inputs, object result) except -1:
        self.uncaptured.append(name)
        return 0

    cdef int hold(self, np.ndarray array) except -1:
        """An array is bound to a slot.  Memory from outside is kept alive, so that no address means two things.

        Blocks of the run are known by their serial numbers and may be handed out again: a recorded run needs no more memory
        than another.
        """
        cdef int number = self.buffer_of(array)
        self.bound[<size_t>np.PyArray_DATA(array)] = number
        if number < 0:
            self.owners.append(array)
        return 0

    cdef char* start_of(self, int number) except NULL:
        return <char*><size_t>self.starts[number]

    cdef int locate(self, char* pointer, Place* place, int role) except -1:
        cdef char* start
        cdef char* end
        cdef int number
        for number, given in enumerate(self.inputs):
            bounds(<np.ndarray>given, &start, &end)
            if start <= pointer < end or pointer == <char*>np.PyArray_DATA(<np.ndarray>given):
                place.origin, place.which = INPUT, number
                place.offset = pointer - <char*>np.PyArray_DATA(<np.ndarray>given)
                return 0
        number = self.bound[<size_t>pointer]
        if number < 0:
            place.origin, place.pointer = OUTSIDE, pointer
            return 0
        place.origin, place.which = INSIDE, number
        place.offset = pointer - self.start_of(number)
        buffer = self.buffers[number]
        if buffer[1] < 0:
            buffer[1] = self.count
            if role != FN_OUT:
                self.uncaptured.append(f"memory read by {self.calls[self.count].call.kernel.name.decode()} "
                                       "was filled outside the kernels")
        buffer[2] = self.count
        return 0

    cdef int buffer_of(self, np.ndarray array):
        """The number of the buffer an array lies in, -1 when its memory is not of this run."""
        cdef object base = array
        cdef Storage storage
        while isinstance(base, np.ndarray):
            base = base.base
        if not isinstance(base, Storage):
            return -1
        storage = <Storage>base
        if storage.data == NULL or storage.serial <= self.start:
            return -1
        number = self.buffer_numbers.get(storage.serial)
        if number is None:
            number = self.buffer_numbers[storage.serial] = len(self.starts)
            self.starts.append(<size_t>storage.data)
            self.buffers.append([storage.size_class, -1, -1])
        return number

    cdef set addresses_of(self, char* pointer):
        """All addresses under which calls reach the outside memory of the array at that one."""
        cdef int64_t shift
        cdef list own = [a for a in self.owners if np.PyArray_DATA(<np.ndarray>a) == pointer]
        return {<size_t>np.PyArray_DATA(<np.ndarray>b) for b in self.owners
                if any([shift_of(<np.ndarray>a, <np.ndarray>b, &shift) for a in own])}

    cdef np.ndarray constant(self, char* pointer):
        """The array at that address if the run made it by `zeros`, `arange` and the like (`new_array`) and only read it, else None."""
        cdef char* start
        cdef char* end
        cdef int i
        cdef object base = None
        cdef np.ndarray found = None
        for a in self.owners:
            if np.PyArray_DATA(<np.ndarray>a) == pointer:
                found = base = a
        while isinstance(base, np.ndarray):
            base = np.get_array_base(base)
        if not isinstance(base, Storage) or -(<Storage>base).serial <= self.start:
            return None
        start = <char*>(<Storage>base).data
        end = start + (<Storage>base).size_class
        for i in range(self.count * FN_SLOTS):
            if self.places[i].origin == OUTSIDE and start <= self.places[i].pointer < end \
                    and self.calls[i // FN_SLOTS].call.kernel.role[i % FN_SLOTS] != FN_IN:
                return None
        return found

    def difference(self, Recording other):
        """The first call in which two runs of the same step differ, in words; None when they agree.

        What differs between runs would be frozen by a replay: a scalar computed in Python, an array made by NumPy.  Arrays that both
        runs made anew with the same values, from nothing but sizes and numbers, are no difference: the plan keeps the last.
        """
        cdef int i, j
        cdef Launch* a
        cdef Launch* b
        cdef Place* p
        cdef Place* q
        if self.count != other.count:
            return f"{self.count} kernel calls in one run, {other.count} in the next"
        for i in range(self.count):
            a, b = &self.calls[i], &other.calls[i]
            name = a.call.kernel.name.decode()
            if a.call.kernel != b.call.kernel or a.call.dtype != b.call.dtype:
                return f"call {i}: {name} in one run, {b.call.kernel.name.decode()} in the next"
            if memcmp(a.call.size, b.call.size, FN_SIZES * sizeof(int64_t)):
                return f"call {i}, {name}: sizes differ between runs"
            if memcmp(a.call.scalar, b.call.scalar, FN_SCALARS * sizeof(double)):
                return f"call {i}, {name}: a number computed in Python differs between runs"
            for j in range(FN_SLOTS):
                p, q = &self.places[i * FN_SLOTS + j], &other.places[i * FN_SLOTS + j]
                if p.origin != q.origin or p.which != q.which or p.offset != q.offset or (
                        p.pointer != q.pointer and not same_constant(self.constant(p.pointer), other.constant(q.pointer))):
                    return f"call {i}, {name}: slot {a.call.kernel.slot_name[j].decode()} is made outside the kernels"
        return None


cdef bint same_constant(np.ndarray a, np.ndarray b):
    if a is None or b is None:
        return False
    x, y = <object>a, <object>b
    return x.dtype == y.dtype and x.shape == y.shape and x.strides == y.strides and x.tobytes() == y.tobytes()


cdef void bounds(np.ndarray array, char** first, char** end) noexcept:
    """The bytes that an array's elements lie in."""
    cdef int64_t reach
    cdef int i
    first[0] = <char*>np.PyArray_DATA(array)
    end[0] = first[0] + np.PyArray_ITEMSIZE(array)
    for i in range(np.PyArray_NDIM(array)):
        reach = (np.PyArray_DIM(array, i) - 1) * np.PyArray_STRIDE(array, i)
        if np.PyArray_DIM(array, i) == 0:
            end[0] = first[0]
            return
        if reach < 0:
            first[0] += reach
        else:
            end[0] += reach


cdef bint shift_of(np.ndarray x, np.ndarray y, int64_t* shift) noexcept:
    """Do two arrays share memory?  Then also the bytes from one to the other."""
    cdef char *a
    cdef char *b
    cdef char *a_end
    cdef char *b_end
    bounds(x, &a, &a_end)
    bounds(y, &b, &b_end)
    shift[0] = <char*>np.PyArray_DATA(y) - <char*>np.PyArray_DATA(x)
    return a < b_end and b < a_end


cdef list overlaps(list arrays):
    cdef int i, j
    cdef int64_t shift = 0
    cdef list found = []
    for i in range(len(arrays)):
        for j in range(i):
            found.append(shift if shift_of(<np.ndarray>arrays[j], <np.ndarray>arrays[i], &shift) else None)
    return found


cdef bint overlap_as(list arrays, list expected):
    cdef int i, j, k = 0
    cdef int64_t shift = 0
    for i in range(len(arrays)):
        for j in range(i):
            before = expected[k]
            k += 1
            if shift_of(<np.ndarray>arrays[j], <np.ndarray>arrays[i], &shift):
                if before is None or <int64_t>before != shift:
                    return False
            elif before is not None:
                return False
    return True


def overlapping(list arrays):
    """Per pair of arrays: bytes from one to the other where they share memory, else None."""
    return overlaps(arrays)


@contextlib.contextmanager
def recording(inputs):
    """Record the kernel calls of this thread inside a `with` block."""
    if current_recorder() is not None:
        raise RuntimeError("a step is already being recorded in this thread")
    cdef Recording r = Recording(inputs)
    set_recorder(r)
    try:
        yield r
    finally:
        set_recorder(None)
