"""Brand-new Debian servers on this machine, for the tests that need one; see README.md beside this
file.
"""
