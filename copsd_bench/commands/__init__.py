"""One file a command. Only typer and the standard library are imported at the top: `--help` must answer at once."""
