"""The full cidx's own index, read where it lies, and changed in nothing: the second index there is.

`theirs` is what has the port; `check` says what of an index may be believed.
"""
