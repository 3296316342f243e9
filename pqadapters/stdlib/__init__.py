"""Durable mirrors of standard-library modules: same names, signatures, exceptions and results."""
