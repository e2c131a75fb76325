"""fastnn: neural networks on the CPU, under torch's names."""
from fastnn.checkout import built_path

__path__ = built_path(__path__)     # a checkout may hide the installed package

from fastnn.version import __version__ as __version__
