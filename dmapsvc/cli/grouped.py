"""The help of a command with many options: under headings, in place of one long list."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class GroupedCommand(TyperCommand):
    """A command whose `--help` lists each option under its `rich_help_panel`, or under Options.

    Typer itself looks at panels only where rich draws its help, and here nothing does.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments first, then the groups, each where its first option stands."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx)
            if line is not None:
                argument = parameter.param_type_name == "argument"
                title = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Options"
                groups.setdefault(title, []).append(line)
        for title, lines in groups.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)
