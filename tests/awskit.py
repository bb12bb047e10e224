"""Botocore's session for the bare clients of tests: each session reads the models anew, which takes a tenth of a second."""

from aiobotocore.session import get_session

session = get_session()
