"""Backward through a compiled module: one node on the tape for the whole of it.

While a module is recorded, its own graph runs inside that node: its forward at once, its backward when the gradients
arrive; both parts are recorded.  Later the node replays the second part of the plan instead.
"""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.launch cimport Recorder, current_recorder, set_recorder
from fastnn.core.plan cimport Plan
from fastnn.core.recording cimport Recording
from fastnn.core.tape cimport Node, copy
from fastnn.core.tensor cimport Tensor, attach_outputs, wrap

from fastnn.core.backward import grad

np.import_array()

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)


cdef list in_c_order(list grads, list like):
    """The incoming gradients, zeros where none came, in C order: what the plan's second part reads."""
    cdef list found = []
    for g, shape_of in zip(grads, like):
        if g is None:
            g = np.zeros((<object>shape_of).shape, (<object>shape_of).dtype)
        found.append(g if PyArray_IS_C_CONTIGUOUS(<np.ndarray>g) else copy(g))
    return found


@cython.final
cdef class RecordedBackward(Node):
    """The module's own graph, recorded as it runs.  a: outputs inside, b: leaves, c: what to do when done."""
    cdef Recording recording

    cdef object backward(self, np.ndarray g):
        return self.backward_many([g])

    cdef object backward_many(self, list grads):
        cdef list outputs = self.a, leaves = self.b
        grads = in_c_order(grads, [(<Tensor>t).array for t in outputs])
        if self.recording is None:      # once more through a retained graph: it was recorded the first time
            found = grad(outputs, leaves, [wrap(g) for g in grads], True, allow_unused=True)
            return tuple([None if t is None else (<Tensor>t).array for t in found])
        self.recording.inputs.extend(grads)
        cdef int split = self.recording.count
        cdef Recorder before = current_recorder()
        set_recorder(self.recording)
        try:
            # Retained inside: this node cannot know whether it will be run again; freeing it frees the graph inside.
            found = grad(outputs, leaves, [wrap(g) for g in grads], True, allow_unused=True)
        finally:
            set_recorder(before)
        arrays = [None if t is None else (<Tensor>t).array for t in found]
        recording, self.recording = self.recording, None
        self.c(recording, split, [a for a in arrays if a is not None], [a is not None for a in arrays])
        return tuple(arrays)

    cdef bint aliases(self):
        return True


@cython.final
cdef class PlanBackward(Node):
    """The second part of a plan.  a: the plan, b: outputs, c: which leaves have a gradient."""
    cdef Plan plan
    cdef bint spent

    cdef object backward(self, np.ndarray g):
        return self.backward_many([g])

    cdef object backward_many(self, list grads):
        if self.spent:      # the first run has reused the memory of what the forward saved
            raise RuntimeError("a compiled module cannot be run backward twice with retain_graph=True: call the module itself")
        self.spent = True
        found = iter(self.plan.run_second(in_c_order(grads, self.b)))
        return tuple([next(found) if present else None for present in self.c])

    cdef int free(self) except -1:
        if self.plan is not None:
            self.plan.busy = False
        return Node.free(self)

    def __dealloc__(self):
        if self.plan is not None:
            self.plan.busy = False


def record_module(Recording recording, run, list leaves, done):
    """Run a module under the recorder and return its outputs, cut from its own graph, on one node.

    `run()` returns (outputs, leaves inside): the module's output tensors, and the tensors in its graph that stand for
    `leaves`; `done(recording, split, gradients, present)` is called when the backward was recorded as well.
    """
    cdef Recorder before = current_recorder()
    set_recorder(recording)
    try:
        outputs, inside = run()
    finally:
        set_recorder(before)
    cdef RecordedBackward node = RecordedBackward()
    node.recording, node.a, node.b, node.c = recording, outputs, inside, done
    return attach_outputs([(<Tensor>t).array for t in outputs], node, leaves)


def replay_module(Plan plan, list inputs, list leaves, list present):
    """Replay the first part of a plan; the outputs' node will replay the second.  None while a backward is outstanding."""
    cdef Tensor first
    if plan.busy:
        return None
    arrays = [(<Tensor>t).array for t in inputs]
    plan.busy = True        # before the run drops the GIL: one plan has room for one graph
    try:
        outputs = plan.run_first(arrays)
    except BaseException:
        plan.busy = False
        raise
    cdef PlanBackward node = PlanBackward()
    node.plan, node.b, node.c, node.d = plan, outputs, present, arrays
    made = attach_outputs(outputs, node, leaves)
    first = inputs[0]
    node.watched_a, node.seen_a = first.storage(), first.storage().version
    first = made[0]
    node.watched_b, node.seen_b = first.storage(), first.storage().version
    return made
