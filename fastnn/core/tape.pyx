"""Reverse-mode differentiation: nodes made by ops, and the loop that walks them back.

A node is created after the nodes of its inputs, so descending creation order is a topological order: backward collects
what is reachable, sorts it by `sequence` and visits each node once, with the sum of the gradients of its output.
"""
cimport numpy as np
from libc.stdlib cimport free as c_free

import numpy as np

from fastnn.core.launch cimport current_recorder, host_call, recorder_listens

np.import_array()

cdef extern from *:
    """
    static __thread int fn_grad_on = 1;
    static __thread int fn_inference_on = 0;
    static int fn_get_grad(void) { return fn_grad_on; }
    static void fn_set_grad(int on) { fn_grad_on = on; }
    static int fn_get_inference(void) { return fn_inference_on; }
    static void fn_set_inference(int on) { fn_inference_on = on; }
    """
    int fn_get_grad() noexcept nogil
    void fn_set_grad(int on) noexcept nogil
    int fn_get_inference() noexcept nogil
    void fn_set_inference(int on) noexcept nogil

cdef long sequence_counter = 0
cdef long run_counter = 0


cdef bint grad_enabled() noexcept nogil:
    return fn_get_grad()

cdef void set_grad_enabled(bint on) noexcept nogil:
    fn_set_grad(on)

cdef bint inference_enabled() noexcept nogil:
    return fn_get_inference()

cdef void set_inference_enabled(bint on) noexcept nogil:
    fn_set_inference(on)

cdef long next_sequence() noexcept:
    global sequence_counter
    sequence_counter += 1
    return sequence_counter


cdef class Node:
    """One operation on the tape.  A rule subclasses it, keeps what it needs in a, b, c, d and defines `backward`."""

    def __cinit__(self):
        self.index = NULL
        self.outputs = 1
        self.sequence = next_sequence()

    def __dealloc__(self):
        if self.index != NULL:
            c_free(self.index)

    cdef object backward(self, np.ndarray grad):
        raise NotImplementedError(f"{type(self).__name__} has no backward rule")

    cdef object backward_many(self, list grads):
        raise NotImplementedError(f"{type(self).__name__} has no backward rule for several outputs")

    cdef object derivative(self, object grad, tuple wanted):
        raise no_derivative(self.name)

    cdef bint aliases(self):
        return False

    cdef int free(self) except -1:
        self.a = self.b = self.c = self.d = self.extra = None
        self.watched_a = self.watched_b = self.watched_c = None
        self.freed = True
        return 0

    cdef int receive(self, int index, np.ndarray grad, bint fresh) except -1:
        """Add to the gradient of one output."""
        cdef object held
        if self.outputs == 1:
            held = self.grads
            if held is None:
                self.grads = grad
                self.fresh = fresh
            else:
                self.grads = add(held, grad, self.fresh)
                self.fresh = True
            return 0
        if self.grads is None:
            self.grads = [None] * self.outputs
        held = (<list>self.grads)[index]
        (<list>self.grads)[index] = grad if held is None else add(held, grad, False)
        return 0

    @property
    def name(self):
        return type(self).__name__

    @property
    def next_functions(self):
        return tuple((n, 0 if self.index == NULL else self.index[i]) for i, n in enumerate(self.nodes or ()))

    def __repr__(self):
        return f"<{type(self).__name__}>"


def no_derivative(str name):
    """The error of an operation that has a first gradient only."""
    return NotImplementedError(f"create_graph=True: {name} has no rule for a gradient of its gradient; every path through it must be left "
                               "out, e.g. by detach()")


cdef class Leaf(Node):
    cdef int accumulate(self, np.ndarray grad, bint fresh) except -1:
        raise NotImplementedError


cdef array_add add_kernel = NULL
cdef array_copy copy_kernel = NULL
cdef object wrap_array = None

cdef int set_array_kernels(array_add add, array_copy copy) except -1:
    global add_kernel, copy_kernel
    add_kernel, copy_kernel = add, copy
    return 0

cdef int set_wrapper(object function) except -1:
    global wrap_array
    wrap_array = function
    return 0

cdef object add(object a, object b, bint in_place):
    """a + b; the sum may overwrite a when in_place."""
    if add_kernel != NULL:
        return add_kernel(<np.ndarray>a, <np.ndarray>b, in_place)
    return host_call("add", np.add, (a, b))

cdef object copy(object a):
    if copy_kernel != NULL:
        return copy_kernel(<np.ndarray>a)
    return host_call("copy", np.array, (a,))


cdef int check_saved(Node node) except -1:
    if node.freed:
        raise RuntimeError(
            "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
            "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
            "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
            "saved tensors after calling backward.")
    if ((node.watched_a is not None and node.watched_a.version != node.seen_a)
            or (node.watched_b is not None and node.watched_b.version != node.seen_b)
            or (node.watched_c is not None and node.watched_c.version != node.seen_c)):
        raise changed(node)
    return 0


cdef object changed(Node node):
    return RuntimeError("one of the variables needed for gradient computation has been modified by an inplace operation: "
                        f"{node.name} saved a tensor that was changed afterwards")


cdef bint anomaly = False

cdef bint checks_nan() noexcept:
    return anomaly


def set_check_nan(bint on):
    """Shall a backward run stop where a rule gives NaN?  Gives what held before."""
    global anomaly
    before = anomaly
    anomaly = on
    return before


cdef int check_nan(Node node, object found) except -1:
    for i, g in enumerate(found if type(found) is tuple else (found,)):
        if g is not None and np.isnan(g).any():
            raise RuntimeError(f"Function '{node.name}' returned nan values in its {i}th output.")
    return 0


cdef list reachable(list roots, long mark):
    """Every node under the roots, newest first."""
    cdef list stack = [], found = []
    cdef Node node, child
    cdef bint sorted_already = True
    for root in roots:
        node = <Node>root[0]
        if node.mark != mark:
            node.mark = mark
            stack.append(node)
    while stack:
        node = <Node>stack.pop()
        if found and (<Node>found[len(found) - 1]).sequence < node.sequence:
            sorted_already = False
        found.append(node)
        if node.nodes is not None:
            for item in node.nodes:
                if item is not None:
                    child = <Node>item
                    if child.mark != mark:
                        child.mark = mark
                        stack.append(child)
    if not sorted_already:
        found.sort(key=newest_first)
    return found


def newest_first(Node node):
    return -node.sequence


def comes_last(hook):
    return getattr(hook, "last", False)


cdef object call_hooks(Node node, int index, object grad):
    """Tensor hooks see a Tensor and may replace the gradient."""
    cdef object wrapped, answer
    if recorder_listens():
        current_recorder().record_host("a tensor hook is Python code", None, (), None)
    for hook in sorted(node.hooks.get(index, ()), key=comes_last):
        wrapped = wrap_array(grad)
        answer = hook(wrapped)
        if answer is not None:
            grad = answer.array
    return grad

cdef int run(list roots, bint retain_graph, dict capture, bint accumulate) except -1:
    global run_counter
    cdef Node node
    cdef object grads, g
    cdef tuple many
    cdef int i, n
    cdef bint fresh
    cdef bint grad_was_on = grad_enabled()
    run_counter += 1
    cdef list order = reachable(roots, run_counter), outer = None
    for item in order:      # a run inside a rule of another run: what that one has gathered so far is not ours
        node = <Node>item
        if node.grads is not None:
            if outer is None:
                outer = []
            outer.append((node, node.grads, node.fresh))
            node.grads = None
    set_grad_enabled(False)
    try:
        for root in roots:
            (<Node>root[0]).receive(root[1], root[2], False)
        for item in order:
            node = <Node>item
            grads = node.grads
            if grads is None:
                continue
            node.grads = None
            fresh = node.fresh
            node.fresh = False
            if node.hooks is not None:
                if node.outputs == 1:
                    grads = call_hooks(node, 0, grads)
                else:
                    for i in range(node.outputs):
                        if (<list>grads)[i] is not None:
                            (<list>grads)[i] = call_hooks(node, i, (<list>grads)[i])
                fresh = False
            if capture is not None:
                for i in range(node.outputs):
                    if (node, i) in capture:
                        capture[node, i] = grads if node.outputs == 1 else (<list>grads)[i]
            if node.nodes is None:          # a leaf
                if accumulate:
                    (<Leaf>node).accumulate(grads, fresh)
                continue
            check_saved(node)
            if node.outputs == 1:
                g = node.backward(<np.ndarray>grads)
            else:
                g = node.backward_many(<list>grads)
            if anomaly:
                check_nan(node, g)
            fresh = not node.aliases()
            if type(g) is tuple:
                many = <tuple>g
                n = len(many)
                for i in range(n):
                    if many[i] is not None and node.nodes[i] is not None:
                        (<Node>node.nodes[i]).receive(0 if node.index == NULL else node.index[i], many[i], fresh)
            elif g is not None and node.nodes[0] is not None:
                (<Node>node.nodes[0]).receive(0 if node.index == NULL else node.index[0], g, fresh)
            if not retain_graph:
                node.free()
    except BaseException:
        for item in order:
            (<Node>item).grads = None
        raise
    finally:
        set_grad_enabled(grad_was_on)
        if outer is not None:
            for item, grads, fresh in outer:
                (<Node>item).grads, (<Node>item).fresh = grads, fresh
    return 0
