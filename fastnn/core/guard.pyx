"""Has anything changed that Python code of a step may have looked at?

A plan replays kernel calls and none of the Python around them.  So it stands only while the attributes of the modules,
their hooks, the options of the optimizer and its state are the objects that they were.  Before Python 3.12 a dict has a
tag that every change of it renews: where the tag is the one last seen, its entries need no look.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

cdef extern from "Python.h":        # with borrowed pointers: looking at an entry must cost no more than a comparison
    int PyDict_Next(PyObject* d, Py_ssize_t* position, PyObject** key, PyObject** value)
    Py_ssize_t PyDict_Size(PyObject* d)

cdef tuple SCALARS = (bool, int, float, str, tuple)


cdef bint same(object a, object b):
    """One object, or two equal numbers, strings or tuples of those."""
    if a is b:
        return True
    if type(a) is not type(b) or type(a) not in SCALARS:
        return False
    if type(a) is not tuple:
        return a == b
    if len(a) != len(b):
        return False
    for x, y in zip(a, b):
        if not same(x, y):
            return False
    return True


@cython.binding(False)     # so that CPython checks the type of self where a method is called unbound
cdef class Guard:
    """The present contents of dicts and lists.

    Parameters
    ----------
    dicts : iterable of dict
    loose : iterable of (dict, set of str)
        Dicts with keys whose value may change as long as it stays zero or stays different from zero: options that the
        kernels read from memory.
    flat : iterable of dict
        Dicts whose values count, but not what these hold: the switches of a module.
    """

    def __init__(self, dicts, loose=(), flat=()):
        self.dicts, self.lists, self.keys, self.values, self.items, self.loose = [], [], [], [], [], set()
        self.known = set()
        for d in dicts:
            self.add(d, frozenset(), True)
        for d, keys in loose:
            self.add(d, keys, True)
        for d in flat:
            self.add(d, frozenset(), False)
        cdef Py_ssize_t i
        self.count = len(self.dicts)
        self.expected = <Entry*>calloc(len(self.keys) + 1, sizeof(Entry))
        self.watched = <Watched*>calloc(self.count + 1, sizeof(Watched))
        if self.expected == NULL or self.watched == NULL:
            raise MemoryError
        for i in range(len(self.keys)):
            self.expected[i] = Entry(<PyObject*>self.keys[i], <PyObject*>self.values[i])
        for i in range(self.count):
            self.watched[i] = Watched(<PyObject*>self.dicts[i], len(self.dicts[i]), tag_of(<PyObject*>self.dicts[i]))

    def __dealloc__(self):
        free(self.expected)
        free(self.watched)

    def add(self, d, loose, deep):
        """Remember a dict, and what is in the dicts and lists that it holds."""
        if id(d) in self.known:
            return
        self.known.add(id(d))
        self.dicts.append(d)
        for key, value in dict.items(d):
            if key in loose:
                self.loose.add(len(self.keys))
            self.keys.append(key)
            self.values.append(value)
        for value in list(d.values()) if deep else ():
            if isinstance(value, dict):
                self.add(value, loose, False)
            elif isinstance(value, list):
                self.lists.append(value)
                self.items.append(list(value))

    cdef bint holds(self) except -1:
        return self.compare() is None

    def difference(self):
        """The first key whose value is another one, None when all is as it was."""
        return self.compare()

    cdef object compare(self):
        cdef Py_ssize_t position, size, i, j, k = 0
        cdef PyObject* key
        cdef PyObject* value
        cdef PyObject* d
        cdef uint64_t tag
        cdef list now, before
        for i in range(self.count):
            d, size, tag = self.watched[i].dict, self.watched[i].size, tag_of(self.watched[i].dict)
            if tag and tag == self.watched[i].tag:
                k += size
                continue
            if PyDict_Size(d) != size:
                return ", ".join(sorted(str(name) for name in set(<object>d).symmetric_difference(self.keys[k:k + size])))
            position = 0
            while PyDict_Next(d, &position, &key, &value):
                if (value != self.expected[k].value or key != self.expected[k].key) and not self.alike(k, <object>key, <object>value):
                    return str(<object>key)
                k += 1
            self.watched[i].tag = tag
        for i in range(len(self.lists)):
            now, before = <list>self.lists[i], <list>self.items[i]
            if len(now) != len(before):
                return "a list"
            for j in range(len(before)):
                if now[j] is not before[j] and not same(now[j], before[j]):
                    return "a list"
        return None

    def alike(self, entry, key, value):
        """May entry number `entry` hold this instead?"""
        if not same(key, self.keys[entry]):
            return False
        if entry in self.loose:
            return bool(value) == bool(self.values[entry])
        return same(value, self.values[entry])
