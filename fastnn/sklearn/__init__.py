"""Estimators with scikit-learn's interface.  Needs scikit-learn (the extra `sklearn`); nothing else in fastnn does."""
from importlib import import_module as _import_module

try:
    _import_module("sklearn")
except ImportError as error:
    raise ImportError("fastnn.sklearn needs scikit-learn, which is not installed: pip install 'fastnn-cpu[sklearn]'",
                      name="sklearn") from error

from fastnn.sklearn.class_rbm import ClassRBMClassifier as ClassRBMClassifier
from fastnn.sklearn.dbn import DBNClassifier as DBNClassifier
from fastnn.sklearn.dbn import DBNRegressor as DBNRegressor
from fastnn.sklearn.rbm import BernoulliRBM as BernoulliRBM
from fastnn.sklearn.rbm import GaussianRBM as GaussianRBM
from fastnn.sklearn.recommender import RBMRecommender as RBMRecommender
from fastnn.sklearn.topics import ReplicatedSoftmax as ReplicatedSoftmax
