"""The daemon that owns the stores, its protocol, its clients and its command line."""
