"""Restricted Boltzmann machines and deep belief networks; public as `fastnn.nn.RBM`, `ClassRBM` and `DBN`."""
from fastnn.boltzmann.class_rbm import ClassRBM as ClassRBM
from fastnn.boltzmann.dbn import DBN as DBN
from fastnn.boltzmann.rbm import RBM as RBM
