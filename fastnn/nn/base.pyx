"""What every Module is made of: registries of parameters, buffers and children, attribute assignment, and the call.

In C because every layer of every step comes through here.  An entry of a registry is also an ordinary attribute of the
module, so reading `self.weight` costs a plain attribute lookup and no search through the registries.
"""
cimport cython
from cpython.object cimport PyObject
from weakref import ref

from fastnn.core.tensor cimport Parameter, Tensor

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object o, object name, PyObject* value) except -1
    Py_ssize_t PyDict_Size(object d)
    Py_ssize_t PyTuple_GET_SIZE(object t)

cdef extern from *:
    """
    static PyObject* fn_call_forward(PyObject* name, PyObject* self, PyObject* args) {
        PyObject* stack[3] = {NULL, self, PyTuple_GET_ITEM(args, 0)};
        return PyObject_VectorcallMethod(name, stack + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    """
    object fn_call_forward(object name, object self, object args)

cdef str FORWARD = "forward"
cdef object MISSING = object()


def type_name(x):
    """The name of x's type as messages give it."""
    kind = type(x)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class Registry(dict):
    """Name -> parameter, buffer or child; every change is mirrored as an attribute of the module that owns it."""

    __slots__ = ("owner",)

    def __init__(self, owner, entries=()):
        self.owner = owner
        self.update(entries)

    def __setitem__(self, name, value):
        dict.__setitem__(self, name, value)
        module = self.owner()
        if module is not None:
            PyObject_GenericSetAttr(module, name, <PyObject*>value)

    def __delitem__(self, name):
        dict.__delitem__(self, name)
        module = self.owner()
        if module is not None:
            module.__dict__.pop(name, None)

    def pop(self, name, *default):
        if name not in self and default:
            return default[0]
        value = self[name]
        del self[name]
        return value

    def popitem(self):
        name = next(reversed(self), MISSING)
        if name is MISSING:
            raise KeyError("popitem(): dictionary is empty")
        return name, self.pop(name)

    def clear(self):
        for name in list(self):
            del self[name]

    def setdefault(self, name, default=None):
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *entries, **named):
        for name, value in dict(*entries, **named).items():
            self[name] = value

    def __ior__(self, entries):
        self.update(entries)
        return self

    def __reduce__(self):
        return dict, (dict(self),)


@cython.auto_pickle(False)
cdef class ModuleBase:
    """Registries, hooks, attribute assignment and the call of a Module."""
    cdef readonly object _parameters, _buffers, _modules
    cdef public set _non_persistent_buffers_set
    cdef public object _forward_pre_hooks, _forward_hooks, _backward_pre_hooks, _backward_hooks
    cdef object __weakref__

    def _start(self, parameters=(), buffers=(), modules=(), non_persistent=()):
        """Make (or, when unpickling, fill) the registries."""
        owner = ref(self)
        self._parameters = Registry(owner, parameters)
        self._buffers = Registry(owner, buffers)
        self._modules = Registry(owner, modules)
        self._non_persistent_buffers_set = set(non_persistent)
        self._forward_pre_hooks, self._forward_hooks = {}, {}
        self._backward_pre_hooks, self._backward_hooks = {}, {}
        for name in FIELDS:     # also where vars(module) shows them
            self.__dict__[name] = getattr(self, name)

    def __call__(self, *args, **kwargs):
        if self._parameters is None:
            raise AttributeError(f"'{type(self).__name__}' object was called before Module.__init__() call")
        if (PyDict_Size(self._forward_pre_hooks) or PyDict_Size(self._forward_hooks)
                or PyDict_Size(self._backward_pre_hooks) or PyDict_Size(self._backward_hooks)):
            return self._call_with_hooks(args, kwargs)
        if PyTuple_GET_SIZE(args) == 1 and not kwargs:
            return fn_call_forward(FORWARD, self, args)
        return self.forward(*args, **kwargs)

    def __setattr__(self, str name, value):
        cdef object parameters = self._parameters
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._leave(name, parameters)
            self.register_parameter(name, value)
        elif isinstance(value, ModuleBase):
            if parameters is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._leave(name, self._modules)
            self._modules[name] = value
        elif parameters is None:
            PyObject_GenericSetAttr(self, name, <PyObject*>value)
        elif name in parameters:
            if value is not None:
                raise TypeError(f"cannot assign '{type_name(value)}' as parameter '{name}' "
                                "(torch.nn.Parameter or None expected)")
            parameters[name] = None
        elif name in self._modules:
            if value is not None:
                raise TypeError(f"cannot assign '{type_name(value)}' as child module '{name}' "
                                "(torch.nn.Module or None expected)")
            self._modules[name] = None
        elif name in self._buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign '{type_name(value)}' as buffer '{name}' "
                                "(torch.Tensor, torch.nn.Buffer or None expected)")
            self._buffers[name] = value
        else:
            PyObject_GenericSetAttr(self, name, <PyObject*>value)

    def __delattr__(self, str name):
        if self._parameters is not None:
            for entries in (self._parameters, self._buffers, self._modules):
                if name in entries:
                    del entries[name]
                    self._non_persistent_buffers_set.discard(name)
                    return
        PyObject_GenericSetAttr(self, name, NULL)

    def _leave(self, name, registry):
        """A name has one meaning: take it out of the other registries."""
        for entries in (self._parameters, self._buffers, self._modules):
            if entries is not registry and name in entries:
                del entries[name]
                self._non_persistent_buffers_set.discard(name)
        if name not in registry:
            self.__dict__.pop(name, None)

    def __getstate__(self):
        return {name: value.copy() if name in FIELDS else value for name, value in self.__dict__.items()
                if name not in self._parameters and name not in self._buffers and name not in self._modules}

    def __setstate__(self, state):
        state = dict(state)
        parameters, buffers, modules, non_persistent = [state.pop(name, ()) for name in FIELDS[:4]]
        self._start(parameters, buffers, modules, non_persistent)
        for name in FIELDS[4:]:
            getattr(self, name).update(state.pop(name, ()))
        self.__dict__.update(state)


FIELDS = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_forward_pre_hooks", "_forward_hooks",
          "_backward_pre_hooks", "_backward_hooks")


def run_chain(modules, x):
    """Call modules one after the other, each with the result of the one before."""
    for module in modules:
        x = module(x)
    return x
