"""Calls of a recording, the places of their slots and the buffers they lie in, as patterns look at them and change them."""
from libc.stdint cimport int64_t
from libc.string cimport memmove, strcmp

from fastnn.core.launch cimport Launch
from fastnn.core.recording cimport INSIDE, Place, Recording
from fastnn.kernels.conv cimport G_, N_, O_, OUT_
from fastnn.kernels.native cimport FN_IN, FN_SLOTS


cdef inline bint named(Recording recording, int i, const char* name) noexcept:
    return strcmp(recording.calls[i].call.kernel.name, name) == 0


cdef inline Place* place_of(Recording recording, int i, int slot) noexcept:
    return &recording.places[i * FN_SLOTS + slot]


cdef inline bint same(const Place* a, const Place* b) noexcept:
    return a.origin == INSIDE and b.origin == INSIDE and a.which == b.which and a.offset == b.offset


cdef inline bint passes_straight(Recording recording, Place* written, Place* read, int i, kept):
    """Is what call i writes a buffer that only call i + 1 reads?"""
    if not same(written, read):
        return False
    _, first, last = recording.buffers[written.which]
    return first == i and last == i + 1 and written.which not in kept


cdef inline bint written_between(Recording recording, const Place* place, int first, int stop):
    """Does any call after `first` and before `stop` write into that buffer?"""
    cdef int i, slot
    for i in range(first + 1, stop):
        for slot in range(recording.calls[i].call.kernel.slots):
            if (recording.calls[i].call.kernel.role[slot] != FN_IN and place_of(recording, i, slot).origin == INSIDE
                    and place_of(recording, i, slot).which == place.which):
                return True
    return False


cdef inline int move_place(Recording recording, const Place* place, int i, int slot) except -1:
    """Call i also reads what lies at `place`."""
    recording.places[i * FN_SLOTS + slot] = place[0]
    recording.calls[i].call.slot[slot] = NULL       # the plan fills it
    if place.origin == INSIDE:
        buffer = recording.buffers[place.which]
        buffer[2] = max(buffer[2], i)
    return 0


cdef inline int drop_buffer(Recording recording, int which) except -1:
    recording.buffers[which][1] = recording.buffers[which][2] = -1
    return 0


cdef inline int remove(Recording recording, int i) except -1:
    """Take call i out; uses of buffers after it move up by one."""
    cdef int after = recording.count - i - 1
    memmove(&recording.calls[i], &recording.calls[i + 1], after * sizeof(Launch))
    memmove(&recording.places[i * FN_SLOTS], &recording.places[(i + 1) * FN_SLOTS], after * FN_SLOTS * sizeof(Place))
    recording.count -= 1
    for buffer in recording.buffers:
        if buffer[1] >= i:
            buffer[1] -= 1
        if buffer[2] >= i:
            buffer[2] -= 1
    return 0


cdef inline int64_t outputs_of(const int64_t* size):
    """Elements that a convolution makes."""
    return size[N_] * size[G_] * size[O_] * size[OUT_] * size[OUT_ + 1] * size[OUT_ + 2]
