"""The daemon that owns the stores, its protocol, its clients and its command line."""

__version__ = "0.1.0"
