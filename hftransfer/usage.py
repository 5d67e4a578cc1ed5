"""Words on the command line that fit no command: told as every other fault is, and completed in shells."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from hftransfer.base.errors import must_be, nearest, printable
from hftransfer.base.shipped import shipped_recipes

if TYPE_CHECKING:

    class UsageError(Exception):
        """What Typer raises of words that fit no command."""

        ctx: Any
        message: str

        def __init__(self, message: str, ctx: Any = None) -> None: ...
else:
    # Typer has a Click of its own in newer versions; what it raises is a parent of an error that it shows.
    UsageError = typer.BadParameter.__mro__[1]

_PLAIN = {"a valid integer": "a whole number", "a valid number": "a number"}


class Commands(TyperGroup):
    """A group of commands whose faults have the form of all others, and exit status 2."""

    @override
    def make_context(self, *given: Any, **options: Any) -> Any:
        with _told():
            return super().make_context(*given, **options)

    @override
    def invoke(self, ctx: Any) -> Any:
        with _told():
            return super().invoke(ctx)

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        # While a shell completes, half a word is no fault.
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            known = nearest(name, self.list_commands(ctx))
            raise UsageError(must_be("the command", f"a command of '{ctx.command_path}'", f"'{name}'", known), ctx)
        return super().resolve_command(ctx, args)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help, and no fault
            raise
        print(printable(f"error: {fault_of(error)}"), file=sys.stderr)
        if error.ctx is not None:
            print(f"Help: {error.ctx.command_path} --help", file=sys.stderr)
        raise SystemExit(2) from None


def fault_of(error: UsageError) -> str:
    """Return what is wrong, in the form of all faults."""
    parameter, option = getattr(error, "param", None), getattr(error, "option_name", None)
    match type(error).__name__:
        case "NoSuchOption":
            known = [
                one for each in error.ctx.command.get_params(error.ctx) for one in (*each.opts, *each.secondary_opts)
            ]
            options = [one for one in known if one.startswith("--")]
            return must_be(
                "the option", f"an option of '{error.ctx.command_path}'", f"'{option}'", nearest(str(option), options)
            )
        case "MissingParameter" if parameter is not None:
            return must_be(_name_of(parameter), "given", "none", parameter.help or "")
        case "BadParameter" if parameter is not None:
            details: list[Any] = getattr(error.__cause__, "errors", list)()
            if details:
                allowed = details[0]["msg"].removeprefix("Input should be ").split(", unable to ")[0]
                return must_be(_name_of(parameter), _PLAIN.get(allowed, allowed), f"'{details[0]['input']}'")
            return f"{_name_of(parameter)}: {error.message}"
        case "BadOptionUsage" if "requires an argument" in error.message:
            return must_be(str(option), "followed by a value", "none")
        case "BadOptionUsage" if "does not take a value" in error.message:
            return must_be(str(option), "given without a value", "one")
    if "unexpected extra argument" in error.message:
        return must_be("the arguments", "no more than the command takes", error.message.rpartition("(")[2].rstrip(")"))
    return error.message[:1].lower() + error.message[1:]


def _name_of(parameter: Any) -> str:
    """Return an option as it is written, or the name that an argument has in the help."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper()).strip("[].").removesuffix("]...")


def recipes_like(incomplete: str) -> Sequence[str]:
    """Return the shipped recipes, and the recipe files, whose names begin as a word does that is not written yet."""
    names = [name for name in shipped_recipes() if name.startswith(incomplete)]
    folder, slash, start = incomplete.rpartition("/")
    try:
        beside = sorted(Path(f"{folder}{slash}" or ".").expanduser().iterdir())
    except OSError:
        beside = []
    kept = [one for one in beside if one.name.startswith(start or ("" if slash else one.name[:1].lstrip(".")))]
    files = [f"{folder}{slash}{one.name}" for one in kept if one.suffix in (".yaml", ".yml")]
    inside = [f"{folder}{slash}{one.name}/" for one in kept if one.is_dir()] if incomplete else []
    return [*names, *files, *inside]
