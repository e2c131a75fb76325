"""Build: the C micro-kernels once per instruction set, then the Cython modules that drive them.

The one table of compiler flags is ISA below; but for csrc/isa/amx.c, which asks for its own, nothing else in the project names a flag.
Environment: FASTNN_CFLAGS is appended to every compile line (sanitizers, -g), FASTNN_LDFLAGS to every link line (default on
Linux: strip the symbols, and no page of padding around the code of each of the seventy modules).
"""
import os
import platform
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

X86 = {
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mprfchw", "-mprefer-vector-width=512"],
    "avx2": ["-mavx2", "-mfma", "-mprfchw"],
    "baseline": [],
}
ISA = X86 if platform.machine().lower() in ("x86_64", "amd64") else {"neon": []}
# -ffp-contract=fast: a*b + c is one FMA where the instruction set has it.  Never -ffast-math.  No unwind tables: nothing is thrown
# through the kernels, and their tables would be 170 kB of 12 MB.
COMMON = ["-std=gnu11", "-O3", "-Wall", "-Wextra", "-ffp-contract=fast", "-fvisibility=hidden", "-fno-math-errno",
          "-fno-trapping-math", "-fno-asynchronous-unwind-tables", "-g0", "-MMD"]
# Cython's generated C is not ours to warn about, and throws nothing either.
CYTHON = ["-O2", "-g0", "-MMD", "-fno-asynchronous-unwind-tables", "-Wno-unused-function", "-Wno-unused-parameter", "-Wno-sign-compare",
          "-Wno-missing-field-initializers", "-Wno-cast-function-type", "-fno-math-errno"]
# Modules of which no call is one of many in a small step: -Os makes them a fifth smaller, and a quarter slower where Python's part is all.
SELDOM = {"fastnn.core.function", "fastnn.core.fusion", "fastnn.core.grad_mode", "fastnn.core.plan", "fastnn.core.random",
          "fastnn.core.recording", "fastnn.ops.axis_map", "fastnn.ops.boltzmann", "fastnn.ops.distance", "fastnn.ops.embedding",
          "fastnn.ops.group_normalization", "fastnn.ops.loss_rows", "fastnn.ops.pooling", "fastnn.ops.power", "fastnn.ops.region"}
EXTRA = shlex.split(os.environ.get("FASTNN_CFLAGS", ""))
EXTRA_LINK = shlex.split(os.environ.get("FASTNN_LDFLAGS", "-Wl,--strip-all -Wl,-z,noseparate-code" if sys.platform == "linux" else ""))
JOBS = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def modules():
    """One extension per .pyx; only kernels/native links the C objects, the others reach them through it."""
    for path in sorted(glob("fastnn/**/*.pyx", recursive=True)):
        name = path[:-4].replace("/", ".")
        yield Extension(name, [path], include_dirs=[numpy.get_include(), "csrc"],
                        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
                        extra_compile_args=CYTHON + ["-Os"] * (name in SELDOM) + EXTRA, extra_link_args=EXTRA_LINK)


def dependencies(target):
    """What an object was compiled from, by the compiler's own account (-MMD); None when it was not compiled yet."""
    try:
        with open(target[:-2] + ".d") as f:
            return f.read().replace("\\\n", " ").split(":", 1)[1].split()
    except OSError:
        return None


def is_current(target):
    """Is an object newer than everything it was compiled from?"""
    sources = dependencies(target)
    return sources is not None and os.path.exists(target) and all(
        os.path.exists(s) and os.path.getmtime(s) < os.path.getmtime(target) for s in sources)


class BuildExt(build_ext):
    """Compiles csrc/micro/*.c once per instruction set, csrc/*.c and csrc/isa/*.c once, in parallel, and links them into native."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or JOBS

    def run(self):
        """Build; in place, a module that fails keeps none of the others from being put where it belongs."""
        in_place = self.inplace
        try:
            super().run()
        except Exception:
            if in_place:
                self.extensions = [e for e in self.extensions if os.path.exists(
                    os.path.join(self.build_lib, self.get_ext_filename(e.name)))]
                self.copy_extensions_to_source()
            raise

    def build_extensions(self):
        native = next(e for e in self.extensions if e.name == "fastnn.kernels.native")
        native.extra_objects = self.micro_kernels()
        native.depends = [*native.depends, *native.extra_objects]     # link again when one was compiled again
        native.extra_link_args = [*native.extra_link_args, "-pthread", "-lm"]
        super().build_extensions()

    def build_extension(self, extension):
        target = os.path.join(self.build_temp, extension.sources[0].rsplit(".", 1)[0] + ".o")
        extension.depends = [*extension.depends, *(dependencies(target) or [])]
        super().build_extension(extension)

    def micro_kernels(self):
        flags = " ".join([*COMMON, *EXTRA])
        jobs = [(source, "common", [f'-DFN_FLAGS="{flags}"']) for source in sorted([*glob("csrc/*.c"), *glob("csrc/isa/*.c")])]
        jobs += [(source, isa, [f"-DFN_ISA={isa}", *flags]) for source in sorted(glob("csrc/micro/*.c"))
                 for isa, flags in ISA.items()]

        def compile_one(job):
            source, isa, flags = job
            folder = os.path.join(self.build_temp, isa)
            target = os.path.join(folder, source[:-2] + ".o")
            if is_current(target):
                return target
            return self.compiler.compile([source], output_dir=folder, include_dirs=["csrc"],
                                         extra_postargs=[*COMMON, "-pthread", *flags, *EXTRA])[0]

        with ThreadPoolExecutor(JOBS) as pool:
            return list(pool.map(compile_one, jobs))


DIRECTIVES = {"language_level": 3, "cdivision": True, "initializedcheck": False, "embedsignature": True,
              "embedsignature.format": "python"}


if __name__ == "__main__":
    setup(ext_modules=cythonize(list(modules()), compiler_directives=DIRECTIVES, nthreads=JOBS), cmdclass={"build_ext": BuildExt})
