"""``python -m dtsvibe_cli``."""

from dtsvibe_cli.cli import main

if __name__ == "__main__":
    main(prog_name="python -m dtsvibe_cli")
