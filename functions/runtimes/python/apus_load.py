"""Finds a function's handler in its package."""

import posix
import sys

import _frozen_importlib as bootstrap
import _frozen_importlib_external as external


def load(spec, folder):
    """The function named FILE[:NAME] below folder."""
    file, _, name = spec.partition(":")
    name = name or "handle"
    for path in (f"{folder}/vendor", folder):
        if path not in sys.path:
            sys.path.insert(0, path)
    if not file.endswith(".py"):
        raise SystemExit(f"handler {spec!r}: the file must end in .py (spec.handler: handler.py:handle)")
    module_name = file[:-3].removeprefix("./").replace("/", ".")
    path = f"{folder}/{file}"
    try:
        source = read(path)
    except OSError as error:
        raise SystemExit(f"handler {spec!r}: there is no file {file} in the package ({error.strerror})") from None
    module = nested(module_name) if "." in module_name else execute(module_name, path, source)
    handler = getattr(module, name, None)
    if not callable(handler):
        raise SystemExit(f"handler {spec!r}: {file} has no function {name}(event, context)")
    return handler


def nested(name):
    """The module of a file in a folder of the package: its parents are packages."""
    module = __import__(name)
    for part in name.split(".")[1:]:
        module = getattr(module, part)
    return module


def read(path):
    """A file's bytes."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        parts = []
        while part := posix.read(fd, posix.fstat(fd).st_size + 1):
            parts.append(part)
        return b"".join(parts)
    finally:
        posix.close(fd)


def execute(name, path, source):
    """The module that this source is, as an import would make it, without the search for where it might be: the file is
    known. What that search touches would be a fifth of what a pod has to itself, and it finds what is loaded already when
    a handler's file has the name of a module of Python's."""
    loader = external.SourceFileLoader(name, path)
    spec = bootstrap.ModuleSpec(name, loader, origin=path)
    spec.has_location = True
    module = type(sys)(name)
    module.__file__ = path
    module.__loader__ = loader
    module.__package__ = ""
    module.__spec__ = spec
    sys.modules[name] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return sys.modules[name]
