"""The command `python -m search`: what the commands are."""

from __future__ import annotations

from collections.abc import Sequence

from storage.commands import make_parser, run_command

COMMANDS = {
    "search.run STUDY.yaml": "runs a study, or goes on with it; --check says before what it would take",
    "search.list": "lists the studies",
    "search.report STUDY": "shows what a study has found",
    "search.compare STUDY 3 9 11": "shows trials side by side",
    "search.test_accuracy STUDY TRIAL": "measures one network on the test part",
    "search.promote STUDY TRIAL": "sends one network to hardware",
    "fpga.run": "builds the hardware of all that was promoted",
    "dashboards.run": "serves the pages of all studies",
    "search.pack STUDY FILE": "writes a study to one file; search.unpack reads it on another machine",
    "search.add_to_zoo STUDY TRIAL": "puts one network among those that the repository holds",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints them."""
    make_parser("python -m search", "Says which commands there are; each has --help.").parse_args(arguments)
    width = max(map(len, COMMANDS))
    for command, what in COMMANDS.items():
        print(f"python -m {command:<{width}}  {what}")
    return 0


if __name__ == "__main__":
    run_command(main)
