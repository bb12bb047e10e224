"""One file a backend, each knowing only the base, the errors and its driver."""
