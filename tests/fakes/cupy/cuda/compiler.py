"""A stand-in for `cupy.cuda.compiler`."""


class CompileException(Exception):
    """A source that does not compile; the host's compiler raises an error of its own."""
