"""Switches of gradient recording, each usable as `with` block and as decorator; they act on the calling thread only."""
import functools
import inspect

from fastnn.core.tape cimport grad_enabled, inference_enabled, set_grad_enabled as switch, set_inference_enabled


def is_grad_enabled():
    """Is gradient recording on in this thread?"""
    return grad_enabled()


def is_inference_mode_enabled():
    """Is this thread inside `inference_mode`?"""
    return inference_enabled()


cdef class Mode:
    """A context manager that sets gradient recording and restores it; `mode()(function)` or `@mode()` decorates."""
    cdef bint on, before, inference_before
    cdef bint inference

    def __enter__(self):
        self.before = grad_enabled()
        self.inference_before = inference_enabled()
        switch(self.on)
        if self.inference:
            set_inference_enabled(not self.on)
        return self

    def __exit__(self, kind, value, traceback):
        switch(self.before)
        set_inference_enabled(self.inference_before)
        return False

    def __call__(self, function):
        make = self.clone
        if inspect.isgeneratorfunction(function):
            @functools.wraps(function)
            def generator(*args, **kwargs):
                with make():
                    yield from function(*args, **kwargs)
            return generator

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with make():
                return function(*args, **kwargs)
        return wrapped

    def clone(self):
        cdef Mode other = type(self).__new__(type(self), *self.arguments())
        return other

    def arguments(self):
        return ()


cdef class no_grad(Mode):
    """Record no gradients inside.

    Examples
    --------
    >>> import fastnn
    >>> x = fastnn.ones(2, requires_grad=True)
    >>> with fastnn.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """
    def __cinit__(self, *args):
        self.on = False


cdef class enable_grad(Mode):
    """Record gradients inside, also within `no_grad`."""
    def __cinit__(self, *args):
        self.on = True


cdef class inference_mode(Mode):
    """As `no_grad`; the results are ordinary tensors that never require grad."""
    def __cinit__(self, mode=True, *args):
        self.on = not mode
        self.inference = True

    def arguments(self):
        return (not self.on,)


cdef class set_grad_enabled(Mode):
    """Turn recording on or off, at once (as a function) and until the end of a `with` block."""
    def __cinit__(self, bint mode):
        self.on = mode
        self.before = grad_enabled()
        switch(mode)

    def __enter__(self):
        return self

    def clone(self):
        return set_grad_enabled(self.on)
