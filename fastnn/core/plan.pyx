"""From a recording to a step that is one loop over kernel calls without the GIL.

All buffers live in one arena: two buffers share bytes when their lifetimes (first call to last call) do not overlap.
Inputs and outputs of the step are the only pointers that change from run to run; they are patched before each.
"""
cimport cython
cimport numpy as np
from cpython.object cimport PyObject
from cpython.pythread cimport (
    NOWAIT_LOCK, PY_LOCK_INTR, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock,
    PyThread_type_lock)
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from bisect import insort

import numpy as np

from fastnn.core.fusion import fuse
from fastnn.core.storage import trim
from fastnn.core.launch cimport raise_status
from fastnn.core.guard cimport Guard
from fastnn.core.recording cimport INPUT, INSIDE, OUTSIDE, Place, Recording, overlap_as, overlaps
from fastnn.core.storage cimport empty_1d, empty_like, same_layout, storage_of
from fastnn.core.tape cimport copy
from fastnn.core.tensor cimport Tensor, as_tensor, wrap
from fastnn.kernels.native cimport FN_MEMO, FN_SLOTS, current_threads, fn_call, run_calls

np.import_array()

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1
    int PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds, int interruptible) nogil

cdef extern from *:
    """
    #include <time.h>
    static double fn_seconds(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }
    """
    double seconds "fn_seconds"() noexcept nogil

DEF ALIGN = 64
DEF MOST_INPUTS = 64
DEF CACHED_BYTES = 1 << 25      # of an arena, from which on returning the eager runs' blocks is worth the page faults of later ones


cdef void gather(char* target, char* source, int64_t* rows, long count, int64_t row_bytes) noexcept nogil:
    cdef long i
    for i in range(count):
        memcpy(target + i * row_bytes, source + rows[i] * row_bytes, row_bytes)


class NotCapturedError(RuntimeError):
    """A step does something that no plan can replay."""


def place_buffers(buffers, fixed):
    """Offsets in one arena for buffers [(bytes, first call, last call)], and the arena's size.

    Largest first, each at the lowest offset that is free during its whole lifetime.  A buffer whose number is in
    `fixed` shares with no other.
    """
    offsets = [0] * len(buffers)
    placed = []     # (offset, end, first, last), by offset
    for number in sorted(range(len(buffers)), key=lambda b: (-buffers[b][0], b)):
        size, first, last = buffers[number]
        if number in fixed:
            first, last = -1, 1 << 60
        offset = 0
        for start, end, begin, until in placed:
            if begin <= last and first <= until:
                if offset + size <= start:
                    break
                offset = max(offset, end)
        offsets[number] = offset
        insort(placed, (offset, -(-(offset + size) // ALIGN) * ALIGN, first, last))
    return offsets, max((end for _, end, _, _ in placed), default=0)


@cython.binding(False)     # so that CPython checks the type of self where a method is called unbound
cdef class Plan:
    """Kernel calls ready to replay.

    Parameters
    ----------
    recording : Recording
        One eager run of the step.
    outputs : list of ndarray
        The arrays the run returned.
    parameters : list of Tensor
        Leaves whose `.grad` the run made; they show the plan's gradients after each run.
    split, first_inputs, first_outputs : int, optional
        Calls, inputs and outputs of a first part (forward) that runs apart from the second (backward).
    """

    def __init__(self, Recording recording, outputs, parameters=(), int split=-1, int first_inputs=0, int first_outputs=0):
        if len(recording.inputs) > MOST_INPUTS:
            raise NotCapturedError(f"{len(recording.inputs)} inputs, at most {MOST_INPUTS} can be replayed")
        if recording.uncaptured:
            raise NotCapturedError("; ".join(dict.fromkeys(recording.uncaptured)))
        cdef int i
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError
        self.input_count, self.output_count = len(recording.inputs), len(outputs)
        output_of = self.find_outputs(recording, outputs)
        fixed = self.find_gradients(recording, parameters)
        self.fusions, split = fuse(recording, {*output_of, *fixed}, split)
        self.count = recording.count
        self.calls = <fn_call*>calloc(max(1, self.count), sizeof(fn_call))
        self.bases = <char**>calloc(self.input_count + self.output_count + 1, sizeof(char*))
        self.memos = <char*>calloc(max(1, self.count), FN_MEMO)
        if self.calls == NULL or self.bases == NULL or self.memos == NULL:
            raise MemoryError
        for i in range(self.count):
            memcpy(&self.calls[i], &recording.calls[i].call, sizeof(fn_call))
            self.calls[i].scratch = NULL
            self.calls[i].memo = self.memos + i * FN_MEMO
        self.lay_out(recording, output_of, fixed)
        self.resolve(recording, output_of)
        self.threads = 0
        self.fit_scratch()
        self.split = self.count if split < 0 else split
        self.first_inputs = self.input_count if split < 0 else first_inputs
        self.first_outputs = self.output_count if split < 0 else first_outputs
        self.expected = list(recording.inputs)[:self.first_inputs]
        self.overlaps = overlaps(self.expected)
        self.watch((), Guard(()))

    def watch(self, tensors, guard):
        """The state this plan was recorded in: it fits only while these tensors keep their arrays and the guard holds."""
        cdef int i
        cdef Tensor t
        self.tensors = list(tensors)
        self.arrays = [(<Tensor>t).array for t in self.tensors]
        self.guard = guard
        free(self.held)
        self.held_count = 0
        self.held = <Held*>calloc(len(self.tensors) + 1, sizeof(Held))
        if self.held == NULL:
            raise MemoryError
        self.held_count = len(self.tensors)
        for i in range(self.held_count):
            t = self.tensors[i]
            self.held[i] = Held(<PyObject*>t, <PyObject*>t.array, t.requires)

    def __dealloc__(self):
        free(self.calls)
        free(self.memos)
        free(self.patches)
        free(self.bases)
        free(self.held)
        if self.lock != NULL:
            PyThread_free_lock(self.lock)

    def find_outputs(self, Recording recording, outputs):
        """{buffer number: output number}; remembers how to imitate each returned array."""
        cdef np.ndarray array, alike
        cdef int number
        output_of = {}
        self.templates, self.whole = [], []
        for k, array in enumerate(outputs):
            number = recording.buffer_of(array)
            if number < 0 or recording.buffers[number][1] < 0 or number in output_of:
                raise NotCapturedError("a returned tensor is an input, a parameter or another output: return a copy of it")
            output_of[number] = k
            offset = <char*>np.PyArray_DATA(array) - recording.start_of(number)
            size = recording.buffers[number][0]
            self.templates.append((offset, size, (<object>array).shape, (<object>array).strides, (<object>array).dtype))
            alike = empty_like(array)       # a block of its own, of the same size?
            whole = offset == 0 and same_layout(alike, array) and storage_of(alike).size_class == <size_t>size
            self.whole.append(np.broadcast_to(np.empty((), (<object>array).dtype), (<object>array).shape) if whole else None)
        return output_of

    def find_gradients(self, Recording recording, parameters):
        """Buffers that hold gradients: they keep their bytes until the next run."""
        cdef int number
        cdef Tensor g
        fixed = {}
        for p in parameters:
            if p.grad is not None:
                g = p.grad
                number = recording.buffer_of(g.array)
                if number >= 0:
                    fixed.setdefault(number, []).append((p, g.array))
        return fixed

    def lay_out(self, Recording recording, output_of, fixed):
        """Give every buffer its place in the arena and make the gradients' views of it."""
        cdef np.ndarray like, seen
        inner = [[0, -1, -1] if number in output_of or b[1] < 0 else b for number, b in enumerate(recording.buffers)]
        self.offsets, self.buffer_bytes = place_buffers(inner, fixed)
        self.offsets = [-1 if number in output_of else offset for number, offset in enumerate(self.offsets)]
        self.scratch_bytes = 0
        self.arena = empty_1d(max(ALIGN, self.buffer_bytes), np.NPY_UINT8)
        self.gradients = []
        for number, pairs in fixed.items():
            for p, like in pairs:
                shift = <char*>np.PyArray_DATA(like) - recording.start_of(number)
                seen = np.ndarray((<object>like).shape, (<object>like).dtype, self.arena, self.offsets[number] + shift,
                                  (<object>like).strides)
                self.gradients.append((p, wrap(seen)))

    def resolve(self, Recording recording, output_of):
        """Turn every place into a pointer, or into a patch."""
        cdef int i, j, k = 0
        cdef Place* place
        cdef char* arena = <char*>np.PyArray_DATA(self.arena)
        self.keep = list(recording.owners)
        for i in range(self.count * FN_SLOTS):
            place = &recording.places[i]
            k += place.origin == INPUT or (place.origin == INSIDE and place.which in output_of)
        self.patch_count = 0
        self.patches = <Patch*>calloc(k + 1, sizeof(Patch))
        if self.patches == NULL:
            raise MemoryError
        for i in range(self.count):
            for j in range(FN_SLOTS):
                place = &recording.places[i * FN_SLOTS + j]
                if place.origin == INPUT:
                    self.add_patch(i, j, place.which, place.offset)
                elif place.origin == OUTSIDE:
                    self.calls[i].slot[j] = place.pointer
                elif place.origin == INSIDE:
                    if place.which in output_of:
                        self.add_patch(i, j, self.input_count + output_of[place.which], place.offset)
                    else:
                        self.calls[i].slot[j] = arena + <int64_t>self.offsets[place.which] + place.offset

    def add_patch(self, int call, int slot, int which, int64_t offset):
        cdef Patch* p = &self.patches[self.patch_count]
        p.call, p.slot, p.which, p.offset = call, slot, which, offset
        self.patch_count += 1

    cdef int fit_scratch(self) except -1:
        """One scratch block serves all calls; its size depends on the number of threads."""
        cdef int i
        cdef int64_t wanted = 0
        cdef np.ndarray scratch
        if self.threads == current_threads():
            return 0
        self.threads = current_threads()
        memset(self.memos, 0, self.count * FN_MEMO)
        for i in range(self.count):
            self.calls[i].threads = self.threads
            if self.calls[i].kernel.scratch != NULL:
                wanted = max(wanted, self.calls[i].kernel.scratch(&self.calls[i]))
        scratch = empty_1d(max(1, wanted), np.NPY_UINT8)
        self.scratch_bytes = wanted
        self.keep.append(scratch)
        for i in range(self.count):
            self.calls[i].scratch = np.PyArray_DATA(scratch)
        return 0

    cdef int apply_patches(self) noexcept nogil:
        cdef int k
        cdef Patch* p
        for k in range(self.patch_count):
            p = &self.patches[k]
            self.calls[p.call].slot[p.slot] = self.bases[p.which] + p.offset
        return 0

    cdef int execute(self, int first, int stop) noexcept nogil:
        cdef int failed = run_calls(&self.calls[first], stop - first)
        return failed if failed < 0 else first + failed

    cdef int raise_failure(self, int call) except -1:
        cdef fn_call failed
        memcpy(&failed, &self.calls[call], sizeof(fn_call))
        self.calls[call].status = 0
        for p, _ in self.gradients:     # half made; an eager step has none yet where forward or loss fails
            (<Tensor>p)._grad = None
        return raise_status(&failed)

    cdef int begin(self) except -1:
        """Before a run: scratch, and the gradients as each parameter's `.grad`.

        The first run thereby lets go of the blocks of the eager runs before it touches the arena that replaces them.
        """
        self.fit_scratch()
        for p, g in self.gradients:
            (<Tensor>p)._grad = g
        if not self.begun and self.buffer_bytes > CACHED_BYTES:
            trim()
        self.begun = True
        return 0

    cdef bint fits(self, list given) except -1:
        cdef int i
        if len(given) != self.first_inputs:
            return False
        for i in range(self.first_inputs):
            if (not same_layout(<np.ndarray>given[i], <np.ndarray>self.expected[i])
                    or np.PyArray_TYPE(<np.ndarray>given[i]) != np.PyArray_TYPE(<np.ndarray>self.expected[i])):
                return False
        if not overlap_as(given, self.overlaps):
            return False
        return self.as_it_was()

    def stands(self):
        """Is the model as it was when this plan was recorded?"""
        return self.as_it_was()

    cdef bint as_it_was(self) except -1:
        cdef int i
        cdef Held* held
        for i in range(self.held_count):
            held = &self.held[i]
            if <PyObject*>(<Tensor>held.tensor).array != held.array or (<Tensor>held.tensor).requires != held.wanted:
                return False
        return self.guard.holds()

    cdef int take(self) except -1:
        cdef int got
        if PyThread_acquire_lock(self.lock, NOWAIT_LOCK):
            return 0
        while True:
            with nogil:
                got = PyThread_acquire_lock_timed(self.lock, -1, 1)
            if got != PY_LOCK_INTR:
                return 0
            PyErr_CheckSignals()

    def attempt(self, tuple inputs):
        """Run on tensors or arrays if the plan fits them; None if it does not."""
        cdef list given = [(<Tensor>x).array if isinstance(x, Tensor) else as_tensor(x).array for x in inputs]
        return self.run_part(given, 0, self.count, 0, self.output_count) if self.fits(given) else None

    def run(self, *inputs):
        """Replay the step on arrays of the recorded shapes and strides; returns the output arrays."""
        return self.run_part(list(inputs), 0, self.count, 0, self.output_count)

    def run_first(self, list inputs):
        """Replay the first part on its inputs."""
        return self.run_part(inputs, 0, self.split, 0, self.first_outputs)

    def run_second(self, list inputs):
        """Replay the second part on the inputs that it has beside those of the first."""
        return self.run_part(inputs, self.split, self.count, self.first_outputs, self.output_count)

    cdef list run_part(self, list inputs, int first, int stop, int first_output, int stop_output):
        cdef int k, failed, shift = 0 if first == 0 else self.first_inputs
        cdef list outputs = []
        cdef char* arena = <char*>np.PyArray_DATA(self.arena)
        self.take()
        try:
            if first == 0:
                self.begin()
            for k in range(len(inputs)):
                self.bases[shift + k] = <char*>np.PyArray_DATA(<np.ndarray>inputs[k])
                if arena <= self.bases[shift + k] < arena + self.buffer_bytes:      # a gradient of the run before
                    inputs[k] = copy(inputs[k])
                    self.bases[shift + k] = <char*>np.PyArray_DATA(<np.ndarray>inputs[k])
            for k in range(first_output, stop_output):
                outputs.append(self.make_output(k))
            with nogil:
                self.apply_patches()
                failed = self.execute(first, stop)
            if failed >= 0:
                self.raise_failure(failed)
        finally:
            PyThread_release_lock(self.lock)
        return outputs

    def run_batches(self, list data, order, long first, long stop, long batch_size, np.ndarray results):
        """Replay the step on batches first .. stop-1 of whole arrays; result number b goes to results[b].

        Batch b holds rows order[b * batch_size ...], or consecutive rows where order is None: those are read in place.
        Signals are looked at every 20 ms.  Returns the number of batches done.
        """
        cdef long b = first
        cdef int k, failed = -1
        cdef int64_t* rows = NULL
        cdef int64_t[MOST_INPUTS] row_bytes
        cdef char* sources[MOST_INPUTS]
        cdef char* targets[MOST_INPUTS]
        cdef double until
        cdef char* answer = <char*>np.PyArray_DATA(results)
        cdef int64_t answer_bytes = np.PyArray_ITEMSIZE(results), shift = self.templates[0][0]
        if order is not None:
            rows = <int64_t*>np.PyArray_DATA(<np.ndarray>order)
            if self.staging is None:
                self.staging = [empty_like(<np.ndarray>a) for a in self.expected]
        self.take()
        try:
            self.begin()
            for k in range(self.input_count):
                sources[k] = <char*>np.PyArray_DATA(<np.ndarray>data[k])
                row_bytes[k] = (<object>data[k]).strides[0]
                targets[k] = <char*>np.PyArray_DATA(<np.ndarray>self.staging[k]) if rows != NULL else NULL
            while b < stop and failed < 0:
                with nogil:
                    until = seconds() + 0.02
                    while b < stop:
                        for k in range(self.input_count):
                            if rows != NULL:
                                gather(targets[k], sources[k], rows + b * batch_size, batch_size, row_bytes[k])
                                self.bases[k] = targets[k]
                            else:
                                self.bases[k] = sources[k] + b * batch_size * row_bytes[k]
                        self.bases[self.input_count] = answer + b * answer_bytes - shift
                        self.apply_patches()
                        failed = self.execute(0, self.count)
                        if failed >= 0:
                            break
                        b += 1
                        self.progress = b
                        if seconds() > until:
                            break
                PyErr_CheckSignals()
            if failed >= 0:
                self.raise_failure(failed)
        finally:
            PyThread_release_lock(self.lock)
        return b

    def make_output(self, int k):
        cdef np.ndarray block
        if self.whole[k] is not None:
            block = empty_like(<np.ndarray>self.whole[k])
            self.bases[self.input_count + k] = <char*>np.PyArray_DATA(block)
            return block
        offset, size, shape, strides, dtype = self.templates[k]
        block = empty_1d(size, np.NPY_UINT8)
        self.bases[self.input_count + k] = <char*>np.PyArray_DATA(block)
        return np.ndarray(shape, dtype, block, offset, strides)

    def time_calls(self, list inputs, int repeats):
        """Mean nanoseconds of every call over `repeats` runs of the step (each a real step: parameters move)."""
        cdef int i, _r, k
        cdef double before, now
        cdef np.ndarray total = np.zeros(self.count)
        cdef double* sums = <double*>np.PyArray_DATA(total)
        self.take()
        try:
            self.fit_scratch()
            for k in range(self.input_count):
                self.bases[k] = <char*>np.PyArray_DATA(<np.ndarray>inputs[k])
            outputs = [self.make_output(k) for k in range(self.output_count)]
            with nogil:
                self.apply_patches()
                for _r in range(repeats):
                    before = seconds()
                    for i in range(self.count):
                        run_calls(&self.calls[i], 1)
                        now = seconds()
                        sums[i] += now - before
                        before = now
        finally:
            PyThread_release_lock(self.lock)
        del outputs
        return total * (1e9 / repeats)

    def calls_in_words(self):
        """One dict per call: kernel, slots with their places, FLOP and bytes."""
        cdef int i, j
        cdef list lines = []
        for i in range(self.count):
            call = &self.calls[i]
            slots = []
            for j in range(call.kernel.slots):
                if call.slot[j] != NULL:
                    slots.append((call.kernel.slot_name[j].decode(), self.describe(i, j)))
            sizes = "x".join([str(call.size[j]) for j in range(3) if call.size[j]])
            lines.append({"kernel": call.kernel.name.decode(), "sizes": sizes, "slots": slots, "flops": call.flops,
                          "bytes": call.bytes})
        return lines

    def describe(self, int call, int slot):
        cdef int k
        for k in range(self.patch_count):
            if self.patches[k].call == call and self.patches[k].slot == slot:
                which = self.patches[k].which
                return f"input {which}" if which < self.input_count else f"output {which - self.input_count}"
        cdef char* arena = <char*>np.PyArray_DATA(self.arena)
        cdef char* pointer = <char*>self.calls[call].slot[slot]
        if arena <= pointer < arena + self.buffer_bytes:
            return f"arena+{pointer - arena}"
        return "memory outside"

    @property
    def output_dtype(self):
        """dtype of the first output."""
        return self.templates[0][4]

    @property
    def arena_bytes(self):
        """Bytes of buffers and scratch."""
        return self.buffer_bytes + self.scratch_bytes
