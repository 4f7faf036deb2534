"""The command line of `python -m monai.bundle run`, on which a mistyped id would otherwise change nothing."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from monai.bundle import ConfigParser

from ulite_monai.errors import InputError

__all__ = ["require_ids", "require_known_ids"]

# What the command takes itself, as of MONAI 1.6.
OF_MONAI = {
    *("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"),
    *("bundle_root", "workflow_type", "workflow_name"),
}


def require_known_ids(arguments: Sequence[str]) -> None:
    """Refuse an id that none of the configuration files on the command line has.

    Args:
        arguments: those of a `python -m monai.bundle run`; of any other command, nothing is checked.

    Raises:
        InputError: It names the id, and the nearest one that there is.
    """
    given = dict(_options(arguments))
    require_ids(given.keys() - OF_MONAI, _files(given.get("config_file", "")))


def require_ids(names: Iterable[str], files: Iterable[str | Path]) -> None:
    """Refuse an id that none of some configuration files has; where none of them can be read, nothing is checked.

    Raises:
        InputError: It names the id, and the nearest one that there is.
    """
    known = set().union(*(_ids(file) for file in files))
    wanted = (name.replace("::", "#").partition("#")[0] for name in names)
    for name in sorted({*wanted} - known if known else ()):
        near = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f"did you mean --{near[0]}?" if near else "the ids are the first lines of the configuration."
        raise InputError(f"--{name}: no configuration has this id; {hint}")


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each `--id value` or `--id=value`."""
    for number, argument in enumerate(arguments):
        if argument.startswith("--") and len(argument) > 2:
            name, mark, value = argument[2:].partition("=")
            following = value if mark else " ".join(arguments[number + 1 : number + 2])
            yield name.replace("-", "_"), following


def _files(text: str) -> list[str]:
    """The files of `--config_file`: one, or a list as Python writes it."""
    if not text.startswith("["):
        return [text] if text else []
    try:
        return [str(name) for name in ast.literal_eval(text)]
    except (SyntaxError, ValueError):  # ['a.json',b.json]: the words as they are
        return [name.strip(" '\"") for name in text.strip("[]").split(",")]


def _ids(file: str | Path) -> set[str]:
    """The ids on the first level of a JSON or YAML file; none where it isn't one that can be read."""
    try:
        content = ConfigParser.load_config_file(file)
    except (OSError, ValueError, ImportError):  # YAML needs its package
        return set()
    return {name.lstrip("+").replace("::", "#").partition("#")[0] for name in content}
